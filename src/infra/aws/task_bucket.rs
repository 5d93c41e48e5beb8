//! Buckets as ordinary tasks: `s3_bucket` and `s3_bucket_info`.
//!
//! Owns: the properties that the module sets, how each is read and written. Must not: empty a bucket without `force`.

use serde_json::{Value as Json, json};

use super::policies;
use super::s3_bucket::{Asked, SPACE, ask, clear, get, put_tags, tags_in, there};
use super::task::{Task, flag, given_tags, refused, take};
use super::text;
use super::wire::{blocks, escaped, first};
use crate::infra::cloud::Options;
use crate::infra::fault::{Class, CloudFault};
use crate::infra::identity::Tags;

/// A property that is one document below the bucket.
struct Property {
    /// The module's option, and the name in its result.
    option: &'static str,
    query: &'static str,
    read: &'static str,
    write: &'static str,
    /// From the service's document to the module's value; nothing there is `None`.
    of: fn(Option<&str>) -> Json,
    /// From the module's value to the document; `None` takes it away.
    to: fn(&Json) -> Option<String>,
}

const SWITCHES: [(&str, &str); 4] = [
    ("block_public_acls", "BlockPublicAcls"),
    ("ignore_public_acls", "IgnorePublicAcls"),
    ("block_public_policy", "BlockPublicPolicy"),
    ("restrict_public_buckets", "RestrictPublicBuckets"),
];

static PROPERTIES: &[Property] = &[
    Property {
        option: "versioning",
        query: "versioning",
        read: "s3:GetBucketVersioning",
        write: "s3:PutBucketVersioning",
        of: |xml| (xml.and_then(|x| first(x, "Status")).as_deref() == Some("Enabled")).into(),
        to: |value| {
            let status = if *value == true { "Enabled" } else { "Suspended" };
            Some(format!(
                "<VersioningConfiguration {SPACE}><Status>{status}</Status></VersioningConfiguration>"
            ))
        },
    },
    Property {
        option: "requester_pays",
        query: "requestPayment",
        read: "s3:GetBucketRequestPayment",
        write: "s3:PutBucketRequestPayment",
        of: |xml| (xml.and_then(|x| first(x, "Payer")).as_deref() == Some("Requester")).into(),
        to: |value| {
            let payer = if *value == true { "Requester" } else { "BucketOwner" };
            Some(format!(
                "<RequestPaymentConfiguration {SPACE}><Payer>{payer}</Payer></RequestPaymentConfiguration>"
            ))
        },
    },
    Property {
        option: "encryption",
        query: "encryption",
        read: "s3:GetEncryptionConfiguration",
        write: "s3:PutEncryptionConfiguration",
        of: |xml| match xml.and_then(|x| Some((first(x, "SSEAlgorithm")?, first(x, "KMSMasterKeyID")))) {
            Some((kind, Some(key))) => json!({"SSEAlgorithm": kind, "KMSMasterKeyID": key}),
            Some((kind, None)) => json!({"SSEAlgorithm": kind}),
            None => Json::Null,
        },
        to: |value| {
            let kind = value.get("SSEAlgorithm")?.as_str()?;
            let key = value.get("KMSMasterKeyID").and_then(Json::as_str);
            let key =
                key.map(|k| format!("<KMSMasterKeyID>{}</KMSMasterKeyID>", escaped(k))).unwrap_or_default();
            Some(format!(
                "<ServerSideEncryptionConfiguration {SPACE}><Rule><ApplyServerSideEncryptionByDefault>\
                 <SSEAlgorithm>{kind}</SSEAlgorithm>{key}</ApplyServerSideEncryptionByDefault></Rule>\
                 </ServerSideEncryptionConfiguration>"
            ))
        },
    },
    Property {
        option: "public_access_block",
        query: "publicAccessBlock",
        read: "s3:GetBucketPublicAccessBlock",
        write: "s3:PutBucketPublicAccessBlock",
        of: |xml| match xml {
            Some(xml) => SWITCHES
                .iter()
                .map(|(name, element)| {
                    ((*name).to_owned(), Json::from(first(xml, element).as_deref() == Some("true")))
                })
                .collect(),
            None => Json::Null,
        },
        to: |value| {
            value.as_object()?;
            let on = |name: &str| value.get(name).and_then(Json::as_bool).unwrap_or(false);
            let all: String = SWITCHES
                .iter()
                .map(|(name, element)| format!("<{element}>{}</{element}>", on(name)))
                .collect();
            Some(format!("<PublicAccessBlockConfiguration {SPACE}>{all}</PublicAccessBlockConfiguration>"))
        },
    },
    Property {
        option: "object_ownership",
        query: "ownershipControls",
        read: "s3:GetBucketOwnershipControls",
        write: "s3:PutBucketOwnershipControls",
        of: |xml| xml.and_then(|x| first(x, "ObjectOwnership")).into(),
        to: |value| {
            let rule = escaped(value.as_str()?);
            Some(format!(
                "<OwnershipControls {SPACE}><Rule><ObjectOwnership>{rule}</ObjectOwnership></Rule></OwnershipControls>"
            ))
        },
    },
    // After what may forbid it.
    Property {
        option: "policy",
        query: "policy",
        read: "s3:GetBucketPolicy",
        write: "s3:PutBucketPolicy",
        of: |text| text.and_then(|t| serde_json::from_str(t).ok()).unwrap_or(Json::Null),
        to: |value| (!value.is_null()).then(|| value.to_string()),
    },
];

/// Grants of the ready-made lists, besides what the owner has.
fn acl_of(xml: &str) -> &'static str {
    let mut grants: Vec<(bool, String)> = Vec::new();
    for grant in blocks(xml, "Grant") {
        if let Some(who) = first(grant, "URI") {
            grants.push((who.ends_with("/AllUsers"), first(grant, "Permission").unwrap_or_default()));
        }
    }
    let all = |what: &str| grants.iter().any(|(all, right)| *all && right == what);
    match () {
        () if grants.is_empty() => "private",
        () if all("WRITE") => "public-read-write",
        () if all("READ") => "public-read",
        () => "authenticated-read",
    }
}

/// What a task wants of the properties, by option; `null` takes one away.
fn wanted(args: &mut Options) -> Result<Vec<(&'static str, Json)>, CloudFault> {
    let mut all = Vec::new();
    for option in ["versioning", "requester_pays"] {
        if let Some(on) = args.get(option).and_then(Json::as_bool) {
            all.push((option, on.into()));
        }
    }
    let key = take(args, "encryption_key_id");
    match (take(args, "encryption").as_deref(), key) {
        (None | Some("none"), Some(_)) => {
            return Err(refused("`encryption_key_id` needs `encryption: aws:kms`"));
        }
        (None, None) => {}
        (Some("none"), None) => all.push(("encryption", Json::Null)),
        (Some(kind), Some(key)) => {
            all.push(("encryption", json!({"SSEAlgorithm": kind, "KMSMasterKeyID": key})));
        }
        (Some(kind), None) => all.push(("encryption", json!({"SSEAlgorithm": kind}))),
    }
    if let Some(given) = args.get("public_access").and_then(Json::as_object) {
        if let Some(odd) = given.keys().find(|k| !SWITCHES.iter().any(|(name, _)| name == k)) {
            let names = SWITCHES.map(|(name, _)| name).join(", ");
            return Err(refused(format!("`public_access` cannot have `{odd}`: it has {names}")));
        }
        let on = |name: &str| {
            let truth = |v: &Json| v.as_bool().unwrap_or(matches!(v.as_str(), Some("yes" | "true")));
            given.get(name).is_some_and(truth)
        };
        let value: Options = SWITCHES.iter().map(|(name, _)| ((*name).to_owned(), on(name).into())).collect();
        all.push(("public_access_block", value.into()));
    } else if flag(args, "delete_public_access", false) {
        all.push(("public_access_block", Json::Null));
    }
    if let Some(rule) = take(args, "object_ownership") {
        all.push(("object_ownership", rule.into()));
    } else if flag(args, "delete_object_ownership", false) {
        all.push(("object_ownership", Json::Null));
    }
    if let Some(written) = args.get("policy").filter(|p| !p.is_null()) {
        let policy = policies::read("policy", written)?;
        let none = policy.as_object().is_some_and(serde_json::Map::is_empty);
        all.push(("policy", if none { Json::Null } else { policy }));
    }
    Ok(all)
}

impl Task<'_> {
    async fn property(&self, path: &str, property: &Property) -> Result<Json, CloudFault> {
        let reply = get(&self.account.clients, property.read, path, &[(property.query, "")]).await?;
        Ok((property.of)(reply.as_ref().map(|r| r.body.as_str())))
    }

    async fn set_property(&self, path: &str, property: &Property, value: &Json) -> Result<(), CloudFault> {
        let (method, body) = match (property.to)(value) {
            Some(body) => ("PUT", body),
            None => ("DELETE", String::new()),
        };
        let query = [(property.query, "")];
        ask(&self.account.clients, Asked { call: property.write, method, path, query: &query, body }, &[])
            .await
            .map(drop)
    }

    async fn bucket_tags(&self, path: &str) -> Result<Tags, CloudFault> {
        let reply = get(&self.account.clients, "s3:GetBucketTagging", path, &[("tagging", "")]).await?;
        Ok(reply.map(|r| tags_in(&r.body)).unwrap_or_default())
    }

    async fn make_bucket(&self, args: &Options, path: &str) -> Result<(), CloudFault> {
        let place = match self.account.clients.region.as_str() {
            // The one region that has no name there.
            "us-east-1" => String::new(),
            region => format!(
                "<CreateBucketConfiguration {SPACE}><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ),
        };
        let lock = args.get("object_lock_enabled").and_then(Json::as_bool) == Some(true);
        let headers: &[(&str, &str)] =
            if lock { &[("x-amz-bucket-object-lock-enabled", "true")] } else { &[] };
        let asked = Asked { call: "s3:CreateBucket", method: "PUT", path, query: &[], body: place };
        match ask(&self.account.clients, asked, headers).await {
            // The reply to the first try was lost.
            Err(fault) if fault.class == Class::Exists => Ok(()),
            end => end.map(drop),
        }
    }

    /// `s3_bucket`.
    pub(super) async fn bucket(&self, mut args: Options) -> Result<Options, CloudFault> {
        let name = text(&args, "name")?.to_owned();
        super::s3_bucket::check_name(&name)?;
        let clients = &self.account.clients;
        let path = format!("/{name}");
        let exists = there(clients, &name).await?;
        if take(&mut args, "state").as_deref() == Some("absent") {
            return self.bucket_away(&name, exists, flag(&mut args, "force", false)).await;
        }
        let purge = flag(&mut args, "purge_tags", true);
        let tags = given_tags(args.get("tags"));
        let acl = take(&mut args, "acl");
        let wanted = wanted(&mut args)?;
        let mut changed = !exists;
        if !exists && !self.check {
            self.make_bucket(&args, &path).await?;
        }
        let seen = exists || !self.check;
        let mut result = Options::from_iter([("name".to_owned(), name.as_str().into())]);
        for property in PROPERTIES {
            let value = wanted.iter().find(|(option, _)| *option == property.option);
            let mut now = match seen {
                true => match self.property(&path, property).await {
                    // Nobody needs the permission to look at what isn't asked for.
                    Err(fault) if value.is_none() && fault.is_permission() => Json::Null,
                    end => end?,
                },
                false => (property.of)(None),
            };
            if let Some((_, value)) = value
                && !policies::same(value, &now)
            {
                changed = true;
                if !self.check {
                    self.set_property(&path, property, value).await?;
                }
                now = value.clone();
            }
            let shown = match property.option {
                "versioning" => {
                    json!({"Versioning": if now == true { "Enabled" } else { "Suspended" }, "MfaDelete": "Disabled"})
                }
                _ => now,
            };
            result.insert(property.option.to_owned(), shown);
        }
        if let Some(wanted) = &acl {
            let query = [("acl", "")];
            let now = match seen {
                true => get(clients, "s3:GetBucketAcl", &path, &query).await?,
                false => None,
            };
            if now.as_ref().map_or("private", |r| acl_of(&r.body)) != wanted {
                changed = true;
                if !self.check {
                    let call = "s3:PutBucketAcl";
                    let asked =
                        Asked { call, method: "PUT", path: &path, query: &query, body: String::new() };
                    ask(clients, asked, &[("x-amz-acl", wanted)]).await?;
                }
            }
            result.insert("acl".to_owned(), wanted.as_str().into());
        }
        let now = if seen { self.bucket_tags(&path).await? } else { Tags::new() };
        let mut after = now.clone();
        if let Some(tags) = &tags {
            after.retain(|key, _| !purge || tags.contains_key(key) || key.starts_with("dcos-play:"));
            after.extend(tags.clone());
        }
        if after != now {
            changed = true;
            if !self.check {
                put_tags(clients, &path, &after).await?;
            }
        }
        result.insert("tags".to_owned(), json!(after));
        result.insert("changed".to_owned(), changed.into());
        Ok(result)
    }

    async fn bucket_away(&self, name: &str, exists: bool, force: bool) -> Result<Options, CloudFault> {
        let path = format!("/{name}");
        if exists && !self.check {
            if force {
                clear(&self.account.clients, &path).await?;
            }
            let call = "s3:DeleteBucket";
            let asked = Asked { call, method: "DELETE", path: &path, query: &[], body: String::new() };
            match ask(&self.account.clients, asked, &[]).await {
                Err(fault) if fault.code == "BucketNotEmpty" => {
                    return Err(refused(format!("{name} holds objects: `force: true` deletes them too")));
                }
                Err(fault) if fault.class == Class::NotFound => {}
                end => drop(end?),
            }
        }
        Ok(Options::from_iter([("name".to_owned(), name.into()), ("changed".to_owned(), exists.into())]))
    }

    /// `s3_bucket_info`: names and dates, as far as the account may list them.
    pub(super) async fn buckets(&self, mut args: Options) -> Result<Options, CloudFault> {
        let (name, filter) = (take(&mut args, "name"), take(&mut args, "name_filter"));
        let list = get(&self.account.clients, "s3:ListAllMyBuckets", "/", &[]).await?;
        let body = list.map(|l| l.body).unwrap_or_default();
        let all = blocks(&body, "Bucket").into_iter().filter_map(|one| {
            let found = first(one, "Name")?;
            let fits = name.as_ref().is_none_or(|n| *n == found)
                && filter.as_ref().is_none_or(|f| found.contains(f.as_str()));
            fits.then(|| json!({"name": found, "creation_date": first(one, "CreationDate")}))
        });
        Ok(Options::from_iter([("changed".to_owned(), false.into()), ("buckets".to_owned(), all.collect())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_grants_is_told_by_who_may_what() {
        let grant = |who: &str, what: &str| {
            format!(
                "<Grant><Grantee><URI>http://acs.amazonaws.com/groups/global/{who}</URI></Grantee><Permission>{what}</Permission></Grant>"
            )
        };
        assert_eq!(
            acl_of("<Grant><Grantee><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>"),
            "private"
        );
        assert_eq!(acl_of(&grant("AllUsers", "READ")), "public-read");
        assert_eq!(acl_of(&(grant("AllUsers", "READ") + &grant("AllUsers", "WRITE"))), "public-read-write");
        assert_eq!(acl_of(&grant("AuthenticatedUsers", "READ")), "authenticated-read");
    }

    #[test]
    fn every_document_is_read_as_it_was_written() {
        for (option, value) in [
            ("versioning", json!(true)),
            ("requester_pays", json!(true)),
            ("encryption", json!({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key/1"})),
            ("object_ownership", json!("BucketOwnerEnforced")),
        ] {
            let property = PROPERTIES.iter().find(|p| p.option == option).unwrap();
            assert_eq!((property.of)((property.to)(&value).as_deref()), value, "{option}");
        }
        let mut args = Options::from_iter([("public_access".to_owned(), json!({"block_public_acls": true}))]);
        let (option, value) = wanted(&mut args).unwrap().remove(0);
        let property = PROPERTIES.iter().find(|p| p.option == option).unwrap();
        assert_eq!((property.of)((property.to)(&value).as_deref()), value);
        assert_eq!(
            (value["block_public_acls"].clone(), value["block_public_policy"].clone()),
            (json!(true), json!(false))
        );
    }
}
