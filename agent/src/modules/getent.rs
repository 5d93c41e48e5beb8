//! `getent`: entries of the host's name databases as facts.

use std::convert::Infallible;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{need_program, run};
use crate::system::{fault, outcome};

/// The module.
pub struct Getent;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    database: String,
    key: Option<String>,
    split: Option<String>,
    service: Option<String>,
    fail_key: Option<bool>,
}

const OPTIONS: &[Opt] = &[
    Opt::str("database").required(),
    Opt::str("key"),
    Opt::str("split"),
    Opt::str("service"),
    Opt::bool("fail_key"),
];

impl Module for Getent {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("getent") };
    type Args = Args;
    type Change = Infallible;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Infallible>, Fault> {
        let mut argv = vec![need_program("getent")?];
        if let Some(service) = &args.service {
            argv.extend(["-s".into(), service.clone()]);
        }
        argv.push(args.database.clone());
        argv.extend(args.key.clone());
        let answer = run(host, &argv)?;
        let name = format!("getent_{}", args.database);
        let mut missing = false;
        let entries = match answer.rc {
            0 => entries(&args.database, args.split.as_deref(), &answer.out),
            1 => return Err(fault(format!("this host has no database `{}`", args.database))),
            2 => {
                let key = args.key.clone().unwrap_or_default();
                if args.fail_key.unwrap_or(true) {
                    return Err(fault(format!("database `{}` has no `{key}`", args.database)));
                }
                missing = true;
                json!({ key: null })
            }
            3 => {
                return Err(fault(format!(
                    "database `{}` cannot be listed as a whole, only asked for a `key`",
                    args.database
                )));
            }
            _ => return Err(answer.to_fault("getent failed")),
        };
        let mut found = outcome(false, json!({"ansible_facts": { name: entries }}));
        if missing {
            found = found.with("msg", "One or more supplied key could not be found in the database.");
        }
        Ok(Inspection::Same(found))
    }

    fn apply(_: &Args, change: Infallible, _: &Host<'_>) -> Result<Outcome, Fault> {
        match change {}
    }
}

fn entries(database: &str, split: Option<&str>, out: &str) -> Value {
    let colon = matches!(database, "passwd" | "shadow" | "group" | "gshadow");
    let mut found: Map<String, Value> = Map::new();
    for line in out.lines().filter(|l| !l.is_empty()) {
        let fields: Vec<&str> = match split {
            Some(separator) => line.split(separator).collect(),
            None if colon => line.split(':').collect(),
            None => line.split_whitespace().collect(),
        };
        let Some((key, rest)) = fields.split_first() else { continue };
        match found.get_mut(*key) {
            // Hosts have several addresses and services several protocols: one list a line then.
            Some(Value::Array(known)) if known.first().is_some_and(Value::is_array) => {
                known.push(json!(rest))
            }
            Some(known) => *known = json!([known.clone(), rest]),
            None => {
                found.insert((*key).to_owned(), json!(rest));
            }
        }
    }
    Value::Object(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    fn get(arguments: Value, line: &str, rc: i32, out: &str) -> Result<Value, String> {
        let root = FakeRoot::with(&[]);
        root.program("/usr/bin/getent");
        match Getent::inspect(&args(arguments), &Script::of(&[(line, rc, out)]).host()) {
            Ok(Inspection::Same(found)) => Ok(found.values["ansible_facts"].clone()),
            Ok(_) => Err("differs".into()),
            Err(fault) => Err(fault.msg),
        }
    }

    #[test]
    fn entries_are_split_by_database() {
        let found = get(
            json!({"database": "passwd", "key": "root"}),
            "/usr/bin/getent passwd root",
            0,
            "root:x:0:0:root:/root:/bin/sh\n",
        );
        assert_eq!(
            found,
            Ok(json!({"getent_passwd": {"root": ["x", "0", "0", "root", "/root", "/bin/sh"]}}))
        );
        let found = get(
            json!({"database": "hosts"}),
            "/usr/bin/getent hosts",
            0,
            "127.0.0.1  localhost\n127.0.0.1 vm\n",
        );
        assert_eq!(found, Ok(json!({"getent_hosts": {"127.0.0.1": [["localhost"], ["vm"]]}})));
    }

    #[test]
    fn a_missing_key_fails_unless_that_is_fine() {
        let line = "/usr/bin/getent passwd x";
        assert_eq!(
            get(json!({"database": "passwd", "key": "x"}), line, 2, ""),
            Err("database `passwd` has no `x`".into())
        );
        let found = get(json!({"database": "passwd", "key": "x", "fail_key": false}), line, 2, "");
        assert_eq!(found, Ok(json!({"getent_passwd": {"x": null}})));
    }
}
