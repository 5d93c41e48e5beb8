//! `dpkg_selections`: what dpkg is told to do with a package, mostly `hold`.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::packages::dpkg::Database;
use crate::system::run::run_with_input;
use crate::system::{fault, outcome};

/// The module.
pub struct DpkgSelections;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    selection: String,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::str("selection").required().choices(&["install", "hold", "deinstall", "purge"]),
];

impl Module for DpkgSelections {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("dpkg_selections") };
    type Args = Args;
    type Change = ();

    fn inspect(args: &Args, _: &Host<'_>) -> Result<Inspection<()>, Fault> {
        let database = Database::read()?;
        let Some(entry) = database.get(&args.name) else {
            return Err(fault(format!("dpkg knows no package `{}` on this host", args.name)));
        };
        let changed = entry.wanted != args.selection;
        let result = outcome(changed, json!({"before": entry.wanted, "after": args.selection}));
        Ok(if changed {
            Inspection::Differs { change: (), predicted: result }
        } else {
            Inspection::Same(result)
        })
    }

    fn apply(args: &Args, (): (), host: &Host<'_>) -> Result<Outcome, Fault> {
        let before = Database::read()?.get(&args.name).map(|e| e.wanted.clone());
        let line = format!("{} {}\n", args.name, args.selection);
        run_with_input(host, &["dpkg", "--set-selections"], &line)?.or_fault("cannot set the selection")?;
        Ok(outcome(true, json!({"before": before, "after": args.selection})))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::dpkg::tests::STATUS;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn a_held_package_stays_and_another_is_held() {
        let _root = FakeRoot::with(&[("/var/lib/dpkg/status", STATUS)]);
        let script = Script::of(&[("dpkg --set-selections", 0, "")]);
        let held = args(json!({"name": "postfix", "selection": "hold"}));
        assert!(matches!(DpkgSelections::inspect(&held, &script.host()), Ok(Inspection::Same(_))));
        let curl: Args = args(json!({"name": "curl", "selection": "hold"}));
        assert!(matches!(DpkgSelections::inspect(&curl, &script.host()), Ok(Inspection::Differs { .. })));
        DpkgSelections::apply(&curl, (), &script.host()).expect("applies");
        assert_eq!(script.inputs(), ["curl hold\n"]);
        let unknown = args(json!({"name": "x", "selection": "hold"}));
        assert!(
            matches!(DpkgSelections::inspect(&unknown, &script.host()), Err(f) if f.msg.contains("no package `x`"))
        );
    }
}
