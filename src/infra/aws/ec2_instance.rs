//! `ec2_instance`: one instance of a resource; `count` makes several, each with an identity of its own.

use aws_sdk_ec2::types::{
    AttributeBooleanValue, AttributeValue, BlockDeviceMapping, EbsBlockDevice, Filter,
    IamInstanceProfileSpecification, Instance, InstanceNetworkInterfaceSpecification, InstanceStateName,
    InstanceType, ResourceType, VolumeType,
};
use base64::Engine as _;
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::waiting::{Patience, until};
use super::{cannot_change, id, refused, sorted, tags, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

/// AWS's limit, before base64.
const USER_DATA_MOST: usize = 16 * 1024;

pub(super) fn normal(identity: &Identity, options: &mut Options) -> Result<(), CloudFault> {
    sorted(options, "security_groups");
    if let Some(addresses) = options.remove("private_ip_addresses") {
        let all = addresses.as_array().cloned().unwrap_or_default();
        let own = all.get(identity.index as usize).cloned().ok_or_else(|| {
            refused(format!("`private_ip_addresses` has {} addresses, none for {identity}", all.len()))
        })?;
        options.insert("private_ip_address".to_owned(), own);
    }
    if options.get("user_data").and_then(Json::as_str).is_some_and(|d| d.len() > USER_DATA_MOST) {
        return Err(refused("`user_data` is longer than 16 KiB"));
    }
    if let Some(volumes) = options.get("volumes") {
        for volume in volumes.as_array().into_iter().flatten() {
            device(volume)?;
        }
    }
    // Whoever needs an instance needs it running.
    options.insert("wait".to_owned(), true.into());
    Ok(())
}

/// A volume in the form of `ec2_instance` (`ebs: {volume_size: 20}`) or of the old `ec2` module (flat).
fn device(volume: &Json) -> Result<BlockDeviceMapping, CloudFault> {
    const KEYS: &[&str] = &[
        "volume_size",
        "volume_type",
        "delete_on_termination",
        "iops",
        "encrypted",
        "snapshot_id",
        "throughput",
    ];
    let map = volume.as_object().ok_or_else(|| refused(format!("a volume is a mapping, not `{volume}`")))?;
    let inner = map.get("ebs").and_then(Json::as_object).unwrap_or(map);
    let strange = map.keys().filter(|k| !matches!(k.as_str(), "device_name" | "ebs"));
    let strange = strange.chain(inner.keys().filter(|k| *k != "device_name"));
    if let Some(key) = strange.into_iter().find(|k| !KEYS.contains(&k.as_str())) {
        return Err(refused(format!("a volume cannot have `{key}`: it has {}", KEYS.join(", "))));
    }
    let name = map.get("device_name").and_then(Json::as_str);
    let name = name.ok_or_else(|| refused("a volume needs `device_name`, such as `/dev/sda1`"))?;
    let number = |key: &str| -> Result<Option<i32>, CloudFault> {
        match inner.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => {
                let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                text.parse()
                    .map(Some)
                    .map_err(|_| refused(format!("`{key}` of a volume is a number, not `{text}`")))
            }
        }
    };
    let flag = |key: &str| match inner.get(key) {
        Some(Json::Bool(b)) => Some(*b),
        Some(Json::String(s)) => Some(matches!(s.to_lowercase().as_str(), "yes" | "true" | "on" | "1")),
        _ => None,
    };
    let text = |key: &str| inner.get(key).and_then(Json::as_str);
    let ebs = EbsBlockDevice::builder()
        .set_volume_size(number("volume_size")?)
        .set_iops(number("iops")?)
        .set_throughput(number("throughput")?)
        .set_volume_type(text("volume_type").map(VolumeType::from))
        .set_encrypted(flag("encrypted"))
        .set_snapshot_id(text("snapshot_id").map(ToOwned::to_owned))
        // Nothing of a cluster outlives it unless somebody says so.
        .delete_on_termination(flag("delete_on_termination").unwrap_or(true))
        .build();
    Ok(BlockDeviceMapping::builder().device_name(name).ebs(ebs).build())
}

/// Terminated ones stay in sight for about an hour.
const LIVING: [&str; 4] = ["pending", "running", "stopping", "stopped"];

pub(super) async fn find(clients: &Clients, whose: &Whose<'_>) -> Result<Vec<Found>, CloudFault> {
    let living = Filter::builder()
        .name("instance-state-name")
        .set_values(Some(LIVING.map(ToOwned::to_owned).to_vec()))
        .build();
    let call = clients.ec2.describe_instances().set_filters(whose.filters()).filters(living);
    let mut pages = call.into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| fault("ec2:DescribeInstances", &e))?;
        let instances = page.reservations().iter().flat_map(|r| r.instances());
        all.extend(instances.filter(|i| lives(i)).filter_map(read));
    }
    Ok(all)
}

fn lives(instance: &Instance) -> bool {
    state(instance).is_some_and(|s| LIVING.contains(&s.as_str()))
}

fn state(instance: &Instance) -> Option<&InstanceStateName> {
    instance.state().and_then(|s| s.name())
}

fn read(instance: &Instance) -> Option<Found> {
    let (tags, identity) = tags::identified(instance.tags());
    let id = instance.instance_id()?.to_owned();
    let mut groups: Vec<&str> = instance.security_groups().iter().filter_map(|g| g.group_id()).collect();
    groups.sort_unstable();
    let profile = instance.iam_instance_profile().and_then(|p| p.arn()?.rsplit('/').next());
    let mut known = json!({
        "image_id": instance.image_id(),
        "instance_type": instance.instance_type().map(InstanceType::as_str),
        "vpc_subnet_id": instance.subnet_id(),
        "security_groups": groups,
        "key_name": instance.key_name(),
        "private_ip_address": instance.private_ip_address(),
        "source_dest_check": instance.source_dest_check().unwrap_or(true),
        "ebs_optimized": instance.ebs_optimized().unwrap_or(false),
        "wait": state(instance) == Some(&InstanceStateName::Running),
    });
    if let (Some(map), Some(profile)) = (known.as_object_mut(), profile) {
        map.insert("iam_instance_profile".to_owned(), profile.into());
    }
    let names: Vec<Json> = instance
        .security_groups()
        .iter()
        .map(|g| json!({"group_id": g.group_id(), "group_name": g.group_name()}))
        .collect();
    let result = json!({
        "id": id,
        "instance_id": id,
        "image_id": instance.image_id(),
        "instance_type": instance.instance_type().map(InstanceType::as_str),
        "private_ip_address": instance.private_ip_address(),
        "public_ip_address": instance.public_ip_address(),
        "private_dns_name": instance.private_dns_name(),
        "public_dns_name": instance.public_dns_name(),
        "subnet_id": instance.subnet_id(),
        "vpc_id": instance.vpc_id(),
        "key_name": instance.key_name(),
        "launch_time": instance.launch_time().map(ToString::to_string),
        "ami_launch_index": instance.ami_launch_index(),
        "architecture": instance.architecture().map(|a| a.as_str()),
        "placement": {"availability_zone": instance.placement().and_then(|p| p.availability_zone())},
        "security_groups": names,
        "state": {
            "name": state(instance).map(InstanceStateName::as_str),
            "code": instance.state().and_then(|s| s.code()),
        },
        "tags": tags,
    });
    let (Json::Object(state), Json::Object(result)) = (known, result) else { return None };
    Some(Found { kind: Kind::Instance, id, identity, tags, state, result })
}

fn strings(value: Option<&Json>) -> Vec<String> {
    let all = value.and_then(Json::as_array).into_iter().flatten();
    all.filter_map(Json::as_str).map(ToOwned::to_owned).collect()
}

pub(super) async fn create(
    clients: &Clients,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
    generation: u32,
) -> Result<Found, CloudFault> {
    const CALL: &str = "ec2:RunInstances";
    let optional = |name: &str| wanted.get(name).and_then(Json::as_str).map(ToOwned::to_owned);
    let flag = |name: &str| wanted.get(name).and_then(Json::as_bool);
    let groups = strings(wanted.get("security_groups"));
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(text(wanted, "vpc_subnet_id")?)
        .set_groups(Some(groups).filter(|g| !g.is_empty()))
        .set_associate_public_ip_address(flag("assign_public_ip"))
        .set_private_ip_address(optional("private_ip_address"))
        .delete_on_termination(true)
        .build();
    let volumes = wanted.get("volumes").and_then(Json::as_array).into_iter().flatten();
    let volumes: Vec<BlockDeviceMapping> = volumes.map(device).collect::<Result<_, _>>()?;
    let profile = optional("iam_instance_profile")
        .map(|name| IamInstanceProfileSpecification::builder().name(name).build());
    // The SDK sends it as it is.
    let data = optional("user_data").map(|d| base64::engine::general_purpose::STANDARD.encode(d));
    let call = clients
        .once
        .run_instances()
        .min_count(1)
        .max_count(1)
        .client_token(super::token(Kind::Instance, identity, wanted, generation))
        .image_id(text(wanted, "image_id")?)
        .instance_type(InstanceType::from(text(wanted, "instance_type")?))
        .network_interfaces(interface)
        .set_key_name(optional("key_name"))
        .set_user_data(data)
        .set_iam_instance_profile(profile)
        .set_block_device_mappings(Some(volumes).filter(|v| !v.is_empty()))
        .set_disable_api_termination(flag("termination_protection"))
        .set_ebs_optimized(flag("ebs_optimized"))
        .set_tag_specifications(tags::at_creation(ResourceType::Instance, tags).map(|mut all| {
            all.extend(tags::at_creation(ResourceType::Volume, tags).into_iter().flatten());
            all
        }));
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    let instance = reply.instances().first();
    let id = id(CALL, instance.and_then(Instance::instance_id))?;
    if !instance.is_some_and(lives) {
        // The token stands for an instance that is gone: another one is needed.
        return Err(CloudFault {
            class: Class::Exists,
            call: CALL,
            code: super::OLD_TOKEN.to_owned(),
            message: format!("{id} is gone"),
        });
    }
    let mut found = instance.and_then(read).filter(|f| f.identity == *identity).ok_or_else(|| {
        CloudFault::refused(CALL, format!("{id} was made without the tags that mark it as ours"))
    })?;
    // The reply is a look at its first moment.
    found.state.insert("wait".to_owned(), false.into());
    Ok(found)
}

async fn one(clients: &Clients, id: &str) -> Result<Option<Instance>, CloudFault> {
    let call = clients.ec2.describe_instances().instance_ids(id);
    match call.send().await.map_err(|e| fault("ec2:DescribeInstances", &e)) {
        Ok(reply) => Ok(reply.reservations().iter().flat_map(|r| r.instances()).next().cloned()),
        Err(fault) if fault.class == Class::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

async fn until_state(clients: &Clients, id: &str, wanted: InstanceStateName) -> Result<(), CloudFault> {
    let call = "ec2:DescribeInstances";
    until(Patience::MINUTES, call, &format!("{id} to be {wanted}"), || async {
        // A new one may not be in sight yet.
        let Some(instance) = one(clients, id).await? else {
            return Ok((wanted == InstanceStateName::Terminated).then_some(()));
        };
        match state(&instance) {
            Some(now) if *now == wanted => Ok(Some(())),
            Some(now @ (InstanceStateName::Terminated | InstanceStateName::ShuttingDown))
                if wanted != InstanceStateName::Terminated =>
            {
                let why = instance.state_reason().and_then(|r| r.message()).unwrap_or("AWS gives no reason");
                Err(CloudFault::refused(call, format!("{id} is {now}: {why}")))
            }
            _ => Ok(None),
        }
    })
    .await
}

async fn start(clients: &Clients, id: &str) -> Result<(), CloudFault> {
    let call = clients.ec2.start_instances().instance_ids(id);
    call.send().await.map_err(|e| fault("ec2:StartInstances", &e))?;
    until_state(clients, id, InstanceStateName::Running).await
}

async fn stop(clients: &Clients, id: &str) -> Result<(), CloudFault> {
    let call = clients.ec2.stop_instances().instance_ids(id);
    call.send().await.map_err(|e| fault("ec2:StopInstances", &e))?;
    until_state(clients, id, InstanceStateName::Stopped).await
}

pub(super) async fn set(
    clients: &Clients,
    found: &Found,
    option: &str,
    value: &Json,
) -> Result<(), CloudFault> {
    const CALL: &str = "ec2:ModifyInstanceAttribute";
    let (ec2, id) = (&clients.ec2, &found.id);
    let modify = ec2.modify_instance_attribute().instance_id(id);
    let boolean = AttributeBooleanValue::builder().value(value.as_bool().unwrap_or(false)).build();
    match option {
        "wait" => {
            let now = one(clients, id).await?;
            match now.as_ref().and_then(state) {
                Some(InstanceStateName::Stopping) => {
                    until_state(clients, id, InstanceStateName::Stopped).await?;
                    start(clients, id).await
                }
                Some(InstanceStateName::Stopped) => start(clients, id).await,
                _ => until_state(clients, id, InstanceStateName::Running).await,
            }
        }
        // What tasks ask for.
        "power" => match value.as_str() {
            Some("stopped") => stop(clients, id).await,
            Some("rebooted") => {
                let call = ec2.reboot_instances().instance_ids(id);
                call.send().await.map(drop).map_err(|e| fault("ec2:RebootInstances", &e))
            }
            Some("restarted") => {
                stop(clients, id).await?;
                start(clients, id).await
            }
            _ => start(clients, id).await,
        },
        "termination_protection" => {
            let call = modify.disable_api_termination(boolean);
            call.send().await.map(drop).map_err(|e| fault(CALL, &e))
        }
        "security_groups" => {
            let call = modify.set_groups(Some(strings(Some(value))));
            call.send().await.map(drop).map_err(|e| fault(CALL, &e))
        }
        "source_dest_check" => {
            let call = modify.source_dest_check(boolean);
            call.send().await.map(drop).map_err(|e| fault(CALL, &e))
        }
        // These two only while it is stopped.
        "instance_type" | "ebs_optimized" => {
            stop(clients, id).await?;
            let call = if option == "instance_type" {
                let value = value.as_str().unwrap_or_default();
                modify.instance_type(AttributeValue::builder().value(value).build())
            } else {
                modify.ebs_optimized(boolean)
            };
            call.send().await.map_err(|e| fault(CALL, &e))?;
            start(clients, id).await
        }
        "iam_instance_profile" => profile(clients, id, value.as_str().unwrap_or_default()).await,
        _ => Err(cannot_change(Kind::Instance, option)),
    }
}

async fn profile(clients: &Clients, id: &str, name: &str) -> Result<(), CloudFault> {
    let filter = Filter::builder().name("instance-id").values(id).build();
    let call = clients.ec2.describe_iam_instance_profile_associations().filters(filter);
    let reply = call.send().await.map_err(|e| fault("ec2:DescribeIamInstanceProfileAssociations", &e))?;
    let held = reply.iam_instance_profile_associations().iter().find_map(|a| a.association_id());
    let wanted = IamInstanceProfileSpecification::builder().name(name).build();
    if let Some(held) = held {
        let call = clients
            .ec2
            .replace_iam_instance_profile_association()
            .association_id(held)
            .iam_instance_profile(wanted);
        call.send().await.map(drop).map_err(|e| fault("ec2:ReplaceIamInstanceProfileAssociation", &e))
    } else {
        let call = clients.ec2.associate_iam_instance_profile().instance_id(id).iam_instance_profile(wanted);
        call.send().await.map(drop).map_err(|e| fault("ec2:AssociateIamInstanceProfile", &e))
    }
}

pub(super) async fn delete(clients: &Clients, id: &str) -> Result<(), CloudFault> {
    let call = clients.ec2.terminate_instances().instance_ids(id);
    call.send().await.map_err(|e| {
        let mut fault = fault("ec2:TerminateInstances", &e);
        if fault.code == "OperationNotPermitted" {
            // Waiting doesn't lift it.
            fault.class = Class::Refused;
        }
        fault
    })?;
    until_state(clients, id, InstanceStateName::Terminated).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(index: u32) -> Identity {
        Identity { owner: "o".into(), resource: "web".into(), index }
    }

    #[test]
    fn each_of_several_instances_has_its_own_address() {
        let options =
            || Options::from_iter([("private_ip_addresses".to_owned(), json!(["10.0.0.4", "10.0.0.5"]))]);
        let mut second = options();
        normal(&identity(1), &mut second).unwrap();
        assert_eq!(second["private_ip_address"], "10.0.0.5");
        let message = normal(&identity(2), &mut options()).unwrap_err().message;
        assert_eq!(message, "`private_ip_addresses` has 2 addresses, none for web[2]");
    }

    #[test]
    fn volumes_are_read_in_both_forms_and_go_with_their_instance() {
        let new =
            device(&json!({"device_name": "/dev/sda1", "ebs": {"volume_size": "20", "volume_type": "gp3"}}));
        let old = device(&json!({"device_name": "/dev/sda1", "volume_size": 20, "volume_type": "gp3"}));
        let new = new.unwrap();
        assert_eq!(new, old.unwrap());
        assert_eq!(new.ebs().unwrap().delete_on_termination(), Some(true));
        let message = device(&json!({"device_name": "x", "size": 3})).unwrap_err().message;
        assert!(message.starts_with("a volume cannot have `size`: it has volume_size"), "{message}");
    }
}
