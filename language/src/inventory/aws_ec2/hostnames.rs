//! `hostnames`: which attribute or tag names a host.
//!
//! Owns: the words people write there. They are the names of `DescribeInstances`' filters, `tag:` forms, or a literal.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::document::tags;
use crate::inventory::constructed::sanitised;
use crate::inventory::pattern::near;
use crate::source::{Diagnostic, Diagnostics, Mapping, Node, Span, Yaml};
use crate::template::{Scope, SearchPath, Templates, Value, Var, to_text};
use crate::vars::key_text;

/// The preferences in order.
#[derive(Debug, Default)]
pub(super) struct Hostnames {
    items: Vec<Preference>,
    /// Add the host under every name that it has.
    pub(super) all: bool,
    /// Where they are written; without it the plugin's own preferences hold.
    pub(super) span: Option<Span>,
}

#[derive(Debug)]
struct Preference {
    name: Word,
    prefix: Option<Word>,
    separator: String,
}

#[derive(Debug)]
struct Word {
    source: Source,
    /// What stands behind a `|`: Jinja filters.
    filters: Option<String>,
    span: Span,
}

#[derive(Debug, PartialEq)]
enum Source {
    /// Each may be `KEY` or `KEY=VALUE`.
    Tags(Vec<(String, Option<String>)>),
    /// A path in the instance's document.
    Attribute(String),
    Literal(String),
}

const OPTIONS: [&str; 3] = ["name", "prefix", "separator"];

impl Hostnames {
    /// Reads the option; what is wrong goes to `found`.
    pub(super) fn read(map: &Mapping, all: bool, found: &mut Diagnostics) -> Self {
        let usual = |path: &str| Preference {
            name: Word {
                source: Source::Attribute(path.to_owned()),
                filters: None,
                span: Span { file: crate::source::SourceId(0), start: 0, end: 0 },
            },
            prefix: None,
            separator: String::new(),
        };
        let written = map.get("hostnames").filter(|n| !n.is_null());
        let items = match written.map(|n| (n, &n.value)) {
            None => Vec::new(),
            Some((_, Yaml::Seq(items))) => items.iter().filter_map(|n| Preference::read(n, found)).collect(),
            Some((node, Yaml::Str(_) | Yaml::Unsafe(_))) => {
                Preference::read(node, found).into_iter().collect()
            }
            Some((node, _)) => {
                found.push(fault("`hostnames` must be a list", node.span));
                Vec::new()
            }
        };
        if items.is_empty() {
            return Self {
                items: vec![usual("public_dns_name"), usual("private_dns_name")],
                all,
                span: None,
            };
        }
        Self { items, all, span: written.map(|n| n.span) }
    }

    /// The names of an instance: the first that is not empty, or all of them with `allow_duplicated_hosts`.
    ///
    /// # Errors
    /// A filter that fails, with its place.
    pub(super) fn of(&self, instance: &Json, templates: &Templates) -> Result<Vec<String>, (Span, String)> {
        let mut names: Vec<String> = Vec::new();
        for item in &self.items {
            let prefix = match &item.prefix {
                Some(prefix) => prefix.values(instance, templates)?.into_iter().next(),
                None => None,
            };
            for value in item.name.values(instance, templates)? {
                let name = match &prefix {
                    Some(prefix) => format!("{prefix}{}{value}", item.separator),
                    None => value,
                };
                // Nothing with a colon can be named in a pattern.
                let name = if name.contains(':') { sanitised(&name) } else { name };
                // Whoever may tag an instance must not get an option into the command line of ssh.
                let name = name.strip_prefix('-').map_or_else(|| name.clone(), |rest| format!("_{rest}"));
                if !names.contains(&name) {
                    names.push(name);
                }
                if !self.all {
                    return Ok(names);
                }
            }
        }
        Ok(names)
    }

    /// When that name was written as a literal: what to say about it, with a known word that is near.
    pub(super) fn literal(&self, name: &str) -> Option<String> {
        let literal = |p: &&Preference| matches!(&p.name.source, Source::Literal(text) if text == name);
        self.items.iter().find(literal)?;
        let words = ATTRIBUTES.iter().map(|(word, _)| *word);
        Some(near(name, words).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())
    }
}

impl Preference {
    fn read(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let Some(map) = node.as_map() else {
            return match node.scalar_text().and_then(|t| Word::read(&t, node.span)) {
                Some(name) => Some(Self { name, prefix: None, separator: String::new() }),
                None => {
                    found.push(fault(
                        "an item of `hostnames` must be a name or a mapping with `name`",
                        node.span,
                    ));
                    None
                }
            };
        };
        super::super::constructed::check_options(map, &OPTIONS, "`hostnames`", found);
        let word = |name: &str| {
            let node = map.get(name)?;
            Word::read(&node.scalar_text()?, node.span)
        };
        let Some(name) = word("name") else {
            found.push(fault("an item of `hostnames` needs `name`", node.span));
            return None;
        };
        let separator = map.get("separator").and_then(Node::scalar_text).unwrap_or_else(|| "_".to_owned());
        Some(Self { name, prefix: word("prefix"), separator })
    }
}

impl Word {
    fn read(text: &str, span: Span) -> Option<Self> {
        let (word, filters) = match text.split_once('|') {
            Some((word, filters)) => (word.trim(), Some(filters.trim().to_owned())),
            None => (text.trim(), None),
        };
        let source = if let Some(list) = word.strip_prefix("tag:") {
            let tag = |tag: &str| match tag.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (tag.to_owned(), None),
            };
            Source::Tags(list.split(',').map(tag).collect())
        } else if let Some(path) = attribute(word) {
            Source::Attribute(path)
        } else {
            Source::Literal(word.to_owned())
        };
        (!word.is_empty()).then_some(Self { source, filters, span })
    }

    /// All values that aren't empty, filters applied.
    fn values(&self, instance: &Json, templates: &Templates) -> Result<Vec<String>, (Span, String)> {
        let values: Vec<String> = match &self.source {
            Source::Literal(text) => vec![text.clone()],
            Source::Attribute(path) => at_path(instance, path).into_iter().collect(),
            Source::Tags(wanted) => {
                let value = |(key, value): &(String, Option<String>)| {
                    let (_, found) = tags(instance).find(|(name, _)| *name == key)?;
                    match value {
                        Some(value) => (found == value).then(|| format!("{key}_{value}")),
                        None => Some(found.to_owned()),
                    }
                };
                wanted.iter().filter_map(value).collect()
            }
        };
        let values = values.into_iter().filter(|v| !v.is_empty());
        let Some(filters) = &self.filters else { return Ok(values.collect()) };
        let filtered = values.map(|value| {
            let scope: Arc<dyn Scope> = Arc::new(One(Value::from(value)));
            let made = templates.expression(&format!("hostname | {filters}"), None, &scope);
            made.and_then(|v| to_text(&v)).map_err(|e| (self.span, e.to_string()))
        });
        let all: Result<Vec<String>, _> = filtered.collect();
        all.map(|all| all.into_iter().filter(|v| !v.is_empty()).collect())
    }
}

/// What filters of a host name see.
#[derive(Debug)]
struct One(Value);

impl Scope for One {
    fn get(&self, name: &str) -> Option<Var> {
        (name == "hostname").then(|| Var::Data(self.0.clone()))
    }

    fn names(&self) -> Vec<String> {
        vec!["hostname".to_owned()]
    }

    fn search(&self) -> SearchPath {
        SearchPath::default()
    }
}

/// The text at a path; of a list the first element that has one.
fn at_path(document: &Json, path: &str) -> Option<String> {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    let value = document.get(name)?;
    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    items.iter().find_map(|item| match (rest, item) {
        (Some(rest), _) => at_path(item, rest),
        (None, Json::String(text)) => Some(text.clone()).filter(|t| !t.is_empty()),
        (None, Json::Number(number)) => Some(number.to_string()),
        (None, Json::Bool(truth)) => Some(if *truth { "True".to_owned() } else { "False".to_owned() }),
        _ => None,
    })
}

fn attribute(word: &str) -> Option<String> {
    let (_, path) = ATTRIBUTES.iter().find(|(name, _)| *name == word)?;
    // Where nothing is said, the filter is called as the attribute.
    Some(if path.is_empty() { word.replace('-', "_") } else { (*path).to_owned() })
}

/// Filters of `DescribeInstances`, each with the path of what it looks at.
const ATTRIBUTES: [(&str, &str); 89] = [
    ("affinity", "placement.affinity"),
    ("architecture", ""),
    ("availability-zone", "placement.availability_zone"),
    ("block-device-mapping.attach-time", "block_device_mappings.ebs.attach_time"),
    ("block-device-mapping.delete-on-termination", "block_device_mappings.ebs.delete_on_termination"),
    ("block-device-mapping.device-name", "block_device_mappings.device_name"),
    ("block-device-mapping.status", "block_device_mappings.ebs.status"),
    ("block-device-mapping.volume-id", "block_device_mappings.ebs.volume_id"),
    ("boot-mode", ""),
    ("capacity-reservation-id", ""),
    ("client-token", ""),
    ("current-instance-boot-mode", ""),
    ("dns-name", "public_dns_name"),
    ("ebs-optimized", ""),
    ("ena-support", ""),
    ("enclave-options.enabled", "enclave_options.enabled"),
    ("group-id", "security_groups.group_id"),
    ("group-name", "security_groups.group_name"),
    ("hibernation-options.configured", "hibernation_options.configured"),
    ("host-id", "placement.host_id"),
    ("hypervisor", ""),
    ("iam-instance-profile.arn", "iam_instance_profile.arn"),
    ("iam-instance-profile.id", "iam_instance_profile.id"),
    ("image-id", ""),
    ("instance-id", ""),
    ("instance-lifecycle", ""),
    ("instance-state-code", "state.code"),
    ("instance-state-name", "state.name"),
    ("instance-type", ""),
    ("instance.group-id", "security_groups.group_id"),
    ("instance.group-name", "security_groups.group_name"),
    ("ip-address", "public_ip_address"),
    ("ipv6-address", ""),
    ("kernel-id", ""),
    ("key-name", ""),
    ("launch-index", "ami_launch_index"),
    ("launch-time", ""),
    ("metadata-options.http-endpoint", "metadata_options.http_endpoint"),
    ("metadata-options.http-put-response-hop-limit", "metadata_options.http_put_response_hop_limit"),
    ("metadata-options.http-tokens", "metadata_options.http_tokens"),
    ("monitoring-state", "monitoring.state"),
    (
        "network-interface.addresses.association.ip-owner-id",
        "network_interfaces.private_ip_addresses.association.ip_owner_id",
    ),
    (
        "network-interface.addresses.association.public-ip",
        "network_interfaces.private_ip_addresses.association.public_ip",
    ),
    ("network-interface.addresses.primary", "network_interfaces.private_ip_addresses.primary"),
    ("network-interface.addresses.private-ip-address", "network_interfaces.private_ip_address"),
    ("network-interface.association.ip-owner-id", "network_interfaces.association.ip_owner_id"),
    ("network-interface.association.public-ip", "network_interfaces.association.public_ip"),
    ("network-interface.attachment.attach-time", "network_interfaces.attachment.attach_time"),
    ("network-interface.attachment.attachment-id", "network_interfaces.attachment.attachment_id"),
    (
        "network-interface.attachment.delete-on-termination",
        "network_interfaces.attachment.delete_on_termination",
    ),
    ("network-interface.attachment.device-index", "network_interfaces.attachment.device_index"),
    ("network-interface.attachment.instance-id", "instance_id"),
    ("network-interface.attachment.instance-owner-id", "owner_id"),
    ("network-interface.attachment.status", "network_interfaces.attachment.status"),
    ("network-interface.availability-zone", "placement.availability_zone"),
    ("network-interface.description", "network_interfaces.description"),
    ("network-interface.group-id", "network_interfaces.groups.group_id"),
    ("network-interface.group-name", "network_interfaces.groups.group_name"),
    ("network-interface.ipv6-addresses.ipv6-address", "network_interfaces.ipv6_addresses.ipv6_address"),
    ("network-interface.mac-address", "network_interfaces.mac_address"),
    ("network-interface.network-interface-id", "network_interfaces.network_interface_id"),
    ("network-interface.owner-id", "network_interfaces.owner_id"),
    ("network-interface.private-dns-name", "network_interfaces.private_dns_name"),
    ("network-interface.source-dest-check", "network_interfaces.source_dest_check"),
    ("network-interface.status", "network_interfaces.status"),
    ("network-interface.subnet-id", "network_interfaces.subnet_id"),
    ("network-interface.vpc-id", "network_interfaces.vpc_id"),
    ("owner-id", ""),
    ("placement-group-name", "placement.group_name"),
    ("placement-partition-number", "placement.partition_number"),
    ("platform", ""),
    ("private-dns-name", ""),
    ("private-ip-address", ""),
    ("product-code", "product_codes.product_code_id"),
    ("product-code.type", "product_codes.product_code_type"),
    ("ramdisk-id", ""),
    ("reason", "state_transition_reason"),
    ("requester-id", ""),
    ("reservation-id", ""),
    ("root-device-name", ""),
    ("root-device-type", ""),
    ("source-dest-check", ""),
    ("spot-instance-request-id", ""),
    ("state-reason-code", "state_reason.code"),
    ("state-reason-message", "state_reason.message"),
    ("subnet-id", ""),
    ("tenancy", "placement.tenancy"),
    ("virtualization-type", ""),
    ("vpc-id", ""),
];

fn fault(message: &str, span: Span) -> Diagnostic {
    Diagnostic::error("inventory-option", message, span)
}

/// The tags of a mapping, for options that name instances by a tag: `KEY`, `KEY=VALUE` or a mapping of both.
pub(super) fn tag_wish(node: &Node) -> Option<BTreeMap<String, Option<String>>> {
    if let Some(map) = node.as_map() {
        let pair =
            |e: &crate::source::Entry| Some((key_text(&e.key).to_string(), Some(e.value.scalar_text()?)));
        return map.entries.iter().map(pair).collect();
    }
    let text = node.scalar_text().filter(|t| !t.is_empty())?;
    Some(BTreeMap::from([match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text, None),
    }]))
}
