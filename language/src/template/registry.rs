//! The filters, tests, functions and lookups by name, and how their arguments are bound.
//!
//! Owns: [`Builtin`], [`Args`], name tables. Must not: implement one.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use minijinja::Value;
use minijinja::value::ValueKind;

use super::error::{R, TemplateError, near};
use super::eval::Cx;
use super::marks::{is_nothing, is_unknown, why_missing};
use super::values::{as_float, as_int, text, truth, type_name};
use super::{filters, functions, lookups, tests};

type Run = fn(&mut Cx, &Args) -> R<Value>;

/// One row of a family's table: names separated by blanks, parameters separated by blanks, code.
///
/// A parameter `*rest` takes what is left of the positional arguments, `**rest` of the named ones.
pub(super) struct Row(pub(super) &'static str, pub(super) &'static str, pub(super) Run);

/// A filter, test or function.
pub(super) struct Builtin {
    pub(super) name: &'static str,
    params: Vec<&'static str>,
    rest: bool,
    named_rest: bool,
    run: Run,
    /// Whether undefined and unknown values may be passed in.
    pub(super) lenient: bool,
}

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Arguments bound to the parameters of a [`Builtin`].
#[derive(Debug)]
pub(super) struct Args {
    pub(super) builtin: &'static Builtin,
    slots: Vec<Option<Value>>,
    /// Positional arguments beyond the parameters.
    pub(super) rest: Vec<Value>,
    /// Named arguments that are no parameters.
    pub(super) named: Vec<(Arc<str>, Value)>,
}

impl Builtin {
    /// Calls it.
    ///
    /// # Errors
    /// Arguments that do not fit, an undefined argument, or what the code itself refuses.
    pub(super) fn call(
        &'static self,
        cx: &mut Cx,
        mut positional: Vec<Value>,
        mut named: Vec<(Arc<str>, Value)>,
    ) -> R<Value> {
        if !self.lenient {
            for value in positional.iter_mut().chain(named.iter_mut().map(|(_, v)| v)) {
                if is_nothing(value) {
                    *value = Value::from("");
                }
            }
            let mut unknown = None;
            for value in positional.iter().chain(named.iter().map(|(_, v)| v)) {
                if value.kind() == ValueKind::Plain || value.is_undefined() {
                    if let Some(error) = why_missing(value) {
                        return Err(error);
                    }
                    if is_unknown(value) {
                        unknown = Some(value.clone());
                    }
                }
            }
            if let Some(unknown) = unknown {
                return Ok(unknown);
            }
        }
        let mut slots = vec![None; self.params.len()];
        let mut rest = Vec::new();
        let given = positional.len();
        for (at, value) in positional.into_iter().enumerate() {
            if let Some(slot) = slots.get_mut(at) {
                *slot = Some(value);
            } else if self.rest {
                rest.push(value);
            } else {
                return Err(TemplateError::arguments(format!(
                    "`{}` takes at most {}, got {given}",
                    self.name,
                    counted(self.params.len(), "argument"),
                )));
            }
        }
        let mut others = Vec::new();
        for (name, value) in named {
            match self.params.iter().position(|p| **p == *name) {
                Some(at) if slots[at].is_none() => slots[at] = Some(value),
                Some(_) => {
                    return Err(TemplateError::arguments(format!("`{}` got `{name}` twice", self.name)));
                }
                None if self.named_rest => others.push((name, value)),
                None => {
                    let near = near(&name, self.params.iter().copied());
                    return Err(TemplateError::arguments(format!(
                        "`{}` has no argument `{name}`",
                        self.name
                    ))
                    .or_help(near.map(|near| format!("did you mean `{near}`?"))));
                }
            }
        }
        (self.run)(cx, &Args { builtin: self, slots, rest, named: others })
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

impl Args {
    /// The argument, if it was given.
    pub(super) fn get(&self, at: usize) -> Option<&Value> {
        self.slots.get(at).and_then(Option::as_ref)
    }

    /// The argument, if it was given and is not `none`.
    pub(super) fn some(&self, at: usize) -> Option<&Value> {
        self.get(at).filter(|v| !v.is_none())
    }

    fn label(&self, at: usize) -> &'static str {
        self.builtin.params.get(at).copied().unwrap_or("argument")
    }

    pub(super) fn required(&self, at: usize) -> R<&Value> {
        self.get(at).ok_or_else(|| {
            TemplateError::arguments(format!(
                "`{}` needs the argument `{}`",
                self.builtin.name,
                self.label(at)
            ))
        })
    }

    /// The input of a filter or test.
    pub(super) fn value(&self) -> R<&Value> {
        self.required(0)
    }

    /// The input as text, whatever it is.
    pub(super) fn text(&self) -> R<String> {
        text(self.required(0)?)
    }

    /// An argument as text, whatever it is.
    pub(super) fn text_at(&self, at: usize) -> R<String> {
        text(self.required(at)?)
    }

    pub(super) fn text_or(&self, at: usize, default: &str) -> R<String> {
        self.some(at).map_or_else(|| Ok(default.to_owned()), text)
    }

    pub(super) fn optional_text(&self, at: usize) -> R<Option<String>> {
        self.some(at).map(text).transpose()
    }

    pub(super) fn flag(&self, at: usize, default: bool) -> R<bool> {
        self.get(at).map_or(Ok(default), truth)
    }

    pub(super) fn int_or(&self, at: usize, default: i128) -> R<i128> {
        self.some(at).map_or(Ok(default), |v| self.as_int(at, v))
    }

    pub(super) fn optional_int(&self, at: usize) -> R<Option<i128>> {
        self.some(at).map(|v| self.as_int(at, v)).transpose()
    }

    pub(super) fn int_at(&self, at: usize) -> R<i128> {
        self.as_int(at, self.required(at)?)
    }

    fn as_int(&self, at: usize, value: &Value) -> R<i128> {
        as_int(value)
            .or_else(|| value.as_str().and_then(|s| s.trim().parse().ok()))
            .or_else(|| as_float(value).filter(|f| f.fract() == 0.0).map(|f| f as i128))
            .ok_or_else(|| self.wrong(at, "an integer", value))
    }

    pub(super) fn float_at(&self, at: usize) -> R<f64> {
        let value = self.required(at)?;
        as_float(value)
            .or_else(|| value.as_str().and_then(|s| s.trim().parse().ok()))
            .ok_or_else(|| self.wrong(at, "a number", value))
    }

    /// The error for an argument of a wrong type.
    pub(super) fn wrong(&self, at: usize, wanted: &str, got: &Value) -> TemplateError {
        let what = if at == 0 { "its input".to_owned() } else { format!("`{}`", self.label(at)) };
        TemplateError::arguments(format!(
            "`{}` needs {wanted} for {what}, got a value of type '{}'",
            self.builtin.name,
            type_name(got)
        ))
    }

    /// The error for an input that the code refuses.
    pub(super) fn refuse(&self, why: impl std::fmt::Display) -> TemplateError {
        TemplateError::value(format!("`{}`: {why}", self.builtin.name))
    }

    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|(n, _)| **n == *name).map(|(_, v)| v)
    }
}

type Table = HashMap<&'static str, &'static Builtin>;

fn table(rows: &[&'static [Row]], lenient: &[&str]) -> Table {
    let mut out = HashMap::new();
    for row in rows.iter().flat_map(|rows| rows.iter()) {
        let mut params: Vec<&'static str> = row.1.split_whitespace().collect();
        let named_rest = params.last().is_some_and(|p| p.starts_with("**"));
        if named_rest {
            params.pop();
        }
        let rest = params.last().is_some_and(|p| p.starts_with('*'));
        if rest {
            params.pop();
        }
        for name in row.0.split_whitespace() {
            // Tables live as long as the program; one small allocation a name.
            let builtin: &'static Builtin = Box::leak(Box::new(Builtin {
                name,
                params: params.clone(),
                rest,
                named_rest,
                run: row.2,
                lenient: lenient.contains(&name),
            }));
            out.insert(name, builtin);
        }
    }
    out
}

static FILTERS: LazyLock<Table> = LazyLock::new(|| table(&filters::tables(), filters::LENIENT));
static TESTS: LazyLock<Table> = LazyLock::new(|| table(&[tests::TABLE], tests::LENIENT));
static FUNCTIONS: LazyLock<Table> = LazyLock::new(|| table(&[functions::TABLE], functions::LENIENT));

/// The collections whose filters, tests and lookups exist here under their short names.
const COLLECTIONS: &[&str] = &[
    "ansible.builtin.",
    "ansible.legacy.",
    "community.general.",
    "ansible.utils.",
    "ansible.netcommon.",
    "ansible.posix.",
    "amazon.aws.",
];

/// The name without the collection we know it from.
pub(super) fn short(name: &str) -> &str {
    COLLECTIONS.iter().find_map(|c| name.strip_prefix(c)).unwrap_or(name)
}

pub(super) fn filter(name: &str) -> Option<&'static Builtin> {
    FILTERS.get(short(name)).copied()
}

pub(super) fn test(name: &str) -> Option<&'static Builtin> {
    TESTS.get(short(name)).copied()
}

pub(super) fn function(name: &str) -> Option<&'static Builtin> {
    FUNCTIONS.get(name).copied()
}

pub(super) fn near_filter(name: &str) -> Option<String> {
    near(short(name), FILTERS.keys().copied())
}

pub(super) fn near_test(name: &str) -> Option<String> {
    near(short(name), TESTS.keys().copied())
}

pub(super) fn near_function(name: &str) -> Option<String> {
    near(name, FUNCTIONS.keys().copied())
}

pub(super) fn lookup(name: &str) -> Option<lookups::Lookup> {
    let name = short(name);
    lookups::TABLE.iter().find(|(n, _)| *n == name).map(|(_, run)| *run)
}

pub(super) fn near_lookup(name: &str) -> Option<String> {
    near(short(name), lookups::TABLE.iter().map(|(n, _)| *n))
}

/// All names of filters, tests or functions, sorted.
fn sorted(table: &Table) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = table.keys().copied().collect();
    names.sort_unstable();
    names
}

/// The names of everything that a template may call: filters, tests, functions.
pub(super) fn names() -> [Vec<&'static str>; 3] {
    [sorted(&FILTERS), sorted(&TESTS), sorted(&FUNCTIONS)]
}
