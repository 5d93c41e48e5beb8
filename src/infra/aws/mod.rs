//! AWS itself: clients, and one file a kind of resource.
//!
//! Owns: every AWS type; nothing outside of this folder and the EC2 inventory names one. Must not: decide what to change.

pub mod client;
mod ec2_eip;
mod ec2_instance;
mod ec2_key;
mod ec2_security_group;
mod ec2_vpc_igw;
mod ec2_vpc_nat_gateway;
mod ec2_vpc_net;
mod ec2_vpc_route_table;
mod ec2_vpc_subnet;
mod elb_classic_lb;
mod elb_options;
mod elb_stickiness;
mod host_keys;
mod iam_role;
pub mod inventory;
mod inventory_document;
mod policies;
mod s3_bucket;
mod tags;
pub mod task;
mod task_bucket;
mod task_iam;
mod task_instance;
mod task_key;
mod task_tags;
mod waiting;
mod wire;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value as Json;

use self::client::Clients;
use self::ec2_security_group::Names;
use self::tags::Whose;
use self::waiting::pause;
use super::cloud::{Cloud, Found, Options};
use super::fault::{Class, CloudFault};
use super::identity::{Identity, Tags};
use super::kinds::Kind;

/// Our own name for a client token whose object is gone: the next generation of the token is tried.
const OLD_TOKEN: &str = "IdempotentInstanceTerminated";
/// Generations of a token that are tried.
const GENERATIONS: u32 = 50;
/// Tries of a create or an update, with pauses of up to some seconds between them.
const TRIES: u32 = 9;
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long AWS may hold an object that nothing of ours uses any more.
const HELD: Duration = Duration::from_secs(10 * 60);

/// An account in one region.
#[derive(Debug, Clone)]
pub struct Account {
    clients: Clients,
    groups: Arc<Names>,
    /// Ids and names made by this process: AWS may take a while to know them everywhere.
    fresh: Arc<Mutex<BTreeSet<String>>>,
}

impl Account {
    /// Works through these clients.
    #[must_use]
    pub fn new(clients: Clients) -> Self {
        Self { clients, groups: Arc::default(), fresh: Arc::default() }
    }

    /// Brings the tags of an EC2 object to what they should be.
    async fn retag(&self, found: &Found, tags: &Tags) -> Result<(), CloudFault> {
        match found.kind {
            Kind::ClassicElb => return elb_classic_lb::retag(&self.clients, found, tags).await,
            Kind::Role => return iam_role::retag(&self.clients, found, tags).await,
            Kind::Bucket => return s3_bucket::retag(&self.clients, found, tags).await,
            _ => {}
        }
        tags::change(&self.clients, &found.id, &found.tags, tags).await
    }

    fn is_fresh(&self, text: &str) -> bool {
        let fresh = self.fresh.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        fresh.iter().any(|id| text.contains(id.as_str()))
    }

    fn made(&self, found: &Found) {
        let mut fresh = self.fresh.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        fresh.insert(found.id.clone());
    }

    /// The object as it is now, looked up by the owner's tag. One that was just made may not be in sight yet.
    async fn again(&self, found: &Found) -> Result<Found, CloudFault> {
        for attempt in 0.. {
            let all = if found.identity.is_nobody() {
                let by_id = task::id_filter(found.kind).map(|name| (name.to_owned(), vec![found.id.clone()]));
                match self.look(found.kind, Whose::Anyone(by_id.as_slice())).await {
                    Err(fault) if fault.class == Class::NotFound => Vec::new(),
                    end => end?,
                }
            } else {
                self.find(found.kind, &found.identity.owner).await?
            };
            if let Some(now) = all.into_iter().find(|f| f.id == found.id) {
                return Ok(now);
            }
            if attempt >= TRIES || !self.is_fresh(&found.id) {
                break;
            }
            tokio::time::sleep(pause(attempt, LONGEST_PAUSE)).await;
        }
        Err(CloudFault {
            class: Class::Refused,
            call: "ec2:DescribeTags",
            code: String::new(),
            message: format!("{} is gone while it was being changed", found.id),
        })
    }

    /// Objects of a kind by whom they belong to, or by filters.
    async fn look(&self, kind: Kind, whose: Whose<'_>) -> Result<Vec<Found>, CloudFault> {
        let (clients, whose) = (&self.clients, &whose);
        match kind {
            Kind::Vpc => ec2_vpc_net::find(clients, whose).await,
            Kind::Subnet => ec2_vpc_subnet::find(clients, whose).await,
            Kind::InternetGateway => ec2_vpc_igw::find(clients, whose).await,
            Kind::Address => ec2_eip::find(clients, whose).await,
            Kind::NatGateway => ec2_vpc_nat_gateway::find(clients, whose).await,
            Kind::RouteTable => ec2_vpc_route_table::find(clients, whose).await,
            Kind::SecurityGroup => ec2_security_group::find(clients, &self.groups, whose).await,
            Kind::Key => ec2_key::find(clients, whose).await,
            Kind::Instance => ec2_instance::find(clients, whose).await,
            Kind::ClassicElb => elb_classic_lb::find(clients, whose).await,
            // Their services know no filters, and tasks don't work on them.
            Kind::Bucket | Kind::Role => Ok(Vec::new()),
        }
    }

    /// Makes an object for a task: it is nobody's, so nothing is looked for by its identity.
    async fn create_for_task(&self, kind: Kind, tags: &Tags, wanted: &Options) -> Result<Found, CloudFault> {
        let (nobody, mut tried, mut generation) = (Identity::default(), 0, 0);
        let tokened = matches!(kind, Kind::Instance | Kind::NatGateway | Kind::RouteTable);
        loop {
            let fault = match self.create_once(kind, &nobody, tags, wanted, generation).await {
                Ok(found) => {
                    self.made(&found);
                    return Ok(found);
                }
                Err(fault) => fault,
            };
            if matches!(fault.code.as_str(), OLD_TOKEN | "IdempotentParameterMismatch")
                && generation < GENERATIONS
            {
                generation += 1;
                continue;
            }
            tried += 1;
            let again = match fault.class {
                Class::Throttled | Class::State => true,
                // With the same token it is made once.
                Class::Transient => tokened,
                Class::NotFound => self.is_fresh(&Json::Object(wanted.clone()).to_string()),
                _ => false,
            };
            if !again || tried >= self.clients.tries(TRIES) {
                return Err(fault);
            }
            tokio::time::sleep(pause(tried, LONGEST_PAUSE)).await;
        }
    }

    async fn create_once(
        &self,
        kind: Kind,
        identity: &Identity,
        tags: &Tags,
        wanted: &Options,
        generation: u32,
    ) -> Result<Found, CloudFault> {
        let clients = &self.clients;
        match kind {
            Kind::Vpc => ec2_vpc_net::create(clients, identity, tags, wanted).await,
            Kind::Subnet => ec2_vpc_subnet::create(clients, identity, tags, wanted).await,
            Kind::InternetGateway => ec2_vpc_igw::create(clients, identity, tags).await,
            Kind::Address => ec2_eip::create(clients, identity, tags).await,
            Kind::NatGateway => {
                ec2_vpc_nat_gateway::create(clients, identity, tags, wanted, generation).await
            }
            Kind::RouteTable => {
                ec2_vpc_route_table::create(clients, identity, tags, wanted, generation).await
            }
            Kind::SecurityGroup => {
                ec2_security_group::create(clients, &self.groups, identity, tags, wanted).await
            }
            Kind::Key => ec2_key::create(clients, identity, tags, wanted).await,
            Kind::Instance => ec2_instance::create(clients, identity, tags, wanted, generation).await,
            Kind::ClassicElb => elb_classic_lb::create(clients, identity, tags, wanted).await,
            Kind::Bucket => s3_bucket::create(clients, identity, tags, wanted).await,
            Kind::Role => iam_role::create(clients, identity, tags, wanted).await,
        }
    }

    async fn set(
        &self,
        found: &Found,
        tags: &Tags,
        wanted: &Options,
        option: &str,
    ) -> Result<(), CloudFault> {
        let clients = &self.clients;
        if option == "tags" {
            return self.retag(found, tags).await;
        }
        let value = wanted.get(option).unwrap_or(&Json::Null);
        match found.kind {
            Kind::Vpc => ec2_vpc_net::set(clients, &found.id, option, value).await,
            Kind::Subnet => ec2_vpc_subnet::set(clients, &found.id, option, value).await,
            Kind::InternetGateway if option == "vpc_id" => {
                ec2_vpc_igw::attach(clients, &found.id, text(wanted, option)?).await
            }
            Kind::NatGateway => ec2_vpc_nat_gateway::set(clients, found, option).await,
            Kind::RouteTable => ec2_vpc_route_table::set(clients, found, option, value).await,
            Kind::SecurityGroup => ec2_security_group::set(clients, &self.groups, found, option, value).await,
            Kind::Instance => ec2_instance::set(clients, found, option, value).await,
            Kind::ClassicElb => elb_classic_lb::set(clients, found, option, value).await,
            Kind::Bucket => s3_bucket::set(clients, found, option, value).await,
            Kind::Role => iam_role::set(clients, found, option, value).await,
            kind => Err(cannot_change(kind, option)),
        }
    }

    async fn set_all(
        &self,
        found: &Found,
        tags: &Tags,
        wanted: &Options,
        open: &[String],
    ) -> Result<(), CloudFault> {
        for option in open {
            self.set(found, tags, wanted, option).await?;
        }
        Ok(())
    }

    async fn delete_once(&self, found: &Found) -> Result<(), CloudFault> {
        let clients = &self.clients;
        match found.kind {
            Kind::Vpc => ec2_vpc_net::delete(clients, &found.id).await,
            Kind::Subnet => ec2_vpc_subnet::delete(clients, &found.id).await,
            Kind::InternetGateway => ec2_vpc_igw::delete(clients, found).await,
            Kind::Address => ec2_eip::delete(clients, &found.id).await,
            Kind::NatGateway => ec2_vpc_nat_gateway::delete(clients, &found.id).await,
            Kind::RouteTable => ec2_vpc_route_table::delete(clients, &found.id).await,
            Kind::SecurityGroup => ec2_security_group::delete(clients, found).await,
            Kind::Key => ec2_key::delete(clients, found).await,
            Kind::Instance => ec2_instance::delete(clients, &found.id).await,
            Kind::ClassicElb => elb_classic_lb::delete(clients, &found.id).await,
            Kind::Bucket => s3_bucket::delete(clients, found).await,
            Kind::Role => iam_role::delete(clients, found).await,
        }
    }
}

impl Cloud for Account {
    fn find<'a>(&'a self, kind: Kind, owner: &'a str) -> BoxFuture<'a, Result<Vec<Found>, CloudFault>> {
        async move {
            let found = match kind {
                Kind::Bucket => s3_bucket::find(&self.clients, owner).await?,
                Kind::Role => iam_role::find(&self.clients, owner).await?,
                _ => self.look(kind, Whose::Owner(owner)).await?,
            };
            // The filter isn't trusted: emulators ignore some, and a wrong one would touch other people's objects.
            Ok(found.into_iter().filter(|f| f.identity.owner == owner).collect())
        }
        .boxed()
    }

    fn normal(&self, kind: Kind, identity: &Identity, mut options: Options) -> Result<Options, CloudFault> {
        // Of most kinds the name is a tag.
        let named =
            matches!(kind, Kind::SecurityGroup | Kind::Key | Kind::ClassicElb | Kind::Bucket | Kind::Role);
        if !named {
            options.remove("name");
        }
        match kind {
            Kind::Vpc => ec2_vpc_net::normal(&mut options)?,
            Kind::Subnet => ec2_vpc_subnet::normal(&mut options)?,
            Kind::InternetGateway | Kind::Address => {}
            Kind::NatGateway => ec2_vpc_nat_gateway::normal(&mut options),
            Kind::RouteTable => ec2_vpc_route_table::normal(&mut options)?,
            Kind::SecurityGroup => ec2_security_group::normal(&self.groups, identity, &mut options)?,
            Kind::Key => ec2_key::normal(identity, &mut options)?,
            Kind::Instance => ec2_instance::normal(identity, &mut options)?,
            Kind::ClassicElb => elb_options::normal(identity, &mut options)?,
            Kind::Bucket => s3_bucket::normal(identity, &mut options)?,
            Kind::Role => iam_role::normal(identity, &mut options)?,
        }
        Ok(options)
    }

    /// A reply may be lost after the call was carried out: what carries the identity is looked for before it is sent again.
    fn create<'a>(
        &'a self,
        kind: Kind,
        identity: &'a Identity,
        tags: &'a Tags,
        wanted: &'a Options,
    ) -> BoxFuture<'a, Result<Found, CloudFault>> {
        async move {
            if identity.is_nobody() {
                return self.create_for_task(kind, tags, wanted).await;
            }
            let (mut tried, mut generation) = (0, 0);
            loop {
                let fault = match self.create_once(kind, identity, tags, wanted, generation).await {
                    Ok(found) => {
                        self.made(&found);
                        return Ok(found);
                    }
                    Err(fault) => fault,
                };
                let token = matches!(fault.code.as_str(), OLD_TOKEN | "IdempotentParameterMismatch");
                let asks_again = match fault.class {
                    Class::Exists | Class::Transient | Class::Throttled | Class::State => true,
                    // Something that it needs was made a moment ago.
                    Class::NotFound => self.is_fresh(&Json::Object(wanted.clone()).to_string()),
                    _ => false,
                };
                if !asks_again {
                    return Err(fault);
                }
                if fault.class != Class::Throttled {
                    if !token {
                        tokio::time::sleep(pause(tried, LONGEST_PAUSE)).await;
                    }
                    let all = self.find(kind, &identity.owner).await?;
                    if let Some(found) = all.into_iter().find(|f| f.identity == *identity) {
                        self.made(&found);
                        return Ok(found);
                    }
                } else {
                    tokio::time::sleep(pause(tried + 1, LONGEST_PAUSE)).await;
                }
                if token && generation < GENERATIONS {
                    generation += 1;
                    continue;
                }
                tried += 1;
                if fault.class == Class::Exists && tried > 2 {
                    let text = format!("{}; it isn't ours: choose another name, or delete it", fault.message);
                    return Err(CloudFault { class: Class::Refused, message: text, ..fault });
                }
                if tried >= self.clients.tries(TRIES) {
                    return Err(fault);
                }
            }
        }
        .boxed()
    }

    /// After a fault the object is read again, and what is still open is tried again.
    fn update<'a>(
        &'a self,
        found: &'a Found,
        tags: &'a Tags,
        wanted: &'a Options,
        changed: &'a [String],
    ) -> BoxFuture<'a, Result<Found, CloudFault>> {
        async move {
            let (mut now, mut open) = (found.clone(), changed.to_vec());
            let mut tried = 0;
            loop {
                let fault = match self.set_all(&now, tags, wanted, &open).await {
                    Ok(()) => return self.again(&now).await,
                    Err(fault) => fault,
                };
                tried += 1;
                let again = match fault.class {
                    Class::Exists | Class::Transient | Class::Throttled | Class::State => true,
                    Class::NotFound => {
                        self.is_fresh(&found.id) || self.is_fresh(&Json::Object(wanted.clone()).to_string())
                    }
                    _ => false,
                };
                if !again || tried >= self.clients.tries(TRIES) {
                    return Err(fault);
                }
                tokio::time::sleep(pause(tried, LONGEST_PAUSE)).await;
                now = self.again(&now).await?;
                open.retain(|option| match option.as_str() {
                    "tags" => now.tags != *tags,
                    option => now.state.get(option) != wanted.get(option),
                });
                if open.is_empty() {
                    return Ok(now);
                }
            }
        }
        .boxed()
    }

    fn unmarked<'a>(
        &'a self,
        kind: Kind,
        identity: &'a Identity,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, CloudFault>> {
        async move {
            match kind {
                Kind::Bucket => s3_bucket::unmarked(&self.clients, identity, name).await,
                _ => Ok(None),
            }
        }
        .boxed()
    }

    fn identity(&self) -> BoxFuture<'_, Option<String>> {
        self.clients.identity().boxed()
    }

    /// AWS lets go of what others used some time after them.
    fn delete<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<(), CloudFault>> {
        async move {
            let began = tokio::time::Instant::now();
            for tried in 0.. {
                let fault = match self.delete_once(found).await {
                    Ok(()) => return Ok(()),
                    Err(fault) if fault.class == Class::NotFound => return Ok(()),
                    Err(fault) => fault,
                };
                let held = matches!(fault.class, Class::Dependency | Class::State);
                let broken = matches!(fault.class, Class::Transient | Class::Throttled);
                if !(held && began.elapsed() < HELD || broken && tried < self.clients.tries(TRIES)) {
                    return Err(fault);
                }
                tokio::time::sleep(pause(tried, LONGEST_PAUSE)).await;
            }
            Ok(())
        }
        .boxed()
    }
}

/// What is asked for cannot be; AWS need not be asked.
fn refused(text: impl Into<String>) -> CloudFault {
    CloudFault::refused("plan", text)
}

/// Sorts a list of texts, without doubles, so that its order is no difference.
fn sorted(options: &mut Options, name: &str) {
    if let Some(Json::Array(all)) = options.get_mut(name) {
        all.sort_by_key(ToString::to_string);
        all.dedup();
    }
}

/// A policy document, given as a mapping or as text.
fn document(options: &mut Options, name: &str) -> Result<(), CloudFault> {
    let Some(Json::String(text)) = options.get(name) else { return Ok(()) };
    let parsed = serde_json::from_str::<Json>(text)
        .map_err(|e| CloudFault::refused("plan", format!("`{name}` is no JSON: {e}")))?;
    options.insert(name.to_owned(), parsed);
    Ok(())
}

/// The client token of a create call: the identity's, or for a task one that it carries in its options.
fn token(kind: Kind, identity: &Identity, wanted: &Options, generation: u32) -> String {
    match wanted.get("client_token").and_then(Json::as_str) {
        Some(token) if generation == 0 => token.to_owned(),
        Some(token) => format!("{token}-{generation}"),
        None => identity.token(kind.name(), generation),
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
