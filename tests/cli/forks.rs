//! How many hosts work at once, with real agents.

use std::fmt::Write as _;

use crate::project;

/// Each step waits until `forks` hosts are in it, so that the first ones prove how many may be; then it says how many are.
fn most_at_once(hosts: usize, forks: usize) -> (usize, usize) {
    let project = project(&format!(
        "- hosts: all
  gather_facts: false
  tasks:
    - name: Count
      shell: |
        mkdir -p in && : > in/{{{{ inventory_hostname }}}}
        end=$(( $(date +%s) + 60 ))
        until [ -e full ] || [ \"$(ls in | wc -l)\" -ge {forks} ] || [ \"$(date +%s)\" -ge \"$end\" ]; do sleep 0.05; done
        ls in | wc -l > seen.{{{{ inventory_hostname }}}}
        : > full
        rm in/{{{{ inventory_hostname }}}}
      args: {{chdir: \"{{{{ playbook_dir }}}}\"}}
"
    ));
    let mut inventory = String::new();
    for host in 1..=hosts {
        let _ = writeln!(inventory, "h{host:03} ansible_connection=local");
    }
    project.file("hosts", &inventory);
    let forks = forks.to_string();
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--forks", &forks]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let seen: Vec<usize> = (1..=hosts)
        .map(|host| project.read(&format!("seen.h{host:03}")).trim().parse().expect("a number"))
        .collect();
    (seen.iter().copied().max().unwrap_or_default(), seen.len())
}

#[test]
fn sixty_agents_work_at_once_and_never_more_than_the_forks() {
    assert_eq!(most_at_once(75, 60), (60, 75));
}
