//! Where a run starts and whether it asks: `--start-at-task`, `--step`, `--flush-cache`.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::Project;
use crate::{outcomes, project};

const TWO_PLAYS: &str = "- name: One
  hosts: web
  gather_facts: false
  tasks:
    - {name: a, command: echo a}
- name: Two
  hosts: web
  gather_facts: false
  tasks:
    - {name: b, command: echo b}
    - block:
        - {name: c, command: echo c}
        - {name: d, command: echo d}
    - {name: e, command: echo e}
";

fn names(project: &Project, host: &str) -> Vec<String> {
    outcomes(project, host).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_run_starts_at_the_named_task_of_a_later_play() {
    let project = project(TWO_PLAYS);
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--start-at-task", "d*"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("One: it is before the task to start at"), "{}", said.out);
    assert_eq!(names(&project, "h1"), ["d", "e"]);
    assert_eq!(names(&project, "h2"), ["d", "e"]);
}

fn answered(project: &Project, answers: &str) -> (i32, String, String) {
    let mut child = project
        .command(&["run", "play.yml", "-i", "hosts", "--step"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("its input").write_all(answers.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn step_asks_once_for_all_hosts_and_goes_on_when_told() {
    let project = project(TWO_PLAYS);
    let (status, out, err) = answered(&project, "y\nn\nc\n");
    assert_eq!(status, 0, "{out}{err}");
    let question = |name: &str| format!("Perform task: TASK: {name} (N)o/(y)es/(c)ontinue: ");
    assert_eq!(err, [question("a"), question("b"), question("c")].concat());
    assert_eq!(names(&project, "h1"), ["a", "c", "d", "e"]);
    assert_eq!(names(&project, "h2"), ["a", "c", "d", "e"]);
}

#[test]
fn step_without_answers_does_nothing() {
    let project = project(TWO_PLAYS);
    let (status, out, err) = answered(&project, "");
    assert_eq!(status, 0, "{out}{err}");
    assert!(names(&project, "h1").is_empty());
}

#[test]
fn a_flushed_cache_makes_a_resumed_run_gather_facts_anew() {
    let project = project(
        "- hosts: h1\n  gather_subset: [min]\n  tasks:\n    - {name: a, command: echo a}\n    - {name: b, command: test -e ok, args: {chdir: \"{{ playbook_dir }}\"}}\n",
    );
    let gathered = |project: &Project| {
        let events = project.journal();
        let adopted = |e: &&serde_json::Value| {
            e["event"] == "step_finished"
                && e["path"].as_str().is_some_and(|p| p.ends_with("Gathering Facts"))
        };
        events.iter().find(adopted).map(|e| e["adopted"] != true).expect("facts")
    };
    assert_eq!(project.run(&["run", "play.yml", "-i", "hosts"]).status, 2);
    project.run(&["run", "play.yml", "-i", "hosts", "--resume"]);
    assert!(!gathered(&project), "taken over");
    project.file("ok", "");
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume", "--flush-cache"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert!(gathered(&project), "gathered again");
    assert_eq!(names(&project, "h1"), ["Gathering Facts", "a", "b"]);
}
