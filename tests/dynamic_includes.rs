//! Includes that a run comes to: what the included tasks inherit, where files are found, which mistakes come back.

#[path = "language/catalogue.rs"]
mod catalogue;
#[path = "language/outline.rs"]
mod outline;

use std::path::Path;
use std::sync::Arc;

use dcos_play::resolve::{ActionKind, Playbook, Resolver, RoleInclude, Setup, Task, tasks_of};
use dcos_play::source::Sources;

struct Project {
    folder: tempfile::TempDir,
    resolver: Resolver,
    playbook: Playbook,
}

fn project(files: &[(&str, &str)]) -> Project {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(&path, text).expect("file");
    }
    let sources = Arc::new(Sources::new(folder.path().to_path_buf()));
    let mut setup = Setup::new(Arc::clone(&sources), Arc::new(catalogue::Test));
    setup.known_variables = Arc::new(|_| true);
    let resolver = Resolver::new(setup);
    let resolution = resolver.resolve(&folder.path().join(files[0].0));
    let found = resolution.findings.render_in(&sources, dcos_play::source::Colour::Never);
    assert!(!resolution.findings.has_errors(), "{found}");
    Project { folder, resolver, playbook: resolution.playbook }
}

impl Project {
    /// The n-th dynamic include of the first play.
    fn include(&self, nth: usize) -> Arc<Task> {
        let is_include =
            |t: &Arc<Task>| matches!(t.action.kind, ActionKind::IncludeTasks | ActionKind::IncludeRole);
        tasks_of(&self.playbook.plays[0].items).into_iter().filter(is_include).nth(nth).expect("an include")
    }

    fn expand_file(&self, including: &Task, name: &str) -> Result<String, String> {
        let sources = self.resolver.sources();
        let file = self.resolver.find_tasks_file(including, name).map_err(|f| f.render(sources))?;
        self.resolver
            .expand_tasks_file(&self.playbook.plays[0], including, &file)
            .map(|items| outline::tasks(&items))
            .map_err(|f| f.render_in(sources, dcos_play::source::Colour::Never))
    }

    fn expand_role(&self, including: &Task, name: &str) -> Result<(String, usize), String> {
        let options = RoleInclude { name: name.to_owned(), ..RoleInclude::default() };
        self.resolver
            .expand_role(&self.playbook.plays[0], including, &options)
            .map(|r| (outline::tasks(&r.items), r.handlers.len()))
            .map_err(|f| f.render_in(self.resolver.sources(), dcos_play::source::Colour::Never))
    }
}

#[test]
fn included_tasks_inherit_surroundings_and_variables_but_not_the_includes_own_keywords() {
    let project = project(&[
        (
            "site.yml",
            "- hosts: all\n  tasks:\n    - when: outer\n      tags: b\n      become: true\n      block:\n        - name: Bring in\n          include_tasks: \"{{ file }}\"\n          when: own\n          tags: t\n          vars: {v: 1}\n",
        ),
        ("more.yml", "- command: x\n- name: Deeper\n  include_tasks: \"{{ other }}\"\n"),
    ]);
    let got = project.expand_file(&project.include(0), "more.yml");
    let wanted = "all/site.yml/Bring in/more.yml/command | command cmd=x | when outer | tags b | become true | vars v=1\n\
                  all/site.yml/Bring in/more.yml/Deeper | include_tasks file={{ other }} | when outer | tags b | become true | vars v=1\n";
    assert_eq!(got.as_deref(), Ok(wanted));
}

#[test]
fn apply_gives_keywords_to_the_included_tasks() {
    let project = project(&[
        (
            "site.yml",
            "- hosts: all\n  tasks:\n    - include_tasks:\n        file: \"{{ file }}\"\n        apply: {become: true, tags: [a], when: go}\n",
        ),
        ("more.yml", "- command: x\n"),
    ]);
    let got = project.expand_file(&project.include(0), "more.yml");
    let wanted =
        "all/site.yml/include_tasks/more.yml/command | command cmd=x | when go | tags a | become true\n";
    assert_eq!(got.as_deref(), Ok(wanted));
}

#[test]
fn included_role_brings_dependencies_once_and_its_handlers() {
    let project = project(&[
        ("site.yml", "- hosts: all\n  roles: [base]\n  tasks:\n    - include_role: {name: \"{{ role }}\"}\n"),
        ("roles/base/tasks/main.yml", "- command: base\n"),
        ("roles/web/meta/main.yml", "dependencies: [base, lib]\n"),
        ("roles/lib/tasks/main.yml", "- command: lib\n"),
        ("roles/web/tasks/main.yml", "- name: Web\n  command: web\n  notify: restart\n"),
        ("roles/web/handlers/main.yml", "- name: restart\n  command: r\n"),
    ]);
    let got = project.expand_role(&project.include(0), "web");
    let wanted = "all/site.yml/include_role/roles/lib/tasks/main.yml/command | command cmd=lib | role lib\n\
                  all/site.yml/include_role/roles/web/tasks/main.yml/Web | command cmd=web | notify restart | role web\n";
    assert_eq!(got, Ok((wanted.to_owned(), 1)));
}

#[test]
fn mistakes_of_an_included_file_come_back_with_their_place() {
    let project = project(&[
        ("site.yml", "- hosts: all\n  tasks:\n    - include_tasks: \"{{ file }}\"\n"),
        ("bad.yml", "- comand: x\n"),
    ]);
    let include = project.include(0);
    let got = project.expand_file(&include, "bad.yml").expect_err("an unknown module");
    assert!(got.starts_with("error: no module named `comand`\n   ╭─[bad.yml:1:3]"), "{got}");
    let got = project.expand_file(&include, "bat.yml").expect_err("no such file");
    assert!(got.contains("did you mean `bad.yml`?"), "{got}");
    let got = project.expand_role(&include, "nowhere").expect_err("no such role");
    assert!(got.starts_with("error: no role named `nowhere`"), "{got}");
    assert!(project.folder.path().join("site.yml").exists());
}

#[test]
fn an_include_of_itself_is_checked_once_and_expands_each_time() {
    let project = project(&[
        ("site.yml", "- hosts: all\n  tasks:\n    - include_tasks: again.yml\n"),
        ("again.yml", "- command: x\n- include_tasks: again.yml\n  when: more\n"),
    ]);
    let include = project.include(0);
    let file = project.folder.path().join("again.yml");
    let play = &project.playbook.plays[0];
    let first = project.resolver.expand_tasks_file(play, &include, &file).expect("expands");
    let inner = tasks_of(&first).pop().expect("the include of itself");
    let second = project.resolver.expand_tasks_file(play, &inner, Path::new(&file)).expect("expands again");
    assert_eq!(
        outline::tasks(&second).lines().next(),
        Some("all/site.yml/include_tasks/again.yml/include_tasks/again.yml/command | command cmd=x")
    );
}
