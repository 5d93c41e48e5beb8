//! From flags to the stages' inputs: inventory, variables, templates, the checked playbook, the plan.
//!
//! Owns: the wiring that `run`, `lint` and `plan` share. Must not: run anything on a host (an inventory plugin may boot
//! the lab when a run needs it).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::Trouble;
use super::common::{InventoryFlags, USUAL_INVENTORIES, VariableFlags};
use super::config::Gathering;
use crate::actions::Known;
use crate::inventory::{self, Inventory};
use crate::lab::{LabDirs, LabPlugin, LabSpec};
use crate::plan::{self, Looks, Plan};
use crate::resolve::{Playbook, Refs, Resolution, Resolver, Setup, TemplateCheck, TemplateFault};
use crate::source::{Diagnostic, Diagnostics, Node, Severity, Sources, Span};
use crate::template::{self, Templates};
use crate::vars::secrets::{Masks, Secret};
use crate::vars::vault::Vault;
use crate::vars::{Lazy, RunInfo, Store, StoreParts, Table};

/// Everything that is known before a host is touched.
pub(super) struct Ready {
    pub(super) sources: Arc<Sources>,
    pub(super) masks: Arc<Masks>,
    pub(super) vault: Arc<Vault>,
    pub(super) store: Arc<Store>,
    pub(super) templates: Arc<Templates>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) playbook: Playbook,
    /// How many plays each given playbook has.
    pub(super) counts: Vec<usize>,
    pub(super) plan: Plan,
    /// Whether facts are gathered only of hosts that have none.
    pub(super) smart_gathering: bool,
    /// Labs that the inventory lists; whoever runs something boots them.
    pub(super) labs: Vec<LabSpec>,
    /// Warnings; errors have ended the set-up.
    pub(super) warnings: Diagnostics,
}

/// What to prepare.
pub(super) struct Wanted<'a> {
    pub(super) playbooks: &'a [PathBuf],
    pub(super) inventory: &'a InventoryFlags,
    pub(super) variables: &'a VariableFlags,
    /// Folders with modules, separated by colons, from the command line.
    pub(super) library: Option<&'a str>,
    pub(super) run: RunInfo,
    /// Whether the plan is to know where hosts wait for each other. Who only wants errors does without: finding out takes a
    /// quarter of the time.
    pub(super) barriers: bool,
    /// Whether hosts start with the facts of earlier runs, where those are kept.
    pub(super) kept_facts: bool,
}

impl<'a> Wanted<'a> {
    /// What a command that runs nothing wants.
    pub(super) fn new(
        playbooks: &'a [PathBuf],
        inventory: &'a InventoryFlags,
        variables: &'a VariableFlags,
    ) -> Self {
        Self {
            playbooks,
            inventory,
            variables,
            library: None,
            run: RunInfo::default(),
            barriers: true,
            kept_facts: false,
        }
    }
}

/// Reads and checks everything; all errors at once.
pub(super) fn prepare(wanted: &Wanted<'_>) -> Result<Ready, Trouble> {
    let directory = std::env::current_dir()?;
    let sources = Arc::new(Sources::new(directory.clone()));
    let masks = Arc::new(Masks::default());
    let vault = Arc::new(vault(wanted.variables, &masks)?);
    let mut found = Diagnostics::default();
    let labs = LabPlugin::new(LabDirs::of_user()?);
    let first = &wanted.playbooks[0];
    inventories_exist(&wanted.inventory.inventory)?;
    let playbook_dir =
        std::path::absolute(first)?.parent().map(Path::to_owned).unwrap_or_else(|| directory.clone());
    let extra = crate::vars::extra::parse_extra_vars(
        &wanted.variables.extra_vars,
        &directory,
        &vault,
        &sources,
        &mut found,
    );
    let from = From {
        given: &wanted.inventory.inventory,
        refresh: wanted.inventory.refresh_cache,
        directory: &directory,
        playbook_dir: Some(&playbook_dir),
        extra: &extra,
    };
    let inventory = read_inventory(&from, &vault, &sources, &mut found, &labs);
    let wrong = |text| Trouble::new(crate::exit::PLAYBOOK, text);
    let gathering = super::config::gathering().map_err(wrong)?;
    let fact_cache = if wanted.kept_facts { super::config::fact_cache().map_err(wrong)? } else { None };
    let known_hosts: Arc<OnceLock<Weak<Store>>> = Arc::default();
    let templates = Arc::new(Templates::new(template_options(&vault, directory, Arc::clone(&known_hosts))));
    let known: std::collections::HashSet<String> = inventory
        .hosts()
        .flat_map(|h| {
            let tables = h.tables();
            tables
                .host
                .iter()
                .chain(tables.groups.iter())
                .map(|(name, _)| name.to_string())
                .collect::<Vec<_>>()
        })
        .chain(inventory.common_vars().iter().map(|(name, _)| name.to_string()))
        .chain(inventory.promised.iter().map(ToString::to_string))
        .chain(extra.iter().map(|(name, _)| name.to_string()))
        .collect();
    let looked_at: Vec<(Arc<str>, Arc<Node>)> = inventory
        .hosts()
        .flat_map(|h| {
            let tables = h.tables();
            tables
                .host
                .iter()
                .chain(tables.groups.iter())
                .map(|(n, v)| (Arc::clone(n), Arc::clone(v)))
                .collect::<Vec<_>>()
        })
        .chain(extra.iter().map(|(n, v)| (Arc::clone(n), Arc::clone(v))))
        .collect();
    hide_passwords(&looked_at, &masks);
    let mut run = wanted.run.clone();
    run.playbook_dir.clone_from(&playbook_dir);
    let store = Store::new(StoreParts {
        inventory,
        extra,
        run,
        inject_facts: true,
        lazy: {
            let templates = Arc::clone(&templates);
            Lazy::new(move |node, scope, name| templates.lazy(Arc::clone(node), Arc::clone(scope), name))
        },
        vault: Arc::clone(&vault),
        sources: Arc::clone(&sources),
        fact_cache,
    });
    // The store holds the templates, so they only look back at it.
    let _ = known_hosts.set(Arc::downgrade(&store));
    let config = super::config::get();
    let setup = Setup {
        templates: Arc::new(Check(Arc::clone(&templates))),
        static_text: Arc::new(EarlyText { templates: Arc::clone(&templates), store: Arc::clone(&store) }),
        unlock: Arc::new(Opener(Arc::clone(&vault))),
        roles_path: match (std::env::var("ANSIBLE_ROLES_PATH").ok(), config.paths("defaults", "roles_path")) {
            (None, Some(folders)) => folders,
            (named, _) => Resolver::roles_path(named.as_deref(), std::env::home_dir().as_deref()),
        },
        collections_path: collections_path(),
        library: wanted
            .library
            .map(str::to_owned)
            .or_else(|| std::env::var("ANSIBLE_LIBRARY").ok())
            .map(|folders| folders.split(':').filter(|f| !f.is_empty()).map(PathBuf::from).collect())
            .or_else(|| config.paths("defaults", "library"))
            .unwrap_or_default(),
        gathers_facts: gathering != Gathering::Explicit,
        known_variables: Arc::new(move |name| known.contains(name)),
        ..Setup::new(Arc::clone(&sources), Arc::new(Known))
    };
    let resolver = Arc::new(Resolver::new(setup));
    let mut plays = Vec::new();
    let mut counts = Vec::new();
    for resolution in resolve_all(&resolver, wanted.playbooks)? {
        found.extend(resolution.findings);
        counts.push(resolution.playbook.plays.len());
        plays.extend(resolution.playbook.plays);
    }
    let playbook = Playbook { path: std::path::absolute(first)?, plays: renumbered(plays) };
    super::infrastructure::check(&playbook.plays, &templates, &mut found);
    let looks = if wanted.barriers {
        Looks::new(&playbook, looked_at.iter().map(|(n, v)| (&**n, &**v)))
    } else {
        Looks::default()
    };
    let plan = match plan::build(&playbook, looks) {
        Ok(plan) => Some(plan),
        Err(error) => {
            if !found.has_errors() {
                found.push(plan_finding(&error));
            }
            None
        }
    };
    match wanted.playbooks {
        [_] => found.sort(),
        // They were read side by side, so the order in which files were read is nobody's.
        _ => found.sort_by_name(&sources),
    }
    match plan {
        Some(plan) if !found.has_errors() => Ok(Ready {
            sources,
            masks,
            vault,
            store,
            templates,
            resolver,
            playbook,
            counts,
            plan,
            smart_gathering: gathering == Gathering::Smart,
            labs: labs.labs(),
            warnings: found,
        }),
        _ => Err(Trouble::found(shown(&found, &sources))),
    }
}

/// Resolves each playbook, several side by side; results are in the order given.
fn resolve_all(resolver: &Resolver, paths: &[PathBuf]) -> Result<Vec<Resolution>, Trouble> {
    if let Some(path) = paths.iter().find(|path| !path.exists()) {
        let help =
            nearest_playbook(path).map(|n| format!("\n  did you mean {}?", n.display())).unwrap_or_default();
        return Err(Trouble::new(
            crate::exit::PLAYBOOK,
            format!("error: no playbook `{}`{help}", path.display()),
        ));
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(paths.len());
    let next = AtomicUsize::new(0);
    let done: Vec<OnceLock<Resolution>> = paths.iter().map(|_| OnceLock::new()).collect();
    let work = || {
        while let Some((path, place)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            paths.get(at).zip(done.get(at))
        } {
            let _ = place.set(resolver.resolve(path));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Deep playbooks are resolved by recursion, which the first thread has this much room for.
            if std::thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    Ok(done.into_iter().filter_map(OnceLock::into_inner).collect())
}

/// All findings and the line that sums them up.
pub(super) fn shown(found: &Diagnostics, sources: &Sources) -> String {
    let colour =
        if super::common::colour() { crate::source::Colour::Ansi } else { crate::source::Colour::Never };
    let mut text = String::new();
    for finding in &found.list {
        text.push_str(&finding.render_in(sources, colour));
        text.push('\n');
    }
    let errors = found.errors();
    let plural = if errors == 1 { "" } else { "s" };
    text.push_str(&format!("{errors} error{plural}. No host was contacted."));
    text
}

fn plan_finding(error: &plan::PlanError) -> Diagnostic {
    match error {
        plan::PlanError::UnknownNeed { at, .. } => Diagnostic::error("unknown-need", error.to_string(), *at),
        plan::PlanError::Cycle { cycle } => {
            let mut places = cycle.iter().map(|(_, at)| *at);
            let first = places.next();
            let finding = first.map(|at| Diagnostic::error("needs-cycle", error.to_string(), at));
            let nowhere = Span { file: crate::source::SourceId(0), start: 0, end: 0 };
            places.fold(
                finding.unwrap_or_else(|| Diagnostic::error("needs-cycle", error.to_string(), nowhere)),
                |d, at| d.also(at, "and this play"),
            )
        }
    }
}

/// Several playbooks on one command line run one after the other as if they were one file.
fn renumbered(plays: Vec<Arc<crate::resolve::Play>>) -> Vec<Arc<crate::resolve::Play>> {
    plays
        .into_iter()
        .enumerate()
        .map(|(at, mut play)| {
            if let Some(play) = Arc::get_mut(&mut play) {
                play.index = at;
            }
            play
        })
        .collect()
}

/// Where an inventory comes from.
pub(super) struct From<'a> {
    /// The values of `-i`.
    pub(super) given: &'a [String],
    /// Past the caches of inventories.
    pub(super) refresh: bool,
    /// Where relative sources start.
    pub(super) directory: &'a Path,
    pub(super) playbook_dir: Option<&'a Path>,
    /// Variables of the command line.
    pub(super) extra: &'a Table,
}

/// Reads the inventory; `inventory` alone uses it too.
pub(super) fn read_inventory(
    from: &From<'_>,
    vault: &Vault,
    sources: &Sources,
    found: &mut Diagnostics,
    labs: &LabPlugin,
) -> Inventory {
    let usual: Vec<String>;
    let given = if from.given.is_empty() {
        usual = USUAL_INVENTORIES
            .iter()
            .filter(|p| from.directory.join(p).exists())
            .take(1)
            .map(|p| (*p).to_owned())
            .collect();
        &usual
    } else {
        from.given
    };
    let others = |plugin: &str, node: &Node, path: &Path| labs.ask(plugin, node, path);
    #[cfg(feature = "aws")]
    let ec2: Option<inventory::Ec2Ask<'_>> = Some(&crate::infra::aws::inventory::ask);
    #[cfg(not(feature = "aws"))]
    let ec2 = None;
    let extra = Arc::new(from.extra.clone());
    let plugins =
        inventory::Plugins { others: Some(&others), ec2, extra: Some(&extra), refresh: from.refresh };
    let request = inventory::Request {
        sources: given,
        directory: from.directory,
        playbook_dir: from.playbook_dir,
        vault,
        plugins,
    };
    inventory::load(&request, sources, found)
}

/// Reads an inventory again, while a run goes on.
pub(super) type Reload = Box<dyn Fn() -> Result<Inventory, String> + Send + Sync>;

/// What `meta: refresh_inventory` does: the same sources as at the start, past every cache.
pub(super) fn reloader(
    flags: &InventoryFlags,
    variables: &VariableFlags,
    playbook: &Path,
    ready: &Ready,
) -> Result<Reload, Trouble> {
    let directory = std::env::current_dir()?;
    let playbook_dir = std::path::absolute(playbook)?.parent().map(Path::to_owned);
    let dirs = LabDirs::of_user()?;
    let (flags, variables) = (flags.clone(), variables.clone());
    let (vault, sources) = (Arc::clone(&ready.vault), Arc::clone(&ready.sources));
    Ok(Box::new(move || {
        let mut found = Diagnostics::default();
        let extra = crate::vars::extra::parse_extra_vars(
            &variables.extra_vars,
            &directory,
            &vault,
            &sources,
            &mut found,
        );
        let from = From {
            given: &flags.inventory,
            refresh: true,
            directory: &directory,
            playbook_dir: playbook_dir.as_deref(),
            extra: &extra,
        };
        let labs = LabPlugin::new(dirs.clone());
        let inventory = read_inventory(&from, &vault, &sources, &mut found, &labs);
        let Some(first) = found.list.iter().find(|f| f.severity == Severity::Error) else {
            return Ok(inventory);
        };
        let place =
            first.labels.first().map(|l| format!(" at {}", sources.place(l.span))).unwrap_or_default();
        let help = first.help.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
        Err(format!("the inventory can't be read again: {}{help}{place}", first.message))
    }))
}

pub(super) fn template_options(
    vault: &Arc<Vault>,
    current_folder: PathBuf,
    known_hosts: Arc<OnceLock<Weak<Store>>>,
) -> template::Options {
    template::Options {
        vault: vault_opener(vault),
        hosts: Some(Arc::new(move |pattern| {
            let store = known_hosts.get().and_then(Weak::upgrade).ok_or("the inventory is not read yet")?;
            let pattern = inventory::Pattern::parse(pattern).map_err(|e| e.to_string())?;
            let found = pattern.select(&store.inventory());
            Ok(found.hosts.iter().map(ToString::to_string).collect())
        })),
        environment: std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect(),
        current_folder,
        collections: collections_path(),
        broken_conditionals: super::config::broken_conditionals(),
    }
}

/// Folders of installed collections: ANSIBLE_COLLECTIONS_PATH, `collections_path`, or Ansible's default ones.
fn collections_path() -> Vec<PathBuf> {
    let named =
        ["ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_COLLECTIONS_PATHS"].iter().find_map(|v| std::env::var(v).ok());
    let config = super::config::get();
    let settings =
        || ["collections_path", "collections_paths"].iter().find_map(|key| config.paths("defaults", key));
    match named {
        None if let Some(folders) = settings() => folders,
        named => Resolver::collections_path(named.as_deref(), std::env::home_dir().as_deref()),
    }
}

/// Passwords that stand in the inventory or on the command line in clear are at least never shown.
fn hide_passwords(variables: &[(Arc<str>, Arc<Node>)], masks: &Masks) {
    for (name, node) in variables {
        let password =
            name.starts_with("ansible_") && (name.ends_with("_pass") || name.ends_with("_password"));
        if (password || &**name == "ansible_password")
            && let Some(text) = node.scalar_text()
            && !template::template_text(&text)
        {
            masks.add(&text);
        }
    }
}

/// Opens vault values for templates and actions, and hides them in output; `None` without a password.
pub(super) fn vault_opener(vault: &Arc<Vault>) -> Option<template::VaultOpener> {
    if vault.is_empty() {
        return None;
    }
    let vault = Arc::clone(vault);
    Some(Arc::new(move |text| vault.open_value(text).map_err(|e| e.to_string())))
}

/// The vault with the passwords that the flags give.
pub(super) fn vault(flags: &VariableFlags, masks: &Arc<Masks>) -> Result<Vault, Trouble> {
    let mut vault = Vault::new(Arc::clone(masks));
    for path in &flags.vault_password_file {
        vault.add_file("default", path)?;
    }
    let listed = super::config::get().value("defaults", "vault_identity_list").unwrap_or_default();
    let listed: Vec<String> =
        listed.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect();
    for id in if flags.vault_id.is_empty() { &listed } else { &flags.vault_id } {
        let (name, path) = id.split_once('@').unwrap_or(("default", id));
        vault.add_file(name, Path::new(path))?;
    }
    if flags.ask_vault_pass {
        let password = crate::ask::line("Vault password", None, true)?;
        vault.add("default", Secret::new(password));
    }
    Ok(vault)
}

/// A playbook beside the wanted one with nearly its name.
fn nearest_playbook(path: &Path) -> Option<PathBuf> {
    nearest_file(path, |n| n.ends_with(".yml") || n.ends_with(".yaml"))
}

/// Refuses an inventory that isn't there, with the nearest name beside it.
///
/// # Errors
/// A source that is neither a file, a folder nor a list of hosts.
pub(super) fn inventories_exist(given: &[String]) -> Result<(), Trouble> {
    for source in given.iter().filter(|s| !s.contains(',')) {
        let path = Path::new(source);
        if !path.exists() {
            let near = nearest_file(path, |_| true);
            let help = near.map_or_else(
                || format!("\n  a list of hosts ends in a comma: -i {source},"),
                |n| format!("\n  did you mean {}?", n.display()),
            );
            let text = format!("error: no inventory `{source}`{help}");
            return Err(Trouble::new(crate::exit::PLAYBOOK, text));
        }
    }
    Ok(())
}

/// The file in the same folder whose name is nearest to the path's.
fn nearest_file(path: &Path, fits: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wanted = path.file_name()?.to_str()?;
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| fits(n))
        .collect();
    crate::source::nearest(wanted, names.iter().map(String::as_str)).map(|n| folder.join(n))
}

/// The template stage as resolve asks it.
#[derive(Debug)]
struct Check(Arc<Templates>);

impl Check {
    fn refs(
        &self,
        checked: Result<template::References, template::TemplateError>,
    ) -> Result<Refs, TemplateFault> {
        let fault = |error: &template::TemplateError| TemplateFault {
            message: error.to_string(),
            at: error.offset.as_ref().map_or(0..0, |o| o.start as usize..o.end as usize),
            help: error.help.clone(),
        };
        let references = checked.map_err(|e| fault(&e))?;
        if let Some(problem) = references.problems.first() {
            return Err(fault(problem));
        }
        let names = references
            .names
            .iter()
            .map(|r| crate::resolve::Ref {
                name: r.name.to_string(),
                at: r.offset as usize..r.offset as usize + r.name.len(),
                guarded: r.guarded,
            })
            .collect();
        Ok(Refs { names })
    }
}

impl TemplateCheck for Check {
    fn text(&self, text: &str) -> Result<Refs, TemplateFault> {
        self.refs(self.0.check_text(text))
    }

    fn file(&self, text: &str, delimiters: &[(String, String)]) -> Result<Refs, TemplateFault> {
        let mut options = template::FileOptions::default();
        for (name, value) in delimiters {
            options.set_delimiter(name, value);
        }
        self.refs(self.0.check_file(text, Path::new(""), options))
    }

    fn expression(&self, text: &str) -> Result<Refs, TemplateFault> {
        self.refs(self.0.check_expression(text))
    }

    fn lookups(&self) -> Vec<&'static str> {
        template::lookup_names()
    }
}

/// Renders names of imported files from extra and play variables.
struct EarlyText {
    templates: Arc<Templates>,
    store: Arc<Store>,
}

impl crate::resolve::StaticText for EarlyText {
    fn render(&self, text: &Node, vars: &[Arc<crate::vars::Layer>]) -> Option<String> {
        let parts = Arc::new(crate::vars::ScopeParts { task: vars.to_vec(), ..Default::default() });
        let scope: Arc<dyn template::Scope> = Arc::new(self.store.scope("localhost", &parts));
        let value = self.templates.node(text, &scope).ok()?;
        template::to_text(&value).ok()
    }
}

struct Opener(Arc<Vault>);

impl crate::resolve::Unlock for Opener {
    fn open(&self, text: &str) -> Result<String, crate::resolve::Locked> {
        self.0.open_file(text).map_err(|e| {
            let help = e.help().map(|h| format!(": {h}")).unwrap_or_default();
            crate::resolve::Locked(format!("{e}{help}"))
        })
    }
}

/// Keeps `Severity` in the public face of warnings.
pub(super) fn is_warning(finding: &Diagnostic) -> bool {
    finding.severity == Severity::Warning
}
