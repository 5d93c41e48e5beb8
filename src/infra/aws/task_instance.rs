//! Instances as a task means them: by ids, by filters, or so many of a kind.
//!
//! Owns: `ec2_instance` and the `ec2` module of old. Must not: know how one instance is made or changed.

use futures::future::try_join_all;
use serde_json::{Value as Json, json};

use super::task::{
    Filters, Task, filter, flag, fresh_token, given_filters, given_tags, later, refused, shown, strings, take,
};
use super::text;
use crate::infra::cloud::{Cloud as _, Found, Options};
use crate::infra::differ::{Wanted, differences};
use crate::infra::fault::CloudFault;
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

/// Options that say which instances are meant and how many, taken out of the task's.
struct Meant {
    state: String,
    wait: bool,
    count: Option<usize>,
    exact: Option<usize>,
    ids: Vec<String>,
    filters: Option<Filters>,
    token: Option<String>,
    tags: Option<Tags>,
    purge_tags: bool,
    old: bool,
}

/// `count_tag`: a key, or keys with values.
fn count_tag(value: &Json) -> Result<Filters, CloudFault> {
    let key = |name: &str| filter("tag-key", name);
    let pair = |(name, value): (&String, &Json)| match value {
        Json::Null => filter(format!("tag:{name}"), ""),
        value => (format!("tag:{name}"), strings(Some(value))),
    };
    match value {
        Json::String(name) => {
            // A mapping in one word, as old playbooks write it.
            match serde_json::from_str::<Json>(&name.replace('\'', "\"")) {
                Ok(map @ Json::Object(_)) => count_tag(&map),
                _ => Ok(vec![key(name)]),
            }
        }
        Json::Object(map) => Ok(map.iter().map(pair).collect()),
        Json::Array(all) => {
            let mut filters = Filters::new();
            for one in all {
                filters.extend(count_tag(one)?);
            }
            Ok(filters)
        }
        other => Err(refused(format!("`count_tag` is a tag's key or a mapping, not `{other}`"))),
    }
}

impl Meant {
    fn take(args: &mut Options, old: bool) -> Result<Self, CloudFault> {
        let number = |args: &mut Options, name: &str| -> Result<Option<usize>, CloudFault> {
            let Some(value) = args.remove(name).filter(|v| !v.is_null()) else { return Ok(None) };
            let fits = value.as_u64().and_then(|n| usize::try_from(n).ok());
            fits.map(Some).ok_or_else(|| refused(format!("`{name}` must be a number from 0 on")))
        };
        let mut tags = given_tags(args.remove("tags").as_ref());
        if let Some(name) = take(args, "name") {
            tags.get_or_insert_default().insert("Name".to_owned(), name);
        }
        let count_tag = args.remove("count_tag").filter(|v| !v.is_null());
        let mut filters = args.remove("filters").filter(|v| !v.is_null()).map(|v| given_filters(Some(&v)));
        if let Some(value) = &count_tag {
            filters = Some(self::count_tag(value)?);
        }
        let meant = Self {
            state: take(args, "state").unwrap_or_else(|| "present".to_owned()),
            wait: flag(args, "wait", true),
            count: number(args, "count")?,
            exact: number(args, "exact_count")?,
            ids: strings(args.remove("instance_ids").as_ref()),
            filters,
            token: take(args, "client_token"),
            tags,
            purge_tags: flag(args, "purge_tags", false),
            old,
        };
        for ignored in ["wait_timeout", "zone"] {
            args.remove(ignored);
        }
        match () {
            () if meant.count.is_some() && meant.exact.is_some() => {
                Err(refused("`count` and `exact_count` exclude each other"))
            }
            () if old && meant.exact.is_some() && meant.filters.is_none() => {
                Err(refused("`exact_count` needs `count_tag`: which instances are counted"))
            }
            () => Ok(meant),
        }
    }

    /// The filters that find them; `None` when a task says nothing that tells them from others.
    fn filters(&self, args: &Options) -> Option<Filters> {
        if !self.ids.is_empty() {
            return Some(vec![("instance-id".to_owned(), self.ids.clone())]);
        }
        let named = |tags: &Tags| -> Filters {
            match tags.get("Name") {
                Some(name) => vec![filter("tag:Name", name)],
                None => tags.iter().map(|(k, v)| filter(format!("tag:{k}"), v)).collect(),
            }
        };
        let given = self.filters.is_some();
        let mut filters = match (&self.filters, &self.tags) {
            (Some(filters), _) => filters.clone(),
            (None, Some(tags)) if !self.old => named(tags),
            _ => Vec::new(),
        };
        if filters.is_empty() {
            return None;
        }
        // Filters that were given say all; others narrow by where and of what.
        let of = |name: &str| args.get(name).and_then(Json::as_str).map(ToOwned::to_owned);
        if (!given || self.old)
            && let Some(subnet) = of("vpc_subnet_id")
        {
            filters.push(filter("subnet-id", subnet));
        }
        if !given && let Some(image) = of("image_id") {
            filters.push(filter("image-id", image));
        }
        Some(filters)
    }
}

impl Task<'_> {
    pub(super) async fn instances(&self, mut args: Options, old: bool) -> Result<Options, CloudFault> {
        let meant = Meant::take(&mut args, old)?;
        if let Some(image) = args.remove("image").filter(|v| !v.is_null()) {
            let id = image.get("id").or(Some(&image)).and_then(Json::as_str);
            let id = id.ok_or_else(|| refused("`image` is a mapping with `id`, or an id"))?;
            args.insert("image_id".to_owned(), id.into());
        }
        if let Some(Json::Object(network)) = args.remove("network") {
            for (key, name) in [
                ("assign_public_ip", "assign_public_ip"),
                ("private_ip_address", "private_ip_address"),
                ("source_dest_check", "source_dest_check"),
                ("groups", "security_groups"),
            ] {
                if let Some(value) = network.get(key) {
                    args.entry(name).or_insert_with(|| value.clone());
                }
            }
            let strange = network.keys().find(|k| {
                !["assign_public_ip", "private_ip_address", "source_dest_check", "groups"]
                    .contains(&k.as_str())
            });
            if let Some(strange) = strange {
                return Err(refused(format!("`network` with `{strange}` is not supported")));
            }
        }
        if old && let Some(more) = args.remove("group_id") {
            let mut all = strings(args.remove("security_groups").as_ref());
            all.extend(strings(Some(&more)));
            args.insert("security_groups".to_owned(), all.into());
        }
        let filters = meant.filters(&args);
        let mut there = match &filters {
            Some(filters) => self.look(Kind::Instance, filters).await?,
            None => Vec::new(),
        };
        there.sort_by(|a, b| a.id.cmp(&b.id));
        match meant.state.as_str() {
            "absent" | "terminated" => {
                if filters.is_none() {
                    return Err(refused("say which instances: `instance_ids`, `filters`, `name` or `tags`"));
                }
                self.terminate(&meant, there).await
            }
            "stopped" | "restarted" | "rebooted" if filters.is_none() => {
                Err(refused("say which instances: `instance_ids`, `filters`, `name` or `tags`"))
            }
            // An old task with ids is about their state alone.
            "running" | "started" | "stopped" | "restarted" | "rebooted"
                if !there.is_empty() && meant.exact.is_none() && meant.count.is_none() =>
            {
                self.power(&meant, there).await
            }
            "stopped" | "restarted" | "rebooted" => Err(refused("there is no such instance")),
            _ if !meant.ids.is_empty() && there.is_empty() => Err(refused("there is no such instance")),
            _ => self.present(meant, args, there).await,
        }
    }

    async fn terminate(&self, meant: &Meant, there: Vec<Found>) -> Result<Options, CloudFault> {
        if !self.check {
            try_join_all(there.iter().map(|f| self.account.delete(f))).await?;
        }
        let ids: Vec<&str> = there.iter().map(|f| f.id.as_str()).collect();
        let mut result = instances(meant, &there, &there);
        result.insert("changed".to_owned(), (!there.is_empty()).into());
        result.insert("terminated_ids".to_owned(), json!(ids));
        Ok(result)
    }

    async fn power(&self, meant: &Meant, there: Vec<Found>) -> Result<Options, CloudFault> {
        let is = |found: &Found| {
            found.result.get("state").and_then(|s| s.get("name")?.as_str()).map(ToOwned::to_owned)
        };
        let wanted = match meant.state.as_str() {
            "started" => "running",
            other => other,
        };
        let (open, fine): (Vec<Found>, Vec<Found>) =
            there.into_iter().partition(|f| is(f).as_deref() != Some(wanted));
        let set = Options::from_iter([("power".to_owned(), wanted.into())]);
        let names = ["power".to_owned()];
        let now = match self.check {
            true => open.clone(),
            false => try_join_all(open.iter().map(|f| self.account.update(f, &f.tags, &set, &names))).await?,
        };
        let changed = !now.is_empty();
        let all: Vec<Found> = fine.into_iter().chain(now.iter().cloned()).collect();
        let mut result = instances(meant, &all, &now);
        result.insert("changed".to_owned(), changed.into());
        Ok(result)
    }

    async fn present(
        &self,
        meant: Meant,
        mut args: Options,
        there: Vec<Found>,
    ) -> Result<Options, CloudFault> {
        let have = there.len();
        let more = match (meant.exact, meant.count) {
            (Some(exact), _) => exact.saturating_sub(have),
            (None, Some(count)) => count,
            // The old module launches one each time, unless its token says that it did.
            (None, None) if meant.old => 1,
            (None, None) => usize::from(have == 0),
        };
        if let Some(exact) = meant.exact.filter(|exact| *exact < have) {
            let mut all = there;
            if !meant.old {
                let age =
                    |f: &Found| f.result.get("launch_time").and_then(Json::as_str).map(ToOwned::to_owned);
                all.sort_by_key(|f| (age(f), f.id.clone()));
            }
            let stay = all.split_off(have - exact);
            let mut result = self.terminate(&meant, all.clone()).await?;
            if !meant.old {
                result.extend(instances(&meant, &stay, &all));
            }
            result.insert("tagged_instances".to_owned(), stay.iter().map(|f| told(&meant, f)).collect());
            return Ok(result);
        }
        if more > 0 {
            if self.check {
                let tags = meant.tags.clone().unwrap_or_default();
                let made = vec![later(Kind::Instance, args, tags); more];
                let all: Vec<Found> = there.into_iter().chain(made.iter().cloned()).collect();
                let mut result = instances(&meant, &all, &made);
                result.insert("changed".to_owned(), true.into());
                return Ok(result);
            }
            self.place(&mut args).await?;
        }
        let nobody = Identity::default();
        self.groups(&mut args, there.first()).await?;
        let known = self.account.normal(Kind::Instance, &nobody, args)?;
        let tags = meant.tags.clone().unwrap_or_default();
        let made = try_join_all((0..more).map(|index| self.launch(&meant, &tags, &known, index))).await?;
        // What is there is brought to what the task says, but not by a task that only adds.
        let (mut now, mut changed, mut open, mut warnings) =
            (Vec::new(), made.clone(), Vec::new(), Vec::new());
        for found in there {
            if meant.old || meant.count.is_some() {
                now.push(found);
                continue;
            }
            let mut known = known.clone();
            if meant.state == "present" || !meant.wait {
                known.remove("wait");
            }
            let (found, differs, differences, told) =
                self.converge(&found, known, meant.tags.clone(), meant.purge_tags).await?;
            open.extend(differences);
            warnings.extend(told);
            if differs {
                changed.push(found.clone());
            }
            now.push(found);
        }
        now.extend(made);
        now.sort_by(|a, b| a.id.cmp(&b.id));
        let mut result = instances(&meant, &now, &changed);
        result.insert("changed".to_owned(), (!changed.is_empty()).into());
        if !open.is_empty() {
            result.insert("diff".to_owned(), shown(&open));
        }
        if !warnings.is_empty() {
            result.insert("warnings".to_owned(), warnings.into());
        }
        Ok(result)
    }

    async fn launch(
        &self,
        meant: &Meant,
        tags: &Tags,
        known: &Options,
        index: usize,
    ) -> Result<Found, CloudFault> {
        let nobody = Identity::default();
        let mut options = known.clone();
        let token = meant.token.as_ref().map_or_else(fresh_token, |t| format!("{t}-{index}"));
        options.insert("client_token".to_owned(), token.into());
        let made = self.account.create(Kind::Instance, &nobody, tags, &options).await?;
        let mut wanted = Wanted { known: known.clone(), tags: tags.clone(), ..Wanted::default() };
        if !meant.wait {
            wanted.known.remove("wait");
        }
        let open: Vec<String> = differences(Kind::Instance, &made, &wanted)
            .into_iter()
            .filter(|d| !d.replaces)
            .map(|d| d.option)
            .collect();
        if open.is_empty() {
            return Ok(made);
        }
        self.account.update(&made, tags, &wanted.known, &open).await
    }

    /// Without a subnet it is the default one, as AWS would take it.
    async fn place(&self, args: &mut Options) -> Result<(), CloudFault> {
        for needed in ["image_id", "instance_type"] {
            text(args, needed)?;
        }
        if args.get("vpc_subnet_id").is_none_or(Json::is_null) {
            let mut usual = self.look(Kind::Subnet, &[filter("default-for-az", "true")]).await?;
            usual.sort_by(|a, b| a.id.cmp(&b.id));
            let usual = usual
                .first()
                .ok_or_else(|| refused("`vpc_subnet_id` is missing, and there is no default subnet"))?;
            args.insert("vpc_subnet_id".to_owned(), usual.id.as_str().into());
        }
        Ok(())
    }

    /// Groups by their names become groups by their ids.
    async fn groups(&self, args: &mut Options, there: Option<&Found>) -> Result<(), CloudFault> {
        let mut all = strings(args.get("security_groups"));
        if all.iter().all(|g| g.starts_with("sg-")) {
            return Ok(());
        }
        let mut vpc =
            there.and_then(|f| f.result.get("vpc_id")).and_then(Json::as_str).map(ToOwned::to_owned);
        if let Some(subnet) = args.get("vpc_subnet_id").and_then(Json::as_str) {
            let subnet = self.look(Kind::Subnet, &[filter("subnet-id", subnet)]).await?;
            vpc = subnet
                .first()
                .and_then(|f| f.state.get("vpc_id"))
                .and_then(Json::as_str)
                .map(ToOwned::to_owned);
        }
        let vpc = vpc.ok_or_else(|| refused("groups by name need `vpc_subnet_id`"))?;
        let known = self.look(Kind::SecurityGroup, &[filter("vpc-id", vpc)]).await?;
        for group in all.iter_mut().filter(|g| !g.starts_with("sg-")) {
            let named = |f: &&Found| f.state.get("name").and_then(Json::as_str) == Some(group);
            let id = known.iter().find(named).map(|f| f.id.clone());
            *group = id.ok_or_else(|| refused(format!("there is no security group `{group}`")))?;
        }
        args.insert("security_groups".to_owned(), all.into());
        Ok(())
    }
}

/// One instance as the module tells it.
fn told(meant: &Meant, found: &Found) -> Json {
    let mut all = found.result.clone();
    if meant.old {
        let get = |name: &str| found.result.get(name).cloned().unwrap_or(Json::Null);
        let state = get("state");
        let zone = get("placement").get("availability_zone").cloned().unwrap_or(Json::Null);
        let region = zone.as_str().map(|z| z.trim_end_matches(|c: char| c.is_ascii_lowercase()).to_owned());
        let groups = get("security_groups");
        let groups =
            groups.as_array().into_iter().flatten().filter_map(|g| {
                Some((g.get("group_id")?.as_str()?.to_owned(), g.get("group_name")?.clone()))
            });
        all.extend([
            ("private_ip".to_owned(), get("private_ip_address")),
            ("public_ip".to_owned(), get("public_ip_address")),
            ("dns_name".to_owned(), get("public_dns_name")),
            ("groups".to_owned(), Json::Object(groups.collect())),
            ("state_code".to_owned(), state.get("code").cloned().unwrap_or(Json::Null)),
            ("state".to_owned(), state.get("name").cloned().unwrap_or(Json::Null)),
            ("placement".to_owned(), zone),
            ("region".to_owned(), region.into()),
        ]);
    }
    Json::Object(all)
}

fn instances(meant: &Meant, all: &[Found], changed: &[Found]) -> Options {
    // The old module told what it changed, and all that it counted apart from that.
    let main = if meant.old { changed } else { all };
    let ids = |of: &[Found]| Json::Array(of.iter().map(|f| f.id.as_str().into()).collect());
    let list = |of: &[Found]| Json::Array(of.iter().map(|f| told(meant, f)).collect());
    let mut result = Options::from_iter([
        ("instances".to_owned(), list(main)),
        ("instance_ids".to_owned(), ids(main)),
        ("changed_ids".to_owned(), ids(changed)),
    ]);
    if meant.old {
        result.insert("tagged_instances".to_owned(), list(all));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_tag_is_a_key_or_keys_with_values() {
        assert_eq!(count_tag(&json!("dcos_master")).unwrap(), [filter("tag-key", "dcos_master")]);
        assert_eq!(
            count_tag(&json!([{"role": "m"}, {"python": null}])).unwrap(),
            [filter("tag:role", "m"), filter("tag:python", "")]
        );
        assert!(count_tag(&json!(3)).is_err());
    }
}
