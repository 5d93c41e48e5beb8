//! The natural keys of tasks: which object one means, as the Ansible module finds it.
//!
//! Owns: keys, and what stands in options for ids (`igw`, names of groups, zones). Must not: change anything.

use serde_json::Value as Json;

use super::task::{Filters, LATER, Task, filter, flag, id_filter, refused, strings, take};
use super::{cidr, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::CloudFault;
use crate::infra::identity::Tags;
use crate::infra::kinds::Kind;

/// The natural key of what a task means, taken out of its options where it is no option of the kind.
pub(super) struct Key {
    pub(super) filters: Filters,
    /// `false`: the task makes another one whatever is there.
    pub(super) looks: bool,
    pub(super) holds: Box<dyn Fn(&Found) -> bool + Send + Sync>,
}

impl Task<'_> {
    /// Takes the natural key out of a task's options.
    pub(super) async fn key(
        &self,
        kind: Kind,
        args: &mut Options,
        tags: Option<&Tags>,
    ) -> Result<Key, CloudFault> {
        let any = || -> Box<dyn Fn(&Found) -> bool + Send + Sync> { Box::new(|_| true) };
        let state = |name: &'static str, value: String| -> Box<dyn Fn(&Found) -> bool + Send + Sync> {
            Box::new(move |f| f.state.get(name).and_then(Json::as_str) == Some(&*value))
        };
        // Given by id, it is that one.
        let by_id = match kind {
            Kind::Vpc => take(args, "vpc_id"),
            Kind::InternetGateway => take(args, "internet_gateway_id"),
            Kind::NatGateway => take(args, "nat_gateway_id"),
            Kind::RouteTable => take(args, "route_table_id"),
            Kind::SecurityGroup => take(args, "group_id"),
            _ => None,
        };
        args.remove("lookup");
        if let (Some(id), Some(name)) = (&by_id, id_filter(kind)) {
            for other in ["multi_ok", "if_exist_do_not_create", "eip_address"] {
                args.remove(other);
            }
            return Ok(Key { filters: vec![filter(name, id)], looks: true, holds: any() });
        }
        let key = |filters: Filters, holds| Key { filters, looks: true, holds };
        Ok(match kind {
            Kind::Vpc => {
                let multi = flag(args, "multi_ok", false);
                let name = text(args, "name")?.to_owned();
                cidr(args, "cidr_block")?;
                let block = text(args, "cidr_block")?.to_owned();
                Key { looks: !multi, ..key(vec![filter("tag:Name", name)], state("cidr_block", block)) }
            }
            Kind::Subnet => {
                cidr(args, "cidr")?;
                let block = text(args, "cidr")?.to_owned();
                key(vec![filter("vpc-id", text(args, "vpc_id")?)], state("cidr", block))
            }
            Kind::InternetGateway => key(vec![filter("attachment.vpc-id", text(args, "vpc_id")?)], any()),
            Kind::NatGateway => {
                let keeps = flag(args, "if_exist_do_not_create", false);
                if let Some(address) = take(args, "eip_address") {
                    let found = self.look(Kind::Address, &[filter("public-ip", &*address)]).await?;
                    let found =
                        found.first().ok_or_else(|| refused(format!("there is no address {address}")))?;
                    args.insert("allocation_id".to_owned(), found.id.as_str().into());
                }
                let subnet = text(args, "subnet_id")?.to_owned();
                match args.get("allocation_id").and_then(Json::as_str) {
                    Some(address) => {
                        key(vec![filter("subnet-id", subnet)], state("allocation_id", address.to_owned()))
                    }
                    None => Key { looks: keeps, ..key(vec![filter("subnet-id", subnet)], any()) },
                }
            }
            Kind::RouteTable => {
                let vpc = text(args, "vpc_id")?.to_owned();
                self.gateways(args, &vpc).await?;
                let tags = tags.cloned().unwrap_or_default();
                let looks = !tags.is_empty();
                let holds = move |f: &Found| tags.iter().all(|(k, v)| f.tags.get(k) == Some(v));
                Key { looks, ..key(vec![filter("vpc-id", vpc)], Box::new(holds)) }
            }
            Kind::SecurityGroup => {
                let name = text(args, "name")?.to_owned();
                if args.get("vpc_id").is_none_or(Json::is_null) {
                    let usual = self.look(Kind::Vpc, &[filter("is-default", "true")]).await?;
                    let usual = usual.first().ok_or_else(|| refused("`vpc_id` is missing"))?;
                    args.insert("vpc_id".to_owned(), usual.id.as_str().into());
                }
                key(vec![filter("vpc-id", text(args, "vpc_id")?)], state("name", name))
            }
            Kind::Key => {
                args.remove("force");
                key(Vec::new(), state("name", text(args, "name")?.to_owned()))
            }
            Kind::ClassicElb => {
                self.load_balancer(args).await?;
                key(Vec::new(), state("name", text(args, "name")?.to_owned()))
            }
            Kind::Address => self.address_key(args),
            kind => return Err(refused(format!("`{kind}` is no task"))),
        })
    }

    fn address_key(&self, args: &mut Options) -> Key {
        let reuse = flag(args, "reuse_existing_ip_allowed", false);
        let (name, value) = (take(args, "tag_name"), take(args, "tag_value"));
        let (ip, id) = (take(args, "public_ip"), take(args, "allocation_id"));
        let looks = reuse || ip.is_some() || id.is_some();
        let holds = move |f: &Found| {
            let is = |what: &Option<String>, key: &str| {
                what.as_deref().is_none_or(|w| f.result.get(key).and_then(Json::as_str) == Some(w))
            };
            let free = f.result.get("association_id").is_none_or(Json::is_null);
            let tagged = name.as_ref().is_none_or(|n| match &value {
                Some(value) => f.tags.get(n) == Some(value),
                None => f.tags.contains_key(n),
            });
            match ip.is_some() || id.is_some() {
                true => is(&ip, "public_ip") && is(&id, "allocation_id"),
                false => free && tagged && f.identity.is_nobody(),
            }
        };
        Key { filters: Vec::new(), looks, holds: Box::new(holds) }
    }

    /// `igw` stands for the gateway of the VPC.
    async fn gateways(&self, args: &mut Options, vpc: &str) -> Result<(), CloudFault> {
        let Some(Json::Array(routes)) = args.get_mut("routes") else { return Ok(()) };
        for route in routes.iter_mut().filter_map(Json::as_object_mut) {
            if route.get("gateway_id").and_then(Json::as_str) == Some("igw") {
                if self.check && vpc == LATER {
                    route.insert("gateway_id".to_owned(), LATER.into());
                    continue;
                }
                let found = self.look(Kind::InternetGateway, &[filter("attachment.vpc-id", vpc)]).await?;
                let found = found.first().ok_or_else(|| refused(format!("{vpc} has no internet gateway")))?;
                route.insert("gateway_id".to_owned(), found.id.as_str().into());
            }
        }
        Ok(())
    }

    /// Names of groups and zones become what AWS takes: ids of groups, the usual subnets of zones.
    async fn load_balancer(&self, args: &mut Options) -> Result<(), CloudFault> {
        let zones = strings(args.remove("zones").as_ref());
        if !zones.is_empty() {
            let purge = flag(args, "purge_zones", false);
            let filters = [("availability-zone".to_owned(), zones.clone()), filter("default-for-az", "true")];
            let subnets = self.look(Kind::Subnet, &filters).await?;
            let missing = zones.iter().find(|zone| {
                !subnets.iter().any(|s| s.state.get("az").and_then(Json::as_str) == Some(zone.as_str()))
            });
            if let Some(zone) = missing {
                return Err(refused(format!("the zone {zone} has no default subnet: give `subnets`")));
            }
            args.insert("subnets".to_owned(), subnets.iter().map(|s| Json::from(&*s.id)).collect());
            args.insert("purge_subnets".to_owned(), purge.into());
        }
        args.remove("purge_zones");
        let names = strings(args.remove("security_group_names").as_ref());
        if names.is_empty() {
            return Ok(());
        }
        let subnets = strings(args.get("subnets"));
        if self.check && subnets.iter().any(|s| s == LATER) {
            args.insert("security_group_ids".to_owned(), vec![LATER].into());
            return Ok(());
        }
        let vpc = match subnets.first() {
            Some(subnet) => {
                let found = self.look(Kind::Subnet, &[filter("subnet-id", &**subnet)]).await?;
                let found = found.first().ok_or_else(|| refused(format!("there is no subnet {subnet}")))?;
                found.state.get("vpc_id").and_then(Json::as_str).unwrap_or_default().to_owned()
            }
            // A load balancer that is there has a VPC.
            None => self.network_of(text(args, "name")?).await?,
        };
        let filters = [filter("vpc-id", vpc.as_str()), ("group-name".to_owned(), names.clone())];
        let groups = self.look(Kind::SecurityGroup, &filters).await?;
        let mut ids = Vec::new();
        for name in &names {
            // What has the form of an id is one, as in the module.
            if name.starts_with("sg-") {
                ids.push(Json::from(&**name));
                continue;
            }
            let group = groups.iter().find(|g| g.state.get("name").and_then(Json::as_str) == Some(name));
            match group {
                Some(group) => ids.push(group.id.as_str().into()),
                None if self.check => ids.push(LATER.into()),
                None => return Err(refused(format!("{vpc} has no security group named `{name}`"))),
            }
        }
        args.insert("security_group_ids".to_owned(), ids.into());
        Ok(())
    }

    async fn network_of(&self, balancer: &str) -> Result<String, CloudFault> {
        let unknown =
            || refused("`security_group_names` needs `subnets`, which say in what VPC the groups are");
        let all = self.look(Kind::ClassicElb, &[]).await?;
        let found = all.into_iter().find(|f| f.id == balancer).ok_or_else(unknown)?;
        found.result.get("vpc_id").and_then(Json::as_str).map(ToOwned::to_owned).ok_or_else(unknown)
    }
}

/// Lists that a task need not give in full: `(option, complete)`.
pub(super) fn purged(kind: Kind, args: &mut Options) -> Vec<(&'static str, bool)> {
    let all: &[(&str, &'static str, bool)] = match kind {
        Kind::SecurityGroup => {
            &[("purge_rules", "rules", true), ("purge_rules_egress", "rules_egress", true)]
        }
        Kind::RouteTable => &[("purge_routes", "routes", true), ("purge_subnets", "subnets", true)],
        Kind::ClassicElb => &[
            ("purge_instance_ids", "instance_ids", false),
            ("purge_listeners", "listeners", true),
            ("purge_subnets", "subnets", false),
        ],
        _ => &[],
    };
    all.iter().map(|(option, list, usual)| (*list, flag(args, option, *usual))).collect()
}

/// What is there stays, and what isn't comes.
pub(super) fn joined(known: &mut Options, found: &Found, list: &str) {
    let Some(Json::Array(wanted)) = known.get(list) else { return };
    let mut all = found.state.get(list).and_then(Json::as_array).cloned().unwrap_or_default();
    for one in wanted {
        // Of a port there is one listener: the task's.
        if let Some(port) = one.get("load_balancer_port") {
            all.retain(|other| other.get("load_balancer_port") != Some(port));
        }
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
    all.sort_by_key(|one| match one.get("load_balancer_port").and_then(Json::as_i64) {
        Some(port) => format!("{port:05}"),
        None => one.to_string(),
    });
    known.insert(list.to_owned(), all.into());
}
