//! `s3_bucket`: a bucket. S3 has no filters: the owner's buckets are found by the tags of all buckets in the region.

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value as Json, json};

use super::client::Clients;
use super::wire::{Reply, Request, Service, blocks, escaped, first, send};
use super::{cannot_change, text};
use crate::infra::cloud::{Found, Options};
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::{FORCE, Identity, Tags};
use crate::infra::kinds::Kind;

/// Calls at once while looking for buckets and emptying one.
const AT_ONCE: usize = 16;

pub(super) fn normal(identity: &Identity, options: &mut Options) -> Result<(), CloudFault> {
    let made = format!("{}-{}", identity.owner, identity.resource).replace('_', "-").to_lowercase();
    let name = options.get("name").and_then(Json::as_str).unwrap_or(&made).to_owned();
    check_name(&name)?;
    options.insert("name".to_owned(), name.into());
    super::document(options, "policy")
}

/// Names are part of addresses on the web.
pub(super) fn check_name(name: &str) -> Result<(), CloudFault> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !(3..=63).contains(&name.len())
        || !name.chars().all(fine)
        || !ends(name.chars().next())
        || !ends(name.chars().last())
        || name.contains("..")
    {
        return Err(CloudFault::refused(
            "plan",
            format!("`{name}` is no name for a bucket: 3 to 63 lower-case letters, digits and hyphens"),
        ));
    }
    Ok(())
}

pub(super) struct Asked<'a> {
    pub(super) call: &'static str,
    pub(super) method: &'static str,
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: String,
}

/// Sends it; `headers` are those of Amazon's own (`x-amz-acl`).
pub(super) async fn ask(
    clients: &Clients,
    asked: Asked<'_>,
    headers: &[(&str, &str)],
) -> Result<Reply, CloudFault> {
    let Asked { call, method, path, query, body } = asked;
    send(clients, &Request { service: Service::S3, call, method, path, query, headers, body }).await
}

pub(super) async fn get(
    clients: &Clients,
    call: &'static str,
    path: &str,
    query: &[(&str, &str)],
) -> Result<Option<Reply>, CloudFault> {
    match ask(clients, Asked { call, method: "GET", path, query, body: String::new() }, &[]).await {
        Ok(reply) => Ok(Some(reply)),
        Err(fault) if gone(&fault) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn gone(fault: &CloudFault) -> bool {
    fault.class == Class::NotFound
        || matches!(
            fault.code.as_str(),
            "NoSuchTagSet"
                | "NoSuchBucketPolicy"
                | "ServerSideEncryptionConfigurationNotFoundError"
                | "NoSuchPublicAccessBlockConfiguration"
                | "OwnershipControlsNotFoundError"
        )
}

pub(super) async fn find(clients: &Clients, owner: &str) -> Result<Vec<Found>, CloudFault> {
    let Some(list) = get(clients, "s3:ListAllMyBuckets", "/", &[]).await? else { return Ok(Vec::new()) };
    let names = blocks(&list.body, "Bucket").into_iter().filter_map(|b| first(b, "Name"));
    let looks: Vec<BoxFuture<'_, _>> = names.map(|name| look(clients, name, owner).boxed()).collect();
    let ends: Vec<Result<Option<Found>, CloudFault>> =
        futures::stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
    ends.into_iter().filter_map(Result::transpose).collect()
}

async fn look(clients: &Clients, name: String, owner: &str) -> Result<Option<Found>, CloudFault> {
    match read(clients, &name, owner).await {
        // Another region's, or one that isn't ours to look at.
        Err(fault)
            if fault.is_permission()
                || matches!(fault.code.as_str(), "PermanentRedirect" | "AuthorizationHeaderMalformed") =>
        {
            Ok(None)
        }
        end => end,
    }
}

pub(super) fn tags_in(xml: &str) -> Tags {
    blocks(xml, "Tag").into_iter().filter_map(|t| Some((first(t, "Key")?, first(t, "Value")?))).collect()
}

async fn read(clients: &Clients, name: &str, owner: &str) -> Result<Option<Found>, CloudFault> {
    let path = format!("/{name}");
    let Some(tagged) = get(clients, "s3:GetBucketTagging", &path, &[("tagging", "")]).await? else {
        return Ok(None);
    };
    let tags = tags_in(&tagged.body);
    let Some(identity) = Identity::of_tags(&tags).filter(|i| i.owner == owner) else { return Ok(None) };
    let versioning = get(clients, "s3:GetBucketVersioning", &path, &[("versioning", "")]).await?;
    let policy = get(clients, "s3:GetBucketPolicy", &path, &[("policy", "")]).await?;
    let kept = versioning.and_then(|v| first(&v.body, "Status")).is_some_and(|s| s == "Enabled");
    let mut state = Options::new();
    state.insert("name".to_owned(), name.into());
    state.insert("versioning".to_owned(), kept.into());
    if let Some(policy) = policy.and_then(|p| serde_json::from_str::<Json>(&p.body).ok()) {
        state.insert("policy".to_owned(), policy);
    }
    let result = json!({"id": name, "name": name, "versioning": {"Versioning": kept}, "tags": tags});
    let Json::Object(result) = result else { return Ok(None) };
    Ok(Some(Found { kind: Kind::Bucket, id: name.to_owned(), identity, tags, state, result }))
}

fn tags_xml(tags: &Tags, around: &str) -> String {
    let all: String = tags
        .iter()
        .map(|(k, v)| format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", escaped(k), escaped(v)))
        .collect();
    format!("<{around}>{all}</{around}>")
}

pub(super) const SPACE: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

pub(super) async fn create(
    clients: &Clients,
    identity: &Identity,
    tags: &Tags,
    wanted: &Options,
) -> Result<Found, CloudFault> {
    const CALL: &str = "s3:CreateBucket";
    let name = text(wanted, "name")?;
    let path = format!("/{name}");
    if there(clients, name).await? {
        if !is_bare(clients, &path).await? {
            return Err(CloudFault::refused(
                CALL,
                format!("there is a bucket `{name}` that isn't ours: give this one another `name`"),
            ));
        }
    } else {
        let place = match clients.region.as_str() {
            // The one region that has no name there.
            "us-east-1" => String::new(),
            region => format!("<LocationConstraint>{region}</LocationConstraint>"),
        };
        let body = format!(
            "<CreateBucketConfiguration {SPACE}>{place}{}</CreateBucketConfiguration>",
            tags_xml(tags, "Tags")
        );
        ask(clients, Asked { call: CALL, method: "PUT", path: &path, query: &[], body }, &[]).await?;
    }
    let made = match read(clients, name, &identity.owner).await? {
        Some(made) => Some(made),
        None => {
            put_tags(clients, &path, tags).await?;
            read(clients, name, &identity.owner).await?
        }
    };
    made.ok_or_else(|| CloudFault {
        class: Class::Transient,
        call: CALL,
        code: String::new(),
        message: format!("the bucket {name} is not in sight yet"),
    })
}

/// Without tags and without content it is what a run left that was killed between the two calls.
async fn is_bare(clients: &Clients, path: &str) -> Result<bool, CloudFault> {
    let tagged = get(clients, "s3:GetBucketTagging", path, &[("tagging", "")]).await?;
    Ok(tagged.is_none_or(|t| tags_in(&t.body).is_empty()) && empty(clients, path).await?)
}

/// A bucket of that name that a run left without its tags.
pub(super) async fn unmarked(
    clients: &Clients,
    identity: &Identity,
    name: &str,
) -> Result<Option<Found>, CloudFault> {
    match there(clients, name).await {
        Ok(true) => {}
        // Somebody else's is none of ours.
        Ok(false) => return Ok(None),
        Err(fault) if fault.class == Class::Refused => return Ok(None),
        Err(fault) => return Err(fault),
    }
    let bare = is_bare(clients, &format!("/{name}")).await?;
    Ok(bare.then(|| Found {
        kind: Kind::Bucket,
        id: name.to_owned(),
        identity: identity.clone(),
        tags: Tags::new(),
        state: Options::new(),
        result: Options::new(),
    }))
}

pub(super) async fn there(clients: &Clients, name: &str) -> Result<bool, CloudFault> {
    let path = format!("/{name}");
    let asked = Asked { call: "s3:ListBucket", method: "HEAD", path: &path, query: &[], body: String::new() };
    match ask(clients, asked, &[]).await {
        Ok(_) => Ok(true),
        Err(fault) if fault.class == Class::NotFound => Ok(false),
        Err(fault) if fault.is_permission() || fault.code == "PermanentRedirect" => Err(CloudFault::refused(
            "s3:CreateBucket",
            format!("the name `{name}` is taken: names of buckets are the whole world's; set another `name`"),
        )),
        Err(fault) => Err(fault),
    }
}

async fn empty(clients: &Clients, path: &str) -> Result<bool, CloudFault> {
    let query = [("list-type", "2"), ("max-keys", "1")];
    let list = get(clients, "s3:ListBucket", path, &query).await?;
    Ok(list.is_none_or(|l| blocks(&l.body, "Contents").is_empty()))
}

pub(super) async fn put_tags(clients: &Clients, path: &str, tags: &Tags) -> Result<(), CloudFault> {
    let body = format!("<Tagging {SPACE}>{}</Tagging>", tags_xml(tags, "TagSet"));
    let query = [("tagging", "")];
    ask(clients, Asked { call: "s3:PutBucketTagging", method: "PUT", path, query: &query, body }, &[])
        .await
        .map(drop)
}

pub(super) async fn retag(clients: &Clients, found: &Found, tags: &Tags) -> Result<(), CloudFault> {
    put_tags(clients, &format!("/{}", found.id), tags).await
}

pub(super) async fn set(
    clients: &Clients,
    found: &Found,
    option: &str,
    value: &Json,
) -> Result<(), CloudFault> {
    let path = format!("/{}", found.id);
    match option {
        "versioning" => {
            let status = if value.as_bool() == Some(true) { "Enabled" } else { "Suspended" };
            let body = format!(
                "<VersioningConfiguration {SPACE}><Status>{status}</Status></VersioningConfiguration>"
            );
            let query = [("versioning", "")];
            let call = "s3:PutBucketVersioning";
            ask(clients, Asked { call, method: "PUT", path: &path, query: &query, body }, &[]).await.map(drop)
        }
        "policy" => {
            let query = [("policy", "")];
            let call = "s3:PutBucketPolicy";
            let body = value.to_string();
            ask(clients, Asked { call, method: "PUT", path: &path, query: &query, body }, &[]).await.map(drop)
        }
        _ => Err(cannot_change(Kind::Bucket, option)),
    }
}

pub(super) async fn delete(clients: &Clients, found: &Found) -> Result<(), CloudFault> {
    let path = format!("/{}", found.id);
    if found.tags.get(FORCE).is_some_and(|v| v == "true") {
        clear(clients, &path).await?;
    }
    let asked =
        Asked { call: "s3:DeleteBucket", method: "DELETE", path: &path, query: &[], body: String::new() };
    match ask(clients, asked, &[]).await {
        Ok(_) => Ok(()),
        Err(fault) if fault.class == Class::NotFound => Ok(()),
        Err(fault) if fault.code == "BucketNotEmpty" => Err(CloudFault::refused(
            "s3:DeleteBucket",
            format!(
                "{} holds objects: empty it, or declare it with `force: true` and run once more before",
                found.id
            ),
        )),
        Err(fault) => Err(fault),
    }
}

/// Deletes all objects with all their versions.
pub(super) async fn clear(clients: &Clients, path: &str) -> Result<(), CloudFault> {
    loop {
        let Some(list) = get(clients, "s3:ListBucketVersions", path, &[("versions", "")]).await? else {
            return Ok(());
        };
        let mut all: Vec<(String, String)> = Vec::new();
        for name in ["Version", "DeleteMarker"] {
            for one in blocks(&list.body, name) {
                if let (Some(key), Some(version)) = (first(one, "Key"), first(one, "VersionId")) {
                    all.push((key, version));
                }
            }
        }
        if all.is_empty() {
            return Ok(());
        }
        let deletes: Vec<BoxFuture<'_, _>> = all
            .into_iter()
            .map(|(key, version)| delete_version(clients, format!("{path}/{key}"), version).boxed())
            .collect();
        let ends: Vec<Result<(), CloudFault>> =
            futures::stream::iter(deletes).buffer_unordered(AT_ONCE).collect().await;
        ends.into_iter().collect::<Result<(), CloudFault>>()?;
    }
}

async fn delete_version(clients: &Clients, path: String, version: String) -> Result<(), CloudFault> {
    let query = [("versionId", version.as_str())];
    let call = "s3:DeleteObjectVersion";
    match ask(clients, Asked { call, method: "DELETE", path: &path, query: &query, body: String::new() }, &[])
        .await
    {
        Err(fault) if !gone(&fault) => Err(fault),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_or_checked() {
        let identity = Identity { owner: "Prod".into(), resource: "master_state".into(), index: 0 };
        let mut options = Options::new();
        normal(&identity, &mut options).unwrap();
        assert_eq!(options["name"], "prod-master-state");
        let mut options = Options::from_iter([("name".to_owned(), "A_b".into())]);
        assert!(normal(&identity, &mut options).is_err());
    }

    #[test]
    fn tags_are_read_from_their_set() {
        let xml = "<TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value/></Tag></TagSet>";
        assert_eq!(tags_in(xml), Tags::from([("a".into(), "1".into()), ("b".into(), String::new())]));
    }
}
