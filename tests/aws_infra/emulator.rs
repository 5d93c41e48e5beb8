//! An emulator of AWS on loopback with a proxy in front that counts calls and breaks some.
//!
//! Owns: both processes' lives, the faults. Must not: know what is tested.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the proxy does to calls that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The nth changing call, from 1, is carried out; then the client is killed and gets no reply.
    KillAt(usize),
    /// The first reply to each changing call is lost.
    LoseReplies,
    /// The first try of every third call is refused: too many, or an internal error.
    Throttle,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    /// Changing calls, in order.
    calls: Vec<String>,
    /// Contents of calls that were broken once; the next try goes through.
    broken: Vec<String>,
    client: Option<u32>,
}

/// The emulator and its proxy; both end with it.
pub(crate) struct Emulator {
    moto: Child,
    direct: String,
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    pub(crate) folder: tempfile::TempDir,
}

/// As scripts/emulator.sh has it.
fn folder() -> PathBuf {
    if let Some(given) = std::env::var_os("DCOS_PLAY_EMULATOR") {
        return given.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("dcos-play/emulator")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Emulator {
    /// Starts both, with the moto that `make emulator` installs.
    pub(crate) fn start() -> Self {
        let program = folder().join("bin/moto_server");
        let port = free_port();
        let moto = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_ENABLE_KEYPAIR_VALIDATION", "1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("no emulator {}: {e}; `make emulator` installs it", program.display())
            });
        let direct = format!("http://127.0.0.1:{port}");
        let began = Instant::now();
        while ureq::get(format!("{direct}/moto-api/data.json")).call().is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "the emulator doesn't answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        // It loads a service at the first call to it, and several first calls at once may hang.
        for (service, version, action) in [
            ("ec2", "2016-11-15", "DescribeVpcs"),
            ("elasticloadbalancing", "2012-06-01", "DescribeLoadBalancers"),
            ("iam", "2010-05-08", "ListRoles"),
            ("s3", "", ""),
        ] {
            let _ = ask(&direct, service, version, action);
        }
        let state = Arc::new(Mutex::new(State {
            fault: Fault::None,
            calls: Vec::new(),
            broken: Vec::new(),
            client: None,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (to, shared) = (direct.clone(), Arc::clone(&state));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (to, shared) = (to.clone(), Arc::clone(&shared));
                std::thread::spawn(move || pass(&stream, &shared, &to));
            }
        });
        Self { moto, direct, url, state, folder: tempfile::tempdir().unwrap() }
    }

    /// Sets the fault and forgets the calls so far.
    pub(crate) fn breaks(&self, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.fault = fault;
        state.calls.clear();
        state.broken.clear();
    }

    /// Changing calls since the last [`Emulator::breaks`].
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Runs the program and gives its exit status (`None` when it was killed) and what it said.
    pub(crate) fn play(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dcos-play"))
            .args(words)
            .current_dir(self.folder.path())
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOME", self.folder.path())
            .env_remove("XDG_STATE_HOME")
            .env_remove("AWS_PROFILE")
            .stdin(Stdio::null())
            .stdout(Stdio::from(self.log()))
            .stderr(Stdio::from(self.log()))
            .spawn()
            .unwrap();
        self.state.lock().unwrap().client = Some(child.id());
        let status = child.wait().unwrap();
        self.state.lock().unwrap().client = None;
        let path = self.log_path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        (status.code(), text)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("out.txt")
    }

    fn log(&self) -> std::fs::File {
        std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap()
    }

    /// Asks the emulator itself: how often an element occurs in the reply to a call to EC2.
    pub(crate) fn count(&self, action: &str, element: &str) -> usize {
        let text = ask(&self.direct, "ec2", "2016-11-15", action).unwrap();
        text.matches(&format!("<{element}>")).count()
    }
}

fn ask(direct: &str, service: &str, version: &str, action: &str) -> Result<String, ureq::Error> {
    let scope = format!("Credential=test/20260101/eu-west-1/{service}/aws4_request");
    ureq::post(direct)
        .header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"))
        .header("content-type", "application/x-www-form-urlencoded")
        .send(format!("Action={action}&Version={version}"))?
        .body_mut()
        .read_to_string()
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.moto.kill();
        let _ = self.moto.wait();
    }
}

/// A request as it came.
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let mut words = line.split_whitespace().map(ToOwned::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.and_then(|(_, n)| n.parse().ok()).unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        Some(Self { method, path, headers, body: String::from_utf8(body).ok()? })
    }

    /// `RunInstances`, or `PUT /bucket?tagging` for what has no action.
    fn named(&self) -> String {
        let action = self.body.split('&').find_map(|pair| pair.strip_prefix("Action="));
        action.map_or_else(|| format!("{} {}", self.method, self.path), ToOwned::to_owned)
    }

    fn forward(&self, direct: &str) -> Option<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let url = format!("{direct}{}", self.path);
        let mut built = ureq::http::Request::builder().method(self.method.as_str()).uri(url);
        for (name, value) in &self.headers {
            // The length is the body's; the rest is the connection's own business.
            let own = ["host", "content-length", "connection", "transfer-encoding", "expect"];
            if !own.contains(&name.as_str()) {
                built = built.header(name, value);
            }
        }
        let mut reply = agent.run(built.body(self.body.clone()).ok()?).ok()?;
        let text = reply.body_mut().read_to_string().unwrap_or_default();
        Some((reply.status().as_u16(), text))
    }
}

fn answer(mut stream: &TcpStream, status: u16, text: &str) {
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
}

fn changes(call: &str) -> bool {
    !["Describe", "Get", "List", "GET ", "HEAD "].iter().any(|quiet| call.starts_with(quiet))
}

fn pass(stream: &TcpStream, state: &Mutex<State>, direct: &str) {
    let Some(request) = Request::read(stream) else { return };
    let call = request.named();
    let changing = changes(&call);
    let content = format!("{call}\n{}", request.body);
    let (fault, number, first, client, turn) = {
        let mut state = state.lock().unwrap();
        if changing {
            state.calls.push(call.clone());
        }
        let first = !state.broken.contains(&content);
        if first {
            state.broken.push(content);
        }
        (state.fault, state.calls.len(), first, state.client, state.broken.len())
    };
    if fault == Fault::Throttle && first && turn.is_multiple_of(3) {
        if changing {
            let text = "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>slow down</Message></Error></Errors></Response>";
            answer(stream, 503, text);
        } else {
            answer(stream, 500, "<!doctype html><title>500 Internal Server Error</title>");
        }
        return;
    }
    // Without an answer the connection closes.
    let Some((status, text)) = request.forward(direct) else { return };
    match fault {
        Fault::KillAt(at) if changing && number == at => {
            if let Some(client) = client.and_then(|c| i32::try_from(c).ok()) {
                let pid = nix::unistd::Pid::from_raw(client);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
        Fault::LoseReplies if changing && first => {}
        _ => answer(stream, status, &text),
    }
}
