//! Speaking HTTP for `get_url` and `uri`: the options, what is asked and what is answered.
//!
//! Owns: the forms of both. Must not: write files, or speak itself (`client`, which the controller is built without: it
//! reads no more than the options).

#![cfg_attr(not(feature = "http"), allow(dead_code, unused_variables, reason = "only the client reads it"))]

#[cfg(feature = "http")]
mod client;

use std::io::Read;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Fault, Host};
use crate::options::Opt;

/// Options of everything that speaks HTTP.
pub(super) static OPTIONS: &[Opt] = &[
    Opt::str("url").required(),
    Opt::bool("force").aliases(&["thirsty"]),
    Opt::str("http_agent"),
    Opt::bool("use_proxy"),
    Opt::bool("validate_certs"),
    Opt::str("url_username").aliases(&["username", "user"]),
    Opt::str("url_password").aliases(&["password"]).secret(),
    Opt::bool("force_basic_auth"),
    Opt::path("client_cert"),
    Opt::path("client_key"),
    Opt::path("ca_path"),
    Opt::dict("headers"),
    Opt::int("timeout"),
    Opt::bool("decompress"),
    Opt::list("unredirected_headers").ignored("credentials never follow a redirect to another host"),
    Opt::bool("use_gssapi"),
    Opt::bool("use_netrc").ignored("`.netrc` files are not read"),
    Opt::list("ciphers").ignored("the TLS library uses only safe ones"),
];

/// Arguments of everything that speaks HTTP.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct HttpArgs {
    pub(super) url: String,
    #[serde(default)]
    pub(super) force: bool,
    http_agent: Option<String>,
    use_proxy: Option<bool>,
    validate_certs: Option<bool>,
    url_username: Option<String>,
    url_password: Option<String>,
    #[serde(default)]
    force_basic_auth: bool,
    client_cert: Option<String>,
    client_key: Option<String>,
    ca_path: Option<String>,
    #[serde(default)]
    pub(super) headers: Map<String, Value>,
    timeout: Option<u64>,
    decompress: Option<bool>,
    #[serde(default)]
    use_gssapi: bool,
}

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) body: Option<&'a [u8]>,
    /// Beside the user's own.
    pub(super) headers: Vec<(String, String)>,
    pub(super) redirects: bool,
    /// Seconds for each step on the way: connecting, the answer's start, each read.
    pub(super) usual_timeout: u64,
}

/// The answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) url: String,
    /// By names in lower case, in the order they came.
    pub(super) headers: Vec<(String, String)>,
    body: Box<dyn Read>,
}

/// `file://`: a file of this host, answered as a server would.
fn local(url: &str, path: &str) -> Result<Answer, Fault> {
    let file = std::fs::File::open(path).map_err(|e| Fault::io("read", path, &e))?;
    let length = file.metadata().map(|meta| ("content-length".to_owned(), meta.len().to_string()));
    Ok(Answer {
        status: 200,
        reason: "OK".to_owned(),
        url: url.to_owned(),
        headers: length.into_iter().collect(),
        body: Box::new(file),
    })
}

impl Answer {
    /// A header's value; `name` in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as it comes.
    pub(super) fn body(self) -> impl Read {
        self.body
    }

    /// `OK (12 bytes)` or `HTTP Error 404: Not Found`.
    pub(super) fn message(&self) -> String {
        if self.status < 400 {
            let size = self.header("content-length").unwrap_or("unknown");
            format!("OK ({size} bytes)")
        } else {
            format!("HTTP Error {}: {}", self.status, self.reason)
        }
    }
}

impl HttpArgs {
    /// Asks once, or twice when the server wants to know who we are first.
    ///
    /// # Errors
    /// When no answer came; the message is the reason alone.
    pub(super) fn ask(&self, asked: &Asked<'_>, host: &Host<'_>) -> Result<Answer, Fault> {
        if self.use_gssapi {
            return Err(Fault::new("`use_gssapi` is not supported"));
        }
        if let Some(path) = self.url.strip_prefix("file://") {
            return local(&self.url, path.strip_prefix("localhost").unwrap_or(path));
        }
        #[cfg(feature = "http")]
        return client::ask(self, asked, host);
        #[cfg(not(feature = "http"))]
        Err(Fault::new("this program was built without HTTP"))
    }
}

/// The last part of a URL's path, or what `Content-Disposition` says.
pub(super) fn file_name(url: &str, disposition: Option<&str>) -> String {
    let told = disposition.and_then(|text| text.split("filename=").nth(1)).map(|name| {
        let name = name.split(';').next().unwrap_or(name).trim().trim_matches(['"', '\'']);
        name.rsplit('/').next().unwrap_or(name).to_owned()
    });
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path =
        path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    told.filter(|n| !n.is_empty() && n != "..").unwrap_or_else(|| {
        path.rsplit('/').next().filter(|n| !n.is_empty()).unwrap_or("index.html").to_owned()
    })
}

#[cfg(test)]
pub(super) mod testing {
    //! A server for tests: answers each request with the next answer of its list.

    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};

    /// Gives the server's URL, and what it was asked.
    pub(in crate::modules) fn serve(answers: Vec<String>) -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (told, asked) = channel();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((stream, _)) = listener.accept() else { return };
                let mut reader = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|n| n > 0) {}
                let length = head.lines().find_map(|l| {
                    l.to_lowercase().strip_prefix("content-length: ").and_then(|n| n.trim().parse().ok())
                });
                let mut body = vec![0; length.unwrap_or(0)];
                let _ = reader.read_exact(&mut body);
                let _ = told.send(format!("{head}{}", String::from_utf8_lossy(&body)));
                let _ = reader.get_mut().write_all(answer.as_bytes());
            }
        });
        (url, asked)
    }

    /// An answer with a body.
    pub(in crate::modules) fn answer(status: &str, headers: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
            body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_addresses_and_headers() {
        assert_eq!(file_name("http://h/a/b.sh?x=1", None), "b.sh");
        assert_eq!(file_name("http://h", None), "index.html");
        assert_eq!(file_name("http://h/a", Some("attachment; filename=\"../c.tar\"")), "c.tar");
    }
}
