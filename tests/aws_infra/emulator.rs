//! An emulator of AWS on loopback with a proxy in front that counts calls and breaks some.
//!
//! Owns: both processes' lives, the faults. Must not: know what is tested.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::strict::Strict;

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
    /// As AWS is: nothing comes or goes at once, and nothing goes that something still uses.
    Strict,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    /// Changing calls, in order.
    calls: Vec<String>,
    /// Contents of calls that were broken once; the next try goes through.
    broken: Vec<String>,
    client: Option<u32>,
    /// Replies by client token: AWS answers the same again, the emulator would make another one.
    tokens: std::collections::HashMap<String, (u16, String)>,
    /// Contents of calls that deleted something.
    ended: Vec<String>,
    /// A call that waits until a file is there.
    held: Option<(&'static str, PathBuf)>,
    /// Whether the file came, for each call that waited.
    waited: Vec<bool>,
    /// What consoles show, by the private address of the instance.
    consoles: std::collections::HashMap<String, String>,
    /// Public addresses of instances are their private ones: only those lead to hosts.
    one_address: bool,
    strict: Strict,
}

/// What a client token stands for.
enum Memory {
    Nothing,
    Reply((u16, String)),
    Ended,
}

impl State {
    fn remembered(&self, token: &str) -> Memory {
        let Some(reply) = self.tokens.get(token) else { return Memory::Nothing };
        let parts = reply.1.split(['<', '>']);
        let mut ids = parts.filter(|w| ["i-", "nat-", "rtb-"].iter().any(|p| w.starts_with(p)));
        match ids.any(|id| self.ended.iter().any(|body| body.contains(id))) {
            true => Memory::Ended,
            false => Memory::Reply(reply.clone()),
        }
    }
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
            tokens: std::collections::HashMap::new(),
            ended: Vec::new(),
            held: None,
            waited: Vec::new(),
            consoles: std::collections::HashMap::new(),
            one_address: false,
            strict: Strict::default(),
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

    /// Deletions that were refused since something still used the thing.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.state.lock().unwrap().strict.refused.clone()
    }

    /// Sends a call to EC2 through the proxy, past our own code.
    pub(crate) fn ec2(&self, call: &str) -> String {
        let scope = "Credential=test/20260101/eu-west-1/ec2/aws4_request";
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut reply = agent
            .post(&self.url)
            .header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"))
            .header("content-type", "application/x-www-form-urlencoded")
            .send(format!("{call}&Version=2016-11-15"))
            .unwrap();
        reply.body_mut().read_to_string().unwrap()
    }

    /// Holds every call of that name back until a file is there, for a minute at most.
    pub(crate) fn holds(&self, call: &'static str, until: PathBuf) {
        let mut state = self.state.lock().unwrap();
        state.held = Some((call, until));
        state.waited.clear();
    }

    /// For each call that was held back: whether the file came.
    pub(crate) fn waited(&self) -> Vec<bool> {
        self.state.lock().unwrap().waited.clone()
    }

    /// From now on an instance's public address is its private one, as hosts of a lab have but one.
    pub(crate) fn has_one_address(&self) {
        self.state.lock().unwrap().one_address = true;
    }

    /// Lets the console of the instance with that private address show a text.
    pub(crate) fn shows(&self, address: &str, text: &str) {
        self.state.lock().unwrap().consoles.insert(address.to_owned(), text.to_owned());
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

    /// Instances that run.
    pub(crate) fn running(&self) -> usize {
        let text = ask(&self.direct, "ec2", "2016-11-15", "DescribeInstances").unwrap();
        text.matches("<name>running</name>").count()
    }

    /// Names of buckets, roles and instance profiles.
    pub(crate) fn elsewhere(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (service, version, action, element) in [
            ("s3", "", "", "Name"),
            ("iam", "2010-05-08", "ListRoles", "RoleName"),
            ("iam", "2010-05-08", "ListInstanceProfiles", "InstanceProfileName"),
            ("elasticloadbalancing", "2012-06-01", "DescribeLoadBalancers", "LoadBalancerName"),
        ] {
            let text = match service {
                "s3" => {
                    let scope = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0";
                    let reply = ureq::get(&self.direct).header("authorization", scope).call();
                    reply.unwrap().body_mut().read_to_string().unwrap()
                }
                _ => ask(&self.direct, service, version, action).unwrap(),
            };
            let open = format!("<{element}>");
            all.extend(text.split(&open).skip(1).filter_map(|t| t.split('<').next()).map(ToOwned::to_owned));
        }
        all
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

    /// What makes AWS carry a call out once.
    fn token(&self) -> Option<String> {
        let given = self.body.split('&').find(|pair| pair.starts_with("ClientToken="))?;
        Some(format!("{} {given}", self.named()))
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

fn with_one_address(text: &str) -> String {
    const PUBLIC: &str = "<ipAddress>";
    let mut out = String::new();
    let mut rest = text;
    let mut private = "";
    while let Some((before, after)) = rest.split_once(PUBLIC) {
        out.push_str(before);
        if let Some((_, found)) = before.rsplit_once("<privateIpAddress>") {
            private = found.split('<').next().unwrap_or_default();
        }
        out.push_str(PUBLIC);
        let (_, end) = after.split_once('<').unwrap_or(("", after));
        out.push_str(private);
        out.push('<');
        rest = end;
    }
    out + rest
}

/// The emulator's own consoles show always the same.
fn console(request: &Request, state: &Mutex<State>, direct: &str) -> String {
    let id = request.body.split('&').find_map(|pair| pair.strip_prefix("InstanceId=")).unwrap_or_default();
    let all = ask(direct, "ec2", "2016-11-15", "DescribeInstances").unwrap_or_default();
    let about =
        all.split("<instanceId>").find(|part| part.starts_with(&format!("{id}<"))).unwrap_or_default();
    let address = about.split("<privateIpAddress>").nth(1).and_then(|rest| rest.split('<').next());
    let shown = address.and_then(|a| state.lock().unwrap().consoles.get(a).cloned()).unwrap_or_default();
    let output = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, shown);
    format!(
        "<GetConsoleOutputResponse><requestId>r</requestId><instanceId>{id}</instanceId>\
         <timestamp>2026-01-01T00:00:00.000Z</timestamp><output>{output}</output></GetConsoleOutputResponse>"
    )
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
    let token = request.token();
    let remembered = match token.as_ref().map(|t| state.lock().unwrap().remembered(t)) {
        // As AWS answers for a token whose instance is gone.
        Some(Memory::Ended) if call == "RunInstances" => {
            let text = "<Response><Errors><Error><Code>IdempotentInstanceTerminated</Code><Message>gone</Message></Error></Errors></Response>";
            answer(stream, 400, text);
            return;
        }
        Some(Memory::Reply(reply)) => Some(reply),
        _ => None,
    };
    if call.starts_with("Terminate") || call.starts_with("Delete") {
        state.lock().unwrap().ended.push(request.body.clone());
    }
    let asked = |action: &str| {
        let (service, version, action) = match action.split_once(':') {
            Some((service, action)) => (service, "2012-06-01", action),
            None => ("ec2", "2016-11-15", action),
        };
        ask(direct, service, version, action).unwrap_or_default()
    };
    if fault == Fault::Strict {
        let mut state = state.lock().unwrap();
        if let Some(code) = state.strict.refusal(&call, &request.body, &asked) {
            let text = format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>it is in use</Message></Error></Errors></Response>"
            );
            answer(stream, 400, &text);
            return;
        }
        state.strict.before(&call, &request.body, &asked);
    }
    let held = state.lock().unwrap().held.clone().filter(|(name, _)| *name == call);
    if let Some((_, file)) = held {
        let began = Instant::now();
        while !file.exists() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
        }
        state.lock().unwrap().waited.push(file.exists());
    }
    if call == "GetConsoleOutput" {
        answer(stream, 200, &console(&request, state, direct));
        return;
    }
    // Without an answer the connection closes.
    let Some((status, text)) = remembered.or_else(|| request.forward(direct)) else { return };
    let text = match fault {
        Fault::Strict if status == 200 => state.lock().unwrap().strict.seen(&call, &request.body, text),
        _ => text,
    };
    let text = if state.lock().unwrap().one_address { with_one_address(&text) } else { text };
    if let Some(token) = token.filter(|_| status == 200) {
        state.lock().unwrap().tokens.insert(token, (status, text.clone()));
    }
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
