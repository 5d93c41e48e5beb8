//! `async` and `poll`, `locks`, `throttle` and `serial: quorum`.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::Project;
use crate::{outcomes, project};

const LIMIT: Duration = Duration::from_secs(30);

/// The results of a host's steps by their task's name.
fn results(project: &Project, host: &str) -> Vec<(String, Value)> {
    let mut names = std::collections::HashMap::new();
    let mut out = Vec::new();
    for event in project.journal() {
        match event["event"].as_str() {
            Some("step_started") => {
                names.insert(event["step"].as_u64(), event["name"].as_str().unwrap_or_default().to_owned());
            }
            Some("step_finished") if event["host"] == host => {
                let name = names.get(&event["step"].as_u64()).cloned().unwrap_or_default();
                out.push((name, event["result"].clone()));
            }
            _ => {}
        }
    }
    out
}

fn result(project: &Project, name: &str) -> Value {
    results(project, "h1").into_iter().rfind(|(n, _)| n == name).map(|(_, r)| r).expect(name)
}

fn play(tasks: &str) -> Project {
    project(&format!("- hosts: h1\n  gather_facts: false\n  tasks:\n{tasks}"))
}

#[test]
fn a_job_that_nobody_waits_for_is_asked_for_later() {
    let project = play(
        "    - {name: Start, shell: cat gate; echo done; exit 0, args: {chdir: \"{{ playbook_dir }}\"}, async: 60, poll: 0, register: job}
    - {name: Runs, async_status: {jid: \"{{ job.ansible_job_id }}\"}}
    - {name: Open, shell: echo x > gate, args: {chdir: \"{{ playbook_dir }}\"}}
    - {name: Ended, async_status: {jid: \"{{ job.ansible_job_id }}\"}, register: ended, until: ended is finished, retries: 200, delay: 0.05}
    - {name: Forget, async_status: {jid: \"{{ job.ansible_job_id }}\", mode: cleanup}}
    - {name: Gone, async_status: {jid: \"{{ job.ansible_job_id }}\"}, ignore_errors: true}
",
    );
    nix::unistd::mkfifo(&project.path("gate"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let started = result(&project, "Start");
    let keys: std::collections::BTreeSet<&str> =
        started.as_object().expect("a result").keys().map(String::as_str).collect();
    let wanted = ["ansible_job_id", "changed", "failed", "finished", "results_file", "started"];
    assert_eq!(keys, wanted.into());
    assert_eq!(
        (&started["started"], &started["finished"], &started["changed"]),
        (&json!(true), &json!(false), &json!(true))
    );
    assert_eq!(result(&project, "Runs")["finished"], false);
    let ended = result(&project, "Ended");
    assert_eq!(
        (&ended["finished"], &ended["stdout"], &ended["changed"]),
        (&json!(true), &json!("x\ndone"), &json!(true))
    );
    assert_eq!(result(&project, "Forget")["erased"], started["results_file"]);
    assert_eq!(result(&project, "Gone")["msg"], "could not find job");
}

#[test]
fn a_polled_job_ends_with_the_modules_own_result() {
    let project = play(
        "    - {name: Fine, command: echo hi, async: 60, poll: 5}
    - {name: Fails, command: sh -c 'exit 3', async: 60, poll: 5, ignore_errors: true}
    - {name: Late, command: sleep 20, async: 1, poll: 1, ignore_errors: true}
    - {name: Each, command: \"echo {{ item }}\", loop: [a, b], async: 60, poll: 5}
    - {name: Cannot, copy: {content: x, dest: /nowhere/x}, async: 60, ignore_errors: true}
",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let fine = result(&project, "Fine");
    assert_eq!((&fine["stdout"], &fine["finished"], &fine["rc"]), (&json!("hi"), &json!(true), &json!(0)));
    let file = fine["results_file"].as_str().expect("a path");
    assert!(!std::path::Path::new(file).exists(), "it was cleaned up");
    assert_eq!(result(&project, "Fails")["rc"], 3);
    let late = result(&project, "Late");
    assert_eq!(late["msg"], "async task did not complete within the requested time - 1s");
    assert_eq!(late["async_result"]["finished"], false);
    let each = result(&project, "Each");
    assert_eq!((&each["results"][0]["stdout"], &each["results"][1]["stdout"]), (&json!("a"), &json!("b")));
    assert_eq!(result(&project, "Cannot")["msg"], "This action (copy) does not support async.");
}

#[test]
fn a_resumed_run_goes_on_with_the_job_of_the_killed_one() {
    let project = play(
        "    - {name: Long, shell: echo began >> trace; cat gate, args: {chdir: \"{{ playbook_dir }}\"}, async: 60, poll: 5}
    - {name: After, shell: echo after >> trace, args: {chdir: \"{{ playbook_dir }}\"}}
",
    );
    nix::unistd::mkfifo(&project.path("gate"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let run = project.start(&["run", "play.yml", "-i", "hosts"]);
    let began = || fs_err::read_to_string(project.path("trace")).is_ok_and(|t| t.contains("began"));
    project.until("the job to begin", LIMIT, began);
    run.signal(Signal::SIGKILL);
    run.wait();
    let resumed = project.start(&["run", "play.yml", "-i", "hosts", "--resume"]);
    project.until("the resumed run to get there", LIMIT, || {
        project.journal().iter().any(|e| e["event"] == "step_started" && e["name"] == "Long")
    });
    project.file("gate", "go\n");
    let (status, out, err) = resumed.wait();
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(project.read("trace"), "began\nafter\n");
    assert_eq!(result(&project, "Long")["stdout"], "go");
}

#[test]
fn the_second_interrupt_ends_the_job_on_its_host() {
    let project = play(
        "    - {name: Long, shell: echo $$ > pid; exec sleep 60, args: {chdir: \"{{ playbook_dir }}\"}, async: 100, poll: 50}
",
    );
    let run = project.start(&["run", "play.yml", "-i", "hosts"]);
    let pid = || fs_err::read_to_string(project.path("pid")).unwrap_or_default().trim().to_owned();
    project.until("the job to begin", LIMIT, || !pid().is_empty());
    run.signal(Signal::SIGINT);
    project.until("the cancel", LIMIT, || project.journal().iter().any(|e| e["event"] == "cancel_began"));
    run.signal(Signal::SIGINT);
    assert_eq!(run.wait().0, 130);
    let lives = || std::path::Path::new(&format!("/proc/{}", pid())).exists();
    project.until("the job to end", LIMIT, || !lives());
}

/// Fails when two hosts are in it at once.
const ALONE: &str =
    "shell: mkdir taken && sleep 0.1 && rmdir taken\n      args: {chdir: \"{{ playbook_dir }}\"}\n";

fn four_hosts(project: &Project) {
    project.file("hosts", "[web]\nh1\nh2\nh3\nh4\nh5\n[all:vars]\nansible_connection=local\n");
}

#[test]
fn a_lock_has_one_holder_across_hosts_and_plays() {
    let task = |name: &str| {
        format!("    - {name}: {ALONE}      locks: [\"{{{{ 'ta' ~ 'ken' }}}}\", other]\n")
            .replace(&format!("{name}: "), "")
    };
    let project = project(&format!(
        "- name: A\n  hosts: web\n  gather_facts: false\n  tasks:\n{}- name: B\n  hosts: web\n  needs: []\n  gather_facts: false\n  tasks:\n{}",
        task("x"),
        task("x")
    ));
    four_hosts(&project);
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let waited = project.journal().iter().any(|e| {
        e["event"] == "host_waiting"
            && e["reason"].as_str().is_some_and(|r| r.starts_with("another host has the lock `"))
    });
    assert!(waited, "somebody had to wait");
}

#[test]
fn a_play_with_a_lock_is_alone_and_its_tasks_may_want_no_other() {
    let play = |name: &str| {
        format!(
            "- name: {name}\n  hosts: h1\n  needs: []\n  locks: taken\n  gather_facts: false\n  tasks:\n    - {ALONE}      locks: taken\n"
        )
    };
    let project = project(&[play("A"), play("B")].concat());
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    project.file("play.yml", &play("A").replace("      locks: taken", "      locks: more"));
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert!(said.out.contains("add `more` to the play's `locks`"), "{}", said.out);
    assert_eq!(said.status, 2);
}

#[test]
fn throttle_lets_so_many_hosts_in_at_once() {
    let project =
        project(&format!("- hosts: web\n  gather_facts: false\n  tasks:\n    - {ALONE}      throttle: 1\n"));
    four_hosts(&project);
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
}

fn batches(project: &Project) -> Vec<usize> {
    let events = project.journal();
    let started = events.iter().filter(|e| e["event"] == "batch_started");
    started.map(|e| e["hosts"].as_array().map_or(0, Vec::len)).collect()
}

#[test]
fn quorum_batches_leave_the_majority_untouched() {
    let playbook = "- hosts: web\n  gather_facts: false\n  serial: quorum\n  tasks:\n    - command: test {{ inventory_hostname }} != {{ bad | default('none') }}\n";
    let project = project(playbook);
    four_hosts(&project);
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert_eq!(batches(&project), [2, 2, 1]);
    project.run(&["run", "play.yml", "-i", "hosts", "-e", "bad=h1"]);
    assert_eq!(batches(&project), [2, 1, 1, 1], "one is down, so one at a time");
    project.file(
        "play.yml",
        &format!("- hosts: web\n  gather_facts: false\n  tasks:\n    - command: test {{{{ inventory_hostname }}}} == h5\n      when: inventory_hostname in ['h1', 'h3', 'h5']\n{playbook}"),
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(batches(&project), [0; 0], "nobody more may go down");
    assert!(
        said.err
            .contains("`serial: quorum`: 2 of 5 hosts are down (h1, h3), one more would lose the majority"),
        "{}{}",
        said.out,
        said.err
    );
    assert!(outcomes(&project, "h5").len() == 1);
    project.file("play.yml", playbook);
    let said = project.run(&["run", "play.yml", "-i", "hosts", "-l", "h1,h2,h3"]);
    assert_eq!((said.status, batches(&project)), (0, vec![2, 1]), "the majority is one of all hosts");
}

#[test]
fn quorum_needs_three_hosts() {
    let project = project("- hosts: web\n  gather_facts: false\n  serial: quorum\n  tasks: [{ping: }]\n");
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert!(said.err.contains("which 2 hosts cannot have while one is worked on"), "{}", said.err);
    assert_eq!(said.status, 5);
}
