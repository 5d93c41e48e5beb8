//! `jump_host`: a bastion found among the instances, through which the private ones are reached.
//!
//! Own option; Ansible leaves it to people to write `ansible_ssh_common_args` by hand. Owns: which host goes through which
//! bastion. Must not: touch hosts that have a public address.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::document::{tags, text};
use super::hostnames::tag_wish;
use crate::inventory::constructed::{check_options, option_error};
use crate::inventory::model::Inventory;
use crate::source::{Diagnostic, Diagnostics, Node, Span, Yaml};

const OPTIONS: [&str; 5] = ["tag", "group", "user", "port", "private_key_file"];

/// The rule of a file.
#[derive(Debug, PartialEq)]
pub(super) struct Jump {
    by: By,
    user: Option<String>,
    port: Option<u16>,
    key: Option<String>,
    span: Span,
}

#[derive(Debug, PartialEq)]
enum By {
    /// All of these tags; without a value only the key must be there.
    Tags(BTreeMap<String, Option<String>>),
    Group(String),
}

impl Jump {
    /// Reads the option; what is wrong goes to `found`.
    pub(super) fn read(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let known = found.errors();
        let Some(map) = node.as_map() else {
            found.push(
                option_error("`jump_host` must be a mapping", node.span)
                    .help("such as `jump_host: {tag: role=bastion, user: ec2-user}`"),
            );
            return None;
        };
        check_options(map, &OPTIONS, "`jump_host`", found);
        let text = |name: &str| map.get(name).and_then(super::scalar);
        let by = match (map.get("tag").and_then(tag_wish), text("group")) {
            (Some(tags), None) => Some(By::Tags(tags)),
            (None, Some(group)) => Some(By::Group(group)),
            _ => {
                found.push(option_error("`jump_host` needs either `tag` or `group`", node.span));
                None
            }
        };
        let port = match map.get("port").map(|n| (n, n.scalar_text().and_then(|t| t.parse().ok()))) {
            Some((node, None)) => {
                found.push(option_error("`port` must be a number up to 65535", node.span));
                None
            }
            Some((_, port)) => port,
            None => None,
        };
        // These become words of a command line.
        for name in ["user", "private_key_file"] {
            if let (Some(node), Some(value)) = (map.get(name), text(name))
                && (value.starts_with('-')
                    || value.contains(|c: char| c.is_control() || "'\"\\@`$".contains(c)))
            {
                found.push(option_error(&format!("`{name}` can't be `{value}`"), node.span));
            }
        }
        let (user, key) = (text("user"), text("private_key_file"));
        (found.errors() == known).then_some(Self { by: by?, user, port, key, span: node.span })
    }

    /// Gives every private host the way through a bastion of its VPC, one of its own zone before others.
    pub(super) fn apply(
        &self,
        inventory: &mut Inventory,
        hosts: &[(String, &Json)],
        found: &mut Diagnostics,
    ) {
        inventory.finish();
        let is_jump = |(host, instance): &&(String, &Json)| match &self.by {
            By::Group(group) => inventory.group_names(host).iter().any(|g| &**g == group),
            By::Tags(wanted) => wanted.iter().all(|(key, value)| {
                let found = tags(instance).find(|(name, _)| *name == key).map(|(_, value)| value);
                found.is_some_and(|found| value.as_ref().is_none_or(|v| v == found))
            }),
        };
        let jumps: Vec<&(String, &Json)> = hosts.iter().filter(is_jump).collect();
        let usable: Vec<&(String, &Json)> =
            jumps.iter().copied().filter(|(_, i)| running(i) && address(i).is_some()).collect();
        // Where nothing is yet, nobody needs a way.
        if usable.is_empty() && !hosts.is_empty() {
            let what = match &self.by {
                By::Group(group) => format!("in the group `{group}`"),
                By::Tags(wanted) => {
                    let tag = |(key, value): (&String, &Option<String>)| match value {
                        Some(value) => format!("{key}={value}"),
                        None => key.clone(),
                    };
                    format!("with the tag `{}`", wanted.iter().map(tag).collect::<Vec<_>>().join(" "))
                }
            };
            let state = if jumps.is_empty() { "no instance" } else { "no running instance" };
            let message = format!("no jump host: {state} {what}");
            found.push(Diagnostic::warning("inventory-jump-host", message, self.span));
        }
        let mut ways = Vec::new();
        for entry in hosts {
            let (host, instance) = entry;
            if text(instance, "public_ip_address").is_some() || jumps.iter().any(|(name, _)| name == host) {
                continue;
            }
            let near = |path: &'static str| {
                move |(_, jump): &&&(String, &Json)| {
                    text(jump, path).is_some() && text(jump, path) == text(instance, path)
                }
            };
            let same_network: Vec<_> = usable.iter().filter(near("vpc_id")).collect();
            let same_zone = same_network.iter().find(|j| near("placement.availability_zone")(j));
            let Some((_, jump)) = same_zone.or(same_network.first()).copied().copied() else { continue };
            if let Some(jump) = address(jump) {
                ways.push((host.clone(), text(instance, "private_ip_address"), self.way(jump)));
            }
        }
        for (host, private, way) in ways {
            let set = |name: &str| {
                let vars = inventory.host(&host)?.vars.get(name)?.scalar_text()?;
                Some(vars).filter(|text| !text.is_empty())
            };
            let args = match set("ansible_ssh_common_args") {
                Some(before) => format!("{before} {way}"),
                None => way,
            };
            let own_address = set("ansible_host").or_else(|| set("ansible_ssh_host"));
            let node = |text: &str| Arc::new(Node { span: self.span, value: Yaml::Unsafe(Arc::from(text)) });
            inventory.set_host_var(&host, "ansible_ssh_common_args".into(), node(&args));
            if let (None, Some(private)) = (own_address, private) {
                inventory.set_host_var(&host, "ansible_host".into(), node(private));
            }
        }
    }

    /// The words for ssh. `ProxyJump` takes no key, so with one it is spelled out.
    fn way(&self, jump: &str) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        match &self.key {
            None => {
                let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
                // An IPv6 address has colons of its own.
                let jump = if jump.contains(':') { format!("[{jump}]") } else { jump.to_owned() };
                format!("-o ProxyJump={user}{jump}{port}")
            }
            Some(key) => {
                let port = self.port.map(|port| format!(" -p {port}")).unwrap_or_default();
                format!("-o 'ProxyCommand=ssh -W [%h]:%p -o BatchMode=yes -i \"{key}\"{port} {user}{jump}'")
            }
        }
    }
}

fn running(instance: &Json) -> bool {
    text(instance, "state.name") == Some("running")
}

/// Where a bastion answers: outside when it has an address there (else a VPN leads in).
fn address(instance: &Json) -> Option<&str> {
    text(instance, "public_ip_address").or_else(|| text(instance, "private_ip_address"))
}
