//! Facts from run to run: `fact_caching = jsonfile`, `gathering = smart`, `--flush-cache`.

use serde_json::{Value, json};

use crate::support::Project;
use crate::{outcomes, project};

const SETTINGS: &str = "[defaults]
fact_caching = jsonfile
fact_caching_connection = cache
fact_caching_prefix = of_
gathering = smart
";

const TWO_PLAYS: &str = "- name: One
  hosts: h1
  gather_subset: [min]
  tasks:
    - {name: kept, set_fact: {kept: [1, two], cacheable: true}}
    - {name: lost, set_fact: {lost: 1}}
- name: Two
  hosts: h1
  tasks:
    - {name: again, command: 'true'}
";

const ASKS: &str = "- name: Asks
  hosts: h1:h2
  gather_facts: \"{{ gather | default(false) }}\"
  tasks:
    - {name: asks, debug: {msg: \"{{ kept | default('no') }} {{ ansible_facts.kept | default('no') }} {{ hostvars.h1.ansible_system | default('no') }} {{ lost | default('no') }}\"}}
";

fn cached(project: &Project) -> Value {
    serde_json::from_str(&project.read("cache/of_h1")).expect("JSON")
}

fn names(project: &Project) -> Vec<String> {
    outcomes(project, "h1").into_iter().map(|(name, _)| name).collect()
}

/// What the task `asks` said, by host.
fn answers(project: &Project) -> Vec<(String, String)> {
    let events = project.journal();
    let asked = |e: &&Value| e["event"] == "step_finished" && e["result"]["msg"].is_string();
    let text = |e: &Value, key: &str| e[key].as_str().unwrap_or_default().to_owned();
    let mut said: Vec<_> =
        events.iter().filter(asked).map(|e| (text(e, "host"), text(&e["result"], "msg"))).collect();
    said.sort();
    said
}

#[test]
fn facts_outlive_a_run_and_smart_gathering_asks_a_host_once() {
    let project = project(TWO_PLAYS);
    project.file("ansible.cfg", SETTINGS).file("asks.yml", ASKS);

    let said = project.run(&["run", "play.yml", "-i", "hosts", "--check"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert!(!project.path("cache").exists(), "a dry run leaves nothing behind");

    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert_eq!(
        names(&project),
        ["Gathering Facts", "kept", "lost", "again"],
        "the second play knows already"
    );
    let facts = cached(&project);
    assert_eq!(facts["kept"], json!([1, "two"]));
    assert_eq!(facts["ansible_system"], "Linux");
    assert_eq!(facts["_ansible_facts_gathered"], true);
    assert_eq!(facts["lost"], Value::Null);

    let said = project.run(&["run", "asks.yml", "-i", "hosts", "-e", "gather=true", "--limit", "h1"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert_eq!(names(&project), ["asks"], "nobody gathers what is kept");
    let said = project.run(&["run", "asks.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let expected = [("h1", "[1, 'two'] [1, 'two'] Linux no"), ("h2", "no no Linux no")];
    assert_eq!(answers(&project), expected.map(|(h, t)| (h.to_owned(), t.to_owned())));

    let said = project.run(&["run", "asks.yml", "-i", "hosts", "--flush-cache"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert!(!project.path("cache/of_h1").exists(), "forgotten");
    assert_eq!(answers(&project)[0].1, "no no no no");
}

#[test]
fn a_play_may_forget_facts_for_later_runs_too() {
    let project = project(TWO_PLAYS);
    project
        .file("ansible.cfg", SETTINGS)
        .file("forget.yml", "- hosts: h1\n  gather_facts: false\n  tasks:\n    - meta: clear_facts\n");
    assert_eq!(project.run(&["run", "play.yml", "-i", "hosts"]).status, 0);
    assert!(project.path("cache/of_h1").exists());
    assert_eq!(project.run(&["run", "forget.yml", "-i", "hosts"]).status, 0);
    assert!(!project.path("cache/of_h1").exists());
}

#[test]
fn facts_that_cannot_be_kept_are_told_and_the_run_goes_on() {
    let project = project(TWO_PLAYS);
    project.file("ansible.cfg", SETTINGS).file("cache", "no folder");
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let all = format!("{}{}", said.out, said.err);
    let told = "fact cache: the facts of `h1` are not kept: ";
    assert_eq!((all.matches(told).count(), all.matches("fact cache:").count()), (1, 1), "told once: {all}");
}

#[test]
fn a_cache_without_a_folder_is_refused_before_any_host_is_touched() {
    let project = project(TWO_PLAYS);
    project.file("ansible.cfg", "[defaults]\nfact_caching = jsonfile\n");
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 5, "{}{}", said.out, said.err);
    assert_eq!(
        said.err,
        "error: `fact_caching = jsonfile` needs the folder of the files: set `fact_caching_connection`\n"
    );
    // A command that runs nothing has no use for facts.
    assert_eq!(project.run(&["lint", "play.yml", "-i", "hosts"]).status, 0);
    project.file("ansible.cfg", "[defaults]\ngathering = sometimes\n");
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(
        (said.status, said.err.as_str()),
        (5, "error: `gathering` is `implicit`, `explicit` or `smart`, not `sometimes`\n")
    );
    project.file("ansible.cfg", "[defaults]\nfact_caching = redis\n");
    let said = project.run(&["lint", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert!(
        said.err.contains("ansible.cfg:2: facts are cached by `jsonfile` or not at all, not by `redis`"),
        "{}",
        said.err
    );
}
