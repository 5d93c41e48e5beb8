//! `add_host`: a host for later plays.
//!
//! Owns: its arguments and its result. Must not: touch the inventory; the engine takes the effect over.

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json, json};

use super::results::Reply;
use super::{Action, Context, Done, Effect, Stop};

static OPTIONS: &[Opt] = &[
    Opt::str("name").aliases(&["host", "hostname"]).required(),
    Opt::list("groups").aliases(&["group", "groupname"]),
];
static SPEC: Spec = Spec { options: &[OPTIONS], any_options: true, ..Spec::new("add_host") };

pub(super) struct AddHost;

impl Action for AddHost {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn once_for_all_hosts(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, _: &'a Context<'a>, args: Map<String, Json>) -> BoxFuture<'a, Result<Done, Stop>> {
        async move { run(args) }.boxed()
    }
}

fn run(mut args: Map<String, Json>) -> Result<Done, Stop> {
    let name = match args.remove("name") {
        Some(Json::String(name)) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => return Err(Stop::failed("`add_host` needs the name of a host")),
    };
    let groups: Vec<String> = match args.remove("groups") {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(items)) => items.iter().map(as_text).collect(),
        Some(one) => as_text(&one).split(',').map(str::to_owned).collect(),
    };
    let groups: Vec<String> = groups.iter().map(|g| g.trim().to_owned()).filter(|g| !g.is_empty()).collect();
    let (host, port) = with_port(&name);
    let mut vars = args;
    if let Some(port) = port {
        vars.entry("ansible_port").or_insert_with(|| port.into());
    }
    let shown = json!({ "host_name": host, "groups": groups, "host_vars": vars });
    Reply::new(false).with("add_host", shown).effect(Effect::AddHost { host, groups, vars })
}

fn as_text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `host:2222` and `[::1]:2222`; a bare IPv6 address has no port.
fn with_port(name: &str) -> (String, Option<u16>) {
    match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || (host.starts_with('[') && host.ends_with(']')) => {
            match port.parse() {
                Ok(port) => (host.trim_start_matches('[').trim_end_matches(']').to_owned(), Some(port)),
                Err(_) => (name.to_owned(), None),
            }
        }
        _ => (name.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn a_host_has_groups_and_all_other_options_are_its_variables() {
        let stage = Stage::new();
        let done = stage
            .run("add_host", json!({"hostname": "n1:2222", "groups": "masters, agents", "rack": 3}))
            .await
            .expect("works");
        let vars = json!({"rack": 3, "ansible_port": 2222});
        assert_eq!(
            Json::Object(done.result),
            json!({"changed": false, "add_host": {"host_name": "n1", "groups": ["masters", "agents"], "host_vars": vars}})
        );
        let Json::Object(vars) = vars else { panic!("a mapping") };
        let [Effect::AddHost { host, groups, vars: given }] = done.effects.as_slice() else {
            panic!("one effect")
        };
        assert_eq!(
            (host.as_str(), groups, given),
            ("n1", &vec!["masters".to_owned(), "agents".to_owned()], &vars)
        );
    }

    #[test]
    fn ports_are_told_from_addresses() {
        for (name, host, port) in
            [("a", "a", None), ("[::1]:22", "::1", Some(22)), ("fe80::1", "fe80::1", None)]
        {
            assert_eq!(with_port(name), (host.to_owned(), port));
        }
    }
}
