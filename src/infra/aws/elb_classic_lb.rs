//! `elb_classic_lb`: a classic load balancer, its listeners, health check, attributes and members.

use aws_sdk_ec2::types::Filter;
use aws_sdk_elasticloadbalancing::types::{
    AccessLog, ConnectionDraining, ConnectionSettings, CrossZoneLoadBalancing, HealthCheck, Instance,
    Listener, LoadBalancerAttributes, LoadBalancerDescription, Tag, TagKeyOnly,
};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::waiting::{Patience, until};
use super::{cannot_change, elb_stickiness, refused, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

pub(super) async fn find(clients: &Clients, whose: &Whose<'_>) -> Result<Vec<Found>, CloudFault> {
    let mut pages = clients.elb.describe_load_balancers().into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| fault("elasticloadbalancing:DescribeLoadBalancers", &e))?;
        all.extend(page.load_balancer_descriptions().to_vec());
    }
    let mut found = Vec::new();
    // ELB has no filters; tags come by the twenty.
    for twenty in all.chunks(20) {
        let names: Vec<String> =
            twenty.iter().filter_map(|lb| lb.load_balancer_name()).map(ToOwned::to_owned).collect();
        let call = clients.elb.describe_tags().set_load_balancer_names(Some(names));
        let reply = match call.send().await.map_err(|e| fault("elasticloadbalancing:DescribeTags", &e)) {
            Ok(reply) => reply,
            // One of them went between the two calls: the next look tells.
            Err(fault) if fault.class == Class::NotFound => continue,
            Err(fault) => return Err(fault),
        };
        for one in reply.tag_descriptions() {
            let tags: Tags = one
                .tags()
                .iter()
                .map(|t| (t.key().to_owned(), t.value().unwrap_or_default().to_owned()))
                .collect();
            let identity = Identity::of_tags(&tags).unwrap_or_default();
            if !whose.takes(&identity) {
                continue;
            }
            let description = twenty.iter().find(|lb| lb.load_balancer_name() == one.load_balancer_name());
            let Some(description) = description else { continue };
            if let Some(read) = read(clients, description, identity, tags).await? {
                found.push(read);
            }
        }
    }
    Ok(found)
}

async fn read(
    clients: &Clients,
    lb: &LoadBalancerDescription,
    identity: Identity,
    tags: Tags,
) -> Result<Option<Found>, CloudFault> {
    let Some(name) = lb.load_balancer_name() else { return Ok(None) };
    let call = clients.elb.describe_load_balancer_attributes().load_balancer_name(name);
    let reply = match call.send().await {
        Ok(reply) => reply,
        Err(error) => {
            let fault = fault("elasticloadbalancing:DescribeLoadBalancerAttributes", &error);
            return if fault.class == Class::NotFound { Ok(None) } else { Err(fault) };
        }
    };
    let attributes = reply.load_balancer_attributes();
    let mut state = shape(lb);
    if let Some(attributes) = attributes {
        let cross = attributes.cross_zone_load_balancing().is_some_and(CrossZoneLoadBalancing::enabled);
        state.insert("cross_az_load_balancing".to_owned(), cross.into());
        let draining = attributes.connection_draining().filter(|d| d.enabled()).and_then(|d| d.timeout());
        state.insert("connection_draining_timeout".to_owned(), draining.unwrap_or(0).into());
        let idle = attributes.connection_settings().map_or(60, ConnectionSettings::idle_timeout);
        state.insert("idle_timeout".to_owned(), idle.into());
        let logs = match attributes.access_log().filter(|l| l.enabled()) {
            Some(log) => json!({
                "enabled": true,
                "s3_location": log.s3_bucket_name(),
                "s3_prefix": log.s3_bucket_prefix().unwrap_or_default(),
                "interval": log.emit_interval().unwrap_or(60),
            }),
            None => json!({"enabled": false}),
        };
        state.insert("access_logs".to_owned(), logs);
    }
    let result = json!({
        "id": name,
        "name": name,
        "dns_name": lb.dns_name(),
        "vpc_id": lb.vpc_id(),
        "elb": {"name": name, "dns_name": lb.dns_name(), "scheme": lb.scheme(), "status": "exists"},
        "tags": tags,
    });
    let Json::Object(result) = result else { return Ok(None) };
    Ok(Some(Found { kind: Kind::ClassicElb, id: name.to_owned(), identity, tags, state, result }))
}

/// What the description tells; attributes come by another call.
fn shape(lb: &LoadBalancerDescription) -> Options {
    let mut listeners: Vec<(i32, Json)> = lb
        .listener_descriptions()
        .iter()
        .filter_map(|d| d.listener())
        .map(|l| {
            let protocol = l.protocol().to_lowercase();
            let mut one = json!({
                "protocol": protocol,
                "load_balancer_port": l.load_balancer_port(),
                "instance_protocol": l.instance_protocol().map_or(protocol.clone(), str::to_lowercase),
                "instance_port": l.instance_port(),
            });
            if let Some(certificate) = l.ssl_certificate_id().filter(|c| !c.is_empty()) {
                one["ssl_certificate_id"] = certificate.into();
            }
            (l.load_balancer_port(), one)
        })
        .collect();
    listeners.sort_by_key(|(port, _)| *port);
    let list = |mut all: Vec<String>| {
        all.sort();
        all.dedup();
        Json::from(all)
    };
    let mut state = Options::new();
    state.insert("name".to_owned(), lb.load_balancer_name().into());
    state.insert("listeners".to_owned(), listeners.into_iter().map(|(_, l)| l).collect());
    state.insert("subnets".to_owned(), list(lb.subnets().to_vec()));
    state.insert("security_group_ids".to_owned(), list(lb.security_groups().to_vec()));
    state.insert("scheme".to_owned(), lb.scheme().unwrap_or("internet-facing").into());
    let members = lb.instances().iter().filter_map(|i| i.instance_id()).map(ToOwned::to_owned).collect();
    state.insert("instance_ids".to_owned(), list(members));
    state.insert("stickiness".to_owned(), elb_stickiness::read(lb));
    if let Some(check) = lb.health_check() {
        let check = json!({
            "target": check.target(),
            "interval": check.interval(),
            "timeout": check.timeout(),
            "healthy_threshold": check.healthy_threshold(),
            "unhealthy_threshold": check.unhealthy_threshold(),
        });
        state.insert("health_check".to_owned(), check);
    }
    state
}

fn strings(value: Option<&Json>) -> Vec<String> {
    let all = value.and_then(Json::as_array).into_iter().flatten();
    all.filter_map(Json::as_str).map(ToOwned::to_owned).collect()
}

fn listeners(value: &Json) -> Result<Vec<Listener>, CloudFault> {
    let port = |one: &Json, key: &str| {
        one.get(key).and_then(Json::as_i64).and_then(|n| i32::try_from(n).ok()).unwrap_or_default()
    };
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            let word = |key: &str| one.get(key).and_then(Json::as_str).map(ToOwned::to_owned);
            Listener::builder()
                .protocol(word("protocol").unwrap_or_default())
                .load_balancer_port(port(one, "load_balancer_port"))
                .set_instance_protocol(word("instance_protocol"))
                .instance_port(port(one, "instance_port"))
                .set_ssl_certificate_id(word("ssl_certificate_id"))
                .build()
                .map_err(|e| refused(e.to_string()))
        })
        .collect()
}

fn tag(key: &str, value: &str) -> Result<Tag, CloudFault> {
    Tag::builder().key(key).value(value).build().map_err(|e| refused(e.to_string()))
}

pub(super) async fn create(
    clients: &Clients,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
) -> Result<Found, CloudFault> {
    const CALL: &str = "elasticloadbalancing:CreateLoadBalancer";
    let name = text(wanted, "name")?;
    let all: Vec<Tag> = tags.iter().map(|(k, v)| tag(k, v)).collect::<Result<_, _>>()?;
    let groups = strings(wanted.get("security_group_ids"));
    let internal = wanted.get("scheme").and_then(Json::as_str) == Some("internal");
    let call = clients
        .once_elb
        .create_load_balancer()
        .load_balancer_name(name)
        .set_listeners(Some(listeners(wanted.get("listeners").unwrap_or(&Json::Null))?))
        .set_subnets(Some(strings(wanted.get("subnets"))))
        .set_security_groups(Some(groups).filter(|g| !g.is_empty()))
        .set_scheme(internal.then(|| "internal".to_owned()))
        .set_tags(Some(all));
    call.send().await.map_err(|e| fault(CALL, &e))?;
    let call = clients.elb.describe_load_balancers().load_balancer_names(name);
    let reply = call.send().await.map_err(|e| fault("elasticloadbalancing:DescribeLoadBalancers", &e))?;
    let gone = || CloudFault::refused(CALL, format!("{name} isn't there though it was made"));
    let one = reply.load_balancer_descriptions().first().ok_or_else(gone)?;
    read(clients, one, identity.clone(), tags.clone()).await?.ok_or_else(gone)
}

pub(super) async fn retag(clients: &Clients, found: &Found, tags: &Tags) -> Result<(), CloudFault> {
    let gone: Vec<TagKeyOnly> = found
        .tags
        .keys()
        .filter(|k| !tags.contains_key(*k) && !k.starts_with("aws:"))
        .map(|k| TagKeyOnly::builder().key(k).build())
        .collect();
    if !gone.is_empty() {
        let call = clients.elb.remove_tags().load_balancer_names(&found.id).set_tags(Some(gone));
        call.send().await.map_err(|e| fault("elasticloadbalancing:RemoveTags", &e))?;
    }
    let new = tags.iter().filter(|(k, v)| found.tags.get(*k) != Some(v) && !k.starts_with("aws:"));
    let new: Vec<Tag> = new.map(|(k, v)| tag(k, v)).collect::<Result<_, _>>()?;
    if !new.is_empty() {
        let call = clients.elb.add_tags().load_balancer_names(&found.id).set_tags(Some(new));
        call.send().await.map_err(|e| fault("elasticloadbalancing:AddTags", &e))?;
    }
    Ok(())
}

pub(super) async fn set(
    clients: &Clients,
    found: &Found,
    option: &str,
    value: &Json,
) -> Result<(), CloudFault> {
    let (elb, name) = (&clients.elb, &found.id);
    let (now, wanted) = (strings(found.state.get(option)), strings(Some(value)));
    let gone = || Some(now.iter().filter(|x| !wanted.contains(x)).cloned().collect::<Vec<_>>());
    let new = || Some(wanted.iter().filter(|x| !now.contains(x)).cloned().collect::<Vec<_>>());
    let some = |list: Option<Vec<String>>| list.filter(|l| !l.is_empty());
    let number = value.as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or_default();
    match option {
        "health_check" => {
            let field = |key: &str| {
                value.get(key).and_then(Json::as_i64).and_then(|n| i32::try_from(n).ok()).unwrap_or_default()
            };
            let check = HealthCheck::builder()
                .target(value.get("target").and_then(Json::as_str).unwrap_or_default())
                .interval(field("interval"))
                .timeout(field("timeout"))
                .healthy_threshold(field("healthy_threshold"))
                .unhealthy_threshold(field("unhealthy_threshold"))
                .build()
                .map_err(|e| refused(e.to_string()))?;
            let call = elb.configure_health_check().load_balancer_name(name).health_check(check);
            call.send().await.map(drop).map_err(|e| fault("elasticloadbalancing:ConfigureHealthCheck", &e))
        }
        "instance_ids" => {
            let instances = |ids: Vec<String>| -> Vec<Instance> {
                ids.into_iter().map(|id| Instance::builder().instance_id(id).build()).collect()
            };
            if let Some(new) = some(new()) {
                let call = elb
                    .register_instances_with_load_balancer()
                    .load_balancer_name(name)
                    .set_instances(Some(instances(new)));
                call.send()
                    .await
                    .map_err(|e| fault("elasticloadbalancing:RegisterInstancesWithLoadBalancer", &e))?;
            }
            if let Some(gone) = some(gone()) {
                let call = elb
                    .deregister_instances_from_load_balancer()
                    .load_balancer_name(name)
                    .set_instances(Some(instances(gone)));
                call.send()
                    .await
                    .map_err(|e| fault("elasticloadbalancing:DeregisterInstancesFromLoadBalancer", &e))?;
            }
            Ok(())
        }
        "subnets" => {
            if let Some(new) = some(new()) {
                let call =
                    elb.attach_load_balancer_to_subnets().load_balancer_name(name).set_subnets(Some(new));
                call.send()
                    .await
                    .map_err(|e| fault("elasticloadbalancing:AttachLoadBalancerToSubnets", &e))?;
            }
            if let Some(gone) = some(gone()) {
                let call =
                    elb.detach_load_balancer_from_subnets().load_balancer_name(name).set_subnets(Some(gone));
                call.send()
                    .await
                    .map_err(|e| fault("elasticloadbalancing:DetachLoadBalancerFromSubnets", &e))?;
            }
            Ok(())
        }
        "security_group_ids" => {
            let call = elb
                .apply_security_groups_to_load_balancer()
                .load_balancer_name(name)
                .set_security_groups(Some(wanted));
            call.send()
                .await
                .map(drop)
                .map_err(|e| fault("elasticloadbalancing:ApplySecurityGroupsToLoadBalancer", &e))
        }
        "listeners" => set_listeners(clients, found, value).await,
        "stickiness" => elb_stickiness::set(clients, name, value).await,
        "cross_az_load_balancing" => {
            let on = CrossZoneLoadBalancing::builder().enabled(value.as_bool().unwrap_or(false)).build();
            modify(clients, name, LoadBalancerAttributes::builder().cross_zone_load_balancing(on).build())
                .await
        }
        "connection_draining_timeout" => {
            let draining = ConnectionDraining::builder()
                .enabled(number > 0)
                .set_timeout((number > 0).then_some(number))
                .build();
            modify(clients, name, LoadBalancerAttributes::builder().connection_draining(draining).build())
                .await
        }
        "idle_timeout" => {
            let settings = ConnectionSettings::builder()
                .idle_timeout(number)
                .build()
                .map_err(|e| refused(e.to_string()))?;
            modify(clients, name, LoadBalancerAttributes::builder().connection_settings(settings).build())
                .await
        }
        "access_logs" => {
            let word = |key: &str| value.get(key).and_then(Json::as_str).map(ToOwned::to_owned);
            let interval = value.get("interval").and_then(Json::as_i64).and_then(|n| i32::try_from(n).ok());
            let log = AccessLog::builder()
                .enabled(value.get("enabled").and_then(Json::as_bool).unwrap_or(false))
                .set_s3_bucket_name(word("s3_location"))
                .set_s3_bucket_prefix(word("s3_prefix"))
                .set_emit_interval(interval)
                .build();
            modify(clients, name, LoadBalancerAttributes::builder().access_log(log).build()).await
        }
        _ => Err(cannot_change(Kind::ClassicElb, option)),
    }
}

async fn modify(clients: &Clients, name: &str, attributes: LoadBalancerAttributes) -> Result<(), CloudFault> {
    let call = clients
        .elb
        .modify_load_balancer_attributes()
        .load_balancer_name(name)
        .load_balancer_attributes(attributes);
    call.send().await.map(drop).map_err(|e| fault("elasticloadbalancing:ModifyLoadBalancerAttributes", &e))
}

/// A listener can't be changed: it goes and comes again.
async fn set_listeners(clients: &Clients, found: &Found, value: &Json) -> Result<(), CloudFault> {
    let all =
        |value: Option<&Json>| -> Vec<Json> { value.and_then(Json::as_array).cloned().unwrap_or_default() };
    let (now, wanted) = (all(found.state.get("listeners")), all(Some(value)));
    let gone: Vec<i32> = now
        .iter()
        .filter(|l| !wanted.contains(l))
        .filter_map(|l| l.get("load_balancer_port")?.as_i64().and_then(|n| i32::try_from(n).ok()))
        .collect();
    if !gone.is_empty() {
        let call = clients
            .elb
            .delete_load_balancer_listeners()
            .load_balancer_name(&found.id)
            .set_load_balancer_ports(Some(gone));
        call.send().await.map_err(|e| fault("elasticloadbalancing:DeleteLoadBalancerListeners", &e))?;
    }
    let new: Vec<Json> = wanted.into_iter().filter(|l| !now.contains(l)).collect();
    if !new.is_empty() {
        let call = clients
            .elb
            .create_load_balancer_listeners()
            .load_balancer_name(&found.id)
            .set_listeners(Some(listeners(&Json::Array(new))?));
        call.send().await.map_err(|e| fault("elasticloadbalancing:CreateLoadBalancerListeners", &e))?;
        // The new ones have no policies yet.
        if let Some(sticks) = found.state.get("stickiness").filter(|s| s["enabled"] == true) {
            elb_stickiness::set(clients, &found.id, sticks).await?;
        }
    }
    Ok(())
}

pub(super) async fn delete(clients: &Clients, name: &str) -> Result<(), CloudFault> {
    let call = clients.elb.delete_load_balancer().load_balancer_name(name);
    call.send().await.map_err(|e| fault("elasticloadbalancing:DeleteLoadBalancer", &e))?;
    // Its interfaces stay for minutes and hold groups and subnets.
    let filter = Filter::builder().name("description").values(format!("ELB {name}")).build();
    until(
        Patience::MINUTES,
        "ec2:DescribeNetworkInterfaces",
        &format!("the interfaces of {name} to go"),
        || async {
            let call = clients.ec2.describe_network_interfaces().filters(filter.clone());
            let reply = call.send().await.map_err(|e| fault("ec2:DescribeNetworkInterfaces", &e))?;
            Ok(reply.network_interfaces().is_empty().then_some(()))
        },
    )
    .await
}
