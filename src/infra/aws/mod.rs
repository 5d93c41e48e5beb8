//! AWS itself: clients, and one file a kind of resource.
//!
//! Owns: every AWS type; nothing outside of this folder and the EC2 inventory names one. Must not: decide what to change.

pub mod client;
mod ec2_security_group;
mod ec2_vpc_igw;
mod ec2_vpc_net;
mod ec2_vpc_subnet;
#[cfg(test)]
mod emulator_tests;
pub mod inventory;
mod inventory_document;
mod tags;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value as Json;

use self::client::{Clients, fault};
use super::cloud::{Cloud, Found, Options};
use super::fault::{Class, CloudFault};
use super::identity::{Identity, Tags};
use super::kinds::Kind;

/// An account in one region.
#[derive(Debug, Clone)]
pub struct Account {
    clients: Clients,
}

impl Account {
    /// Works through these clients.
    #[must_use]
    pub fn new(clients: Clients) -> Self {
        Self { clients }
    }

    /// Brings the tags of an EC2 object to what they should be.
    async fn retag(&self, found: &Found, tags: &Tags) -> Result<(), CloudFault> {
        let gone: Vec<&String> =
            found.tags.keys().filter(|k| !tags.contains_key(*k) && !k.starts_with("aws:")).collect();
        if !gone.is_empty() {
            let gone = gone.into_iter().map(|key| aws_sdk_ec2::types::Tag::builder().key(key).build());
            let call = self.clients.ec2.delete_tags().resources(&found.id).set_tags(Some(gone.collect()));
            call.send().await.map_err(|e| fault("ec2:DeleteTags", &e))?;
        }
        let new: Vec<_> =
            tags.iter().filter(|(k, v)| found.tags.get(*k) != Some(v) && !k.starts_with("aws:")).collect();
        if !new.is_empty() {
            let new = new.into_iter().map(|(key, value)| tags::tag(key, value)).collect();
            let call = self.clients.ec2.create_tags().resources(&found.id).set_tags(Some(new));
            call.send().await.map_err(|e| fault("ec2:CreateTags", &e))?;
        }
        Ok(())
    }

    /// The object as it is after changes, looked up by the owner's tag.
    async fn again(&self, found: &Found) -> Result<Found, CloudFault> {
        let all = self.find(found.kind, &found.identity.owner).await?;
        all.into_iter().find(|f| f.id == found.id).ok_or_else(|| CloudFault {
            class: Class::NotFound,
            call: "ec2:DescribeTags",
            code: String::new(),
            message: format!("{} is gone while it was being changed", found.id),
        })
    }
}

/// Kinds that have no code yet are refused before anything is made; so none of them can be there.
fn not_built(kind: Kind) -> CloudFault {
    CloudFault::refused("plan", format!("resources of kind `{kind}` are not built into this version"))
}

impl Cloud for Account {
    fn find<'a>(&'a self, kind: Kind, owner: &'a str) -> BoxFuture<'a, Result<Vec<Found>, CloudFault>> {
        async move {
            let found = match kind {
                Kind::Vpc => ec2_vpc_net::find(&self.clients, owner).await?,
                Kind::Subnet => ec2_vpc_subnet::find(&self.clients, owner).await?,
                Kind::InternetGateway => ec2_vpc_igw::find(&self.clients, owner).await?,
                Kind::SecurityGroup => ec2_security_group::find(&self.clients, owner).await?,
                _ => Vec::new(),
            };
            // The filter isn't trusted: emulators ignore some, and a wrong one would touch other people's objects.
            Ok(found.into_iter().filter(|f| f.identity.owner == owner).collect())
        }
        .boxed()
    }

    fn normal(&self, kind: Kind, identity: &Identity, mut options: Options) -> Result<Options, CloudFault> {
        if kind == Kind::SecurityGroup {
            ec2_security_group::normal(identity, &mut options)?;
            return Ok(options);
        }
        // Of the others the name is a tag.
        options.remove("name");
        match kind {
            Kind::Vpc => ec2_vpc_net::normal(&mut options)?,
            Kind::Subnet => ec2_vpc_subnet::normal(&mut options)?,
            Kind::InternetGateway => {}
            _ => return Err(not_built(kind)),
        }
        Ok(options)
    }

    fn create<'a>(
        &'a self,
        kind: Kind,
        identity: &'a Identity,
        tags: &'a Tags,
        wanted: &'a Options,
    ) -> BoxFuture<'a, Result<Found, CloudFault>> {
        async move {
            match kind {
                Kind::Vpc => ec2_vpc_net::create(&self.clients, identity, tags, wanted).await,
                Kind::Subnet => ec2_vpc_subnet::create(&self.clients, identity, tags, wanted).await,
                Kind::InternetGateway => ec2_vpc_igw::create(&self.clients, identity, tags).await,
                Kind::SecurityGroup => {
                    ec2_security_group::create(&self.clients, identity, tags, wanted).await
                }
                _ => Err(not_built(kind)),
            }
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        found: &'a Found,
        tags: &'a Tags,
        wanted: &'a Options,
        changed: &'a [String],
    ) -> BoxFuture<'a, Result<Found, CloudFault>> {
        async move {
            for option in changed {
                match (found.kind, option.as_str()) {
                    (_, "tags") => self.retag(found, tags).await?,
                    (Kind::Vpc, option) => {
                        ec2_vpc_net::set(&self.clients, &found.id, option, &wanted[option]).await?;
                    }
                    (Kind::Subnet, option) => {
                        ec2_vpc_subnet::set(&self.clients, &found.id, option, &wanted[option]).await?;
                    }
                    (Kind::SecurityGroup, option) => {
                        ec2_security_group::set(&self.clients, found, option, &wanted[option]).await?;
                    }
                    (Kind::InternetGateway, "vpc_id") => {
                        ec2_vpc_igw::attach(&self.clients, &found.id, text(wanted, "vpc_id")?).await?;
                    }
                    (kind, option) => return Err(cannot_change(kind, option)),
                }
            }
            self.again(found).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<(), CloudFault>> {
        async move {
            let end = match found.kind {
                Kind::Vpc => ec2_vpc_net::delete(&self.clients, &found.id).await,
                Kind::Subnet => ec2_vpc_subnet::delete(&self.clients, &found.id).await,
                Kind::InternetGateway => ec2_vpc_igw::delete(&self.clients, found).await,
                Kind::SecurityGroup => ec2_security_group::delete(&self.clients, &found.id).await,
                kind => Err(not_built(kind)),
            };
            match end {
                Err(fault) if fault.class == Class::NotFound => Ok(()),
                end => end,
            }
        }
        .boxed()
    }
}

fn cannot_change(kind: Kind, option: &str) -> CloudFault {
    CloudFault::refused("update", format!("`{option}` of `{kind}` cannot be changed"))
}

/// A text among options that `normal` has seen.
fn text<'o>(options: &'o Options, name: &str) -> Result<&'o str, CloudFault> {
    options
        .get(name)
        .and_then(Json::as_str)
        .ok_or_else(|| CloudFault::refused("create", format!("`{name}` is missing")))
}

/// An id that a reply must have.
fn id(call: &'static str, id: Option<&str>) -> Result<String, CloudFault> {
    id.map(ToOwned::to_owned).ok_or_else(|| CloudFault {
        class: Class::Transient,
        call,
        code: String::new(),
        message: "the reply holds no id".to_owned(),
    })
}

/// `10.1.2.3/16` as AWS keeps it: `10.1.0.0/16`.
fn cidr(options: &mut Options, name: &str) -> Result<(), CloudFault> {
    let Some(written) = options.get(name).and_then(Json::as_str).map(ToOwned::to_owned) else {
        return Ok(());
    };
    let wrong =
        || CloudFault::refused("plan", format!("`{name}` must be like `10.0.0.0/16`, not `{written}`"));
    let (address, bits) = written.split_once('/').ok_or_else(wrong)?;
    let address: std::net::Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let bits: u32 = bits.parse().ok().filter(|b| (16..=28).contains(b)).ok_or_else(|| {
        CloudFault::refused("plan", format!("`{name}` must have a prefix from /16 to /28, not `{written}`"))
    })?;
    let mask = u32::MAX << (32 - bits);
    let network = std::net::Ipv4Addr::from(u32::from(address) & mask);
    options.insert(name.to_owned(), format!("{network}/{bits}").into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(written: &str) -> Result<Json, String> {
        let mut options = Options::from_iter([("cidr".to_owned(), written.into())]);
        cidr(&mut options, "cidr").map(|()| options["cidr"].clone()).map_err(|e| e.message)
    }

    #[test]
    fn a_network_is_compared_without_its_host_bits() {
        assert_eq!(after("10.77.1.5/16"), Ok("10.77.0.0/16".into()));
        assert_eq!(
            after("10.77.1.5/8"),
            Err("`cidr` must have a prefix from /16 to /28, not `10.77.1.5/8`".into())
        );
        assert_eq!(after("vpc"), Err("`cidr` must be like `10.0.0.0/16`, not `vpc`".into()));
    }
}
