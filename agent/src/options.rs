//! How a module describes its options, and how raw arguments become typed ones.
//!
//! Owns: the option table types, coercion by Ansible's argument-spec rules
//! (<https://docs.ansible.com/ansible/latest/dev_guide/developing_program_flow_modules.html#argument-spec>), the messages about bad arguments.
//! Must not: know any single module.
//! Called by: the controller before the first host is touched (names, required, choices as far as not templated) and
//! by the agent before a module runs.

use serde_json::{Map, Value};

mod check;
mod coerce;

pub use check::nearest;
pub(crate) use coerce::bytes;

/// What an option's value must be. Strings are coerced as Ansible does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Str,
    /// A string in which `~` and `$VAR` are expanded on the host.
    Path,
    Bool,
    Int,
    Float,
    /// A list of strings; a string is split at commas.
    List,
    /// A list of anything; a single value becomes a list of one.
    RawList,
    /// A mapping; a string `k=v k2=v2` or JSON is parsed.
    Dict,
    /// Kept as it came.
    Raw,
    /// A file mode: octal string or integer, or symbolic.
    Mode,
    /// A number of bytes: `10M`, `1G` or an integer.
    Bytes,
}

/// One option of a module.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    pub name: &'static str,
    pub kind: Kind,
    pub aliases: &'static [&'static str],
    pub required: bool,
    pub choices: &'static [&'static str],
    pub secret: bool,
    /// Accepted and without effect here, with the reason shown in the docs.
    pub ignored: Option<&'static str>,
}

macro_rules! constructors {
    ($($function:ident $kind:ident,)*) => {$(
        #[doc = concat!("Starts an option of kind [`Kind::", stringify!($kind), "`].")]
        #[must_use]
        pub const fn $function(name: &'static str) -> Self {
            Self { name, kind: Kind::$kind, aliases: &[], required: false, choices: &[], secret: false, ignored: None }
        }
    )*};
}

impl Opt {
    constructors! {
        str Str, path Path, bool Bool, int Int, float Float, list List, raw_list RawList, dict Dict, raw Raw, mode Mode, bytes Bytes,
    }

    /// Other names users may write.
    #[must_use]
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// The option must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Only these values (of each item, for lists).
    #[must_use]
    pub const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }

    /// The value never appears in logs, results or the journal.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Accepted for compatibility, without effect because of `why`.
    #[must_use]
    pub const fn ignored(mut self, why: &'static str) -> Self {
        self.ignored = Some(why);
        self
    }
}

/// Whether a module can say what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckSupport {
    /// Inspect tells the truth.
    Full,
    /// The effect cannot be predicted (`command`): in check mode the step is skipped, as Ansible does.
    None,
}

/// What may be done with a step that was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Running it again gives the same end (declarative modules).
    Safe,
    /// Only the user can know (`command`, `shell`).
    Ask,
}

/// A module's face: everything the controller checks before a host is touched.
#[derive(Debug)]
pub struct Spec {
    /// Short canonical name.
    pub name: &'static str,
    /// Collection that the fully qualified name carries, besides `ansible.builtin` and `ansible.legacy`.
    pub collections: &'static [&'static str],
    /// Other module names for the same thing (`dnf` for `yum`).
    pub aliases: &'static [&'static str],
    /// Tables of options: the module's own, then shared ones such as file attributes.
    pub options: &'static [&'static [Opt]],
    /// Takes text instead of `key=value` (`command`, `shell`, `raw`, `script`), stored under this option.
    pub free_form: Option<&'static str>,
    /// Names that are no options are taken too, as they are (`set_fact`, `add_host`).
    pub any_options: bool,
    /// At least one option of each group must be given.
    pub required_one_of: &'static [&'static [&'static str]],
    /// At most one option of each group may be given.
    pub mutually_exclusive: &'static [&'static [&'static str]],
    /// `(option, value, needed)`: when the option has that value, these must be given too.
    pub required_if: &'static [(&'static str, &'static str, &'static [&'static str])],
    pub check: CheckSupport,
    pub repeat: Repeat,
}

impl Spec {
    /// A spec with nothing but a name, for use with struct update syntax.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            collections: &[],
            aliases: &[],
            options: &[],
            free_form: None,
            any_options: false,
            required_one_of: &[],
            mutually_exclusive: &[],
            required_if: &[],
            check: CheckSupport::Full,
            repeat: Repeat::Safe,
        }
    }

    /// Finds an option by its name or an alias.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&'static Opt> {
        self.all_options().find(|o| o.name == name || o.aliases.contains(&name))
    }

    /// Every option of every table.
    pub fn all_options(&self) -> impl Iterator<Item = &'static Opt> + use<> {
        self.options.iter().flat_map(|table| table.iter())
    }

    /// Turns raw arguments into normalized ones: canonical names, coerced types, `null` and absent alike.
    ///
    /// # Errors
    /// Every fault of the arguments, not just the first.
    pub fn coerce(&self, raw: Map<String, Value>) -> Result<Map<String, Value>, Vec<ArgumentFault>> {
        coerce::coerce(self, raw)
    }

    /// Checks what can be known before a host is touched: unknown and doubled names, missing and exclusive ones, and
    /// the values that are written literally. A value of `None` is one that a template makes later.
    #[must_use]
    pub fn check_static<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, Option<&'a Value>)>,
    ) -> Vec<ArgumentFault> {
        check::check_static(self, given)
    }

    /// Whether the value of this option (by name or alias) must never be shown.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        self.option(name).is_some_and(|option| option.secret)
    }
}

/// What is wrong with an argument.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ArgumentFault {
    #[error("`{module}` has no option `{option}`{}", suggestion.as_deref().map(|s| format!(", did you mean `{s}`?")).unwrap_or_default())]
    Unknown { module: &'static str, option: String, suggestion: Option<&'static str> },
    #[error("`{module}` needs `{option}`")]
    Missing { module: &'static str, option: &'static str },
    #[error("`{module}` needs one of {}", quoted(options))]
    MissingOneOf { module: &'static str, options: &'static [&'static str] },
    #[error("`{module}` needs {} when `{option}` is `{value}`", quoted(needed))]
    MissingBecause {
        module: &'static str,
        option: &'static str,
        value: &'static str,
        needed: Vec<&'static str>,
    },
    #[error("`{module}` takes only one of {}", quoted(options))]
    Exclusive { module: &'static str, options: Vec<&'static str> },
    #[error("`{option}` of `{module}` must be {wanted}, not {got}")]
    WrongType { module: &'static str, option: &'static str, wanted: &'static str, got: String },
    #[error("`{option}` of `{module}` must be one of {}, not `{got}`", quoted(choices))]
    WrongChoice { module: &'static str, option: &'static str, choices: &'static [&'static str], got: String },
    #[error("`{option}` of `{module}` is given twice, as `{first}` and as `{second}`")]
    Twice { module: &'static str, option: &'static str, first: String, second: String },
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
