//! Modules on real hosts without Python, as root, through sudo, and through sudo with a password.
//!
//! Each playbook of `tests/lab/modules` runs three times: in check mode, which must foresee what the second run changes
//! and change nothing itself; for real; and again, which must find nothing left to do.
//! Needs root and the programs that `dcos-play lab` needs; says so and passes where they are missing.

mod lab;

use std::collections::{BTreeMap, BTreeSet};

use lab::{Ran, TestLab};
use serde_json::Value;

const HOSTS: [&str; 3] = ["byroot", "bysudo", "bypassword"];

fn lab() -> Option<TestLab> {
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/www/build.sh");
    let test = TestLab::up(&format!(
        "plugin: lab\nname: tcorpus\nnetwork: 10.89.0.0/24\ndefaults: {{image: bare}}\nwww: {{build: {build}}}\n\
         vars: {{web: 'http://10.89.0.1:8077'}}\n\
         groups:\n  all_ways:\n    hosts:\n      byroot:\n\
         \x20     bysudo: {{vars: {{ansible_user: ops, ansible_become: true}}}}\n\
         \x20     bypassword: {{vars: {{ansible_user: opspw, ansible_become: true, ansible_become_password: lab-sudo-pw}}}}\n"
    ))?;
    test.copy("tests/lab/modules");
    Some(test)
}

/// Everything a module could have changed, by path; the agent's own folder left out.
fn disk(test: &TestLab, host: &str) -> String {
    test.on(
        host,
        "find /etc /home /opt /root /srv /usr/local /var/lib/dpkg /var/lib/apt /var/spool/cron -xdev \
         -path '*/.cache' -prune -o -printf '%p %M %U %G %s %T@ %l\\n' | sort; \
         hostname; systemctl list-units 't-*' --all --plain --no-legend; sysctl net.ipv4.ip_local_port_range",
    )
}

/// Which tasks changed something, or would: name to outcome.
fn outcomes(ran: &Ran, host: &str) -> BTreeMap<String, String> {
    ran.outcomes(host).into_iter().map(|(name, outcome, _)| (name, outcome)).collect()
}

/// Tasks that only one of two runs has changed, or would have.
fn differences(foreseen: &BTreeMap<String, String>, done: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<_> = foreseen.keys().chain(done.keys()).collect();
    let of =
        |map: &BTreeMap<String, String>, name: &str| map.get(name).map_or("not reached", |o| o).to_owned();
    names
        .into_iter()
        .map(|name| (name, of(foreseen, name), of(done, name)))
        // Asking and waiting is skipped in check mode, as in Ansible.
        .filter(|(_, foreseen, done)| foreseen != done && !(foreseen == "skipped" && done == "ok"))
        .map(|(name, foreseen, done)| format!("{name}: {foreseen}, then {done}"))
        .collect()
}

#[test]
fn check_mode_foresees_what_the_first_run_changes_and_the_second_run_changes_nothing() {
    let Some(test) = lab() else { return };
    test.run(&["modules/prepare.yml"]).ended(0);
    let again = test.run(&["modules/prepare.yml"]).ended(0);
    for host in HOSTS {
        assert_eq!(again.totals()[host]["changed"], 0, "{again}");
    }
    for host in HOSTS {
        let python = test.on(host, "command -v python3 || echo none");
        assert_eq!(python, "none", "{host} is bare");
    }

    let mut wrong = Vec::new();
    for name in ["files", "edits", "system", "web", "removals"] {
        let playbook = format!("modules/{name}.yml");
        let before = HOSTS.map(|host| disk(&test, host));
        let foreseen = test.run(&[&playbook, "--check", "--diff"]);
        for (host, before) in HOSTS.iter().zip(&before) {
            for line in changed_lines(before, &disk(&test, host)) {
                wrong.push(format!("{name}, {host}: check mode changed the host: {line}"));
            }
        }
        let done = test.run(&[&playbook, "--diff"]);
        let again = test.run(&[&playbook, "--diff"]);
        for ran in [&foreseen, &done, &again] {
            if ran.exit != Some(0) {
                wrong.push(format!("{name}: {ran}"));
            }
        }
        for host in HOSTS {
            let (foreseen, done, again) =
                (outcomes(&foreseen, host), outcomes(&done, host), outcomes(&again, host));
            assert!(!done.is_empty(), "{}", wrong.join("\n"));
            wrong.extend(
                differences(&foreseen, &done)
                    .into_iter()
                    .map(|d| format!("{name}, {host}: foreseen and done differ: {d}")),
            );
            wrong.extend(again.iter().filter(|(_, outcome)| *outcome != "ok").map(|(task, outcome)| {
                format!("{name}, {host}: not done with the first time: {task}: {outcome}")
            }));
        }
        assert!(outcomes(&done, HOSTS[0]).values().any(|outcome| outcome == "changed"), "{done}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (before.lines().collect(), after.lines().collect());
    old.difference(&new)
        .map(|line| format!("- {line}"))
        .chain(new.difference(&old).map(|line| format!("+ {line}")))
        .collect()
}

#[test]
fn steps_that_only_run_give_what_they_should() {
    let Some(test) = lab() else { return };
    let ran = test.run(&["modules/prepare.yml", "modules/steps.yml"]).ended(0);
    assert_eq!(ran.all("host_rebooted").count(), 3, "{ran}");
    for host in HOSTS {
        let file = test.project().join(format!("modules/fetched/{host}/srv/t/ini"));
        assert!(fs_err::read_to_string(file).expect("a fetched file").starts_with("[one]\n"));
        let results: BTreeMap<String, Value> =
            ran.outcomes(host).into_iter().map(|(name, _, result)| (name, result)).collect();
        let said = results["Load a kernel module"]["msg"].as_str().expect("a message").to_owned();
        assert!(said.contains("nowhere_to_be_found"), "{said}");
    }
}
