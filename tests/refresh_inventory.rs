//! `meta: refresh_inventory`: an inventory that changes while a run goes on.

#[path = "support/mod.rs"]
mod support;

use support::Project;

#[test]
fn hosts_that_appear_during_a_run_are_there_for_later_plays() {
    let project = Project::new();
    let host = "ansible_connection=local";
    project.file("inv/hosts", &format!("old {host}\n[new]\n"));
    project.file(
        "site.yml",
        r#"- hosts: old
  gather_facts: false
  tasks:
    - add_host: {name: added, groups: late, ansible_connection: local}
    - copy: {dest: '{{ playbook_dir }}/inv/hosts', content: "old ansible_connection=local\n[new]\nborn ansible_connection=local\n"}
    - assert: {that: "groups['new'] == []"}
    - meta: refresh_inventory
    - assert: {that: ["groups['new'] == ['born']", "groups['late'] == ['added']"]}
- hosts: new:late
  gather_facts: false
  tasks:
    - copy: {dest: '{{ playbook_dir }}/{{ inventory_hostname }}', content: here}
"#,
    );
    let said = project.run(&["run", "site.yml", "-i", "inv/hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert_eq!((project.read("born"), project.read("added")), ("here".into(), "here".into()));

    // One that can't be read any more fails the task.
    project.file("inv/hosts", &format!("old {host}\n"));
    project.file(
        "site.yml",
        "- hosts: old
  gather_facts: false
  tasks:
    - file: {path: '{{ playbook_dir }}/inv/hosts', state: absent}
    - meta: refresh_inventory
",
    );
    let said = project.run(&["run", "site.yml", "-i", "inv/hosts"]);
    assert_eq!(said.status, 2, "{}{}", said.out, said.err);
    let told = format!("{}{}", said.out, said.err);
    assert!(told.contains("the inventory can't be read again: "), "{told}");
}
