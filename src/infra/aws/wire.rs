//! Signed requests without an SDK crate, for the few calls to IAM and S3.
//!
//! Owns: signature version 4, endpoints, retries, errors of these two services. Must not: know what is asked.
//!
//! The crates for IAM and S3 would bring the SDK another two minutes of building and, by their features, a second build of
//! the EC2 crate; a dozen calls don't justify that. <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use base64::Engine as _;
use dcos_play_agent::files::checksum::hex;
use hmac::{Hmac, Mac as _};
use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::client::Clients;
use super::waiting::pause;
use crate::infra::fault::{Class, CloudFault, class_of};

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    pub(super) service: Service,
    /// The permission's name.
    pub(super) call: &'static str,
    pub(super) method: &'static str,
    /// Begins with `/`, not encoded yet.
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Of Amazon's own (`x-amz-...`), which are signed.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Iam,
    S3,
}

/// A reply of success.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) body: String,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::S3 => "s3",
        }
    }

    /// The region in the signature, and the service's own address.
    fn place(self, region: &str) -> (String, String) {
        let china = region.starts_with("cn-");
        let end = if china { "amazonaws.com.cn" } else { "amazonaws.com" };
        match self {
            Self::S3 => (region.to_owned(), format!("https://s3.{region}.{end}")),
            // IAM is one service for a whole partition.
            Self::Iam if china => ("cn-north-1".to_owned(), format!("https://iam.cn-north-1.{end}")),
            Self::Iam if region.starts_with("us-gov-") => {
                ("us-gov-west-1".to_owned(), format!("https://iam.us-gov.{end}"))
            }
            Self::Iam => ("us-east-1".to_owned(), format!("https://iam.{end}")),
        }
    }

    fn endpoint(self, clients: &Clients) -> (String, String) {
        let (region, own) = self.place(&clients.region);
        let variable = format!("AWS_ENDPOINT_URL_{}", self.name().to_uppercase());
        let given = std::env::var(variable).ok().filter(|v| !v.is_empty());
        let given = given.or_else(|| clients.endpoint_url().map(ToOwned::to_owned));
        let address = given.unwrap_or(own);
        (region, address.trim_end_matches('/').to_owned())
    }
}

/// Tries; the calls made here can all be repeated.
const TRIES: u32 = 8;

/// Sends a request until it is answered.
///
/// # Errors
/// What the service says, or nothing that can be understood.
pub(super) async fn send(clients: &Clients, request: &Request<'_>) -> Result<Reply, CloudFault> {
    let mut tried = 0;
    loop {
        let end = once(clients, request).await;
        tried += 1;
        match end {
            Err(fault)
                if matches!(fault.class, Class::Transient | Class::Throttled)
                    && tried < clients.tries(TRIES) =>
            {
                tokio::time::sleep(pause(tried, Duration::from_secs(8))).await;
            }
            end => return end,
        }
    }
}

async fn once(clients: &Clients, request: &Request<'_>) -> Result<Reply, CloudFault> {
    let call = request.call;
    let broken = |class: Class, message: String| CloudFault { class, call, code: String::new(), message };
    let credentials = clients
        .credentials()
        .ok_or_else(|| broken(Class::Auth, "no credentials were found".to_owned()))?
        .provide_credentials()
        .await
        .map_err(|e| broken(Class::Auth, format!("no credentials: {e}")))?;
    let (region, endpoint) = request.service.endpoint(clients);
    let host = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest).to_owned();
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let signed = sign(request, &credentials, &region, &host, &now);
    let url = format!("{endpoint}{}{}", encoded_path(request.path), query_text(request.query));
    let (method, body) = (request.method, request.body.clone());
    let form = request.service == Service::Iam;
    let answer = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let mut built = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in &signed {
            built = built.header(name, value);
        }
        if form {
            built = built.header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        } else if !body.is_empty() {
            built = built
                .header("content-type", "application/xml")
                .header("content-md5", base64::engine::general_purpose::STANDARD.encode(Md5::digest(&body)));
        }
        let request = built.body(body).map_err(|e| e.to_string())?;
        let mut reply = agent.run(request).map_err(|e| e.to_string())?;
        let text = reply.body_mut().read_to_string().map_err(|e| e.to_string())?;
        Ok::<_, String>((reply.status().as_u16(), text))
    });
    let answer = answer.await.map_err(|e| broken(Class::Transient, e.to_string()))?;
    let (status, body) = answer.map_err(|e| broken(Class::Transient, e))?;
    if (200..300).contains(&status) {
        return Ok(Reply { body });
    }
    let mut code = first(&body, "Code").unwrap_or_default();
    if code.is_empty() {
        // A HEAD has no body, and a redirect means another region.
        code = match status {
            404 => "NotFound".to_owned(),
            403 => "AccessDenied".to_owned(),
            301 | 307 => "PermanentRedirect".to_owned(),
            _ => String::new(),
        };
    }
    let message = first(&body, "Message")
        .filter(|m| !m.is_empty())
        .unwrap_or_else(|| format!("HTTP status {status} without an explanation"));
    Err(CloudFault { class: class_of(&code, &message, status), call, code, message })
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Everything but letters, digits and `-._~` in percent form.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn encoded_path(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

fn canonical_query(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<String> =
        query.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v))).collect();
    pairs.sort();
    pairs.join("&")
}

fn query_text(query: &[(&str, &str)]) -> String {
    if query.is_empty() { String::new() } else { format!("?{}", canonical_query(query)) }
}

/// The headers that make a request trusted. `now` is `20260102T030405Z`.
fn sign(
    request: &Request<'_>,
    credentials: &Credentials,
    region: &str,
    host: &str,
    now: &str,
) -> Vec<(String, String)> {
    let content = hex(&Sha256::digest(&request.body));
    let mut headers = vec![
        ("host".to_owned(), host.to_owned()),
        ("x-amz-content-sha256".to_owned(), content.clone()),
        ("x-amz-date".to_owned(), now.to_owned()),
    ];
    if let Some(token) = credentials.session_token() {
        headers.push(("x-amz-security-token".to_owned(), token.to_owned()));
    }
    headers.extend(request.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    // They are signed in this order.
    headers.sort();
    let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{content}",
        request.method,
        encoded_path(request.path),
        canonical_query(request.query)
    );
    let day = now.get(..8).unwrap_or_default();
    let service = request.service.name();
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", hex(&Sha256::digest(&canonical)));
    let mut key = mac(format!("AWS4{}", credentials.secret_access_key()).as_bytes(), day);
    for part in [region, service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &text));
    let who = credentials.access_key_id();
    let value =
        format!("AWS4-HMAC-SHA256 Credential={who}/{scope}, SignedHeaders={names}, Signature={signature}");
    headers.push(("authorization".to_owned(), value));
    headers.retain(|(name, _)| name != "host");
    headers
}

/// The contents of every element of that name, outermost ones, as they are.
pub(super) fn blocks<'x>(xml: &'x str, name: &str) -> Vec<&'x str> {
    let (open, close, empty) = (format!("<{name}>"), format!("</{name}>"), format!("<{name}/>"));
    let (mut all, mut rest) = (Vec::new(), xml);
    loop {
        let next = rest.find(&open);
        let bare = rest.find(&empty);
        match (next, bare) {
            (_, Some(at)) if next.is_none_or(|next| at < next) => {
                all.push("");
                rest = &rest[at + empty.len()..];
            }
            (Some(at), _) => {
                let inner = &rest[at + open.len()..];
                let Some(end) = inner.find(&close) else { return all };
                all.push(&inner[..end]);
                rest = &inner[end + close.len()..];
            }
            _ => return all,
        }
    }
}

/// The text of the first element of that name.
pub(super) fn first(xml: &str, name: &str) -> Option<String> {
    blocks(xml, name).first().map(|text| plain(text))
}

/// The texts of all elements of that name.
pub(super) fn texts(xml: &str, name: &str) -> Vec<String> {
    blocks(xml, name).into_iter().map(plain).collect()
}

fn plain(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// A text as XML holds it.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of AWS's documentation for `GET Bucket lifecycle`, whose signature is published.
    #[test]
    fn the_signature_is_the_published_one() {
        let credentials = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "test",
        );
        let request = Request {
            service: Service::S3,
            call: "s3:GetLifecycleConfiguration",
            method: "GET",
            path: "/",
            query: &[("lifecycle", "")],
            headers: &[],
            body: String::new(),
        };
        let headers =
            sign(&request, &credentials, "us-east-1", "examplebucket.s3.amazonaws.com", "20130524T000000Z");
        let (_, value) = headers.last().unwrap();
        assert!(
            value.ends_with("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            "{value}"
        );
    }

    #[test]
    fn elements_are_read_with_empty_ones_in_their_place() {
        let xml = "<T><Key>a</Key><Value>x &amp; y</Value></T><T><Key>b</Key><Value/></T>";
        assert_eq!(texts(xml, "Key"), ["a", "b"]);
        assert_eq!(texts(xml, "Value"), ["x & y", ""]);
        assert_eq!(first(xml, "None"), None);
    }

    #[test]
    fn iam_has_one_place_for_a_partition() {
        assert_eq!(Service::Iam.place("eu-west-1").0, "us-east-1");
        assert_eq!(Service::S3.place("eu-west-1").1, "https://s3.eu-west-1.amazonaws.com");
    }
}
