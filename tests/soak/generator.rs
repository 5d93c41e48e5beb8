//! Random playbooks as text.
//!
//! Everything a playbook here does is decided by its seed and by what its own host did before, except where a task
//! looks at other hosts on purpose. So two runs in different orders must end the same, if the barriers are right.

use std::fmt::Write as _;

/// A small generator of numbers: the same seed gives the same playbook on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let at = self.below(list.len() as u64) as usize;
        &list[at]
    }
}

/// A generated case.
pub(crate) struct Case {
    pub(crate) hosts: Vec<String>,
    /// File name and text; the playbook is `site.yml`, with `STRATEGY` where a strategy may stand.
    pub(crate) files: Vec<(String, String)>,
    /// Variables whose end values are compared.
    pub(crate) names: Vec<String>,
    pub(crate) faults: String,
    pub(crate) forks: u32,
}

struct Generator {
    random: Random,
    hosts: Vec<String>,
    names: Vec<String>,
    tasks: u64,
    includes: Vec<(String, String)>,
    /// Notifications that the current play's handlers answer.
    topics: Vec<String>,
    rules: String,
    play: u64,
    /// What the current task writes. It must not look at that on other hosts: they write it in the same task, and who
    /// comes first is chance, under `linear` too.
    own: Option<String>,
    /// What the play's `everybody` looks at.
    everybody: String,
}

/// Makes the case of a seed.
pub(crate) fn case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let hosts: Vec<String> = (1..=3 + random.below(6)).map(|n| format!("h{n}")).collect();
    let mut it = Generator {
        random,
        hosts,
        names: Vec::new(),
        tasks: 0,
        includes: Vec::new(),
        topics: Vec::new(),
        rules: String::new(),
        play: 0,
        own: None,
        everybody: String::new(),
    };
    let mut inventory = String::from("all:\n  children:\n    left:\n      hosts:\n");
    let middle = it.hosts.len() / 2;
    for (number, host) in it.hosts.iter().enumerate() {
        if number == middle {
            inventory.push_str("    right:\n      hosts:\n");
        }
        let _ = writeln!(inventory, "        {host}: {{number: {}}}", number + 1);
    }
    let mut playbook = String::new();
    for play in 0..1 + it.random.below(3) {
        it.play = play;
        playbook.push_str(&it.play());
    }
    let mut faults = String::from("latency: [0.01, 1.0]\nfaults:\n  - {match: 'no such text'}\n");
    faults.push_str(&it.rules);
    if it.random.chance(50) {
        let slow = it.random.pick(&it.hosts.clone()).clone();
        let _ = writeln!(faults, "  - {{hosts: [{slow}], slow: {}}}", 3 + it.random.below(20));
    }
    let mut files = vec![("site.yml".to_owned(), playbook), ("hosts.yml".to_owned(), inventory)];
    files.append(&mut it.includes);
    let forks = 1 + it.random.below(8) as u32;
    Case { hosts: it.hosts, files, names: it.names, faults, forks }
}

impl Generator {
    fn play(&mut self) -> String {
        let mut text = format!("- name: play {}\n", self.play);
        let pattern = *self.random.pick(&["all", "all", "all", "left", "right", "all:!h2"]);
        let _ = writeln!(text, "  hosts: \"{pattern}\"\n  STRATEGY");
        let facts = self.random.chance(15);
        let _ = writeln!(text, "  gather_facts: {facts}");
        if self.random.chance(20) {
            let serial = *self.random.pick(&["1", "2", "\"50%\"", "[1, 2]"]);
            let _ = writeln!(text, "  serial: {serial}");
        }
        if self.random.chance(10) {
            text.push_str("  any_errors_fatal: true\n");
        }
        if self.random.chance(8) {
            let _ = writeln!(text, "  max_fail_percentage: {}", self.random.below(60));
        }
        if self.random.chance(15) {
            text.push_str("  force_handlers: true\n");
        }
        self.own = None;
        let name = self.known();
        self.everybody.clone_from(&name);
        let _ = writeln!(
            text,
            "  vars:\n    everybody: \"{{% for h in groups['all'] %}}{{{{ hostvars[h].{name} | default('-') }}}};{{% endfor %}}\"\n    plain: \"{{{{ number }}}} of {}\"",
            self.hosts.len()
        );
        self.topics = (0..1 + self.random.below(4)).map(|n| format!("handler {}.{n}", self.play)).collect();
        if self.random.chance(40) {
            self.topics.push(format!("topic {}", self.play));
        }
        let topics = self.topics.clone();
        text.push_str("  tasks:\n");
        for _ in 0..3 + self.random.below(8) {
            text.push_str(&self.item(4, 0));
        }
        text.push_str("  handlers:\n");
        // A handler notifies only later ones, so that no flush is endless.
        for (at, topic) in topics.iter().enumerate().filter(|(_, t)| t.starts_with("handler")) {
            self.topics = topics[at + 1..].iter().filter(|t| t.starts_with("handler")).cloned().collect();
            let mut body = self.simple(4);
            // The name is what notifies it.
            let end = body.find('\n').unwrap_or(0);
            body.replace_range(..end, &format!("    - name: {topic}"));
            if topics.last().is_some_and(|t| t.starts_with("topic")) && self.random.chance(50) {
                let _ = writeln!(body, "      listen: topic {}", self.play);
            }
            text.push_str(&body);
        }
        if topics.last().is_some_and(|t| t.starts_with("topic")) {
            let _ = writeln!(
                text,
                "    - name: last\n      listen: topic {}\n      debug: {{msg: last}}",
                self.play
            );
        }
        text
    }

    /// A task, block, include or meta.
    fn item(&mut self, indent: usize, depth: u64) -> String {
        match self.random.below(100) {
            0..18 if depth < 2 => self.block(indent, depth),
            18..26 if depth < 2 => self.include(indent, depth),
            26..31 => {
                self.own = None;
                let what = *self.random.pick(&[
                    "flush_handlers",
                    "flush_handlers",
                    "noop",
                    "end_host",
                    "end_play",
                    "end_batch",
                ]);
                let mut text = format!("{:indent$}- meta: {what}\n", "");
                if what.starts_with("end") {
                    let condition = self.condition();
                    let _ = writeln!(text, "{:indent$}  when: {condition}", "");
                    if self.random.chance(60) {
                        text.clear();
                    }
                }
                text
            }
            _ => self.simple(indent),
        }
    }

    fn block(&mut self, indent: usize, depth: u64) -> String {
        self.own = None;
        self.tasks += 1;
        let mut text = format!("{:indent$}- name: block {}\n", "", self.tasks);
        if self.random.chance(25) {
            let condition = self.condition();
            let _ = writeln!(text, "{:indent$}  when: {condition}", "");
        }
        if self.random.chance(10) {
            let _ = writeln!(text, "{:indent$}  ignore_errors: true", "");
        }
        let parts: &[&str] = match self.random.below(5) {
            0 => &["block"],
            1 => &["block", "always"],
            2 => &["block", "rescue", "always"],
            _ => &["block", "rescue"],
        };
        for part in parts {
            let _ = writeln!(text, "{:indent$}  {part}:", "");
            for _ in 0..1 + self.random.below(3) {
                let item = self.item(indent + 4, depth + 1);
                text.push_str(&item);
            }
            // A list may have come out empty.
            let _ = writeln!(text, "{:indent$}    - debug: {{msg: end of {part}}}", "");
        }
        text
    }

    fn include(&mut self, indent: usize, depth: u64) -> String {
        self.own = None;
        self.tasks += 1;
        let file = format!("more{}.yml", self.tasks);
        let mut text = format!("{:indent$}- name: include {}\n", "", self.tasks);
        if self.random.chance(20) {
            let _ = writeln!(text, "{:indent$}  include_tasks: \"{{{{ 'more' }}}}{}.yml\"", "", self.tasks);
        } else {
            let _ = writeln!(text, "{:indent$}  include_tasks: {file}", "");
        }
        if self.random.chance(50) {
            let condition = self.condition();
            let _ = writeln!(text, "{:indent$}  when: {condition}", "");
        }
        if self.random.chance(30) {
            let _ =
                writeln!(text, "{:indent$}  loop: \"{{{{ range(1, 1 + (number | int) % 3) | list }}}}\"", "");
            let _ = writeln!(text, "{:indent$}  loop_control: {{loop_var: round}}", "");
        }
        let mut inside = String::new();
        for _ in 0..1 + self.random.below(3) {
            inside.push_str(&self.item(0, depth + 1));
        }
        inside.push_str("- debug: {msg: end of include}\n");
        self.includes.push((file, inside));
        text
    }

    /// One task that does something.
    fn simple(&mut self, indent: usize) -> String {
        self.tasks += 1;
        let number = self.tasks;
        let mut text = format!("{:indent$}- name: task {number}\n", "");
        let mut more: Vec<String> = Vec::new();
        let look = self.random.chance(25);
        let kind = self.random.below(10);
        self.own = match kind {
            3..5 => Some(format!("f{number}")),
            5 => Some(self.fact()),
            0..3 | 6 | 7 | 9 if self.random.chance(60) => Some(format!("r{number}")),
            _ => None,
        };
        let own = self.own.clone();
        let words = self.words(look);
        match kind {
            0..3 => {
                more.push(format!("command: do t{number}x {words}"));
                self.registers(&mut more);
                self.may_fail(number);
                if self.random.chance(20) {
                    more.push("changed_when: false".to_owned());
                }
            }
            3..5 => {
                let name = own.unwrap_or_default();
                more.push(format!("set_fact: {{{name}: \"{words}\"}}"));
                self.names.push(name);
            }
            5 => {
                // A fact that changes: later readers must see the right value.
                let name = own.unwrap_or_default();
                more.push(format!(
                    "set_fact: {{{name}: \"{{{{ {name} | default('') }}}}+{number}{words}\"}}"
                ));
            }
            6 => {
                more.push(format!(
                    "file: {{path: \"/srv/t{number}x-{{{{ inventory_hostname }}}}\", state: directory}}"
                ));
                self.registers(&mut more);
                self.may_fail(number);
            }
            7 => {
                more.push(format!("debug: {{msg: \"{words}\"}}"));
                self.registers(&mut more);
                if self.random.chance(50) {
                    more.push("changed_when: true".to_owned());
                }
            }
            8 if self.random.chance(30) => {
                more.push(format!("group_by: {{key: \"g{number}_{{{{ (number | int) % 2 }}}}\"}}"));
            }
            8 => {
                let condition = self.condition();
                more.push(format!("assert: {{that: [\"{condition}\"], fail_msg: no}}"));
            }
            _ => {
                more.push(format!("command: do t{number}x \"{{{{ item }}}}\" {words}"));
                more.push("loop: [a, b, \"{{ number }}\"]".to_owned());
                self.registers(&mut more);
                self.may_fail(number);
            }
        }
        self.keywords(&mut more);
        for line in more {
            let _ = writeln!(text, "{:indent$}  {line}", "");
        }
        text
    }

    fn keywords(&mut self, more: &mut Vec<String>) {
        if self.random.chance(30) {
            let condition = self.condition();
            more.push(format!("when: {condition}"));
        }
        if self.random.chance(15) {
            more.push("ignore_errors: true".to_owned());
        }
        if self.random.chance(8) {
            more.push("run_once: true".to_owned());
        }
        if self.random.chance(8) && !more[0].starts_with("group_by") {
            let host = self.random.pick(&self.hosts.clone()).clone();
            more.push(format!("delegate_to: {host}"));
        }
        if self.random.chance(5) {
            more.push("any_errors_fatal: true".to_owned());
        }
        if self.random.chance(5) {
            let condition = self.condition();
            more.push(format!("failed_when: not ({condition})"));
        }
        if self.random.chance(5) {
            more.push("tags: [never, other]".to_owned());
        }
        if !self.topics.is_empty() && self.random.chance(30) {
            let topic = self.random.pick(&self.topics.clone()).clone();
            more.push(format!("notify: {topic}"));
        }
    }

    fn registers(&mut self, more: &mut Vec<String>) {
        if let Some(name) = self.own.clone() {
            more.push(format!("register: {name}"));
            self.names.push(name);
        }
    }

    /// On some hosts the task fails, or the host cannot be reached.
    fn may_fail(&mut self, task: u64) {
        if !self.random.chance(35) {
            return;
        }
        let host = self.random.pick(&self.hosts.clone()).clone();
        let how = if self.random.chance(15) { "unreachable: true" } else { "fail: broken" };
        let _ = writeln!(self.rules, "  - {{hosts: [{host}], match: 't{task}x', {how}}}");
    }

    /// Some variable that was set before, or will be.
    fn known(&mut self) -> String {
        let names: Vec<String> =
            self.names.iter().filter(|n| Some(*n) != self.own.as_ref()).cloned().collect();
        if names.is_empty() { "number".to_owned() } else { self.random.pick(&names).clone() }
    }

    fn fact(&mut self) -> String {
        let facts: Vec<String> = self.names.iter().filter(|n| n.starts_with('f')).cloned().collect();
        if facts.is_empty() {
            self.names.push("f0".to_owned());
            return "f0".to_owned();
        }
        self.random.pick(&facts).clone()
    }

    /// Text with variables: own ones, or those of others.
    fn words(&mut self, look: bool) -> String {
        let name = self.known();
        if !look {
            return match self.random.below(3) {
                0 => format!("{{{{ {name} | default('-') | string | length }}}}"),
                1 => "{{ plain }}".to_owned(),
                _ => format!("own {{{{ ({name} | default('-')) is mapping }}}}"),
            };
        }
        match self.random.below(5) {
            0 if self.own.as_ref() != Some(&self.everybody) => "{{ everybody | hash('sha1') }}".to_owned(),
            1 => "{{ ansible_play_hosts | join(',') }}".to_owned(),
            2 => "{{ ansible_play_batch | join(',') }}".to_owned(),
            3 => {
                let host = self.random.pick(&self.hosts.clone()).clone();
                format!("{{{{ (hostvars['{host}'].{name} | default('-')) | string | hash('sha1') }}}}")
            }
            _ => format!(
                "{{% for h in groups['all'] %}}{{{{ hostvars[h].{name} | default('-') | string | length }}}};{{% endfor %}}"
            ),
        }
    }

    fn condition(&mut self) -> String {
        let name = self.known();
        let hosts = self.hosts.clone();
        let host = self.random.pick(&hosts);
        match self.random.below(7) {
            0 => format!("{name} is defined"),
            1 => format!("({name} | default('-') | string | length) % 2 == 0"),
            2 => format!("inventory_hostname != '{host}'"),
            3 => "(number | int) % 2 == 1".to_owned(),
            4 => format!("({name} | default({{}})) is mapping"),
            5 => format!("hostvars['{host}'].{name} is defined"),
            _ => "number | int > 0".to_owned(),
        }
    }
}
