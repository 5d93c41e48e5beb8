//! Roles and instance profiles as ordinary tasks: `iam_role`, `iam_instance_profile` and their `_info`.
//!
//! Owns: what these modules compare and give. Must not: touch the paths below which infrastructure plays keep their roles, but
//! where a task names one of them.

use serde_json::{Value as Json, json};

use super::iam_role::{ask, decoded, maybe, tag_pairs};
use super::policies;
use super::task::{LATER, Task, flag, given_tags, refused, strings, take};
use super::text;
use super::waiting::{Patience, until};
use super::wire::{blocks, first, texts};
use crate::infra::cloud::Options;
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::Tags;

/// A role as it is.
#[derive(Debug, Default)]
struct Role {
    name: String,
    path: String,
    id: String,
    arn: String,
    created: String,
    trust: Json,
    description: String,
    session: i64,
    boundary: Option<String>,
    /// ARN and name.
    attached: Vec<(String, String)>,
    inline: Vec<String>,
    profiles: Vec<String>,
    tags: Tags,
}

/// A profile as it is.
#[derive(Debug, Default)]
struct Profile {
    xml: String,
    name: String,
    roles: Vec<String>,
    tags: Tags,
}

type Pairs = Vec<(String, String)>;

fn pair(key: &str, value: impl Into<String>) -> (String, String) {
    (key.to_owned(), value.into())
}

fn members(key: &str, all: impl Iterator<Item = String>) -> Pairs {
    all.enumerate().map(|(at, value)| (format!("{key}.member.{}", at + 1), value)).collect()
}

fn borrowed(pairs: &Pairs) -> Vec<(&str, &str)> {
    pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

fn tags_of(xml: &str) -> Tags {
    texts(xml, "Key").into_iter().zip(texts(xml, "Value")).collect()
}

/// Tags to set and keys to remove; marks of infrastructure plays stay.
fn tag_changes(now: &Tags, wanted: Option<&Tags>, purge: bool) -> (Tags, Vec<String>) {
    let Some(wanted) = wanted else { return (Tags::new(), Vec::new()) };
    let set = wanted.iter().filter(|(k, v)| now.get(*k) != Some(v));
    let gone = now.keys().filter(|k| purge && !wanted.contains_key(*k) && !k.starts_with("dcos-play:"));
    (set.map(|(k, v)| (k.clone(), v.clone())).collect(), gone.cloned().collect())
}

/// The module's value under its own key, with `changed` beside it.
fn under(key: &str, value: Json, changed: bool) -> Options {
    Options::from_iter([("changed".to_owned(), changed.into()), (key.to_owned(), value)])
}

impl Role {
    fn shown(&self) -> Json {
        let attached: Vec<Json> =
            self.attached.iter().map(|(arn, name)| json!({"policy_arn": arn, "policy_name": name})).collect();
        json!({
            "role_name": self.name,
            "name": self.name,
            "path": self.path,
            "role_id": self.id,
            "arn": self.arn,
            "create_date": self.created,
            "assume_role_policy_document": self.trust,
            "description": self.description,
            "max_session_duration": self.session,
            "permissions_boundary": self.boundary,
            "attached_policies": attached,
            "inline_policies": self.inline,
            "instance_profiles": self.profiles,
            "tags": self.tags,
        })
    }
}

impl Profile {
    fn shown(&self) -> Json {
        // The roles in it have paths and dates of their own.
        let inner = blocks(&self.xml, "Roles").first().copied().unwrap_or_default();
        let own = if inner.is_empty() { self.xml.clone() } else { self.xml.replacen(inner, "", 1) };
        let roles: Vec<Json> = blocks(inner, "RoleName")
            .into_iter()
            .zip(texts(inner, "Arn"))
            .map(|(name, arn)| json!({"role_name": name, "arn": arn}))
            .collect();
        json!({
            "instance_profile_name": self.name,
            "instance_profile_id": first(&own, "InstanceProfileId"),
            "arn": first(&own, "Arn"),
            "path": first(&own, "Path"),
            "create_date": first(&own, "CreateDate"),
            "roles": roles,
            "tags": self.tags,
        })
    }
}

impl Task<'_> {
    async fn iam(&self, call: &'static str, pairs: &Pairs) -> Result<String, CloudFault> {
        ask(&self.account.clients, call, &borrowed(pairs)).await.map(|reply| reply.body)
    }

    async fn iam_maybe(
        &self,
        call: &'static str,
        pairs: &[(&str, &str)],
    ) -> Result<Option<String>, CloudFault> {
        Ok(maybe(&self.account.clients, call, pairs).await?.map(|reply| reply.body))
    }

    async fn read_role(&self, name: &str) -> Result<Option<Role>, CloudFault> {
        let key = [("RoleName", name)];
        let Some(about) = self.iam_maybe("iam:GetRole", &key).await? else { return Ok(None) };
        let part = |name: &str| first(&about, name).unwrap_or_default();
        let boundary =
            blocks(&about, "PermissionsBoundary").first().and_then(|b| first(b, "PermissionsBoundaryArn"));
        let list = async |call| Ok::<_, CloudFault>(self.iam_maybe(call, &key).await?.unwrap_or_default());
        let attached = list("iam:ListAttachedRolePolicies").await?;
        let tags = list("iam:ListRoleTags").await?;
        let inline = list("iam:ListRolePolicies").await?;
        let profiles = list("iam:ListInstanceProfilesForRole").await?;
        let mut attached: Vec<(String, String)> =
            texts(&attached, "PolicyArn").into_iter().zip(texts(&attached, "PolicyName")).collect();
        attached.sort();
        Ok(Some(Role {
            name: name.to_owned(),
            path: part("Path"),
            id: part("RoleId"),
            arn: part("Arn"),
            created: part("CreateDate"),
            trust: decoded(&part("AssumeRolePolicyDocument")),
            description: part("Description"),
            session: part("MaxSessionDuration").parse().unwrap_or(3600),
            boundary,
            attached,
            inline: texts(&inline, "member"),
            profiles: texts(&profiles, "InstanceProfileName"),
            tags: tags_of(&tags),
        }))
    }

    /// As [`Task::read_role`], for one that was just made: IAM takes a moment to show it everywhere.
    async fn role_in_sight(&self, name: &str) -> Result<Role, CloudFault> {
        until(Patience::MOMENTS, "iam:GetRole", &format!("the role {name} to be seen"), || {
            self.read_role(name)
        })
        .await
    }

    /// Policies are named by their ARN or their name.
    async fn policy_arns(&self, written: &[String]) -> Result<Vec<String>, CloudFault> {
        let mut known: Vec<(String, String)> = Vec::new();
        let mut marker: Option<String> = None;
        if written.iter().any(|w| !w.starts_with("arn:")) {
            loop {
                let mut pairs = vec![pair("Scope", "All"), pair("MaxItems", "1000")];
                pairs.extend(marker.take().map(|m| pair("Marker", m)));
                let page = self.iam("iam:ListPolicies", &pairs).await?;
                known.extend(texts(&page, "PolicyName").into_iter().zip(texts(&page, "Arn")));
                marker = first(&page, "Marker").filter(|m| !m.is_empty());
                if marker.is_none() {
                    break;
                }
            }
        }
        let arn = |name: &String| match known.iter().find(|(known, _)| known == name) {
            _ if name.starts_with("arn:") => Ok(name.clone()),
            Some((_, arn)) => Ok(arn.clone()),
            None => Err(refused(format!("there is no policy named `{name}`"))),
        };
        written.iter().map(arn).collect()
    }

    /// `iam_role`.
    pub(super) async fn role(&self, mut args: Options) -> Result<Options, CloudFault> {
        let name = text(&args, "name")?.to_owned();
        let there = self.read_role(&name).await?;
        if take(&mut args, "state").as_deref() == Some("absent") {
            return self.role_away(there, flag(&mut args, "delete_instance_profile", false)).await;
        }
        let purge = flag(&mut args, "purge_policies", true);
        let purge_tags = flag(&mut args, "purge_tags", true);
        let profile = flag(&mut args, "create_instance_profile", true);
        let tags = given_tags(args.get("tags"));
        let trust = args.get("assume_role_policy_document").filter(|t| !t.is_null());
        let trust = trust.map(|t| policies::read("assume_role_policy_document", t)).transpose()?;
        let managed = match args.get("managed_policies").filter(|m| !m.is_null()) {
            Some(given) => Some(self.policy_arns(&strings(Some(given))).await?),
            None => None,
        };
        let session = args.get("max_session_duration").and_then(Json::as_i64);
        let (description, boundary) = (take(&mut args, "description"), take(&mut args, "boundary"));
        let path = take(&mut args, "path");
        let mut changed = false;
        let role = match there {
            Some(role) => role,
            None => {
                let Some(trust) = &trust else {
                    return Err(refused(format!(
                        "there is no role `{name}`: give `assume_role_policy_document` to make it"
                    )));
                };
                if self.check {
                    let path = path.unwrap_or_else(|| "/".to_owned());
                    let later =
                        Role { name, path, arn: LATER.to_owned(), id: LATER.to_owned(), ..Role::default() };
                    return Ok(under("iam_role", later.shown(), true));
                }
                let mut pairs =
                    vec![pair("RoleName", &*name), pair("AssumeRolePolicyDocument", trust.to_string())];
                pairs.extend(path.as_ref().map(|p| pair("Path", &**p)));
                pairs.extend(description.as_ref().map(|d| pair("Description", &**d)));
                pairs.extend(session.map(|s| pair("MaxSessionDuration", s.to_string())));
                pairs.extend(boundary.as_ref().map(|b| pair("PermissionsBoundary", &**b)));
                pairs.extend(tags.as_ref().map(tag_pairs).unwrap_or_default());
                match self.iam("iam:CreateRole", &pairs).await {
                    // The reply to the first try was lost.
                    Err(fault) if fault.class == Class::Exists => {}
                    end => drop(end?),
                }
                changed = true;
                self.role_in_sight(&name).await?
            }
        };
        let mut warnings = Vec::new();
        if let Some(path) = path.filter(|p| *p != role.path) {
            warnings.push(format!(
                "`path` of the role {name} cannot be changed to {path}: it stays {}",
                role.path
            ));
        }
        let mut due = Self::role_changes(&role, (trust, managed, purge), (description, session, boundary));

        let (set, gone) = tag_changes(&role.tags, tags.as_ref(), purge_tags);
        if !gone.is_empty() {
            due.push(("iam:UntagRole", members("TagKeys", gone.into_iter())));
        }
        if !set.is_empty() {
            due.push(("iam:TagRole", tag_pairs(&set)));
        }
        changed |= !due.is_empty();
        if !self.check {
            for (call, mut pairs) in due {
                pairs.push(pair("RoleName", &*name));
                self.iam(call, &pairs).await?;
            }
        }
        if profile && !role.profiles.contains(&name) {
            changed = true;
            if !self.check {
                self.hold(&name, &name, &role.path, &Tags::new()).await?;
            }
        }
        let now = if changed && !self.check { self.read_role(&name).await?.unwrap_or(role) } else { role };
        let mut result = under("iam_role", now.shown(), changed);
        if !warnings.is_empty() {
            result.insert("warnings".to_owned(), json!(warnings));
        }
        Ok(result)
    }

    fn role_changes(
        role: &Role,
        (trust, managed, purge): (Option<Json>, Option<Vec<String>>, bool),
        (description, session, boundary): (Option<String>, Option<i64>, Option<String>),
    ) -> Vec<(&'static str, Pairs)> {
        let mut due = Vec::new();
        if let Some(trust) = trust.filter(|t| !policies::same(t, &role.trust)) {
            due.push(("iam:UpdateAssumeRolePolicy", vec![pair("PolicyDocument", trust.to_string())]));
        }
        let text = description.filter(|d| *d != role.description);
        let session = session.filter(|s| *s != role.session);
        if text.is_some() || session.is_some() {
            // What isn't sent is reset.
            let text = text.unwrap_or_else(|| role.description.clone());
            let session = session.unwrap_or(role.session).to_string();
            due.push((
                "iam:UpdateRole",
                vec![pair("Description", text), pair("MaxSessionDuration", session)],
            ));
        }
        if let Some(boundary) = boundary.filter(|b| role.boundary.as_ref() != Some(b)) {
            due.push(("iam:PutRolePermissionsBoundary", vec![pair("PermissionsBoundary", boundary)]));
        }
        if let Some(managed) = managed {
            let now = || role.attached.iter().map(|(arn, _)| arn);
            for arn in managed.iter().filter(|arn| !now().any(|n| n == *arn)) {
                due.push(("iam:AttachRolePolicy", vec![pair("PolicyArn", &**arn)]));
            }
            for arn in now().filter(|arn| purge && !managed.contains(arn)) {
                due.push(("iam:DetachRolePolicy", vec![pair("PolicyArn", &**arn)]));
            }
        }
        due
    }

    /// IAM wants it in this order: profiles, managed policies, inline policies, role.
    async fn role_away(&self, there: Option<Role>, with_profile: bool) -> Result<Options, CloudFault> {
        let Some(role) = there else { return Ok(under("iam_role", json!({}), false)) };
        if self.check {
            return Ok(under("iam_role", json!({}), true));
        }
        let name = role.name.as_str();
        for profile in &role.profiles {
            let pairs = [("InstanceProfileName", profile.as_str()), ("RoleName", name)];
            self.iam_maybe("iam:RemoveRoleFromInstanceProfile", &pairs).await?;
            if with_profile && profile == name {
                self.iam_maybe("iam:DeleteInstanceProfile", &[("InstanceProfileName", name)]).await?;
            }
        }
        for (arn, _) in &role.attached {
            self.iam_maybe("iam:DetachRolePolicy", &[("RoleName", name), ("PolicyArn", arn)]).await?;
        }
        for policy in &role.inline {
            self.iam_maybe("iam:DeleteRolePolicy", &[("RoleName", name), ("PolicyName", policy)]).await?;
        }
        self.iam_maybe("iam:DeleteRole", &[("RoleName", name)]).await?;
        Ok(under("iam_role", json!({}), true))
    }

    async fn read_profile(&self, name: &str) -> Result<Option<Profile>, CloudFault> {
        let key = [("InstanceProfileName", name)];
        let Some(xml) = self.iam_maybe("iam:GetInstanceProfile", &key).await? else { return Ok(None) };
        let inner = blocks(&xml, "Roles").first().copied().unwrap_or_default().to_owned();
        let own = if inner.is_empty() { xml.clone() } else { xml.replacen(&inner, "", 1) };
        Ok(Some(Profile {
            name: name.to_owned(),
            roles: texts(&inner, "RoleName"),
            tags: tags_of(&own),
            xml,
        }))
    }

    /// A profile of that name that holds the role, which may take the place of another one.
    async fn hold(&self, name: &str, role: &str, path: &str, tags: &Tags) -> Result<(), CloudFault> {
        let held = match self.read_profile(name).await? {
            Some(profile) => profile.roles,
            None => {
                let mut pairs = vec![pair("InstanceProfileName", name), pair("Path", path)];
                pairs.extend(tag_pairs(tags));
                match self.iam("iam:CreateInstanceProfile", &pairs).await {
                    Err(fault) if fault.class == Class::Exists => {}
                    end => drop(end?),
                }
                Vec::new()
            }
        };
        for other in held.iter().filter(|h| *h != role) {
            let pairs = [("InstanceProfileName", name), ("RoleName", other.as_str())];
            self.iam_maybe("iam:RemoveRoleFromInstanceProfile", &pairs).await?;
        }
        if role.is_empty() || held.iter().any(|h| h == role) {
            return Ok(());
        }
        let pairs = vec![pair("InstanceProfileName", name), pair("RoleName", role)];
        match self.iam("iam:AddRoleToInstanceProfile", &pairs).await {
            // A profile holds one role; after a lost reply it is this one already.
            Err(fault) if fault.code == "LimitExceeded" => {
                let held = self.read_profile(name).await?.unwrap_or_default().roles;
                if held.iter().any(|h| h == role) { Ok(()) } else { Err(fault) }
            }
            end => end.map(drop),
        }
    }

    /// `iam_instance_profile`.
    pub(super) async fn instance_profile(&self, mut args: Options) -> Result<Options, CloudFault> {
        const KEY: &str = "iam_instance_profile";
        let name = text(&args, "name")?.to_owned();
        let there = self.read_profile(&name).await?;
        if take(&mut args, "state").as_deref() == Some("absent") {
            let changed = there.is_some();
            if let Some(profile) = there.filter(|_| !self.check) {
                self.hold(&name, "", "/", &profile.tags).await?;
                self.iam_maybe("iam:DeleteInstanceProfile", &[("InstanceProfileName", &name)]).await?;
            }
            return Ok(under(KEY, json!({}), changed));
        }
        let purge = flag(&mut args, "purge_tags", true);
        let tags = given_tags(args.get("tags"));
        let role = take(&mut args, "role");
        let path = take(&mut args, "path").unwrap_or_else(|| "/".to_owned());
        let now = there.as_ref().map(|p| p.tags.clone()).unwrap_or_default();
        let (set, gone) = tag_changes(&now, tags.as_ref(), purge);
        let held = there.as_ref().is_some_and(|p| role.as_ref().is_none_or(|r| p.roles == [r.clone()]));
        let changed = there.is_none() || !held || !set.is_empty() || !gone.is_empty();
        if self.check {
            let shown =
                there.map_or_else(|| json!({"instance_profile_name": name, "arn": LATER}), |p| p.shown());
            return Ok(under(KEY, shown, changed));
        }
        if !held {
            let same = there.as_ref().and_then(|p| p.roles.first().cloned());
            let role = role.or(same).unwrap_or_default();
            self.hold(&name, &role, &path, &tags.clone().unwrap_or_default()).await?;
        }
        if there.is_some() {
            for (call, mut pairs) in [
                ("iam:UntagInstanceProfile", members("TagKeys", gone.into_iter())),
                ("iam:TagInstanceProfile", tag_pairs(&set)),
            ] {
                if !pairs.is_empty() {
                    pairs.push(pair("InstanceProfileName", &*name));
                    self.iam(call, &pairs).await?;
                }
            }
        }
        let what = format!("the profile {name} to be seen");
        let now =
            until(Patience::MOMENTS, "iam:GetInstanceProfile", &what, || self.read_profile(&name)).await?;
        Ok(under(KEY, now.shown(), changed))
    }

    /// Names of everything that a list of IAM has below a path.
    async fn iam_names(
        &self,
        call: &'static str,
        element: &str,
        path: &str,
    ) -> Result<Vec<String>, CloudFault> {
        let mut names = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let mut pairs = vec![pair("PathPrefix", path)];
            pairs.extend(marker.take().map(|m| pair("Marker", m)));
            let page = self.iam(call, &pairs).await?;
            // Roles stand inside of profiles.
            names.extend(texts(&page, element));
            marker = first(&page, "Marker").filter(|m| !m.is_empty());
            if marker.is_none() {
                return Ok(names);
            }
        }
    }

    /// `iam_role_info` and `iam_instance_profile_info`.
    pub(super) async fn iam_info(&self, profiles: bool, mut args: Options) -> Result<Options, CloudFault> {
        let path = take(&mut args, "path_prefix").unwrap_or_else(|| "/".to_owned());
        let (call, element, key) = match profiles {
            true => ("iam:ListInstanceProfiles", "InstanceProfileName", "iam_instance_profiles"),
            false => ("iam:ListRoles", "RoleName", "iam_roles"),
        };
        let names = match take(&mut args, "name") {
            Some(name) => vec![name],
            None => self.iam_names(call, element, &path).await?,
        };
        let mut all = Vec::new();
        for name in names {
            all.extend(match profiles {
                true => self.read_profile(&name).await?.map(|p| p.shown()),
                false => self.read_role(&name).await?.map(|r| r.shown()),
            });
        }
        Ok(under(key, all.into(), false))
    }
}
