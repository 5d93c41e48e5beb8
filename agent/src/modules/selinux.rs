//! `selinux` (ansible.posix): mode and policy of SELinux, now and after the next boot.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::facts::security::selinux as facts;
use crate::options::{Opt, Spec};
use crate::system::run::run;
use crate::system::{self, fault, write};

/// The module.
pub struct Selinux;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Enforcing,
    Permissive,
    Disabled,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Enforcing => "enforcing",
            Self::Permissive => "permissive",
            Self::Disabled => "disabled",
        }
    }
}

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    state: State,
    policy: Option<String>,
    configfile: Option<String>,
    #[serde(default)]
    update_kernel_param: bool,
}

/// What must be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// `setenforce` with this.
    enforce: Option<bool>,
    /// New content of the configuration.
    content: Option<String>,
    /// Kernel arguments: `selinux=0` to add or to take away.
    kernel: Option<bool>,
    msgs: Vec<String>,
    reboot: bool,
}

const OPTIONS: &[Opt] = &[
    Opt::str("state").required().choices(&["enforcing", "permissive", "disabled"]),
    Opt::str("policy"),
    Opt::path("configfile").aliases(&["conf", "file"]),
    Opt::bool("update_kernel_param"),
];

impl Module for Selinux {
    const SPEC: Spec = Spec {
        collections: &["ansible.posix"],
        options: &[OPTIONS],
        required_if: &[("state", "enforcing", &["policy"]), ("state", "permissive", &["policy"])],
        ..Spec::new("selinux")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let path = config(args);
        let running = facts();
        let mode = running["mode"].as_str();
        let Some(before) = system::text(path) else {
            if args.state == State::Disabled && mode.is_none() {
                // A host without SELinux is as disabled as can be.
                return Ok(Inspection::Same(result(args, None, false, &[], false)));
            }
            return Err(fault(format!(
                "unable to find `{path}`: install the SELinux policy of this host first"
            )));
        };
        let policy = args.policy.clone().or_else(|| setting(&before, "SELINUXTYPE"));
        let mut change = Change::default();
        let mut after = before.clone();
        if setting(&before, "SELINUX").as_deref() != Some(args.state.word()) {
            after = with_setting(&after, "SELINUX", args.state.word());
            change.msgs.push(format!("config SELinux state changed to `{}`", args.state.word()));
        }
        if let Some(policy) =
            policy.as_deref().filter(|p| setting(&before, "SELINUXTYPE").as_deref() != Some(p))
        {
            if !system::exists(format!("/etc/selinux/{policy}/policy")) {
                return Err(fault(format!(
                    "policy `{policy}` is not installed on this host (`/etc/selinux/{policy}`)"
                )));
            }
            after = with_setting(&after, "SELINUXTYPE", policy);
            change.msgs.push(format!("config SELinux policy changed to `{policy}`"));
        }
        match (args.state, mode) {
            (State::Enforcing, Some("permissive")) => change.enforce = Some(true),
            (State::Permissive | State::Disabled, Some("enforcing")) => change.enforce = Some(false),
            _ => {}
        }
        if let Some(on) = change.enforce {
            let mode = if on { "enforcing" } else { "permissive" };
            let temporarily = if args.state == State::Disabled { "temporarily " } else { "" };
            change.msgs.push(format!("SELinux is {temporarily}set to `{mode}`"));
        }
        // The kernel switches between off and on only while it boots.
        change.reboot = match args.state {
            State::Disabled => mode.is_some(),
            _ => mode.is_none(),
        };
        if change.reboot {
            change.msgs.push(format!("reboot is required to set SELinux state to `{}`", args.state.word()));
        }
        if args.update_kernel_param {
            change.kernel = kernel_change(args, host)?;
        }
        change.content = (after != before).then_some(after.clone());
        let changed = change.content.is_some() || change.enforce.is_some() || change.kernel.is_some();
        let mut predicted = result(args, policy.as_deref(), changed, &change.msgs, change.reboot);
        if !changed {
            return Ok(Inspection::Same(predicted));
        }
        if change.content.is_some() {
            predicted
                .diff
                .push(json!({"before": before, "after": after, "before_header": path, "after_header": path}));
        }
        Ok(Inspection::Differs { change, predicted })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        if let Some(on) = change.enforce {
            run(host, &["setenforce", if on { "1" } else { "0" }])?.or_fault("cannot switch SELinux")?;
        }
        if let Some(content) = &change.content {
            write::replace(config(args), content, 0o644)?;
        }
        if let Some(off) = change.kernel {
            let argument = if off { "--args=selinux=0" } else { "--remove-args=selinux=0" };
            run(host, &["grubby", "--update-kernel=ALL", argument])?
                .or_fault("cannot change the kernel's arguments")?;
        }
        let policy = system::text(config(args)).and_then(|t| setting(&t, "SELINUXTYPE"));
        Ok(result(args, policy.as_deref(), true, &change.msgs, change.reboot))
    }
}

fn config(args: &Args) -> &str {
    args.configfile.as_deref().unwrap_or("/etc/selinux/config")
}

fn setting(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix('=').map(|v| v.trim().to_owned()))
}

fn with_setting(text: &str, key: &str, value: &str) -> String {
    let prefix = format!("{key}=");
    let mut found = false;
    let mut lines: Vec<String> = text
        .lines()
        .map(|l| {
            if l.trim().starts_with(&prefix) {
                found = true;
                format!("{key}={value}")
            } else {
                l.to_owned()
            }
        })
        .collect();
    if !found {
        lines.push(format!("{key}={value}"));
    }
    format!("{}\n", lines.join("\n"))
}

/// `selinux=0` must be added (`true`), taken away (`false`), or stands as wanted.
fn kernel_change(args: &Args, host: &Host<'_>) -> Result<Option<bool>, Fault> {
    let answer = run(host, &["grubby", "--info=ALL"])?.or_fault("cannot read the kernel's arguments")?;
    let lines: Vec<&str> = answer.out.lines().filter(|l| l.starts_with("args=")).collect();
    let off =
        |l: &&str| l.split(['"', ' ', '=']).collect::<Vec<_>>().windows(2).any(|w| w == ["selinux", "0"]);
    let wanted = args.state == State::Disabled;
    let as_wanted = if wanted { lines.iter().all(off) } else { !lines.iter().any(off) };
    Ok((!as_wanted).then_some(wanted))
}

fn result(args: &Args, policy: Option<&str>, changed: bool, msgs: &[String], reboot: bool) -> Outcome {
    let values = json!({
        "state": args.state.word(), "policy": policy, "configfile": config(args),
        "msg": msgs.join(", "), "reboot_required": reboot,
    });
    system::outcome(changed, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const CONFIG: &str = "# mode\nSELINUX=enforcing\nSELINUXTYPE=targeted\n";

    fn inspect(arguments: Value) -> Result<Inspection<Change>, Fault> {
        Selinux::inspect(&args(arguments), &Script::of(&[]).host())
    }

    #[test]
    fn a_host_without_selinux_is_disabled_already_and_nothing_else() {
        let _root = FakeRoot::with(&[]);
        assert!(matches!(inspect(json!({"state": "disabled"})), Ok(Inspection::Same(_))));
        let Err(error) = inspect(json!({"state": "permissive", "policy": "targeted"})) else { panic!() };
        assert!(error.msg.starts_with("unable to find `/etc/selinux/config`"), "{}", error.msg);
    }

    #[test]
    fn enforcing_becomes_permissive_now_and_in_the_file() {
        let root = FakeRoot::with(&[("/etc/selinux/config", CONFIG), ("/sys/fs/selinux/enforce", "1")]);
        let arguments: Args = args(json!({"state": "permissive", "policy": "targeted"}));
        let script = Script::of(&[("setenforce 0", 0, "")]);
        let Ok(Inspection::Differs { change, predicted }) = Selinux::inspect(&arguments, &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.values["reboot_required"], false);
        Selinux::apply(&arguments, change, &script.host()).expect("applies");
        assert_eq!(root.get("/etc/selinux/config"), "# mode\nSELINUX=permissive\nSELINUXTYPE=targeted\n");
        root.put("/sys/fs/selinux/enforce", "0");
        assert!(matches!(Selinux::inspect(&arguments, &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn disabling_waits_for_the_next_boot() {
        let _root = FakeRoot::with(&[("/etc/selinux/config", CONFIG), ("/sys/fs/selinux/enforce", "1")]);
        let Ok(Inspection::Differs { change, predicted }) = inspect(json!({"state": "disabled"})) else {
            panic!()
        };
        assert_eq!(change.enforce, Some(false));
        assert_eq!(predicted.values["reboot_required"], true);
        assert_eq!(predicted.values["policy"], "targeted");
    }
}
