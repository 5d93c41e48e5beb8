//! The lab on this machine: two real hosts under a name and network of their own.
//!
//! Needs root and the programs that `dcos-play lab` needs; says so and passes where they are missing.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use dcos_play::lab::{HostState, KeepImages, Lab, LabDirs, LabError, LabSpec, Silent, Stop};

/// A lab that goes down with the test, whether it passes or not.
struct TestLab {
    lab: Lab,
    state: tempfile::TempDir,
}

impl Drop for TestLab {
    fn drop(&mut self) {
        drop(self.lab.down(KeepImages::Yes, &Silent));
    }
}

fn lab() -> TestLab {
    let state = tempfile::tempdir().expect("a folder");
    let served = state.path().join("served");
    fs_err::create_dir(&served).expect("a folder");
    fs_err::write(served.join("hello.txt"), "hello from the lab\n").expect("a file");
    let file = state.path().join("lab.yml");
    let name = format!("t{}", std::process::id());
    let text = format!(
        "plugin: lab\nname: {name}\nnetwork: 10.78.0.0/24\nwww: {{dir: served}}\n\
         groups:\n  plain: {{hosts: [one]}}\n  poor: {{image: bare, hosts: [two]}}\n"
    );
    fs_err::write(&file, text).expect("a file");
    let spec = LabSpec::read(&file).expect("a lab");
    // Images come from the user's cache: building one takes most of a minute.
    let cache = LabDirs::of_user().expect("the user's folders").cache().to_owned();
    let lab =
        Lab::new(spec, LabDirs::new(cache, state.path().join("state")), env!("CARGO_BIN_EXE_dcos-play"));
    TestLab { lab, state }
}

fn ssh(lab: &Lab, user: &str, host: &str, script: &str) -> Result<String, String> {
    let mut command = lab.ssh_command(host, user, &[script.to_owned()]).expect("a known host");
    // The caller's own configuration must not decide this test.
    let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    command = Command::new("ssh");
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=1"]).args(arguments);
    let output = command.output().expect("ssh runs");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn state_of(lab: &Lab, host: &str) -> HostState {
    let all = lab.status().expect("a status");
    all.iter().find(|one| one.host.name == host).expect("the host").state
}

#[test]
fn hosts_boot_reboot_get_cut_off_and_leave_nothing() {
    let test = lab();
    let lab = &test.lab;
    match lab.up(&Silent) {
        Err(error @ (LabError::NotRoot | LabError::MissingPrograms { .. } | LabError::NoCgroups)) => {
            drop(writeln!(std::io::stderr(), "skipped: {error}"));
            return;
        }
        other => other.unwrap_or_else(|error| panic!("{error}")),
    }

    // Each host is a machine of its own, and its key is known beforehand.
    assert_eq!(ssh(lab, "root", "one", "hostname").as_deref(), Ok("one"));
    assert_eq!(ssh(lab, "ops", "two", "sudo -n id -un; hostname").as_deref(), Ok("root\ntwo"));
    assert_eq!(ssh(lab, "opspw", "one", "echo lab-sudo-pw | sudo -S -p '' id -un").as_deref(), Ok("root"));
    let ids = ["one", "two"].map(|host| ssh(lab, "root", host, "cat /etc/machine-id").expect("an id"));
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ssh(lab, "root", "one", "command -v python3").as_deref(), Ok("/usr/bin/python3"));
    assert_eq!(ssh(lab, "root", "two", "command -v python3 || echo none").as_deref(), Ok("none"));

    // They reach each other and the web server, and nothing else.
    assert_eq!(ssh(lab, "root", "one", "ping -c1 -W2 two >/dev/null && echo yes").as_deref(), Ok("yes"));
    let fetched = ssh(lab, "root", "two", "curl -sSf http://10.78.0.1:8077/hello.txt");
    assert_eq!(fetched.as_deref(), Ok("hello from the lab"));
    let outside =
        ssh(lab, "root", "two", "curl -sS -m 5 http://192.0.2.77/ 2>&1; echo $?").expect("an answer");
    assert!(outside.ends_with("\n7"), "the way out is refused at once: {outside}");

    // A second `up` has nothing to do.
    let boot = lab.boot_id("one").expect("a boot id");
    lab.up(&Silent).expect("still up");
    assert_eq!(lab.boot_id("one").expect("a boot id"), boot);

    // A reboot is one: new boot id, disk kept, address kept; asked for from inside as well. What ran in the host ends with it.
    ssh(lab, "root", "one", "touch /root/kept").expect("a file");
    let argv = ["sleep", "600"].map(str::to_owned);
    let mut ran = lab.exec_command("one", &argv).expect("a running host").spawn().expect("nsenter runs");
    lab.reboot_host("one", &Silent).expect("a reboot");
    assert!(!ran.wait().expect("it ends").success());
    let after =
        ssh(lab, "root", "one", "cat /proc/sys/kernel/random/boot_id; ls /root/kept").expect("an answer");
    assert_eq!(after, format!("{}\n/root/kept", lab.boot_id("one").expect("a boot id")));
    assert!(!after.contains(&boot));

    // A host that is cut off runs on, out of reach.
    lab.cut_off("two").expect("cut off");
    assert_eq!(state_of(lab, "two"), HostState::CutOff);
    assert!(ssh(lab, "root", "two", "true").is_err());
    let inside = lab.exec("two", &["hostname".to_owned()]).expect("a way past the network");
    assert_eq!(String::from_utf8_lossy(&inside.stdout), "two\n");
    lab.reconnect("two").expect("back");
    assert_eq!(ssh(lab, "root", "two", "hostname").as_deref(), Ok("two"));

    // Stopping keeps the disk, resetting doesn't.
    lab.stop_host("one", Stop::ShutDown, &Silent).expect("stopped");
    assert_eq!((state_of(lab, "one"), state_of(lab, "two")), (HostState::Down, HostState::Up));
    lab.up(&Silent).expect("up again");
    assert_eq!(ssh(lab, "root", "one", "ls /root/kept").as_deref(), Ok("/root/kept"));
    lab.reset_host("one", &Silent).expect("a new host");
    assert_eq!(ssh(lab, "root", "one", "ls /root/kept || echo new").as_deref(), Ok("new"));

    let bridge = format!("/sys/class/net/dl-{}", lab.spec().name);
    let name = lab.spec().name.clone();
    assert!(Path::new(&bridge).exists());
    lab.down(KeepImages::Yes, &Silent).expect("down");
    assert!(!Path::new(&bridge).exists());
    let rules = Command::new("ip").arg("rule").output().expect("ip runs").stdout;
    assert!(!String::from_utf8_lossy(&rules).contains(&name));
    // Without the bridge its addresses may be somebody else's.
    assert!(matches!(lab.ssh_command("one", "root", &[]), Err(LabError::HostDown { .. })));
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
        assert!(!Path::new(root).join("dcos-play").join(&name).exists());
    }
    assert!(!test.state.path().join("state").exists());
    let mounts = fs_err::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(&*test.state.path().to_string_lossy()));
}
