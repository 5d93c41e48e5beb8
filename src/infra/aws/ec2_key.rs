//! `ec2_key`: a key pair whose public half is given. Its private half never leaves the user.

use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{KeyPairInfo, ResourceType};
use serde_json::{Value as Json, json};

use super::client::{Clients, fault};
use super::tags::Whose;
use super::{id, tags, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::CloudFault;
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

pub(super) fn normal(identity: &Identity, options: &mut Options) -> Result<(), CloudFault> {
    let name = || format!("{}-{}", identity.owner, identity.resource).into();
    options.entry("name").or_insert_with(name);
    let Some(written) = options.get("key_material").and_then(Json::as_str) else { return Ok(()) };
    let Some(key) = bare(written) else {
        return Err(CloudFault::refused(
            "plan",
            "`key_material` must be a public key such as `ssh-ed25519 AAAA...`, for instance `{{ lookup('file', '~/.ssh/id_ed25519.pub') }}`",
        ));
    };
    options.insert("key_material".to_owned(), key.into());
    Ok(())
}

/// A public key without its comment.
fn bare(written: &str) -> Option<String> {
    let mut words = written.split_whitespace();
    match (words.next()?, words.next()?) {
        (kind @ ("ssh-rsa" | "ssh-ed25519"), key) => Some(format!("{kind} {key}")),
        _ => None,
    }
}

pub(super) async fn find(clients: &Clients, whose: &Whose<'_>) -> Result<Vec<Found>, CloudFault> {
    let call = clients.ec2.describe_key_pairs().set_filters(whose.filters()).include_public_key(true);
    let reply = call.send().await.map_err(|e| fault("ec2:DescribeKeyPairs", &e))?;
    Ok(reply.key_pairs().iter().filter_map(read).collect())
}

fn read(key: &KeyPairInfo) -> Option<Found> {
    let (tags, identity) = tags::identified(key.tags());
    let id = key.key_pair_id()?.to_owned();
    let state = json!({"name": key.key_name(), "key_material": key.public_key().and_then(bare)});
    let result = json!({
        "id": id,
        "name": key.key_name(),
        "key": {"id": id, "name": key.key_name(), "fingerprint": key.key_fingerprint(), "tags": tags},
        "tags": tags,
    });
    let (Json::Object(state), Json::Object(result)) = (state, result) else { return None };
    Some(Found { kind: Kind::Key, id, identity, tags, state, result })
}

pub(super) async fn create(
    clients: &Clients,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
) -> Result<Found, CloudFault> {
    const CALL: &str = "ec2:ImportKeyPair";
    let (name, material) = (text(wanted, "name")?, text(wanted, "key_material")?);
    let call = clients
        .once
        .import_key_pair()
        .key_name(name)
        .public_key_material(Blob::new(material))
        .set_tag_specifications(tags::at_creation(ResourceType::KeyPair, tags));
    let reply = call.send().await.map_err(|e| fault(CALL, &e))?;
    id(CALL, reply.key_pair_id())?;
    let info = KeyPairInfo::builder()
        .set_key_pair_id(reply.key_pair_id().map(ToOwned::to_owned))
        .key_name(name)
        .public_key(material)
        .set_key_fingerprint(reply.key_fingerprint().map(ToOwned::to_owned))
        .set_tags(Some(tags.iter().map(|(k, v)| tags::tag(k, v)).collect()))
        .build();
    read(&info)
        .filter(|f| f.identity == *identity)
        .ok_or_else(|| CloudFault::refused(CALL, "the reply holds no key"))
}

pub(super) async fn delete(clients: &Clients, found: &Found) -> Result<(), CloudFault> {
    // A name is one key's; the id alone is not understood everywhere.
    let name = text(&found.state, "name")?;
    let call = clients.ec2.delete_key_pair().key_name(name);
    call.send().await.map(drop).map_err(|e| fault("ec2:DeleteKeyPair", &e))
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn a_key_is_compared_without_its_comment() {
        assert_eq!(bare("ssh-ed25519 AAAAC3 ada@host\n").as_deref(), Some("ssh-ed25519 AAAAC3"));
        assert_eq!(bare("-----BEGIN OPENSSH PRIVATE KEY-----\nx"), None);
    }
}
