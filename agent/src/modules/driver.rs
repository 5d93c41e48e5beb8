//! The list of modules, and the one way in which each of them is run.
//!
//! Owns: from raw arguments to the finished result. Must not: know what a module does, or let check mode reach `apply`.
//! Called by: the agent for each step; the controller for specs and names.
//!
//! A new module is a file beside this one, its `mod` line in `mod.rs` and one line in the list below.

use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::expand_path;
use crate::options::{CheckSupport, Kind, Spec};
use crate::protocol::StepResult;

/// What stands in a result for the value of a secret option; Ansible's word.
const HIDDEN: &str = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER";

/// Makes the two tables below from one list, so that they can't come apart.
macro_rules! modules {
    ($($module:ty,)*) => {
        static SPECS: &[&Spec] = &[$(const { &<$module as Module>::SPEC },)*];
        static DRIVES: &[Drive] = &[$(drive::<$module>,)*];
    };
}

// The controller reads specs only. That what a module does stands in a table of its own lets the linker leave all of
// it out of the controller.
modules! {
    super::apt::Apt,
    super::dpkg_selections::DpkgSelections,
    super::locale_gen::LocaleGen,
    super::alternatives::Alternatives,
    super::apt_key::AptKey,
    super::apt_repository::AptRepository,
    super::authorized_key::AuthorizedKey,
    super::assemble::Assemble,
    super::async_status::AsyncStatus,
    super::blockinfile::BlockInFile,
    super::command::Command,
    super::command::Shell,
    super::copy::Copy,
    super::cron::Cron,
    super::custom::Custom,
    super::deb822_repository::Deb822Repository,
    super::debconf::Debconf,
    super::docker_container::DockerContainer,
    super::docker_image::DockerImage,
    super::docker_info::DockerContainerInfo,
    super::docker_info::DockerImageInfo,
    super::docker_info::DockerNetworkInfo,
    super::docker_network::DockerNetwork,
    super::file::File,
    super::firewalld::Firewalld,
    super::find::Find,
    super::get_url::GetUrl,
    super::getent::Getent,
    super::git::Git,
    super::group::Group,
    super::hostname::Hostname,
    super::ini_file::IniFile,
    super::iptables::Iptables,
    super::known_hosts::KnownHosts,
    super::lineinfile::LineInFile,
    super::lvol::Lvol,
    super::modprobe::Modprobe,
    super::mount::Mount,
    super::mount_facts::MountFacts,
    super::package::Package,
    super::package_facts::PackageFacts,
    super::ping::Ping,
    super::pip::Pip,
    super::reboot::Reboot,
    super::replace::Replace,
    super::rpm_key::RpmKey,
    super::selinux::Selinux,
    super::service::Service,
    super::service_facts::ServiceFacts,
    super::setup::Setup,
    super::slurp::Fetch,
    super::slurp::Slurp,
    super::stat::Stat,
    super::sysctl::Sysctl,
    super::systemd::Systemd,
    super::sysvinit::Sysvinit,
    super::tempfile::Tempfile,
    super::timezone::Timezone,
    super::unarchive::Unarchive,
    super::uri::Uri,
    super::user::User,
    super::wait_for::WaitFor,
    super::yum::Yum,
    super::yum_repository::YumRepository,
}

type Drive = fn(Map<String, Value>, &Host<'_>) -> Result<Outcome, Fault>;

/// The specs of all modules.
#[must_use]
pub fn catalogue() -> &'static [&'static Spec] {
    SPECS
}

/// Finds a module by short name, alias or fully qualified name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Spec> {
    position(name).map(|at| SPECS[at])
}

fn position(name: &str) -> Option<usize> {
    let (collection, short) = match name.rsplit_once('.') {
        Some((collection, short)) => (Some(collection), short),
        None => (None, name),
    };
    SPECS.iter().position(|spec| {
        let named = spec.name == short || spec.aliases.contains(&short);
        let there = collection.is_none_or(|c| {
            matches!(c, "ansible.builtin" | "ansible.legacy") || spec.collections.contains(&c)
        });
        named && there
    })
}

/// Runs a module with raw arguments. Gives the complete result and the bytes that go with it; nothing when there is no
/// such module.
#[must_use]
pub fn run(name: &str, args: Map<String, Value>, host: &Host<'_>) -> Option<(StepResult, Vec<u8>)> {
    let at = position(name)?;
    Some(perform(SPECS[at], DRIVES[at], args, host))
}

fn perform(spec: &Spec, drive: Drive, args: Map<String, Value>, host: &Host<'_>) -> (StepResult, Vec<u8>) {
    let args = match spec.coerce(args) {
        Ok(args) => args,
        Err(faults) => {
            let msg = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return (failed(Fault::new(msg)), Vec::new());
        }
    };
    let args = match expanded(spec, args, host) {
        Ok(args) => args,
        Err(fault) => return (failed(fault), Vec::new()),
    };
    let shown = shown(spec, &args);
    let (mut result, blob) = match drive(args, host) {
        Ok(outcome) => finished(outcome, host.diff),
        Err(fault) => (failed(fault), Vec::new()),
    };
    for (text, lines) in [("stdout", "stdout_lines"), ("stderr", "stderr_lines")] {
        if let Some(Value::String(output)) = result.get(text)
            && !result.contains_key(lines)
        {
            let split: Vec<Value> = output.lines().map(Value::from).collect();
            result.insert(lines.to_owned(), split.into());
        }
    }
    result.insert("invocation".to_owned(), json!({ "module_args": shown }));
    (result, blob)
}

fn drive<M: Module>(args: Map<String, Value>, host: &Host<'_>) -> Result<Outcome, Fault> {
    let args: M::Args = serde_json::from_value(Value::Object(args))
        .map_err(|e| Fault::new(format!("the arguments of `{}` do not fit: {e}", M::SPEC.name)))?;
    match M::inspect(&args, host)? {
        Inspection::Same(outcome) => Ok(outcome),
        Inspection::Differs { predicted, .. } if host.check => Ok(match M::SPEC.check {
            CheckSupport::Full => predicted,
            // Such a module may still know better: `creates` and `removes` make a command predictable.
            CheckSupport::None if predicted.changed || predicted.values.contains_key("skipped") => predicted,
            CheckSupport::None => {
                Outcome::same().with("skipped", true).with("msg", "skipped, running in check mode")
            }
        }),
        Inspection::Differs { change, predicted } => {
            let mut outcome = M::apply(&args, change, host)?;
            if outcome.diff.is_empty() {
                outcome.diff = predicted.diff;
            }
            Ok(outcome)
        }
    }
}

fn finished(outcome: Outcome, diff: bool) -> (StepResult, Vec<u8>) {
    let mut result = outcome.values;
    result.entry("changed").or_insert(Value::Bool(outcome.changed));
    if diff && !outcome.diff.is_empty() {
        result.insert("diff".to_owned(), Value::Array(outcome.diff));
    }
    if !outcome.warnings.is_empty() {
        result.insert("warnings".to_owned(), outcome.warnings.into());
    }
    (result, outcome.blob)
}

/// The result of a step that failed with this fault.
pub(crate) fn failed(fault: Fault) -> StepResult {
    let mut result = fault.values;
    result.entry("changed").or_insert(Value::Bool(false));
    result.insert("failed".to_owned(), Value::Bool(true));
    result.insert("msg".to_owned(), Value::String(fault.msg));
    result
}

/// `~` and `$VAR` in paths, as a shell on the host with the task's environment would see them.
fn expanded(spec: &Spec, mut args: Map<String, Value>, host: &Host<'_>) -> Result<Map<String, Value>, Fault> {
    for option in spec.all_options().filter(|o| o.kind == Kind::Path) {
        if let Some(Value::String(path)) = args.get_mut(option.name)
            && path.contains(['~', '$'])
        {
            *path = expand_path(path, host.environment);
        }
    }
    Ok(args)
}

fn shown(spec: &Spec, args: &Map<String, Value>) -> Value {
    let shown = args.iter().filter(|(name, _)| !name.starts_with('_')).map(|(name, value)| {
        let value = if spec.is_secret(name) { Value::from(HIDDEN) } else { value.clone() };
        (name.clone(), value)
    });
    Value::Object(shown.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde::Deserialize;

    use super::*;
    use crate::options::Opt;
    use crate::runner::Local;

    static APPLIED: AtomicU32 = AtomicU32::new(0);

    struct Thing;

    #[derive(Deserialize)]
    struct Args {
        want: i64,
    }

    impl Module for Thing {
        const SPEC: Spec = Spec {
            options: &[&[Opt::int("want").required(), Opt::str("token").secret()]],
            ..Spec::new("thing")
        };
        type Args = Args;
        type Change = i64;

        fn inspect(args: &Args, _host: &Host<'_>) -> Result<Inspection<i64>, Fault> {
            Ok(match args.want {
                0 => Inspection::Same(Outcome::same().with("is", 0)),
                n if n < 0 => return Err(Fault::new("too little").with("rc", 3)),
                n => Inspection::Differs {
                    change: n,
                    predicted: Outcome { diff: vec![json!({"before": 0, "after": n})], ..Outcome::changed() },
                },
            })
        }

        fn apply(_: &Args, change: i64, _: &Host<'_>) -> Result<Outcome, Fault> {
            APPLIED.fetch_add(1, Ordering::SeqCst);
            Ok(Outcome::changed().with("is", change))
        }
    }

    fn run(args: Value, check: bool) -> Value {
        let Value::Object(args) = args else { panic!("a mapping") };
        let runner = Local::new();
        let host = Host { check, diff: true, environment: &[], runner: &runner };
        Value::Object(perform(&Thing::SPEC, drive::<Thing>, args, &host).0)
    }

    #[test]
    fn a_result_is_complete_and_check_mode_never_applies() {
        assert_eq!(
            run(json!({"want": "0", "token": "x"}), false),
            json!({"is": 0, "changed": false, "invocation": {"module_args": {"want": 0, "token": HIDDEN}}})
        );
        assert_eq!(run(json!({"want": -1}), false)["rc"], 3);
        assert_eq!(run(json!({"want": -1}), false)["failed"], true);
        let checked = run(json!({"want": 2}), true);
        assert_eq!(checked["changed"], true);
        assert_eq!(APPLIED.load(Ordering::SeqCst), 0);
        let applied = run(json!({"want": 2}), false);
        assert_eq!(applied["diff"], checked["diff"]);
        assert_eq!(applied["is"], 2);
        assert_eq!(APPLIED.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn names_are_unique_and_found_in_full() {
        let mut names = Vec::new();
        for spec in catalogue() {
            names.push(spec.name);
            names.extend(spec.aliases);
            assert!(find(&format!("ansible.builtin.{}", spec.name)).is_some());
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "two modules share a name");
    }
}
