//! Precedence, magic variables and connections, as a task sees them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::connection::{Given, resolve};
use super::secrets::{Masks, Secret};
use super::vault::{Vault, VaultError};
use super::*;
use crate::inventory::{NewHost, Pattern, Plugins, Request, load};
use crate::source::{Diagnostics, SourceId, Sources, Yaml};
use crate::template::{Scope, SearchPath, Value, Var};

const SPAN: Span = Span { file: SourceId(0), start: 0, end: 0 };

fn text(value: &str) -> Arc<Node> {
    Arc::new(Node { span: SPAN, value: Yaml::Str(value.into()) })
}

fn layer(name: &str, value: &str) -> Arc<Layer> {
    Arc::new(Layer { entries: vec![(name.into(), text(value))], span: None })
}

fn table(name: &str, value: &str) -> Table {
    Table::of([&*layer(name, value)])
}

/// Shows nodes as text: enough where the question is which node it is.
fn plain(node: &Node) -> Value {
    match &node.value {
        Yaml::Str(text) => Value::from(&**text),
        Yaml::Int(number) => Value::from(*number),
        Yaml::Bool(truth) => Value::from(*truth),
        Yaml::Null => Value::from(()),
        other => Value::from(format!("{other:?}")),
    }
}

fn store(files: &[(&str, &str)], extra: Table) -> Arc<Store> {
    store_with(files, extra, Lazy::new(|node, _, _| plain(node)))
}

fn store_with(files: &[(&str, &str)], extra: Table, lazy: Lazy) -> Arc<Store> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
    }
    let sources = Arc::new(Sources::new(folder.path().to_owned()));
    let vault = Arc::new(Vault::default());
    let mut found = Diagnostics::default();
    let request = Request {
        sources: &["inv/hosts".to_owned()],
        directory: folder.path(),
        playbook_dir: Some(&folder.path().join("play")),
        vault: &vault,
        plugins: Plugins::default(),
    };
    let inventory = load(&request, &sources, &mut found);
    assert!(found.list.is_empty(), "{found:?}");
    let run = RunInfo { playbook_dir: PathBuf::from("/play"), forks: 5, ..RunInfo::default() };
    Store::new(StoreParts {
        inventory,
        extra,
        run,
        inject_facts: true,
        lazy,
        vault,
        sources,
        fact_cache: None,
    })
}

fn show(scope: &dyn Scope, name: &str) -> String {
    match scope.get(name) {
        None => "-".into(),
        Some(Var::Data(value)) => value.to_string(),
        Some(Var::Yaml(node)) => plain(&node).to_string(),
    }
}

/// All levels, lowest first; each is one way to define `x`.
const LEVELS: [&str; 24] = [
    "play's role default",
    "role default",
    "inventory all",
    "inventory group",
    "inventory group_vars/all",
    "playbook group_vars/all",
    "inventory group_vars/web",
    "playbook group_vars/web",
    "inventory host",
    "inventory host_vars",
    "playbook host_vars",
    "fact",
    "play vars",
    "vars_prompt",
    "vars_files",
    "vars_files of the host",
    "play's role vars",
    "role vars",
    "block",
    "task",
    "include_vars",
    "set_fact",
    "role param",
    "include param",
];

fn scope_with(levels: &[&str], extra: bool) -> TaskScope {
    let has = |level: &str| levels.contains(&level);
    let line = |level: &str, prefix: &str| {
        if has(level) { format!("{prefix}x='\"{level}\"'") } else { String::new() }
    };
    let hosts = format!(
        "[web]\nh {}\n[all:vars]\n{}\n[web:vars]\n{}\n",
        line("inventory host", ""),
        line("inventory all", "").replace("'\"", "\"").replace("\"'", "\""),
        line("inventory group", "").replace("'\"", "\"").replace("\"'", "\""),
    );
    let mut files = vec![("inv/hosts".to_owned(), hosts)];
    for (level, path) in [
        ("inventory group_vars/all", "inv/group_vars/all"),
        ("playbook group_vars/all", "play/group_vars/all.yml"),
        ("inventory group_vars/web", "inv/group_vars/web.yml"),
        ("playbook group_vars/web", "play/group_vars/web/a.yml"),
        ("inventory host_vars", "inv/host_vars/h.yml"),
        ("playbook host_vars", "play/host_vars/h.yml"),
    ] {
        if has(level) {
            files.push((path.to_owned(), format!("x: {level}\n")));
        }
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (&**p, &**t)).collect();
    let store = store(&files, if extra { table("x", "extra") } else { Table::default() });
    let host = store.host("h");
    if has("fact") {
        host.add_facts([("x".into(), Value::from("fact"))]);
    }
    if has("include_vars") {
        host.include(&table("x", "include_vars"));
    }
    if has("set_fact") {
        host.set_facts([("x".into(), Value::from("set_fact"))], false);
    }
    let level = |name: &str| if has(name) { table("x", name) } else { Table::default() };
    let layers = |names: &[&str]| names.iter().filter(|n| has(n)).map(|n| layer("x", n)).collect::<Vec<_>>();
    let parts = ScopeParts {
        play: Some(Arc::new(PlayVars {
            role_defaults: level("play's role default"),
            vars: level("play vars"),
            prompts: level("vars_prompt"),
            files: level("vars_files"),
            role_vars: level("play's role vars"),
        })),
        role: Some(Arc::new(RoleVars {
            defaults: level("role default"),
            vars: level("role vars"),
            params: level("role param"),
            ..RoleVars::default()
        })),
        task: layers(&["block", "task"]),
        include_params: layers(&["include param"]),
        ..ScopeParts::default()
    };
    store.scope("h", &Arc::new(parts)).with_vars_files(Arc::new(level("vars_files of the host")))
}

/// Each level beats all below it: define it everywhere, then take the winner away, level by level.
#[test]
fn levels_win_in_ansibles_order() {
    assert_eq!(show(&scope_with(&LEVELS, true).with_local("x", Var::Data(Value::from("loop"))), "x"), "loop");
    assert_eq!(show(&scope_with(&LEVELS, true), "x"), "extra");
    // Checked against ansible-core 2.19 with the same 24 levels in a real playbook.
    for count in (1..=LEVELS.len()).rev() {
        assert_eq!(show(&scope_with(&LEVELS[..count], false), "x"), LEVELS[count - 1]);
    }
    assert_eq!(show(&scope_with(&[], false), "x"), "-");
}

#[test]
fn magic_variables_tell_about_host_play_and_run() {
    let store = store(
        &[("inv/hosts", "[web]\nh.example.com\ng\n[db]\ng\n")],
        table("inventory_hostname", "extra vars don't replace it"),
    );
    let hosts: Vec<Arc<str>> = vec!["h.example.com".into(), "g".into()];
    let play = PlayState::new(PlayInfo::new("Web", "/play".into(), &hosts, &["r".into()], &["dep".into()]));
    let parts = ScopeParts {
        play_state: Some(Arc::clone(&play)),
        role: Some(Arc::new(RoleVars {
            name: "r".into(),
            full_name: "c.r".into(),
            path: "/roles/r".into(),
            parents: vec![("up".into(), "/roles/up".into())],
            ..RoleVars::default()
        })),
        search: SearchPath { bases: vec!["/roles/r".into(), "/play".into()] },
        ..ScopeParts::default()
    };
    let scope = store.scope("h.example.com", &Arc::new(parts));
    for (name, value) in [
        ("inventory_hostname", "h.example.com"),
        ("inventory_hostname_short", "h"),
        ("group_names", "['web']"),
        ("ansible_play_hosts_all", "['h.example.com', 'g']"),
        ("ansible_play_name", "Web"),
        ("role_name", "r"),
        ("ansible_role_name", "c.r"),
        ("role_path", "/roles/r"),
        ("ansible_parent_role_names", "['up']"),
        ("ansible_role_names", "['dep', 'r']"),
        ("ansible_search_path", "['/roles/r', '/play']"),
        ("ansible_run_tags", "['all']"),
        ("ansible_skip_tags", "[]"),
        ("ansible_forks", "5"),
        ("playbook_dir", "/play"),
        ("ansible_limit", "-"),
        ("ansible_playbook_python", "-"),
    ] {
        assert_eq!(show(&scope, name), value, "{name}");
    }
    let version = scope.get("ansible_version");
    assert!(matches!(version, Some(Var::Data(v)) if v.get_attr("minor").unwrap() == Value::from(19)));
    assert!(
        matches!(scope.get("groups"), Some(Var::Data(v)) if v.get_attr("db").unwrap().to_string() == "['g']")
    );
    play.set(play.get().with_hosts(&hosts[1..], &[]));
    assert_eq!(show(&scope, "ansible_play_hosts"), "['g']");
    assert_eq!(show(&scope, "play_hosts"), "[]");
    assert_eq!(show(&scope, "ansible_play_hosts_all"), "['h.example.com', 'g']");
    assert!(scope.names().contains(&"ansible_play_hosts".to_owned()));
}

#[test]
fn hostvars_see_other_hosts_without_play_and_task() {
    let store = store(&[("inv/hosts", "h a=1\ng a=2\n")], Table::default());
    store.host("g").register("result".into(), Value::from_pairs([("rc", 7)]));
    let parts = ScopeParts { task: vec![layer("a", "task"), layer("t", "task")], ..ScopeParts::default() };
    let scope = store.scope("h", &Arc::new(parts));
    let Some(Var::Data(hostvars)) = scope.get("hostvars") else { panic!("no hostvars") };
    let of = |host: &str, name: &str| {
        hostvars.get_attr(host).and_then(|h| h.get_attr(name)).map(|v| v.to_string())
    };
    assert_eq!(of("g", "a").unwrap(), "2");
    assert_eq!(of("h", "a").unwrap(), "1");
    assert_eq!(of("h", "t").unwrap(), "");
    assert_eq!(
        hostvars.get_attr("g").unwrap().get_attr("result").unwrap().get_attr("rc").unwrap(),
        Value::from(7)
    );
    assert_eq!(of("localhost", "ansible_connection").unwrap(), "local");
    assert!(hostvars.get_attr("nobody").unwrap().is_undefined());
    let names: Vec<String> = hostvars.try_iter().unwrap().map(|v| v.to_string()).collect();
    assert_eq!(names, ["h", "g"]);
}

#[test]
fn facts_are_variables_and_a_dictionary_but_steer_no_connection() {
    let store = store(&[("inv/hosts", "h\n")], Table::default());
    let host = store.host("h");
    host.add_facts(
        [
            ("ansible_distribution", "Debian"),
            ("packages", "p"),
            ("ansible_local", "l"),
            ("ansible_host", "evil"),
            ("ansible_become_exe", "evil"),
        ]
        .map(|(n, v)| (n.into(), Value::from(v))),
    );
    let scope = store.scope("h", &Arc::default());
    assert_eq!(show(&scope, "ansible_distribution"), "Debian");
    assert_eq!(show(&scope, "packages"), "p");
    assert_eq!(show(&scope, "ansible_host"), "-");
    assert_eq!(show(&scope, "ansible_become_exe"), "-");
    assert_eq!(
        show(&scope, "ansible_facts"),
        r#"{'distribution': 'Debian', 'packages': 'p', 'ansible_local': 'l'}"#
    );
    host.set_facts([("kept".into(), Value::from(1))], true);
    host.clear_facts();
    assert_eq!(show(&scope, "ansible_facts"), "{}");
    assert_eq!(show(&scope, "kept"), "1");
}

#[test]
fn added_hosts_are_seen_by_scopes_made_later() {
    let store = store(&[("inv/hosts", "h\n")], Table::default());
    let before = store.scope("h", &Arc::default());
    let mut found = Diagnostics::default();
    let new = NewHost { name: "n".into(), groups: vec!["web".into()], vars: vec![("v".into(), text("1"))] };
    assert_eq!(store.add_hosts(&[new], SPAN, &mut found), [true]);
    assert!(before.inventory().host("n").is_none());
    assert_eq!(show(&store.scope("n", &Arc::default()), "v"), "1");
    assert_eq!(store.select(&Pattern::parse("web").unwrap()).hosts, [Arc::from("n")]);
}

#[test]
fn connections_take_variables_over_keywords() {
    let hosts = "h ansible_host=10.0.0.1 ansible_ssh_port=2222 ansible_user=admin ansible_become=yes ansible_sudo_pass=hunter2\nbare\nbad ansible_port=x\n";
    let store = store(&[("inv/hosts", hosts)], Table::default());
    let given = Given {
        user: Some("root".into()),
        port: Some(22),
        become_user: Some("app".into()),
        ..Given::default()
    };
    let render = |var: &Var| -> Result<Value, std::convert::Infallible> {
        Ok(match var {
            Var::Yaml(node) => plain(node),
            Var::Data(value) => value.clone(),
        })
    };
    let of = |host: &str| resolve(&store.scope(host, &Arc::default()), host, &given, &render);
    let h = of("h").unwrap();
    assert_eq!(
        (&*h.kind, &*h.host, h.port, h.user.as_deref()),
        ("ssh", "10.0.0.1", Some(2222), Some("admin"))
    );
    let other = h.r#become.unwrap();
    assert_eq!((&*other.method, &*other.user, other.password), ("sudo", "app", Some(Secret::new("hunter2"))));
    let bare = of("bare").unwrap();
    assert_eq!(
        (&*bare.host, bare.port, bare.user.as_deref(), bare.r#become),
        ("bare", Some(22), Some("root"), None)
    );
    assert_eq!(of("bad").unwrap_err().to_string(), "`ansible_port` is `x`, which is not a port");
}

/// Made with `ansible-vault` of ansible-core 2.19, password `pw1`.
const FILE_12: &str = "\
$ANSIBLE_VAULT;1.2;AES256;lab
33623839336537343637643664303536393964663533373731643964666562343166616462393463
3763363365613131303631353233646435316534356233380a333263666365376535396632613837
31356231386232383133343666393964363736353466333531373538303430313261623366636432
3430343262343538300a646331653331333965616439313535626462363661383462613630313332
3466
";
const VALUE_11: &str = "\
$ANSIBLE_VAULT;1.1;AES256
65643636336130613163616432373262373236363436376232666635656239613830343131366432
6666333234316138393231623865393664633766323466640a633030306363313635303731313538
62316366366639316136343937376330326435333132376539616334316539303536343937303536
3631643037373538350a613538636361646338646337383536346531643539363164303138633365
3133
";

#[test]
fn vault_texts_of_both_formats_open_with_the_right_password_only() {
    let masks = Arc::new(Masks::default());
    let mut vault = Vault::new(Arc::clone(&masks));
    assert!(matches!(vault.decrypt(FILE_12), Err(VaultError::NoPassword)));
    vault.add("default", Secret::new("wrong"));
    let refused = vault.decrypt(FILE_12).unwrap_err();
    assert_eq!(refused.to_string(), "none of the vault passwords fits (it was encrypted with the id `lab`)");
    vault.add("lab", Secret::new("pw1"));
    assert_eq!(vault.decrypt(FILE_12).unwrap(), "x: 1\ny: two\n");
    let (node, faults) = vault.decrypt_node(Node { span: SPAN, value: Yaml::Vault(VALUE_11.into()) });
    assert!(faults.is_empty());
    assert_eq!(node.as_str(), Some("hunter22"));
    assert_eq!(masks.mask("it is hunter22"), "it is ********");
    let damaged = FILE_12.replace("3466\n", "34\n");
    assert!(matches!(vault.decrypt(&damaged), Err(VaultError::WrongPassword(_) | VaultError::Format(_))));
    assert!(matches!(vault.decrypt("$ANSIBLE_VAULT;1.0;AES\n00"), Err(VaultError::Format(_))));
}

#[test]
fn vault_passwords_come_from_files_and_scripts() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs_err::write(path("pw"), "pw1\n").unwrap();
    fs_err::write(path("ask-client"), "#!/bin/sh\n[ \"$2\" = lab ] && echo pw1\n").unwrap();
    fs_err::set_permissions(path("ask-client"), std::fs::Permissions::from_mode(0o755)).unwrap();
    fs_err::write(path("empty"), "\n").unwrap();
    for name in ["pw", "ask-client"] {
        let mut vault = Vault::default();
        vault.add_file("lab", &path(name)).unwrap();
        assert!(vault.decrypt(FILE_12).is_ok(), "{name}");
    }
    assert_eq!(super::vault::split_id("lab@pw"), ("lab", "pw"));
    assert_eq!(super::vault::split_id("pw"), ("default", "pw"));
    assert!(Vault::default().add_file("x", &path("ask-client")).is_err());
    assert!(Vault::default().add_file("x", &path("empty")).is_err());
    assert!(Vault::default().add_file("x", Path::new("/nonexistent/file")).is_err());
}

/// The object behind `hostvars` under the real template engine, in the ways playbooks use it.
#[test]
fn hostvars_work_in_templates_as_playbooks_use_them() {
    use crate::template::{Options, Templates};
    let templates = Arc::new(Templates::new(Options::default()));
    let hosts = "[web]\nh b=1\ng b=2\n[web:vars]\na={{ b }}-{{ inventory_hostname }}\nl=['{{ b }}', {'k': '{{ a }}'}]\n";
    let engine = Arc::clone(&templates);
    let lazy = Lazy::new(move |node, scope, name| engine.lazy(Arc::clone(node), Arc::clone(scope), name));
    let store = store_with(&[("inv/hosts", hosts)], Table::default(), lazy);
    store.host("g").add_facts([("ansible_x".into(), Value::from(7))]);
    store.host("g").register("r".into(), Value::from_pairs([("stdout", "{{ never }}")]));
    let parts = ScopeParts { task: vec![layer("mine", "{{ hostvars.g.a }}!")], ..ScopeParts::default() };
    let scope: Arc<dyn Scope> = Arc::new(store.scope("h", &Arc::new(parts)));
    for (text, expected) in [
        ("{{ a }}", "1-h"),
        ("{{ hostvars['g'].a }}", "2-g"),
        ("{{ hostvars.g['l'][1].k }}", "2-g"),
        ("{{ mine }}", "2-g!"),
        ("{{ hostvars.g.missing | default('d') }}", "d"),
        ("{{ hostvars['nobody'].x | default('n') }}", "n"),
        (
            "{{ 'nobody' in hostvars }} {{ 'g' in hostvars }} {{ 'b' in hostvars.g }} {{ 'c' in hostvars.g }}",
            "False True True False",
        ),
        ("{{ groups['web'] | map('extract', hostvars, 'a') | join(',') }}", "1-h,2-g"),
        ("{{ groups.web | map('extract', hostvars) | map(attribute='b') | join(',') }}", "1,2"),
        ("{{ ['g'] | map('extract', hostvars, ['ansible_facts', 'x']) | join }}", "7"),
        ("{% for h in groups.web %}{{ hostvars[h]['ansible_host'] | default(h) }},{% endfor %}", "h,g,"),
        ("{{ hostvars[inventory_hostname]['inventory_hostname'] }}", "h"),
        ("{{ hostvars.g.ansible_x }} {{ hostvars.g.r.stdout }}", "7 {{ never }}"),
        ("{{ vars['a'] }} {{ vars.b }} {{ lookup('vars', 'a') }}", "1-h 1 1-h"),
        ("{{ hostvars.keys() | list | join(',') }}", "h,g"),
        ("{{ hostvars.values() | map(attribute='a') | list | join(',') }}", "1-h,2-g"),
        ("{{ hostvars | dict2items | map(attribute='key') | join(',') }}", "h,g"),
        ("{{ hostvars.localhost.ansible_connection }}", "local"),
        ("{{ hostvars.g is mapping }} {{ hostvars | length }}", "True 2"),
        ("{{ group_names }} {{ groups.all }}", "['web'] ['h', 'g']"),
        ("{{ (hostvars.g | combine({'z': 1})).z }}", "1"),
        ("{{ ansible_version.full is version('2.15', '>=') }}", "True"),
    ] {
        match templates.text(text, None, &scope) {
            Ok(value) => assert_eq!(crate::template::to_text(&value).unwrap(), expected, "{text}"),
            Err(error) => panic!("{text}: {error}"),
        }
    }
}
