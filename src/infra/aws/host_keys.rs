//! Host keys of instances, read from the console where cloud-init prints them and pinned in a file of known hosts.
//!
//! Owns: `ec2_host_keys`, our own module. Must not: take a key from the network: the console's output comes from AWS itself, signed
//! for by the account, so nobody on the way can slip another key in. Where there is none, it says so, and the first contact decides.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value as Json, json};

use super::client::fault;
use super::task::{LATER, Task, refused, strings, take};
use super::text;
use super::waiting::pause;
use crate::infra::cloud::Options;
use crate::infra::fault::{Class, CloudFault};

const BEGIN: &str = "-----BEGIN SSH HOST KEY KEYS-----";
const END: &str = "-----END SSH HOST KEY KEYS-----";
/// Where playbooks/site.yml has it too.
const USUAL: &str = ".dcos-play/known_hosts";
const PATIENCE: u64 = 300;

/// The keys in the last whole block of a console's output, as `TYPE KEY`.
fn keys_in(console: &str) -> Vec<String> {
    let Some(end) = console.rfind(END) else { return Vec::new() };
    let Some(begin) = console[..end].rfind(BEGIN) else { return Vec::new() };
    console[begin + BEGIN.len()..end].lines().filter_map(key_in).collect()
}

/// A line may begin with what a log puts there, and may be broken by other output: only whole keys count.
fn key_in(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (kind, key) = words.windows(2).find_map(|pair| {
        let known = pair[0].starts_with("ssh-") || pair[0].starts_with("ecdsa-sha2-");
        known.then_some((pair[0], pair[1]))
    })?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(key).ok()?;
    let named = bytes.get(4..4 + kind.len())? == kind.as_bytes();
    let length = bytes.first_chunk().map(|n| u32::from_be_bytes(*n) as usize);
    (named && length == Some(kind.len())).then(|| format!("{kind} {key}"))
}

/// What a file of known hosts says about an instance's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pin {
    /// Every address has a key, and nothing says that it is another instance's.
    Held,
    /// The first contact was to decide, and has not come yet.
    Noted,
    Open,
}

/// One line about an address: the instance it is of, when it says so, and whether it holds a key.
struct Line<'a> {
    instance: Option<&'a str>,
    key: bool,
}

/// A line when it is about that address. Ours end with the instance; ssh writes none.
fn about<'a>(line: &'a str, host: &str) -> Option<Line<'a>> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    if first == "#" {
        (words.next()? == host).then_some(())?;
        let instance = words.next()?.trim_end_matches(':');
        return instance.starts_with("i-").then_some(Line { instance: Some(instance), key: false });
    }
    first.split(',').any(|name| name == host).then_some(())?;
    let instance = words.nth(2).filter(|comment| comment.starts_with("i-"));
    Some(Line { instance, key: true })
}

fn pin(file: &str, hosts: &[String], id: &str) -> Pin {
    let mut all = Pin::Held;
    for host in hosts {
        let lines: Vec<Line<'_>> = file.lines().filter_map(|line| about(line, host)).collect();
        let foreign = lines.iter().any(|l| l.instance.is_some_and(|i| i != id));
        match () {
            () if foreign => return Pin::Open,
            () if lines.iter().any(|l| l.key) => {}
            () if lines.is_empty() => return Pin::Open,
            () => all = Pin::Noted,
        }
    }
    all
}

/// The file with these lines for an instance. What it says of another instance at the same addresses goes.
fn pinned(file: &str, hosts: &[String], id: &str, keys: &[String]) -> String {
    let mut stale: Vec<&String> = Vec::new();
    for host in hosts {
        let instances = file.lines().filter_map(|l| about(l, host)?.instance);
        if instances.clone().any(|i| i != id) || !keys.is_empty() {
            stale.push(host);
        }
    }
    let goes = |line: &&str| stale.iter().any(|host| about(line, host).is_some());
    let mut text: String = file.lines().filter(|l| !goes(l)).map(|l| format!("{l}\n")).collect();
    for host in hosts {
        for key in keys {
            text.push_str(&format!("{host} {key} {id}\n"));
        }
        if keys.is_empty() {
            text.push_str(&format!("# {host} {id}: accepted at the first contact\n"));
        }
    }
    text
}

fn whole_path(written: &str) -> PathBuf {
    match (written.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(written),
    }
}

fn read(path: &Path) -> Result<String, CloudFault> {
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// Hosts are worked on side by side, and the file is one.
static FILE: Mutex<()> = Mutex::new(());

fn write(path: &Path, change: impl FnOnce(&str) -> String) -> Result<(), CloudFault> {
    let _one = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = change(&read(path)?);
    // What a link leads to is replaced, not the link.
    let target = fs_err::canonicalize(path);
    let path = target.as_deref().unwrap_or(path);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let put = || -> std::io::Result<()> {
        use std::io::Write as _;
        fs_err::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    put().map_err(|e| refused(format!("{} cannot be written: {e}", path.display())))
}

impl Task<'_> {
    /// `ec2_host_keys`.
    pub(super) async fn host_keys(&self, mut args: Options) -> Result<Options, CloudFault> {
        let id = text(&args, "instance_id")?.to_owned();
        let hosts = strings(args.get("hosts"));
        if let Some(bad) = hosts.iter().find(|h| h.is_empty() || h.contains([' ', ',', '\n', '#', '*'])) {
            return Err(refused(format!("`{bad}` is no address that a host key can belong to")));
        }
        let path = whole_path(&take(&mut args, "path").unwrap_or_else(|| USUAL.to_owned()));
        let patience = args.get("timeout").and_then(Json::as_u64).unwrap_or(PATIENCE);
        let there = pin(&read(&path)?, &hosts, &id);
        let result = |changed: bool, pinned: bool, source: &str, keys: &[String]| {
            Options::from_iter([
                ("changed".to_owned(), changed.into()),
                ("pinned".to_owned(), pinned.into()),
                ("source".to_owned(), source.into()),
                ("keys".to_owned(), json!(keys)),
                ("path".to_owned(), path.to_string_lossy().into()),
            ])
        };
        if there == Pin::Held {
            return Ok(result(false, true, "known_hosts", &[]));
        }
        if self.check || id == LATER {
            return Ok(result(true, false, "console", &[]));
        }
        // Who went without once need not wait again.
        let patience = if there == Pin::Noted { 0 } else { patience };
        let keys = self.console_keys(&id, Duration::from_secs(patience)).await?;
        if keys.is_empty() {
            if there == Pin::Open {
                write(&path, |file| pinned(file, &hosts, &id, &[]))?;
            }
            let mut result = result(there == Pin::Open, false, "first contact", &[]);
            let text = format!(
                "the console of {id} shows no host keys after {patience} s: the key of {} is accepted at the first contact, then pinned",
                hosts.join(", ")
            );
            result.insert("msg".to_owned(), text.into());
            return Ok(result);
        }
        write(&path, |file| pinned(file, &hosts, &id, &keys))?;
        Ok(result(true, true, "console", &keys))
    }

    async fn console_keys(&self, id: &str, patience: Duration) -> Result<Vec<String>, CloudFault> {
        let began = tokio::time::Instant::now();
        // Only instances of newer kinds show what stands there now; of others it comes some minutes late.
        let mut latest = true;
        for attempt in 0.. {
            let call = self.account.clients.ec2.get_console_output().instance_id(id);
            let reply = call.set_latest(latest.then_some(true)).send().await;
            match reply.map_err(|e| fault("ec2:GetConsoleOutput", &e)) {
                Ok(reply) => {
                    let bytes: String = reply.output().unwrap_or_default().split_whitespace().collect();
                    let bytes = base64::engine::general_purpose::STANDARD.decode(bytes).unwrap_or_default();
                    let keys = keys_in(&String::from_utf8_lossy(&bytes));
                    if !keys.is_empty() {
                        return Ok(keys);
                    }
                }
                Err(fault) if latest && matches!(fault.class, Class::Refused) => {
                    latest = false;
                    continue;
                }
                // Not in sight yet, or busy.
                Err(fault)
                    if matches!(
                        fault.class,
                        Class::NotFound | Class::State | Class::Transient | Class::Throttled
                    ) => {}
                Err(fault) => return Err(fault),
            }
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(pause(attempt + 2, Duration::from_secs(10)).min(left)).await;
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC1Hn8Zl0PbGxAEhZxjQ1sCXDTX8bJGjVkXIcZ7hM3Ui";

    fn hosts() -> Vec<String> {
        vec!["10.0.1.4".to_owned()]
    }

    #[test]
    fn only_whole_keys_of_the_last_whole_block_count() {
        let console = format!(
            "[ 1.0] boot\r\n{BEGIN}\r\nssh-ed25519 AAAAold root@x\r\n{END}\r\n{BEGIN}\r\ncloud-init[9]: {ED} root@x\r\n\
             ssh-rsa AAAAB3Nza[ 12.1] eth0 up\r\nssh-ed25519 AAAAB3NzaC1yc2E=\r\n{END}\r\nlogin: {BEGIN}\r\n"
        );
        assert_eq!(keys_in(&console), [ED]);
        assert!(keys_in(&format!("{BEGIN}\n{ED}\n")).is_empty());
        assert!(keys_in("").is_empty());
    }

    #[test]
    fn a_linked_file_stays_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs_err::write(&file, "a ssh-rsa AAAA\n").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        write(&link, |text| format!("{text}b ssh-rsa AAAA\n")).expect("written");
        assert!(link.is_symlink());
        assert_eq!(fs_err::read_to_string(&file).expect("a file"), "a ssh-rsa AAAA\nb ssh-rsa AAAA\n");
    }

    #[test]
    fn an_address_that_another_instance_had_is_open_again() {
        let file = pinned("web.example.com ssh-rsa AAAA\n", &hosts(), "i-1", &[ED.to_owned()]);
        assert_eq!(pin(&file, &hosts(), "i-1"), Pin::Held);
        assert_eq!(pin(&file, &hosts(), "i-2"), Pin::Open);
        let after = pinned(&file, &hosts(), "i-2", &[]);
        assert_eq!(after, "web.example.com ssh-rsa AAAA\n# 10.0.1.4 i-2: accepted at the first contact\n");
        assert_eq!(pin(&after, &hosts(), "i-2"), Pin::Noted);
        // What ssh writes at the first contact is held, until the instance is another one.
        let accepted = format!("{after}10.0.1.4 {ED}\n");
        assert_eq!(pin(&accepted, &hosts(), "i-2"), Pin::Held);
        assert_eq!(pin(&accepted, &hosts(), "i-3"), Pin::Open);
        assert!(!pinned(&accepted, &hosts(), "i-3", &[]).contains(ED));
    }

    #[test]
    fn a_key_that_somebody_put_there_stays() {
        let file = format!("10.0.1.4,master {ED} by hand\n");
        assert_eq!(pin(&file, &hosts(), "i-1"), Pin::Held);
    }
}
