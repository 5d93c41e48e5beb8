//! What differs between an object and its declaration.
//!
//! Owns: the comparison, option by option. Pure. Only options that the declaration sets are compared: what it doesn't
//! say is left alone, as in the Ansible modules.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::cloud::{Found, Options};
use super::identity::Tags;
use super::kinds::{Change, Kind};

/// Options as far as they are known now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    pub known: Options,
    /// Options whose value comes from something that isn't made yet.
    pub unknown: BTreeSet<String>,
    pub tags: Tags,
    /// Tags that nobody declared are removed (`tags` given and `purge_tags` not switched off).
    pub purge_tags: bool,
}

/// A value that an option gets.
#[derive(Debug, Clone, PartialEq)]
pub enum After {
    Known(Json),
    UntilApply,
}

/// One option that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub option: String,
    /// `None` when the object is new or has no such value.
    pub before: Option<Json>,
    pub after: After,
    pub replaces: bool,
}

/// Compares an object with its declaration.
#[must_use]
pub fn differences(kind: Kind, found: &Found, wanted: &Wanted) -> Vec<Difference> {
    let mut all = Vec::new();
    for (option, value) in wanted.known.iter().filter(|(o, _)| !Kind::is_manner(o)) {
        let before = found.state.get(option);
        if kind.change(option) == Change::AtCreation || before == Some(value) {
            continue;
        }
        all.push(Difference {
            option: option.clone(),
            before: before.cloned(),
            after: After::Known(value.clone()),
            replaces: replaces(kind, option, before),
        });
    }
    for option in wanted.unknown.iter().filter(|o| !Kind::is_manner(o)) {
        if kind.change(option) == Change::AtCreation {
            continue;
        }
        all.push(Difference {
            option: option.clone(),
            before: found.state.get(option).cloned(),
            after: After::UntilApply,
            replaces: replaces(kind, option, found.state.get(option)),
        });
    }
    if let Some(difference) = tags(&found.tags, wanted) {
        all.push(difference);
    }
    all
}

/// A gateway that a killed run left unattached is attached, not made anew.
fn replaces(kind: Kind, option: &str, before: Option<&Json>) -> bool {
    kind.change(option) == Change::Replace && !(kind == Kind::InternetGateway && before.is_none())
}

/// The tags that an object should end up with.
#[must_use]
pub fn tags_after(now: &Tags, wanted: &Wanted) -> Tags {
    let mut after: Tags =
        now.iter().filter(|(key, _)| !wanted.purge_tags || key.starts_with("aws:")).map(own).collect();
    after.extend(wanted.tags.iter().map(own));
    after
}

fn own((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

fn tags(now: &Tags, wanted: &Wanted) -> Option<Difference> {
    let after = tags_after(now, wanted);
    let json = |tags: &Tags| Json::Object(tags.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect());
    (after != *now).then(|| Difference {
        option: "tags".to_owned(),
        before: Some(json(now)),
        after: After::Known(json(&after)),
        replaces: false,
    })
}

/// What a new object gets.
#[must_use]
pub fn all_new(wanted: &Wanted) -> Vec<Difference> {
    let known = wanted.known.iter().map(|(o, v)| (o, After::Known(v.clone())));
    let unknown = wanted.unknown.iter().map(|o| (o, After::UntilApply));
    known
        .chain(unknown)
        .filter(|(option, _)| !Kind::is_manner(option))
        .map(|(option, after)| Difference { option: option.clone(), before: None, after, replaces: false })
        .collect()
}
