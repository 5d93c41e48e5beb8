//! `plugin: amazon.aws.aws_ec2`: the instances of an AWS account as hosts, with the names that Ansible's plugin gives.
//!
//! Owns: what the options mean, and the way from described instances to hosts, groups and variables. Must not: talk to
//! AWS; whoever loads the inventory gives a way to ask ([`Ec2Ask`]), so that this knows no AWS type.

mod cache;
mod contrib;
mod document;
mod hostnames;
mod jump;
mod options;
mod query;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use self::options::Settings;
pub use self::query::{Ec2Access, Ec2Answer, Ec2Ask, Ec2Fault, Ec2Filters, Ec2Query};
use super::constructed::Scoping;
use super::model::Inventory;
use super::reader::Reader;
use crate::source::{Diagnostic, Mapping, Node, Span};
use crate::template::Templates;

/// Every instance is in this group.
const GROUP: &str = "aws_ec2";

/// True for the names of the plugin.
pub(super) fn is_named(plugin: &str) -> bool {
    matches!(plugin, "amazon.aws.aws_ec2" | "aws_ec2" | "community.aws.aws_ec2")
}

/// Adds the instances that a file asks for.
pub(super) fn add(inventory: &mut Inventory, map: &Mapping, source: &Arc<PathBuf>, reader: &mut Reader<'_>) {
    let known = reader.found.errors();
    let folder = source.parent().unwrap_or(Path::new("."));
    let templates = super::constructed::templates(folder);
    let settings = Settings::read(map, &templates, &reader.extra(), folder, reader.found);
    let plugin =
        map.get("plugin").map_or(Span { file: crate::source::SourceId(0), start: 0, end: 0 }, |n| n.span);
    let Some(ask) = reader.plugins.ec2 else {
        reader.found.push(
            Diagnostic::error("inventory-plugin", "this `dcos-play` is built without AWS", plugin)
                .help("build it with `cargo build --features aws`, or use an inventory of another kind"),
        );
        return;
    };
    if reader.found.errors() > known {
        return;
    }
    let instances = match instances(&settings, ask, plugin, reader) {
        Ok(instances) => instances,
        Err(fault) => return reader.found.push(*fault),
    };
    let Some(named) = named(&settings, &instances, &templates, plugin, reader) else { return };
    let mut hosts = Vec::new();
    inventory.add_group(GROUP);
    for (host, instance) in named {
        inventory.add_host(&host, Some(source));
        for (name, value) in document::variables(instance, &settings) {
            let node = document::data(&value, plugin);
            inventory.set_host_var(&host, Arc::from(name), Arc::new(node));
        }
        inventory.add_member(GROUP, &host);
        if settings.contrib_names {
            contrib::add(inventory, &host, instance, settings.keep_dashes, plugin);
        }
        hosts.push((host, instance));
    }
    let scoping = Scoping {
        hosts: Some(hosts.iter().map(|(h, _)| h.clone()).collect()),
        extra: settings.extra.clone(),
    };
    settings.rules.apply(inventory, &templates, folder, &scoping, reader.found);
    if let Some(jump) = &settings.jump {
        jump.apply(inventory, &hosts, reader.found);
    }
}

/// The instances as the cache or AWS has them, sorted by id.
fn instances(
    settings: &Settings,
    ask: Ec2Ask<'_>,
    plugin: Span,
    reader: &mut Reader<'_>,
) -> Result<Vec<Json>, Box<Diagnostic>> {
    let cache = settings.cache.as_ref().map(|rules| cache::Cache::of(rules, &settings.query));
    if !reader.plugins.refresh
        && let Some(kept) = cache.as_ref().and_then(cache::Cache::read)
    {
        return Ok(kept);
    }
    let answer = ask(&settings.query).map_err(|fault| {
        let finding = Diagnostic::error("aws", fault.message, plugin);
        Box::new(match fault.help {
            Some(help) => finding.help(help),
            None => finding,
        })
    })?;
    for note in &answer.skipped {
        reader.found.push(Diagnostic::warning("aws", note.clone(), plugin));
    }
    let instances = document::merged(answer);
    // What is left out for lack of a permission must not stay left out for the lifetime of a cache.
    if let Some(cache) = cache
        && let Err(fault) = cache.write(&instances)
    {
        let message = format!("the instances can't be kept in the cache: {fault}");
        reader.found.push(Diagnostic::warning("inventory-cache", message, plugin));
    }
    Ok(instances)
}

/// The instances with their host names. Instances without a name are left out, as Ansible's plugin does it; two with the
/// same name are an error, since one host can't be both; with `allow_duplicated_hosts` the last wins, as in Ansible.
fn named<'i>(
    settings: &Settings,
    instances: &'i [Json],
    templates: &Templates,
    plugin: Span,
    reader: &mut Reader<'_>,
) -> Option<Vec<(String, &'i Json)>> {
    let mut taken: HashMap<String, &str> = HashMap::new();
    let mut named = Vec::new();
    for instance in instances {
        let id = document::text(instance, "instance_id").unwrap_or_default();
        let names = match settings.hostnames.of(instance, templates) {
            Ok(names) => names,
            Err((span, message)) => {
                reader.found.push(Diagnostic::error("inventory-hostname", message, span));
                return None;
            }
        };
        for name in names {
            if let Some(other) = taken.get(&name).filter(|_| !settings.hostnames.all) {
                let place = settings.hostnames.span.unwrap_or(plugin);
                let message = format!("the instances {other} and {id} would both be the host `{name}`");
                let help = match settings.hostnames.literal(&name) {
                    Some(near) => {
                        format!("`{name}` is no attribute of an instance, so it is taken as it is{near}")
                    }
                    None => "name them by `hostnames` with something that differs, such as `instance-id`"
                        .to_owned(),
                };
                reader.found.push(Diagnostic::error("inventory-hostname", message, place).help(help));
                return None;
            }
            taken.insert(name.clone(), id);
            named.push((name, instance));
        }
    }
    Some(named)
}

/// Text of a scalar option.
fn scalar(node: &Node) -> Option<String> {
    node.scalar_text().filter(|t| !t.is_empty())
}
