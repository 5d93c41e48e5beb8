//! `yum_repository`: repositories of yum and dnf, one section of a `.repo` file each.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, Attributes};
use crate::options::{Opt, Spec};
use crate::system::edit::Edit;
use crate::system::{self, fault, outcome};

/// The module.
pub struct YumRepository;

/// Typed arguments; every key of the section is read from `keys` by its own name.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    state: Option<String>,
    file: Option<String>,
    reposdir: Option<String>,
    #[serde(flatten)]
    attributes: Attributes,
    #[serde(flatten)]
    keys: Map<String, Value>,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::str("file"),
    Opt::path("reposdir"),
    Opt::str("description"),
    Opt::list("baseurl"),
    Opt::str("mirrorlist"),
    Opt::str("metalink"),
    Opt::bool("enabled"),
    Opt::bool("gpgcheck"),
    Opt::list("gpgkey"),
    Opt::str("gpgcakey"),
    Opt::bool("repo_gpgcheck"),
    Opt::list("exclude").aliases(&["excludepkgs"]),
    Opt::list("includepkgs"),
    Opt::str("priority"),
    Opt::str("cost"),
    Opt::str("bandwidth"),
    Opt::str("countme"),
    Opt::bool("deltarpm_metadata_percentage").ignored("dnf chooses it"),
    Opt::bool("enablegroups"),
    Opt::str("failovermethod").choices(&["roundrobin", "priority"]),
    Opt::str("http_caching").choices(&["all", "packages", "none"]),
    Opt::str("include"),
    Opt::str("ip_resolve").choices(&["4", "6", "IPv4", "IPv6", "whatever"]),
    Opt::bool("keepalive"),
    Opt::str("keepcache").choices(&["0", "1"]),
    Opt::str("metadata_expire"),
    Opt::str("metadata_expire_filter"),
    Opt::str("mirrorlist_expire"),
    Opt::bool("module_hotfixes"),
    Opt::str("password").secret(),
    Opt::bool("protect"),
    Opt::str("proxy"),
    Opt::str("proxy_password").secret(),
    Opt::str("proxy_username"),
    Opt::str("retries"),
    Opt::bool("s3_enabled"),
    Opt::bool("skip_if_unavailable"),
    Opt::bool("ssl_check_cert_permissions"),
    Opt::str("sslcacert").aliases(&["ca_cert"]),
    Opt::str("sslclientcert").aliases(&["client_cert"]),
    Opt::str("sslclientkey").aliases(&["client_key"]),
    Opt::bool("sslverify").aliases(&["validate_certs"]),
    Opt::str("throttle"),
    Opt::str("timeout"),
    Opt::str("ui_repoid_vars"),
    Opt::str("username"),
    Opt::bool("async"),
];

impl Module for YumRepository {
    const SPEC: Spec = Spec { options: &[OPTIONS, attributes::OPTIONS], ..Spec::new("yum_repository") };
    type Args = Args;
    type Change = Edit;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Edit>, Fault> {
        let path = path(args);
        let before = system::text(&path);
        let mut sections = parse(before.as_deref().unwrap_or_default());
        let absent = args.state.as_deref() == Some("absent");
        if !absent {
            let sources = ["baseurl", "metalink", "mirrorlist"];
            if !sources.iter().any(|s| args.keys.contains_key(*s)) {
                return Err(fault("`yum_repository` needs one of `baseurl`, `metalink`, `mirrorlist`"));
            }
            if !args.keys.contains_key("description") {
                return Err(fault("`yum_repository` needs `description`"));
            }
        }
        let at = sections.iter().position(|(name, _)| *name == args.name);
        let same = match (at, absent) {
            (None, true) => true,
            (Some(at), true) => {
                sections.remove(at);
                false
            }
            (None, false) => {
                sections.push((args.name.clone(), wanted(args)));
                sections.sort();
                false
            }
            (Some(at), false) => {
                let wanted = wanted(args);
                let same = sections[at].1 == wanted;
                sections[at].1 = wanted;
                same
            }
        };
        let after = if same {
            before
        } else if sections.is_empty() {
            None
        } else {
            Some(text(&sections))
        };
        let result =
            outcome(true, json!({"repo": args.name, "state": args.state.as_deref().unwrap_or("present")}));
        let Some(edit) = Edit::of(&path, after, &args.attributes, host)? else {
            return Ok(Inspection::Same(Outcome { changed: false, ..result }));
        };
        let diff = vec![edit.diff()];
        Ok(Inspection::Differs { change: edit, predicted: Outcome { diff, ..result } })
    }

    fn apply(args: &Args, edit: Edit, host: &Host<'_>) -> Result<Outcome, Fault> {
        edit.apply(&args.attributes, "0644", false, host)?;
        Ok(outcome(true, json!({"repo": args.name, "state": args.state.as_deref().unwrap_or("present")})))
    }
}

fn path(args: &Args) -> String {
    let folder = args.reposdir.as_deref().unwrap_or("/etc/yum.repos.d").trim_end_matches('/');
    format!("{folder}/{}.repo", args.file.as_deref().unwrap_or(&args.name))
}

type Section = (String, Vec<(String, String)>);

/// Sections with their keys sorted; lists go over lines, each further one indented.
fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|r| r.strip_suffix(']')) {
            sections.push((name.to_owned(), Vec::new()));
            continue;
        }
        let Some((_, keys)) = sections.last_mut() else { continue };
        if line.starts_with(char::is_whitespace) {
            if let Some((_, value)) = keys.last_mut() {
                value.push('\n');
                value.push_str(trimmed);
            }
        } else if let Some((key, value)) = trimmed.split_once('=') {
            keys.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    for (_, keys) in &mut sections {
        keys.sort();
    }
    sections
}

fn text(sections: &[Section]) -> String {
    let mut out = String::new();
    for (name, keys) in sections {
        out.push_str(&format!("[{name}]\n"));
        for (key, value) in keys {
            out.push_str(&format!("{key} = {}\n", value.replace('\n', "\n\t")));
        }
        out.push('\n');
    }
    out
}

fn wanted(args: &Args) -> Vec<(String, String)> {
    let known = |name: &str| OPTIONS.iter().any(|o| o.name == name && o.ignored.is_none());
    let mut keys: Vec<(String, String)> = args
        .keys
        .iter()
        .filter(|(key, value)| known(key) && !value.is_null())
        .map(|(key, value)| {
            let joined = |items: &Vec<Value>| -> Vec<String> {
                items
                    .iter()
                    .map(|i| i.as_str().unwrap_or_default().trim().to_owned())
                    .filter(|i| !i.is_empty())
                    .collect()
            };
            let text = match value {
                Value::Bool(on) => if *on { "1" } else { "0" }.to_owned(),
                Value::Array(items) if matches!(key.as_str(), "baseurl" | "gpgkey") => {
                    joined(items).join("\n")
                }
                Value::Array(items) => joined(items).join(" "),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // The section's `name` is what people read.
            (if key == "description" { "name".to_owned() } else { key.clone() }, text)
        })
        .collect();
    keys.sort();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn a_repository_is_written_once() {
        let root = FakeRoot::with(&[("/etc/yum.repos.d/docker.repo", "[a]\nname=A\n")]);
        let arguments = json!({
            "name": "docker", "description": "Docker CE", "baseurl": ["https://x/a", "https://x/b"],
            "gpgcheck": true, "enabled": false, "exclude": ["k*", "z"],
        });
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, predicted }) =
            YumRepository::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.diff.len(), 1);
        YumRepository::apply(&args(arguments.clone()), change, &script.host()).expect("applies");
        assert_eq!(
            root.get("/etc/yum.repos.d/docker.repo"),
            "[a]\nname = A\n\n[docker]\nbaseurl = https://x/a\n\thttps://x/b\nenabled = 0\nexclude = k* z\ngpgcheck = 1\nname = Docker CE\n\n"
        );
        assert!(matches!(YumRepository::inspect(&args(arguments), &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn the_last_section_takes_its_file_along() {
        let root = FakeRoot::with(&[("/etc/yum.repos.d/x.repo", "[x]\nname=X\n")]);
        let arguments = json!({"name": "x", "state": "absent"});
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, .. }) =
            YumRepository::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        YumRepository::apply(&args(arguments.clone()), change, &script.host()).expect("applies");
        assert!(!root.path("/etc/yum.repos.d/x.repo").exists());
        assert!(matches!(YumRepository::inspect(&args(arguments), &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn a_repository_without_address_is_told() {
        let _root = FakeRoot::with(&[]);
        let Err(error) = YumRepository::inspect(&args(json!({"name": "x"})), &Script::of(&[]).host()) else {
            panic!()
        };
        assert_eq!(error.msg, "`yum_repository` needs one of `baseurl`, `metalink`, `mirrorlist`");
    }
}
