//! A dry run that cannot lie: on generated playbooks over real modules, what check mode foresees is what the run then
//! does, unless it said that it cannot know.
//!
//! `DCOS_PLAY_SOAK=200` runs that many cases, `DCOS_PLAY_SEED=7` that one.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use support::Project;

const CASES: u64 = 6;

/// A small generator of numbers: the same for the same seed everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A playbook and the files that are there before. Names of tasks begin with `known` when check mode must foresee them
/// and with `open` when it cannot.
fn case(project: &Project, seed: u64) -> String {
    let mut dice = Dice(seed * 2 + 1);
    let mut tasks = Vec::new();
    let mut task = |text: String| tasks.push(text);
    for n in 0..10 {
        let at = format!("world/f{n}");
        let path = format!("{{{{ playbook_dir }}}}/{at}");
        let before = ["a = 1\nb\n", "c\n", ""][dice.below(3) as usize];
        let there = dice.below(2) == 0;
        let write = |text: &str| {
            project.file(&at, text);
        };
        match dice.below(14) {
            0 => {
                if there {
                    write(before);
                }
                task(format!(
                    "{{name: known copy {n}, copy: {{dest: \"{path}\", content: \"c\\n\"}}, register: c{n}}}"
                ));
                task(format!(
                    "{{name: known after {n}, file: {{path: \"{path}d\", state: directory}}, when: c{n} is changed}}"
                ));
            }
            1 => {
                if there {
                    write(before);
                }
                task(format!("{{name: known absent {n}, file: {{path: \"{path}\", state: absent}}}}"));
            }
            2 => {
                write(before);
                task(format!("{{name: known line {n}, lineinfile: {{path: \"{path}\", line: c}}}}"));
            }
            3 => {
                write(if there {
                    "# BEGIN ANSIBLE MANAGED BLOCK\nx\n# END ANSIBLE MANAGED BLOCK\n"
                } else {
                    before
                });
                task(format!("{{name: known block {n}, blockinfile: {{path: \"{path}\", block: x}}}}"));
            }
            4 => {
                write(if there { "[s]\na = 1\n" } else { "[s]\nb = 1\n" });
                task(format!(
                    "{{name: known ini {n}, ini_file: {{path: \"{path}\", section: s, option: a, value: \"1\"}}}}"
                ));
            }
            5 => {
                if there {
                    write(before);
                }
                task(format!(
                    "{{name: known or open text creates {n}, command: {{cmd: \"touch {path}\", creates: \"{path}\"}}, register: m{n}}}"
                ));
                task(format!(
                    "{{name: known follows {n}, file: {{path: \"{path}d\", state: directory}}, when: m{n}.changed}}"
                ));
            }
            6 => {
                project.file(&format!("t{n}.j2"), "{{ inventory_hostname }}\n");
                if there {
                    write("localhost\n");
                }
                task(format!("{{name: known template {n}, template: {{src: t{n}.j2, dest: \"{path}\"}}}}"));
            }
            7 => {
                if there {
                    write(before);
                }
                task(format!("{{name: known stat {n}, stat: {{path: \"{path}\"}}, register: s{n}}}"));
                task(format!(
                    "{{name: known if {n}, file: {{path: \"{path}d\", state: directory}}, when: s{n}.stat.exists}}"
                ));
            }
            8 => {
                write(before);
                task(format!(
                    "{{name: known replace {n}, replace: {{path: \"{path}\", regexp: b, replace: z}}}}"
                ));
            }
            9 => {
                task(format!("{{name: open command {n}, command: echo hi, register: r{n}}}"));
                task(format!(
                    "{{name: open content {n}, copy: {{dest: \"{path}\", content: \"{{{{ r{n}.stdout }}}}\"}}, register: c{n}}}"
                ));
                task(format!(
                    "{{name: open fact {n}, set_fact: {{v{n}: \"{{{{ r{n}.stdout | upper }}}}\"}}}}"
                ));
                task(format!(
                    "{{name: open use {n}, file: {{path: \"{path}{{{{ v{n} }}}}\", state: directory}}}}"
                ));
                task(format!(
                    "{{name: open if {n}, file: {{path: \"{path}d\", state: directory}}, when: r{n}.rc == 0}}"
                ));
                task(format!(
                    "{{name: open chain {n}, file: {{path: \"{path}e\", state: directory}}, when: c{n} is changed}}"
                ));
                task(format!(
                    "{{name: known although {n}, file: {{path: \"{path}g\", state: directory}}, when: r{n}.rc == 0 or true}}"
                ));
            }
            10 => {
                task(format!(
                    "{{name: open loop {n}, command: \"echo {{{{ item }}}}\", loop: [1, 2], register: l{n}}}"
                ));
                task(format!(
                    "{{name: open each {n}, file: {{path: \"{path}{{{{ item.stdout }}}}\", state: directory}}, loop: \"{{{{ l{n}.results }}}}\"}}"
                ));
                task(format!(
                    "{{name: open lines {n}, command: \"echo {{{{ item }}}}\", loop: \"{{{{ l{n}.results[0].stdout_lines }}}}\"}}"
                ));
            }
            11 => {
                task(format!("{{name: known make {n}, copy: {{dest: \"{path}\", content: x}}}}"));
                task(format!("{{name: open look {n}, stat: {{path: \"{path}\"}}, register: s{n}}}"));
                task(format!(
                    "{{name: open seen {n}, file: {{path: \"{path}d\", state: directory}}, when: s{n}.stat.exists}}"
                ));
            }
            12 => {
                project.file(
                    &format!("more{n}.yml"),
                    &format!("- {{name: inner {n}, set_fact: {{i{n}: 1}}}}\n"),
                );
                task(format!("{{name: open asked {n}, command: echo, register: r{n}}}"));
                task(format!("{{name: open include {n}, include_tasks: more{n}.yml, when: r{n}.rc == 0}}"));
                task(format!(
                    "{{name: open made {n}, file: {{path: \"{path}{{{{ i{n} }}}}\", state: directory}}}}"
                ));
            }
            _ => {
                task(format!(
                    "{{name: open wait {n}, command: echo ok, register: u{n}, until: u{n}.stdout == 'ok', retries: 2, delay: 0}}"
                ));
                task(format!(
                    "{{name: open judged {n}, command: echo ok, register: j{n}, changed_when: \"'ok' in j{n}.stdout\", failed_when: j{n}.rc != 0}}"
                ));
                task(format!(
                    "{{name: open both {n}, file: {{path: \"{path}\", state: directory}}, when: [u{n}.rc == 0, j{n} is changed]}}"
                ));
            }
        }
    }
    let lines: String = tasks.iter().map(|t| format!("    - {t}\n")).collect();
    format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - {{name: known world, stat: {{path: /}}}}\n{lines}"
    )
}

/// Every path below a folder, with what it holds.
fn disk(at: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Ok(entries) = fs_err::read_dir(at) else { return all };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let text =
            if path.is_dir() { "a folder".into() } else { fs_err::read_to_string(&path).unwrap_or_default() };
        all.insert(path.display().to_string(), text);
        if path.is_dir() {
            all.extend(disk(&path));
        }
    }
    all
}

/// Outcome and mark of each task that was met, by name.
fn outcomes(project: &Project) -> BTreeMap<String, (String, bool)> {
    let mut names = BTreeMap::new();
    let mut all = BTreeMap::new();
    for event in project.journal() {
        let step = event["step"].as_u64();
        match event["event"].as_str() {
            Some("step_started") => {
                drop(names.insert(step, event["name"].as_str().unwrap_or_default().to_owned()))
            }
            Some("step_finished") => {
                let outcome = event["outcome"].as_str().unwrap_or_default().to_owned();
                all.insert(
                    names[&step].clone(),
                    (outcome, event["result"][dcos_play::journal::UNKNOWN] != Value::Null),
                );
            }
            _ => {}
        }
    }
    all
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_check_mode_foresees_is_what_the_run_does_unless_it_says_that_it_cannot_know() {
    let seeds = match number("DCOS_PLAY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DCOS_PLAY_SOAK").unwrap_or(CASES),
    };
    let mut wrong = Vec::new();
    let (mut foreseen_in_all, mut open_in_all) = (0, 0);
    for seed in seeds {
        let project = Project::new();
        fs_err::create_dir_all(project.path("world")).expect("a folder");
        let playbook = case(&project, seed);
        project.file("play.yml", &playbook);
        let mut complain = |text: String| wrong.push(format!("DCOS_PLAY_SEED={seed}: {text}"));
        let before = disk(&project.path("world"));
        let run = ["run", "play.yml", "-i", "localhost,", "-c", "local"];
        let checked = project.run(&[&run[..], &["--check"]].concat());
        let foreseen = outcomes(&project);
        if checked.status != 0 {
            complain(format!("check mode failed\n{playbook}\n{}{}", checked.out, checked.err));
        }
        if disk(&project.path("world")) != before {
            complain("check mode changed something".to_owned());
        }
        // Two run ids of one moment would be one.
        let applied = project.run(&run);
        let done = outcomes(&project);
        if applied.status != 0 {
            complain(format!("the run failed\n{playbook}\n{}{}", applied.out, applied.err));
        }
        for (name, (outcome, unknown)) in &foreseen {
            let real = done.get(name).map_or("not reached", |(o, _)| o.as_str());
            if name.starts_with("open") {
                open_in_all += 1;
                // Setting a variable to something unknown is done, and said.
                let fact = name.starts_with("open fact");
                if !unknown || !(outcome == "skipped" || fact) {
                    complain(format!("{name}: foreseen as {outcome}, though nobody can know"));
                }
            } else {
                foreseen_in_all += 1;
                if outcome != real || (*unknown && !name.contains("open text")) {
                    complain(format!(
                        "{name}: foreseen {outcome} (unknown: {unknown}), then {real}\n{playbook}"
                    ));
                }
            }
        }
        if foreseen.values().any(|(_, unknown)| *unknown) != checked.out.contains("not known") {
            complain(format!("the recap tells of what is not known\n{}", checked.out));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        foreseen_in_all > 20 || number("DCOS_PLAY_SEED").is_some(),
        "{foreseen_in_all} foreseen, {open_in_all} open"
    );
}
