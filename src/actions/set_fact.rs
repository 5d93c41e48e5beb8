//! `set_fact`: values of the host for the rest of the run.
//!
//! Owns: names, rendering once. Must not: store; the engine takes the effect over.

use std::sync::Arc;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::rendering::{RawArguments, json};
use super::results::Reply;
use super::{Action, Context, Done, Effect, Stop};
use crate::template::is_omit;

static OPTIONS: &[Opt] = &[Opt::bool("cacheable")];
static SPEC: Spec = Spec { options: &[OPTIONS], any_options: true, ..Spec::new("set_fact") };

pub(super) struct SetFact;

impl Action for SetFact {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn acts_remotely(&self) -> bool {
        true
    }

    fn renders_itself(&self) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        _: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        async move { run(context) }.boxed()
    }
}

fn run(context: &Context<'_>) -> Result<Done, Stop> {
    let raw = RawArguments::of(context)?;
    let cacheable = raw.flag(context, &SPEC, "cacheable")?;
    let mut vars = Vec::new();
    let mut facts = Map::new();
    for (written, span, node) in raw.entries().iter().filter(|(n, ..)| n != "cacheable") {
        let name = context.templates.text(written, Some(*span), &context.scope)?.to_string();
        if !is_name(&name) {
            return Err(Stop::failed(format!(
                "`{name}` is not a variable name: a name starts with a letter or underscore and holds only letters, \
                 numbers and underscores"
            )));
        }
        // Facts of one task do not see each other: all are rendered with what was known before.
        let value = context.templates.node(node, &context.scope)?;
        if is_omit(&value) {
            continue;
        }
        facts.insert(name.clone(), json(&value));
        vars.push((Arc::from(name), value));
    }
    if vars.is_empty() {
        return Err(Stop::failed("no facts given, `set_fact` needs at least one `name: value`"));
    }
    Reply::new(false)
        .with("ansible_facts", facts)
        .with("_ansible_facts_cacheable", cacheable)
        .effect(Effect::SetFact { vars, cacheable })
}

/// Ansible's rule for variable names.
pub(super) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::testing::Stage;
    use crate::template::Value;

    #[tokio::test]
    async fn keys_and_values_are_rendered_with_what_was_known_before() {
        let stage = Stage::new().var("role", json!("master")).var("n", json!(3));
        let args =
            json!({"{{ role }}_count": "{{ n + 1 }}", "n": 9, "twice": "{{ n * 2 }}", "cacheable": "yes"});
        let done = stage.run("set_fact", args).await.expect("works");
        assert_eq!(done.result["ansible_facts"], json!({"master_count": 4, "n": 9, "twice": 6}));
        let [Effect::SetFact { vars, cacheable: true }] = done.effects.as_slice() else {
            panic!("one effect")
        };
        assert_eq!(vars[0], (Arc::from("master_count"), Value::from(4)));
    }

    #[tokio::test]
    async fn bad_names_and_no_facts_are_refused() {
        let stage = Stage::new();
        assert_eq!(
            stage.failure("set_fact", json!({"a-b": 1})).await["msg"],
            "`a-b` is not a variable name: a name starts with a letter or underscore and holds only letters, numbers and underscores"
        );
        assert_eq!(
            stage.failure("set_fact", json!({"cacheable": true})).await["msg"],
            "no facts given, `set_fact` needs at least one `name: value`"
        );
    }
}
