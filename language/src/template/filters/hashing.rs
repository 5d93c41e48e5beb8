//! Digests, password hashes and identifiers.

use minijinja::Value;

use super::crypt::crypt;
use crate::template::error::R;
use crate::template::eval::Cx;
use crate::template::registry::{Args, Row};

pub(super) const TABLE: &[Row] = &[
    Row("hash", "data hashtype", hash),
    Row("checksum sha1", "data", |_, a| digest(a, "sha1")),
    Row("md5", "data", |_, a| digest(a, "md5")),
    Row("sha256", "data", |_, a| digest(a, "sha256")),
    Row("password_hash", "password hashtype salt salt_size rounds ident", password_hash),
    Row("to_uuid", "string namespace", to_uuid),
];

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn digest(a: &Args, kind: &str) -> R<Value> {
    use sha1::Digest as _;
    let data = a.text()?;
    let bytes = data.as_bytes();
    Ok(Value::from(match kind {
        "md5" => hex(md5::Md5::digest(bytes)),
        "sha1" => hex(sha1::Sha1::digest(bytes)),
        "sha224" => hex(sha2::Sha224::digest(bytes)),
        "sha256" => hex(sha2::Sha256::digest(bytes)),
        "sha384" => hex(sha2::Sha384::digest(bytes)),
        "sha512" => hex(sha2::Sha512::digest(bytes)),
        other => {
            return Err(a.refuse(format!(
                "there is no digest `{other}` here; there are md5, sha1, sha224, sha256, sha384 and sha512"
            )));
        }
    }))
}

fn hash(_: &mut Cx, a: &Args) -> R<Value> {
    let kind = a.text_or(1, "sha1")?;
    digest(a, &kind)
}

fn password_hash(_: &mut Cx, a: &Args) -> R<Value> {
    let kind = a.text_or(1, "sha512")?;
    let salt = a.optional_text(2)?;
    let rounds = a.optional_int(4)?.map(|r| r.clamp(1000, 999_999_999) as u32);
    crypt(&a.text()?, &kind, salt.as_deref(), rounds).map(Value::from).map_err(|why| a.refuse(why))
}

/// The namespace that Ansible uses when none is given.
const NAMESPACE: &str = "361E6D51-FAEC-444A-9079-341386DA8E2E";

fn to_uuid(_: &mut Cx, a: &Args) -> R<Value> {
    let namespace = a.text_or(1, NAMESPACE)?;
    let namespace =
        uuid::Uuid::parse_str(&namespace).map_err(|e| a.refuse(format!("`{namespace}` is no UUID: {e}")))?;
    Ok(Value::from(uuid::Uuid::new_v5(&namespace, a.text()?.as_bytes()).to_string()))
}
