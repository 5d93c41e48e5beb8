//! `ec2_security_group`: a security group and its rules.
//!
//! A rule is compared in its smallest form: one protocol, one range of ports, one source. `rule_desc` is no part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, ResourceType, SecurityGroup, UserIdGroupPair};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::waiting::{Patience, until};
use super::{cannot_change, id, refused, tags, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

/// One protocol, one range, one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    proto: String,
    ports: Option<(i32, i32)>,
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Cidr(String),
    /// A group of another owner or account, by its id.
    Group(String),
    /// One of our own groups: rules may name groups that name each other, and even a group itself.
    Named(String),
}

/// The names of the owner's groups by their ids, as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<BTreeMap<String, String>>);

impl Names {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn learn(&self, groups: &[SecurityGroup]) {
        let known = groups.iter().filter(|g| !tags::identified(g.tags()).1.is_nobody());
        self.learn_all(known);
    }

    fn learn_all<'g>(&self, groups: impl IntoIterator<Item = &'g SecurityGroup>) {
        let groups = groups.into_iter();
        let pairs = groups.filter_map(|g| Some((g.group_id()?.to_owned(), g.group_name()?.to_owned())));
        self.all().extend(pairs);
    }

    fn source(&self, id: &str) -> Source {
        self.all().get(id).map_or_else(|| Source::Group(id.to_owned()), |name| Source::Named(name.clone()))
    }
}

pub(super) fn normal(names: &Names, identity: &Identity, options: &mut Options) -> Result<(), CloudFault> {
    let name = || format!("{}-{}", identity.owner, identity.resource).into();
    options.entry("name").or_insert_with(name);
    for option in ["purge_rules", "purge_rules_egress"] {
        if options.get(option).and_then(Json::as_bool) == Some(false) {
            return Err(refused(format!(
                "`{option}: false` is not supported: declare every rule of the group"
            )));
        }
    }
    for option in ["rules", "rules_egress"] {
        let Some(written) = options.get(option) else { continue };
        let mut rules = BTreeSet::new();
        for rule in written.as_array().map(Vec::as_slice).unwrap_or_default() {
            rules.extend(parse(names, rule)?);
        }
        options.insert(option.to_owned(), shown(&rules));
    }
    Ok(())
}

const KEYS: &[&str] =
    &["proto", "ports", "from_port", "to_port", "cidr_ip", "group_id", "group_name", "rule_desc"];

fn parse(names: &Names, written: &Json) -> Result<Vec<Rule>, CloudFault> {
    let map = written.as_object().ok_or_else(|| refused(format!("a rule is a mapping, not `{written}`")))?;
    if let Some(key) = map.keys().find(|k| !KEYS.contains(&k.as_str())) {
        return Err(refused(format!("a rule cannot have `{key}`: it has {}", KEYS.join(", "))));
    }
    let word = |value: &Json| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let proto = match map.get("proto").map_or_else(|| "tcp".to_owned(), word).to_lowercase().as_str() {
        "all" | "-1" => "-1".to_owned(),
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "1" => "icmp".to_owned(),
        known @ ("tcp" | "udp" | "icmp") => known.to_owned(),
        other => return Err(refused(format!("there is no protocol `{other}`: write tcp, udp, icmp or all"))),
    };
    let number = |value: &Json| -> Result<i32, CloudFault> {
        let text = word(value);
        text.trim()
            .parse()
            .ok()
            .filter(|n| (-1..=65535).contains(n))
            .ok_or_else(|| refused(format!("`{text}` is no port")))
    };
    let many = |name: &str| match map.get(name) {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(all)) => all.clone(),
        Some(one) => vec![one.clone()],
    };
    let mut ranges = Vec::new();
    for port in many("ports") {
        let text = word(&port);
        let (from, to) = text.split_once('-').unwrap_or((&text, &text));
        ranges.push((number(&from.into())?, number(&to.into())?));
    }
    if let (Some(from), Some(to)) = (map.get("from_port"), map.get("to_port")) {
        ranges.push((number(from)?, number(to)?));
    }
    let ranges: Vec<Option<(i32, i32)>> = match () {
        () if proto == "-1" => vec![None],
        () if ranges.is_empty() && proto == "icmp" => vec![Some((-1, -1))],
        () if ranges.is_empty() => {
            return Err(refused(format!("a rule for {proto} needs `ports`, or `from_port` and `to_port`")));
        }
        () => ranges.into_iter().map(Some).collect(),
    };
    if let Some((from, to)) = ranges.iter().flatten().find(|(from, to)| from > to) {
        return Err(refused(format!("the ports {from}-{to} are the wrong way round")));
    }
    let mut sources: Vec<Source> = many("group_id").iter().map(|g| names.source(&word(g))).collect();
    sources.extend(many("group_name").iter().map(|g| Source::Named(word(g))));
    for cidr in many("cidr_ip") {
        sources.push(Source::Cidr(network(&word(&cidr))?));
    }
    if sources.is_empty() {
        return Err(refused("a rule needs `cidr_ip`, `group_id` or `group_name`".to_owned()));
    }
    let one = |source: &Source| {
        let (proto, source) = (proto.clone(), source.clone());
        ranges.iter().map(move |ports| Rule { proto: proto.clone(), ports: *ports, source: source.clone() })
    };
    Ok(sources.iter().flat_map(|s| one(s).collect::<Vec<_>>()).collect())
}

/// Without host bits, as AWS keeps it.
pub(super) fn network(written: &str) -> Result<String, CloudFault> {
    let wrong = || refused(format!("`{written}` is no IPv4 network such as `10.0.0.0/16`"));
    let (address, bits) = written.split_once('/').unwrap_or((written, "32"));
    let address: std::net::Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let bits: u32 = bits.parse().ok().filter(|b| *b <= 32).ok_or_else(wrong)?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Ok(format!("{}/{bits}", std::net::Ipv4Addr::from(u32::from(address) & mask)))
}

fn shown(rules: &BTreeSet<Rule>) -> Json {
    let one = |rule: &Rule| {
        let mut map = Options::from_iter([("proto".to_owned(), Json::from(rule.proto.as_str()))]);
        if let Some((from, to)) = rule.ports {
            map.insert("from_port".to_owned(), from.into());
            map.insert("to_port".to_owned(), to.into());
        }
        let (key, value) = match &rule.source {
            Source::Cidr(cidr) => ("cidr_ip", cidr),
            Source::Group(group) => ("group_id", group),
            Source::Named(group) => ("group_name", group),
        };
        map.insert(key.to_owned(), value.as_str().into());
        Json::Object(map)
    };
    rules.iter().map(one).collect()
}

fn there(names: &Names, permissions: &[IpPermission]) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for permission in permissions {
        let proto = permission.ip_protocol().unwrap_or("-1").to_owned();
        let ports = permission.from_port().zip(permission.to_port()).filter(|_| proto != "-1");
        let cidrs =
            permission.ip_ranges().iter().filter_map(|r| r.cidr_ip()).map(|c| Source::Cidr(c.to_owned()));
        let groups =
            permission.user_id_group_pairs().iter().filter_map(|p| p.group_id()).map(|g| names.source(g));
        rules.extend(cidrs.chain(groups).map(|source| Rule { proto: proto.clone(), ports, source }));
    }
    rules
}

fn permission(rule: &Rule, group: Option<&str>) -> IpPermission {
    let permission = IpPermission::builder()
        .ip_protocol(&rule.proto)
        .set_from_port(rule.ports.map(|p| p.0))
        .set_to_port(rule.ports.map(|p| p.1));
    match (&rule.source, group) {
        (Source::Cidr(cidr), _) => permission.ip_ranges(IpRange::builder().cidr_ip(cidr).build()),
        (Source::Group(group), _) => {
            permission.user_id_group_pairs(UserIdGroupPair::builder().group_id(group).build())
        }
        (Source::Named(_), group) => {
            let group = group.map(ToOwned::to_owned);
            permission.user_id_group_pairs(UserIdGroupPair::builder().set_group_id(group).build())
        }
    }
    .build()
}

/// The id of a group of that name. Groups are made side by side: one that a rule names may be on its way.
async fn id_of(clients: &Clients, vpc: &str, name: &str) -> Result<String, CloudFault> {
    const CALL: &str = "ec2:DescribeSecurityGroups";
    let filter = |key: &str, value: &str| Filter::builder().name(key).values(value).build();
    let filters = [filter("group-name", name), filter("vpc-id", vpc)];
    let what = format!("the group `{name}`");
    let found = until(Patience::MOMENTS, CALL, &what, || async {
        let call = clients.ec2.describe_security_groups().set_filters(Some(filters.to_vec()));
        let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
        Ok(reply.security_groups().iter().find_map(|g| g.group_id().map(ToOwned::to_owned)))
    });
    found.await.map_err(|mut fault| {
        if fault.class == Class::State {
            fault.class = Class::Refused;
            fault.message = format!("no group `{name}` in {vpc}, which a rule names");
        }
        fault
    })
}

async fn permissions(clients: &Clients, vpc: &str, rules: &[&Rule]) -> Result<Vec<IpPermission>, CloudFault> {
    let mut ids: BTreeMap<&str, String> = BTreeMap::new();
    let mut all = Vec::new();
    for rule in rules {
        if let Source::Named(name) = &rule.source
            && !ids.contains_key(name.as_str())
        {
            ids.insert(name, id_of(clients, vpc, name).await?);
        }
        let id = match &rule.source {
            Source::Named(name) => ids.get(name.as_str()).map(String::as_str),
            _ => None,
        };
        all.push(permission(rule, id));
    }
    Ok(all)
}

pub(super) async fn find(
    clients: &Clients,
    names: &Names,
    whose: &Whose<'_>,
) -> Result<Vec<Found>, CloudFault> {
    let call = clients.ec2.describe_security_groups().set_filters(whose.filters());
    let mut pages = call.into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| fault("ec2:DescribeSecurityGroups", &e))?;
        all.extend(page.security_groups().to_vec());
    }
    match whose {
        Whose::Owner(_) => names.learn(&all),
        // Rules of tasks may name any group of the VPC that was asked for.
        Whose::Anyone(_) => names.learn_all(&all),
    }
    Ok(all.iter().filter_map(|group| read(names, group)).collect())
}

fn read(names: &Names, group: &SecurityGroup) -> Option<Found> {
    let (tags, identity) = tags::identified(group.tags());
    let id = group.group_id()?.to_owned();
    let state = json!({
        "name": group.group_name(),
        "description": group.description(),
        "vpc_id": group.vpc_id(),
        "rules": shown(&there(names, group.ip_permissions())),
        "rules_egress": shown(&there(names, group.ip_permissions_egress())),
    });
    let result = json!({
        "id": id,
        "group_id": id,
        "group_name": group.group_name(),
        "description": group.description(),
        "vpc_id": group.vpc_id(),
        "owner_id": group.owner_id(),
        "tags": tags,
    });
    let (Json::Object(state), Json::Object(result)) = (state, result) else { return None };
    Some(Found { kind: Kind::SecurityGroup, id, identity, tags, state, result })
}

pub(super) async fn create(
    clients: &Clients,
    names: &Names,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
) -> Result<Found, CloudFault> {
    const CALL: &str = "ec2:CreateSecurityGroup";
    let call = clients
        .once
        .create_security_group()
        .group_name(text(wanted, "name")?)
        .description(text(wanted, "description")?)
        .vpc_id(text(wanted, "vpc_id")?)
        .set_tag_specifications(tags::at_creation(ResourceType::SecurityGroup, tags));
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    let id = id(CALL, reply.group_id())?;
    // The reply tells nothing of the rules that a new group has, and the group may not be in sight at once.
    until(Patience::MOMENTS, "ec2:DescribeSecurityGroups", &format!("{id} to be in sight"), || async {
        let call = clients.ec2.describe_security_groups().group_ids(&id);
        let groups = match call.send().await.map_err(|e| fault("ec2:DescribeSecurityGroups", &e)) {
            Ok(reply) => reply.security_groups().to_vec(),
            Err(fault) if fault.class == Class::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        names.learn(&groups);
        Ok(groups.iter().find_map(|g| read(names, g)).filter(|f| f.identity == *identity))
    })
    .await
}

/// Takes away what isn't declared and adds what is missing, each in one call.
pub(super) async fn set(
    clients: &Clients,
    names: &Names,
    found: &Found,
    option: &str,
    value: &Json,
) -> Result<(), CloudFault> {
    if !matches!(option, "rules" | "rules_egress") {
        return Err(cannot_change(Kind::SecurityGroup, option));
    }
    let rules = |value: Option<&Json>| -> Result<BTreeSet<Rule>, CloudFault> {
        let all = value.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        let all = all.iter().map(|rule| parse(names, rule)).collect::<Result<Vec<_>, _>>()?;
        Ok(all.into_iter().flatten().collect())
    };
    let vpc = found.state.get("vpc_id").and_then(Json::as_str).unwrap_or_default();
    let (now, wanted) = (rules(found.state.get(option))?, rules(Some(value))?);
    let gone = permissions(clients, vpc, &now.difference(&wanted).collect::<Vec<_>>()).await?;
    let new = permissions(clients, vpc, &wanted.difference(&now).collect::<Vec<_>>()).await?;
    revoke(clients, &found.id, option, gone).await?;
    let (ec2, id) = (&clients.ec2, &found.id);
    if !new.is_empty() && option == "rules" {
        let call = ec2.authorize_security_group_ingress().group_id(id).set_ip_permissions(Some(new));
        call.send().await.map_err(|e| fault("ec2:AuthorizeSecurityGroupIngress", &e))?;
    } else if !new.is_empty() {
        let call = ec2.authorize_security_group_egress().group_id(id).set_ip_permissions(Some(new));
        call.send().await.map_err(|e| fault("ec2:AuthorizeSecurityGroupEgress", &e))?;
    }
    Ok(())
}

async fn revoke(
    clients: &Clients,
    id: &str,
    option: &str,
    gone: Vec<IpPermission>,
) -> Result<(), CloudFault> {
    if gone.is_empty() {
        return Ok(());
    }
    if option == "rules" {
        let call = clients.ec2.revoke_security_group_ingress().group_id(id).set_ip_permissions(Some(gone));
        return call.send().await.map(drop).map_err(|e| fault("ec2:RevokeSecurityGroupIngress", &e));
    }
    let call = clients.ec2.revoke_security_group_egress().group_id(id).set_ip_permissions(Some(gone));
    call.send().await.map(drop).map_err(|e| fault("ec2:RevokeSecurityGroupEgress", &e))
}

/// Groups that name each other hold each other: a group's rules about groups go before it.
pub(super) async fn delete(clients: &Clients, found: &Found) -> Result<(), CloudFault> {
    const CALL: &str = "ec2:DescribeSecurityGroups";
    let call = clients.ec2.describe_security_groups().group_ids(&found.id);
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    for group in reply.security_groups() {
        for (option, all) in
            [("rules", group.ip_permissions()), ("rules_egress", group.ip_permissions_egress())]
        {
            let about: Vec<IpPermission> = all
                .iter()
                .filter(|p| !p.user_id_group_pairs().is_empty())
                .map(|p| {
                    IpPermission::builder()
                        .set_ip_protocol(p.ip_protocol().map(ToOwned::to_owned))
                        .set_from_port(p.from_port())
                        .set_to_port(p.to_port())
                        .set_user_id_group_pairs(Some(p.user_id_group_pairs().to_vec()))
                        .build()
                })
                .collect();
            match revoke(clients, &found.id, option, about).await {
                // The rules went in the meantime; that doesn't mean that the group did.
                Err(fault) if fault.class != Class::NotFound => return Err(fault),
                _ => {}
            }
        }
    }
    let call = clients.ec2.delete_security_group().group_id(&found.id);
    call.send().await.map(drop).map_err(|e| fault("ec2:DeleteSecurityGroup", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_compared_in_its_smallest_form() {
        let rule = json!({"proto": "6", "ports": ["22", "8080-8090"], "cidr_ip": ["10.0.0.9/16"]});
        let rules: BTreeSet<Rule> = parse(&Names::default(), &rule).unwrap().into_iter().collect();
        assert_eq!(
            shown(&rules),
            json!([
                {"proto": "tcp", "from_port": 22, "to_port": 22, "cidr_ip": "10.0.0.0/16"},
                {"proto": "tcp", "from_port": 8080, "to_port": 8090, "cidr_ip": "10.0.0.0/16"},
            ])
        );
        let all = json!({"proto": "all", "from_port": 0, "to_port": 65535, "cidr_ip": "0.0.0.0/0"});
        assert_eq!(parse(&Names::default(), &all).unwrap()[0].ports, None);
    }

    #[test]
    fn a_rule_that_aws_would_refuse_is_refused_first() {
        let message = |rule: Json| parse(&Names::default(), &rule).unwrap_err().message;
        assert_eq!(
            message(json!({"proto": "foo"})),
            "there is no protocol `foo`: write tcp, udp, icmp or all"
        );
        assert_eq!(message(json!({"ports": [22]})), "a rule needs `cidr_ip`, `group_id` or `group_name`");
        assert_eq!(
            message(json!({"ports": "90-80", "cidr_ip": "0.0.0.0/0"})),
            "the ports 90-80 are the wrong way round"
        );
    }
}
