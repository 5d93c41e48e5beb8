//! `ec2_vpc_net`: a VPC with its DNS attributes.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Tenancy, Vpc, VpcAttributeName};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::{cannot_change, cidr, id, tags, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::CloudFault;
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

pub(super) fn normal(options: &mut Options) -> Result<(), CloudFault> {
    cidr(options, "cidr_block")?;
    for option in ["dns_support", "dns_hostnames"] {
        options.entry(option).or_insert(true.into());
    }
    Ok(())
}

pub(super) async fn find(clients: &Clients, whose: &Whose<'_>) -> Result<Vec<Found>, CloudFault> {
    let mut pages = clients.ec2.describe_vpcs().set_filters(whose.filters()).into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        for vpc in page.map_err(|e| fault("ec2:DescribeVpcs", &e))?.vpcs() {
            if let Some(mut found) = read(vpc) {
                for (option, name) in [
                    ("dns_support", VpcAttributeName::EnableDnsSupport),
                    ("dns_hostnames", VpcAttributeName::EnableDnsHostnames),
                ] {
                    let value = attribute(clients, &found.id, name).await?;
                    found.state.insert(option.to_owned(), value.into());
                }
                all.push(found);
            }
        }
    }
    Ok(all)
}

async fn attribute(clients: &Clients, id: &str, name: VpcAttributeName) -> Result<bool, CloudFault> {
    let call = clients.ec2.describe_vpc_attribute().vpc_id(id).attribute(name.clone());
    let reply = call.send().await.map_err(|e| fault("ec2:DescribeVpcAttribute", &e))?;
    let value = match name {
        VpcAttributeName::EnableDnsSupport => reply.enable_dns_support(),
        _ => reply.enable_dns_hostnames(),
    };
    Ok(value.and_then(AttributeBooleanValue::value).unwrap_or(false))
}

fn read(vpc: &Vpc) -> Option<Found> {
    let (tags, identity) = tags::identified(vpc.tags());
    let id = vpc.vpc_id()?.to_owned();
    let tenancy = vpc.instance_tenancy().map(Tenancy::as_str);
    let state = json!({"cidr_block": vpc.cidr_block(), "tenancy": tenancy});
    let result = json!({
        "id": id,
        "vpc_id": id,
        "cidr_block": vpc.cidr_block(),
        "instance_tenancy": tenancy,
        "is_default": vpc.is_default().unwrap_or(false),
        "dhcp_options_id": vpc.dhcp_options_id(),
        "owner_id": vpc.owner_id(),
        "state": vpc.state().map(|s| s.as_str()),
        "tags": tags,
    });
    let (Json::Object(state), Json::Object(result)) = (state, result) else { return None };
    Some(Found { kind: Kind::Vpc, id, identity, tags, state, result })
}

pub(super) async fn create(
    clients: &Clients,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
) -> Result<Found, CloudFault> {
    const CALL: &str = "ec2:CreateVpc";
    let tenancy = wanted.get("tenancy").and_then(Json::as_str).map(Tenancy::from);
    let call = clients
        .once
        .create_vpc()
        .cidr_block(text(wanted, "cidr_block")?)
        .set_instance_tenancy(tenancy)
        .set_tag_specifications(tags::at_creation(ResourceType::Vpc, tags));
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    let vpc = reply.vpc();
    let id = id(CALL, vpc.and_then(Vpc::vpc_id))?;
    // Attributes that the reply doesn't tell differ from what is wanted, and are set next.
    vpc.and_then(read).filter(|f| f.identity == *identity).ok_or_else(|| {
        CloudFault::refused(CALL, format!("{id} was made without the tags that mark it as ours"))
    })
}

pub(super) async fn set(clients: &Clients, id: &str, option: &str, value: &Json) -> Result<(), CloudFault> {
    let value = AttributeBooleanValue::builder().value(value.as_bool().unwrap_or(false)).build();
    let call = clients.ec2.modify_vpc_attribute().vpc_id(id);
    // AWS takes one attribute a call.
    let call = match option {
        "dns_support" => call.enable_dns_support(value),
        "dns_hostnames" => call.enable_dns_hostnames(value),
        _ => return Err(cannot_change(Kind::Vpc, option)),
    };
    call.send().await.map(drop).map_err(|e| fault("ec2:ModifyVpcAttribute", &e))
}

pub(super) async fn delete(clients: &Clients, id: &str) -> Result<(), CloudFault> {
    let call = clients.ec2.delete_vpc().vpc_id(id);
    call.send().await.map(drop).map_err(|e| fault("ec2:DeleteVpc", &e))
}
