//! The client: one request and its answer.
//!
//! Owns: connections, trust, proxies, authentication and the words for what went wrong. Must not: write files.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use ureq::ResponseExt as _;
use ureq::http::{self, Method, Uri};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};

use super::super::plain;
use super::{Answer, Asked, Fault, Host, HttpArgs};

/// Asks once, or twice when the server wants to know who we are first.
pub(super) fn ask(args: &HttpArgs, asked: &Asked<'_>, host: &Host<'_>) -> Result<Answer, Fault> {
    let uri: Uri = args.url.parse().map_err(|e| Fault::new(format!("`{}` is not a URL: {e}", args.url)))?;
    let agent = args.agent(&uri, asked, host)?;
    let user = args.credentials(&uri);
    let first = args.once(&agent, asked, &uri, user.as_deref().filter(|_| args.force_basic_auth))?;
    match user {
        Some(user) if first.status == 401 && !args.force_basic_auth => {
            args.once(&agent, asked, &uri, Some(&user))
        }
        _ => Ok(first),
    }
}

impl HttpArgs {
    /// The value of the `Authorization` header, from the options or the URL.
    fn credentials(&self, uri: &Uri) -> Option<String> {
        let in_url =
            uri.authority().and_then(|a| a.as_str().rsplit_once('@')).map(|(user, _)| user.to_owned());
        let pair = match &self.url_username {
            Some(user) => format!("{user}:{}", self.url_password.as_deref().unwrap_or_default()),
            None => in_url?,
        };
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }

    fn once(
        &self,
        agent: &ureq::Agent,
        asked: &Asked<'_>,
        uri: &Uri,
        authorization: Option<&str>,
    ) -> Result<Answer, Fault> {
        let method = Method::from_bytes(asked.method.to_uppercase().as_bytes())
            .map_err(|_| Fault::new(format!("`{}` is not an HTTP method", asked.method)))?;
        let mut request = http::Request::builder().method(method).uri(uri.clone());
        for (name, value) in asked.headers.iter().filter(|(name, _)| !self.has_header(name)) {
            request = request.header(name, value);
        }
        for (name, value) in &self.headers {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            request = request.header(name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let bad = |e: http::Error| Fault::new(format!("the request cannot be made: {e}"));
        let response = match asked.body {
            Some(body) => agent.run(request.body(body).map_err(bad)?),
            None => agent.run(request.body(()).map_err(bad)?),
        };
        let response = response.map_err(|e| Fault::new(words(&e)))?;
        let url = response.get_uri().to_string();
        let (parts, body) = response.into_parts();
        let reason = parts.status.canonical_reason().unwrap_or("unknown").to_owned();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers =
            parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let body = Box::new(body.into_with_config().limit(u64::MAX).reader());
        Ok(Answer { status: parts.status.as_u16(), reason, url, headers, body })
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.keys().any(|key| key.eq_ignore_ascii_case(name))
    }

    fn agent(&self, uri: &Uri, asked: &Asked<'_>, host: &Host<'_>) -> Result<ureq::Agent, Fault> {
        let timeout = Some(Duration::from_secs(self.timeout.unwrap_or(asked.usual_timeout)));
        let encoding = if self.decompress.unwrap_or(true) { "gzip" } else { "identity" };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .user_agent(self.http_agent.clone().unwrap_or_else(|| "ansible-httpget".to_owned()))
            .accept_encoding(encoding)
            .max_redirects(if asked.redirects { 10 } else { 0 })
            .max_idle_connections(0)
            .timeout_resolve(timeout)
            .timeout_connect(timeout)
            .timeout_send_request(timeout)
            .timeout_recv_response(timeout)
            .timeout_per_read(timeout)
            .tls_config(self.tls(uri)?)
            .proxy(self.proxy(uri, host)?)
            .build();
        Ok(config.new_agent())
    }

    fn proxy(&self, uri: &Uri, host: &Host<'_>) -> Result<Option<ureq::Proxy>, Fault> {
        if !self.use_proxy.unwrap_or(true) {
            return Ok(None);
        }
        let var = |name: &str| {
            let names = [name.to_owned(), name.to_uppercase()];
            let task = host.environment.iter().rev().find(|(k, _)| names.contains(k)).map(|(_, v)| v.clone());
            task.or_else(|| names.iter().find_map(|n| std::env::var(n).ok())).filter(|v| !v.is_empty())
        };
        let target = uri.host().unwrap_or_default();
        if var("no_proxy").is_some_and(|list| excluded(target, &list)) {
            return Ok(None);
        }
        let named = format!("{}_proxy", uri.scheme_str().unwrap_or("http"));
        match var(&named).or_else(|| var("all_proxy")) {
            Some(proxy) => match ureq::Proxy::new(&proxy) {
                Ok(proxy) => Ok(Some(proxy)),
                Err(e) => Err(Fault::new(format!("`{named}` is `{proxy}`, which is no proxy's URL: {e}"))),
            },
            None => Ok(None),
        }
    }

    fn tls(&self, uri: &Uri) -> Result<TlsConfig, Fault> {
        let verify = self.validate_certs.unwrap_or(true);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls =
            TlsConfig::builder().unversioned_rustls_crypto_provider(provider).disable_verification(!verify);
        if verify {
            // Also for `http`, which may lead on to `https`.
            let roots = self.roots()?;
            if roots.is_empty() && uri.scheme_str() == Some("https") {
                return Err(Fault::new(
                    "this host trusts no certificate authority: install `ca-certificates`, give a `ca_path`, or set \
                     `validate_certs: false`",
                ));
            }
            tls = tls.root_certs(RootCerts::Specific(Arc::new(roots)));
        }
        if let Some(path) = &self.client_cert {
            let mut certificates = Vec::new();
            let mut key = None;
            for file in std::iter::once(path).chain(&self.client_key) {
                for item in pem(file)? {
                    match item {
                        PemItem::Certificate(certificate) => certificates.push(certificate),
                        PemItem::PrivateKey(private) => key = Some(private),
                        _ => {}
                    }
                }
            }
            let key: PrivateKey<'static> = key.ok_or_else(|| {
                Fault::new(format!("neither `client_key` nor `{path}` holds a private key"))
            })?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&certificates, key)));
        }
        Ok(tls.build())
    }

    /// Whom to trust: `ca_path`, else the host's own store.
    fn roots(&self) -> Result<Vec<Certificate<'static>>, Fault> {
        let mut roots: Vec<Certificate<'static>> = Vec::new();
        match &self.ca_path {
            Some(path) => {
                for item in pem(path)? {
                    if let PemItem::Certificate(certificate) = item {
                        roots.push(certificate);
                    }
                }
                if roots.is_empty() {
                    return Err(Fault::new(format!("`{path}` holds no certificate")));
                }
            }
            None => {
                for certificate in rustls_native_certs::load_native_certs().certs {
                    roots.push(Certificate::from_der(&certificate).to_owned());
                }
            }
        }
        Ok(roots)
    }
}

fn pem(path: &str) -> Result<Vec<PemItem<'static>>, Fault> {
    let bytes = std::fs::read(path).map_err(|e| Fault::io("read", path, &e))?;
    let items: Result<Vec<_>, _> = ureq::tls::parse_pem(&bytes).collect();
    items.map_err(|e| Fault::new(format!("`{path}` is not PEM: {e}")))
}

/// The usual rules of `no_proxy`: `*`, a name, or a domain with or without a dot in front.
fn excluded(target: &str, list: &str) -> bool {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.split(':').next().unwrap_or(entry).trim_start_matches('.');
        entry == "*"
            || target == entry
            || target.strip_suffix(entry).is_some_and(|front| front.ends_with('.'))
    })
}

/// What went wrong, in words that playbooks may know.
fn words(error: &ureq::Error) -> String {
    let because = match error {
        ureq::Error::Io(e) => match e.raw_os_error() {
            Some(number) => format!("<urlopen error [Errno {number}] {}>", capital(&plain(e))),
            None => format!("<urlopen error {e}>"),
        },
        ureq::Error::HostNotFound => "<urlopen error [Errno -2] Name or service not known>".to_owned(),
        ureq::Error::ConnectionFailed => "<urlopen error connection failed>".to_owned(),
        ureq::Error::Timeout(_) => "<urlopen error timed out>".to_owned(),
        other => other.to_string(),
    };
    format!("Request failed: {because}")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::excluded;

    #[test]
    fn proxies_are_left_out_for_names_and_domains() {
        assert!(excluded("a.example.org", "localhost, .example.org"));
        assert!(excluded("x", "*"));
        assert!(!excluded("notexample.org", "example.org"));
    }
}
