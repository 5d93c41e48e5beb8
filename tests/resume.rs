//! Resume, proven by cutting: a real run on this machine, its journal cut after every single record, the world put back
//! to what that moment was, and the run resumed. And the same once more with the resumed run's own journal.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use support::Project;

/// Every step leaves a line `host name` each time that it runs; the last one tells what the host knows by then.
const PLAYBOOK: &str = r#"- name: One
  hosts: web
  gather_facts: false
  tasks:
    - {name: first, shell: "echo {{ inventory_hostname }} first >> trace; echo hi", args: {chdir: "{{ playbook_dir }}"}, register: r}
    - {name: fact, set_fact: {v: "{{ r.stdout }} {{ inventory_hostname }}"}}
    - {name: file, copy: {content: "{{ v }}", dest: "{{ playbook_dir }}/out-{{ inventory_hostname }}"}, notify: handler}
    - {name: secret, shell: "echo {{ inventory_hostname }} secret >> trace", args: {chdir: "{{ playbook_dir }}"}, no_log: true}
    - {name: each, shell: "echo {{ inventory_hostname }} each{{ item }} >> trace", args: {chdir: "{{ playbook_dir }}"}, loop: [1, 2], register: l}
    - block:
        - {name: bad, shell: "echo {{ inventory_hostname }} bad >> trace; false", args: {chdir: "{{ playbook_dir }}"}}
      rescue:
        - {name: mend, shell: "echo {{ inventory_hostname }} mend {{ ansible_failed_task.name }} >> trace", args: {chdir: "{{ playbook_dir }}"}}
    - include_tasks: more.yml
    - {name: once, shell: "echo {{ inventory_hostname }} once {{ hostvars['h2'].v }} >> trace", args: {chdir: "{{ playbook_dir }}"}, run_once: true, register: o}
  handlers:
    - {name: handler, shell: "echo {{ inventory_hostname }} handler >> trace", args: {chdir: "{{ playbook_dir }}"}}
- name: Two
  hosts: h2
  gather_facts: false
  tasks:
    - {name: last, shell: "echo {{ inventory_hostname }} last {{ v }}/{{ r.stdout }}/{{ l.results | length }}/{{ o.rc }} >> trace", args: {chdir: "{{ playbook_dir }}"}}
"#;

const MORE: &str = "- {name: more, shell: \"echo {{ inventory_hostname }} more >> trace\", args: {chdir: \"{{ playbook_dir }}\"}}\n";

/// The lines that a step writes when it runs.
fn lines(host: &str, name: &str) -> Vec<String> {
    let line = |text: &str| format!("{host} {text}");
    match name {
        "first" | "secret" | "bad" | "handler" | "more" => vec![line(name)],
        "each" => vec![line("each1"), line("each2")],
        "mend" => vec![line("mend bad")],
        "once" => vec![line("once hi h2")],
        "last" => vec![line("last hi h2/hi/2/0")],
        _ => Vec::new(),
    }
}

/// Every line of a run that nothing disturbs.
fn whole() -> Vec<String> {
    let mut all = Vec::new();
    for host in ["h1", "h2"] {
        for name in ["first", "secret", "each", "bad", "mend", "handler", "more"] {
            all.extend(lines(host, name));
        }
    }
    all.extend(lines("h1", "once"));
    all.extend(lines("h2", "last"));
    all
}

fn counted(lines: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_insert(0) += 1;
    }
    counts
}

/// What the records of several runs, one after the other, say was done.
#[derive(Default)]
struct Done {
    /// Steps that ran to their end, by host and name, each as often as that.
    ran: Vec<(String, String)>,
    /// Steps whose end a resumed run may build on.
    known: Vec<(String, String)>,
}

impl Done {
    fn add(&mut self, journal: &[Value]) {
        let mut names = BTreeMap::new();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let mut failed = BTreeMap::new();
        for event in journal {
            match event["event"].as_str() {
                Some("step_started") => {
                    names.insert(event["step"].as_u64(), text(&event["name"]));
                }
                Some("step_finished") if event["adopted"] != true => {
                    let step = (text(&event["host"]), names[&event["step"].as_u64()].clone());
                    self.ran.push(step.clone());
                    if event["outcome"] == "failed" {
                        failed.insert(step.0.clone(), step);
                    } else if event["kept"] == true {
                        self.known.push(step);
                    }
                }
                Some("host_rescued") => {
                    self.known.extend(failed.remove(event["host"].as_str().unwrap_or_default()));
                }
                _ => {}
            }
        }
    }

    fn trace(&self) -> Vec<String> {
        self.ran.iter().flat_map(|(host, name)| lines(host, name)).collect()
    }

    /// The trace when all is over: what was known is not done again, all else once more.
    fn expected(&self) -> BTreeMap<String, usize> {
        let known: Vec<String> = self.known.iter().flat_map(|(host, name)| lines(host, name)).collect();
        counted(self.trace().into_iter().chain(whole().into_iter().filter(|line| !known.contains(line))))
    }
}

/// A project whose runs are these, given by their journals' lines, the last one cut; with the world as it was then.
fn world(runs: &[(String, Vec<String>)]) -> (Project, Done) {
    let project = Project::new();
    // The fingerprints of the first run hold its folder.
    project.file("more.yml", MORE);
    project.file("hosts", "[web]\nh1\nh2\n[all:vars]\nansible_connection=local\n");
    let mut done = Done::default();
    for (id, journal) in runs {
        project.file(&format!(".dcos-play/runs/{id}/journal.jsonl"), &(journal.join("\n") + "\n"));
        fs_err::create_dir(project.path(&format!(".dcos-play/runs/{id}/hosts"))).expect("a folder");
        let events: Vec<Value> =
            journal.iter().skip(1).map(|l| serde_json::from_str(l).expect("a record")).collect();
        done.add(&events);
    }
    (project, done)
}

/// Puts a project back to what it was when these runs had come so far.
fn put_back(project: &Project, runs: &[(String, Vec<String>)]) -> Done {
    drop(fs_err::remove_dir_all(project.path(".dcos-play")));
    let (other, done) = world(runs);
    drop(fs_err::rename(other.path(".dcos-play"), project.path(".dcos-play")));
    let newest = &runs.last().expect("a run").0;
    fs_err::os::unix::fs::symlink(newest, project.path(".dcos-play/runs/latest")).expect("a link");
    let trace = done.trace().join("\n");
    project.file("trace", &if trace.is_empty() { trace } else { trace + "\n" });
    for host in ["h1", "h2"] {
        let out = project.path(&format!("out-{host}"));
        drop(fs_err::remove_file(&out));
        if done.ran.contains(&(host.to_owned(), "file".to_owned())) {
            fs_err::write(out, format!("hi {host}")).expect("a file");
        }
    }
    done
}

fn journal_lines(project: &Project) -> (String, Vec<String>) {
    let text = project.read(".dcos-play/runs/latest/journal.jsonl");
    let id = fs_err::read_link(project.path(".dcos-play/runs/latest")).expect("a link").display().to_string();
    (id, text.lines().map(str::to_owned).collect())
}

/// Resumes, and compares the world with the one of a run that nothing disturbed.
fn check(project: &Project, done: &Done, what: &str) {
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume", "--interrupted", "repeat"]);
    assert_eq!(said.status, 0, "{what}\n{}{}", said.out, said.err);
    let trace = counted(project.read("trace").lines().map(str::to_owned));
    assert_eq!(trace, done.expected(), "{what}\n{}", said.out);
    for host in ["h1", "h2"] {
        assert_eq!(project.read(&format!("out-{host}")), format!("hi {host}"), "{what}");
    }
}

#[test]
fn a_run_cut_after_any_record_is_resumed_to_the_same_end() {
    let threads = 4;
    let next = AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let project = Project::new();
                project.file("play.yml", PLAYBOOK);
                project.file("more.yml", MORE);
                project.file("hosts", "[web]\nh1\nh2\n[all:vars]\nansible_connection=local\n");
                let said = project.run(&["run", "play.yml", "-i", "hosts"]);
                assert_eq!(said.status, 0, "{}{}", said.out, said.err);
                let trace = counted(project.read("trace").lines().map(str::to_owned));
                assert_eq!(trace, counted(whole()));
                let (id, journal) = journal_lines(&project);
                loop {
                    let cut = next.fetch_add(1, Ordering::Relaxed);
                    if cut > journal.len() {
                        return;
                    }
                    let first = (id.clone(), journal[..cut].to_vec());
                    let done = put_back(&project, std::slice::from_ref(&first));
                    check(&project, &done, &format!("cut after {}", journal[cut - 1]));
                    // The resumed run dies as well, somewhere.
                    let (again, resumed) = journal_lines(&project);
                    let second = 2 + (cut * 7) % (resumed.len() - 2);
                    let runs = [first, (again, resumed[..second].to_vec())];
                    let done = put_back(&project, &runs);
                    let what = format!("cut after {}\nthen after {}", journal[cut - 1], resumed[second - 1]);
                    check(&project, &done, &what);
                }
            });
        }
    });
}
