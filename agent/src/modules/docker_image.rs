//! `docker_image` (community.docker): images built, loaded, pulled, tagged, pushed, saved, removed.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;

use serde_json::{Map, Value, json};

use super::docker::{self, Args, Body, Docker, dict, escaped, image_name, image_parts, on, text, word};
use super::{Command, Fault, Host, Inspection, Module, Outcome};
use crate::files::expand_path;
use crate::options::{Opt, Spec};
use crate::system::run::{need_program, run_command};
use crate::system::{self, root};

/// The module.
pub struct DockerImage;

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::str("tag"),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::str("source").choices(&["build", "load", "pull", "local"]),
    Opt::dict("build"),
    Opt::dict("pull"),
    Opt::path("load_path"),
    Opt::path("archive_path"),
    Opt::str("repository"),
    Opt::bool("push"),
    Opt::bool("force_source"),
    Opt::bool("force_absent"),
    Opt::bool("force_tag"),
];

const BUILD: &[&str] = &[
    "path",
    "dockerfile",
    "args",
    "labels",
    "pull",
    "rm",
    "nocache",
    "network",
    "target",
    "platform",
    "etc_hosts",
    "cache_from",
    "shm_size",
];

/// What must be done, in this order.
#[derive(Default)]
pub struct Change {
    get: bool,
    tag: bool,
    push: bool,
    archive: bool,
    remove: bool,
}

impl Module for DockerImage {
    const SPEC: Spec = Spec {
        collections: &["community.docker", "community.general"],
        options: &[OPTIONS, docker::OPTIONS],
        required_if: &[("source", "build", &["build"]), ("source", "load", &["load_path"])],
        ..Spec::new("docker_image")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let docker = Docker::new(args, host)?;
        let name = name(args);
        let current = docker::image(&docker, &name)?;
        let mut change = Change::default();
        if text(args, "state") == Some("absent") {
            change.remove = current.is_some();
        } else {
            change.get = match text(args, "source") {
                None => {
                    return Err(Fault::new(
                        "`docker_image` needs `source` (build, load, pull or local) unless `state` is `absent`",
                    ));
                }
                Some("local") if current.is_none() => {
                    return Err(Fault::new(format!(
                        "the daemon has no image `{name}`, and `source` is `local`"
                    )));
                }
                Some("local") => false,
                Some(_) => current.is_none() || on(args, "force_source"),
            };
            if let Some(build) = dict(args, "build")
                && let Some(option) = build.keys().find(|o| !BUILD.contains(&o.as_str()))
            {
                return Err(Fault::new(format!("`build` of `docker_image` has no option `{option}` here")));
            }
            if let Some(target) = target(args) {
                let tagged = docker::image(&docker, &target)?;
                change.tag = tagged.is_none()
                    || change.get
                    || on(args, "force_tag")
                        && tagged.map(|t| t["Id"].clone()) != current.as_ref().map(|c| c["Id"].clone());
            }
            change.push = on(args, "push");
            change.archive = text(args, "archive_path").is_some_and(|path| !system::exists(path))
                || change.get && text(args, "archive_path").is_some();
        }
        let id = |image: &Option<Value>| image.as_ref().map_or(json!(null), |i| i["Id"].clone());
        if !(change.get || change.tag || change.push || change.archive || change.remove) {
            let outcome =
                Outcome::same().with("image", current.unwrap_or(json!({}))).with("actions", json!([]));
            return Ok(Inspection::Same(outcome));
        }
        let mut predicted = Outcome::changed().with("image", current.clone().unwrap_or(json!({})));
        let after = if change.remove {
            json!(null)
        } else if change.get {
            json!("unknown")
        } else {
            id(&current)
        };
        predicted.diff = vec![json!({
            "before": {"exists": current.is_some(), "id": id(&current)},
            "after": {"exists": !change.remove, "id": after},
        })];
        Ok(Inspection::Differs { change, predicted })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let docker = Docker::new(args, host)?;
        let name = name(args);
        let before = docker::image(&docker, &name)?;
        let mut actions: Vec<String> = Vec::new();
        if change.remove {
            let force = on(args, "force_absent");
            let path = format!("/images/{name}?force={force}");
            docker.ask(&format!("remove the image `{name}`"), "DELETE", &path, Body::Nothing)?;
            let outcome = Outcome::changed().with("image", json!({"state": "Deleted"}));
            return Ok(outcome.with("actions", json!([format!("Removed image {name}")])));
        }
        let mut said = String::new();
        if change.get {
            match text(args, "source") {
                Some("pull") => {
                    let platform = dict(args, "pull").and_then(|p| p.get("platform")).and_then(Value::as_str);
                    docker::pull(&docker, &name, platform)?;
                    actions.push(format!("Pulled image {name}"));
                }
                Some("load") => {
                    let path = text(args, "load_path").unwrap_or_default();
                    let file = File::open(root::at(path)).map_err(|e| Fault::io("read", path, &e))?;
                    said = docker.long(&format!("load `{path}`"), "/images/load", Body::File(file), &[])?;
                    actions.push(format!("Loaded image {name} from {path}"));
                }
                _ => {
                    said = build(args, &docker, &name, host)?;
                    actions.push(format!("Built image {name}"));
                }
            }
        }
        let Some(image) = docker::image(&docker, &name)? else {
            return Err(Fault::new(format!(
                "there is still no image `{name}`: its source holds another name"
            ))
            .with("stdout", said));
        };
        // The source may have given the very image that was there.
        let mut changed = change.get && before.is_none_or(|b| b["Id"] != image["Id"]);
        if let Some(target) = target(args).filter(|_| change.tag) {
            let (repository, tag) = image_parts(&target);
            let path = format!("/images/{name}/tag?repo={}&tag={}", escaped(repository), escaped(tag));
            let there = docker::image(&docker, &target)?;
            docker.ask(&format!("tag `{name}` as `{target}`"), "POST", &path, Body::Nothing)?;
            changed |= there.is_none_or(|t| t["Id"] != image["Id"]);
            actions.push(format!("Tagged image {name} to {target}"));
        }
        if change.push {
            let pushed = target(args).unwrap_or_else(|| name.clone());
            let (repository, tag) = image_parts(&pushed);
            let path = format!("/images/{repository}/push?tag={}", escaped(tag));
            let mut headers = docker::credentials(&docker, repository);
            // The daemon insists on the header, be it empty.
            if headers.is_empty() {
                headers.push(("X-Registry-Auth", "e30=".into()));
            }
            docker.long(&format!("push `{pushed}`"), &path, Body::Nothing, &headers)?;
            changed = true;
            actions.push(format!("Pushed image {pushed}"));
        }
        if let Some(path) = text(args, "archive_path").filter(|_| change.archive) {
            docker.save(&format!("save `{name}`"), &format!("/images/{name}/get"), path)?;
            changed = true;
            actions.push(format!("Archived image {name} to {path}"));
        }
        let outcome = Outcome { changed, ..Outcome::default() };
        let outcome = if said.is_empty() { outcome } else { outcome.with("stdout", said) };
        Ok(outcome.with("image", image).with("actions", json!(actions)))
    }
}

/// The image's whole name: a tag in `name` wins over `tag`.
fn name(args: &Args) -> String {
    let name = text(args, "name").unwrap_or_default();
    let tagged = name.contains('@') || name.starts_with("sha256:") || image_parts(name).0 != name;
    match text(args, "tag") {
        Some(tag) if !tagged => format!("{name}:{tag}"),
        _ => image_name(name),
    }
}

/// The name that `repository` gives the image too.
fn target(args: &Args) -> Option<String> {
    let repository = text(args, "repository")?;
    let given = image_parts(repository).0 != repository;
    let own = name(args);
    let tag = if own.contains('@') { "latest" } else { image_parts(&own).1 };
    Some(if given { repository.to_owned() } else { format!("{repository}:{tag}") })
}

fn build(args: &Args, docker: &Docker<'_>, name: &str, host: &Host<'_>) -> Result<String, Fault> {
    let none = Map::new();
    let build = dict(args, "build").unwrap_or(&none);
    let path = build
        .get("path")
        .and_then(Value::as_str)
        .ok_or_else(|| Fault::new("`build` of `docker_image` needs `path`"))?;
    let path = expand_path(path, host.environment);
    let flag = |option: &str, usual: bool| {
        u8::from(
            build.get(option).map_or(usual, |v| word(v).eq_ignore_ascii_case("true") || word(v) == "yes"),
        )
    };
    let mut query = format!(
        "/build?t={}&rm={}&nocache={}&forcerm={}",
        escaped(name),
        flag("rm", true),
        flag("nocache", false),
        flag("rm", true)
    );
    let mut add = |parameter: &str, value: String| {
        for part in ["&", parameter, "=", &escaped(&value)] {
            query.push_str(part);
        }
    };
    if flag("pull", false) == 1 {
        add("pull", "1".into());
    }
    for (option, parameter) in [
        ("dockerfile", "dockerfile"),
        ("network", "networkmode"),
        ("target", "target"),
        ("platform", "platform"),
        ("shm_size", "shmsize"),
    ] {
        if let Some(value) = build.get(option).filter(|v| !v.is_null()) {
            add(parameter, word(value));
        }
    }
    for (option, parameter) in [("args", "buildargs"), ("labels", "labels")] {
        if let Some(values) = build.get(option).and_then(Value::as_object) {
            add(parameter, docker::words(values).to_string());
        }
    }
    if let Some(images) = build.get("cache_from").filter(|v| v.is_array()) {
        add("cachefrom", images.to_string());
    }
    if let Some(hosts) = build.get("etc_hosts").and_then(Value::as_object) {
        let hosts: Vec<String> = hosts.iter().map(|(n, a)| format!("{n}:{}", word(a))).collect();
        add("extrahosts", hosts.join(","));
    }
    let context = context(&path, host)?;
    docker.long(&format!("build `{name}`"), &query, Body::File(context), &[])
}

/// The folder as an archive that has no name any more.
fn context(folder: &str, host: &Host<'_>) -> Result<File, Fault> {
    let ignored = system::text(format!("{folder}/.dockerignore")).unwrap_or_default();
    let mut argv = vec![need_program("tar")?, "-C".into(), root::at(folder).display().to_string()];
    let patterns = ignored.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    for (at, pattern) in patterns.enumerate() {
        if pattern.starts_with('!') || pattern.contains("**") {
            return Err(Fault::new(format!(
                "`{folder}/.dockerignore` has the pattern `{pattern}`: `!` and `**` are not supported"
            )));
        }
        if at == 0 {
            argv.extend(["--anchored".into(), "--no-wildcards-match-slash".into()]);
        }
        argv.push(format!("--exclude=./{}", pattern.trim_matches('/')));
    }
    let archive = std::env::temp_dir().join(format!("dcos-play-build-{}", super::tempfile::letters()));
    let shown = archive.display().to_string();
    let made = File::options().write(true).create_new(true).mode(0o600).open(&archive);
    made.map_err(|e| Fault::io("create", &shown, &e))?;
    argv.extend(["-cf".into(), shown.clone(), ".".into()]);
    let done = run_command(host, Command { argv, umask: Some(0o077), ..Command::default() });
    let file = File::open(&archive);
    let _ = std::fs::remove_file(&archive);
    done?.or_fault(&format!("cannot read the build context `{folder}`"))?;
    file.map_err(|e| Fault::io("read", shown, &e))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::docker::fake::Daemon;
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::testing::{changes_once, run};

    /// Every image that is pulled, built or loaded becomes `app:1` as far as the daemon knows.
    fn daemon() -> Daemon {
        let tags: Arc<Mutex<Vec<String>>> = Arc::default();
        Daemon::answering(move |method, path, body| {
            let mut tags = tags.lock().expect("lock");
            let route = path.split('?').next().unwrap_or_default();
            match (method, route) {
                ("GET", "/images/app:1/get") => (200, json!("an archive")),
                ("GET", _) => {
                    let name = route.trim_start_matches("/images/").trim_end_matches("/json").to_owned();
                    match tags.contains(&name) {
                        true => (200, json!({"Id": "sha256:1"})),
                        false => (404, json!({"message": "no such image"})),
                    }
                }
                ("POST", "/build") if body["bytes"].as_u64().is_none_or(|b| b < 1000) => {
                    (500, json!({"message": "an empty context"}))
                }
                ("POST", "/build") if path.contains("dockerfile=broken") => {
                    (200, json!("{\"stream\": \"Step 1\\n\"}\n{\"error\": \"unknown instruction: FORM\"}\n"))
                }
                ("POST", "/images/app:1/tag") => {
                    tags.push("registry:5000/app:1".into());
                    (201, Value::Null)
                }
                ("POST", "/images/registry:5000/app/push") => (200, json!("{\"status\": \"pushed\"}\n")),
                ("POST", "/build" | "/images/create" | "/images/load") => {
                    tags.push("app:1".into());
                    (200, json!("{\"stream\": \"Step 1\\n\"}\n"))
                }
                ("DELETE", "/images/app:1") => {
                    tags.clear();
                    (200, json!([]))
                }
                other => panic!("{other:?}"),
            }
        })
    }

    #[test]
    fn an_image_is_pulled_tagged_pushed_saved_and_removed() {
        let (daemon, root) = (daemon(), FakeRoot::with(&[("/srv/.keep", "")]));
        let pull = json!({"docker_host": daemon.address, "name": "app", "tag": 1, "source": "pull"});
        let pulled = changes_once("docker_image", &pull, || true);
        assert_eq!(
            (&pulled["image"]["Id"], &pulled["actions"]),
            (&json!("sha256:1"), &json!(["Pulled image app:1"]))
        );
        assert_eq!(daemon.changes(), ["POST /images/create?fromImage=app&tag=1"]);
        let mut more = pull.clone();
        more["source"] = "local".into();
        more["repository"] = "registry:5000/app".into();
        more["archive_path"] = "/srv/app.tar".into();
        changes_once("docker_image", &more, || true);
        assert_eq!(daemon.changes(), ["POST /images/app:1/tag?repo=registry%3A5000%2Fapp&tag=1"]);
        assert_eq!(root.get("/srv/app.tar"), "an archive");
        more["push"] = true.into();
        assert_eq!(run("docker_image", more, false)["changed"], true);
        assert_eq!(daemon.changes(), ["POST /images/registry:5000/app/push?tag=1"]);
        let gone = json!({"docker_host": daemon.address, "name": "app:1", "state": "absent"});
        changes_once("docker_image", &gone, || true);
    }

    #[test]
    fn a_folder_is_built_and_what_the_build_said_is_told() {
        let daemon = daemon();
        let root =
            FakeRoot::with(&[("/app/Dockerfile", "FROM scratch\n"), ("/app/.dockerignore", "*.log\n")]);
        root.program("/usr/bin/tar");
        let args = json!({
            "docker_host": daemon.address, "name": "app:1", "source": "build",
            "build": {"path": "/app", "args": {"a": 1}, "nocache": true},
        });
        let built = changes_once("docker_image", &args, || true);
        assert_eq!(built["stdout"], "Step 1\n");
        assert_eq!(
            daemon.changes(),
            ["POST /build?t=app%3A1&rm=1&nocache=1&forcerm=1&buildargs=%7B%22a%22%3A%221%22%7D"]
        );
        let mut broken = args.clone();
        broken["build"]["dockerfile"] = "broken".into();
        broken["force_source"] = true.into();
        let said = run("docker_image", broken, false);
        assert_eq!(said["msg"], "cannot build `app:1`: unknown instruction: FORM");
        assert_eq!(said["stdout"], "Step 1\n");
    }

    #[test]
    fn a_source_that_cannot_give_the_image_is_told() {
        let (daemon, _root) = (daemon(), FakeRoot::with(&[]));
        let said = |more: Value| {
            let mut args = json!({"docker_host": daemon.address, "name": "app:2"});
            for (key, value) in more.as_object().expect("a mapping") {
                args[key] = value.clone();
            }
            run("docker_image", args, false)["msg"].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(
            said(json!({})),
            "`docker_image` needs `source` (build, load, pull or local) unless `state` is `absent`"
        );
        assert_eq!(
            said(json!({"source": "local"})),
            "the daemon has no image `app:2`, and `source` is `local`"
        );
        assert_eq!(
            said(json!({"source": "pull"})),
            "there is still no image `app:2`: its source holds another name"
        );
        assert_eq!(
            said(json!({"source": "build", "build": {"path": "/", "shape": "x"}})),
            "`build` of `docker_image` has no option `shape` here"
        );
    }
}
