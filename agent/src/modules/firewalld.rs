//! `firewalld` (ansible.posix): what zones of firewalld let through, now and after a restart.
//!
//! Owns: the words for `firewall-cmd`. Must not: know another firewall.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{need_program, run};
use crate::system::{fault, outcome};

/// The module.
pub struct Firewalld;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    state: String,
    zone: Option<String>,
    permanent: Option<bool>,
    #[serde(default)]
    immediate: bool,
    #[serde(default)]
    offline: bool,
    #[serde(default)]
    timeout: u64,
    service: Option<String>,
    protocol: Option<String>,
    port: Option<String>,
    source_port: Option<String>,
    port_forward: Option<Vec<Forward>>,
    rich_rule: Option<String>,
    source: Option<String>,
    interface: Option<String>,
    icmp_block: Option<String>,
    icmp_block_inversion: Option<bool>,
    masquerade: Option<bool>,
    forward: Option<bool>,
    target: Option<String>,
}

/// An entry of `port_forward`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forward {
    port: Value,
    proto: String,
    toport: Value,
    toaddr: Option<String>,
}

/// The commands to run.
type Commands = Vec<Vec<String>>;

const OPTIONS: &[Opt] = &[
    Opt::str("state").required().choices(&["absent", "disabled", "enabled", "present"]),
    Opt::str("zone"),
    Opt::bool("permanent"),
    Opt::bool("immediate"),
    Opt::bool("offline"),
    Opt::int("timeout"),
    Opt::str("service"),
    Opt::str("protocol"),
    Opt::str("port"),
    Opt::str("source_port"),
    Opt::raw_list("port_forward"),
    Opt::str("rich_rule"),
    Opt::str("source"),
    Opt::str("interface"),
    Opt::str("icmp_block"),
    Opt::bool("icmp_block_inversion"),
    Opt::bool("masquerade"),
    Opt::bool("forward"),
    Opt::str("target").choices(&["default", "ACCEPT", "DROP", "%%REJECT%%"]),
];
/// What one task may set, each alone.
const THINGS: &[&str] = &[
    "service",
    "protocol",
    "port",
    "source_port",
    "port_forward",
    "rich_rule",
    "source",
    "interface",
    "icmp_block",
    "icmp_block_inversion",
    "masquerade",
    "forward",
    "target",
];
/// `firewall-cmd` when the daemon does not run.
const NOT_RUNNING: i32 = 252;

impl Module for Firewalld {
    const SPEC: Spec = Spec {
        collections: &["ansible.posix"],
        options: &[OPTIONS],
        mutually_exclusive: &[THINGS],
        required_if: &[("state", "absent", &["permanent"]), ("state", "present", &["permanent"])],
        ..Spec::new("firewalld")
    };
    type Args = Args;
    type Change = Commands;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Commands>, Fault> {
        let thing = thing(args);
        let whole_zone = thing.is_none();
        let wanted = matches!(args.state.as_str(), "enabled" | "present");
        if matches!(args.state.as_str(), "absent" | "present") && !whole_zone && args.target.is_none() {
            return Err(fault(
                "`absent` and `present` of `firewalld` are for zones: write `enabled` or `disabled`",
            ));
        }
        if whole_zone && args.zone.is_none() {
            return Err(fault(format!("`firewalld` needs one of {}", THINGS.join(", "))));
        }
        let permanent = args.permanent.unwrap_or(false);
        let immediate = args.immediate || !permanent;
        let tool = need_program("firewall-cmd")?;
        let up = run(host, &[tool.as_str(), "--state"])?.rc != NOT_RUNNING;
        if !up && !args.offline {
            return Err(fault("firewalld does not run on this host: start it, or set `offline`"));
        }
        if whole_zone || args.target.is_some() {
            if immediate {
                return Err(fault("a zone and its `target` are set with `permanent: true` alone"));
            }
        } else if args.timeout > 0 && permanent {
            return Err(fault("`timeout` of `firewalld` is for what is not permanent"));
        }
        let mut ways = Vec::new();
        if up {
            if permanent {
                ways.push(vec![tool.clone(), "--permanent".to_owned()]);
            }
            if immediate {
                ways.push(vec![tool]);
            }
        } else {
            ways.push(vec![need_program("firewall-offline-cmd")?]);
        }
        let mut commands = Vec::new();
        for way in ways {
            let now = !way.iter().any(|w| w == "--permanent") && up;
            match &thing {
                None => commands.extend(zone_itself(args, &way, wanted, host)?),
                Some(thing) => commands.extend(thing.commands(args, &way, wanted, now, host)?),
            }
        }
        let what = match &thing {
            Some(thing) => thing.shown.clone(),
            None => format!("zone {}", args.zone.as_deref().unwrap_or_default()),
        };
        let changed = !commands.is_empty();
        let said = if changed { format!("Changed {what} to {}", args.state) } else { String::new() };
        let predicted = outcome(changed, json!({"msg": said}));
        Ok(if changed {
            Inspection::Differs { change: commands, predicted }
        } else {
            Inspection::Same(predicted)
        })
    }

    fn apply(args: &Args, commands: Commands, host: &Host<'_>) -> Result<Outcome, Fault> {
        for command in commands {
            run(host, &command)?.or_fault("cannot change the firewall")?;
        }
        let what = thing(args).map_or_else(
            || format!("zone {}", args.zone.as_deref().unwrap_or_default()),
            |thing| thing.shown,
        );
        Ok(outcome(true, json!({"msg": format!("Changed {what} to {}", args.state)})))
    }
}

/// What a task sets: the words after `--query-`, `--add-` and `--remove-`.
struct Thing {
    option: &'static str,
    /// Values; none for a switch.
    values: Vec<String>,
    /// `state: enabled` with `masquerade: false` wants it off.
    inverted: bool,
    shown: String,
}

fn thing(args: &Args) -> Option<Thing> {
    let of = |option: &'static str, value: &String| Thing {
        option,
        values: vec![value.clone()],
        inverted: false,
        shown: format!("{option} {value}"),
    };
    let switch = |option: &'static str, on: bool| Thing {
        option,
        values: Vec::new(),
        inverted: !on,
        shown: format!("{option} {on}"),
    };
    let texts = [
        ("service", &args.service),
        ("protocol", &args.protocol),
        ("port", &args.port),
        ("source-port", &args.source_port),
        ("rich-rule", &args.rich_rule),
        ("source", &args.source),
        ("interface", &args.interface),
        ("icmp-block", &args.icmp_block),
        ("target", &args.target),
    ];
    let switches = [
        ("icmp-block-inversion", args.icmp_block_inversion),
        ("masquerade", args.masquerade),
        ("forward", args.forward),
    ];
    let text = texts.into_iter().find_map(|(option, value)| value.as_ref().map(|v| of(option, v)));
    text.or_else(|| switches.into_iter().find_map(|(option, on)| on.map(|on| switch(option, on)))).or_else(
        || {
            let values = args.port_forward.as_ref()?.iter().map(forward_words).collect::<Vec<_>>();
            let shown = format!("port_forward {}", values.join(" "));
            Some(Thing { option: "forward-port", values, inverted: false, shown })
        },
    )
}

fn forward_words(forward: &Forward) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let address = forward.toaddr.as_deref().map(|a| format!(":toaddr={a}")).unwrap_or_default();
    format!(
        "port={}:proto={}:toport={}{address}",
        plain(&forward.port),
        forward.proto,
        plain(&forward.toport)
    )
}

impl Thing {
    fn commands(
        &self,
        args: &Args,
        way: &[String],
        wanted: bool,
        now: bool,
        host: &Host<'_>,
    ) -> Result<Commands, Fault> {
        let words = |verb: &str, value: Option<&String>| {
            let mut argv = way.to_vec();
            argv.extend(args.zone.as_ref().map(|zone| format!("--zone={zone}")));
            let value = value.map(|v| format!("={v}")).unwrap_or_default();
            argv.push(format!("--{verb}-{}{value}", self.option));
            argv
        };
        if self.option == "target" {
            let value = if wanted { &self.values[0] } else { "default" };
            let there = run(host, &words("get", None))?.or_fault("cannot read the target")?;
            let same = there.out.trim() == value;
            return Ok(if same { Vec::new() } else { vec![words("set", Some(&value.to_owned()))] });
        }
        let wanted = wanted != self.inverted;
        let none = [None];
        let each: Vec<Option<&String>> =
            if self.values.is_empty() { none.to_vec() } else { self.values.iter().map(Some).collect() };
        let mut commands = Vec::new();
        for value in each {
            let asked = run(host, &words("query", value))?;
            let there = match asked.rc {
                0 => true,
                1 => false,
                _ => return Err(asked.to_fault("cannot ask the firewall")),
            };
            if there == wanted {
                continue;
            }
            let verb = match (wanted, self.option) {
                // An interface is in one zone; it leaves the one it is in.
                (true, "interface") => "change",
                (true, _) => "add",
                (false, _) => "remove",
            };
            let mut command = words(verb, value);
            if wanted && now && args.timeout > 0 && !matches!(self.option, "interface" | "source") {
                command.push(format!("--timeout={}", args.timeout));
            }
            commands.push(command);
        }
        Ok(commands)
    }
}

fn zone_itself(args: &Args, way: &[String], wanted: bool, host: &Host<'_>) -> Result<Commands, Fault> {
    let zone = args.zone.as_deref().unwrap_or_default();
    if matches!(args.state.as_str(), "enabled" | "disabled") {
        return Err(fault(format!("`firewalld` needs one of {}", THINGS.join(", "))));
    }
    let ask = |word: String| [way, &[word]].concat();
    let there = run(host, &ask("--get-zones".into()))?.or_fault("cannot read the zones")?;
    if there.out.split_whitespace().any(|z| z == zone) == wanted {
        return Ok(Vec::new());
    }
    let verb = if wanted { "new" } else { "delete" };
    Ok(vec![ask(format!("--{verb}-zone={zone}"))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    const CMD: &str = "/usr/bin/firewall-cmd";

    fn root() -> FakeRoot {
        let root = FakeRoot::with(&[]);
        root.program(CMD);
        root.program("/usr/bin/firewall-offline-cmd");
        root
    }

    fn commands(arguments: Value, script: &[(&str, i32, &str)]) -> Vec<String> {
        let script: Vec<(String, i32, &str)> =
            script.iter().map(|(line, rc, out)| (line.replace("CMD", CMD), *rc, *out)).collect();
        let script: Vec<(&str, i32, &str)> =
            script.iter().map(|(l, rc, out)| (l.as_str(), *rc, *out)).collect();
        let script = Script::of(&script);
        let found = match Firewalld::inspect(&args(arguments), &script.host()).expect("inspects") {
            Inspection::Differs { change, .. } => {
                change.iter().map(|c| c.join(" ").replace(CMD, "CMD")).collect()
            }
            Inspection::Same(_) => Vec::new(),
        };
        script.done();
        found
    }

    #[test]
    fn a_service_is_opened_now_and_for_good() {
        let _root = root();
        let arguments = json!({"service": "https", "zone": "public", "permanent": true, "immediate": true, "state": "enabled"});
        let up = ("CMD --state", 0, "running\n");
        assert_eq!(
            commands(
                arguments.clone(),
                &[
                    up,
                    ("CMD --permanent --zone=public --query-service=https", 1, "no\n"),
                    ("CMD --zone=public --query-service=https", 1, "no\n"),
                ]
            ),
            ["CMD --permanent --zone=public --add-service=https", "CMD --zone=public --add-service=https"]
        );
        assert!(
            commands(
                arguments,
                &[
                    up,
                    ("CMD --permanent --zone=public --query-service=https", 0, "yes\n"),
                    ("CMD --zone=public --query-service=https", 0, "yes\n"),
                ]
            )
            .is_empty()
        );
    }

    #[test]
    fn what_is_not_permanent_is_set_at_once() {
        let _root = root();
        assert_eq!(
            commands(
                json!({"port": "8081/tcp", "state": "disabled"}),
                &[("CMD --state", 0, ""), ("CMD --query-port=8081/tcp", 0, "yes\n")]
            ),
            ["CMD --remove-port=8081/tcp"]
        );
        assert_eq!(
            commands(
                json!({"masquerade": false, "zone": "dmz", "permanent": true, "state": "enabled"}),
                &[("CMD --state", 0, ""), ("CMD --permanent --zone=dmz --query-masquerade", 0, "yes\n")]
            ),
            ["CMD --permanent --zone=dmz --remove-masquerade"]
        );
        assert_eq!(
            commands(
                json!({"port_forward": [{"port": 443, "proto": "tcp", "toport": 8443}], "permanent": true, "state": "enabled"}),
                &[
                    ("CMD --state", 0, ""),
                    ("CMD --permanent --query-forward-port=port=443:proto=tcp:toport=8443", 1, "no\n")
                ]
            ),
            ["CMD --permanent --add-forward-port=port=443:proto=tcp:toport=8443"]
        );
    }

    #[test]
    fn a_stopped_firewall_is_told_unless_offline_is_allowed() {
        let _root = root();
        let script = Script::of(&[("/usr/bin/firewall-cmd --state", 252, "not running")]);
        let closed: Args = args(json!({"service": "ssh", "state": "enabled", "permanent": true}));
        let Err(error) = Firewalld::inspect(&closed, &script.host()) else { panic!() };
        assert!(error.msg.contains("does not run"), "{}", error.msg);
        assert_eq!(
            commands(
                json!({"service": "ssh", "state": "enabled", "permanent": true, "offline": true}),
                &[("CMD --state", 252, ""), ("/usr/bin/firewall-offline-cmd --query-service=ssh", 1, "no")]
            ),
            ["/usr/bin/firewall-offline-cmd --add-service=ssh"]
        );
    }

    #[test]
    fn a_zone_is_made() {
        let _root = root();
        assert_eq!(
            commands(
                json!({"zone": "custom", "state": "present", "permanent": true}),
                &[("CMD --state", 0, ""), ("CMD --permanent --get-zones", 0, "block dmz public\n")]
            ),
            ["CMD --permanent --new-zone=custom"]
        );
    }
}
