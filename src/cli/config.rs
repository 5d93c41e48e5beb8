//! `ansible.cfg`: the settings of the repository that people have.
//!
//! Owns: where the file lies, its syntax, which settings count here and how. Must not: decide what a setting does; most
//! become the default of a flag, so the command line and the environment win. Rules:
//! <https://docs.ansible.com/ansible/latest/reference_appendices/config.html>

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::vars::FactCache;

/// A setting that counts here.
enum Use {
    /// The default of a flag.
    Flag(&'static str),
    /// The default of a flag that takes a file: relative to the folder of `ansible.cfg`.
    File(&'static str),
    /// The default of a flag that takes several files, with commas.
    Files(&'static str),
    /// A flag that is on or off.
    Switch(&'static str),
    /// Read by name where it is needed.
    Read,
}

const KNOWN: &[(&str, &str, Use)] = &[
    ("defaults", "inventory", Use::Files("inventory")),
    ("defaults", "hostfile", Use::Files("inventory")),
    ("defaults", "remote_user", Use::Flag("user")),
    ("defaults", "private_key_file", Use::File("private_key")),
    ("defaults", "forks", Use::Flag("forks")),
    ("defaults", "timeout", Use::Flag("timeout")),
    ("defaults", "task_timeout", Use::Flag("task_timeout")),
    ("defaults", "transport", Use::Flag("connection")),
    ("defaults", "vault_password_file", Use::Files("vault_password_file")),
    ("defaults", "vault_identity_list", Use::Read),
    ("defaults", "ask_pass", Use::Switch("ask_pass")),
    ("defaults", "ask_vault_pass", Use::Switch("ask_vault_pass")),
    ("defaults", "force_handlers", Use::Switch("force_handlers")),
    ("defaults", "roles_path", Use::Read),
    ("defaults", "library", Use::Read),
    ("defaults", "collections_path", Use::Read),
    ("defaults", "collections_paths", Use::Read),
    ("defaults", "host_key_checking", Use::Read),
    ("defaults", "gathering", Use::Read),
    ("defaults", "fact_caching", Use::Read),
    ("defaults", "fact_caching_connection", Use::Read),
    ("defaults", "fact_caching_prefix", Use::Read),
    ("defaults", "fact_caching_timeout", Use::Read),
    ("defaults", "hash_behaviour", Use::Read),
    ("defaults", "allow_broken_conditionals", Use::Read),
    ("privilege_escalation", "become", Use::Switch("become")),
    ("privilege_escalation", "become_user", Use::Flag("become_user")),
    ("privilege_escalation", "become_method", Use::Flag("become_method")),
    ("privilege_escalation", "become_ask_pass", Use::Switch("ask_become_pass")),
    ("defaults", "become", Use::Switch("become")),
    ("defaults", "become_user", Use::Flag("become_user")),
    ("defaults", "become_method", Use::Flag("become_method")),
    ("ssh_connection", "ssh_common_args", Use::Flag("ssh_common_args")),
    ("ssh_connection", "ssh_extra_args", Use::Flag("ssh_extra_args")),
    ("ssh_connection", "ssh_args", Use::Read),
    ("ssh_connection", "host_key_checking", Use::Read),
    ("diff", "always", Use::Switch("diff")),
];

/// Settings about Python, plugins, caches of connections and Ansible's own output: nothing here depends on them.
const NO_MATTER: &[&str] = &[
    "action_plugins",
    "action_warnings",
    "ansible_managed_time",
    "bin_ansible_callbacks",
    "cache_plugins",
    "callback_plugins",
    "callback_result_format",
    "callback_whitelist",
    "callbacks_enabled",
    "command_warnings",
    "connection_plugins",
    "cow_selection",
    "cow_whitelist",
    "deprecation_warnings",
    "devel_warning",
    "display_args_to_stdout",
    "display_failed_stderr",
    "display_ok_hosts",
    "display_skipped_hosts",
    "executable",
    "filter_plugins",
    "interpreter_python",
    "internal_poll_interval",
    "inventory_plugins",
    "jinja2_extensions",
    "jinja2_native",
    "keep_remote_files",
    "local_tmp",
    "localhost_warning",
    "log_path",
    "lookup_plugins",
    "module_lang",
    "module_name",
    "module_set_locale",
    "nocolor",
    "nocows",
    "pattern",
    "poll_interval",
    "python_interpreter",
    "remote_port_warning",
    "remote_tmp",
    "result_format",
    "retry_files_enabled",
    "retry_files_save_path",
    "show_custom_stats",
    "show_task_path_on_failure",
    "stdout_callback",
    "strategy_plugins",
    "sudo_flags",
    "syslog_facility",
    "system_warnings",
    "terminal_plugins",
    "test_plugins",
    "vars_plugins",
    "verbose_to_stderr",
    "playbook_dir_warning",
];
const NO_MATTER_SSH: &[&str] = &[
    "control_path",
    "control_path_dir",
    "pipelining",
    "retries",
    "scp_extra_args",
    "scp_if_ssh",
    "sftp_batch_mode",
    "sftp_extra_args",
    "ssh_executable",
    "transfer_method",
    "usetty",
];
const NO_MATTER_SECTIONS: &[&str] =
    &["colors", "galaxy", "inventory", "paramiko_connection", "persistent_connection", "selinux"];

/// One line `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    section: String,
    key: String,
    value: String,
    line: usize,
}

/// The settings of one `ansible.cfg`; none when there is no such file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    path: PathBuf,
    settings: Vec<Setting>,
    /// The file is left alone, and this says why.
    ignored: Option<String>,
}

static LOADED: OnceLock<Config> = OnceLock::new();

/// Makes these settings those of the process.
pub fn install(config: Config) {
    let behaviour = std::env::var("ANSIBLE_HASH_BEHAVIOUR").ok();
    if behaviour.as_deref().or_else(|| config.value("defaults", "hash_behaviour")) == Some("merge") {
        crate::vars::merge_mappings();
    }
    let _ = LOADED.set(config);
}

/// The settings of the process.
#[must_use]
pub fn get() -> &'static Config {
    LOADED.get_or_init(Config::default)
}

/// A setting by its environment variable, else by its name in [defaults].
fn said(variable: &str, key: &str) -> Option<String> {
    let named = std::env::var(variable).ok().filter(|value| !value.is_empty());
    named.or_else(|| get().value("defaults", key).map(str::to_owned))
}

/// Whether conditions may be other values than true and false: the setting for playbooks older than Ansible 2.19.
pub fn broken_conditionals() -> bool {
    said("ANSIBLE_ALLOW_BROKEN_CONDITIONALS", "allow_broken_conditionals").is_some_and(|value| truth(&value))
}

/// When plays that don't say gather facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gathering {
    Implicit,
    Explicit,
    /// Of hosts whose facts are not known yet.
    Smart,
}

/// The setting `gathering`.
///
/// # Errors
/// A word that is none of the three.
pub fn gathering() -> Result<Gathering, String> {
    match said("ANSIBLE_GATHERING", "gathering").as_deref() {
        None | Some("implicit") => Ok(Gathering::Implicit),
        Some("explicit") => Ok(Gathering::Explicit),
        Some("smart") => Ok(Gathering::Smart),
        Some(other) => Err(format!("error: `gathering` is `implicit`, `explicit` or `smart`, not `{other}`")),
    }
}

/// Where facts of earlier runs are kept: `fact_caching = jsonfile` and what belongs to it.
///
/// # Errors
/// No folder is named, or the lifetime is no number of seconds.
pub fn fact_cache() -> Result<Option<FactCache>, String> {
    if said("ANSIBLE_CACHE_PLUGIN", "fact_caching").is_none_or(|name| plugin(&name) != "jsonfile") {
        return Ok(None);
    }
    let folder = match std::env::var_os("ANSIBLE_CACHE_PLUGIN_CONNECTION").filter(|value| !value.is_empty()) {
        Some(folder) => folder.into(),
        None => get()
            .value("defaults", "fact_caching_connection")
            .map(|folder| PathBuf::from(get().located(folder)))
            .ok_or("error: `fact_caching = jsonfile` needs the folder of the files: set `fact_caching_connection`")?,
    };
    let prefix = said("ANSIBLE_CACHE_PLUGIN_PREFIX", "fact_caching_prefix").unwrap_or_default();
    let lifetime = said("ANSIBLE_CACHE_PLUGIN_TIMEOUT", "fact_caching_timeout");
    let lifetime = lifetime.map_or(Ok(86_400), |text| {
        text.trim()
            .parse()
            .map_err(|_| format!("error: `fact_caching_timeout` is a number of seconds, not `{text}`"))
    })?;
    Ok(Some(FactCache::new(folder, prefix, lifetime)))
}

/// A plugin's name without that of Ansible's own collection.
fn plugin(name: &str) -> &str {
    name.strip_prefix("ansible.builtin.").unwrap_or(name)
}

impl Config {
    /// Reads the file that Ansible would take: `$ANSIBLE_CONFIG`, `ansible.cfg` here, `~/.ansible.cfg`,
    /// `/etc/ansible/ansible.cfg`.
    ///
    /// # Errors
    /// A file that cannot be read or has a line that is no setting.
    pub fn load() -> Result<Self, String> {
        let named = std::env::var_os("ANSIBLE_CONFIG").filter(|v| !v.is_empty()).map(|value| {
            let path = PathBuf::from(value);
            if path.is_dir() { path.join("ansible.cfg") } else { path }
        });
        let here = PathBuf::from("ansible.cfg");
        let path = match named {
            Some(path) => path,
            None if here.is_file() => {
                if world_writable(Path::new(".")) {
                    let why = "ansible.cfg is left alone: everybody may write to its folder".to_owned();
                    return Ok(Self { ignored: Some(why), ..Self::default() });
                }
                here
            }
            None => {
                let home = std::env::home_dir().map(|home| home.join(".ansible.cfg"));
                match home
                    .into_iter()
                    .chain([PathBuf::from("/etc/ansible/ansible.cfg")])
                    .find(|p| p.is_file())
                {
                    Some(path) => path,
                    None => return Ok(Self::default()),
                }
            }
        };
        let shown = path.display().to_string();
        let text = fs_err::read_to_string(&path).map_err(|e| format!("error: cannot read {shown}: {e}"))?;
        let path = std::path::absolute(&path).unwrap_or(path);
        let settings = parse(&text).map_err(|(line, why)| format!("error: {why}\n  at {shown}:{line}"))?;
        Ok(Self { path, settings, ignored: None })
    }

    /// A setting's text.
    #[must_use]
    pub fn value(&self, section: &str, key: &str) -> Option<&str> {
        self.find(section, key).map(|s| s.value.as_str())
    }

    /// A setting that is true or false.
    #[must_use]
    pub fn flag(&self, section: &str, key: &str) -> Option<bool> {
        self.value(section, key).map(truth)
    }

    /// Folders separated by colons, relative to the folder of the file.
    #[must_use]
    pub fn paths(&self, section: &str, key: &str) -> Option<Vec<PathBuf>> {
        let value = self.value(section, key)?;
        Some(
            value
                .split(':')
                .filter(|p| !p.trim().is_empty())
                .map(|p| PathBuf::from(self.located(p.trim())))
                .collect(),
        )
    }

    /// What a user should know about the file.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let name = self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let unknown = self.settings.iter().filter(|s| !matters_not(s) && known(s).is_none());
        let unknown = unknown.map(|s| {
            format!("{name}:{}: `{}` in [{}] is not supported and has no effect", s.line, s.key, s.section)
        });
        let caching = self.settings.iter().filter(|s| s.section == "defaults" && s.key == "fact_caching");
        let caching = caching.filter(|s| !matches!(plugin(&s.value), "memory" | "jsonfile")).map(|s| {
            format!("{name}:{}: facts are cached by `jsonfile` or not at all, not by `{}`", s.line, s.value)
        });
        let unknown = unknown.chain(caching);
        let missing = self.settings.iter().filter(|s| matches!(known(s), Some(Use::Files("inventory"))));
        let missing = missing.flat_map(|s| self.files(&s.value).into_iter().map(move |path| (s.line, path)));
        let missing = missing
            .filter(|(_, path)| is_missing(path))
            .map(|(line, path)| format!("{name}:{line}: there is no inventory `{path}`"));
        self.ignored.iter().cloned().chain(unknown).chain(missing).collect()
    }

    /// The same command line, with these settings as the defaults of its flags.
    #[must_use]
    pub fn defaults(&self, mut command: clap::Command) -> clap::Command {
        let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        for name in names {
            command = command.mut_subcommand(name, |c| self.defaults(c));
        }
        for setting in &self.settings {
            let Some(known) = known(setting) else { continue };
            let (id, values): (&str, Vec<OsString>) = match known {
                Use::Flag(id) => (id, vec![setting.value.clone().into()]),
                Use::File(id) => (id, vec![self.located(&setting.value).into()]),
                // An inventory that isn't there is named in a warning, and the run goes on without it, as with Ansible.
                Use::Files(id) => {
                    let files = self.files(&setting.value).into_iter();
                    (
                        id,
                        files
                            .filter(|path| *id != "inventory" || !is_missing(path))
                            .map(Into::into)
                            .collect(),
                    )
                }
                Use::Switch(id) if truth(&setting.value) => (id, vec!["true".into()]),
                Use::Switch(_) | Use::Read => continue,
            };
            if !values.is_empty() && command.get_arguments().any(|a| a.get_id() == id) {
                command = command.mut_arg(id, |a| a.default_values(values));
            }
        }
        command
    }

    /// Several files with commas; `a,b,` is a list of hosts, no list of files.
    fn files(&self, value: &str) -> Vec<String> {
        if value.trim_end().ends_with(',') {
            return vec![value.to_owned()];
        }
        let all = value.split(',').map(str::trim).filter(|path| !path.is_empty());
        all.map(|path| self.located(path)).collect()
    }

    fn find(&self, section: &str, key: &str) -> Option<&Setting> {
        self.settings.iter().rev().find(|s| s.section == section && s.key == key)
    }

    /// A path as seen from the folder of the file; `~` and `{{CWD}}` are known.
    fn located(&self, path: &str) -> String {
        let path = match std::env::current_dir() {
            Ok(current) => path.replace("{{CWD}}", &current.display().to_string()),
            Err(_) => path.to_owned(),
        };
        if let (Some(rest), Some(home)) = (path.strip_prefix("~/"), std::env::home_dir()) {
            return home.join(rest).display().to_string();
        }
        self.path.parent().unwrap_or(Path::new("")).join(path).display().to_string()
    }
}

fn known(setting: &Setting) -> Option<&'static Use> {
    KNOWN
        .iter()
        .find(|(section, key, _)| *section == setting.section && *key == setting.key)
        .map(|(.., how)| how)
}

fn matters_not(setting: &Setting) -> bool {
    let section = setting.section.as_str();
    NO_MATTER_SECTIONS.contains(&section)
        || section.starts_with("callback_")
        || (section == "defaults" && NO_MATTER.contains(&setting.key.as_str()))
        || (section == "ssh_connection" && NO_MATTER_SSH.contains(&setting.key.as_str()))
        || (section == "diff" && setting.key == "context")
}

fn is_missing(path: &str) -> bool {
    !path.ends_with(',') && !Path::new(path).exists()
}

fn truth(text: &str) -> bool {
    matches!(text.trim().to_lowercase().as_str(), "true" | "yes" | "on" | "1" | "y" | "t")
}

fn world_writable(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    folder.metadata().is_ok_and(|m| m.permissions().mode() & 0o002 != 0)
}

/// Sections, `key = value` or `key: value`, lines that go on below with blanks in front, comments.
fn parse(text: &str) -> Result<Vec<Setting>, (usize, String)> {
    let mut settings: Vec<Setting> = Vec::new();
    let mut section: Option<String> = None;
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        let bare = bare.split_once(" ;").map_or(bare, |(before, _)| before.trim_end());
        if line.starts_with([' ', '\t']) && open {
            if let Some(last) = settings.last_mut() {
                last.value.push('\n');
                last.value.push_str(bare);
            }
            continue;
        }
        if let Some(name) = bare.strip_prefix('[') {
            let Some(name) = name.strip_suffix(']') else {
                return Err((number, format!("`{bare}` is no section: the bracket is never closed")));
            };
            section = Some(name.trim().to_owned());
            open = false;
            continue;
        }
        let Some(section) = &section else {
            return Err((number, format!("`{bare}` stands before the first section, such as [defaults]")));
        };
        let Some(end) = bare.find(['=', ':']) else {
            return Err((number, format!("`{bare}` is not `name = value`")));
        };
        settings.push(Setting {
            section: section.clone(),
            key: bare[..end].trim().to_lowercase(),
            value: bare[end + 1..].trim().to_owned(),
            line: number,
        });
        open = true;
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn config(text: &str) -> Config {
        Config { path: "/repo/ansible.cfg".into(), settings: parse(text).expect("parses"), ignored: None }
    }

    #[test]
    fn settings_are_read_as_python_reads_them() {
        let read = config("# c\n[defaults]\nForks = 7 ; note\nroles_path=roles:\n  ~x\n[a b]\nk: v = w\n");
        assert_eq!(read.value("defaults", "forks"), Some("7"));
        assert_eq!(read.value("defaults", "roles_path"), Some("roles:\n~x"));
        assert_eq!(read.value("a b", "k"), Some("v = w"));
        for (text, line, part) in [
            ("forks = 3\n", 1, "before the first section"),
            ("[defaults\n", 1, "never closed"),
            ("[defaults]\n\nforks\n", 3, "is not `name = value`"),
        ] {
            let (at, why) = parse(text).expect_err("refused");
            assert!(at == line && why.contains(part), "{at}: {why}");
        }
    }

    #[test]
    fn settings_are_defaults_below_the_command_line() {
        let config = config(
            "[defaults]\ninventory = /etc/hosts, /dev/null, /nowhere/at/all\nforks = 7\nremote_user = core\nprivate_key_file = keys/id\n\
             [privilege_escalation]\nbecome = True\nbecome_user = no_one\n[diff]\nalways = no\n",
        );
        assert_eq!(config.warnings(), ["ansible.cfg:2: there is no inventory `/nowhere/at/all`"]);
        let command = config.defaults(crate::cli::Arguments::command());
        let found = command.get_matches_from(["dcos-play", "run", "site.yml", "-u", "me"]);
        let run = found.subcommand_matches("run").expect("run");
        let inventory: Vec<&String> = run.get_many("inventory").expect("two").collect();
        assert_eq!(inventory, ["/etc/hosts", "/dev/null"]);
        assert_eq!(run.get_one::<u32>("forks"), Some(&7));
        assert_eq!(run.get_one::<String>("user").map(String::as_str), Some("me"));
        assert_eq!(run.get_one::<PathBuf>("private_key"), Some(&PathBuf::from("/repo/keys/id")));
        assert!(run.get_flag("become") && !run.get_flag("diff"));
        assert_eq!(run.get_one::<String>("become_user").map(String::as_str), Some("no_one"));
    }

    #[test]
    fn what_has_no_effect_is_said_unless_it_matters_not() {
        let config =
            config("[defaults]\nnocows = 1\nstrategy = free\n[galaxy]\nserver = x\n[tags]\nrun = a\n");
        assert_eq!(
            config.warnings(),
            [
                "ansible.cfg:3: `strategy` in [defaults] is not supported and has no effect",
                "ansible.cfg:7: `run` in [tags] is not supported and has no effect"
            ]
        );
    }

    #[test]
    fn every_flag_that_is_named_exists() {
        let command = crate::cli::Arguments::command();
        let run = command.find_subcommand("run").expect("run");
        for (_, key, how) in KNOWN {
            if let Use::Flag(id) | Use::File(id) | Use::Files(id) | Use::Switch(id) = how {
                assert!(run.get_arguments().any(|a| a.get_id() == id), "{key}: {id}");
            }
        }
    }
}
