//! The EC2 inventory's way to AWS: describes instances of several regions at once.
//!
//! Owns: regions, pages, permissions and who was refused. Must not: know hosts or groups.

use std::sync::Arc;

use aws_sdk_ec2::types::Filter;
use futures::future::try_join_all;
use serde_json::Value as Json;
use tokio::sync::Semaphore;

use super::client::{Access, Clients, Keys, fault};
use super::inventory_document::document;
use crate::infra::fault::{Class, CloudFault};
use crate::inventory::{Ec2Access, Ec2Answer, Ec2Fault, Ec2Filters, Ec2Query};

/// Where to ask for regions when nothing names one: there every account has its home.
const HOME: &str = "us-east-1";

/// Calls at once. EC2's bucket for describing gives 20 a second; more would only wait there.
const CALLS: usize = 16;

/// Most that AWS puts on a page; fewer pages are faster, and calls without a limit share a smaller bucket.
const PAGE: i32 = 1000;

/// Attempts a call has: somebody waits for the inventory, and nothing is lost by asking again later.
const ATTEMPTS: u32 = 5;

/// Tests ask for small pages by this variable of the environment.
const PAGE_VARIABLE: &str = "__DCOS_PLAY_EC2_PAGE";

/// Describes the instances that an inventory asks for.
///
/// # Errors
/// No region, no credentials, a refused or failed call; with the identity in use and the permission that is missing.
pub fn ask(query: &Ec2Query) -> Result<Ec2Answer, Ec2Fault> {
    // A thread of its own, so that it makes no difference whether the caller stands in an async runtime.
    let asked = std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime
                .map_err(|e| Ec2Fault { message: format!("can't start: {e}"), help: None })?
                .block_on(asked(query))
        });
        work.join()
    });
    asked.unwrap_or_else(|_| Err(Ec2Fault { message: "asking AWS ended in a bug".to_owned(), help: None }))
}

async fn asked(query: &Ec2Query) -> Result<Ec2Answer, Ec2Fault> {
    let mut access = access(&query.access);
    let clients = match Clients::new(&access).await {
        Ok(clients) => clients,
        Err(_) => {
            // The inventory names its regions itself; the client only needs one to start from.
            access.region = Some(query.regions.first().map_or(HOME, |r| r).to_owned());
            Clients::new(&access).await.map_err(|e| Ec2Fault { message: e.to_string(), help: None })?
        }
    };
    let account = Account { clients, query, calls: Arc::new(Semaphore::new(CALLS)) };
    let regions = if query.regions.is_empty() { account.regions().await? } else { query.regions.clone() };
    let found = try_join_all(regions.iter().map(|region| account.region(region))).await?;
    let mut answer = Ec2Answer::default();
    for region in found {
        answer.included.extend(region.included);
        answer.excluded.extend(region.excluded);
        answer.skipped.extend(region.skipped);
    }
    Ok(answer)
}

struct Account<'a> {
    clients: Clients,
    query: &'a Ec2Query,
    calls: Arc<Semaphore>,
}

impl Account<'_> {
    /// All regions that are enabled in the account.
    async fn regions(&self) -> Result<Vec<String>, Ec2Fault> {
        let reply = self.clients.ec2.describe_regions().send().await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                let told = self.told(&fault("ec2:DescribeRegions", &error), &self.clients.region).await;
                let help = told.help.map(|h| format!("{h}, or list `regions` in the inventory"));
                return Err(Ec2Fault { help, ..told });
            }
        };
        Ok(reply.regions().iter().filter_map(|r| r.region_name().map(ToOwned::to_owned)).collect())
    }

    async fn region(&self, region: &str) -> Result<Ec2Answer, Ec2Fault> {
        let clients = self.clients.in_region(region);
        let excluded = self.query.exclude.iter().map(|filters| self.pages(&clients, filters));
        let included = self.query.include.iter().map(|filters| self.pages(&clients, filters));
        match futures::try_join!(try_join_all(excluded), try_join_all(included)) {
            Ok((excluded, included)) => {
                let id = |i: &Json| i.get("instance_id").and_then(Json::as_str).map(ToOwned::to_owned);
                let mut included: Vec<Json> = included.into_iter().flatten().collect();
                self.add_zone_ids(&clients, &mut included).await;
                Ok(Ec2Answer {
                    included,
                    excluded: excluded.iter().flatten().filter_map(id).collect(),
                    skipped: Vec::new(),
                })
            }
            Err(fault) if !self.query.strict_permissions && lacks_permission(&fault) => {
                let message = format!("the region {region} is left out: {fault}");
                Ok(Ec2Answer { skipped: vec![message], ..Ec2Answer::default() })
            }
            Err(fault) => Err(self.told(&fault, region).await),
        }
    }

    /// All pages of one set of filters.
    async fn pages(&self, clients: &Clients, filters: &Ec2Filters) -> Result<Vec<Json>, CloudFault> {
        let call = "ec2:DescribeInstances";
        // The semaphore is never closed.
        let _seat = self.calls.acquire().await.map_err(|e| CloudFault::refused(call, e.to_string()))?;
        let filter = |(name, values): &(String, Vec<String>)| {
            Filter::builder().name(name).set_values(Some(values.clone())).build()
        };
        let filters: Vec<Filter> = filters.iter().map(filter).collect();
        let page = std::env::var(PAGE_VARIABLE).ok().and_then(|n| n.parse().ok()).unwrap_or(PAGE);
        let mut documents = Vec::new();
        let mut next = None;
        loop {
            let request =
                clients.ec2.describe_instances().set_filters(Some(filters.clone())).max_results(page);
            let reply = request.set_next_token(next).send().await.map_err(|e| fault(call, &e))?;
            for reservation in reply.reservations() {
                let made = |instance| document(instance, reservation, &clients.region);
                documents.extend(reservation.instances().iter().map(made));
            }
            next = reply.next_token().filter(|t| !t.is_empty()).map(ToOwned::to_owned);
            if next.is_none() {
                return Ok(documents);
            }
        }
    }

    /// Adds `placement.availability_zone_id` where the description didn't have it. It needs a permission of its own,
    /// which is no reason to have no inventory: without it the variable is missing, as with older accounts.
    async fn add_zone_ids(&self, clients: &Clients, documents: &mut [Json]) {
        let zone = |document: &Json| {
            let placement = document.get("placement")?;
            let missing = placement.get("availability_zone_id").is_none();
            placement.get("availability_zone")?.as_str().filter(|_| missing).map(ToOwned::to_owned)
        };
        if documents.iter().all(|d| zone(d).is_none()) {
            return;
        }
        let Ok(reply) = clients.ec2.describe_availability_zones().send().await else { return };
        for document in documents {
            let Some(name) = zone(document) else { continue };
            let known = reply.availability_zones().iter().find(|z| z.zone_name() == Some(&name));
            if let Some(id) = known.and_then(|z| z.zone_id())
                && let Some(placement) = document.get_mut("placement").and_then(Json::as_object_mut)
            {
                placement.insert("availability_zone_id".to_owned(), id.into());
            }
        }
    }

    /// A fault with the region, the identity in use, and what to do.
    async fn told(&self, fault: &CloudFault, region: &str) -> Ec2Fault {
        let mut message = format!("{fault} [region {region}]");
        let mut identity = None;
        if fault.class == Class::Auth {
            identity = self.clients.identity().await;
            let who =
                identity.clone().unwrap_or_else(|| given(&self.query.access, |n| std::env::var(n).ok()));
            message = format!("{message}, asked as {who}");
        }
        let help = match fault.class {
            // The general help speaks of changes; here nothing was made.
            Class::Transient => Some("is the network there, and the region's name right?".to_owned()),
            _ => fault.help(identity.as_deref()),
        };
        Ec2Fault { message, help }
    }
}

fn access(asked: &Ec2Access) -> Access {
    let keys = asked.access_key.as_ref().zip(asked.secret_key.as_ref());
    Access {
        region: asked.region.clone().or_else(|| std::env::var("AWS_DEFAULT_REGION").ok()),
        profile: asked.profile.clone(),
        endpoint_url: asked.endpoint_url.clone(),
        keys: keys.map(|(access_key, secret_key)| Keys {
            access_key: access_key.reveal().to_owned(),
            secret_key: secret_key.reveal().to_owned(),
            session_token: asked.session_token.as_ref().map(|t| t.reveal().to_owned()),
        }),
        assume_role: asked.assume_role.clone(),
        attempts: Some(ATTEMPTS),
    }
}

fn lacks_permission(fault: &CloudFault) -> bool {
    // AuthFailure is how EC2 answers for a region that the account has not enabled.
    let codes = ["UnauthorizedOperation", "AccessDenied", "OptInRequired", "AuthFailure"];
    codes.contains(&fault.code.as_str())
}

/// Where credentials come from, when AWS doesn't even say whose they are.
fn given(access: &Ec2Access, variable: impl Fn(&str) -> Option<String>) -> String {
    let variable = |name: &str| variable(name).filter(|v| !v.is_empty());
    if access.access_key.is_some() {
        return "the `access_key` of the inventory".to_owned();
    }
    if let Some(profile) = &access.profile {
        return format!("the profile `{profile}` of the inventory");
    }
    if let Some(key) = variable("AWS_ACCESS_KEY_ID") {
        return format!("the access key {key} of AWS_ACCESS_KEY_ID");
    }
    match variable("AWS_PROFILE") {
        Some(profile) => format!("the profile `{profile}` of AWS_PROFILE"),
        None => "the identity of the default profile or of this machine's role".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_answer_of_sts_the_message_names_where_credentials_come_from() {
        let empty = Ec2Access::default();
        let environment = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "AKIA1".to_owned());
        assert_eq!(given(&empty, environment), "the access key AKIA1 of AWS_ACCESS_KEY_ID");
        let profile = Ec2Access { profile: Some("ops".into()), ..Ec2Access::default() };
        assert_eq!(given(&profile, environment), "the profile `ops` of the inventory");
        assert_eq!(given(&empty, |_| None), "the identity of the default profile or of this machine's role");
    }
}
