//! `ec2_eip`: an elastic address.

use aws_sdk_ec2::types::{Address, DomainType, ResourceType};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::{id, tags};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::CloudFault;
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

pub(super) async fn find(clients: &Clients, whose: &Whose<'_>) -> Result<Vec<Found>, CloudFault> {
    let call = clients.ec2.describe_addresses().set_filters(whose.filters());
    let reply = call.send().await.map_err(|e| fault("ec2:DescribeAddresses", &e))?;
    Ok(reply.addresses().iter().filter_map(read).collect())
}

fn read(address: &Address) -> Option<Found> {
    let (tags, identity) = tags::identified(address.tags());
    let id = address.allocation_id()?.to_owned();
    let result = json!({
        "id": id,
        "allocation_id": id,
        "public_ip": address.public_ip(),
        "tags": tags,
    });
    let Json::Object(result) = result else { return None };
    Some(Found { kind: Kind::Address, id, identity, tags, state: Options::new(), result })
}

pub(super) async fn create(clients: &Clients, identity: &Identity, tags: &Tags) -> Result<Found, CloudFault> {
    const CALL: &str = "ec2:AllocateAddress";
    let call = clients
        .once
        .allocate_address()
        .domain(DomainType::Vpc)
        .set_tag_specifications(tags::at_creation(ResourceType::ElasticIp, tags));
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    let id = id(CALL, reply.allocation_id())?;
    let result = json!({
        "id": id, "allocation_id": id, "public_ip": reply.public_ip(), "tags": tags,
    });
    let Json::Object(result) = result else { return Err(CloudFault::refused(CALL, "no reply")) };
    let (identity, tags) = (identity.clone(), tags.clone());
    Ok(Found { kind: Kind::Address, id, identity, tags, state: Options::new(), result })
}

pub(super) async fn delete(clients: &Clients, id: &str) -> Result<(), CloudFault> {
    let call = clients.ec2.release_address().allocation_id(id);
    call.send().await.map(drop).map_err(|e| fault("ec2:ReleaseAddress", &e))
}
