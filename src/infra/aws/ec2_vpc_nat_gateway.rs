//! `ec2_vpc_nat_gateway`: a NAT gateway. Without `allocation_id` it has an address of its own, with its identity.

use aws_sdk_ec2::types::{NatGateway, NatGatewayState, ResourceType};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::waiting::{Patience, until};
use super::{cannot_change, ec2_eip, id, tags, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

pub(super) fn normal(options: &mut Options) {
    // A gateway that isn't available yet is no use to the routes that need it.
    options.insert("wait".to_owned(), true.into());
}

pub(super) async fn find(clients: &Clients, whose: &Whose<'_>) -> Result<Vec<Found>, CloudFault> {
    let mut pages = clients.ec2.describe_nat_gateways().set_filter(whose.filters()).into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| fault("ec2:DescribeNatGateways", &e))?;
        all.extend(page.nat_gateways().iter().filter(|g| lives(g)).filter_map(read));
    }
    Ok(all)
}

/// Failed and deleted gateways stay in sight for about an hour.
fn lives(gateway: &NatGateway) -> bool {
    matches!(gateway.state(), Some(NatGatewayState::Pending | NatGatewayState::Available))
}

fn read(gateway: &NatGateway) -> Option<Found> {
    let (tags, identity) = tags::identified(gateway.tags());
    let id = gateway.nat_gateway_id()?.to_owned();
    let address = gateway.nat_gateway_addresses().first();
    let state = json!({
        "subnet_id": gateway.subnet_id(),
        "allocation_id": address.and_then(|a| a.allocation_id()),
        "wait": gateway.state() == Some(&NatGatewayState::Available),
    });
    let addresses: Vec<Json> = gateway
        .nat_gateway_addresses()
        .iter()
        .map(|a| {
            json!({
                "allocation_id": a.allocation_id(),
                "network_interface_id": a.network_interface_id(),
                "private_ip": a.private_ip(),
                "public_ip": a.public_ip(),
            })
        })
        .collect();
    let result = json!({
        "id": id,
        "nat_gateway_id": id,
        "subnet_id": gateway.subnet_id(),
        "vpc_id": gateway.vpc_id(),
        "state": gateway.state().map(NatGatewayState::as_str),
        "nat_gateway_addresses": addresses,
        "tags": tags,
    });
    let (Json::Object(state), Json::Object(result)) = (state, result) else { return None };
    Some(Found { kind: Kind::NatGateway, id, identity, tags, state, result })
}

pub(super) async fn create(
    clients: &Clients,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
    generation: u32,
) -> Result<Found, CloudFault> {
    const CALL: &str = "ec2:CreateNatGateway";
    let address = match wanted.get("allocation_id").and_then(Json::as_str) {
        Some(given) => given.to_owned(),
        // An earlier try may have got as far as the address.
        None => {
            match ec2_eip::find(clients, &Whose::Owner(&identity.owner))
                .await?
                .into_iter()
                .find(|f| f.identity == *identity)
            {
                Some(address) => address.id,
                None => ec2_eip::create(clients, identity, tags).await?.id,
            }
        }
    };
    let call = clients
        .once
        .create_nat_gateway()
        .subnet_id(text(wanted, "subnet_id")?)
        .allocation_id(address)
        .client_token(super::token(Kind::NatGateway, identity, wanted, generation))
        .set_tag_specifications(tags::at_creation(ResourceType::Natgateway, tags));
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    let gateway = reply.nat_gateway();
    let id = id(CALL, gateway.and_then(NatGateway::nat_gateway_id))?;
    if !gateway.is_some_and(lives) {
        // The token stands for a gateway that failed or went: another one is needed.
        return Err(CloudFault {
            class: Class::Exists,
            call: CALL,
            code: super::OLD_TOKEN.to_owned(),
            message: format!("{id} is gone or failed"),
        });
    }
    gateway.and_then(read).filter(|f| f.identity == *identity).ok_or_else(|| {
        CloudFault::refused(CALL, format!("{id} was made without the tags that mark it as ours"))
    })
}

async fn one(clients: &Clients, id: &str) -> Result<Option<NatGateway>, CloudFault> {
    let call = clients.ec2.describe_nat_gateways().nat_gateway_ids(id);
    match call.send().await.map_err(|e| fault("ec2:DescribeNatGateways", &e)) {
        Ok(reply) => Ok(reply.nat_gateways().iter().find(|g| g.nat_gateway_id() == Some(id)).cloned()),
        Err(fault) if fault.class == Class::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

pub(super) async fn set(clients: &Clients, found: &Found, option: &str) -> Result<(), CloudFault> {
    if option != "wait" {
        return Err(cannot_change(Kind::NatGateway, option));
    }
    let what = format!("{} to become available", found.id);
    until(Patience::MINUTES, "ec2:CreateNatGateway", &what, || async {
        match one(clients, &found.id).await? {
            Some(gateway) => match gateway.state() {
                Some(NatGatewayState::Available) => Ok(Some(())),
                Some(NatGatewayState::Pending) | None => Ok(None),
                Some(state) => {
                    let why = gateway.failure_message().unwrap_or_default();
                    Err(CloudFault::refused(
                        "ec2:CreateNatGateway",
                        format!("{} is {state}: {why}", found.id),
                    ))
                }
            },
            // Not in sight yet.
            None => Ok(None),
        }
    })
    .await
}

pub(super) async fn delete(clients: &Clients, id: &str) -> Result<(), CloudFault> {
    let call = clients.ec2.delete_nat_gateway().nat_gateway_id(id);
    call.send().await.map_err(|e| fault("ec2:DeleteNatGateway", &e))?;
    // Its address and its subnet are free only then.
    until(Patience::MINUTES, "ec2:DeleteNatGateway", &format!("{id} to be deleted"), || async {
        let gone = one(clients, id)
            .await?
            .is_none_or(|g| matches!(g.state(), Some(NatGatewayState::Deleted | NatGatewayState::Failed)));
        Ok(gone.then_some(()))
    })
    .await
}
