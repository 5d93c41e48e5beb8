//! Small files that modules fetch themselves: keys and packages given by address.
//!
//! Owns: one GET into memory. Must not: keep anything; `get_url` is for that.

use std::io::Read;

use serde_json::json;

use super::http::{Asked, HttpArgs};
use super::{Fault, Host};

/// Largest thing fetched this way, in bytes.
const LARGEST: u64 = 512 << 20;

/// Fetches what an address holds.
pub(super) fn bytes(url: &str, validate_certs: bool, host: &Host<'_>) -> Result<Vec<u8>, Fault> {
    let failed = |why: String| Fault::new(format!("cannot fetch `{url}`: {why}"));
    let http: HttpArgs = serde_json::from_value(json!({"url": url, "validate_certs": validate_certs}))
        .map_err(|e| failed(e.to_string()))?;
    let asked = Asked { method: "GET", body: None, headers: Vec::new(), redirects: true, usual_timeout: 30 };
    let answer = http.ask(&asked, host).map_err(|f| failed(f.msg))?;
    if answer.status >= 400 {
        return Err(failed(answer.message()));
    }
    let mut bytes = Vec::new();
    answer.body().take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| failed(super::plain(&e)))?;
    if bytes.len() as u64 > LARGEST {
        return Err(failed(format!("it is larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}
