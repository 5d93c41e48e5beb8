//! `playbooks/site.yml`: infrastructure and work on its machines in one graph.

use crate::emulator::{Emulator, Fault};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC1Hn8Zl0PbGxAEhZxjQ1sCXDTX8bJGjVkXIcZ7hM3Ui ada";

/// The shipped playbooks and inventory in the emulator's folder.
pub(crate) fn shipped(emulator: &Emulator) {
    let folder = emulator.folder.path();
    for part in ["playbooks", "inventory", "roles"] {
        let from = format!("{}/{part}", env!("CARGO_MANIFEST_DIR"));
        let status = std::process::Command::new("cp").args(["-a", &from, "."]).current_dir(folder).status();
        assert!(status.unwrap().success());
    }
    std::fs::write(folder.join("key.pub"), KEY).unwrap();
}

pub(crate) fn edit(emulator: &Emulator, file: &str, from: &str, to: &str) {
    let path = emulator.folder.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "`{from}` in {file}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

const SETTINGS: &[&str] = &[
    "-i",
    "inventory/ec2.yml",
    "-e",
    "cluster_name=c1",
    "-e",
    "aws_image=ami-785db401",
    "-e",
    "admin_cidr=10.9.0.0/16",
    "-e",
    "ssh_public_key_file=key.pub",
    "-e",
    "size=minimal",
];

#[test]
fn work_on_machines_begins_while_load_balancers_are_still_being_made() {
    let emulator = Emulator::start();
    shipped(&emulator);
    let folder = emulator.folder.path().to_path_buf();
    // The hosts are this machine: they answer at once.
    edit(&emulator, "inventory/ec2.yml", "compose:\n", "compose:\n  ansible_connection: \"'local'\"\n");
    let book = "- id: provision\n  needs: []\n  hosts: dcos\n  gather_facts: false\n  tasks:\n    - shell: echo \"{{ inventory_hostname }}\" >> {{ playbook_dir }}/../provisioned\n";
    std::fs::write(folder.join("playbooks/provision.yml"), book).unwrap();
    emulator.holds("CreateLoadBalancer", folder.join("provisioned"));
    let run = [&["run", "playbooks/site.yml", "-e", "host_key_timeout=0"], SETTINGS].concat();
    let (status, text) = emulator.play(&run);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(emulator.waited(), [true, true, true], "{text}");
    assert!(!text.contains("warning:"), "{text}");
    let done = std::fs::read_to_string(folder.join("provisioned")).unwrap();
    assert_eq!(done.lines().count(), 4, "{done}");
    // Nothing on the consoles: the screen says what that means.
    assert!(text.contains("shows no host keys after 0 s: the key of"), "{text}");

    // Again: nothing to make, and everything is as it was declared.
    emulator.breaks(Fault::None);
    let (status, text) = emulator.play(&run);
    assert_eq!((status, emulator.calls()), (Some(0), Vec::new()), "{text}");
    // Anew by name: once, though two plays work on it.
    let (status, text) = emulator.play(&[&run[..], &["--replace", "masters"]].concat());
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(text.matches("(item=create masters (ec2_instance)").count(), 1, "{text}");
    let (status, text) = emulator.play(&[&run[..], &["--replace", "mastrs"]].concat());
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("did you mean `masters`?"), "{text}");
    let (status, text) = emulator.play(&[&["plan", "playbooks/site.yml"], SETTINGS].concat());
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(text.matches("objects are as declared").count(), 1, "{text}");
    let (status, text) = emulator.play(&[&["destroy", "-y", "playbooks/site.yml"], SETTINGS].concat());
    assert_eq!(status, Some(0), "{text}");
    assert!(text.ends_with("nothing is left of `c1`\n"), "{text}");
}
