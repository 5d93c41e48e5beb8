//! The door of this stage: a playbook file in, a checked playbook out; and the same for what is included later.
//!
//! Owns: the setup, the files read so far. Must not: render; what must be rendered early goes through [`StaticText`].

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::catalogue::Catalogue;
use super::templates::TemplateCheck;
use super::{Handler, Item, Playbook, Role};
use crate::source::{self, Diagnostic, Diagnostics, Node, SourceId, Sources, Span};
use crate::vars::Layer;

/// Renders what must be known before any host is (file names of imports, role names) from extra and play variables.
pub trait StaticText: Send + Sync {
    /// The text, or `None` when it needs a variable that is not known yet. `vars` are the layers in sight, outermost first.
    fn render(&self, text: &Node, vars: &[Arc<Layer>]) -> Option<String>;
}

/// Opens a file that is encrypted as a whole.
pub trait Unlock: Send + Sync {
    /// The plain text.
    ///
    /// # Errors
    /// When no password fits.
    fn open(&self, text: &str) -> Result<String, Locked>;
}

/// No password opened a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Locked(pub String);

/// What a resolver works with.
#[derive(Clone)]
pub struct Setup {
    pub sources: Arc<Sources>,
    pub catalogue: Arc<dyn Catalogue>,
    pub templates: Arc<dyn TemplateCheck>,
    /// Folders of ANSIBLE_ROLES_PATH, or Ansible's default ones.
    pub roles_path: Vec<PathBuf>,
    /// Folders with `ansible_collections` in them, for those of ANSIBLE_COLLECTIONS_PATH.
    pub collections_path: Vec<PathBuf>,
    /// Folders of ANSIBLE_LIBRARY, with executables that are modules.
    pub library: Vec<PathBuf>,
    /// Whether plays that don't say gather facts.
    pub gathers_facts: bool,
    pub static_text: Arc<dyn StaticText>,
    pub unlock: Arc<dyn Unlock>,
    /// Names that inventory, extra variables and the command line define.
    pub known_variables: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("catalogue", &self.catalogue)
            .field("roles_path", &self.roles_path)
            .finish_non_exhaustive()
    }
}

impl Setup {
    /// A setup that renders nothing, opens nothing and takes every template as it is.
    #[must_use]
    pub fn new(sources: Arc<Sources>, catalogue: Arc<dyn Catalogue>) -> Self {
        Self {
            sources,
            catalogue,
            templates: Arc::new(super::NoTemplateCheck),
            roles_path: Vec::new(),
            collections_path: Vec::new(),
            library: Vec::new(),
            gathers_facts: true,
            static_text: Arc::new(Nothing),
            unlock: Arc::new(Nothing),
            known_variables: Arc::new(|_| false),
        }
    }
}

struct Nothing;

impl StaticText for Nothing {
    fn render(&self, _: &Node, _: &[Arc<Layer>]) -> Option<String> {
        None
    }
}

impl Unlock for Nothing {
    fn open(&self, _: &str) -> Result<String, Locked> {
        Err(Locked("give a vault password".to_owned()))
    }
}

/// A playbook and all that was found in it; with an error among the findings it must not run.
#[derive(Debug)]
pub struct Resolution {
    pub playbook: Playbook,
    /// Sorted by file and place.
    pub findings: Diagnostics,
}

/// A role as it is when a run comes to its `include_role`.
#[derive(Debug)]
pub struct ExpandedRole {
    pub items: Vec<Item>,
    pub handlers: Vec<Arc<Handler>>,
    /// The role itself; its dependencies hang below it.
    pub role: Arc<Role>,
}

/// `include_role`'s options, rendered.
#[derive(Debug, Clone, Default)]
pub struct RoleInclude {
    pub name: String,
    pub tasks_from: Option<String>,
    pub vars_from: Option<String>,
    pub defaults_from: Option<String>,
    pub handlers_from: Option<String>,
    pub public: bool,
    pub apply: Option<Node>,
    /// `None`: allowed, as Ansible has it for includes.
    pub allow_duplicates: Option<bool>,
    /// `false` leaves the role's argument specification unchecked.
    pub rolespec_validate: Option<bool>,
}

type Loaded = Result<Arc<Node>, Arc<LoadFault>>;

enum LoadFault {
    Findings(Diagnostics),
    Locked(Locked),
    Io(std::io::Error),
}

/// Resolves playbooks and includes. Shared by all hosts of a run.
pub struct Resolver {
    pub(super) setup: Setup,
    files: Mutex<HashMap<PathBuf, Loaded>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("setup", &self.setup).finish_non_exhaustive()
    }
}

impl Resolver {
    /// Starts with nothing read.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self { setup, files: Mutex::default() }
    }

    /// The files read so far.
    #[must_use]
    pub fn sources(&self) -> &Arc<Sources> {
        &self.setup.sources
    }

    /// The folders of ANSIBLE_ROLES_PATH; when it is not set, those that Ansible looks in.
    #[must_use]
    pub fn roles_path(variable: Option<&str>, home: Option<&Path>) -> Vec<PathBuf> {
        folders(variable.unwrap_or("~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles"), home)
    }

    /// The folders of ANSIBLE_COLLECTIONS_PATH; when it is not set, those that Ansible looks in.
    #[must_use]
    pub fn collections_path(variable: Option<&str>, home: Option<&Path>) -> Vec<PathBuf> {
        folders(variable.unwrap_or("~/.ansible/collections:/usr/share/ansible/collections"), home)
    }

    /// A path as people see it.
    pub(super) fn shown(&self, path: &Path) -> String {
        self.setup.sources.shown(path)
    }

    /// Reads a file once; what is wrong with it is reported each time and merged later.
    pub(super) fn load(&self, path: &Path, wanted_by: Span, out: &mut Diagnostics) -> Option<Arc<Node>> {
        let known = self.files.lock().unwrap_or_else(|e| e.into_inner()).get(path).cloned();
        let loaded = known.unwrap_or_else(|| {
            let fresh = self.load_fresh(path).map(Arc::new).map_err(Arc::new);
            self.files.lock().unwrap_or_else(|e| e.into_inner()).insert(path.to_path_buf(), fresh.clone());
            fresh
        });
        match loaded {
            Ok(node) => Some(node),
            Err(fault) => {
                match &*fault {
                    LoadFault::Findings(findings) => out.extend(findings.clone()),
                    LoadFault::Locked(why) => out.push(
                        Diagnostic::error(
                            "encrypted",
                            format!("`{}` is encrypted", self.shown(path)),
                            wanted_by,
                        )
                        .help(why.to_string()),
                    ),
                    LoadFault::Io(why) => {
                        let message = match why.kind() {
                            std::io::ErrorKind::NotFound => format!("no file `{}`", self.shown(path)),
                            std::io::ErrorKind::InvalidData => {
                                format!("`{}` is not UTF-8 text", self.shown(path))
                            }
                            _ => format!("`{}` cannot be read: {why}", self.shown(path)),
                        };
                        out.push(Diagnostic::error("unreadable", message, wanted_by));
                    }
                }
                None
            }
        }
    }

    fn load_fresh(&self, path: &Path) -> Result<Node, LoadFault> {
        let sources = &self.setup.sources;
        let id = sources.read(path).map_err(LoadFault::Io)?;
        let text = &sources.file(id).text;
        if text.starts_with("$ANSIBLE_VAULT;") {
            let plain = self.setup.unlock.open(text).map_err(LoadFault::Locked)?;
            let id = sources.add(path.to_path_buf(), plain);
            return source::parse(sources, id).map_err(LoadFault::Findings);
        }
        source::parse(sources, id).map_err(LoadFault::Findings)
    }

    /// A file named on the command line.
    pub(super) fn load_first(&self, path: &Path) -> Result<Arc<Node>, Diagnostics> {
        let mut out = Diagnostics::default();
        let nowhere = Span { file: SourceId(u32::MAX), start: 0, end: 0 };
        self.load(path, nowhere, &mut out).ok_or_else(|| {
            // Nobody in a file asked for it, so there is no place to show.
            for finding in &mut out.list {
                finding.labels.retain(|l| l.span.file != nowhere.file);
            }
            out
        })
    }
}

/// A list of folders with colons between them, without those of a home that is not known.
fn folders(text: &str, home: Option<&Path>) -> Vec<PathBuf> {
    text.split(':')
        .filter(|p| !p.is_empty())
        .filter_map(|p| match (p.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => Some(home.join(rest)),
            (Some(_), None) => None,
            (None, _) => std::path::absolute(p).ok(),
        })
        .collect()
}
