//! The options of a file, checked and with templates rendered where Ansible's plugin renders them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::cache::Rules;
use super::hostnames::Hostnames;
use super::jump::Jump;
use super::query::{Ec2Access, Ec2Filters, Ec2Query};
use super::scalar;
use crate::inventory::constructed::{Constructed, Extra, check_options, flag, option_error};
use crate::source::{Diagnostics, Mapping, Node};
use crate::template::{Scope, Templates, to_json};
use crate::vars::Table;
use crate::vars::secrets::Secret;

/// States that count when filters don't say: whatever may run again.
const STATES: [&str; 4] = ["running", "pending", "stopping", "stopped"];

/// Options with the older names of each; the first is the one of today.
const ACCESS: [&[&str]; 7] = [
    &["access_key", "aws_access_key_id", "aws_access_key", "ec2_access_key"],
    &["secret_key", "aws_secret_access_key", "aws_secret_key", "ec2_secret_key"],
    &["session_token", "aws_session_token", "aws_security_token", "security_token"],
    &["profile", "aws_profile", "boto_profile"],
    &["region", "aws_region", "ec2_region"],
    &["endpoint_url", "aws_endpoint_url", "endpoint", "ec2_url"],
    &["assume_role_arn", "iam_role_arn"],
];

const OPTIONS: [&str; 30] = [
    "plugin",
    "regions",
    "filters",
    "include_filters",
    "exclude_filters",
    "hostnames",
    "allow_duplicated_hosts",
    "strict_permissions",
    "hostvars_prefix",
    "hostvars_suffix",
    "use_contrib_script_compatible_sanitization",
    "use_contrib_script_compatible_ec2_tag_keys",
    "use_contrib_script_compatible_names",
    "use_ssm_inventory",
    "route53_enabled",
    "route53_hostnames",
    "route53_excluded_zones",
    "strict",
    "compose",
    "groups",
    "keyed_groups",
    "leading_separator",
    "use_extra_vars",
    "cache",
    "cache_plugin",
    "cache_timeout",
    "cache_connection",
    "cache_prefix",
    "jump_host",
    "use_vars_plugins",
];

/// What a file asks for.
#[derive(Debug)]
pub(super) struct Settings {
    pub query: Ec2Query,
    pub hostnames: Hostnames,
    pub prefix: String,
    pub suffix: String,
    /// Group names keep their dashes.
    pub keep_dashes: bool,
    /// `ec2_tag_KEY` for every tag.
    pub tag_variables: bool,
    /// Variables and groups of `ec2.py`.
    pub contrib_names: bool,
    pub cache: Option<Rules>,
    pub rules: Constructed,
    pub jump: Option<Jump>,
    /// Variables of the command line, where expressions may see them.
    pub extra: Option<Arc<Table>>,
}

impl Settings {
    /// Reads all options; everything wrong with them is found at once.
    pub(super) fn read(
        map: &Mapping,
        templates: &Templates,
        extra: &Arc<Table>,
        folder: &Path,
        found: &mut Diagnostics,
    ) -> Self {
        let known: Vec<&str> = OPTIONS.iter().chain(ACCESS.iter().copied().flatten()).copied().collect();
        check_options(map, &known, "the inventory plugin `amazon.aws.aws_ec2`", found);
        for option in ["use_ssm_inventory", "route53_enabled", "use_vars_plugins"] {
            if flag(map, option, false, found)
                && let Some(node) = map.get(option)
            {
                let message = format!("`{option}` is not available here");
                found.push(option_error(&message, node.span).help("leave it out, or set it to false"));
            }
        }
        let mut read = Read { map, templates, scope: Arc::new(Extra::new(extra, folder)), found };
        let query = read.query();
        let (prefix, suffix) = (read.plain("hostvars_prefix"), read.plain("hostvars_suffix"));
        let cache = read.cache(folder);
        let keep_dashes = flag(map, "use_contrib_script_compatible_sanitization", false, found);
        let mut rules = Constructed::read(map, found);
        rules.keep_dashes = keep_dashes;
        let environment = variable("ANSIBLE_INVENTORY_USE_EXTRA_VARS").is_some_and(|v| truth(&v));
        let all_names = flag(map, "allow_duplicated_hosts", false, found);
        Self {
            query,
            hostnames: Hostnames::read(map, all_names, found),
            prefix: prefix.unwrap_or_default(),
            suffix: suffix.unwrap_or_default(),
            keep_dashes,
            tag_variables: flag(map, "use_contrib_script_compatible_ec2_tag_keys", false, found),
            contrib_names: flag(map, "use_contrib_script_compatible_names", false, found),
            cache,
            rules,
            jump: map.get("jump_host").filter(|n| !n.is_null()).and_then(|n| Jump::read(n, found)),
            extra: flag(map, "use_extra_vars", environment, found).then(|| Arc::clone(extra)),
        }
    }
}

/// A file while it is being read.
struct Read<'a> {
    map: &'a Mapping,
    templates: &'a Templates,
    scope: Arc<dyn Scope>,
    found: &'a mut Diagnostics,
}

impl Read<'_> {
    fn query(&mut self) -> Ec2Query {
        let mut include = self.filter_list("include_filters");
        let single = self.rendered("filters");
        if let Some((node, value)) = single
            && let Some(filters) = self.filters(&node, &value)
            && !filters.is_empty()
        {
            include.insert(0, filters);
        }
        if include.is_empty() {
            include.push(Vec::new());
        }
        let exclude = self.filter_list("exclude_filters");
        let with_states = |mut filters: Ec2Filters| {
            if !filters.iter().any(|(name, _)| name == "instance-state-name") {
                let states = STATES.iter().map(ToString::to_string).collect();
                filters.push(("instance-state-name".to_owned(), states));
            }
            filters
        };
        Ec2Query {
            access: self.access(),
            regions: self.regions(),
            include: include.into_iter().map(with_states).collect(),
            exclude: exclude.into_iter().map(with_states).collect(),
            strict_permissions: flag(self.map, "strict_permissions", true, self.found),
        }
    }

    fn access(&mut self) -> Ec2Access {
        let [access_key, secret_key, session_token, profile, region, endpoint_url, assume_role] =
            ACCESS.map(|names| self.alias(names));
        if access_key.is_some() != secret_key.is_some()
            && let Some(node) =
                ACCESS[..2].iter().find_map(|names| names.iter().find_map(|n| self.map.get(n)))
        {
            let message = "`access_key` and `secret_key` belong together";
            self.found.push(option_error(message, node.span));
        }
        let secret = |text: Option<String>| text.map(Secret::new);
        Ec2Access {
            region,
            profile,
            // The name that Ansible's collection had for it before the SDKs agreed on AWS_ENDPOINT_URL.
            endpoint_url: endpoint_url.or_else(|| variable("AWS_URL").or_else(|| variable("EC2_URL"))),
            access_key: secret(access_key),
            secret_key: secret(secret_key),
            session_token: secret(session_token),
            assume_role,
        }
    }

    fn regions(&mut self) -> Vec<String> {
        let Some((node, value)) = self.rendered("regions") else { return Vec::new() };
        let mut regions: Vec<String> = Vec::new();
        for item in texts(&value).unwrap_or_else(|| {
            self.found.push(option_error("`regions` must be a list of names", node.span));
            Vec::new()
        }) {
            // People write `eu-west-1,us-east-1` into `-e`.
            for region in item.split(',').map(str::trim).filter(|r| !r.is_empty()) {
                let fits = region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
                if !fits {
                    let message = format!("`{region}` is no name of a region");
                    self.found
                        .push(option_error(&message, node.span).help("a region is called like `eu-west-1`"));
                } else if !regions.iter().any(|r| r == region) {
                    regions.push(region.to_owned());
                }
            }
        }
        regions
    }

    fn filter_list(&mut self, option: &str) -> Vec<Ec2Filters> {
        let Some(node) = self.map.get(option).filter(|n| !n.is_null()) else { return Vec::new() };
        let Some(items) = node.as_seq() else {
            self.found.push(option_error(&format!("`{option}` must be a list of mappings"), node.span));
            return Vec::new();
        };
        let mut all = Vec::new();
        for item in items {
            if let Some(value) = self.render(item)
                && let Some(filters) = self.filters(item, &value)
            {
                all.push(filters);
            }
        }
        all
    }

    /// One mapping of filters.
    fn filters(&mut self, node: &Node, value: &Json) -> Option<Ec2Filters> {
        let Some(map) = value.as_object() else {
            let message = "filters must be a mapping of names to values";
            self.found.push(option_error(message, node.span).help("such as `tag:role: master`"));
            return None;
        };
        let mut filters = Vec::new();
        for (name, value) in map {
            match texts(value) {
                Some(values) => filters.push((name.clone(), values)),
                None => {
                    let message = format!("the filter `{name}` must be a text or a list of them");
                    self.found.push(option_error(&message, node.span));
                }
            }
        }
        Some(filters)
    }

    fn cache(&mut self, folder: &Path) -> Option<Rules> {
        let usual = variable("ANSIBLE_INVENTORY_CACHE").is_some_and(|v| truth(&v));
        if !flag(self.map, "cache", usual, self.found) {
            return None;
        }
        let get = |name: &str, env: &str| self.map.get(name).and_then(scalar).or_else(|| variable(env));
        let plugin = get("cache_plugin", "ANSIBLE_INVENTORY_CACHE_PLUGIN");
        let short = plugin.as_deref().map(|p| p.rsplit('.').next().unwrap_or(p).to_owned());
        match short.as_deref() {
            None | Some("jsonfile") => {}
            // Memory forgets at the end of the command, and each command reads an inventory once.
            Some("memory") if self.map.get("cache_plugin").is_some() => return None,
            Some("memory") => {}
            Some(other) => {
                let span = self.map.get("cache_plugin").or_else(|| self.map.get("cache")).map(|n| n.span);
                if let Some(span) = span {
                    let message = format!("no cache plugin `{other}` here");
                    self.found.push(
                        option_error(&message, span).help("it has `jsonfile`, the usual one, and `memory`"),
                    );
                }
                return None;
            }
        }
        let timeout = get("cache_timeout", "ANSIBLE_INVENTORY_CACHE_TIMEOUT");
        let lifetime = match timeout.as_deref().map(str::parse) {
            None => 3600,
            Some(Ok(seconds)) => seconds,
            Some(Err(_)) => {
                if let Some(node) = self.map.get("cache_timeout").or_else(|| self.map.get("cache")) {
                    self.found.push(option_error("`cache_timeout` must be a number of seconds", node.span));
                }
                return None;
            }
        };
        let written = get("cache_connection", "ANSIBLE_INVENTORY_CACHE_CONNECTION").map(|path| {
            let home = || std::env::home_dir().unwrap_or_default();
            path.strip_prefix("~/").map_or_else(|| folder.join(&path), |rest| home().join(rest))
        });
        let Some(folder) = written.or_else(users_folder) else {
            if let Some(node) = self.map.get("cache") {
                let message = "no place for the cache: neither XDG_CACHE_HOME nor HOME is set";
                self.found.push(option_error(message, node.span).help("name a folder by `cache_connection`"));
            }
            return None;
        };
        let prefix = get("cache_prefix", "ANSIBLE_INVENTORY_CACHE_PLUGIN_PREFIX");
        Some(Rules { folder, lifetime, prefix: prefix.unwrap_or_else(|| "ansible_inventory_".to_owned()) })
    }

    fn plain(&self, option: &str) -> Option<String> {
        self.map.get(option).and_then(scalar)
    }

    /// A text option that may be a template, under any of its names.
    fn alias(&mut self, names: &[&str]) -> Option<String> {
        let (node, value) = names.iter().find_map(|name| self.rendered(name))?;
        match &value {
            Json::String(text) => Some(text.clone()).filter(|t| !t.is_empty()),
            Json::Number(number) => Some(number.to_string()),
            _ => {
                self.found.push(option_error(&format!("`{}` must be a text", names[0]), node.span));
                None
            }
        }
    }

    fn rendered(&mut self, option: &str) -> Option<(Node, Json)> {
        let node = self.map.get(option).filter(|n| !n.is_null())?.clone();
        let value = self.render(&node)?;
        (!value.is_null()).then_some((node, value))
    }

    fn render(&mut self, node: &Node) -> Option<Json> {
        match self.templates.node(node, &self.scope).and_then(|v| to_json(&v)) {
            Ok(value) => Some(value),
            Err(fault) => {
                let finding = option_error(&fault.to_string(), node.span);
                self.found
                    .push(finding.help("options may use variables of the command line (`-e`) and lookups"));
                None
            }
        }
    }
}

/// A scalar or a list of scalars as texts; truth as AWS writes it.
fn texts(value: &Json) -> Option<Vec<String>> {
    let one = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(truth) => Some(truth.to_string()),
        Json::Number(number) => Some(number.to_string()),
        Json::Null => Some(String::new()),
        Json::Array(_) | Json::Object(_) => None,
    };
    match value {
        Json::Array(items) => items.iter().map(one).collect(),
        other => one(other).map(|text| vec![text]),
    }
}

fn truth(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "1" | "true" | "yes" | "on" | "y" | "t")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// `dcos-play/inventory` in the user's cache folder.
fn users_folder() -> Option<PathBuf> {
    // XDG says that a relative path counts as unset.
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || std::env::var_os("HOME").filter(|h| !h.is_empty()).map(|h| PathBuf::from(h).join(".cache"));
    Some(cache.or_else(home)?.join("dcos-play/inventory"))
}
