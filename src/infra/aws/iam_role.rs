//! `iam_role`: a role with its policies, and the instance profile of the same name.
//!
//! All roles of an owner live below one path, because IAM has no filters.

use serde_json::{Value as Json, json};

use super::client::Clients;
use super::wire::{Reply, Request, Service, blocks, encoded, first, send, texts};
use super::{cannot_change, refused, sorted, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{Identity, Tags};
use crate::infra::kinds::Kind;

/// The name of the one inline policy that we keep.
const POLICY: &str = "dcos-play";

fn path_of(owner: &str) -> String {
    format!("/dcos-play/{owner}/")
}

pub(super) fn normal(identity: &Identity, options: &mut Options) -> Result<(), CloudFault> {
    let made = || format!("{}-{}", identity.owner, identity.resource).into();
    let name = options.entry("name").or_insert_with(made).as_str().unwrap_or_default().to_owned();
    let fine = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        return Err(refused(format!(
            "`{name}` is no name for a role: 1 to 64 letters, digits and `+=,.@-_`"
        )));
    }
    let ec2 = || {
        json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ]})
    };
    options.entry("assume_role_policy_document").or_insert_with(ec2);
    for option in ["assume_role_policy_document", "policy_json"] {
        super::document(options, option)?;
    }
    sorted(options, "managed_policies");
    for policy in options.get("managed_policies").and_then(Json::as_array).into_iter().flatten() {
        let arn = policy.as_str().unwrap_or_default();
        if !arn.starts_with("arn:") {
            return Err(refused(format!(
                "`managed_policies` are ARNs such as `arn:aws:iam::aws:policy/...`, not `{arn}`"
            )));
        }
    }
    options.entry("create_instance_profile").or_insert(true.into());
    Ok(())
}

pub(super) async fn ask(
    clients: &Clients,
    call: &'static str,
    pairs: &[(&str, &str)],
) -> Result<Reply, CloudFault> {
    let action = call.trim_start_matches("iam:");
    let mut body = format!("Action={action}&Version=2010-05-08");
    for (key, value) in pairs {
        body.push_str(&format!("&{}={}", encoded(key), encoded(value)));
    }
    send(
        clients,
        &Request { service: Service::Iam, call, method: "POST", path: "/", query: &[], headers: &[], body },
    )
    .await
}

/// As [`ask`], where what isn't there is an answer too.
pub(super) async fn maybe(
    clients: &Clients,
    call: &'static str,
    pairs: &[(&str, &str)],
) -> Result<Option<Reply>, CloudFault> {
    match ask(clients, call, pairs).await {
        Ok(reply) => Ok(Some(reply)),
        Err(fault) if fault.class == Class::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

pub(super) async fn find(clients: &Clients, owner: &str) -> Result<Vec<Found>, CloudFault> {
    let path = path_of(owner);
    let mut names = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let mut pairs = vec![("PathPrefix", path.as_str())];
        if let Some(marker) = &marker {
            pairs.push(("Marker", marker));
        }
        let page = ask(clients, "iam:ListRoles", &pairs).await?.body;
        names.extend(texts(&page, "RoleName"));
        marker = first(&page, "Marker").filter(|m| !m.is_empty());
        if marker.is_none() {
            break;
        }
    }
    let mut all = Vec::new();
    for name in names {
        all.extend(read(clients, &name).await?);
    }
    Ok(all)
}

/// A document that IAM sends in percent form.
pub(super) fn decoded(text: &str) -> Json {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match hex.filter(|_| *byte == b'%') {
            Some(code) => {
                out.push(code);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    serde_json::from_slice(&out).unwrap_or(Json::Null)
}

async fn read(clients: &Clients, name: &str) -> Result<Option<Found>, CloudFault> {
    let role = [("RoleName", name)];
    let Some(about) = maybe(clients, "iam:GetRole", &role).await? else { return Ok(None) };
    let Some(tagged) = maybe(clients, "iam:ListRoleTags", &role).await? else { return Ok(None) };
    let tags: Tags = texts(&tagged.body, "Key").into_iter().zip(texts(&tagged.body, "Value")).collect();
    let Some(identity) = Identity::of_tags(&tags) else { return Ok(None) };
    let Some(attached) = maybe(clients, "iam:ListAttachedRolePolicies", &role).await? else {
        return Ok(None);
    };
    let mut managed = texts(&attached.body, "PolicyArn");
    managed.sort();
    let inline = maybe(clients, "iam:GetRolePolicy", &[("RoleName", name), ("PolicyName", POLICY)]).await?;
    let profile = maybe(clients, "iam:GetInstanceProfile", &[("InstanceProfileName", name)]).await?;
    let held = profile.is_some_and(|p| texts(&p.body, "RoleName").iter().any(|r| r == name));
    let trust = first(&about.body, "AssumeRolePolicyDocument").unwrap_or_default();
    let mut state = Options::new();
    state.insert("name".to_owned(), name.into());
    state.insert("assume_role_policy_document".to_owned(), decoded(&trust));
    state.insert("managed_policies".to_owned(), managed.into());
    state.insert("create_instance_profile".to_owned(), held.into());
    if let Some(document) = inline.and_then(|p| first(&p.body, "PolicyDocument")) {
        state.insert("policy_json".to_owned(), decoded(&document));
    }
    let arn = first(&about.body, "Arn");
    let result = json!({
        "id": name,
        "name": name,
        "arn": arn,
        "iam_role": {"arn": arn, "role_name": name, "role_id": first(&about.body, "RoleId")},
        "instance_profile": name,
        "tags": tags,
    });
    let Json::Object(result) = result else { return Ok(None) };
    Ok(Some(Found { kind: Kind::Role, id: name.to_owned(), identity, tags, state, result }))
}

pub(super) fn tag_pairs(tags: &Tags) -> Vec<(String, String)> {
    tags.iter()
        .enumerate()
        .flat_map(|(at, (key, value))| {
            let at = at + 1;
            [
                (format!("Tags.member.{at}.Key"), key.clone()),
                (format!("Tags.member.{at}.Value"), value.clone()),
            ]
        })
        .collect()
}

pub(super) async fn create(
    clients: &Clients,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
) -> Result<Found, CloudFault> {
    const CALL: &str = "iam:CreateRole";
    let name = text(wanted, "name")?;
    let trust = wanted.get("assume_role_policy_document").map(Json::to_string).unwrap_or_default();
    let path = path_of(&identity.owner);
    let tagged = tag_pairs(tags);
    let mut pairs = vec![("RoleName", name), ("Path", &path), ("AssumeRolePolicyDocument", &trust)];
    pairs.extend(tagged.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    ask(clients, CALL, &pairs).await?;
    let missing = || CloudFault {
        class: Class::Transient,
        call: CALL,
        code: String::new(),
        message: format!("the role {name} is not in sight yet"),
    };
    read(clients, name).await?.filter(|f| f.identity == *identity).ok_or_else(missing)
}

pub(super) async fn retag(clients: &Clients, found: &Found, tags: &Tags) -> Result<(), CloudFault> {
    let gone: Vec<(String, String)> = found
        .tags
        .keys()
        .filter(|k| !tags.contains_key(*k))
        .enumerate()
        .map(|(at, key)| (format!("TagKeys.member.{}", at + 1), key.clone()))
        .collect();
    let name = [("RoleName", found.id.as_str())];
    let with = |more: &[(String, String)]| -> Vec<(String, String)> {
        name.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).chain(more.iter().cloned()).collect()
    };
    for (call, pairs) in [("iam:UntagRole", gone), ("iam:TagRole", tag_pairs(tags))] {
        if !pairs.is_empty() {
            let all = with(&pairs);
            let all: Vec<(&str, &str)> = all.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            ask(clients, call, &all).await?;
        }
    }
    Ok(())
}

fn strings(value: Option<&Json>) -> Vec<&str> {
    value.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
}

pub(super) async fn set(
    clients: &Clients,
    found: &Found,
    option: &str,
    value: &Json,
) -> Result<(), CloudFault> {
    let name = found.id.as_str();
    match option {
        "assume_role_policy_document" => {
            let document = value.to_string();
            let pairs = [("RoleName", name), ("PolicyDocument", &document)];
            ask(clients, "iam:UpdateAssumeRolePolicy", &pairs).await.map(drop)
        }
        "policy_json" => {
            let document = value.to_string();
            let pairs = [("RoleName", name), ("PolicyName", POLICY), ("PolicyDocument", &document)];
            ask(clients, "iam:PutRolePolicy", &pairs).await.map(drop)
        }
        "managed_policies" => {
            let (now, wanted) = (strings(found.state.get(option)), strings(Some(value)));
            for arn in wanted.iter().filter(|a| !now.contains(a)) {
                let pairs = [("RoleName", name), ("PolicyArn", arn)];
                ask(clients, "iam:AttachRolePolicy", &pairs).await?;
            }
            for arn in now.iter().filter(|a| !wanted.contains(a)) {
                maybe(clients, "iam:DetachRolePolicy", &[("RoleName", name), ("PolicyArn", arn)]).await?;
            }
            Ok(())
        }
        "create_instance_profile" if value.as_bool() == Some(true) => profile(clients, found).await,
        "create_instance_profile" => drop_profile(clients, name).await,
        _ => Err(cannot_change(Kind::Role, option)),
    }
}

async fn profile(clients: &Clients, found: &Found) -> Result<(), CloudFault> {
    let name = found.id.as_str();
    let there = maybe(clients, "iam:GetInstanceProfile", &[("InstanceProfileName", name)]).await?;
    match there {
        None => {
            let path = path_of(&found.identity.owner);
            let tagged = tag_pairs(&found.identity.tags());
            let mut pairs = vec![("InstanceProfileName", name), ("Path", path.as_str())];
            pairs.extend(tagged.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            ask(clients, "iam:CreateInstanceProfile", &pairs).await?;
        }
        // A profile of that name that somebody else made stays as it is.
        Some(reply) if own_path(&reply.body).as_deref() != Some(&*path_of(&found.identity.owner)) => {
            return Err(CloudFault::refused(
                "iam:CreateInstanceProfile",
                format!(
                    "there is an instance profile `{name}` that isn't ours: give the role another `name`"
                ),
            ));
        }
        Some(reply) if texts(&reply.body, "RoleName").iter().any(|r| r == name) => return Ok(()),
        Some(_) => {}
    }
    let pairs = [("InstanceProfileName", name), ("RoleName", name)];
    match ask(clients, "iam:AddRoleToInstanceProfile", &pairs).await {
        // A profile holds one role; after a lost reply it is this one already.
        Err(fault) if fault.code == "LimitExceeded" => {
            let held = maybe(clients, "iam:GetInstanceProfile", &[("InstanceProfileName", name)]).await?;
            let ours = held.is_some_and(|h| texts(&h.body, "RoleName").iter().any(|r| r == name));
            if ours { Ok(()) } else { Err(fault) }
        }
        end => end.map(drop),
    }
}

/// A profile's path; the roles in it have paths as well.
fn own_path(profile: &str) -> Option<String> {
    let roles = blocks(profile, "Roles").first().copied().unwrap_or_default();
    let own = if roles.is_empty() { profile.to_owned() } else { profile.replacen(roles, "", 1) };
    first(&own, "Path")
}

async fn drop_profile(clients: &Clients, name: &str) -> Result<(), CloudFault> {
    let profile = [("InstanceProfileName", name)];
    let Some(there) = maybe(clients, "iam:GetInstanceProfile", &profile).await? else { return Ok(()) };
    if !own_path(&there.body).is_some_and(|p| p.starts_with("/dcos-play/")) {
        return Ok(());
    }
    for role in blocks(&there.body, "Roles").into_iter().flat_map(|r| texts(r, "RoleName")) {
        let pairs = [("InstanceProfileName", name), ("RoleName", role.as_str())];
        maybe(clients, "iam:RemoveRoleFromInstanceProfile", &pairs).await?;
    }
    maybe(clients, "iam:DeleteInstanceProfile", &profile).await.map(drop)
}

/// IAM wants it in this order: profile, managed policies, inline policies, role.
pub(super) async fn delete(clients: &Clients, found: &Found) -> Result<(), CloudFault> {
    let name = found.id.as_str();
    drop_profile(clients, name).await?;
    let role = [("RoleName", name)];
    if let Some(attached) = maybe(clients, "iam:ListAttachedRolePolicies", &role).await? {
        for arn in texts(&attached.body, "PolicyArn") {
            maybe(clients, "iam:DetachRolePolicy", &[("RoleName", name), ("PolicyArn", &arn)]).await?;
        }
    }
    if let Some(inline) = maybe(clients, "iam:ListRolePolicies", &role).await? {
        for policy in texts(&inline.body, "member") {
            maybe(clients, "iam:DeleteRolePolicy", &[("RoleName", name), ("PolicyName", &policy)]).await?;
        }
    }
    maybe(clients, "iam:DeleteRole", &role).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back_from_percent_form() {
        assert_eq!(decoded("%7B%22Version%22%3A%222012-10-17%22%7D"), json!({"Version": "2012-10-17"}));
    }
}
