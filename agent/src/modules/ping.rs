//! `ping`: proves that modules run on the host.

use std::convert::Infallible;

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::{fault, outcome};

/// The module.
pub struct Ping;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    data: Option<String>,
}

const OPTIONS: &[Opt] = &[Opt::str("data")];

impl Module for Ping {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("ping") };
    type Args = Args;
    type Change = Infallible;

    fn inspect(args: &Args, _: &Host<'_>) -> Result<Inspection<Infallible>, Fault> {
        match args.data.as_deref() {
            Some("crash") => Err(fault("boom: `ping` was told to crash")),
            data => Ok(Inspection::Same(outcome(false, json!({"ping": data.unwrap_or("pong")})))),
        }
    }

    fn apply(_: &Args, change: Infallible, _: &Host<'_>) -> Result<Outcome, Fault> {
        match change {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::script::{Script, args};

    #[test]
    fn what_is_sent_comes_back() {
        let said = |data: serde_json::Value| match Ping::inspect(&args(data), &Script::of(&[]).host()) {
            Ok(Inspection::Same(o)) => o.values["ping"].clone(),
            _ => json!("failed"),
        };
        assert_eq!(said(json!({})), "pong");
        assert_eq!(said(json!({"data": "x"})), "x");
        assert_eq!(said(json!({"data": "crash"})), "failed");
    }
}
