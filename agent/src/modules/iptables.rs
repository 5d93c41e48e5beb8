//! `iptables`: single rules, chains and policies of the kernel's packet filter.
//!
//! Owns: turning options into a rule's arguments, asking `iptables -C`. Must not: save rules for the next boot.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{Answer, need_program, run};
use crate::system::{fault, outcome};

/// The module.
pub struct Iptables;

/// Typed arguments.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Args {
    table: Option<String>,
    state: Option<String>,
    action: Option<String>,
    rule_num: Option<String>,
    ip_version: Option<String>,
    chain: Option<String>,
    chain_management: bool,
    flush: bool,
    policy: Option<String>,
    numeric: bool,
    wait: Option<String>,
    protocol: Option<String>,
    source: Option<String>,
    destination: Option<String>,
    tcp_flags: Option<Value>,
    r#match: Vec<String>,
    jump: Option<String>,
    log_prefix: Option<String>,
    log_level: Option<String>,
    gateway: Option<String>,
    goto: Option<String>,
    in_interface: Option<String>,
    out_interface: Option<String>,
    fragment: Option<String>,
    set_counters: Option<String>,
    source_port: Option<String>,
    destination_port: Option<String>,
    destination_ports: Vec<String>,
    to_ports: Option<String>,
    to_destination: Option<String>,
    to_source: Option<String>,
    syn: Option<String>,
    set_dscp_mark: Option<String>,
    set_dscp_mark_class: Option<String>,
    comment: Option<String>,
    ctstate: Vec<String>,
    src_range: Option<String>,
    dst_range: Option<String>,
    match_set: Option<String>,
    match_set_flags: Option<String>,
    limit: Option<String>,
    limit_burst: Option<String>,
    uid_owner: Option<String>,
    gid_owner: Option<String>,
    reject_with: Option<String>,
    icmp_type: Option<String>,
}

const OPTIONS: &[Opt] = &[
    Opt::str("table").choices(&["filter", "nat", "mangle", "raw", "security"]),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::str("action").choices(&["append", "insert"]),
    Opt::str("rule_num"),
    Opt::str("ip_version").choices(&["ipv4", "ipv6", "both"]),
    Opt::str("chain"),
    Opt::bool("chain_management"),
    Opt::bool("flush"),
    Opt::str("policy").choices(&["ACCEPT", "DROP", "QUEUE", "RETURN"]),
    Opt::bool("numeric"),
    Opt::str("wait"),
    Opt::str("protocol"),
    Opt::str("source"),
    Opt::str("destination"),
    Opt::dict("tcp_flags"),
    Opt::list("match"),
    Opt::str("jump"),
    Opt::str("log_prefix"),
    Opt::str("log_level"),
    Opt::str("gateway"),
    Opt::str("goto"),
    Opt::str("in_interface"),
    Opt::str("out_interface"),
    Opt::str("fragment"),
    Opt::str("set_counters"),
    Opt::str("source_port"),
    Opt::str("destination_port"),
    Opt::list("destination_ports"),
    Opt::str("to_ports"),
    Opt::str("to_destination"),
    Opt::str("to_source"),
    Opt::str("syn").choices(&["ignore", "match", "negate"]),
    Opt::str("set_dscp_mark"),
    Opt::str("set_dscp_mark_class"),
    Opt::str("comment"),
    Opt::list("ctstate"),
    Opt::str("src_range"),
    Opt::str("dst_range"),
    Opt::str("match_set"),
    Opt::str("match_set_flags"),
    Opt::str("limit"),
    Opt::str("limit_burst"),
    Opt::str("uid_owner"),
    Opt::str("gid_owner"),
    Opt::str("reject_with"),
    Opt::str("icmp_type"),
];

impl Module for Iptables {
    const SPEC: Spec = Spec {
        options: &[OPTIONS],
        required_one_of: &[&["chain", "flush"]],
        mutually_exclusive: &[
            &["set_dscp_mark", "set_dscp_mark_class"],
            &["flush", "policy"],
            &["action", "flush", "policy"],
        ],
        ..Spec::new("iptables")
    };
    type Args = Args;
    /// Commands to run in order.
    type Change = Vec<Vec<String>>;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Vec<Vec<String>>>, Fault> {
        if args.chain.is_none() && !args.flush {
            return Err(fault("`iptables` needs `chain`"));
        }
        let mut commands = Vec::new();
        for tool in tools(args) {
            commands.extend(due(args, &need_program(tool)?, host)?);
        }
        let predicted = result(args, !commands.is_empty());
        Ok(if commands.is_empty() {
            Inspection::Same(predicted)
        } else {
            Inspection::Differs { change: commands, predicted }
        })
    }

    fn apply(args: &Args, commands: Vec<Vec<String>>, host: &Host<'_>) -> Result<Outcome, Fault> {
        for command in commands {
            run(host, &command)?.or_fault("cannot change the packet filter")?;
        }
        Ok(result(args, true))
    }
}

fn tools(args: &Args) -> &'static [&'static str] {
    match args.ip_version.as_deref() {
        Some("ipv6") => &["ip6tables"],
        Some("both") => &["iptables", "ip6tables"],
        _ => &["iptables"],
    }
}

fn chain(args: &Args) -> &str {
    args.chain.as_deref().unwrap_or_default()
}

/// The command up to the operation.
fn base(args: &Args, tool: &str) -> Vec<String> {
    let mut argv = vec![tool.to_owned()];
    if let Some(wait) = &args.wait {
        argv.extend(["-w".to_owned(), wait.clone()]);
    }
    argv.extend(["-t".to_owned(), args.table.clone().unwrap_or_else(|| "filter".into())]);
    argv
}

fn with(mut argv: Vec<String>, words: &[&str]) -> Vec<String> {
    argv.extend(words.iter().map(|w| (*w).to_owned()));
    argv
}

fn due(args: &Args, tool: &str, host: &Host<'_>) -> Result<Vec<Vec<String>>, Fault> {
    let base = || base(args, tool);
    let absent = args.state.as_deref() == Some("absent");
    if args.flush {
        let words = if args.chain.is_some() { vec!["-F", chain(args)] } else { vec!["-F"] };
        return Ok(vec![with(base(), &words)]);
    }
    if let Some(policy) = &args.policy {
        let answer = run(host, &with(base(), &["-L", chain(args), "-n"]))?
            .or_fault("cannot read the packet filter")?;
        let current = answer.out.lines().find_map(|l| l.split_once("(policy ")?.1.split([' ', ')']).next());
        return Ok(if current == Some(policy) {
            Vec::new()
        } else {
            vec![with(base(), &["-P", chain(args), policy])]
        });
    }
    let rule = rule(args)?;
    let exists = |argv: Vec<String>| -> Result<bool, Fault> { Ok(run(host, &argv)?.ok()) };
    let chain_there =
        if args.chain_management { exists(with(base(), &["-L", chain(args), "-n"]))? } else { true };
    if rule.is_empty() && args.chain_management {
        return Ok(match (absent, chain_there) {
            (true, true) => vec![with(base(), &["-X", chain(args)])],
            (false, false) => vec![with(base(), &["-N", chain(args)])],
            _ => Vec::new(),
        });
    }
    let there = if chain_there {
        let mut argv = with(base(), &["-C", chain(args)]);
        argv.extend(rule.iter().cloned());
        let answer = run(host, &argv)?;
        found(&answer)?
    } else {
        false
    };
    let mut commands = Vec::new();
    if absent && there {
        let mut argv = with(base(), &["-D", chain(args)]);
        argv.extend(rule);
        commands.push(argv);
    } else if !absent && !there {
        if !chain_there {
            commands.push(with(base(), &["-N", chain(args)]));
        }
        let operation = if args.action.as_deref() == Some("insert") { "-I" } else { "-A" };
        let mut argv = with(base(), &[operation, chain(args)]);
        if operation == "-I" {
            argv.extend(args.rule_num.clone());
        }
        argv.extend(rule);
        commands.push(argv);
    }
    Ok(commands)
}

/// `-C` answers 1 for a rule that is not there; 2 and more, or an unknown name, is a mistake in the rule.
fn found(answer: &Answer) -> Result<bool, Fault> {
    match answer.rc {
        0 => Ok(true),
        1 => Ok(false),
        _ => Err(answer.to_fault("the rule cannot be looked for")),
    }
}

fn rule(args: &Args) -> Result<Vec<String>, Fault> {
    let mut rule: Vec<String> = Vec::new();
    // A leading `!` negates and stands before the flag.
    let mut add = |flag: &str, value: &Option<String>| {
        if let Some(value) = value {
            let (negated, value) = match value.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, value.as_str()),
            };
            if negated {
                rule.push("!".into());
            }
            rule.extend([flag.to_owned(), value.to_owned()]);
        }
    };
    add("-p", &args.protocol);
    add("-s", &args.source);
    add("-d", &args.destination);
    for name in &args.r#match {
        add("-m", &Some(name.clone()));
    }
    if let Some(flags) = &args.tcp_flags {
        let joined = |key: &str| -> String {
            flags[key]
                .as_array()
                .map_or(String::new(), |l| l.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))
        };
        let (mask, set) = (joined("flags"), joined("flags_set"));
        if mask.is_empty() || set.is_empty() {
            return Err(fault("`tcp_flags` of `iptables` needs the lists `flags` and `flags_set`"));
        }
        rule.extend(["--tcp-flags".into(), mask, set]);
    }
    let mut add = |flag: &str, value: &Option<String>| {
        if let Some(value) = value {
            if let Some(rest) = value.strip_prefix('!') {
                rule.extend(["!".into(), flag.to_owned(), rest.trim().to_owned()]);
            } else {
                rule.extend([flag.to_owned(), value.clone()]);
            }
        }
    };
    let implied = |name: &str| Some(name.to_owned()).filter(|n| !args.r#match.contains(n));
    if args.jump.as_deref() == Some("TEE") {
        add("-j", &args.jump);
        add("--gateway", &args.gateway);
    } else {
        add("-j", &args.jump);
    }
    if args.jump.as_deref() == Some("LOG") {
        add("--log-prefix", &args.log_prefix);
        add("--log-level", &args.log_level);
    }
    add("--to-destination", &args.to_destination);
    if !args.destination_ports.is_empty() {
        add("-m", &implied("multiport"));
        add("--dports", &Some(args.destination_ports.join(",")));
    }
    add("--to-source", &args.to_source);
    add("-g", &args.goto);
    add("-i", &args.in_interface);
    add("-o", &args.out_interface);
    add("-f", &args.fragment);
    add("-c", &args.set_counters);
    add("--source-port", &args.source_port);
    add("--destination-port", &args.destination_port);
    add("--to-ports", &args.to_ports);
    add("--set-dscp", &args.set_dscp_mark);
    add("--set-dscp-class", &args.set_dscp_mark_class);
    match args.syn.as_deref() {
        Some("match") => rule.push("--syn".into()),
        Some("negate") => rule.extend(["!".into(), "--syn".into()]),
        _ => {}
    }
    let mut add = |words: &[&str]| rule.extend(words.iter().map(|w| (*w).to_owned()));
    let has = |name: &str| args.r#match.iter().any(|m| m == name);
    if let Some(set) = &args.match_set {
        let flags = args.match_set_flags.as_deref().unwrap_or("src");
        add(&["-m", "set"]);
        match set.strip_prefix('!') {
            Some(set) => add(&["!", "--match-set", set, flags]),
            None => add(&["--match-set", set, flags]),
        }
    }
    if !args.ctstate.is_empty() {
        let states = args.ctstate.join(",");
        if has("state") {
            add(&["--state", &states]);
        } else {
            if !has("conntrack") {
                add(&["-m", "conntrack"]);
            }
            add(&["--ctstate", &states]);
        }
    }
    if args.src_range.is_some() || args.dst_range.is_some() {
        if !has("iprange") {
            add(&["-m", "iprange"]);
        }
        for (flag, range) in [("--src-range", &args.src_range), ("--dst-range", &args.dst_range)] {
            if let Some(range) = range {
                add(&[flag, range]);
            }
        }
    }
    if args.limit.is_some() || args.limit_burst.is_some() {
        if !has("limit") {
            add(&["-m", "limit"]);
        }
        for (flag, value) in [("--limit", &args.limit), ("--limit-burst", &args.limit_burst)] {
            if let Some(value) = value {
                add(&[flag, value]);
            }
        }
    }
    for (flag, owner) in [("--uid-owner", &args.uid_owner), ("--gid-owner", &args.gid_owner)] {
        if let Some(owner) = owner {
            if !has("owner") {
                add(&["-m", "owner"]);
            }
            match owner.strip_prefix('!') {
                Some(owner) => add(&["!", flag, owner]),
                None => add(&[flag, owner]),
            }
        }
    }
    if let Some(with) = &args.reject_with {
        if args.jump.is_none() {
            add(&["-j", "REJECT"]);
        }
        add(&["--reject-with", with]);
    }
    if let Some(kind) = &args.icmp_type {
        add(&[
            if args.ip_version.as_deref() == Some("ipv6") { "--icmpv6-type" } else { "--icmp-type" },
            kind,
        ]);
    }
    if let Some(comment) = &args.comment {
        if !has("comment") {
            add(&["-m", "comment"]);
        }
        add(&["--comment", comment]);
    }
    Ok(rule)
}

fn result(args: &Args, changed: bool) -> Outcome {
    let rule = rule(args).unwrap_or_default().join(" ");
    outcome(
        changed,
        json!({
            "table": args.table.as_deref().unwrap_or("filter"), "chain": args.chain, "flush": args.flush, "rule": rule,
            "state": args.state.as_deref().unwrap_or("present"), "ip_version": args.ip_version.as_deref().unwrap_or("ipv4"),
            "chain_management": args.chain_management,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    fn host() -> FakeRoot {
        let root = FakeRoot::with(&[]);
        root.program("/usr/sbin/iptables");
        root
    }

    const RULE: &str = "-p tcp -s 10.0.0.0/8 -j ACCEPT --destination-port 22 -m conntrack --ctstate NEW -m comment --comment ssh";

    #[test]
    fn a_rule_is_looked_for_and_then_appended() {
        let _root = host();
        let arguments = json!({
            "chain": "INPUT", "protocol": "tcp", "source": "10.0.0.0/8", "jump": "ACCEPT", "destination_port": "22",
            "ctstate": ["NEW"], "comment": "ssh",
        });
        let check = format!("/usr/sbin/iptables -t filter -C INPUT {RULE}");
        let script = Script::of(&[(&check, 0, "")]);
        assert!(matches!(
            Iptables::inspect(&args(arguments.clone()), &script.host()),
            Ok(Inspection::Same(_))
        ));
        let append = format!("/usr/sbin/iptables -t filter -A INPUT {RULE}");
        let script = Script::of(&[(&check, 1, "Bad rule"), (&append, 0, "")]);
        let Ok(Inspection::Differs { change, .. }) =
            Iptables::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        assert!(Iptables::apply(&args(arguments), change, &script.host()).expect("applies").changed);
        script.done();
    }

    #[test]
    fn policies_are_compared() {
        let _root = host();
        let script =
            Script::of(&[("/usr/sbin/iptables -t filter -L INPUT -n", 0, "Chain INPUT (policy DROP)\n")]);
        let arguments = args(json!({"chain": "INPUT", "policy": "DROP"}));
        assert!(matches!(Iptables::inspect(&arguments, &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn negations_stand_before_their_flag() {
        let found =
            rule(&args(json!({"source": "!10.0.0.1", "destination_ports": ["80", "443"], "syn": "negate"})));
        assert_eq!(found.expect("a rule").join(" "), "! -s 10.0.0.1 -m multiport --dports 80,443 ! --syn");
    }

    #[test]
    fn a_mistake_in_a_rule_is_told() {
        let _root = host();
        let script = Script::of(&[("/usr/sbin/iptables -t filter -C INPUT -j NIX", 2, "unknown option")]);
        let Err(error) = Iptables::inspect(&args(json!({"chain": "INPUT", "jump": "NIX"})), &script.host())
        else {
            panic!()
        };
        assert_eq!(error.msg, "the rule cannot be looked for: unknown option");
    }
}
