//! The user the agent runs as and what surrounds the boot: environment, keys, kernel command line.
//!
//! Owns: `user_*`, `env`, `ssh_host_key_*`, `cmdline`, `proc_cmdline`, and the initiator names.

use nix::unistd::{Uid, User, getegid, geteuid, getgid, getuid};
use serde_json::{Map, Value, json};

use super::Facts;
use crate::system;

pub(super) fn user(facts: &mut Facts) {
    let account = User::from_uid(geteuid()).ok().flatten();
    if let Some(user) = account {
        facts.put("user_id", json!(user.name));
        facts.put("user_uid", json!(user.uid.as_raw()));
        facts.put("user_gid", json!(user.gid.as_raw()));
        facts.put("user_gecos", json!(user.gecos.to_string_lossy()));
        facts.put("user_dir", json!(user.dir.to_string_lossy()));
        facts.put("user_shell", json!(user.shell.to_string_lossy()));
    } else {
        // A uid without an account (containers).
        facts.put("user_id", json!(Uid::effective().as_raw().to_string()));
        facts.put("user_uid", json!(Uid::effective().as_raw()));
    }
    facts.put("real_user_id", json!(getuid().as_raw()));
    facts.put("effective_user_id", json!(geteuid().as_raw()));
    facts.put("real_group_id", json!(getgid().as_raw()));
    facts.put("effective_group_id", json!(getegid().as_raw()));
}

pub(super) fn environment(facts: &mut Facts, added: &[(String, String)]) {
    let mut env: Map<String, Value> = std::env::vars_os()
        .map(|(k, v)| (k.to_string_lossy().into_owned(), json!(v.to_string_lossy())))
        .collect();
    for (name, value) in added {
        env.insert(name.clone(), json!(value));
    }
    facts.put("env", Value::Object(env));
}

pub(super) fn host_keys(facts: &mut Facts) {
    for kind in ["dsa", "rsa", "ecdsa", "ed25519"] {
        let file = ["/etc/ssh", "/etc/openssh", "/etc"]
            .iter()
            .find_map(|f| system::word(format!("{f}/ssh_host_{kind}_key.pub")));
        let Some(text) = file else { continue };
        let mut words = text.split_whitespace();
        if let (Some(key_type), Some(key)) = (words.next(), words.next()) {
            facts.put(&format!("ssh_host_key_{kind}_public"), json!(key));
            facts.put(&format!("ssh_host_key_{kind}_public_keytype"), json!(key_type));
        }
    }
}

pub(super) fn command_line(facts: &mut Facts) {
    let Some(text) = system::text("/proc/cmdline") else { return };
    let (mut last, mut all) = (Map::new(), Map::new());
    for word in split_quoted(&text) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), json!(value)),
            None => (word.clone(), json!(true)),
        };
        match all.get_mut(&name) {
            None => {
                all.insert(name.clone(), value.clone());
            }
            Some(Value::Array(values)) => values.push(value.clone()),
            Some(single) => *single = json!([single.clone(), value]),
        }
        last.insert(name, value);
    }
    facts.put("cmdline", Value::Object(last));
    facts.put("proc_cmdline", Value::Object(all));
}

/// Words of a line in which double quotes keep spaces together; the quotes go.
fn split_quoted(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => (quoted, begun) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

pub(super) fn initiators(facts: &mut Facts) {
    let name = system::text("/etc/iscsi/initiatorname.iscsi").unwrap_or_default();
    let iqn = name.lines().find_map(|l| l.trim().strip_prefix("InitiatorName=")).unwrap_or_default();
    facts.put("iscsi_iqn", json!(iqn.trim()));
    let nqn = system::text("/etc/nvme/hostnqn").unwrap_or_default();
    facts.put("hostnqn", json!(nqn.lines().find(|l| l.starts_with("nqn.")).unwrap_or_default().trim()));
    let ports: Vec<String> = system::names("/sys/class/fc_host")
        .iter()
        .filter_map(|h| system::word(format!("/sys/class/fc_host/{h}/port_name")))
        .map(|n| n.trim_start_matches("0x").to_owned())
        .collect();
    facts.put("fibre_channel_wwn", json!(ports));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;

    #[test]
    fn the_kernel_command_line_keeps_repeats_in_one_of_its_two_facts() {
        let _root = FakeRoot::with(&[("/proc/cmdline", "ro console=tty0 console=ttyS0 opt=\"a b\" quiet\n")]);
        let mut facts = Facts::default();
        command_line(&mut facts);
        assert_eq!(
            facts.get("cmdline"),
            Some(&json!({"ro": true, "console": "ttyS0", "opt": "a b", "quiet": true}))
        );
        assert_eq!(facts.get("proc_cmdline").map(|c| c["console"].clone()), Some(json!(["tty0", "ttyS0"])));
    }

    #[test]
    fn host_keys_give_type_and_key() {
        let _root = FakeRoot::with(&[("/etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA root@x\n")]);
        let mut facts = Facts::default();
        host_keys(&mut facts);
        assert_eq!(facts.get("ssh_host_key_rsa_public"), Some(&json!("AAAA")));
        assert_eq!(facts.get("ssh_host_key_rsa_public_keytype"), Some(&json!("ssh-rsa")));
    }
}
