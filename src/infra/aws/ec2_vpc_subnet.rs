//! `ec2_vpc_subnet`: a subnet.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Subnet};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::{cannot_change, cidr, id, tags, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::CloudFault;
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

pub(super) fn normal(options: &mut Options) -> Result<(), CloudFault> {
    cidr(options, "cidr")?;
    options.entry("map_public").or_insert(false.into());
    Ok(())
}

pub(super) async fn find(clients: &Clients, whose: &Whose<'_>) -> Result<Vec<Found>, CloudFault> {
    let mut pages = clients.ec2.describe_subnets().set_filters(whose.filters()).into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        all.extend(page.map_err(|e| fault("ec2:DescribeSubnets", &e))?.subnets().iter().filter_map(read));
    }
    Ok(all)
}

fn read(subnet: &Subnet) -> Option<Found> {
    let (tags, identity) = tags::identified(subnet.tags());
    let id = subnet.subnet_id()?.to_owned();
    let state = json!({
        "vpc_id": subnet.vpc_id(),
        "cidr": subnet.cidr_block(),
        "az": subnet.availability_zone(),
        "map_public": subnet.map_public_ip_on_launch().unwrap_or(false),
    });
    let result = json!({
        "id": id,
        "subnet_id": id,
        "vpc_id": subnet.vpc_id(),
        "cidr_block": subnet.cidr_block(),
        "availability_zone": subnet.availability_zone(),
        "availability_zone_id": subnet.availability_zone_id(),
        "available_ip_address_count": subnet.available_ip_address_count(),
        "map_public_ip_on_launch": subnet.map_public_ip_on_launch().unwrap_or(false),
        "subnet_arn": subnet.subnet_arn(),
        "state": subnet.state().map(|s| s.as_str()),
        "tags": tags,
    });
    let (Json::Object(state), Json::Object(result)) = (state, result) else { return None };
    Some(Found { kind: Kind::Subnet, id, identity, tags, state, result })
}

pub(super) async fn create(
    clients: &Clients,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
) -> Result<Found, CloudFault> {
    const CALL: &str = "ec2:CreateSubnet";
    let call = clients
        .once
        .create_subnet()
        .vpc_id(text(wanted, "vpc_id")?)
        .cidr_block(text(wanted, "cidr")?)
        .set_availability_zone(wanted.get("az").and_then(Json::as_str).map(ToOwned::to_owned))
        .set_tag_specifications(tags::at_creation(ResourceType::Subnet, tags));
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    let id = id(CALL, reply.subnet().and_then(Subnet::subnet_id))?;
    reply.subnet().and_then(read).filter(|f| f.identity == *identity).ok_or_else(|| {
        CloudFault::refused(CALL, format!("{id} was made without the tags that mark it as ours"))
    })
}

pub(super) async fn set(clients: &Clients, id: &str, option: &str, value: &Json) -> Result<(), CloudFault> {
    if option != "map_public" {
        return Err(cannot_change(Kind::Subnet, option));
    }
    let value = AttributeBooleanValue::builder().value(value.as_bool().unwrap_or(false)).build();
    let call = clients.ec2.modify_subnet_attribute().subnet_id(id).map_public_ip_on_launch(value);
    call.send().await.map(drop).map_err(|e| fault("ec2:ModifySubnetAttribute", &e))
}

pub(super) async fn delete(clients: &Clients, id: &str) -> Result<(), CloudFault> {
    let call = clients.ec2.delete_subnet().subnet_id(id);
    call.send().await.map(drop).map_err(|e| fault("ec2:DeleteSubnet", &e))
}
