//! `setup`, alias `gather_facts`: gathers facts about the host.
//!
//! Owns: options and result. The facts themselves are in [`crate::facts`].

use std::convert::Infallible;
use std::time::Duration;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::facts::{self, Request, Subset};
use crate::files::glob::fnmatch;
use crate::options::{Opt, Spec};
use crate::system::fault;

/// The module.
pub struct Setup;

#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Args {
    gather_subset: Vec<String>,
    gather_timeout: u64,
    filter: Vec<String>,
    fact_path: String,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            gather_subset: vec!["all".into()],
            gather_timeout: 10,
            filter: Vec::new(),
            fact_path: "/etc/ansible/facts.d".into(),
        }
    }
}

const OPTIONS: &[Opt] =
    &[Opt::list("gather_subset"), Opt::int("gather_timeout"), Opt::list("filter"), Opt::path("fact_path")];

impl Module for Setup {
    const SPEC: Spec = Spec { aliases: &["gather_facts"], options: &[OPTIONS], ..Spec::new("setup") };
    type Args = Args;
    type Change = Infallible;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Infallible>, Fault> {
        let subset = Subset::parse(&args.gather_subset).map_err(|e| fault(e.to_string()))?;
        let request = Request {
            subset,
            timeout: Duration::from_secs(args.gather_timeout),
            fact_path: args.fact_path.clone(),
        };
        let mut outcome = Outcome::default();
        let mut found = facts::gather(&request, host, &mut outcome.warnings).prefixed();
        found.insert("gather_subset".into(), json!(args.gather_subset));
        found.insert("module_setup".into(), json!(true));
        let found = filtered(found, &args.filter)?;
        outcome.values.insert("ansible_facts".into(), Value::Object(found));
        Ok(Inspection::Same(outcome))
    }

    fn apply(_: &Args, change: Infallible, _: &Host<'_>) -> Result<Outcome, Fault> {
        match change {}
    }
}

/// Keeps facts whose name, with or without `ansible_`, matches one of the shell patterns; no pattern keeps all.
fn filtered(facts: Map<String, Value>, patterns: &[String]) -> Result<Map<String, Value>, Fault> {
    let patterns: Vec<&str> =
        patterns.iter().map(String::as_str).filter(|p| !p.is_empty() && *p != "*").collect();
    if patterns.is_empty() {
        return Ok(facts);
    }
    let patterns = patterns.into_iter().map(glob).collect::<Result<Vec<_>, _>>()?;
    Ok(facts
        .into_iter()
        .filter(|(name, _)| {
            let bare = name.strip_prefix("ansible_").unwrap_or(name);
            patterns.iter().any(|p| p.is_match(name) || p.is_match(bare))
        })
        .collect())
}

fn glob(pattern: &str) -> Result<Regex, Fault> {
    fnmatch(pattern).ok_or_else(|| fault(format!("`filter` of `setup` is no pattern: `{pattern}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    fn gather(arguments: Value) -> Result<Value, Fault> {
        let script = Script::of(&[]);
        match Setup::inspect(&args(arguments), &script.host())? {
            Inspection::Same(outcome) => Ok(outcome.values["ansible_facts"].clone()),
            Inspection::Differs { .. } => panic!("facts change nothing"),
        }
    }

    #[test]
    fn a_filter_keeps_names_with_and_without_prefix() {
        let _root = FakeRoot::with(&[("/etc/os-release", "ID=debian\nVERSION_ID=12\n")]);
        assert_eq!(
            gather(json!({"filter": ["distribution"]})).expect("facts"),
            json!({"ansible_distribution": "Debian"})
        );
        let found = gather(json!({"filter": ["ansible_distribution_m*"]})).expect("facts");
        assert_eq!(found, json!({"ansible_distribution_major_version": "12"}));
    }

    #[test]
    fn the_result_names_the_subset_it_was_asked_for() {
        let _root = FakeRoot::with(&[]);
        let found = gather(json!({"gather_subset": ["!all", "!min"]})).expect("facts");
        assert_eq!(found, json!({"gather_subset": ["!all", "!min"], "module_setup": true}));
    }

    #[test]
    fn an_unknown_subset_fails() {
        let _root = FakeRoot::with(&[]);
        let fault = gather(json!({"gather_subset": ["hardwear"]})).expect_err("fails");
        assert!(fault.msg.contains("no subset `hardwear`"), "{}", fault.msg);
    }
}
