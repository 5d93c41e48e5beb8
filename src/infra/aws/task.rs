//! Resources as ordinary tasks: one object, found by its natural key as the Ansible module finds it.
//!
//! Owns: natural keys, the shapes of results. Must not: call AWS but through the kinds, or touch what an infrastructure play
//! marks as its own beyond what the task says.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value as Json, json};

use super::Account;
use super::client::{Access, Clients, NoClient};
use super::tags::Whose;
use super::task_key::{Key, joined, purged};
use crate::infra::cloud::{Cloud as _, Found, Options};
use crate::infra::differ::{Difference, Wanted, differences, tags_after};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{Identity, TASK, Tags};
use crate::infra::kinds::Kind;
use crate::infra::tasks::Work;

/// Filters of EC2: names and values.
pub(super) type Filters = Vec<(String, Vec<String>)>;

/// One task at work.
pub struct Task<'a> {
    pub account: &'a Account,
    pub check: bool,
}

/// Stands in check mode for what is known only when an object is made.
pub(super) const LATER: &str = "(known when applied)";

/// The filter that takes ids of a kind; load balancers and keys have none.
pub(super) fn id_filter(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Vpc => "vpc-id",
        Kind::Subnet => "subnet-id",
        Kind::InternetGateway => "internet-gateway-id",
        Kind::NatGateway => "nat-gateway-id",
        Kind::RouteTable => "route-table-id",
        Kind::SecurityGroup => "group-id",
        Kind::Instance => "instance-id",
        Kind::Address => "allocation-id",
        Kind::Key | Kind::ClassicElb | Kind::Bucket | Kind::Role => return None,
    })
}

impl Account {
    /// The account for that access; tasks of one run share it, its rate and what it made a moment ago.
    ///
    /// # Errors
    /// No region is known.
    pub async fn shared(access: Access) -> Result<Self, NoClient> {
        static ALL: Mutex<Option<HashMap<Access, Account>>> = Mutex::new(None);
        let known =
            ALL.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|a| a.get(&access).cloned());
        let account = match known {
            Some(account) => account,
            None => {
                let account = Self::new(Clients::new(&access).await?);
                let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
                all.get_or_insert_default().entry(access).or_insert(account).clone()
            }
        };
        // Names of groups are those of one task's VPC.
        Ok(Self { groups: Arc::default(), ..account })
    }
}

pub(super) fn refused(text: impl Into<String>) -> CloudFault {
    CloudFault::refused("task", text)
}

pub(super) fn strings(value: Option<&Json>) -> Vec<String> {
    let plain = |v: &Json| v.as_str().map_or_else(|| v.to_string(), ToOwned::to_owned);
    match value {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(all)) => all.iter().map(plain).collect(),
        Some(one) => vec![plain(one)],
    }
}

pub(super) fn filter(name: impl Into<String>, value: impl Into<String>) -> (String, Vec<String>) {
    (name.into(), vec![value.into()])
}

/// `filters` of a task: names may have `_` for `-`, but for tags.
pub(super) fn given_filters(value: Option<&Json>) -> Filters {
    let all = value.and_then(Json::as_object).into_iter().flatten();
    all.map(|(name, value)| {
        let name = if name.starts_with("tag:") { name.clone() } else { name.replace('_', "-") };
        (name, strings(Some(value)))
    })
    .collect()
}

/// Tags of a task in the form AWS keeps them.
pub(super) fn given_tags(value: Option<&Json>) -> Option<Tags> {
    let map = value?.as_object()?;
    let text = |v: &Json| match v {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(map.iter().map(|(k, v)| (k.clone(), text(v))).collect())
}

/// A client token that no other task has.
pub(super) fn fresh_token() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Takes a text out of the options.
pub(super) fn take(args: &mut Options, name: &str) -> Option<String> {
    match args.remove(name)? {
        Json::String(text) if !text.is_empty() => Some(text),
        Json::Null | Json::String(_) => None,
        other => Some(other.to_string()),
    }
}

pub(super) fn flag(args: &mut Options, name: &str, usual: bool) -> bool {
    args.remove(name).and_then(|v| v.as_bool()).unwrap_or(usual)
}

/// What differs as `--diff` shows it.
pub(super) fn shown(differences: &[Difference]) -> Json {
    use crate::infra::differ::After;
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    for one in
        differences.iter().filter(|d| !matches!(d.option.as_str(), "wait" | "user_data" | "client_token"))
    {
        before.insert(&one.option, one.before.clone().unwrap_or(Json::Null));
        if let After::Known(value) = &one.after {
            after.insert(&one.option, value.clone());
        }
    }
    let text = |map: &BTreeMap<&String, Json>| {
        map.iter().map(|(option, value)| format!("{option}: {value}\n")).collect::<String>()
    };
    json!([{"before": text(&before), "after": text(&after)}])
}

impl Task<'_> {
    /// Does what a task of a module asks for.
    ///
    /// # Errors
    /// A call that AWS refused, or options that do not fit.
    pub async fn perform(&self, work: Work, args: Options) -> Result<Options, CloudFault> {
        match work {
            Work::Manage(kind) => self.manage(kind, args).await,
            Work::Instances { old } => self.instances(args, old).await,
            Work::Info(kind) => self.info(kind, args).await,
            Work::Tag => self.tag(args).await,
            Work::TagInfo => self.tag_info(&args).await,
            Work::Images => self.images(args).await,
            Work::Bucket => self.bucket(args).await,
            Work::Buckets => self.buckets(args).await,
            Work::Role => self.role(args).await,
            Work::InstanceProfile => self.instance_profile(args).await,
            Work::IamInfo { profiles } => self.iam_info(profiles, args).await,
            Work::HostKeys => self.host_keys(args).await,
        }
    }

    pub(super) async fn look(
        &self,
        kind: Kind,
        filters: &[(String, Vec<String>)],
    ) -> Result<Vec<Found>, CloudFault> {
        // What stands on something that isn't made yet isn't there either.
        if self.check && filters.iter().any(|(_, values)| values.iter().any(|v| v == LATER)) {
            return Ok(Vec::new());
        }
        match self.account.look(kind, Whose::Anyone(filters)).await {
            Err(fault) if fault.class == Class::NotFound => Ok(Vec::new()),
            end => end,
        }
    }

    async fn manage(&self, kind: Kind, mut args: Options) -> Result<Options, CloudFault> {
        let absent = take(&mut args, "state").as_deref() == Some("absent");
        for ignored in ["wait", "wait_timeout", "in_vpc"] {
            args.remove(ignored);
        }
        let purge_tags = flag(&mut args, "purge_tags", true);
        let mut tags = given_tags(args.remove("tags").as_ref());
        // The name of these is a tag.
        if kind == Kind::Vpc
            && let Some(name) = args.get("name").and_then(Json::as_str)
        {
            tags.get_or_insert_default().insert("Name".to_owned(), name.to_owned());
        }
        let key = self.key(kind, &mut args, tags.as_ref()).await?;
        let release = flag(&mut args, "release_eip", false);
        let lists = purged(kind, &mut args);
        let nobody = Identity::default();
        let mut known = self.account.normal(kind, &nobody, args)?;
        let there = match key.looks {
            true => self.look(kind, &key.filters).await?.into_iter().filter(|f| (key.holds)(f)).collect(),
            false => Vec::new(),
        };
        if there.len() > 1 {
            let ids: Vec<&str> = there.iter().map(|f: &Found| f.id.as_str()).collect();
            return Err(refused(format!("more than one {kind} is meant: {}", ids.join(", "))));
        }
        let there = there.into_iter().next();
        if absent {
            return self.delete(kind, there, release).await;
        }
        if let Some(found) = &there {
            for (list, purge) in lists {
                if !purge {
                    joined(&mut known, found, list);
                }
            }
            // Some of them are told by their key alone, and a task need not say the rest again.
            return self.change(found, known, tags, purge_tags).await;
        }
        if kind == Kind::Key && !known.contains_key("key_material") {
            return Err(refused(
                "there is no such key: give `key_material`, a public key (private keys are made by `ssh-keygen`, and stay with you)",
            ));
        }
        if self.check {
            let mut result = shape(kind, Some(&later(kind, known, tags.unwrap_or_default())));
            result.insert("changed".to_owned(), true.into());
            return Ok(result);
        }
        let tags = tags.unwrap_or_default();
        let made = self.make(kind, &tags, known, &key).await?;
        let mut result = shape(kind, Some(&made));
        result.insert("changed".to_owned(), true.into());
        if kind == Kind::ClassicElb {
            result["elb"]["status"] = "created".into();
        }
        Ok(result)
    }

    async fn make(&self, kind: Kind, tags: &Tags, known: Options, key: &Key) -> Result<Found, CloudFault> {
        let mut with_token = known.clone();
        with_token.insert("client_token".to_owned(), fresh_token().into());
        let own_address = kind == Kind::NatGateway && !known.contains_key("allocation_id");
        let mut address = None;
        if own_address {
            let made = self.marked(Kind::Address, tags, &Options::new()).await?;
            with_token.insert("allocation_id".to_owned(), made.id.as_str().into());
            address = Some(made);
        }
        // These can't be told from others by what they are.
        let alike = matches!(kind, Kind::InternetGateway | Kind::Address) || kind == Kind::Vpc && !key.looks;
        let end = match alike {
            true => self.marked(kind, tags, &known).await,
            false => self.account.create(kind, &Identity::default(), tags, &with_token).await,
        };
        let made = match end {
            Ok(made) => made,
            // The reply may be what was lost: what is there now under the key is what was made.
            Err(fault) if matches!(fault.class, Class::Transient | Class::Exists) && key.looks && !alike => {
                let all = self.look(kind, &key.filters).await?;
                all.into_iter().find(|f| (key.holds)(f)).ok_or(fault)?
            }
            Err(fault) => {
                // An address that nothing stands on costs money.
                if let Some(address) = address {
                    let _ = self.account.delete(&address).await;
                }
                return Err(fault);
            }
        };
        let wanted = Wanted { known, tags: tags.clone(), ..Wanted::default() };
        let open = differences(kind, &made, &wanted);
        if open.is_empty() {
            return Ok(made);
        }
        let changed: Vec<String> = open.into_iter().map(|d| d.option).collect();
        self.account.update(&made, &tags_after(&made.tags, &wanted), &wanted.known, &changed).await
    }

    /// Makes an object that has neither a key nor a token: by a tag of its own it is found when the reply was lost.
    async fn marked(&self, kind: Kind, tags: &Tags, options: &Options) -> Result<Found, CloudFault> {
        let (mark, nobody) = (fresh_token(), Identity::default());
        let mut with_mark = tags.clone();
        with_mark.insert(TASK.to_owned(), mark.clone());
        let mine = [filter(format!("tag:{TASK}"), mark)];
        let made = match self.account.create(kind, &nobody, &with_mark, options).await {
            Ok(made) => made,
            Err(fault) if fault.class == Class::Transient => {
                self.look(kind, &mine).await?.into_iter().next().ok_or(fault)?
            }
            Err(fault) => return Err(fault),
        };
        let changed = ["tags".to_owned()];
        self.account.update(&made, tags, &Options::new(), &changed).await
    }

    async fn change(
        &self,
        found: &Found,
        known: Options,
        tags: Option<Tags>,
        purge_tags: bool,
    ) -> Result<Options, CloudFault> {
        let (now, changed, open, warnings) = self.converge(found, known, tags, purge_tags).await?;
        let mut result = shape(found.kind, Some(&now));
        result.insert("changed".to_owned(), changed.into());
        if changed {
            result.insert("diff".to_owned(), shown(&open));
        }
        if !warnings.is_empty() {
            result.insert("warnings".to_owned(), warnings.into());
        }
        Ok(result)
    }

    /// Brings one object to what a task says; what can't be changed becomes a warning, as in the Ansible modules.
    pub(super) async fn converge(
        &self,
        found: &Found,
        known: Options,
        tags: Option<Tags>,
        purge_tags: bool,
    ) -> Result<(Found, bool, Vec<Difference>, Vec<String>), CloudFault> {
        let mut wanted = Wanted { known, purge_tags: purge_tags && tags.is_some(), ..Wanted::default() };
        wanted.tags = tags.unwrap_or_default();
        // The marks of an infrastructure play are its own.
        let own = found.tags.iter().filter(|(k, _)| k.starts_with("dcos-play:") && *k != TASK);
        wanted.tags.extend(own.map(|(k, v)| (k.clone(), v.clone())));
        let (fixed, open): (Vec<Difference>, Vec<Difference>) =
            differences(found.kind, found, &wanted).into_iter().partition(|d| d.replaces);
        let warn =
            |d: Difference| format!("`{}` of {} cannot be changed: it stays as it is", d.option, found.id);
        let warnings: Vec<String> = fixed.into_iter().map(warn).collect();
        if open.is_empty() || self.check {
            return Ok((found.clone(), !open.is_empty(), open, warnings));
        }
        let names: Vec<String> = open.iter().map(|d| d.option.clone()).collect();
        let tags = tags_after(&found.tags, &wanted);
        let now = self.account.update(found, &tags, &wanted.known, &names).await?;
        Ok((now, true, open, warnings))
    }

    async fn delete(&self, kind: Kind, there: Option<Found>, release: bool) -> Result<Options, CloudFault> {
        let mut result = shape(kind, None);
        result.insert("changed".to_owned(), there.is_some().into());
        if kind == Kind::ClassicElb && there.is_none() {
            result["elb"]["status"] = "gone".into();
        }
        let Some(found) = there.filter(|_| !self.check) else { return Ok(result) };
        self.account.delete(&found).await?;
        if release && let Some(address) = found.state.get("allocation_id").and_then(Json::as_str) {
            let filters = vec![filter("allocation-id", address)];
            for address in self.look(Kind::Address, &filters).await? {
                self.account.delete(&address).await?;
            }
        }
        Ok(result)
    }

    async fn info(&self, kind: Kind, mut args: Options) -> Result<Options, CloudFault> {
        let mut filters = given_filters(args.remove("filters").as_ref());
        let ids = strings(args.remove("ids").as_ref());
        if let Some(name) = id_filter(kind).filter(|_| !ids.is_empty()) {
            filters.push((name.to_owned(), ids));
        }
        let names = strings(args.remove("names").as_ref());
        let mut found = self.look(kind, &filters).await?;
        found.retain(|f| {
            let name = f.result.get("name").and_then(Json::as_str).unwrap_or_default();
            names.is_empty() || names.iter().any(|n| n == name)
        });
        found.sort_by(|a, b| a.id.cmp(&b.id));
        let list = match kind {
            Kind::Vpc => "vpcs",
            Kind::Subnet => "subnets",
            Kind::InternetGateway => "internet_gateways",
            Kind::NatGateway => "result",
            Kind::Address => "addresses",
            Kind::RouteTable => "route_tables",
            Kind::SecurityGroup => "security_groups",
            Kind::Key => "keypairs",
            Kind::ClassicElb => "elbs",
            _ => "instances",
        };
        let all: Vec<Json> = found.into_iter().map(|f| Json::Object(full(f))).collect();
        Ok(Options::from_iter([("changed".to_owned(), false.into()), (list.to_owned(), all.into())]))
    }
}

/// The object's result, with what its module gives besides.
fn full(found: Found) -> Options {
    let mut result = found.result;
    for (option, name) in [
        ("rules", "ip_permissions"),
        ("rules_egress", "ip_permissions_egress"),
        ("listeners", "listeners"),
        ("instance_ids", "instances"),
        ("subnets", "subnets"),
        ("security_group_ids", "security_group_ids"),
        ("scheme", "scheme"),
    ] {
        if let Some(value) = found.state.get(option) {
            result.entry(name).or_insert_with(|| value.clone());
        }
    }
    if found.kind == Kind::Key
        && let Some(Json::Object(key)) = result.get("key").cloned()
    {
        result.extend(
            key.into_iter().map(|(k, v)| if k == "name" { ("key_name".to_owned(), v) } else { (k, v) }),
        );
    }
    result
}

/// An object that a run would make: what its task says, and marks for what only AWS can say.
pub(super) fn later(kind: Kind, known: Options, tags: Tags) -> Found {
    let unknown: &[&str] = match kind {
        Kind::Vpc => &["id", "vpc_id"],
        Kind::Subnet => &["id", "subnet_id", "availability_zone"],
        Kind::InternetGateway => &["gateway_id"],
        Kind::NatGateway => &["nat_gateway_id"],
        Kind::RouteTable => &["id", "route_table_id"],
        Kind::SecurityGroup => &["group_id"],
        Kind::Address => &["allocation_id", "public_ip"],
        Kind::ClassicElb => &["dns_name"],
        Kind::Instance => &[
            "id",
            "instance_id",
            "private_ip_address",
            "public_ip_address",
            "private_dns_name",
            "public_dns_name",
        ],
        _ => &[],
    };
    let mut result = known.clone();
    result.remove("wait");
    let now = |to: &str, from: &str, result: &mut Options| {
        if let Some(value) = known.get(from) {
            result.insert(to.to_owned(), value.clone());
        }
    };
    now("group_name", "name", &mut result);
    now("cidr_block", "cidr", &mut result);
    now("subnet_id", "vpc_subnet_id", &mut result);
    for name in unknown {
        result.entry(*name).or_insert_with(|| LATER.into());
    }
    result.insert("tags".to_owned(), json!(tags));
    if kind == Kind::Instance {
        result.insert("state".to_owned(), json!({"name": "running", "code": 16}));
    }
    Found { kind, id: LATER.to_owned(), identity: Identity::default(), tags, state: Options::new(), result }
}

/// A module's result for one object, or for none.
fn shape(kind: Kind, found: Option<&Found>) -> Options {
    let object = found.map(|f| full(f.clone()));
    let under = match kind {
        Kind::Vpc => "vpc",
        Kind::Subnet => "subnet",
        Kind::RouteTable => "route_table",
        Kind::Key => "key",
        Kind::ClassicElb => "elb",
        // The others give their values beside `changed`.
        _ => return object.unwrap_or_default(),
    };
    let mut result = Options::new();
    let value = match object {
        Some(mut object) => {
            object.remove(under);
            if kind == Kind::ClassicElb {
                object.insert("status".to_owned(), "exists".into());
            }
            Json::Object(object)
        }
        None if kind == Kind::ClassicElb => json!({"status": "deleted"}),
        None if kind == Kind::Key => Json::Null,
        None => Json::Object(Options::new()),
    };
    result.insert(under.to_owned(), value);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_have_dashes_but_tags_stay_as_they_are() {
        let given = json!({"vpc_id": "vpc-1", "tag:a_b": ["x", 1]});
        let wanted = [filter("tag:a_b", "x"), filter("vpc-id", "vpc-1")];
        let mut all = given_filters(Some(&given));
        all.sort();
        assert_eq!(all[0], ("tag:a_b".to_owned(), vec!["x".to_owned(), "1".to_owned()]));
        assert_eq!(all[1], wanted[1]);
    }
}
