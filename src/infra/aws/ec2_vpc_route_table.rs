//! `ec2_vpc_route_table`: a route table, its routes and the subnets that follow it.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, ResourceType, Route, RouteOrigin, RouteTable};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::{cannot_change, id, refused, sorted, tags, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

pub(super) fn normal(options: &mut Options) -> Result<(), CloudFault> {
    for option in ["purge_routes", "purge_subnets"] {
        if options.get(option).and_then(Json::as_bool) == Some(false) {
            return Err(refused(format!(
                "`{option}: false` is not supported: declare all that the table has"
            )));
        }
    }
    if let Some(written) = options.get("routes") {
        let mut routes = BTreeMap::new();
        for route in written.as_array().map(Vec::as_slice).unwrap_or_default() {
            let (dest, target) = parse(route)?;
            if routes.insert(dest.clone(), target).is_some() {
                return Err(refused(format!("two routes lead to `{dest}`")));
            }
        }
        options.insert("routes".to_owned(), shown(&routes));
    }
    sorted(options, "subnets");
    Ok(())
}

const TARGETS: &[&str] = &[
    "gateway_id",
    "nat_gateway_id",
    "instance_id",
    "network_interface_id",
    "transit_gateway_id",
    "vpc_peering_connection_id",
];

fn parse(route: &Json) -> Result<(String, String), CloudFault> {
    let map = route.as_object().ok_or_else(|| refused(format!("a route is a mapping, not `{route}`")))?;
    let known = |key: &str| matches!(key, "dest" | "destination_cidr_block") || TARGETS.contains(&key);
    if let Some(key) = map.keys().find(|k| !known(k)) {
        return Err(refused(format!(
            "a route cannot have `{key}`: it has dest and one of {}",
            TARGETS.join(", ")
        )));
    }
    let dest = map.get("dest").or_else(|| map.get("destination_cidr_block")).and_then(Json::as_str);
    let dest =
        super::ec2_security_group::network(dest.ok_or_else(|| refused("a route needs `dest`".to_owned()))?)?;
    let targets: Vec<&str> = TARGETS.iter().filter_map(|t| map.get(*t)?.as_str()).collect();
    match targets.as_slice() {
        // AWS knows by the id what it is.
        [one] => Ok((dest, (*one).to_owned())),
        _ => Err(refused(format!("the route to `{dest}` needs one of {}", TARGETS.join(", ")))),
    }
}

fn shown(routes: &BTreeMap<String, String>) -> Json {
    routes.iter().map(|(dest, target)| json!({"dest": dest, "gateway_id": target})).collect()
}

fn there(routes: &[Route]) -> BTreeMap<String, String> {
    let made = |r: &&Route| {
        // The local route is the table's own, and propagated ones come and go with a VPN.
        r.gateway_id() != Some("local") && r.origin() != Some(&RouteOrigin::EnableVgwRoutePropagation)
    };
    routes
        .iter()
        .filter(made)
        .filter_map(|r| {
            let target = r
                .nat_gateway_id()
                .or(r.transit_gateway_id())
                .or(r.vpc_peering_connection_id())
                .or(r.instance_id())
                .or(r.network_interface_id())
                .or(r.gateway_id())?;
            Some((r.destination_cidr_block()?.to_owned(), target.to_owned()))
        })
        .collect()
}

pub(super) async fn find(clients: &Clients, whose: &Whose<'_>) -> Result<Vec<Found>, CloudFault> {
    let mut pages = clients.ec2.describe_route_tables().set_filters(whose.filters()).into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| fault("ec2:DescribeRouteTables", &e))?;
        all.extend(page.route_tables().iter().filter_map(read));
    }
    Ok(all)
}

fn read(table: &RouteTable) -> Option<Found> {
    let (tags, identity) = tags::identified(table.tags());
    let id = table.route_table_id()?.to_owned();
    let mut subnets: Vec<&str> = table.associations().iter().filter_map(|a| a.subnet_id()).collect();
    subnets.sort_unstable();
    let state = json!({
        "vpc_id": table.vpc_id(),
        "routes": shown(&there(table.routes())),
        "subnets": subnets,
    });
    let result = json!({
        "id": id,
        "route_table_id": id,
        "vpc_id": table.vpc_id(),
        "routes": shown(&there(table.routes())),
        "tags": tags,
    });
    let (Json::Object(state), Json::Object(result)) = (state, result) else { return None };
    Some(Found { kind: Kind::RouteTable, id, identity, tags, state, result })
}

pub(super) async fn create(
    clients: &Clients,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
    generation: u32,
) -> Result<Found, CloudFault> {
    const CALL: &str = "ec2:CreateRouteTable";
    let call = clients
        .once
        .create_route_table()
        .vpc_id(text(wanted, "vpc_id")?)
        .client_token(super::token(Kind::RouteTable, identity, wanted, generation))
        .set_tag_specifications(tags::at_creation(ResourceType::RouteTable, tags));
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    let id = id(CALL, reply.route_table().and_then(RouteTable::route_table_id))?;
    reply.route_table().and_then(read).filter(|f| f.identity == *identity).ok_or_else(|| {
        CloudFault::refused(CALL, format!("{id} was made without the tags that mark it as ours"))
    })
}

pub(super) async fn set(
    clients: &Clients,
    found: &Found,
    option: &str,
    value: &Json,
) -> Result<(), CloudFault> {
    match option {
        "routes" => routes(clients, found, value).await,
        "subnets" => subnets(clients, found, value).await,
        _ => Err(cannot_change(Kind::RouteTable, option)),
    }
}

fn listed(value: Option<&Json>) -> Result<BTreeMap<String, String>, CloudFault> {
    let all = value.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().map(parse).collect()
}

async fn routes(clients: &Clients, found: &Found, value: &Json) -> Result<(), CloudFault> {
    let (now, wanted) = (listed(found.state.get("routes"))?, listed(Some(value))?);
    let (ec2, table) = (&clients.ec2, &found.id);
    for dest in now.keys().filter(|dest| !wanted.contains_key(*dest)) {
        let call = ec2.delete_route().route_table_id(table).destination_cidr_block(dest);
        call.send().await.map_err(|e| fault("ec2:DeleteRoute", &e))?;
    }
    for (dest, target) in wanted.iter().filter(|(dest, target)| now.get(*dest) != Some(target)) {
        // Each kind of target has a parameter of its own.
        macro_rules! to {
            ($call:expr) => {{
                let call = $call.route_table_id(table).destination_cidr_block(dest);
                match target.split('-').next().unwrap_or_default() {
                    "nat" => call.nat_gateway_id(target),
                    "i" => call.instance_id(target),
                    "eni" => call.network_interface_id(target),
                    "tgw" => call.transit_gateway_id(target),
                    "pcx" => call.vpc_peering_connection_id(target),
                    _ => call.gateway_id(target),
                }
            }};
        }
        if now.contains_key(dest) {
            to!(ec2.replace_route()).send().await.map_err(|e| fault("ec2:ReplaceRoute", &e))?;
        } else {
            to!(ec2.create_route()).send().await.map_err(|e| fault("ec2:CreateRoute", &e))?;
        }
    }
    Ok(())
}

async fn tables_with(clients: &Clients, filter: &str, value: &str) -> Result<Vec<RouteTable>, CloudFault> {
    let filter = Filter::builder().name(filter).values(value).build();
    let call = clients.ec2.describe_route_tables().filters(filter);
    let reply = call.send().await.map_err(|e| fault("ec2:DescribeRouteTables", &e))?;
    Ok(reply.route_tables().to_vec())
}

async fn subnets(clients: &Clients, found: &Found, value: &Json) -> Result<(), CloudFault> {
    let wanted: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let own = tables_with(clients, "route-table-id", &found.id).await?;
    let mut there = Vec::new();
    for association in own.iter().flat_map(RouteTable::associations) {
        match (association.subnet_id(), association.route_table_association_id()) {
            (Some(subnet), _) if wanted.contains(&subnet) => there.push(subnet.to_owned()),
            (Some(_), Some(gone)) => {
                let call = clients.ec2.disassociate_route_table().association_id(gone);
                call.send().await.map_err(|e| fault("ec2:DisassociateRouteTable", &e))?;
            }
            _ => {}
        }
    }
    for subnet in wanted.iter().filter(|s| !there.iter().any(|t| t == *s)) {
        // A subnet of another table is moved in one step: it is never without its routes.
        let other = tables_with(clients, "association.subnet-id", subnet).await?;
        let held = other
            .iter()
            .flat_map(RouteTable::associations)
            .find(|a| a.subnet_id() == Some(*subnet))
            .and_then(|a| a.route_table_association_id());
        if let Some(held) = held {
            let call =
                clients.ec2.replace_route_table_association().association_id(held).route_table_id(&found.id);
            call.send().await.map_err(|e| fault("ec2:ReplaceRouteTableAssociation", &e))?;
        } else {
            let call = clients.ec2.associate_route_table().route_table_id(&found.id).subnet_id(*subnet);
            call.send().await.map_err(|e| fault("ec2:AssociateRouteTable", &e))?;
        }
    }
    Ok(())
}

pub(super) async fn delete(clients: &Clients, id: &str) -> Result<(), CloudFault> {
    for table in tables_with(clients, "route-table-id", id).await? {
        for association in table.associations().iter().filter(|a| a.main() != Some(true)) {
            let Some(association) = association.route_table_association_id() else { continue };
            let call = clients.ec2.disassociate_route_table().association_id(association);
            match call.send().await.map_err(|e| fault("ec2:DisassociateRouteTable", &e)) {
                Err(fault) if fault.class != Class::NotFound => return Err(fault),
                _ => {}
            }
        }
    }
    let call = clients.ec2.delete_route_table().route_table_id(id);
    call.send().await.map(drop).map_err(|e| fault("ec2:DeleteRouteTable", &e))
}
