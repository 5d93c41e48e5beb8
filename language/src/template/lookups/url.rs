//! The lookup `url`.
//!
//! Owns: asking an address from the controller. Must not: speak HTTP. The agent does that on every host, so it does it
//! here too, by its module `uri`: one client with one set of rules, and none in this program.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use dcos_play_agent::protocol::{self, FromAgent, PROTOCOL, StepRequest, StepResult, ToAgent};
use fs_err::os::unix::fs::OpenOptionsExt as _;
use minijinja::Value;
use serde_json::{Map, json};
use tempfile::TempDir;

use super::Call;
use crate::template::error::R;
use crate::template::methods::splitlines;
use crate::template::values::text;

/// Unpacks the agent's program.
static AGENT: OnceLock<fn() -> io::Result<Vec<u8>>> = OnceLock::new();

/// Says how to get the agent's program, for what a template asks of the network. The first caller wins.
///
/// Told by the program rather than known here: so this crate is built while the agent still is.
pub fn use_agent(unpack: fn() -> io::Result<Vec<u8>>) {
    AGENT.get_or_init(|| unpack);
}

/// The lookup's options that the module knows, with the module's names.
const OPTIONS: [(&str, &str); 13] = [
    ("ca_path", "ca_path"),
    ("ciphers", "ciphers"),
    ("follow_redirects", "follow_redirects"),
    ("force", "force"),
    ("force_basic_auth", "force_basic_auth"),
    ("headers", "headers"),
    ("http_agent", "http_agent"),
    ("password", "url_password"),
    ("timeout", "timeout"),
    ("unredirected_headers", "unredirected_headers"),
    ("use_gssapi", "use_gssapi"),
    ("use_proxy", "use_proxy"),
    ("username", "url_username"),
];

/// Reads an address from the controller; `split_lines` is on, as in Ansible.
pub(super) fn url(_: &mut super::Cx, call: &Call) -> R<Vec<Value>> {
    let split = call.flag("split_lines", true)?;
    let mut args = Map::new();
    for (name, option) in OPTIONS {
        if let Some(value) = call.option(name).filter(|value| !value.is_none()) {
            args.insert(option.to_owned(), serde_json::to_value(value).map_err(|e| call.fail(e))?);
        }
    }
    args.insert("validate_certs".to_owned(), json!(call.flag("validate_certs", true)?));
    args.insert("return_content".to_owned(), json!(true));
    // The lookup gives up sooner than the module.
    args.entry("timeout").or_insert(json!(10));
    let mut agent = Agent::start().map_err(|e| call.fail(e))?;
    let mut out = Vec::new();
    for term in &call.terms {
        let address = text(term)?;
        args.insert("url".to_owned(), json!(address));
        let told = |why: &dyn std::fmt::Display| call.fail(format!("`{address}`: {why}"));
        let result = agent.ask(&args).map_err(|e| told(&e))?;
        if result.get("failed").is_some_and(|failed| failed == true) {
            let why = result.get("msg").and_then(|msg| msg.as_str());
            return Err(told(&why.unwrap_or("the request failed and nothing says why")));
        }
        let content = result.get("content").and_then(|content| content.as_str()).unwrap_or_default();
        if split {
            out.extend(splitlines(content, false).into_iter().map(Value::from));
        } else {
            out.push(Value::from(content));
        }
    }
    Ok(out)
}

/// An agent of our own, for one lookup; it ends with the value.
struct Agent {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    asked: usize,
    _folder: TempDir,
}

impl Agent {
    fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("agent");
        let unpack =
            AGENT.get().ok_or_else(|| io::Error::other("this program carries no agent to ask with"))?;
        let bytes = unpack()?;
        let mut file = fs_err::OpenOptions::new().create_new(true).write(true).mode(0o700).open(&program)?;
        file.write_all(&bytes)?;
        drop(file);
        let mut process = spawned(&program)?;
        let (Some(mut to), Some(from)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the agent has no pipes"));
        };
        let mut from = BufReader::new(from);
        from.read_line(&mut String::new())?;
        let hello = ToAgent::Hello { protocol: PROTOCOL, run: "lookup".to_owned() };
        protocol::write(&mut to, &hello, &[]).map_err(io::Error::other)?;
        Ok(Self { process, to, from, asked: 0, _folder: folder })
    }

    fn ask(&mut self, args: &Map<String, serde_json::Value>) -> io::Result<StepResult> {
        self.asked += 1;
        let step = StepRequest {
            step: format!("lookup/{}", self.asked),
            module: "uri".to_owned(),
            args: args.clone(),
            check: false,
            diff: false,
            environment: Vec::new(),
            timeout_ms: None,
            uploads: Vec::new(),
            no_log: false,
            background: None,
        };
        protocol::write(&mut self.to, &ToAgent::Step(Box::new(step)), &[]).map_err(io::Error::other)?;
        loop {
            match protocol::read::<FromAgent>(&mut self.from).map_err(io::Error::other)? {
                Some((FromAgent::Done { result, .. }, _)) => return Ok(result),
                Some((FromAgent::Fault { message }, _)) => return Err(io::Error::other(message)),
                Some(_) => {}
                None => return Err(io::Error::other("the agent ended without an answer")),
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the program. Another thread that starts a process at this moment may still hold the file open for writing,
/// until that process runs.
fn spawned(program: &Path) -> io::Result<Child> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut command = Command::new(program);
        command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        match command.spawn() {
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            end => return end.map_err(|e| at(program, &e)),
        }
    }
}

fn at(program: &Path, e: &io::Error) -> io::Error {
    io::Error::new(
        e.kind(),
        format!("cannot start `{}`: {e} (`TMPDIR` may name another folder)", program.display()),
    )
}
