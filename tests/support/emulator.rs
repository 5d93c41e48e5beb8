//! An emulator of AWS on loopback: moto out of a Python environment in the user's cache folder (`make emulator`).
//!
//! A test takes one for itself, so that accounts are never shared. Include it beside `mod.rs`:
//! `#[path = "support/emulator.rs"] mod emulator;`

#![allow(unreachable_pub, dead_code, reason = "each test binary takes this file in and uses what it needs")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const SERVER: &str = include_str!("emulator.py");

/// A running emulator; it ends with this value, or with the test's process.
pub struct Emulator {
    child: Child,
    port: u16,
}

impl Emulator {
    /// Starts an empty account. Without the Python environment it says SKIPPED and why; the test returns then.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with settings of moto, such as `MOTO_AMIS_PATH`.
    pub fn start_with(settings: &[(&str, &str)]) -> Option<Self> {
        let python = folder().join("bin/python");
        if !python.exists() {
            let reason = format!("no emulator of AWS in {}; `make emulator` installs it", folder().display());
            drop(writeln!(std::io::stderr(), "SKIPPED: {reason}"));
            return None;
        }
        let mut child = Command::new(&python)
            .args(["-c", SERVER])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the emulator's python runs");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output is ours");
        BufReader::new(out).read_line(&mut line).expect("the emulator talks");
        let port = line.trim().parse().unwrap_or_else(|_| {
            panic!("the emulator in {} doesn't start; `make emulator` renews it", folder().display())
        });
        Some(Self { child, port })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment in which AWS clients find it, and nothing of the user's own account.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", "AKIAEMULATOR".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "geheim-emulator".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/nowhere/config".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials".to_owned()),
        ]
    }

    /// One EC2 call past our own code, `[("Action", "CreateVpc"), ("CidrBlock", "10.0.0.0/16")]`; the reply's XML.
    pub fn ec2(&self, region: &str, parameters: &[(&str, &str)]) -> String {
        self.call("ec2", "2016-11-15", region, parameters)
    }

    /// One call of any service that speaks AWS's query protocol; panics when it is refused.
    pub fn call(&self, service: &str, version: &str, region: &str, parameters: &[(&str, &str)]) -> String {
        // Services and regions are told apart by the scope of the signature, which nobody checks.
        let scope = format!("AKIAEMULATOR/20260101/{region}/{service}/aws4_request");
        let signature = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let form = parameters.iter().copied().chain([("Version", version)]);
        let reply = ureq::post(self.url())
            .config()
            .http_status_as_error(false)
            .build()
            .header("Authorization", signature)
            .send_form(form)
            .expect("the emulator answers");
        let status = reply.status();
        let text = reply.into_body().read_to_string().expect("the emulator's reply");
        assert!(status.is_success(), "{parameters:?}: {status} {text}");
        text
    }

    /// Turns the checks of keys and permissions on, as on AWS.
    pub fn check_permissions(&self) {
        let url = format!("{}/moto-api/reset-auth", self.url());
        ureq::post(url).header("Content-Type", "text/plain").send("0").expect("the emulator answers");
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What stands between the first pair of these tags.
pub fn tag<'x>(xml: &'x str, name: &str) -> &'x str {
    tags(xml, name).next().unwrap_or_else(|| panic!("no <{name}> in {xml}"))
}

/// What stands between each pair of these tags.
pub fn tags<'x>(xml: &'x str, name: &str) -> impl Iterator<Item = &'x str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (inside, after) = after.split_once(&close)?;
        rest = after;
        Some(inside)
    })
}

/// Where the Python environment is: `DCOS_PLAY_EMULATOR`, else in the user's cache folder.
fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("DCOS_PLAY_EMULATOR") {
        return PathBuf::from(folder);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("dcos-play/emulator")
}
