//! `elb_classic_lb`: a classic load balancer, its listeners, health check, attributes and members.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Filter;
use aws_sdk_elasticloadbalancing::types::{
    AccessLog, ConnectionDraining, ConnectionSettings, CrossZoneLoadBalancing, HealthCheck, Instance,
    Listener, LoadBalancerAttributes, LoadBalancerDescription, Tag, TagKeyOnly,
};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::waiting::{Patience, until};
use super::{cannot_change, sorted, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

fn refused(text: impl Into<String>) -> CloudFault {
    CloudFault::refused("plan", text)
}

pub(super) fn normal(identity: &Identity, options: &mut Options) -> Result<(), CloudFault> {
    let made = format!("{}-{}", identity.owner, identity.resource).replace(['_', '.'], "-");
    let name = options.get("name").and_then(Json::as_str).unwrap_or(&made).to_owned();
    let fine = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if name.len() > 32 || !fine || name.starts_with('-') || name.ends_with('-') {
        return Err(refused(format!(
            "`{name}` is no name for a load balancer: at most 32 letters, digits and inner hyphens; set `name`"
        )));
    }
    options.insert("name".to_owned(), name.into());
    if options.get("purge_instance_ids").and_then(Json::as_bool) == Some(false) {
        return Err(refused("`purge_instance_ids: false` is not supported: declare all members"));
    }
    if let Some(written) = options.get("listeners") {
        let mut listeners = BTreeMap::new();
        for one in written.as_array().map(Vec::as_slice).unwrap_or_default() {
            let (port, listener) = listener(one)?;
            if listeners.insert(port, listener).is_some() {
                return Err(refused(format!("two listeners have the port {port}")));
            }
        }
        options.insert("listeners".to_owned(), listeners.into_values().collect());
    }
    for option in ["subnets", "security_group_ids", "instance_ids"] {
        sorted(options, option);
    }
    options.entry("scheme").or_insert_with(|| "internet-facing".into());
    if let Some(written) = options.get("health_check") {
        let check = health_check(written)?;
        options.insert("health_check".to_owned(), check);
    }
    if let Some(written) = options.get("access_logs") {
        let logs = access_logs(written)?;
        options.insert("access_logs".to_owned(), logs);
    }
    Ok(())
}

fn number(map: &serde_json::Map<String, Json>, key: &str) -> Result<Option<i64>, CloudFault> {
    match map.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            text.trim()
                .parse()
                .map(Some)
                .map_err(|_| refused(format!("`{key}` must be a number, not `{text}`")))
        }
    }
}

fn only(map: &serde_json::Map<String, Json>, what: &str, keys: &[&str]) -> Result<(), CloudFault> {
    match map.keys().find(|k| !keys.contains(&k.as_str())) {
        Some(key) => Err(refused(format!("{what} cannot have `{key}`: it has {}", keys.join(", ")))),
        None => Ok(()),
    }
}

fn mapping<'j>(written: &'j Json, what: &str) -> Result<&'j serde_json::Map<String, Json>, CloudFault> {
    written.as_object().ok_or_else(|| refused(format!("{what} is a mapping, not `{written}`")))
}

fn listener(written: &Json) -> Result<(i64, Json), CloudFault> {
    const KEYS: &[&str] =
        &["protocol", "load_balancer_port", "instance_protocol", "instance_port", "ssl_certificate_id"];
    let map = mapping(written, "a listener")?;
    only(map, "a listener", KEYS)?;
    let word = |key: &str| map.get(key).and_then(Json::as_str).map(str::to_lowercase);
    let protocol = |key: &str, default: Option<String>| -> Result<String, CloudFault> {
        match word(key).or(default) {
            Some(p) if matches!(p.as_str(), "http" | "https" | "tcp" | "ssl") => Ok(p),
            Some(p) => Err(refused(format!("a listener's `{key}` is http, https, tcp or ssl, not `{p}`"))),
            None => Err(refused(format!("a listener needs `{key}`"))),
        }
    };
    let port = |key: &str, default: Option<i64>| -> Result<i64, CloudFault> {
        number(map, key)?
            .or(default)
            .filter(|p| (1..=65535).contains(p))
            .ok_or_else(|| refused(format!("a listener needs `{key}`, a port from 1 to 65535")))
    };
    let front = protocol("protocol", None)?;
    let outer = port("load_balancer_port", None)?;
    // As the module has it: the same kind of protocol behind, without its encryption.
    let plain = match front.as_str() {
        "https" => "http",
        "ssl" => "tcp",
        same => same,
    };
    let mut made = json!({
        "protocol": front,
        "load_balancer_port": outer,
        "instance_protocol": protocol("instance_protocol", Some(plain.to_owned()))?,
        "instance_port": port("instance_port", None)?,
    });
    let certificate = map.get("ssl_certificate_id").and_then(Json::as_str).filter(|c| !c.is_empty());
    match (matches!(front.as_str(), "https" | "ssl"), certificate) {
        (true, None) => {
            return Err(refused(format!(
                "the listener on port {outer} is {front}, so it needs `ssl_certificate_id`, the ARN of a certificate"
            )));
        }
        (true, Some(certificate)) => made["ssl_certificate_id"] = certificate.into(),
        (false, _) => {}
    }
    Ok((outer, made))
}

fn health_check(written: &Json) -> Result<Json, CloudFault> {
    const KEYS: &[&str] = &[
        "ping_protocol",
        "ping_port",
        "ping_path",
        "interval",
        "timeout",
        "response_timeout",
        "healthy_threshold",
        "unhealthy_threshold",
    ];
    let map = mapping(written, "`health_check`")?;
    only(map, "`health_check`", KEYS)?;
    let protocol = map.get("ping_protocol").and_then(Json::as_str).unwrap_or("tcp").to_uppercase();
    let port = number(map, "ping_port")?.ok_or_else(|| refused("`health_check` needs `ping_port`"))?;
    let path = map.get("ping_path").and_then(Json::as_str).unwrap_or("/");
    let target = match protocol.as_str() {
        "HTTP" | "HTTPS" => format!("{protocol}:{port}{path}"),
        "TCP" | "SSL" => format!("{protocol}:{port}"),
        other => return Err(refused(format!("`ping_protocol` is http, https, tcp or ssl, not `{other}`"))),
    };
    let within = |key: &str, value: i64, from: i64, to: i64| -> Result<i64, CloudFault> {
        match (from..=to).contains(&value) {
            true => Ok(value),
            false => Err(refused(format!("`{key}` of a health check is {from} to {to}, not {value}"))),
        }
    };
    let timeout = number(map, "timeout")?.or(number(map, "response_timeout")?).unwrap_or(5);
    let value = |key: &str, default: i64| number(map, key).map(|n| n.unwrap_or(default));
    Ok(json!({
        "target": target,
        "interval": within("interval", value("interval", 30)?, 5, 300)?,
        "timeout": within("timeout", timeout, 2, 60)?,
        "healthy_threshold": within("healthy_threshold", value("healthy_threshold", 10)?, 2, 10)?,
        "unhealthy_threshold": within("unhealthy_threshold", value("unhealthy_threshold", 2)?, 2, 10)?,
    }))
}

fn access_logs(written: &Json) -> Result<Json, CloudFault> {
    let map = mapping(written, "`access_logs`")?;
    only(map, "`access_logs`", &["enabled", "s3_location", "s3_prefix", "interval"])?;
    let enabled = map.get("enabled").and_then(Json::as_bool).unwrap_or(true);
    if !enabled {
        return Ok(json!({"enabled": false}));
    }
    let Some(bucket) = map.get("s3_location").and_then(Json::as_str).filter(|b| !b.is_empty()) else {
        return Err(refused("`access_logs` needs `s3_location`, the name of a bucket"));
    };
    let interval = number(map, "interval")?.unwrap_or(60);
    if !matches!(interval, 5 | 60) {
        return Err(refused(format!("`interval` of `access_logs` is 5 or 60 minutes, not {interval}")));
    }
    let prefix = map.get("s3_prefix").and_then(Json::as_str).unwrap_or_default();
    Ok(json!({"enabled": true, "s3_location": bucket, "s3_prefix": prefix, "interval": interval}))
}

pub(super) async fn find(clients: &Clients, owner: &str) -> Result<Vec<Found>, CloudFault> {
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
            let Some(identity) = Identity::of_tags(&tags).filter(|i| i.owner == owner) else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_with_encryption_needs_a_certificate() {
        let tls = json!({"protocol": "HTTPS", "load_balancer_port": 443, "instance_port": "80"});
        assert_eq!(
            listener(&tls).unwrap_err().message,
            "the listener on port 443 is https, so it needs `ssl_certificate_id`, the ARN of a certificate"
        );
        let tcp = json!({"protocol": "tcp", "load_balancer_port": 2181, "instance_port": 2181});
        assert_eq!(listener(&tcp).unwrap().1["instance_protocol"], "tcp");
    }

    #[test]
    fn a_health_check_is_one_target_with_numbers_in_range() {
        let check = json!({"ping_protocol": "http", "ping_port": 9090, "ping_path": "/_haproxy_health_check", "response_timeout": 5});
        let made = health_check(&check).unwrap();
        assert_eq!(made["target"], "HTTP:9090/_haproxy_health_check");
        assert_eq!((&made["interval"], &made["healthy_threshold"]), (&json!(30), &json!(10)));
        let wrong = json!({"ping_protocol": "tcp", "ping_port": 80, "interval": 3});
        assert_eq!(
            health_check(&wrong).unwrap_err().message,
            "`interval` of a health check is 5 to 300, not 3"
        );
    }
}
