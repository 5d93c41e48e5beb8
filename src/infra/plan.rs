//! From a declaration and what is there to the changes that are due.
//!
//! Owns: rendering of options, create, update, replace and delete, how a plan is shown. Pure but for the templates: it calls no
//! cloud, so a plan cannot change anything, and `apply` uses the same code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use dcos_play_agent::options::Kind as OptionKind;
use serde_json::Value as Json;

use super::cloud::{Cloud, Found, Options};
use super::declare::{Declared, Resource};
use super::differ::{After, Difference, Wanted, all_new, differences};
use super::fault::CloudFault;
use super::identity::{FORCE, Identity, Tags};
use super::kinds::Kind;
use crate::source::{Node, Span};
use crate::template::{self, ErrorKind, Scope, SearchPath, TemplateError, Templates, Value, Var};

/// What is to be done with one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Keep,
    Create,
    Update,
    Replace,
    Delete,
}

impl Act {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Keep => " ",
            Self::Create => "+",
            Self::Update => "~",
            Self::Replace => "±",
            Self::Delete => "-",
        }
    }
}

/// One object of a plan.
#[derive(Debug, Clone)]
pub struct Item {
    pub identity: Identity,
    pub kind: Kind,
    pub act: Act,
    /// What is there now.
    pub found: Option<Found>,
    pub differences: Vec<Difference>,
}

/// The changes that are due, in the order in which they are made; what is to be deleted comes last.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub items: Vec<Item>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanFault {
    #[error("{0}")]
    Template(#[from] TemplateError),
    #[error("`{resource}`: {fault}")]
    Option { resource: String, fault: CloudFault, at: Span },
    #[error("`{resource}`: {text}")]
    Argument { resource: String, text: String, at: Span },
    #[error("two objects carry the tags of `{identity}`: {}", ids.join(", "))]
    Doubled { identity: Identity, ids: Vec<String> },
    #[error(transparent)]
    Cloud(#[from] CloudFault),
}

/// The variables of a play with the results of resources over them.
#[derive(Debug)]
struct Results {
    outer: Arc<dyn Scope>,
    values: BTreeMap<String, Value>,
}

impl Scope for Results {
    fn get(&self, name: &str) -> Option<Var> {
        self.values.get(name).map(|v| Var::Data(v.clone())).or_else(|| self.outer.get(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.outer.names();
        names.extend(self.values.keys().cloned());
        names.sort();
        names.dedup();
        names
    }

    fn search(&self) -> SearchPath {
        self.outer.search()
    }
}

/// What resources gave so far; a resource that isn't here is unknown until it is made.
pub type Known = BTreeMap<usize, Json>;

/// Everything that planning looks at.
pub struct Planner<'a> {
    pub declared: &'a Declared,
    pub owner: &'a str,
    pub cloud: &'a dyn Cloud,
    pub templates: &'a Templates,
    pub scope: Arc<dyn Scope>,
    /// Objects that are made anew because the user says so, as a plan names them: `masters[1]`.
    pub replace: &'a [String],
    /// Ids of objects that are made anew because the play says so. Those that are gone already are no matter: a run that
    /// was stopped after it deleted one goes on.
    pub leaving: &'a [String],
}

impl Planner<'_> {
    /// Plans everything, with `found` as it is there.
    ///
    /// # Errors
    /// Options that don't render or that the cloud would refuse; two objects of one identity.
    pub fn plan(&self, found: &[Found]) -> Result<Plan, PlanFault> {
        check_doubled(found)?;
        let mut known = Known::new();
        let mut plan = Plan::default();
        for at in &self.declared.order {
            let items = self.resource(*at, &known, found)?;
            if let Some(result) = self.result(*at, &items) {
                known.insert(*at, result);
            }
            plan.items.extend(items);
        }
        if self.declared.partial {
            self.check_declared()?;
            return Ok(plan);
        }
        self.check_named(&plan)?;
        let kept: BTreeSet<Identity> = plan.items.iter().map(|i| i.identity.clone()).collect();
        let mut gone: Vec<&Found> =
            found.iter().filter(|f| !kept.contains(&f.identity) || !self.stays(&plan, f)).collect();
        gone.sort_by_key(|f| (f.kind.teardown_rank(), f.identity.clone()));
        plan.items.extend(gone.into_iter().map(deletion));
        Ok(plan)
    }

    /// Whether the user wants this object made anew.
    #[must_use]
    pub fn is_named(&self, identity: &Identity, found: Option<&Found>) -> bool {
        if found.is_some_and(|f| self.leaving.contains(&f.id)) {
            return true;
        }
        let numbered = format!("{}[{}]", identity.resource, identity.index);
        self.replace.iter().any(|name| *name == identity.to_string() || *name == numbered)
    }

    /// Whether there still is a resource of that name, of however many instances.
    #[must_use]
    pub fn declares(&self, identity: &Identity, plan: &Plan) -> bool {
        let known = self.results(plan);
        let applies = |when: &Node| self.templates.condition(when, &self.scope(&known)).unwrap_or(true);
        let mut resources = self.declared.resources.iter();
        resources.any(|r| {
            r.name.value == identity.resource
                && r.kind == Kind::Instance
                && r.when.as_ref().is_none_or(applies)
        })
    }

    /// Every name to replace must be one of the plan's.
    fn check_named(&self, plan: &Plan) -> Result<(), PlanFault> {
        let there = |name: &&String| {
            let identities = plan.items.iter().map(|i| &i.identity);
            identities
                .clone()
                .any(|i| **name == i.to_string() || **name == format!("{}[{}]", i.resource, i.index))
        };
        let Some(missing) = self.replace.iter().find(|name| !there(name)) else { return Ok(()) };
        let names: Vec<String> = plan.items.iter().map(|i| i.identity.to_string()).collect();
        let near = crate::source::nearest(missing, names.iter().map(String::as_str));
        let near = near.map(|n| format!(", did you mean `{n}`?")).unwrap_or_default();
        let text = format!("nothing to replace has that name{near}");
        Err(PlanFault::Argument { resource: missing.clone(), text, at: self.declared.span })
    }

    /// Of a part of an infrastructure: every name to replace must at least be of a resource.
    fn check_declared(&self) -> Result<(), PlanFault> {
        let names = || self.declared.resources.iter().map(|r| r.name.value.as_str());
        let stem = |name: &String| name.split('[').next().unwrap_or_default().to_owned();
        let Some(missing) = self.replace.iter().find(|n| !names().any(|d| d == stem(n))) else {
            return Ok(());
        };
        let near = crate::source::nearest(missing, names());
        let near = near.map(|n| format!(", did you mean `{n}`?")).unwrap_or_default();
        let text = format!("nothing to replace has that name{near}");
        Err(PlanFault::Argument { resource: missing.clone(), text, at: self.declared.span })
    }

    /// What each resource of a plan gives to templates; those that are yet to be made are left out.
    #[must_use]
    pub fn results(&self, plan: &Plan) -> Known {
        let one = |at: &usize| {
            let name = &self.declared.resources[*at].name.value;
            let kind = self.declared.resources[*at].kind;
            let mine = |i: &&Item| i.identity.resource == *name && i.kind == kind && i.act != Act::Delete;
            let items: Vec<Item> = plan.items.iter().filter(mine).cloned().collect();
            Some((*at, self.result(*at, &items)?))
        };
        self.declared.order.iter().filter_map(one).collect()
    }

    fn stays(&self, plan: &Plan, found: &Found) -> bool {
        // A gateway's own address carries the gateway's identity.
        let own =
            |i: &Item| i.kind == Kind::NatGateway && found.kind == Kind::Address && i.act != Act::Replace;
        plan.items.iter().any(|i| i.identity == found.identity && (i.kind == found.kind || own(i)))
    }

    /// Plans one resource; `known` must hold what those before it gave.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub fn resource(&self, at: usize, known: &Known, found: &[Found]) -> Result<Vec<Item>, PlanFault> {
        let resource = &self.declared.resources[at];
        if let Some(when) = &resource.when
            && !self.templates.condition(when, &self.scope(known))?
        {
            return Ok(Vec::new());
        }
        let rendered = self.render(resource, known)?;
        let count = match rendered.known.get("count") {
            Some(count) => count
                .as_u64()
                .and_then(|n| u32::try_from(n).ok())
                .ok_or_else(|| self.argument(resource, "`count` must be a number from 0 on".to_owned()))?,
            None if rendered.unknown.contains("count") => {
                return Err(
                    self.argument(resource, "`count` must be known before anything is made".to_owned())
                );
            }
            None => 1,
        };
        (0..count).map(|index| self.item(resource, index, &rendered, found)).collect()
    }

    fn argument(&self, resource: &Resource, text: String) -> PlanFault {
        PlanFault::Argument { resource: resource.name.value.clone(), text, at: resource.name.span }
    }

    fn item(
        &self,
        resource: &Resource,
        index: u32,
        rendered: &Wanted,
        found: &[Found],
    ) -> Result<Item, PlanFault> {
        let identity =
            Identity { owner: self.owner.to_owned(), resource: resource.name.value.clone(), index };
        let wanted = self.wanted(resource, &identity, rendered)?;
        let there = found.iter().find(|f| f.identity == identity && f.kind == resource.kind).cloned();
        let (act, differences) = match &there {
            None => (Act::Create, all_new(&wanted)),
            Some(found) => {
                let all = differences(resource.kind, found, &wanted);
                let act = match () {
                    () if self.is_named(&identity, Some(found)) => Act::Replace,
                    () if all.is_empty() => Act::Keep,
                    () if all.iter().any(|d| d.replaces) => Act::Replace,
                    () => Act::Update,
                };
                (act, all)
            }
        };
        Ok(Item { identity, kind: resource.kind, act, found: there, differences })
    }

    /// The options of one object, normal form, identity tags included.
    ///
    /// # Errors
    /// A value that the cloud would refuse.
    pub fn wanted(
        &self,
        resource: &Resource,
        identity: &Identity,
        rendered: &Wanted,
    ) -> Result<Wanted, PlanFault> {
        let mut wanted = rendered.clone();
        wanted.tags.extend(identity.tags());
        // Known at the end, when nothing is left but the tags.
        if resource.kind == Kind::Bucket && wanted.known.remove("force") == Some(Json::Bool(true)) {
            wanted.tags.insert(FORCE.to_owned(), "true".to_owned());
        }
        if !wanted.tags.contains_key("Name") {
            let name = wanted.known.get("name").and_then(Json::as_str).map(ToOwned::to_owned);
            let own = || match resource.kind.counted() {
                true => format!("{}-{}-{}", identity.owner, identity.resource, identity.index),
                false => format!("{}-{}", identity.owner, identity.resource),
            };
            wanted.tags.insert("Name".to_owned(), name.unwrap_or_else(own));
        }
        wanted.known = self.cloud.normal(resource.kind, identity, wanted.known).map_err(|fault| {
            PlanFault::Option { resource: identity.to_string(), fault, at: resource.name.span }
        })?;
        // What is unknown isn't filled with a default.
        wanted.known.retain(|option, _| !wanted.unknown.contains(option));
        Ok(wanted)
    }

    /// The play's variables with what resources gave so far over them.
    fn scope(&self, known: &Known) -> Arc<dyn Scope> {
        let values = self.declared.resources.iter().enumerate().map(|(at, other)| {
            let value = known.get(&at).map_or_else(template::unknown, |v| template::from_json(v.clone()));
            (other.name.value.clone(), value)
        });
        Arc::new(Results { outer: Arc::clone(&self.scope), values: values.collect() })
    }

    /// Renders the options of a resource, as far as they are known.
    ///
    /// # Errors
    /// A template that fails, or options of a wrong type.
    pub fn render(&self, resource: &Resource, known: &Known) -> Result<Wanted, PlanFault> {
        let scope = self.scope(known);
        let mut raw = Options::new();
        let mut wanted = Wanted::default();
        for (name, node) in &resource.options {
            let value = self.templates.node(node, &scope)?;
            if template::is_omit(&value) {
                continue;
            }
            // An unknown part makes the whole option unknown.
            match template::to_json(&value) {
                _ if template::is_unknown(&value) => {
                    wanted.unknown.insert(name.value.clone());
                }
                Err(error) if error.kind == ErrorKind::Unknown => {
                    wanted.unknown.insert(name.value.clone());
                }
                json => {
                    raw.insert(name.value.clone(), json?);
                }
            }
        }
        // Required options that are unknown must not be told missing: they are checked when they are known.
        let unknown = wanted.unknown.clone();
        let faults = |faults: Vec<dcos_play_agent::options::ArgumentFault>| {
            let texts: Vec<String> = faults
                .iter()
                .filter(|f| {
                    !matches!(f, dcos_play_agent::options::ArgumentFault::Missing { option, .. } if unknown.contains(*option))
                })
                .map(ToString::to_string)
                .collect();
            texts
        };
        // Each option alone when something is missing only because it is unknown.
        let mut coerced = match resource.kind.spec().coerce(raw.clone()) {
            Ok(coerced) => coerced,
            Err(found) => {
                let texts = faults(found);
                if !texts.is_empty() {
                    return Err(self.argument(resource, texts.join("; ")));
                }
                for option in resource.kind.spec().all_options() {
                    if option.required && unknown.contains(option.name) {
                        raw.insert(option.name.to_owned(), stand_in(option.kind));
                    }
                }
                let mut filled = resource
                    .kind
                    .spec()
                    .coerce(raw)
                    .map_err(|found| self.argument(resource, faults(found).join("; ")))?;
                filled.retain(|option, _| !unknown.contains(option));
                filled
            }
        };
        let purge = coerced.remove("purge_tags").and_then(|v| v.as_bool()).unwrap_or(true);
        if let Some(Json::Object(tags)) = coerced.remove("tags") {
            wanted.purge_tags = purge;
            wanted.tags = tags
                .into_iter()
                .map(|(key, value)| {
                    let text = match value {
                        Json::String(text) => text,
                        Json::Null => String::new(),
                        other => other.to_string(),
                    };
                    (key, text)
                })
                .collect::<Tags>();
        }
        wanted.known = coerced;
        self.members(resource, known, &mut wanted)?;
        Ok(wanted)
    }

    /// `instance_tags` of a load balancer becomes `instance_ids`, once every instance of this infrastructure is known.
    fn members(&self, resource: &Resource, known: &Known, wanted: &mut Wanted) -> Result<(), PlanFault> {
        let (given, named) = ("instance_tags", "instance_ids");
        let tags = match wanted.known.remove(given) {
            Some(Json::Object(tags)) => tags,
            _ if wanted.unknown.remove(given) => {
                wanted.unknown.insert(named.to_owned());
                return Ok(());
            }
            _ => return Ok(()),
        };
        if wanted.known.contains_key(named) || wanted.unknown.contains(named) {
            return Err(self.argument(resource, format!("`{given}` and `{named}` exclude each other")));
        }
        let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        // Nothing but the name of a tag: any value will do.
        let is = |there: Option<&Json>, value: &Json| {
            there.is_some_and(|there| value.is_null() || text(there) == text(value))
        };
        let mut ids = Vec::new();
        let all = self.declared.resources.iter().enumerate().filter(|(_, r)| r.kind == Kind::Instance);
        for (at, _) in all {
            let Some(result) = known.get(&at) else {
                wanted.unknown.insert(named.to_owned());
                return Ok(());
            };
            let instances = result.get("instances").and_then(Json::as_array).into_iter().flatten();
            let fits = instances.filter(|one| tags.iter().all(|(k, v)| is(one["tags"].get(k), v)));
            ids.extend(fits.filter_map(|one| one.get("instance_id").cloned()));
        }
        wanted.known.insert(named.to_owned(), ids.into());
        Ok(())
    }

    /// What a resource gives to templates, once all its objects are there and stay.
    #[must_use]
    pub fn result(&self, at: usize, items: &[Item]) -> Option<Json> {
        let kept: Option<Vec<&Found>> = items
            .iter()
            .map(|i| i.found.as_ref().filter(|_| matches!(i.act, Act::Keep | Act::Update)))
            .collect();
        Some(result_of(self.declared.resources[at].kind, &kept?))
    }
}

/// A value that an option of that kind takes, for one that must be given and is unknown yet.
fn stand_in(kind: OptionKind) -> Json {
    match kind {
        OptionKind::Bool => Json::Bool(false),
        OptionKind::Int | OptionKind::Float | OptionKind::Bytes => Json::from(0),
        OptionKind::List | OptionKind::RawList => Json::Array(Vec::new()),
        OptionKind::Dict | OptionKind::Raw => Json::Object(Options::new()),
        OptionKind::Str | OptionKind::Path | OptionKind::Mode => Json::String(String::new()),
    }
}

/// What a resource gives to templates. An instance gives lists, as its module does, and for one alone its own values too.
#[must_use]
pub fn result_of(kind: Kind, objects: &[&Found]) -> Json {
    let mut result = Options::new();
    if let [one] = objects {
        result.clone_from(&one.result);
    }
    if kind.counted() {
        let all = objects.iter().map(|f| Json::Object(f.result.clone())).collect();
        result.insert("instances".to_owned(), Json::Array(all));
        let ids = objects.iter().map(|f| Json::from(f.id.as_str())).collect();
        result.insert("instance_ids".to_owned(), Json::Array(ids));
    }
    Json::Object(result)
}

/// An object that goes.
#[must_use]
pub fn deletion(found: &Found) -> Item {
    Item {
        identity: found.identity.clone(),
        kind: found.kind,
        act: Act::Delete,
        found: Some(found.clone()),
        differences: Vec::new(),
    }
}

fn check_doubled(found: &[Found]) -> Result<(), PlanFault> {
    let mut by: BTreeMap<(Kind, &Identity), Vec<String>> = BTreeMap::new();
    for one in found {
        by.entry((one.kind, &one.identity)).or_default().push(one.id.clone());
    }
    match by.into_iter().find(|(_, ids)| ids.len() > 1) {
        Some(((_, identity), ids)) => Err(PlanFault::Doubled { identity: identity.clone(), ids }),
        None => Ok(()),
    }
}

impl Plan {
    /// True when nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.iter().all(|i| i.act == Act::Keep)
    }

    /// The plan as text: one line an object, one for each option that changes, a line that sums it up.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text: String = self.items.iter().filter(|i| i.act != Act::Keep).map(Item::show).collect();
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    /// How many objects change, and how.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |act: Act| self.items.iter().filter(|i| i.act == act).count();
        if self.is_empty() {
            return format!("nothing to change: {} objects are as declared", self.items.len());
        }
        format!(
            "{} to create, {} to update, {} to replace, {} to delete",
            count(Act::Create),
            count(Act::Update),
            count(Act::Replace),
            count(Act::Delete)
        )
    }
}

impl Item {
    /// One line, and one for each option that changes; nothing for an object that stays as it is.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        if self.act == Act::Keep {
            return text;
        }
        let id = self.found.as_ref().map(|f| format!(" {}", f.id)).unwrap_or_default();
        let _ =
            writeln!(text, "{} {} {} ({}){id}", self.act.mark(), self.act.word(), self.identity, self.kind);
        let hidden = |option: &str| self.kind.spec().is_secret(option) || option == "user_data";
        for difference in &self.differences {
            let show = |value: &Json| match hidden(&difference.option) {
                true => "(not shown)".to_owned(),
                false => value.to_string(),
            };
            let after = match &difference.after {
                After::Known(value) => show(value),
                After::UntilApply => "(known when applied)".to_owned(),
            };
            let why = if difference.replaces { "  needs replacement" } else { "" };
            let _ = match &difference.before {
                Some(before) => writeln!(text, "    {}: {} -> {after}{why}", difference.option, show(before)),
                None => writeln!(text, "    {}: {after}{why}", difference.option),
            };
        }
        text
    }
}
