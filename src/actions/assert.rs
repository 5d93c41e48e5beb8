//! `assert`: conditions that must hold.
//!
//! Owns: which condition failed and what is said then. Must not: evaluate expressions itself.

use std::sync::Arc;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::rendering::{RawArguments, json as as_json, told};
use super::results::Reply;
use super::{Action, Context, Done, Stop};
use crate::source::{Node, Yaml};
use crate::template::{ErrorKind, Var};

static OPTIONS: &[Opt] = &[
    Opt::raw_list("that").required(),
    Opt::raw("fail_msg").aliases(&["msg"]),
    Opt::raw("success_msg"),
    // The result is the same: how much of it is shown is the report's business.
    Opt::bool("quiet"),
];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("assert") };

pub(super) struct Assert;

impl Action for Assert {
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
    raw.check(&SPEC)?;
    let Some(that) = raw.get("that") else {
        return Err(Stop::failed("`assert` needs `that`: a condition, or a list of conditions"));
    };
    let message = |names: &[&str], default: &str| -> Result<Json, Stop> {
        for name in names {
            if let Some(value) = raw.rendered(context, name)? {
                return Ok(as_json(&value));
            }
        }
        Ok(default.into())
    };
    let listed = listed(context, that);
    let conditions: &[Node] = match (&that.value, &listed) {
        (Yaml::Seq(items), _) => items,
        (_, Some(node)) => node.as_seq().unwrap_or_default(),
        _ => std::slice::from_ref(that),
    };
    for condition in conditions {
        let shown = shown(condition);
        match context.templates.condition(condition, &context.scope) {
            Ok(true) => {}
            Ok(false) => {
                return Err(Stop::Failed(
                    Reply::new(false)
                        .with("assertion", shown)
                        .with("evaluated_to", false)
                        .with("msg", message(&["fail_msg", "msg"], "Assertion failed")?)
                        .0,
                ));
            }
            Err(e) if e.kind == ErrorKind::Unknown => return Err(e.into()),
            Err(e) => {
                let text = match &shown {
                    Json::String(text) => text.clone(),
                    other => other.to_string(),
                };
                return Err(Stop::failed(format!(
                    "the condition `{text}` cannot be evaluated: {}",
                    told(&e)
                ))
                .with("assertion", shown));
            }
        }
    }
    Reply::new(false).with("msg", message(&["success_msg"], "All assertions passed")?).done()
}

/// `that: "{{ name }}"` where a playbook's variable holds a list of conditions. Data from a host is never code, so
/// only variables written by the user count.
fn listed(context: &Context<'_>, that: &Node) -> Option<Arc<Node>> {
    let name = that.as_str()?.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    match context.scope.get(name)? {
        Var::Yaml(node) if node.as_seq().is_some() => Some(node),
        _ => None,
    }
}

fn shown(condition: &Node) -> Json {
    match &condition.value {
        Yaml::Str(text) | Yaml::Unsafe(text) => text.as_ref().into(),
        Yaml::Bool(b) => (*b).into(),
        Yaml::Int(i) => (*i).into(),
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn all_conditions_hold_or_the_first_that_does_not_is_named() {
        let stage = Stage::new().var("n", json!(3));
        let passed = stage.result("assert", json!({"that": ["n == 3", true], "quiet": true})).await;
        assert_eq!(passed, json!({"changed": false, "msg": "All assertions passed"}));
        let failed = stage
            .failure("assert", json!({"that": ["n > 1", "n > 3", "n > 9"], "fail_msg": "n is {{ n }}"}))
            .await;
        assert_eq!(
            failed,
            json!({"changed": false, "assertion": "n > 3", "evaluated_to": false, "msg": "n is 3"})
        );
        assert_eq!(stage.failure("assert", json!({"that": "n == 4"})).await["msg"], "Assertion failed");
    }

    #[tokio::test]
    async fn a_condition_that_cannot_be_evaluated_fails_with_the_reason() {
        let failed = Stage::new().failure("assert", json!({"that": "nope == 4"})).await;
        assert_eq!(failed["msg"], "the condition `nope == 4` cannot be evaluated: `nope` is undefined");
        assert_eq!(failed["assertion"], "nope == 4");
    }
}
