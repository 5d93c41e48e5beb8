//! Speaking to a Docker daemon for the `docker_*` modules.
//!
//! Owns: HTTP/1.1 over the daemon's socket, its error messages, options that all of these modules have. Must not: know
//! containers, images or networks beyond their addresses.
//!
//! A client of its own rather than the one of `uri`: a few hundred bytes of protocol on a local socket need no more.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Map, Value};

use super::{Fault, Host, plain};
use crate::options::Opt;
use crate::system::{self, root};

/// Raw arguments; each module picks what it needs. Typed ones would cost every host tens of kilobytes.
pub(super) type Args = Map<String, Value>;

const NO_TLS: &str = "only the Docker socket is spoken to";

/// Options of every `docker_*` module.
pub(super) static OPTIONS: &[Opt] = &[
    Opt::str("docker_host").aliases(&["docker_url"]),
    Opt::int("timeout"),
    Opt::str("api_version").aliases(&["docker_api_version"]),
    Opt::bool("tls").ignored(NO_TLS),
    Opt::bool("validate_certs").aliases(&["tls_verify"]).ignored(NO_TLS),
    Opt::path("ca_path").aliases(&["ca_cert", "cacert_path", "tls_ca_cert"]).ignored(NO_TLS),
    Opt::path("client_cert").aliases(&["cert_path", "tls_client_cert"]).ignored(NO_TLS),
    Opt::path("client_key").aliases(&["key_path", "tls_client_key"]).ignored(NO_TLS),
    Opt::str("tls_hostname").ignored(NO_TLS),
    Opt::bool("use_ssh_client").ignored(NO_TLS),
    Opt::bool("debug").ignored("results are complete without it"),
];

const SOCKET: &str = "/var/run/docker.sock";

/// A daemon, and the step on whose behalf it is asked.
pub(super) struct Docker<'a> {
    socket: String,
    prefix: String,
    timeout: Duration,
    host: &'a Host<'a>,
}

/// The daemon's answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn message(&self) -> String {
        match self.json()["message"].as_str() {
            Some(message) => message.trim().to_owned(),
            None => String::from_utf8_lossy(&self.body).trim().to_owned(),
        }
    }
}

/// What goes with a request.
pub(super) enum Body<'a> {
    Nothing,
    Json(&'a Value),
    /// A tar archive.
    File(std::fs::File),
}

impl<'a> Docker<'a> {
    /// The daemon that the options and the environment name.
    ///
    /// # Errors
    /// When it is not reached by a Unix socket.
    pub(super) fn new(args: &Args, host: &'a Host<'a>) -> Result<Self, Fault> {
        let from_task = host.environment.iter().find(|(n, _)| n == "DOCKER_HOST").map(|(_, v)| v.clone());
        let address = text(args, "docker_host").map(str::to_owned).or(from_task);
        let address = address.unwrap_or_else(|| format!("unix://{SOCKET}"));
        let Some(socket) = address.strip_prefix("unix://") else {
            return Err(Fault::new(format!(
                "`docker_host` is `{address}`, and only `unix://` sockets are supported; run the task on the daemon's host"
            )));
        };
        let prefix = match text(args, "api_version") {
            None | Some("auto") => String::new(),
            Some(version) => format!("/v{version}"),
        };
        let socket = socket.to_owned();
        let seconds = args.get("timeout").and_then(Value::as_u64).unwrap_or(60);
        Ok(Self { socket, prefix, timeout: Duration::from_secs(seconds), host })
    }

    /// Asks; an answer of 400 and more is a fault, except 404 where that is a fine answer.
    ///
    /// # Errors
    /// When the daemon can't be reached, or refuses. `doing` begins the message.
    pub(super) fn ask(&self, doing: &str, method: &str, path: &str, body: Body<'_>) -> Result<Answer, Fault> {
        let answer = self.raw(method, path, body, &[], Some(self.timeout))?;
        if answer.status >= 400 {
            return Err(Fault::new(format!("cannot {doing}: {}", answer.message())));
        }
        Ok(answer)
    }

    /// Reads an object; `None` when there is none.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn get(&self, doing: &str, path: &str) -> Result<Option<Value>, Fault> {
        let answer = self.raw("GET", path, Body::Nothing, &[], Some(self.timeout))?;
        match answer.status {
            404 => Ok(None),
            400.. => Err(Fault::new(format!("cannot {doing}: {}", answer.message()))),
            _ => Ok(Some(answer.json())),
        }
    }

    /// Asks for something that may take any time and tells its progress as lines of JSON. Gives what it said.
    ///
    /// # Errors
    /// As [`Self::ask`], and when a line tells an error: such requests fail with status 200.
    pub(super) fn long(
        &self,
        doing: &str,
        path: &str,
        body: Body<'_>,
        headers: &[(&str, String)],
    ) -> Result<String, Fault> {
        let answer = self.raw("POST", path, body, headers, None)?;
        if answer.status >= 400 {
            return Err(Fault::new(format!("cannot {doing}: {}", answer.message())));
        }
        let mut said = String::new();
        for line in String::from_utf8_lossy(&answer.body).lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(error) = line["error"].as_str() {
                let fault = Fault::new(format!("cannot {doing}: {}", error.trim()));
                return Err(if said.is_empty() { fault } else { fault.with("stdout", said) });
            }
            said.push_str(line["stream"].as_str().unwrap_or_default());
        }
        Ok(said)
    }

    /// Writes what the daemon sends for this path to a file of the host.
    ///
    /// # Errors
    /// As [`Self::ask`], and when the file cannot be written.
    pub(super) fn save(&self, doing: &str, path: &str, file: &str) -> Result<(), Fault> {
        let answer = self.raw("GET", path, Body::Nothing, &[], None)?;
        if answer.status >= 400 {
            return Err(Fault::new(format!("cannot {doing}: {}", answer.message())));
        }
        std::fs::write(root::at(file), &answer.body).map_err(|e| Fault::io("write", file, &e))
    }

    /// Asks and waits for the answer; without a limit when there is none, but never longer than the step.
    pub(super) fn raw(
        &self,
        method: &str,
        path: &str,
        body: Body<'_>,
        headers: &[(&str, String)],
        limit: Option<Duration>,
    ) -> Result<Answer, Fault> {
        let away = |e: &std::io::Error| {
            Fault::new(format!(
                "cannot speak to Docker at `{}`: {}; is the daemon installed and running?",
                self.socket,
                plain(e)
            ))
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(|e| away(&e))?;
        let mut head =
            format!("{method} {}{path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n", self.prefix);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let send = || match body {
            Body::Nothing => {
                head.push_str("Content-Length: 0\r\n\r\n");
                stream.write_all(head.as_bytes())
            }
            Body::Json(value) => {
                let text = value.to_string();
                head.push_str(&format!(
                    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
                    text.len()
                ));
                stream.write_all(head.as_bytes())
            }
            Body::File(mut file) => {
                let size = file.metadata()?.len();
                head.push_str(&format!("Content-Type: application/x-tar\r\nContent-Length: {size}\r\n\r\n"));
                stream.write_all(head.as_bytes())?;
                std::io::copy(&mut file, &mut stream).map(drop)
            }
        };
        match send() {
            // The daemon may refuse before it has read everything; its answer says why.
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => return Err(away(&e)),
            _ => {}
        }
        self.answer(stream, limit)
    }

    fn answer(&self, mut stream: UnixStream, limit: Option<Duration>) -> Result<Answer, Fault> {
        // Short reads, so that a cancelled step ends soon.
        let tick = stream.set_read_timeout(Some(Duration::from_millis(200)));
        tick.map_err(|e| Fault::new(format!("cannot set up the socket: {}", plain(&e))))?;
        let mut bytes = Vec::new();
        let mut piece = vec![0; 32 * 1024];
        let mut heard = Instant::now();
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    bytes.extend_from_slice(&piece[..count]);
                    heard = Instant::now();
                }
                Err(e)
                    if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    if self.host.runner.cancelled() {
                        return Err(Fault::new("the step was cancelled while it waited for Docker"));
                    }
                    if limit.is_some_and(|limit| heard.elapsed() > limit) {
                        return Err(Fault::new(format!(
                            "Docker said nothing for {} seconds (`timeout`)",
                            self.timeout.as_secs()
                        )));
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::new(format!("lost the connection to Docker: {}", plain(&e)))),
            }
            // The connection stays open after the answer when the daemon doesn't care for our wish.
            if let Some(answer) = parse(&bytes, false) {
                return Ok(answer);
            }
        }
        parse(&bytes, true)
            .ok_or_else(|| Fault::new("Docker ended the connection in the middle of its answer"))
    }
}

/// The answer in these bytes; `None` while it is not complete. `ended`: no more will come.
fn parse(bytes: &[u8], ended: bool) -> Option<Answer> {
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..at]).ok()?;
    let body = &bytes[at + 4..];
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        head.lines().skip(1).filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    let chunked = header("transfer-encoding").is_some_and(|(_, v)| v.trim().eq_ignore_ascii_case("chunked"));
    let body = if chunked {
        unchunked(body)?
    } else if status == 204 || status == 304 {
        Vec::new()
    } else if let Some(length) = header("content-length").and_then(|(_, v)| v.trim().parse().ok()) {
        body.get(..length)?.to_vec()
    } else if ended {
        body.to_vec()
    } else {
        return None;
    };
    Some(Answer { status, body })
}

/// The content of all chunks; `None` before the last one is there.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    // An answer of many pieces is looked at after each of them: no copy before its end is there.
    if !bytes.ends_with(b"0\r\n\r\n") {
        return None;
    }
    let mut whole = Vec::new();
    loop {
        let at = bytes.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..at]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        bytes = bytes.get(at + 2..)?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

/// An option's text; empty is absent.
pub(super) fn text<'a>(args: &'a Args, name: &str) -> Option<&'a str> {
    args.get(name).and_then(Value::as_str).filter(|t| !t.is_empty())
}

/// Whether an option is on.
pub(super) fn on(args: &Args, name: &str) -> bool {
    args.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// An option that is a list; empty when it is absent.
pub(super) fn list<'a>(args: &'a Args, name: &str) -> &'a [Value] {
    args.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An option that is a mapping.
pub(super) fn dict<'a>(args: &'a Args, name: &str) -> Option<&'a Map<String, Value>> {
    args.get(name).and_then(Value::as_object)
}

/// A value as the text that Docker wants for it: `1`, `true`, `x`.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A mapping whose values are all texts, as labels and driver options are.
pub(super) fn words(map: &Map<String, Value>) -> Value {
    map.iter().map(|(name, value)| (name.clone(), Value::from(word(value)))).collect()
}

/// A mapping; one function for all of them, because the macro's code is made anew in every place.
pub(super) fn object(parts: Vec<(&str, Value)>) -> Value {
    let mut map = Map::new();
    for (name, value) in parts {
        map.insert(name.to_owned(), value);
    }
    map.into()
}

/// An option inside of a mapping; null is absent.
pub(super) fn part<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    map.get(name).filter(|v| !v.is_null())
}

/// Whether what is there has all that is wanted: objects may have more keys, lists the same items in any order.
pub(super) fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| there.get(name).is_some_and(|t| covers(t, value)))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && wanted.iter().all(|w| there.iter().any(|t| covers(t, w)))
        }
        (there, wanted) => there == wanted,
    }
}

/// A part of a query string.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Repository and tag or digest of an image's name: `reg:5000/a/b:1`, `b@sha256:..`. `latest` when there is none.
pub(super) fn image_parts(name: &str) -> (&str, &str) {
    if let Some((repository, digest)) = name.split_once('@') {
        return (repository, digest);
    }
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    }
}

/// The whole name: `b:latest` for `b`, but digests and ids stay.
pub(super) fn image_name(name: &str) -> String {
    let (repository, tag) = image_parts(name);
    if name.contains('@') || name.starts_with("sha256:") {
        name.to_owned()
    } else {
        format!("{repository}:{tag}")
    }
}

/// An image's description; `None` when the daemon has none of that name.
///
/// # Errors
/// As [`Docker::ask`].
pub(super) fn image(docker: &Docker<'_>, name: &str) -> Result<Option<Value>, Fault> {
    let path = format!("/images/{}/json", image_name(name));
    docker.get(&format!("look for the image `{name}`"), &path)
}

/// Pulls an image.
///
/// # Errors
/// As [`Docker::long`].
pub(super) fn pull(docker: &Docker<'_>, name: &str, platform: Option<&str>) -> Result<(), Fault> {
    let (repository, tag) = image_parts(name);
    let mut path = format!("/images/create?fromImage={}&tag={}", escaped(repository), escaped(tag));
    if let Some(platform) = platform {
        path.push_str(&format!("&platform={}", escaped(platform)));
    }
    docker.long(&format!("pull `{name}`"), &path, Body::Nothing, &credentials(docker, repository)).map(drop)
}

/// The header with the user's credentials for a registry, as `docker login` left them.
pub(super) fn credentials(docker: &Docker<'_>, repository: &str) -> Vec<(&'static str, String)> {
    let environment = |name: &str| {
        let own = docker.host.environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        own.or_else(|| std::env::var(name).ok())
    };
    let folder = environment("DOCKER_CONFIG").or_else(|| Some(format!("{}/.docker", environment("HOME")?)));
    let config = folder.and_then(|folder| system::text(format!("{folder}/config.json"))).unwrap_or_default();
    let config: Value = serde_json::from_str(&config).unwrap_or_default();
    let first = repository.split('/').next().unwrap_or_default();
    // A first part without a dot or a port is a name at the usual registry.
    let registry = if repository.contains('/') && (first.contains(['.', ':']) || first == "localhost") {
        first
    } else {
        "https://index.docker.io/v1/"
    };
    let standard = base64::engine::general_purpose::STANDARD;
    let found = config["auths"][registry]["auth"].as_str().and_then(|auth| standard.decode(auth).ok());
    let Some((user, password)) =
        found.as_deref().and_then(|f| std::str::from_utf8(f).ok()).and_then(|f| f.split_once(':'))
    else {
        return Vec::new();
    };
    let auth = object(vec![
        ("username", user.into()),
        ("password", password.into()),
        ("serveraddress", registry.into()),
    ]);
    vec![("X-Registry-Auth", base64::engine::general_purpose::URL_SAFE.encode(auth.to_string()))]
}

#[cfg(test)]
pub(super) mod fake {
    //! A daemon for tests: a socket that answers by a function and remembers what it was asked.

    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::os::unix::net::UnixListener;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use crate::testing::{TempDir, temp_dir};

    type Reply = dyn FnMut(&str, &str, &Value) -> (u16, Value) + Send;

    pub(in super::super) struct Daemon {
        _folder: TempDir,
        pub(in super::super) address: String,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Daemon {
        /// Answers `(method, path, body)`. A string is sent in chunks as it is.
        pub(in super::super) fn answering(
            mut reply: impl FnMut(&str, &str, &Value) -> (u16, Value) + Send + 'static,
        ) -> Self {
            let folder = temp_dir();
            let socket = folder.at("docker.sock");
            let listener = UnixListener::bind(&socket).expect("a socket");
            let asked = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&asked);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    serve(stream, &seen, &mut reply);
                }
            });
            Self { _folder: folder, address: format!("unix://{socket}"), asked }
        }

        /// Requests that were meant to change something, as `POST /path`.
        pub(in super::super) fn changes(&self) -> Vec<String> {
            std::mem::take(&mut *self.asked.lock().expect("lock"))
        }
    }

    fn serve(stream: std::os::unix::net::UnixStream, seen: &Mutex<Vec<String>>, reply: &mut Reply) {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first).expect("a line");
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            if let Some((name, value)) = line.split_once(':')
                && name == "Content-Length"
            {
                length = value.trim().parse().expect("a number");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        let body = serde_json::from_slice(&body).unwrap_or(json!({"bytes": length}));
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if method != "GET" {
            seen.lock().expect("lock").push(format!("{method} {path}"));
        }
        let (status, value) = reply(method, path, &body);
        let answer = match value {
            Value::String(text) => format!(
                "HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
                text.len()
            ),
            Value::Null => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
            value => {
                let text = value.to_string();
                format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len())
            }
        };
        reader.into_inner().write_all(answer.as_bytes()).expect("the answer is sent");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_images_have_repository_and_tag() {
        assert_eq!(image_parts("reg:5000/a/b"), ("reg:5000/a/b", "latest"));
        assert_eq!(image_parts("reg:5000/a/b:1"), ("reg:5000/a/b", "1"));
        assert_eq!(image_parts("b@sha256:00"), ("b", "sha256:00"));
        assert_eq!(image_name("b"), "b:latest");
        assert_eq!(escaped("a/b:1"), "a%2Fb%3A1");
    }

    #[test]
    fn answers_come_whole_in_chunks_or_by_length() {
        let of = |text: &str| {
            parse(text.as_bytes(), false).map(|a| (a.status, String::from_utf8(a.body).expect("text")))
        };
        assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"), None);
        assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), Some((200, "abc".into())));
        assert_eq!(of("HTTP/1.1 204 No Content\r\n\r\n"), Some((204, String::new())));
        let chunked =
            "HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(of(chunked), Some((201, "abc".into())));
        assert_eq!(of(&chunked[..chunked.len() - 3]), None);
    }

    #[test]
    fn a_daemon_that_is_not_there_is_told() {
        let result = crate::testing::run(
            "docker_network",
            json!({"name": "n", "docker_host": "unix:///nonexistent/docker.sock"}),
            false,
        );
        assert_eq!(
            result["msg"],
            "cannot speak to Docker at `/nonexistent/docker.sock`: no such file or directory; is the daemon installed and running?"
        );
        let result =
            crate::testing::run("docker_network", json!({"name": "n", "docker_host": "tcp://h:1"}), false);
        assert_eq!(
            result["msg"],
            "`docker_host` is `tcp://h:1`, and only `unix://` sockets are supported; run the task on the daemon's host"
        );
    }
}
