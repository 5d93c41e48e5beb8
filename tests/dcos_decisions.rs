//! Decisions of the reference (its section 13) that no refusal and no running cluster shows: what the shipped roles and
//! playbooks write and ask for, evaluated by the real binary on this machine.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::{Value as Json, json};
use support::Project;

const HOSTS: &str = "[bootstrap]\nb1 private_ip=192.0.2.10\n[masters]\nm1 private_ip=192.0.2.11\nm2 private_ip=192.0.2.12\n\
     m3 private_ip=192.0.2.13\n[agents]\n[dcos:children]\nbootstrap\nmasters\nagents\n[all:vars]\ncluster_name=lab\n\
     ansible_connection=local\n";

fn here(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

/// What an expression gives on the bootstrap host after these tasks; `head` is more of the play.
#[track_caller]
fn value(head: &str, expression: &str, extra: &[&str]) -> Json {
    let project = Project::new();
    std::os::unix::fs::symlink(here("roles"), project.path("roles")).expect("a link");
    project.file("hosts", HOSTS);
    project.file(
        "play.yml",
        &format!(
            "- hosts: bootstrap\n  gather_facts: false\n{head}    - copy: {{content: \"{{{{ {expression} | to_json }}}}\", dest: {}}}\n",
            project.path("value.json").display()
        ),
    );
    let mut words = vec!["run", "play.yml", "-i", "hosts"];
    words.extend(extra.iter().flat_map(|one| ["-e", *one]));
    let said = project.run(&words);
    assert_eq!(said.status, 0, "{}\n{}", said.out, said.err);
    serde_json::from_str(&project.read("value.json")).expect("JSON")
}

/// A part of a file of this project, read as the YAML it is.
#[track_caller]
fn part(file: &str, path: &str) -> Json {
    let parsed = format!("(lookup('file', '{}') | from_yaml){path}", here(file));
    value("  tasks:\n", &parsed, &[])
}

/// What genconf would read.
fn config_yaml(extra: &[&str]) -> Json {
    let head = format!(
        "  tasks:\n    - import_role: {{name: bootstrap, tasks_from: validate.yml}}\n    - set_fact: {{written: \"{{{{ lookup('template', '{}') }}}}\"}}\n",
        here("roles/bootstrap/templates/config.yaml.j2")
    );
    value(&head, "written | from_yaml", extra)
}

#[test]
fn masters_are_reached_by_the_security_groups_of_cloudformation() {
    // 12: with 443 and 12379 from the load balancers, and everything between masters, private and public agents.
    let groups = part("playbooks/infrastructure.yml", "[0].infrastructure.resources");
    let rules = |name: &str| groups[name]["ec2_security_group"]["rules"].clone();
    assert_eq!(
        rules("master_group"),
        json!([{"proto": "tcp", "ports": [80, 443, 2181, 5050, 8080, 8181, 12379], "group_id": "{{ lb_group.id }}"}])
    );
    let nodes = &groups["node_group"]["ec2_security_group"];
    assert_eq!(nodes["rules"][0], json!({"proto": "all", "group_name": nodes["name"]}));
    let machines =
        groups.as_object().expect("resources").iter().filter(|one| one.1["ec2_instance"].is_object());
    let mut inside = Vec::new();
    for (name, machine) in machines {
        if machine["ec2_instance"]["security_groups"].to_string().contains("node_group.id") {
            inside.push(name.as_str());
        }
    }
    inside.sort_unstable();
    assert_eq!(inside, ["bootstrap", "masters", "private_agents", "public_agents"]);
    assert_eq!(
        rules("admin_group")[0],
        json!({"proto": "tcp", "ports": [22, 80, 443, 12379], "cidr_ip": "{{ admin_cidr_wanted }}"})
    );
    assert_eq!(rules("public_agent_group")[0]["ports"], json!(["0-21", "23-5050", "5052-32000"]));
}

#[test]
fn a_container_has_one_mount() {
    // 12: the text of the source speaks of three and shows this one.
    let volumes = part(
        "roles/container/tasks/run.yml",
        " | selectattr('docker_container', 'defined') | map(attribute='docker_container') | map(attribute='volumes') | list",
    );
    assert_eq!(volumes, json!([["{{ container_data }}:/data"]]));
}

#[test]
fn the_web_server_leaves_the_installers_port_alone() {
    // 14: nginx on 9000 was in the installer's way, which publishes that port; a key that open DC/OS ignores is refused
    // (`dcos_refusals`).
    let url = config_yaml(&[])["bootstrap_url"].clone();
    assert_eq!(url, json!("http://192.0.2.10:8080/2.2.0/genconf/serve"));
    let unit = format!("lookup('template', '{}')", here("roles/bootstrap/templates/web.service.j2"));
    let unit =
        value("  tasks:\n    - import_role: {name: bootstrap, tasks_from: validate.yml}\n", &unit, &[]);
    let unit = unit.as_str().expect("text");
    assert!(unit.contains("8080") && !unit.contains("9000"), "{unit}");
}

#[test]
fn all_ports_of_dcos_are_looked_at_before_it_is_installed() {
    // 16: the installer's own check misses most. `lab_scenarios` has two that are taken.
    let ports = |role: &str, version: &str, variant: &str| -> Vec<u64> {
        let head = format!(
            "  vars_files: [roles/cluster/defaults/main.yml, roles/{role}/defaults/main.yml]\n  tasks:\n"
        );
        let found = value(&head, &format!("{role}_ports"), &[version, variant]);
        let found: Vec<u64> = serde_json::from_value(found).expect("numbers");
        assert!(found.iter().all(|port| *port > 0));
        found
    };
    let everywhere = [53, 61091, 61825, 62020, 62080, 62501, 64000];
    let masters = [
        80, 443, 1050, 2181, 2888, 3888, 5050, 7070, 8080, 8101, 8123, 8181, 9000, 9990, 12379, 15055, 15101,
        15201, 61053,
    ];
    let agents = [5051, 61001, 61002, 61092];
    let calico = [179, 2379, 2380, 62091];
    let enterprise = [8200, 8443, 8888, 26257];
    let all = |found: &[u64], wanted: &[u64]| wanted.iter().all(|port| found.contains(port));
    let open = ports("master", "dcos_version=2.0.6", "dcos_variant=open");
    assert!(all(&open, &everywhere) && all(&open, &masters), "{open:?}");
    assert!(!calico.iter().chain(&enterprise).any(|port| open.contains(port)), "{open:?}");
    let new = ports("master", "dcos_version=2.2.0", "dcos_variant=enterprise");
    assert!(all(&new, &open) && all(&new, &calico) && all(&new, &enterprise), "{new:?}");
    let agent = ports("agent", "dcos_version=2.0.6", "dcos_variant=open");
    assert!(all(&agent, &everywhere) && all(&agent, &agents), "{agent:?}");
    assert!(!agent.contains(&2379), "{agent:?}");
    assert!(all(&ports("agent", "dcos_version=2.1.0", "dcos_variant=open"), &calico));
}

#[test]
fn what_code_and_documentation_of_dcos_disagree_about_is_always_written() {
    // 18: the number of masters belongs to a load balancer alone, and cannot change (`dcos_refusals`).
    let fixed = config_yaml(&[]);
    assert_eq!(fixed["enable_docker_gc"], json!(true));
    assert_eq!(fixed["master_list"], json!(["192.0.2.11", "192.0.2.12", "192.0.2.13"]));
    assert_eq!(fixed.get("num_masters"), None);
    let dynamic =
        config_yaml(&["dcos_dynamic_masters=true dcos_s3_bucket=b aws_region=r dcos_exhibitor_address=lb"]);
    assert_eq!(dynamic["enable_docker_gc"], json!(true));
    assert_eq!(dynamic["num_masters"], json!(3));
    assert_eq!(dynamic.get("master_list"), None);
}
