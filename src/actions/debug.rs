//! `debug`: shows a message or a value.
//!
//! Owns: what an undefined `var` shows. Must not: print; the report shows the result.

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::rendering::{json, told};
use super::results::Reply;
use super::{Action, Context, Done, Stop};
use crate::source::{Node, Yaml};
use crate::template::{ErrorKind, is_omit, template_text};

static OPTIONS: &[Opt] = &[Opt::raw("msg"), Opt::raw("var"), Opt::int("verbosity")];
static SPEC: Spec =
    Spec { options: &[OPTIONS], mutually_exclusive: &[&["msg", "var"]], ..Spec::new("debug") };

/// What Ansible shows for a variable that does not exist.
const UNDEFINED: &str = "VARIABLE IS NOT DEFINED!";

/// The message of a `debug` without one.
const DEFAULT: &str = "Hello world!";

pub(super) struct Debug;

impl Action for Debug {
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
    let raw = super::rendering::RawArguments::of(context)?;
    raw.check(&SPEC)?;
    let (msg, var) = (raw.get("msg"), raw.get("var"));
    if msg.is_some() && var.is_some() {
        return Err(Stop::failed("'msg' and 'var' are incompatible options"));
    }
    let threshold = raw.rendered(context, "verbosity")?.map_or(Ok(0), |v| {
        let number = v.as_i64().or_else(|| v.to_string().trim().parse().ok());
        number.ok_or_else(|| Stop::failed(format!("`verbosity` of `debug` must be an integer, not `{v}`")))
    })?;
    if i64::from(context.verbosity) < threshold {
        return Reply::new(false)
            .with("skipped", true)
            .with("skipped_reason", "Verbosity threshold not met.")
            .done();
    }
    let reply = Reply::new(false);
    match (msg, var) {
        (_, Some(var)) => {
            let (name, value) = shown(context, var)?;
            reply.with(&name, value).done()
        }
        (Some(msg), None) => {
            let value = context.templates.node(msg, &context.scope)?;
            if is_omit(&value) {
                return reply.with("msg", DEFAULT).done();
            }
            reply.with("msg", json(&value)).done()
        }
        (None, None) => reply.with("msg", DEFAULT).done(),
    }
}

/// The expression as it is named in the result, and its value.
fn shown(context: &Context<'_>, var: &Node) -> Result<(String, Json), Stop> {
    let text = match &var.value {
        Yaml::Str(text) | Yaml::Unsafe(text) => text,
        // Not a name at all: Ansible shows the value under its type.
        Yaml::Seq(_) | Yaml::Map(_) => {
            let kind = if matches!(var.value, Yaml::Seq(_)) { "<class 'list'>" } else { "<class 'dict'>" };
            return Ok((kind.to_owned(), json(&context.templates.node(var, &context.scope)?)));
        }
        _ => {
            let value = context.templates.node(var, &context.scope)?;
            return Ok((value.to_string(), json(&value)));
        }
    };
    // `var: "{{ name }}"` holds the name of the variable to show. The text may come from a host and is then no code,
    // so it is followed only when it is a plain name; any other value is shown itself.
    let expression = if template_text(text) {
        let value = match context.templates.text(text, Some(var.span), &context.scope) {
            Err(e) if matches!(e.kind, ErrorKind::Undefined { .. }) => {
                return Ok((text.to_string(), UNDEFINED.into()));
            }
            other => other?,
        };
        match value.as_str().filter(|inner| is_path(inner)) {
            Some(inner) if context.scope.get(inner.split('.').next().unwrap_or_default()).is_some() => {
                inner.to_owned()
            }
            _ => return Ok((text.to_string(), json(&value))),
        }
    } else {
        text.to_string()
    };
    let value = match context.templates.expression(&expression, Some(var.span), &context.scope) {
        Ok(value) => json(&value),
        Err(e) if matches!(e.kind, ErrorKind::Undefined { .. }) => {
            if context.verbosity > 0 {
                format!("{UNDEFINED}: {}", told(&e)).into()
            } else {
                UNDEFINED.into()
            }
        }
        Err(e) if e.kind == ErrorKind::Unknown => json(&crate::template::unknown()),
        Err(e) => return Err(e.into()),
    };
    Ok((expression, value))
}

/// `name` or `name.part`.
fn is_path(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn messages_are_rendered_and_keep_their_type() {
        let stage = Stage::new().var("n", json!({"a": [1, 2]}));
        assert_eq!(
            stage.result("debug", json!({"msg": "x {{ n.a[1] }}"})).await,
            json!({"changed": false, "msg": "x 2"})
        );
        assert_eq!(
            stage.result("debug", json!({"msg": ["{{ n }}", 1]})).await["msg"],
            json!([{"a": [1, 2]}, 1])
        );
        assert_eq!(stage.result("debug", json!({})).await["msg"], "Hello world!");
    }

    #[tokio::test]
    async fn var_takes_expressions_and_says_when_nothing_is_there() {
        let stage = Stage::new().var("n", json!({"a": [1, 2]})).var("name", json!("n"));
        assert_eq!(
            stage.result("debug", json!({"var": "n.a"})).await,
            json!({"changed": false, "n.a": [1, 2]})
        );
        assert_eq!(stage.result("debug", json!({"var": "n.a | length"})).await["n.a | length"], 2);
        assert_eq!(stage.result("debug", json!({"var": "{{ name }}"})).await["n"], json!({"a": [1, 2]}));
        assert_eq!(
            stage.result("debug", json!({"var": "nope.x"})).await["nope.x"],
            "VARIABLE IS NOT DEFINED!"
        );
    }

    #[tokio::test]
    async fn a_threshold_above_the_verbosity_skips() {
        let result = Stage::new().result("debug", json!({"msg": "{{ nope }}", "verbosity": 2})).await;
        assert_eq!(
            result,
            json!({"changed": false, "skipped": true, "skipped_reason": "Verbosity threshold not met."})
        );
    }
}
