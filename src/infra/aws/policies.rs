//! Policy documents of IAM and S3 as they are compared.
//!
//! Owns: what makes two documents the same. Pure.

use serde_json::Value as Json;

use crate::infra::fault::CloudFault;

/// A document given as a mapping or as text.
pub(super) fn read(name: &str, written: &Json) -> Result<Json, CloudFault> {
    let Json::String(text) = written else { return Ok(written.clone()) };
    if text.trim().is_empty() {
        return Ok(Json::Null);
    }
    serde_json::from_str(text).map_err(|e| CloudFault::refused("plan", format!("`{name}` is no JSON: {e}")))
}

/// Whether two documents mean the same: AWS writes a list of one as its item, and orders lists as it likes.
pub(super) fn same(one: &Json, other: &Json) -> bool {
    canonical(one) == canonical(other)
}

fn canonical(value: &Json) -> Json {
    match value {
        Json::Array(all) => {
            let mut all: Vec<Json> = all.iter().map(canonical).collect();
            all.sort_by_key(ToString::to_string);
            if all.len() == 1 { all.remove(0) } else { Json::Array(all) }
        }
        Json::Object(map) => map.iter().map(|(k, v)| (k.clone(), canonical(v))).collect(),
        // Conditions have booleans and numbers as text.
        Json::Bool(_) | Json::Number(_) => value.to_string().into(),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_of_one_and_order_are_no_difference() {
        let one = json!({"Statement": [{"Action": ["s3:Get*", "s3:List*"], "Principal": {"AWS": ["*"]}}]});
        let other = json!({"Statement": {"Action": ["s3:List*", "s3:Get*"], "Principal": {"AWS": "*"}}});
        assert!(same(&one, &other));
        assert!(!same(&one, &json!({"Statement": {"Action": "s3:Get*", "Principal": {"AWS": "*"}}})));
        assert_eq!(read("policy", &json!("{\"a\": 1}")).unwrap(), json!({"a": 1}));
        assert!(read("policy", &json!("{")).unwrap_err().message.starts_with("`policy` is no JSON"));
    }
}
