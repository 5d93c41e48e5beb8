//! Tasks that need no kind of resource: tags of any object of EC2, and lists of images.
//!
//! Owns: `ec2_tag`, `ec2_tag_info`, `ec2_ami_info`. Must not: take AWS's own tags or the marks of an infrastructure play away.

use aws_sdk_ec2::types::{Filter, ImageAttributeName};
use serde_json::{Value as Json, json};

use super::client::fault;
use super::inventory_document;
use super::tags;
use super::task::{LATER, Task, flag, given_filters, given_tags, refused, strings, take};
use super::text;
use crate::infra::cloud::Options;
use crate::infra::fault::CloudFault;
use crate::infra::identity::Tags;

/// Tags before and after, with what comes and what goes.
#[derive(Debug, PartialEq)]
struct Retag {
    after: Tags,
    added: Tags,
    removed: Tags,
}

/// What a task makes of tags. `given` of `None` stands for any value, and for an empty one when it is set.
fn retagged(now: &Tags, given: &[(String, Option<String>)], absent: bool, purge: bool) -> Retag {
    let kept = |key: &str| key.starts_with("aws:") || key.starts_with("dcos-play:");
    let mut after = now.clone();
    let mut added = Tags::new();
    if absent {
        for (key, value) in given {
            if value.as_ref().is_none_or(|v| now.get(key) == Some(v)) {
                after.remove(key);
            }
        }
    } else {
        for (key, value) in given {
            let value = value.clone().unwrap_or_default();
            if now.get(key) != Some(&value) {
                added.insert(key.clone(), value.clone());
                after.insert(key.clone(), value);
            }
        }
        if purge {
            after.retain(|key, _| kept(key) || given.iter().any(|(k, _)| k == key));
        }
    }
    let removed = now.iter().filter(|(k, _)| !after.contains_key(*k));
    let removed = removed.map(|(k, v)| (k.clone(), v.clone())).collect();
    Retag { after, added, removed }
}

fn given(value: Option<&Json>) -> Option<Vec<(String, Option<String>)>> {
    let texts = given_tags(value)?;
    let bare = |key: &str| value.and_then(|v| v.get(key)).is_some_and(Json::is_null);
    Some(texts.into_iter().map(|(k, v)| if bare(&k) { (k, None) } else { (k, Some(v)) }).collect())
}

impl Task<'_> {
    async fn tags_of(&self, id: &str) -> Result<Tags, CloudFault> {
        let filter = Filter::builder().name("resource-id").values(id).build();
        let mut pages =
            self.account.clients.ec2.describe_tags().filters(filter).into_paginator().items().send();
        let mut all = Tags::new();
        while let Some(tag) = pages.next().await {
            let tag = tag.map_err(|e| fault("ec2:DescribeTags", &e))?;
            if let Some(key) = tag.key() {
                all.insert(key.to_owned(), tag.value().unwrap_or_default().to_owned());
            }
        }
        Ok(all)
    }

    /// `ec2_tag`.
    pub(super) async fn tag(&self, mut args: Options) -> Result<Options, CloudFault> {
        let id = text(&args, "resource")?.to_owned();
        let state = take(&mut args, "state");
        if state.as_deref() == Some("list") {
            return self.tag_info(&args).await;
        }
        let absent = state.as_deref() == Some("absent");
        let purge = flag(&mut args, "purge_tags", false);
        let given = given(args.get("tags")).ok_or_else(|| refused("`tags` is missing: which tags?"))?;
        // What isn't made yet has no tags.
        let now = if self.check && id == LATER { Tags::new() } else { self.tags_of(&id).await? };
        let due = retagged(&now, &given, absent, purge);
        let changed = due.after != now;
        if changed && !self.check {
            tags::change(&self.account.clients, &id, &now, &due.after).await?;
        }
        let Json::Object(mut result) = json!({
            "changed": changed,
            "tags": due.after,
            "added_tags": due.added,
            "removed_tags": due.removed,
        }) else {
            return Ok(Options::new());
        };
        if changed {
            let text = |tags: &Tags| tags.iter().map(|(k, v)| format!("{k}: {v}\n")).collect::<String>();
            result.insert("diff".to_owned(), json!([{"before": text(&now), "after": text(&due.after)}]));
        }
        Ok(result)
    }

    /// `ec2_tag_info`.
    pub(super) async fn tag_info(&self, args: &Options) -> Result<Options, CloudFault> {
        let tags = self.tags_of(text(args, "resource")?).await?;
        Ok(Options::from_iter([("changed".to_owned(), false.into()), ("tags".to_owned(), json!(tags))]))
    }

    /// `ec2_ami_info`.
    pub(super) async fn images(&self, mut args: Options) -> Result<Options, CloudFault> {
        let ec2 = &self.account.clients.ec2;
        let filters = given_filters(args.remove("filters").as_ref());
        let filters: Vec<Filter> = filters
            .into_iter()
            .map(|(name, values)| Filter::builder().name(name).set_values(Some(values)).build())
            .collect();
        let some = |all: Vec<String>| Some(all).filter(|a| !a.is_empty());
        let call = ec2
            .describe_images()
            .set_image_ids(some(strings(args.get("image_ids"))))
            .set_owners(some(strings(args.get("owners"))))
            .set_executable_users(some(strings(args.get("executable_users"))))
            .set_filters(Some(filters).filter(|f| !f.is_empty()));
        let mut pages = call.into_paginator().items().send();
        let mut images = Vec::new();
        while let Some(image) = pages.next().await {
            images.push(image.map_err(|e| fault("ec2:DescribeImages", &e))?);
        }
        images.sort_by(|a, b| (a.creation_date(), a.image_id()).cmp(&(b.creation_date(), b.image_id())));
        let mut all: Vec<Json> = images.iter().map(inventory_document::image).collect();
        if flag(&mut args, "describe_image_attributes", false) {
            for (image, document) in images.iter().zip(&mut all) {
                if let Some(id) = image.image_id() {
                    document["launch_permissions"] = self.launch_permissions(id).await?;
                }
            }
        }
        Ok(Options::from_iter([("changed".to_owned(), false.into()), ("images".to_owned(), all.into())]))
    }

    /// Who may start an image; only its owner is told.
    async fn launch_permissions(&self, id: &str) -> Result<Json, CloudFault> {
        let call = self.account.clients.ec2.describe_image_attribute().image_id(id);
        let call = call.attribute(ImageAttributeName::LaunchPermission);
        let reply = match call.send().await {
            Ok(reply) => reply,
            Err(error) => {
                let fault = fault("ec2:DescribeImageAttribute", &error);
                return if fault.code == "AuthFailure" { Ok(json!([])) } else { Err(fault) };
            }
        };
        let all = reply.launch_permissions().iter().map(|one| match (one.user_id(), one.group()) {
            (Some(user), _) => json!({"user_id": user}),
            (None, group) => json!({"group": group.map(|g| g.as_str())}),
        });
        Ok(all.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(all: &[(&str, &str)]) -> Tags {
        all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn tags_come_and_go_by_value_and_marks_stay() {
        let now = tags(&[("a", "1"), ("b", "2"), ("dcos-play:owner", "x"), ("aws:y", "z")]);
        let given = given(Some(&json!({"a": 1, "c": null}))).unwrap();
        let due = retagged(&now, &given, false, false);
        assert_eq!((due.added, due.removed), (tags(&[("c", "")]), Tags::new()));
        let due = retagged(&now, &given, false, true);
        assert_eq!(due.removed, tags(&[("b", "2")]));
        // Absent: only the value that was named, or any when none was.
        let due = retagged(&now, &[("a".into(), Some("9".into())), ("b".into(), None)], true, false);
        assert_eq!(due.removed, tags(&[("b", "2")]));
    }
}
