//! Variables and groups under the names of `ec2.py`, the inventory script that came before the plugin.
//!
//! Own option `use_contrib_script_compatible_names`; Ansible's plugin leaves these names to `compose` and `keyed_groups`.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::document::{data, tags, text};
use crate::inventory::constructed::sanitised_as;
use crate::inventory::model::Inventory;
use crate::source::Span;

/// Adds both to a host.
pub(super) fn add(inventory: &mut Inventory, host: &str, instance: &Json, keep_dashes: bool, span: Span) {
    for (name, value) in variables(instance) {
        inventory.set_host_var(host, Arc::from(name), Arc::new(data(&value, span)));
    }
    for group in groups(instance, keep_dashes) {
        // A host named by its id would else have a group of that name beside it, and every pattern would be a riddle.
        if group != host {
            inventory.add_member(&group, host);
        }
    }
}

/// The groups of an instance. Regions, zones and ids keep their dashes, as the script wrote them.
pub(super) fn groups(instance: &Json, keep_dashes: bool) -> Vec<String> {
    let safe = |name: String| safe(&name, keep_dashes);
    let get = |path: &str| text(instance, path);
    let mut groups: Vec<String> = ["instance_id", "placement.region", "placement.availability_zone"]
        .into_iter()
        .filter_map(get)
        .map(str::to_owned)
        .collect();
    groups.extend(get("image_id").map(|id| safe(id.to_owned())));
    groups.extend(get("instance_type").map(|kind| safe(format!("type_{kind}"))));
    groups.extend(get("key_name").map(|key| safe(format!("key_{key}"))));
    groups.extend(get("vpc_id").map(|id| safe(format!("vpc_id_{id}"))));
    groups.extend(security_groups(instance, "group_name").map(|name| safe(format!("security_group_{name}"))));
    let mut tagged = false;
    for (key, value) in tags(instance) {
        tagged = true;
        groups.push(safe(if value.is_empty() { format!("tag_{key}") } else { format!("tag_{key}={value}") }));
    }
    if !tagged {
        groups.push("tag_none".to_owned());
    }
    groups.push("ec2".to_owned());
    groups
}

/// The variables: `ec2_` and what the old library called each attribute; what an instance doesn't have is empty text.
pub(super) fn variables(instance: &Json) -> Map<String, Json> {
    let mut vars = Map::new();
    let names = [
        ("account_id", "owner_id"),
        ("architecture", "architecture"),
        ("client_token", "client_token"),
        ("dns_name", "public_dns_name"),
        ("group_name", "placement.group_name"),
        ("hypervisor", "hypervisor"),
        ("id", "instance_id"),
        ("image_id", "image_id"),
        ("instance_profile", "iam_instance_profile.arn"),
        ("instance_type", "instance_type"),
        ("ip_address", "public_ip_address"),
        ("kernel", "kernel_id"),
        ("key_name", "key_name"),
        ("monitoring_state", "monitoring.state"),
        ("placement", "placement.availability_zone"),
        ("platform", "platform"),
        ("private_dns_name", "private_dns_name"),
        ("private_ip_address", "private_ip_address"),
        ("public_dns_name", "public_dns_name"),
        ("ramdisk", "ramdisk_id"),
        ("reason", "state_transition_reason"),
        ("region", "placement.region"),
        ("requester_id", "requester_id"),
        ("root_device_name", "root_device_name"),
        ("root_device_type", "root_device_type"),
        ("spot_instance_request_id", "spot_instance_request_id"),
        ("state", "state.name"),
        ("subnet_id", "subnet_id"),
        ("tenancy", "placement.tenancy"),
        ("virtualization_type", "virtualization_type"),
        ("vpc_id", "vpc_id"),
    ];
    for (name, path) in names {
        vars.insert(format!("ec2_{name}"), text(instance, path).unwrap_or_default().into());
    }
    let number = |pointer: &str| instance.pointer(pointer).and_then(Json::as_i64).unwrap_or_default();
    vars.insert("ec2_state_code".into(), number("/state/code").into());
    vars.insert("ec2_ami_launch_index".into(), number("/ami_launch_index").to_string().into());
    vars.insert("ec2_previous_state".into(), "".into());
    vars.insert("ec2_previous_state_code".into(), 0.into());
    vars.insert("ec2_monitored".into(), (text(instance, "monitoring.state") == Some("enabled")).into());
    let truth = |name: &str| instance.get(name).and_then(Json::as_bool).unwrap_or_default();
    vars.insert("ec2_ebs_optimized".into(), truth("ebs_optimized").into());
    vars.insert("ec2_sourceDestCheck".into(), truth("source_dest_check").to_string().into());
    // The script had `2026-01-02T03:04:05.000Z`, the plugin has `2026-01-02T03:04:05+00:00`.
    let launched = text(instance, "launch_time").unwrap_or_default().replace("+00:00", ".000Z");
    vars.insert("ec2_launch_time".into(), launched.into());
    for (name, field) in [("ids", "group_id"), ("names", "group_name")] {
        let all: Vec<&str> = security_groups(instance, field).collect();
        vars.insert(format!("ec2_security_group_{name}"), all.join(",").into());
    }
    let mut disks = Map::new();
    for disk in instance.get("block_device_mappings").and_then(Json::as_array).into_iter().flatten() {
        let name = text(disk, "device_name").unwrap_or_default();
        disks.insert(name.rsplit('/').next().unwrap_or(name).to_owned(), json!(text(disk, "ebs.volume_id")));
    }
    vars.insert("ec2_block_devices".into(), disks.into());
    for (key, value) in tags(instance) {
        vars.insert(safe(&format!("ec2_tag_{key}"), false), value.into());
    }
    vars
}

fn security_groups<'i>(instance: &'i Json, field: &str) -> impl Iterator<Item = &'i str> {
    let groups = instance.get("security_groups").and_then(Json::as_array);
    groups.into_iter().flatten().filter_map(move |group| text(group, field))
}

/// The script knew no Unicode, and it left leading digits alone.
fn safe(name: &str, keep_dashes: bool) -> String {
    let fits = |c: char| if c.is_ascii() { c } else { '_' };
    let name: String = name.chars().map(fits).collect();
    sanitised_as(&format!("x{name}"), keep_dashes)[1..].to_owned()
}
