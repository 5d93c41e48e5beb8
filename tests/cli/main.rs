//! The command line as people meet it: what is said, word for word, and the exit status. Hosts are this machine, several
//! times over; nothing needs root or a network.

mod ansible;
mod background;
mod cases;
#[cfg(not(feature = "aws"))]
mod clouds;
mod disk;
mod drawing;
mod facts;
mod failures;
mod forks;
mod help;
mod masters;
mod pace;
mod running;
mod secrets;
mod ssh;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use support::Project;

const LIMIT: Duration = Duration::from_secs(30);

fn project(playbook: &str) -> Project {
    let project = Project::new();
    project.file("play.yml", playbook);
    project.file("hosts", "[web]\nh1\nh2\n[all:vars]\nansible_connection=local\n");
    project
}

fn outcomes(project: &Project, host: &str) -> Vec<(String, String)> {
    let events = project.journal();
    let mut names = std::collections::HashMap::new();
    let mut out = Vec::new();
    for event in events {
        match event["event"].as_str() {
            Some("step_started") => {
                names.insert(event["step"].as_u64(), event["name"].as_str().unwrap_or_default().to_owned());
            }
            Some("step_finished") if event["host"] == host => {
                let name = names.get(&event["step"].as_u64()).cloned().unwrap_or_default();
                out.push((name, event["outcome"].as_str().unwrap_or_default().to_owned()));
            }
            _ => {}
        }
    }
    out
}

#[test]
fn static_errors_come_all_at_once_and_no_host_is_contacted() {
    let project = project(
        "- hosts: all\n  tasks:\n    - name: Put it\n      templte: {src: a, dest: b}\n    - copy: {dest: /tmp/x, contents: hi}\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(
        said.err,
        "error: no module named `templte`\n   ╭─[play.yml:4:7]\n 3 │     - name: Put it\n 4 │       templte: {src: a, dest: b}\n   ·       ───┬───\n   ·          ╰── did you mean `template`?\n 5 │     - copy: {dest: /tmp/x, contents: hi}\n   ╰────\n\nerror: `copy` has no option `contents`\n   ╭─[play.yml:5:28]\n 4 │       templte: {src: a, dest: b}\n 5 │     - copy: {dest: /tmp/x, contents: hi}\n   ·                            ────┬───\n   ·                                ╰── did you mean `content`?\n   ╰────\n\n2 errors. No host was contacted.\n"
    );
    assert_eq!((said.status, said.out.as_str()), (5, ""));
    assert!(!project.path(".dcos-play").exists(), "no run was begun");
}

#[test]
fn a_missing_playbook_is_told_with_the_nearest_name() {
    let project = project("- hosts: all\n");
    let said = project.run(&["run", "pley.yml", "-i", "hosts"]);
    assert_eq!(said.err, "error: no playbook `pley.yml`\n  did you mean ./play.yml?\n");
    assert_eq!(said.status, 5);
}

#[test]
fn an_unknown_host_in_the_limit_is_refused() {
    let project = project("- hosts: all\n");
    let said = project.run(&["run", "play.yml", "-i", "hosts", "-l", "h9"]);
    assert!(said.err.contains("`h9`"), "{}", said.err);
    assert!(said.err.ends_with("1 error. No host was contacted.\n"), "{}", said.err);
    assert_eq!(said.status, 5);
}

#[test]
fn a_pattern_without_hosts_says_so_and_the_rest_runs() {
    let project = project(
        "- name: Nobody\n  hosts: database\n- hosts: h1\n  gather_facts: false\n  tasks: [{ping: }]\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert!(said.out.contains("not run     Nobody: no hosts matched `database`"), "{}", said.out);
    assert!(said.out.contains("h1    : ok=1 "), "{}", said.out);
    assert_eq!(said.status, 0, "{}", said.err);
}

#[test]
fn a_failed_task_shows_its_lines_its_way_and_what_next() {
    let project = project("- name: Site\n  hosts: h1\n  gather_facts: false\n  roles: [web]\n");
    project.file(
        "roles/web/tasks/main.yml",
        "- name: Look\n  command:\n    cmd: sh -c \"echo out; echo oops >&2; exit 3\"\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(
        said.out,
        "TIME PLAY Site (1 host)\nTIME FAILED      h1           web : Look\n\n✗ h1 · roles/web/tasks/main.yml:1  \"web : Look\"\n\n    1 │ - name: Look\n    2 │   command:\n      │   ───────\n    3 │     cmd: sh -c \"echo out; echo oops >&2; exit 3\"\n\n  included from play.yml:4 (role web)\n  ran on      this machine, TOOK\n  msg         non-zero return code\n  exit status 3\n  stdout      out\n  stderr      oops\n  full log    .dcos-play/runs/RUN/hosts/h1.log:2\n\n\nPLAY RECAP *********************************************************************\nh1    : ok=0    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   \n\nfailed after TOOK: 1 host failed, 0 fine\nrun folder  .dcos-play/runs/RUN\nreport      .dcos-play/runs/RUN/report.html\nnext        fix it, then: dcos-play run play.yml -i hosts --resume\n"
    );
    assert_eq!((said.status, said.err.as_str()), (2, ""));
    let page = project.read(".dcos-play/runs/latest/report.html");
    assert!(page.contains("\"stderr\",\"oops\""), "the page says what the host said");
    assert!(page.contains("roles/web/tasks/main.yml"), "and where it was told to");
}

#[test]
fn the_page_of_a_killed_run_is_made_on_request() {
    let project = waiting();
    let run = project.start(&["run", "play.yml", "-i", "hosts"]);
    project.until("the step to begin", LIMIT, || began(&project));
    run.signal(Signal::SIGKILL);
    assert_eq!(run.wait().0, -9);
    project.file("gate", "go\n");
    let said = project.run(&["report", "--output", "page.html"]);
    assert_eq!((said.out.as_str(), said.status), ("page.html\n", 0), "{}", said.err);
    assert!(project.read("page.html").contains("\"exit\":null"), "the run has no end");
    let said = project.run(&["report", "20200101-0000-xyz"]);
    assert!(said.err.contains("error: no run `"), "{}", said.err);
    assert_eq!(said.status, 1);
}

#[test]
fn an_undefined_variable_fails_with_its_name_and_place() {
    let project = project(
        "- hosts: h1\n  gather_facts: false\n  vars: {dcos_version: 2}\n  tasks:\n    - debug:\n        msg: \"{{ lookup('vars', 'dcos_' ~ 'verison') }}\"\n    - debug: {msg: \"{{ hostvars['h1'].colour }}\"}\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert!(said.out.contains("dcos_verison"), "{}", said.out);
    assert!(said.out.contains("play.yml:6"), "{}", said.out);
    assert_eq!(said.status, 2);
}

#[test]
fn a_near_miss_of_a_variable_is_warned_about_before_the_run() {
    let project = project(
        "- hosts: h1\n  gather_facts: false\n  vars: {dcos_version: 2}\n  tasks:\n    - debug: {msg: \"{{ dcos_verison }}\"}\n",
    );
    let said = project.run(&["lint", "play.yml", "-i", "hosts"]);
    assert!(said.out.contains("`dcos_verison` is not defined anywhere"), "{}", said.out);
    assert!(said.out.contains("dcos_version"), "{}", said.out);
}

#[test]
fn findings_of_several_playbooks_come_once_and_by_file() {
    let project = project("- hosts: h1\n  roles: [shared]\n  tasks: [{nothing: 1}]\n");
    project.file("roles/shared/tasks/main.yml", "- sheel: a\n- copyy: {}\n");
    for name in ["a", "b", "c", "d", "e"] {
        project.file(&format!("{name}.yml"), "- hosts: h1\n  roles: [shared]\n  tasks: [{nowhere: 1}]\n");
    }
    // Threads take them as they come, and what is said must not show it.
    for _ in 0..5 {
        let said =
            project.run(&["lint", "e.yml", "a.yml", "c.yml", "b.yml", "d.yml", "play.yml", "-i", "hosts"]);
        assert_eq!(said.status, 5, "{}", said.err);
        let places: Vec<&str> =
            said.err.lines().filter_map(|line| line.split_once("╭─[")?.1.strip_suffix(']')).collect();
        assert_eq!(
            places,
            [
                "a.yml:3:12",
                "b.yml:3:12",
                "c.yml:3:12",
                "d.yml:3:12",
                "e.yml:3:12",
                "play.yml:3:12",
                "roles/shared/tasks/main.yml:1:3",
                "roles/shared/tasks/main.yml:2:3"
            ],
            "{}",
            said.err
        );
    }
}

#[test]
fn secrets_of_no_log_tasks_are_nowhere() {
    let project = project(
        "- hosts: h1\n  gather_facts: false\n  tasks:\n    - command: echo hunter2-secret\n      no_log: true\n      register: r\n    - assert: {that: \"'hunter2' in r.stdout\"}\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts", "-vv"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let run = ".dcos-play/runs/latest";
    let all = [
        said.out,
        project.read(&format!("{run}/journal.jsonl")),
        project.read(&format!("{run}/hosts/h1.log")),
    ];
    for text in &all {
        assert!(!text.contains("hunter2-secret"), "{text}");
    }
}

#[test]
fn check_mode_predicts_and_changes_nothing() {
    let project = project(
        "- hosts: h1\n  gather_facts: false\n  tasks:\n    - copy: {content: \"hi\\n\", dest: \"{{ playbook_dir }}/made\"}\n    - command: touch made2\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--check", "--diff"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("+hi"), "{}", said.out);
    assert!(!project.path("made").exists() && !project.path("made2").exists());
    let changed = |outcome: &str| outcomes(&project, "h1").iter().filter(|(_, o)| o == outcome).count();
    assert_eq!((changed("changed"), changed("skipped")), (1, 1));
}

#[test]
fn handlers_run_once_in_the_order_they_are_defined() {
    let project = project(
        "- hosts: h1\n  gather_facts: false\n  tasks:\n    - command: echo 1\n      notify: [second, group]\n    - command: echo 2\n      notify: first\n  handlers:\n    - {name: first, command: echo first}\n    - {name: second, command: echo second}\n    - {name: third, command: echo third, listen: group}\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let names: Vec<String> = outcomes(&project, "h1").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["command", "command", "first", "second", "third"]);
}

#[test]
fn json_output_is_one_event_a_line() {
    let project = project("- hosts: web\n  gather_facts: false\n  tasks: [{ping: }]\n");
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--output", "json"]);
    assert_eq!(said.status, 0, "{}", said.err);
    let kinds: Vec<String> = said
        .out
        .lines()
        .map(|l| {
            serde_json::from_str::<serde_json::Value>(l).expect("JSON")["event"]
                .as_str()
                .expect("a kind")
                .to_owned()
        })
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("run_started"));
    assert_eq!(kinds.last().map(String::as_str), Some("run_finished"));
}

#[test]
fn an_unreachable_host_leaves_and_the_others_finish() {
    let project = project("- hosts: all\n  gather_facts: false\n  tasks: [{ping: }]\n");
    // Nothing listens on port 1 of this machine.
    project.file(
        "hosts",
        "h1 ansible_connection=local\nh2 ansible_host=127.0.0.1 ansible_port=1 ansible_user=nobody\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert!(
        said.out.contains(
            "  unreachable (refused) ssh: connect to host 127.0.0.1 port 1: Connection refused\n  next        check that the host runs and that sshd listens there\n"
        ),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("h1    : ok=1 ") && said.out.contains("h2    : ok=0    changed=0    unreachable=1"),
        "{}",
        said.out
    );
    assert_eq!(said.status, 4);
}

/// A playbook whose first task waits until somebody opens the other end of a pipe.
fn waiting() -> Project {
    let project = project(
        "- hosts: h1\n  gather_facts: false\n  tasks:\n    - name: Wait\n      shell: echo began >> \"{{ playbook_dir }}/trace\"; cat \"{{ playbook_dir }}/gate\"\n    - name: After\n      shell: echo after >> \"{{ playbook_dir }}/trace\"\n",
    );
    nix::unistd::mkfifo(&project.path("gate"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    project
}

fn began(project: &Project) -> bool {
    fs_err::read_to_string(project.path("trace")).is_ok_and(|t| t.contains("began"))
}

#[test]
fn a_second_run_on_the_same_hosts_is_refused() {
    let project = waiting();
    project.file("hosts", "h1 ansible_host=127.0.0.1 ansible_connection=ssh ansible_ssh_executable=./ssh\n");
    // Stands in for ssh and never answers, so that the first run holds its hosts.
    project.file("ssh", "#!/bin/sh\necho began >> trace\nexec sleep 60\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(project.path("ssh"), mode).expect("a mode");
    let first = project.start(&["run", "play.yml", "-i", "hosts"]);
    project.until("the first run to connect", LIMIT, || began(&project));
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(
        said.err,
        "error: another run is working on host 127.0.0.1: run RUN, process PID\n  wait for it to end, or stop it: kill -INT PID\n"
    );
    assert_eq!((said.status, said.out.as_str()), (6, ""));
    drop(first);
}

#[test]
fn the_first_interrupt_lets_the_running_step_end_and_resume_goes_on() {
    let project = waiting();
    let run = project.start(&["run", "play.yml", "-i", "hosts"]);
    project.until("the step to begin", LIMIT, || began(&project));
    run.signal(Signal::SIGINT);
    project.until("the cancel", LIMIT, || project.journal().iter().any(|e| e["event"] == "cancel_began"));
    project.file("gate", "go\n");
    let (status, out, _) = run.wait();
    assert_eq!(status, 130, "{out}");
    assert!(out.contains("no new steps; 1 running step ending"), "{out}");
    assert!(out.contains("changed     h1           Wait"), "{out}");
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert_eq!(project.read("trace"), "began\nafter\n", "the finished step was not repeated");
}

#[test]
fn the_third_interrupt_leaves_a_step_that_will_not_end_and_resume_collects_it() {
    let project = waiting();
    // It takes no notice of SIGTERM, so that the second interrupt has to wait for it.
    project.file("play.yml", &project.read("play.yml").replace("shell: ", "shell: trap '' TERM; "));
    let run = project.start(&["run", "play.yml", "-i", "hosts"]);
    project.until("the step to begin", LIMIT, || began(&project));
    let cancels = || project.journal().iter().filter(|e| e["event"] == "cancel_began").count();
    for sent in 1..=3 {
        run.signal(Signal::SIGINT);
        project.until("the cancel", LIMIT, || cancels() == sent);
    }
    let (status, out, err) = run.wait();
    assert_eq!(status, 130, "{out}{err}");
    assert!(
        out.contains("cancel      leaving; 1 running step may go on. --resume collects what comes of it"),
        "{out}"
    );
    assert!(out.contains("PLAY RECAP"), "{out}");
    // Its pipe would have no reader once the agent has ended it.
    fs_err::remove_file(project.path("gate")).expect("there");
    project.file("gate", "go\n");
    // A shell command may not be repeated without asking, however often one resumes.
    for _ in 0..2 {
        let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume"]);
        assert_eq!(
            (said.status, said.out.contains("the host ended it before it was done")),
            (4, true),
            "{}{}",
            said.out,
            said.err
        );
    }
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume", "--interrupted", "repeat"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert!(project.read("trace").ends_with("after\n"), "{}", project.read("trace"));
}

#[test]
fn after_kill_9_the_agent_keeps_the_result_and_resume_collects_it() {
    let project = waiting();
    let run = project.start(&["run", "play.yml", "-i", "hosts"]);
    project.until("the step to begin", LIMIT, || began(&project));
    run.signal(Signal::SIGKILL);
    assert_eq!(run.wait().0, -9);
    project.file("gate", "go\n");
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert_eq!(project.read("trace"), "began\nafter\n", "the step ran once, though its controller died");
}

/// The machine of the controller goes down: the disk has the journal's beginning, a torn record, and nothing where the file
/// had grown; another process has the number of the one that wrote it.
#[test]
fn a_journal_whose_end_a_crash_of_the_machine_lost_is_resumed() {
    let project = project(
        "- hosts: h1\n  gather_facts: false\n  tasks:\n    - shell: echo 1 >> \"{{ playbook_dir }}/trace\"\n    - shell: echo 2 >> \"{{ playbook_dir }}/trace\"\n    - shell: echo 3 >> \"{{ playbook_dir }}/trace\"\n",
    );
    assert_eq!(project.run(&["run", "play.yml", "-i", "hosts"]).status, 0);
    let journal = ".dcos-play/runs/latest/journal.jsonl";
    let mut header: serde_json::Value =
        serde_json::from_str(project.read(journal).lines().nth(1).expect("a record")).expect("JSON");
    assert_eq!(header["event"], "run_started");
    header["pid"] = std::process::id().into();
    let mut lines: Vec<String> = project.read(journal).lines().map(str::to_owned).collect();
    lines[1] = header.to_string();
    let first = lines.iter().position(|l| l.contains("\"step_finished\"")).expect("an end");
    let (kept, lost) = lines.split_at(first + 1);
    let text = format!("{}\n{}{}", kept.join("\n"), &lost[0][..lost[0].len() / 2], "\0".repeat(5000));
    project.file(journal, &text);
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert_eq!(project.read("trace"), "1\n2\n3\n2\n3\n", "what the disk knows of is not repeated");
}

#[test]
fn resume_says_where_each_host_goes_on_without_running() {
    let project = project(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - command: echo {{ word | default('one') }}\n    - command: test -e ok\n      args: {chdir: \"{{ playbook_dir }}\"}\n      when: inventory_hostname == 'h2'\n",
    );
    assert_eq!(project.run(&["run", "play.yml", "-i", "hosts"]).status, 2);
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume", "--explain"]);
    assert_eq!(
        said.out,
        "h2             goes on at \"command\" (play.yml:5): it failed here, could not be reached or was stopped\nh1             has nothing left to do\n"
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume", "--explain", "-e", "word=two"]);
    assert_eq!(
        said.out,
        "h1             goes on at \"command\" (play.yml:4): what it does has changed: arguments, a file or a template\nh2             goes on at \"command\" (play.yml:4): what it does has changed: arguments, a file or a template\n"
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume", "nope"]);
    assert_eq!(said.status, 5);
    assert!(said.err.starts_with("error: no run `nope` in "), "{}", said.err);
}
