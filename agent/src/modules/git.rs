//! `git`: a checkout at a version.
//!
//! Owns: comparing the checkout with the remote, cloning, fetching, switching. Must not: throw local changes away
//! unless `force` says so.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Command, Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{Answer, find_program, need_program, run_command};
use crate::system::{self, fault, outcome};

/// The module.
pub struct Git;

/// Typed arguments.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Args {
    repo: String,
    dest: Option<String>,
    version: String,
    remote: String,
    refspec: Option<String>,
    reference: Option<String>,
    force: bool,
    depth: Option<u64>,
    clone: bool,
    update: bool,
    bare: bool,
    recursive: bool,
    single_branch: bool,
    track_submodules: bool,
    verify_commit: bool,
    accept_hostkey: bool,
    accept_newhostkey: bool,
    key_file: Option<String>,
    ssh_opts: Option<String>,
    executable: Option<String>,
    umask: Option<Value>,
    separate_git_dir: Option<String>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            repo: String::new(),
            dest: None,
            version: "HEAD".into(),
            remote: "origin".into(),
            refspec: None,
            reference: None,
            force: false,
            depth: None,
            clone: true,
            update: true,
            bare: false,
            recursive: true,
            single_branch: false,
            track_submodules: false,
            verify_commit: false,
            accept_hostkey: false,
            accept_newhostkey: false,
            key_file: None,
            ssh_opts: None,
            executable: None,
            umask: None,
            separate_git_dir: None,
        }
    }
}

const OPTIONS: &[Opt] = &[
    Opt::str("repo").required().aliases(&["name"]),
    Opt::path("dest"),
    Opt::str("version"),
    Opt::str("remote"),
    Opt::str("refspec"),
    Opt::path("reference"),
    Opt::bool("force"),
    Opt::int("depth"),
    Opt::bool("clone"),
    Opt::bool("update"),
    Opt::bool("bare"),
    Opt::bool("recursive"),
    Opt::bool("single_branch"),
    Opt::bool("track_submodules"),
    Opt::bool("verify_commit"),
    Opt::bool("accept_hostkey"),
    Opt::bool("accept_newhostkey"),
    Opt::path("key_file").aliases(&["ssh_key_file"]),
    Opt::str("ssh_opts"),
    Opt::path("executable"),
    Opt::raw("umask"),
    Opt::path("separate_git_dir"),
];

/// What must be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Clone,
    /// Fetch, then switch to that commit.
    Update {
        before: String,
        after: String,
        dirty: bool,
        remote_url: bool,
    },
}

impl Module for Git {
    const SPEC: Spec = Spec {
        options: &[OPTIONS],
        mutually_exclusive: &[&["separate_git_dir", "bare"], &["accept_hostkey", "accept_newhostkey"]],
        ..Spec::new("git")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let tool = tool(args)?;
        let Some(dest) = args.dest.as_deref() else {
            if args.clone {
                return Err(fault("`git` needs `dest` unless `clone` is off"));
            }
            let after = remote_commit(args, &tool, None, host)?;
            return Ok(Inspection::Same(outcome(false, json!({"after": after}))));
        };
        let there = system::exists(if args.bare { format!("{dest}/config") } else { format!("{dest}/.git") });
        if !there {
            if !args.clone {
                let after = remote_commit(args, &tool, None, host)?;
                return Ok(Inspection::Same(outcome(true, json!({"before": null, "after": after}))));
            }
            let after = if host.check { remote_commit(args, &tool, None, host)? } else { None };
            return Ok(Inspection::Differs {
                change: Change::Clone,
                predicted: result(None, after.as_deref(), true, false),
            });
        }
        let before = local_commit(args, &tool, dest, host)?;
        let dirty = !args.bare && is_dirty(args, &tool, dest, host)?;
        if !args.update {
            return Ok(Inspection::Same(result(Some(&before), Some(&before), false, false)));
        }
        let url =
            git(args, &tool, Some(dest), &["config", "--get", &format!("remote.{}.url", args.remote)], host)?;
        let remote_url = url.out.trim() != args.repo;
        let after = match wanted_commit(args, &tool, dest, host)? {
            Some(commit) => commit,
            None => {
                return Err(fault(format!("`{}` has no version `{}`", args.repo, args.version)));
            }
        };
        if dirty && !args.force && before != after {
            return Err(fault(format!("local modifications exist in `{dest}`; `force` throws them away")));
        }
        if before == after && !remote_url && !(dirty && args.force) {
            return Ok(Inspection::Same(result(Some(&before), Some(&after), false, false)));
        }
        let changed = before != after || (dirty && args.force) || remote_url;
        let mut predicted = result(Some(&before), Some(&after), changed, remote_url);
        predicted.diff.push(json!({"before": format!("{before}\n"), "after": format!("{after}\n")}));
        Ok(Inspection::Differs { change: Change::Update { before, after, dirty, remote_url }, predicted })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let tool = tool(args)?;
        let dest = args.dest.as_deref().unwrap_or_default();
        let done = match change {
            Change::Clone => {
                clone(args, &tool, dest, host)?;
                let after = local_commit(args, &tool, dest, host)?;
                result(None, Some(&after), true, false)
            }
            Change::Update { before, after, dirty, remote_url } => {
                if remote_url {
                    good(
                        args,
                        &tool,
                        dest,
                        &["remote", "set-url", &args.remote, &args.repo],
                        "set the remote",
                        host,
                    )?;
                }
                if dirty && args.force {
                    good(
                        args,
                        &tool,
                        dest,
                        &["reset", "--hard", "HEAD"],
                        "throw local modifications away",
                        host,
                    )?;
                }
                if before != after {
                    fetch(args, &tool, dest, host)?;
                    if !args.bare {
                        switch(args, &tool, dest, &after, host)?;
                    }
                }
                let now = local_commit(args, &tool, dest, host)?;
                result(Some(&before), Some(&now), before != now || dirty || remote_url, remote_url)
            }
        };
        if args.verify_commit {
            good(args, &tool, dest, &["verify-commit", &args.version], "verify the commit", host)?;
        }
        if args.recursive && !args.bare && system::exists(format!("{dest}/.gitmodules")) {
            let mut words = vec!["submodule", "update", "--init", "--recursive"];
            if args.track_submodules {
                words.push("--remote");
            }
            good(args, &tool, dest, &["submodule", "sync", "--recursive"], "update submodules", host)?;
            good(args, &tool, dest, &words, "update submodules", host)?;
        }
        Ok(done)
    }
}

fn tool(args: &Args) -> Result<String, Fault> {
    match &args.executable {
        Some(path) => Ok(path.clone()),
        None => need_program("git"),
    }
}

fn ssh_command(args: &Args) -> String {
    let mut words = vec!["ssh".to_owned()];
    if let Some(key) = &args.key_file {
        words.extend([
            "-i".into(),
            crate::words::quote(key).to_string(),
            "-o".into(),
            "IdentitiesOnly=yes".into(),
        ]);
    }
    if args.accept_hostkey {
        words.extend(["-o".into(), "StrictHostKeyChecking=no".into()]);
    } else if args.accept_newhostkey {
        words.extend(["-o".into(), "StrictHostKeyChecking=accept-new".into()]);
    }
    words.extend(["-o".into(), "BatchMode=yes".into()]);
    words.extend(args.ssh_opts.clone());
    words.join(" ")
}

fn git(
    args: &Args,
    tool: &str,
    directory: Option<&str>,
    words: &[&str],
    host: &Host<'_>,
) -> Result<Answer, Fault> {
    let mut argv = vec![tool.to_owned()];
    argv.extend(words.iter().map(|w| (*w).to_owned()));
    let umask = args.umask.as_ref().and_then(|u| match u {
        Value::Number(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
        Value::String(text) => u32::from_str_radix(text, 8).ok(),
        _ => None,
    });
    let environment = [("GIT_TERMINAL_PROMPT", "0".to_owned()), ("GIT_SSH_COMMAND", ssh_command(args))]
        .map(|(n, v)| (n.to_owned(), v))
        .into();
    run_command(
        host,
        Command { argv, environment, directory: directory.map(str::to_owned), umask, ..Command::default() },
    )
}

fn good(
    args: &Args,
    tool: &str,
    dest: &str,
    words: &[&str],
    what: &str,
    host: &Host<'_>,
) -> Result<Answer, Fault> {
    git(args, tool, Some(dest), words, host)?.or_fault(&format!("cannot {what} in `{dest}`"))
}

fn is_hash(version: &str) -> bool {
    version.len() == 40 && version.bytes().all(|b| b.is_ascii_hexdigit())
}

fn local_commit(args: &Args, tool: &str, dest: &str, host: &Host<'_>) -> Result<String, Fault> {
    let answer = good(args, tool, dest, &["rev-parse", "HEAD"], "tell the commit", host)?;
    Ok(answer.out.trim().to_owned())
}

fn is_dirty(args: &Args, tool: &str, dest: &str, host: &Host<'_>) -> Result<bool, Fault> {
    let answer = good(args, tool, dest, &["status", "--porcelain"], "look for local modifications", host)?;
    Ok(answer.out.lines().any(|l| !l.starts_with("??")))
}

/// The commit that the version means on the remote; `None` when it only may mean something (a commit's hash).
fn remote_commit(
    args: &Args,
    tool: &str,
    dest: Option<&str>,
    host: &Host<'_>,
) -> Result<Option<String>, Fault> {
    if is_hash(&args.version) {
        return Ok(Some(args.version.clone()));
    }
    let answer = git(args, tool, dest, &["ls-remote", &args.repo], host)?
        .or_fault(&format!("cannot list the references of `{}`", args.repo))?;
    let references: Vec<(&str, &str)> = answer.out.lines().filter_map(|l| l.split_once('\t')).collect();
    let version = args.version.as_str();
    let names = [
        version.to_owned(),
        format!("refs/heads/{version}"),
        // The commit of an annotated tag, then the tag itself.
        format!("refs/tags/{version}^{{}}"),
        format!("refs/tags/{version}"),
    ];
    Ok(names
        .iter()
        .find_map(|name| references.iter().find(|(_, r)| r == name))
        .map(|(commit, _)| (*commit).to_owned()))
}

fn wanted_commit(args: &Args, tool: &str, dest: &str, host: &Host<'_>) -> Result<Option<String>, Fault> {
    if let Some(commit) = remote_commit(args, tool, Some(dest), host)? {
        return Ok(Some(commit));
    }
    // A short hash, known from an earlier fetch.
    let words = ["rev-parse", "--verify", "--quiet", &format!("{}^{{commit}}", args.version)];
    let answer = git(args, tool, Some(dest), &words, host)?;
    Ok(answer.ok().then(|| answer.out.trim().to_owned()))
}

fn clone(args: &Args, tool: &str, dest: &str, host: &Host<'_>) -> Result<(), Fault> {
    let mut words = vec!["clone".to_owned()];
    if args.bare {
        words.push("--bare".into());
    } else {
        words.extend(["--origin".into(), args.remote.clone()]);
    }
    let named = args.version != "HEAD" && !is_hash(&args.version);
    let is_reference = named && remote_commit(args, tool, None, host)?.is_some();
    if let Some(depth) = args.depth {
        // A single commit is in a shallow clone only when it happens to be new.
        if is_reference || args.version == "HEAD" {
            words.extend(["--depth".into(), depth.to_string()]);
        }
    }
    if is_reference {
        words.extend(["--branch".into(), args.version.clone()]);
    }
    if args.single_branch {
        words.push("--single-branch".into());
    }
    if let Some(reference) = &args.reference {
        words.extend(["--reference".into(), reference.clone()]);
    }
    if let Some(folder) = &args.separate_git_dir {
        words.push(format!("--separate-git-dir={folder}"));
    }
    words.extend(["--".into(), args.repo.clone(), dest.to_owned()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Some(parent) = std::path::Path::new(dest).parent() {
        std::fs::create_dir_all(system::root::at(parent)).map_err(|e| Fault::io("make", parent, &e))?;
    }
    git(args, tool, None, &words, host)?.or_fault(&format!("cannot clone `{}`", args.repo))?;
    if args.refspec.is_some() {
        fetch(args, tool, dest, host)?;
    }
    if named && !is_reference || is_hash(&args.version) {
        switch(args, tool, dest, &args.version, host)?;
    }
    Ok(())
}

fn fetch(args: &Args, tool: &str, dest: &str, host: &Host<'_>) -> Result<(), Fault> {
    let depth = args.depth.map(|d| d.to_string());
    let mut words = vec!["fetch", "--tags", "--force"];
    if let Some(depth) = &depth {
        words.extend(["--depth", depth]);
    }
    words.push(&args.remote);
    let all = format!(
        "+refs/heads/*:refs/{}",
        if args.bare { "heads/*".to_owned() } else { format!("remotes/{}/*", args.remote) }
    );
    words.push(&all);
    words.extend(args.refspec.as_deref());
    good(args, tool, dest, &words, "fetch", host)?;
    Ok(())
}

/// On a branch the branch follows; a tag or a commit is checked out by itself.
fn switch(args: &Args, tool: &str, dest: &str, commit: &str, host: &Host<'_>) -> Result<(), Fault> {
    let remote_branch = format!("refs/remotes/{}/{}", args.remote, args.version);
    let is_branch = args.version != "HEAD"
        && git(args, tool, Some(dest), &["show-ref", "--verify", "--quiet", &remote_branch], host)?.ok();
    let force: &[&str] = if args.force { &["--force"] } else { &[] };
    if is_branch {
        let tracked = format!("{}/{}", args.remote, args.version);
        let words = [&["checkout"], force, &["-B", args.version.as_str(), tracked.as_str()]].concat();
        good(args, tool, dest, &words, "switch", host)?;
    } else if args.version == "HEAD" {
        good(args, tool, dest, &["reset", "--hard", commit], "switch", host)?;
    } else {
        let words = [&["checkout"], force, &["--detach", commit]].concat();
        good(args, tool, dest, &words, "switch", host)?;
    }
    Ok(())
}

fn result(before: Option<&str>, after: Option<&str>, changed: bool, remote_url: bool) -> Outcome {
    let mut result = outcome(changed, json!({"before": before, "after": after}));
    if remote_url {
        result.values.insert("remote_url_changed".into(), json!(true));
    }
    // git refuses nothing for lack of ssh unless the address needs it; saying so early helps.
    if changed && find_program("ssh").is_none() && before.is_none() && after.is_none() {
        result.warnings.push("this host has no `ssh`: only local and http addresses can be cloned".into());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";

    fn host() -> FakeRoot {
        let root = FakeRoot::with(&[]);
        root.program("/usr/bin/git");
        root.program("/usr/bin/ssh");
        root
    }

    fn look<'a>(references: &'a str, status: &'a str) -> Vec<(&'static str, i32, &'a str)> {
        vec![
            ("/usr/bin/git rev-parse HEAD", 0, OLD),
            ("/usr/bin/git status --porcelain", 0, status),
            ("/usr/bin/git config --get remote.origin.url", 0, "https://r\n"),
            ("/usr/bin/git ls-remote https://r", 0, references),
        ]
    }

    #[test]
    fn a_checkout_at_the_wanted_commit_is_left_alone() {
        let root = host();
        root.dir("/srv/x/.git");
        let references = format!("{NEW}\tHEAD\n{NEW}\trefs/tags/v1\n{OLD}\trefs/tags/v1^{{}}\n");
        let script = Script::of(&look(&references, "?? new-file\n"));
        let arguments = args(json!({"repo": "https://r", "dest": "/srv/x", "version": "v1"}));
        let Ok(Inspection::Same(same)) = Git::inspect(&arguments, &script.host()) else { panic!() };
        assert_eq!((&same.values["before"], &same.values["after"]), (&json!(OLD), &json!(OLD)));
    }

    #[test]
    fn a_moved_branch_is_fetched_and_followed() {
        let root = host();
        root.dir("/srv/x/.git");
        let references = format!("{NEW}\trefs/heads/main\n");
        let mut steps = look(&references, "");
        steps.extend([
            ("/usr/bin/git fetch --tags --force origin +refs/heads/*:refs/remotes/origin/*", 0, ""),
            ("/usr/bin/git show-ref --verify --quiet refs/remotes/origin/main", 0, ""),
            ("/usr/bin/git checkout -B main origin/main", 0, ""),
            ("/usr/bin/git rev-parse HEAD", 0, NEW),
        ]);
        let script = Script::of(&steps);
        let arguments = args(json!({"repo": "https://r", "dest": "/srv/x", "version": "main"}));
        let Ok(Inspection::Differs { change, predicted }) = Git::inspect(&arguments, &script.host()) else {
            panic!()
        };
        assert_eq!(predicted.values["after"], NEW);
        let done = Git::apply(&arguments, change, &script.host()).expect("applies");
        assert!(done.changed);
        script.done();
    }

    #[test]
    fn local_modifications_are_not_thrown_away_unasked() {
        let root = host();
        root.dir("/srv/x/.git");
        let references = format!("{NEW}\tHEAD\n");
        let script = Script::of(&look(&references, " M file\n"));
        let Err(error) = Git::inspect(&args(json!({"repo": "https://r", "dest": "/srv/x"})), &script.host())
        else {
            panic!()
        };
        assert_eq!(error.msg, "local modifications exist in `/srv/x`; `force` throws them away");
    }

    #[test]
    fn a_missing_checkout_is_cloned() {
        let _root = host();
        let references = format!("{NEW}\trefs/tags/v1\n");
        let script = Script::of(&[
            ("/usr/bin/git ls-remote https://r", 0, &references),
            ("/usr/bin/git clone --origin origin --depth 1 --branch v1 -- https://r /srv/x", 0, ""),
            ("/usr/bin/git rev-parse HEAD", 0, NEW),
        ]);
        let arguments = args(json!({"repo": "https://r", "dest": "/srv/x", "version": "v1", "depth": 1}));
        let Ok(Inspection::Differs { change, .. }) = Git::inspect(&arguments, &script.host()) else {
            panic!()
        };
        let done = Git::apply(&arguments, change, &script.host()).expect("applies");
        assert_eq!((&done.values["before"], &done.values["after"]), (&Value::Null, &json!(NEW)));
        script.done();
    }
}
