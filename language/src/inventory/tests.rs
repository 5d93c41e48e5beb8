//! Whole inventories: files in, hosts, groups, variables and findings out.

use std::path::Path;

use super::*;
use crate::source::{Diagnostic, Diagnostics, Sources, Yaml};
use crate::vars::vault::Vault;

/// A folder with files in it, and what loading gave.
struct Loaded {
    inventory: Inventory,
    sources: Sources,
    found: Diagnostics,
    folder: tempfile::TempDir,
}

fn load_files(files: &[(&str, &str)], from: &[&str], playbook: Option<&str>) -> Loaded {
    load_with(files, from, playbook, Plugins::default())
}

fn load_with(files: &[(&str, &str)], from: &[&str], playbook: Option<&str>, plugins: Plugins<'_>) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
        if text.starts_with("#!") {
            use std::os::unix::fs::PermissionsExt as _;
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let sources = Sources::new(folder.path().to_owned());
    let mut found = Diagnostics::default();
    let from: Vec<String> = from.iter().map(|f| (*f).to_owned()).collect();
    let playbook_dir = playbook.map(|p| folder.path().join(p));
    let request = Request {
        sources: &from,
        directory: folder.path(),
        playbook_dir: playbook_dir.as_deref(),
        vault: &Vault::default(),
        plugins,
    };
    let inventory = load(&request, &sources, &mut found);
    Loaded { inventory, sources, found, folder }
}

impl Loaded {
    fn hosts(&self, pattern: &str) -> String {
        Pattern::parse(pattern).unwrap().select(&self.inventory).hosts.join(" ")
    }

    /// The value of a variable in short form; `-` when there is none.
    fn var(&self, host: &str, name: &str) -> String {
        let tables = self.inventory.host(host).unwrap().tables();
        match tables.host.get(name).or_else(|| tables.groups.get(name)).map(|n| &n.value) {
            None => "-".into(),
            Some(Yaml::Str(text) | Yaml::Unsafe(text)) => text.to_string(),
            Some(Yaml::Int(number)) => number.to_string(),
            Some(other) => format!("{other:?}"),
        }
    }

    fn messages(&self) -> Vec<String> {
        self.found.list.iter().map(|d| self.message(d)).collect()
    }

    fn message(&self, finding: &Diagnostic) -> String {
        let help = finding.help.as_ref().map(|h| format!(" [{h}]")).unwrap_or_default();
        format!("{}: {}{help}", self.sources.place(finding.labels[0].span), finding.message)
    }

    fn fine(self) -> Self {
        assert_eq!(self.messages(), Vec::<String>::new());
        self
    }
}

const INI: &str = "\
# comment
lone ansible_host=1.2.3.4
h:2222 x='a b' # trailing
[web]
web[01:05:2].x y=0x10 z=010
db[a:c] q=True
[fe80::1]:22
[web:vars]
a = 1 # one
b = foo # two
[top:children]
web
[top:vars]
a=top
c=top
";

#[test]
fn ini_gives_what_ansible_gives() {
    let loaded = load_files(&[("hosts", INI)], &["hosts"], None).fine();
    assert_eq!(loaded.hosts("all"), "lone h web01.x web03.x web05.x dba dbb dbc fe80::1");
    assert_eq!(loaded.var("lone", "ansible_host"), "1.2.3.4");
    assert_eq!(loaded.var("h", "ansible_port"), "2222");
    assert_eq!(loaded.var("h", "x"), "a b");
    assert_eq!(loaded.var("web01.x", "y"), "16");
    assert_eq!(loaded.var("web01.x", "z"), "010");
    assert_eq!(loaded.var("dba", "a"), "1");
    assert_eq!(loaded.var("dba", "b"), "foo # two");
    assert_eq!(loaded.var("dba", "c"), "top");
    assert_eq!(loaded.var("fe80::1", "ansible_port"), "22");
    assert_eq!(loaded.inventory.group_names("dba").join(" "), "top web");
    assert_eq!(loaded.inventory.group_names("lone").join(" "), "ungrouped");
}

/// The right sides are what `ansible --list-hosts` 2.19 printed for the same file.
#[test]
fn patterns_choose_what_ansible_chooses() {
    let loaded = load_files(&[("hosts", INI)], &["hosts"], None).fine();
    for (pattern, hosts) in [
        ("web[0]", "web01.x"),
        ("web[1:2]", "web03.x web05.x"),
        ("web[-1]", "fe80::1"),
        ("web[1:]", "web03.x web05.x dba dbb dbc fe80::1"),
        ("web:!db*", "web01.x web03.x web05.x fe80::1"),
        ("~db[ab]", "dba dbb"),
        ("db[ab]", "dba dbb"),
        ("db[!a]", "dbb dbc"),
        ("web[9]", ""),
        ("lone,web", "lone web01.x web03.x web05.x dba dbb dbc fe80::1"),
        ("!web", "lone h"),
        ("localhost", "localhost"),
        ("&web", "web01.x web03.x web05.x dba dbb dbc fe80::1"),
        ("nope", ""),
        ("*", "lone h web01.x web03.x web05.x dba dbb dbc fe80::1"),
        ("dbc:dba", "dbc dba"),
        ("all:&web:!web01*", "web03.x web05.x dba dbb dbc fe80::1"),
        ("fe80::1", "fe80::1"),
        ("web0?.x", "web01.x web03.x web05.x"),
    ] {
        assert_eq!(loaded.hosts(pattern), hosts, "{pattern}");
    }
}

#[test]
fn unmatched_terms_come_with_a_near_name() {
    let loaded = load_files(&[("hosts", INI)], &["hosts"], None).fine();
    let selection = Pattern::parse("wbe:lone:nothing-like-it").unwrap().select(&loaded.inventory);
    let expected = [("wbe".to_owned(), Some("web".to_owned())), ("nothing-like-it".to_owned(), None)];
    assert_eq!(selection.unmatched, expected);
    assert!(Pattern::parse(" ").is_err());
    assert!(Pattern::parse("~(").is_err());
}

#[test]
fn limits_keep_order_read_files_and_refuse_unknown_names() {
    let loaded = load_files(&[("hosts", INI), ("x.retry", "dba\n\n# c\nlone\n")], &["hosts"], None).fine();
    let limit = Limit::parse("@x.retry,h", loaded.folder.path(), &loaded.sources).unwrap();
    let all = Pattern::parse("all").unwrap().select(&loaded.inventory).hosts;
    assert_eq!(limit.apply(all, &loaded.inventory).join(" "), "lone h dba");
    let mut found = Diagnostics::default();
    Limit::parse("dbaa", loaded.folder.path(), &loaded.sources).unwrap().check(&loaded.inventory, &mut found);
    assert_eq!(
        found.list.iter().map(|d| loaded.message(d)).collect::<Vec<_>>(),
        ["--limit:1: no host or group matches `dbaa` [did you mean `dba`?]"]
    );
    assert!(Limit::parse("@missing", loaded.folder.path(), &loaded.sources).is_err());
}

#[test]
fn ini_errors_have_places_and_come_all_at_once() {
    let text = "a b\n[x:vars]\nfoo\n[y:children]\nweb1\n[z:oops]\nc d='\n[w]\nh[3:1]\n";
    let loaded = load_files(&[("hosts", text)], &["hosts"], None);
    assert_eq!(
        loaded.messages(),
        [
            "hosts:1: expected `name=value` after the host, found `b` [one host a line; a value with spaces stands in quotes]",
            "hosts:3: expected `name=value`, found `foo` [`[x:vars]` holds variables; hosts belong to `[x]`]",
            "hosts:6: section `[z:oops]` has the unknown kind `oops` [a section is `[group]`, `[group:vars]` or `[group:children]`]",
            "hosts:7: expected the name of a group, found `c d='` [`[z:children]` lists one group a line]",
            "hosts:9: the host range `[3:1]` begins after its end",
            "hosts:2: group `x` has variables here, but nothing defines it [did you mean `y`?]",
            "hosts:5: group `web1` is a child here, but nothing defines it [add a section `[web1]`]",
        ]
    );
}

const YAML: &str = "\
all:
  vars: {a: all, b: all}
  hosts:
    direct: {c: host}
  children:
    web:
      hosts:
        web[1:2]:2222:
        other: {b: host}
      vars: {a: web, prio: web}
    db:
      hosts: {web1: }
      vars: {prio: db, ansible_group_priority: 10}
    dc:
      children:
        web:
      vars: {a: dc, d: dc}
";

#[test]
fn yaml_gives_groups_depth_and_priority() {
    let loaded = load_files(&[("inv.yml", YAML)], &["inv.yml"], None).fine();
    assert_eq!(loaded.hosts("all"), "direct web1 web2 other");
    // `web` lies below `dc`, so it is deeper and wins.
    assert_eq!(loaded.var("web1", "a"), "web");
    assert_eq!(loaded.var("web1", "d"), "dc");
    assert_eq!(loaded.var("web1", "b"), "all");
    assert_eq!(loaded.var("other", "b"), "host");
    assert_eq!(loaded.var("web1", "ansible_port"), "2222");
    // Depth goes before priority.
    assert_eq!(loaded.var("web1", "prio"), "web");
    assert_eq!(loaded.inventory.group("web").unwrap().depth, 2);
    assert_eq!(loaded.inventory.group_names("web1").join(" "), "db dc web");
    assert_eq!(loaded.inventory.group_names("direct").join(" "), "ungrouped");
}

#[test]
fn priority_decides_between_groups_of_one_depth() {
    let text =
        "a:\n  hosts: {h: }\n  vars: {x: a, ansible_group_priority: 2}\nb:\n  hosts: {h: }\n  vars: {x: b}\n";
    let loaded = load_files(&[("inv.yml", text)], &["inv.yml"], None).fine();
    assert_eq!(loaded.var("h", "x"), "a");
    assert_eq!(loaded.var("h", "ansible_group_priority"), "-");
}

#[test]
fn yaml_errors_have_places() {
    let text =
        "all:\n  hosts: [a, b]\n  web: {}\n  children:\n    x:\n      children:\n        all:\nbad: 3\n";
    let loaded = load_files(&[("inv.yml", text)], &["inv.yml"], None);
    assert_eq!(
        loaded.messages(),
        [
            "inv.yml:2: `hosts` of group `all` must be a mapping, not a list [write `name:` for each, without the `-`]",
            "inv.yml:3: unknown key `web` in group `all`: it is left out [a group inside of another one stands below `children`: move `web` there]",
            "inv.yml:7: group `x` would be its own child: x -> all -> x",
            "inv.yml:8: group `bad` must be a mapping [a group has `hosts`, `vars` and `children`]",
        ]
        .map(|m| m.replace("[a group has `hosts`, `vars` and `children`]", "[a group has `hosts`, `vars` and `children`, each a mapping]"))
    );
}

#[test]
fn vars_files_of_playbook_win_and_host_files_win_over_groups() {
    let loaded = load_files(
        &[
            ("inv/hosts", "[web]\nh v1=inv\n[web:vars]\nv2=inv\nv3=inv\n"),
            ("inv/group_vars/all.yml", "v3: inv-all\nv4: inv-all\nv5: inv-all\n"),
            ("inv/group_vars/web", "v5: inv-web\nv6: inv-web\n"),
            ("inv/host_vars/h.json", "{\"v1\": \"inv-host\", \"v7\": \"inv-host\"}"),
            ("play/group_vars/all/b.yml", "v4: play-all\nv5: play-all\n"),
            ("play/group_vars/all/sub/x.yaml", "v8: nested\n"),
            ("play/group_vars/all/.hidden.yml", "v8: no\n"),
            ("play/group_vars/all/z.txt", "v8: no\n"),
            ("play/group_vars/web/a.yml", "v6: play-web\n"),
            ("play/group_vars/web.yml", "v6: folder goes first\n"),
            ("play/host_vars/h.yml", "v7: play-host\n"),
        ],
        &["inv/hosts"],
        Some("play"),
    )
    .fine();
    for (name, value) in [
        ("v1", "inv-host"),
        ("v2", "inv"),
        ("v3", "inv-all"),
        ("v4", "play-all"),
        ("v5", "inv-web"),
        ("v6", "play-web"),
        ("v7", "play-host"),
        ("v8", "nested"),
    ] {
        assert_eq!(loaded.var("h", name), value, "{name}");
    }
}

#[test]
fn a_folder_of_sources_is_read_in_name_order_without_ignored_files() {
    let loaded = load_files(
        &[
            ("inv/01-a", "[web]\nh x=1\n"),
            ("inv/02-b.yml", "web: {hosts: {h: {x: 2}, g: }}\n"),
            ("inv/03.txt", "bad"),
            ("inv/04.cfg", "bad bad"),
            ("inv/05.ini", "late\n"),
            ("inv/.hidden", "bad bad"),
            ("inv/group_vars/web.yml", "y: 1\n"),
        ],
        &["inv", "extra1,extra2:22"],
        None,
    )
    .fine();
    assert_eq!(loaded.hosts("all"), "late extra1 extra2 h g");
    assert_eq!(loaded.var("h", "x"), "2");
    assert_eq!(loaded.var("g", "y"), "1");
    assert_eq!(loaded.var("extra2", "ansible_port"), "22");
}

#[test]
fn scripts_are_run_and_their_failures_shown() {
    let good = "#!/bin/sh\nif [ \"$1\" = --list ]; then echo '{\"web\": {\"hosts\": [\"a\", \"b\"], \"vars\": {\"x\": 1}}, \"top\": {\"children\": [\"web\"]}, \"old\": [\"c\"]}'\nelse echo \"{\\\"me\\\": \\\"$2\\\"}\"; fi\n";
    let loaded = load_files(&[("inv", good)], &["inv"], None).fine();
    assert_eq!(loaded.hosts("all"), "c a b");
    assert_eq!(loaded.var("a", "x"), "1");
    assert_eq!(loaded.var("b", "me"), "b");
    let meta = "#!/bin/sh\necho '{\"_meta\": {\"hostvars\": {\"a\": {\"k\": \"v\"}, \"stray\": {}}}, \"all\": {\"hosts\": [\"a\"]}}'\n";
    let loaded = load_files(&[("inv", meta)], &["inv"], None).fine();
    assert_eq!((loaded.hosts("all"), loaded.var("a", "k")), ("a".to_owned(), "v".to_owned()));
    let bad = "#!/bin/sh\necho broken >&2\nexit 3\n";
    let loaded = load_files(&[("inv", bad)], &["inv"], None);
    assert!(
        loaded.messages()[0].contains("the inventory script ended with exit status: 3: broken"),
        "{:?}",
        loaded.messages()
    );
}

#[test]
fn plugins_are_asked_by_name_and_unknown_ones_refused() {
    let made = PluginInventory {
        hosts: vec![("m1".into(), serde_json::from_str("{\"ansible_host\": \"10.0.0.1\"}").unwrap())],
        groups: vec![PluginGroup {
            name: "masters".into(),
            hosts: vec!["m1".into()],
            ..PluginGroup::default()
        }],
    };
    let lab = |name: &str, _: &crate::source::Node, _: &Path| (name == "lab").then(|| Ok(made.clone()));
    let plugins = Plugins { others: Some(&lab), ..Plugins::default() };
    let loaded = load_with(&[("a.yml", "plugin: lab\n")], &["a.yml"], None, plugins).fine();
    assert_eq!(
        (loaded.hosts("masters"), loaded.var("m1", "ansible_host")),
        ("m1".to_owned(), "10.0.0.1".to_owned())
    );
    let loaded = load_with(&[("a.yml", "plugin: nope\n")], &["a.yml"], None, plugins);
    assert_eq!(
        loaded.messages(),
        [
            "a.yml:1: no inventory plugin named `nope` [an inventory can also be a script that prints JSON for `--list`]"
        ]
    );
}

#[test]
fn hosts_and_groups_can_come_while_a_run_goes_on() {
    let loaded = load_files(
        &[
            ("hosts", "[web]\nh\n"),
            ("host_vars/new.yml", "from: file\n"),
            ("group_vars/os_Debian.yml", "os: debian\n"),
        ],
        &["hosts"],
        None,
    )
    .fine();
    let mut inventory = loaded.inventory.clone();
    let mut found = Diagnostics::default();
    let span = crate::source::Span { file: crate::source::SourceId(0), start: 0, end: 0 };
    let vault = Vault::default();
    let new = [NewHost { name: "new:2222".into(), groups: vec!["web".into()], vars: Vec::new() }];
    assert_eq!(inventory.add_hosts(&new, span, &vault, &loaded.sources, &mut found), [true]);
    assert_eq!(inventory.add_hosts(&new, span, &vault, &loaded.sources, &mut found), [false]);
    assert!(inventory.group_by("h", "os_Debian", &["os".into()], &vault, &loaded.sources, &mut found));
    assert!(!inventory.group_by("h", "os_Debian", &["os".into()], &vault, &loaded.sources, &mut found));
    let changed = Loaded { inventory, found, ..loaded }.fine();
    assert_eq!(changed.hosts("web"), "h new");
    assert_eq!(changed.hosts("os"), "h");
    assert_eq!(
        (changed.var("new", "from"), changed.var("new", "ansible_port")),
        ("file".to_owned(), "2222".to_owned())
    );
    assert_eq!(changed.var("h", "os"), "debian");
}

#[test]
fn an_implicit_localhost_is_local_and_in_no_group() {
    let loaded = load_files(
        &[("hosts", "h\n"), ("host_vars/localhost.yml", "x: 1\n"), ("group_vars/all.yml", "y: 1\n")],
        &["hosts"],
        None,
    );
    let mut inventory = loaded.inventory.clone();
    assert!(inventory.ensure_localhost("localhost"));
    let changed = Loaded { inventory, ..loaded };
    assert_eq!(changed.hosts("all"), "h");
    assert_eq!(changed.hosts("*"), "h");
    for (name, value) in [("ansible_connection", "local"), ("x", "1"), ("y", "1")] {
        assert_eq!(changed.var("localhost", name), value);
    }
}

#[test]
fn encrypted_vars_files_need_a_password() {
    let loaded = load_files(
        &[("hosts", "h\n"), ("group_vars/all.yml", "$ANSIBLE_VAULT;1.1;AES256\n61\n")],
        &["hosts"],
        None,
    );
    assert!(
        loaded.messages()[0].starts_with("group_vars/all.yml:1: can't decrypt `group_vars/all.yml`"),
        "{:?}",
        loaded.messages()
    );
}

const CONSTRUCTED_HOSTS: &str = "all:
  hosts:
    web-1.example: {az: eu-west-1a, ports: [80, 443], tags: {dcos-master: '', Name: 9web}, size: '4', empty: ''}
    db-1: {az: eu-west-1b, size: '16', empty: full}
  vars: {site: lab}
";

#[test]
fn constructed_makes_variables_first_and_groups_from_them() {
    let rules = "plugin: constructed
compose:
  cores: size | int * 2
  where: site ~ '/' ~ az
  later: cores + 1
groups:
  big-ones: cores > 10
  web: inventory_hostname_short.startswith('web')
";
    let loaded =
        load_files(&[("a.yml", CONSTRUCTED_HOSTS), ("b.yml", rules)], &["a.yml", "b.yml"], None).fine();
    assert_eq!(
        [loaded.var("db-1", "cores"), loaded.var("db-1", "where"), loaded.var("db-1", "later")],
        ["32", "lab/eu-west-1b", "-"],
        "composed variables don't see each other"
    );
    assert_eq!([loaded.hosts("big_ones"), loaded.hosts("web")], ["db-1", "web-1.example"]);
}

#[test]
fn keyed_groups_follow_prefix_separators_default_and_parent() {
    let rules = "plugin: ansible.builtin.constructed
leading_separator: false
keyed_groups:
  - {key: az, prefix: az, parent_group: '{{ site }}-zones'}
  - {key: tags, prefix: tag}
  - {key: tags, prefix: bare, trailing_separator: false}
  - {key: tags, prefix: dflt, default_value: none}
  - {key: empty, prefix: e, default_value: nothing}
  - {key: empty, prefix: n}
  - {key: ports | map('string') | list, separator: ''}
  - {key: az}
";
    let loaded =
        load_files(&[("a.yml", CONSTRUCTED_HOSTS), ("b.yml", rules)], &["a.yml", "b.yml"], None).fine();
    let groups: Vec<String> =
        loaded.inventory.group_names("web-1.example").iter().map(ToString::to_string).collect();
    let mut expected = vec![
        "_0",
        "_43",
        "az_eu_west_1a",
        "bare_Name_9web",
        "bare_dcos_master",
        "dflt_Name_9web",
        "dflt_dcos_master_none",
        "e_nothing",
        "eu_west_1a",
        "lab_zones",
        "tag_Name_9web",
        "tag_dcos_master_",
    ];
    expected.sort_unstable();
    assert_eq!(groups, expected);
    assert_eq!(loaded.hosts("lab_zones"), "web-1.example db-1");
    assert_eq!(loaded.hosts("n_full"), "db-1");
}

#[test]
fn constructed_leaves_failures_out_unless_strict() {
    let rules = "compose: {x: tags.Name}\nkeyed_groups: [{key: ports | first | string, prefix: p}]\n";
    let lax = format!("plugin: constructed\n{rules}");
    let loaded =
        load_files(&[("a.yml", CONSTRUCTED_HOSTS), ("b.yml", &lax)], &["a.yml", "b.yml"], None).fine();
    assert_eq!([loaded.var("web-1.example", "x"), loaded.var("db-1", "x")], ["9web", "-"]);
    assert_eq!(loaded.hosts("p_80"), "web-1.example");
    let strict = format!("plugin: constructed\nstrict: true\n{rules}");
    let loaded = load_files(&[("a.yml", CONSTRUCTED_HOSTS), ("b.yml", &strict)], &["a.yml", "b.yml"], None);
    let messages = loaded.messages();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("b.yml:3: variable `x` for host `db-1`: "), "{messages:?}");
}

#[test]
fn constructed_refuses_what_it_does_not_know() {
    let rules = "plugin: constructed\nkeyed_group: []\nuse_vars_plugins: true\nkeyed_groups: [{prefix: x}]\n";
    let loaded = load_files(&[("b.yml", rules)], &["b.yml"], None);
    let messages = loaded.messages().join("\n");
    for part in [
        "has no option `keyed_group` [did you mean `keyed_groups`?]",
        "`use_vars_plugins` is not available here",
        "needs `key`",
    ] {
        assert!(messages.contains(part), "{messages}");
    }
}
