//! `ec2_vpc_igw`: an internet gateway and its attachment.

use aws_sdk_ec2::types::{InternetGateway, ResourceType};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::{id, tags};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

pub(super) async fn find(clients: &Clients, whose: &Whose<'_>) -> Result<Vec<Found>, CloudFault> {
    let call = clients.ec2.describe_internet_gateways().set_filters(whose.filters());
    let mut pages = call.into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| fault("ec2:DescribeInternetGateways", &e))?;
        all.extend(page.internet_gateways().iter().filter_map(read));
    }
    Ok(all)
}

fn read(gateway: &InternetGateway) -> Option<Found> {
    let (tags, identity) = tags::identified(gateway.tags());
    let id = gateway.internet_gateway_id()?.to_owned();
    let vpc = gateway.attachments().iter().find_map(|a| a.vpc_id());
    let mut state = Options::new();
    // Unattached: a run ended between the two calls.
    if let Some(vpc) = vpc {
        state.insert("vpc_id".to_owned(), vpc.into());
    }
    let result = json!({"id": id, "gateway_id": id, "vpc_id": vpc, "tags": tags});
    let Json::Object(result) = result else { return None };
    Some(Found { kind: Kind::InternetGateway, id, identity, tags, state, result })
}

pub(super) async fn create(clients: &Clients, identity: &Identity, tags: &Tags) -> Result<Found, CloudFault> {
    const CALL: &str = "ec2:CreateInternetGateway";
    let tags = tags::at_creation(ResourceType::InternetGateway, tags);
    let call = clients.once.create_internet_gateway().set_tag_specifications(tags);
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    let gateway = reply.internet_gateway();
    let id = id(CALL, gateway.and_then(InternetGateway::internet_gateway_id))?;
    gateway.and_then(read).filter(|f| f.identity == *identity).ok_or_else(|| {
        CloudFault::refused(CALL, format!("{id} was made without the tags that mark it as ours"))
    })
}

pub(super) async fn attach(clients: &Clients, id: &str, vpc: &str) -> Result<(), CloudFault> {
    let call = clients.ec2.attach_internet_gateway().internet_gateway_id(id).vpc_id(vpc);
    call.send().await.map(drop).map_err(|e| fault("ec2:AttachInternetGateway", &e))
}

pub(super) async fn delete(clients: &Clients, found: &Found) -> Result<(), CloudFault> {
    if let Some(vpc) = found.state.get("vpc_id").and_then(Json::as_str) {
        let call = clients.ec2.detach_internet_gateway().internet_gateway_id(&found.id).vpc_id(vpc);
        match call.send().await.map_err(|e| fault("ec2:DetachInternetGateway", &e)) {
            Err(fault) if fault.class != Class::NotFound => return Err(fault),
            _ => {}
        }
    }
    let call = clients.ec2.delete_internet_gateway().internet_gateway_id(&found.id);
    call.send().await.map(drop).map_err(|e| fault("ec2:DeleteInternetGateway", &e))
}
