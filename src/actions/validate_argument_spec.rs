//! `validate_argument_spec`: a role's parameters against its spec.
//!
//! Owns: where the values come from. Must not: judge them; `argument_spec` does.

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::rendering::json;
use super::results::{Reply, typed};
use super::{Action, Context, Done, Stop, argument_spec};
use crate::template::is_unknown;

static OPTIONS: &[Opt] = &[
    Opt::dict("argument_spec").required(),
    Opt::dict("provided_arguments"),
    Opt::raw("validate_args_context"),
];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("validate_argument_spec") };

#[derive(Deserialize)]
struct Args {
    argument_spec: Map<String, Json>,
    #[serde(default)]
    provided_arguments: Map<String, Json>,
    validate_args_context: Option<Json>,
}

pub(super) struct ValidateArgumentSpec;

impl Action for ValidateArgumentSpec {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        async move { run(context, args) }.boxed()
    }
}

fn run(context: &Context<'_>, args: Map<String, Json>) -> Result<Done, Stop> {
    let args: Args = typed(&SPEC, args)?;
    // A role's parameters are variables of the host; what is given here wins.
    let mut values = args.provided_arguments;
    for name in args.argument_spec.keys() {
        if values.contains_key(name) || context.scope.get(name).is_none() {
            continue;
        }
        let Some(value) = context.templates.variable(&context.scope, name) else { continue };
        let value = context.templates.settle(value, &context.scope)?;
        // Check mode may not know a value; it is not wrong because of that.
        if !is_unknown(&value) {
            values.insert(name.clone(), json(&value));
        }
    }
    let faults = argument_spec::faults(&args.argument_spec, &values);
    let about = args.validate_args_context.unwrap_or_else(|| Json::Object(Map::new()));
    if faults.is_empty() {
        return Reply::new(false)
            .with("msg", "The arg spec validation passed")
            .with("validate_args_context", about)
            .done();
    }
    Err(Stop::failed(format!("Validation of arguments failed:\n{}", faults.join("\n")))
        .with("argument_errors", faults)
        .with("argument_spec_data", args.argument_spec)
        .with("validate_args_context", about))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn values_come_from_variables_unless_given() {
        let spec = json!({"port": {"type": "int", "required": true}});
        let stage = Stage::new().var("half", json!(40)).var("port", json!("{{ half * 2 }}"));
        let result = stage.result("validate_argument_spec", json!({"argument_spec": spec})).await;
        assert_eq!(result["msg"], "The arg spec validation passed");
        let args = json!({"argument_spec": spec, "provided_arguments": {"port": "http"}});
        let failed = stage.failure("validate_argument_spec", args).await;
        assert!(
            failed["msg"]
                .as_str()
                .is_some_and(|m| m.starts_with("Validation of arguments failed:\nargument 'port'"))
        );
        let missing = Stage::new().failure("validate_argument_spec", json!({"argument_spec": spec})).await;
        assert_eq!(missing["argument_errors"], json!(["missing required arguments: port"]));
    }
}
