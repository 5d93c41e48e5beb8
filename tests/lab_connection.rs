//! What happens between this machine and real hosts: cut connections, full disks, closed folders.
//!
//! Needs root and the programs that `dcos-play lab` needs; says so and passes where they are missing.

mod lab;

use std::time::{Duration, Instant};

use lab::TestLab;

fn lab(name: &str) -> Option<TestLab> {
    TestLab::up(&format!(
        "plugin: lab\nname: {name}\nnetwork: 10.90.0.0/24\ndefaults: {{image: bare}}\n\
         groups:\n  all_of_them:\n    hosts: [one, two, three]\n"
    ))
}

fn play(test: &TestLab, tasks: &str) {
    let text = format!("- name: Play\n  hosts: all\n  gather_facts: false\n  tasks:\n{tasks}");
    fs_err::write(test.project().join("play.yml"), text).expect("a playbook");
}

#[test]
fn step_that_loses_its_connection_runs_on_and_runs_once() {
    let Some(test) = lab("tccut") else { return };
    play(
        &test,
        "    - name: Work\n      shell: echo began >>/root/trace; sleep 5; echo ended >>/root/trace; echo result\n\
         \x20   - name: After\n      command: cat /root/trace\n      changed_when: false\n",
    );
    // Found lost at the second probe, which is while the step runs.
    let arguments = ["play.yml", "--ssh-common-args=-o ServerAliveInterval=1 -o ServerAliveCountMax=1"];
    test.run(&["play.yml", "--tags", "never_there"]).ended(0);
    let mut going = test.start(&arguments);
    for host in ["one", "two", "three"] {
        going.wait_for_task(host, "Work");
    }
    // The module itself has begun, not only the message to it.
    let deadline = Instant::now() + Duration::from_secs(10);
    while test.on("one", "cat /root/trace 2>/dev/null || true") != "began" {
        assert!(Instant::now() < deadline, "the step begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    test.lab.cut_off("one").expect("cut off");
    // Long enough for ssh to give the connection up; the step ends while the host is out of reach.
    let deadline = Instant::now() + Duration::from_secs(20);
    while test.on("one", "cat /root/trace") != "began\nended" {
        assert!(Instant::now() < deadline, "the step ends without the connection");
        std::thread::sleep(Duration::from_millis(50));
    }
    test.lab.reconnect("one").expect("back");
    let ran = going.end().ended(0);
    for host in ["one", "two", "three"] {
        assert_eq!(test.on(host, "cat /root/trace"), "began\nended", "{host} has worked once: {ran}");
        let outcomes = ran.outcomes(host);
        assert_eq!(outcomes[0].2["stdout"], "result", "{host}: {ran}");
        assert_eq!(outcomes[1].2["stdout_lines"].as_array().map(Vec::len), Some(2), "{ran}");
    }
}

#[test]
fn host_without_space_is_told_in_full_and_the_others_go_on() {
    let Some(test) = lab("tcfull") else { return };

    // Every folder in which the agent could live is too small for it.
    for folder in ["/root/.cache", "/root/.dcos-play", "/var/tmp", "/dev/shm", "/run/user", "/tmp"] {
        test.on("one", &format!("mkdir -p {folder} && mount -t tmpfs -o size=1m,mode=755 none {folder}"));
    }
    // A folder in which a file has no place.
    test.on("two", "mkdir /srv/small && mount -t tmpfs -o size=64k none /srv/small");
    play(
        &test,
        "    - name: Large\n      copy:\n        content: \"{{ 'x' * 300000 }}\"\n        dest: /srv/small/large\n",
    );
    test.on("three", "mkdir /srv/small");
    let ran = test.run(&["play.yml"]).ended(2);
    assert_eq!(ran.totals()["three"]["changed"], 1, "{ran}");
    let full = ran.block("one");
    assert!(full.contains("unreachable (agent)"), "{full}");
    assert!(full.contains("No space left on device"), "{full}");
    let full = ran.block("two");
    let said = "  msg         cannot write `/srv/small/large`: no space left on `/srv/small/large`\n";
    assert!(full.contains(said), "{full}");
    assert_eq!(test.on("two", "ls -A /srv/small"), "", "no half file stays");
    assert_eq!(test.on("one", "ls -A /root/.cache/dcos-play"), "", "no half agent stays");

    // `raw` needs no agent.
    play(&test, "    - name: Raw\n      raw: echo plain $((6 * 7))\n");
    let ran = test.run(&["play.yml"]).ended(0);
    for host in ["one", "two", "three"] {
        assert_eq!(ran.outcomes(host)[0].2["stdout_lines"][0], "plain 42", "{ran}");
    }
}

#[test]
fn wrong_host_key_and_a_silent_host_are_told_and_the_others_go_on() {
    let Some(test) = lab("tckey") else { return };
    play(&test, "    - name: Work\n      command: id -un\n");

    // Another machine answers at the address of `one`.
    let known = test.project().join("known_hosts");
    let real = test.on("two", "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    let key = real.split_whitespace().nth(1).expect("a key");
    fs_err::write(&known, format!("10.90.0.10 ssh-ed25519 {key}\n")).expect("known hosts");
    let common = format!("-o UserKnownHostsFile={} -o StrictHostKeyChecking=yes", known.display());
    fs_err::create_dir_all(test.project().join("host_vars")).expect("a folder");
    fs_err::write(
        test.project().join("host_vars/one.yml"),
        format!("ansible_ssh_common_args: \"{common}\"\n"),
    )
    .expect("variables");
    let ran = test.run(&["play.yml"]).ended(4);
    let block = ran.block("one").replace(&known.display().to_string(), "KNOWN");
    assert!(block.contains("✗ one · play.yml:5  \"Work\"\n  unreachable (host key) "), "{block}");
    assert!(block.contains("  next        "), "{block}");
    assert!(block.contains("10.90.0.10"), "{block}");
    for host in ["two", "three"] {
        assert_eq!(ran.outcomes(host)[0].2["stdout"], "root", "{ran}");
    }
    fs_err::remove_dir_all(test.project().join("host_vars")).expect("removed");

    // A host that doesn't answer at all.
    test.lab.cut_off("one").expect("cut off");
    let ran = test.run(&["play.yml", "--timeout", "3"]).ended(4);
    let block = ran.block("one");
    assert!(block.contains("unreachable (timed out)"), "{block}");
    assert!(ran.took < Duration::from_secs(10), "{ran}");
    let at = |host: &str| {
        ran.events
            .iter()
            .find(|e| {
                e["host"] == host && (e["event"] == "step_finished" || e["event"] == "host_unreachable")
            })
            .and_then(|e| e["at"].as_i64())
            .unwrap_or_else(|| panic!("an end of {host}: {ran}"))
    };
    for host in ["two", "three"] {
        assert!(at(host) + 1000 < at("one"), "{host} doesn't wait for the silent one: {ran}");
    }
}

#[test]
fn black_holed_host_among_seven_delays_the_others_by_less_than_a_hundredth() {
    let hosts = ["one", "two", "three", "four", "five", "six", "seven"];
    let Some(test) = TestLab::up(&format!(
        "plugin: lab\nname: tchole\nnetwork: 10.90.0.0/24\ndefaults: {{image: bare}}\n\
         groups:\n  all_of_them:\n    hosts: [{}]\n",
        hosts.join(", ")
    )) else {
        return;
    };
    play(
        &test,
        "    - name: Work\n      command: sleep 1\n      loop: [1, 2, 3]\n    - name: More\n      command: sleep 3\n",
    );
    // When the last of the others was done, in milliseconds.
    let others = |ran: &lab::Ran| {
        let at = |e: &serde_json::Value| e["at"].as_i64().expect("a time");
        let start = ran.events.iter().find(|e| e["event"] == "run_started").map(at).expect("a start");
        let ends = ran
            .events
            .iter()
            .filter(|e| e["event"] == "step_finished" && e["host"] != "one" && e["host"].as_str().is_some());
        (ends.map(at).max().expect("an end") - start) as f64
    };
    // The agents are there before anything is measured.
    test.run(&["play.yml", "--tags", "never_there"]).ended(0);
    test.run(&["play.yml"]).ended(0);
    // What else this machine does takes more than a hundredth now and then, but not each time.
    let mut seen = Vec::new();
    for _ in 0..4 {
        let whole = others(&test.run(&["play.yml"]).ended(0));
        test.lab.cut_off("one").expect("cut off");
        let ran = test.run(&["play.yml", "--timeout", "9"]).ended(4);
        test.lab.reconnect("one").expect("back");
        assert!(ran.block("one").contains("unreachable (timed out)"), "{ran}");
        assert!(ran.took > Duration::from_secs(9), "the silent host was waited for all that time: {ran}");
        for host in &hosts[1..] {
            assert_eq!(ran.totals()[*host]["ok"], 2, "{ran}");
        }
        seen.push(others(&ran) / whole);
        if seen.iter().any(|ratio| *ratio <= 1.01) {
            return;
        }
    }
    panic!("the others took so many times as long with a silent host among them: {seen:?}");
}
