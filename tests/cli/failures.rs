//! What one host's failure means for the others: `any_errors_fatal`, `run_once`, `max_fail_percentage`, `end_host`, with
//! blocks around. Each case was compared with ansible-core 2.19.

use crate::{outcomes, project, support::Project};

fn three(playbook: &str) -> Project {
    let project = project(playbook);
    project.file("hosts", "[web]\nh1\nh2\nh3\n[all:vars]\nansible_connection=local\n");
    project
}

fn names(project: &Project, host: &str) -> String {
    outcomes(project, host).into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

const FIRST_FAILS: &str = "command: \"{{ (inventory_hostname == 'h1') | ternary('false', 'true') }}\"";

const NEXT: &str = "- hosts: web\n  gather_facts: false\n  tasks:\n    - {name: next, debug: {msg: x}}\n";

#[test]
fn a_fatal_error_in_a_block_is_rescued_on_every_host() {
    let project = three(&format!(
        "- hosts: web\n  gather_facts: false\n  any_errors_fatal: true\n  tasks:\n    - block:\n        - name: zero\n          debug: {{msg: x}}\n        - name: one\n          {FIRST_FAILS}\n      rescue:\n        - {{name: rescue, debug: {{msg: x}}}}\n      always:\n        - {{name: always, debug: {{msg: x}}}}\n    - {{name: after, debug: {{msg: x}}}}\n{NEXT}"
    ));
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    for host in ["h1", "h2", "h3"] {
        assert_eq!(names(&project, host), "zero one rescue always after next", "{host}\n{}", said.out);
    }
    assert!(
        said.out.contains("h1    : ok=5    changed=0    unreachable=0    failed=0    skipped=0    rescued=1"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("h2    : ok=6    changed=1    unreachable=0    failed=0    skipped=0    rescued=0"),
        "{}",
        said.out
    );
    assert_eq!(said.status, 0);
}

#[test]
fn a_fatal_error_without_rescue_runs_always_everywhere_and_ends_the_run() {
    let project = three(&format!(
        "- hosts: web\n  gather_facts: false\n  any_errors_fatal: true\n  tasks:\n    - block:\n        - name: one\n          {FIRST_FAILS}\n        - {{name: two, debug: {{msg: x}}}}\n      always:\n        - {{name: always, debug: {{msg: x}}}}\n    - {{name: after, debug: {{msg: x}}}}\n{NEXT}"
    ));
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    for host in ["h1", "h2", "h3"] {
        assert_eq!(names(&project, host), "one always", "{host}\n{}", said.out);
    }
    assert!(
        said.out.contains("failed=1")
            && said.out.contains("h2    : ok=2    changed=1    unreachable=0    failed=0"),
        "{}",
        said.out
    );
    assert_eq!(said.status, 2);
}

#[test]
fn a_failed_run_once_is_rescued_on_its_host_and_ends_the_play_for_the_others() {
    let project = three(&format!(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - block:\n        - {{name: one, command: 'false', run_once: true}}\n        - {{name: two, debug: {{msg: x}}}}\n      rescue:\n        - {{name: rescue, debug: {{msg: x}}}}\n    - {{name: after, debug: {{msg: x}}}}\n{NEXT}"
    ));
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(names(&project, "h1"), "one rescue after next");
    assert_eq!(names(&project, "h2"), "");
    assert_eq!(said.status, 2, "not all hosts did their part");
}

#[test]
fn facts_of_a_delegated_set_fact_belong_to_the_delegate() {
    let project = three(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - set_fact: {got: \"{{ inventory_hostname }}\"}\n      delegate_to: localhost\n      delegate_facts: true\n      run_once: true\n    - debug: {msg: \"{{ got | default('-') }} {{ hostvars.localhost.got }}\"}\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}", said.out);
    assert_eq!(project.journal().iter().filter(|e| e["result"]["msg"] == "- h1").count(), 3, "{}", said.out);
}

#[test]
fn a_host_that_ended_runs_no_always() {
    let project = three(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - block:\n        - meta: end_host\n          when: inventory_hostname == 'h1'\n        - {name: two, debug: {msg: x}}\n      always:\n        - {name: always, debug: {msg: x}}\n    - {name: after, debug: {msg: \"{{ ansible_play_hosts | join(',') }}\"}}\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts", "-v"]);
    assert_eq!((said.status, names(&project, "h1").as_str()), (0, ""), "{}", said.out);
    assert_eq!(names(&project, "h2"), "two always after");
    let after = project.journal().into_iter().find(|e| e["result"]["msg"] == "h2,h3");
    assert!(after.is_some(), "{}", said.out);
}

#[test]
fn too_many_failures_of_a_batch_end_the_run() {
    let project = three(&format!(
        "- hosts: web\n  gather_facts: false\n  serial: 2\n  max_fail_percentage: 49\n  tasks:\n    - name: one\n      {FIRST_FAILS}\n    - {{name: two, debug: {{msg: x}}}}\n{NEXT}"
    ));
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(names(&project, "h1"), "one", "{}", said.out);
    assert_eq!(names(&project, "h2"), "one");
    assert_eq!(names(&project, "h3"), "");
    assert_eq!(said.status, 2);
    project.file("play.yml", &project.read("play.yml").replace("49", "50"));
    project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(names(&project, "h2"), "one two next", "half is not more than half");
    assert_eq!(names(&project, "h3"), "one two next");
}

#[test]
fn a_play_that_lost_all_its_hosts_ends_the_run() {
    let project = three(
        "- hosts: h1\n  gather_facts: false\n  tasks: [{name: one, command: 'false'}]\n- hosts: h2\n  gather_facts: false\n  tasks: [{name: two, debug: {msg: x}}]\n- hosts: h3\n  needs: []\n  gather_facts: false\n  tasks: [{name: free, debug: {msg: x}}]\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(
        (names(&project, "h2").as_str(), names(&project, "h3").as_str()),
        ("", "free"),
        "{}",
        said.out
    );
    assert_eq!(said.status, 2);
}
