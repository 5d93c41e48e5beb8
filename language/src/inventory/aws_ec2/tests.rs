//! Inventory files and described instances in, hosts, groups and variables out.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;
use crate::inventory::{Inventory, Plugins, Request, load};
use crate::source::{Diagnostics, Sources, Yaml};
use crate::vars::Table;
use crate::vars::vault::Vault;

/// What loading gave, and what AWS was asked.
struct Loaded {
    inventory: Inventory,
    found: Vec<String>,
    asked: Vec<Ec2Query>,
}

fn load_with(yaml: &str, instances: &[Json], extra: &str) -> Loaded {
    load_in(tempfile::tempdir().unwrap().path(), yaml, false, extra, |_| {
        Ok(Ec2Answer { included: instances.to_vec(), ..Ec2Answer::default() })
    })
}

fn load_in(
    folder: &Path,
    yaml: &str,
    refresh: bool,
    extra: &str,
    answer: impl Fn(&Ec2Query) -> Result<Ec2Answer, Ec2Fault>,
) -> Loaded {
    fs_err::write(folder.join("aws_ec2.yml"), format!("plugin: amazon.aws.aws_ec2\n{yaml}")).unwrap();
    let sources = Sources::new(folder.to_owned());
    let mut found = Diagnostics::default();
    let asked: RefCell<Vec<Ec2Query>> = RefCell::default();
    let ask = |query: &Ec2Query| {
        asked.borrow_mut().push(query.clone());
        answer(query)
    };
    let vault = Vault::default();
    let values = if extra.is_empty() { Vec::new() } else { vec![extra.to_owned()] };
    let extra: Arc<Table> =
        Arc::new(crate::vars::extra::parse_extra_vars(&values, folder, &vault, &sources, &mut found));
    let plugins = Plugins { ec2: Some(&ask), extra: Some(&extra), refresh, ..Plugins::default() };
    let mut from = vec!["aws_ec2.yml".to_owned()];
    if folder.join("other.ini").exists() {
        from.insert(0, "other.ini".to_owned());
    }
    let request = Request { sources: &from, directory: folder, playbook_dir: None, vault: &vault, plugins };
    let inventory = load(&request, &sources, &mut found);
    let message = |d: &Diagnostic| {
        let help = d.help.as_ref().map(|h| format!(" [{h}]")).unwrap_or_default();
        format!("{}: {}{help}", sources.place(d.labels[0].span), d.message)
    };
    let found = found.list.iter().map(message).collect();
    Loaded { inventory, found, asked: asked.take() }
}

impl Loaded {
    fn fine(self) -> Self {
        assert_eq!(self.found, Vec::<String>::new());
        self
    }

    fn hosts(&self) -> String {
        self.inventory.hosts_below("all").join(" ")
    }

    fn groups(&self, host: &str) -> String {
        self.inventory.group_names(host).join(" ")
    }

    fn var(&self, host: &str, name: &str) -> String {
        let host = self.inventory.host(host).unwrap();
        match host.vars.get(name).map(|n| &n.value) {
            None => "-".to_owned(),
            Some(Yaml::Str(text) | Yaml::Unsafe(text)) => text.to_string(),
            Some(Yaml::Int(number)) => number.to_string(),
            Some(other) => format!("{other:?}"),
        }
    }
}

/// An instance with a private address whose last part is its number.
fn instance(number: u8, tags: &Json) -> Json {
    json!({
        "ami_launch_index": 0,
        "image_id": "ami-1",
        "instance_id": format!("i-0{number:02}"),
        "instance_type": "m3.large",
        "key_name": "key-a",
        "launch_time": "2026-01-02T03:04:05+00:00",
        "owner_id": "123456789012",
        "placement": {"availability_zone": "eu-west-1a", "region": "eu-west-1", "tenancy": "default"},
        "private_dns_name": format!("ip-10-0-0-{number}.eu-west-1.compute.internal"),
        "private_ip_address": format!("10.0.0.{number}"),
        "public_dns_name": "",
        "security_groups": [{"group_id": "sg-1", "group_name": "dcos nodes"}],
        "state": {"code": 16, "name": "running"},
        "tags": tags,
        "vpc_id": "vpc-1",
    })
}

#[test]
fn source_playbooks_find_their_groups_and_variables() {
    let yaml = "
regions: [eu-west-1]
filters: {instance-state-name: running}
hostnames: [private-ip-address]
keyed_groups:
  - {prefix: tag, key: ec2_tags, trailing_separator: false}
compose:
  ansible_host: private_ip_address
  ec2_id: instance_id
  ec2_private_ip_address: private_ip_address
  ec2_ip_address: public_ip_address | default('')
  ec2_public_dns_name: public_dns_name
";
    let instances = [
        instance(2, &json!({"Name": "web 1", "dcos_master": "", "dcos-controller": ""})),
        instance(1, &json!({"private_host": ""})),
    ];
    let loaded = load_with(yaml, &instances, "").fine();
    assert_eq!(loaded.hosts(), "10.0.0.1 10.0.0.2");
    assert_eq!(loaded.groups("10.0.0.2"), "aws_ec2 tag_Name_web_1 tag_dcos_controller tag_dcos_master");
    assert_eq!(loaded.groups("10.0.0.1"), "aws_ec2 tag_private_host");
    assert_eq!(loaded.var("10.0.0.2", "ec2_id"), "i-002");
    assert_eq!(loaded.var("10.0.0.2", "ec2_private_ip_address"), "10.0.0.2");
    assert_eq!(loaded.var("10.0.0.2", "ec2_ip_address"), "");
    assert_eq!(
        loaded.asked,
        [Ec2Query {
            regions: vec!["eu-west-1".into()],
            include: vec![vec![("instance-state-name".into(), vec!["running".into()])]],
            strict_permissions: true,
            ..Ec2Query::default()
        }]
    );
}

#[test]
fn filters_are_one_more_include_and_states_are_added_where_none_is_named() {
    let states = ("instance-state-name".to_owned(), STATES.map(str::to_owned).to_vec());
    let filter = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    let loaded = load_with("", &[], "").fine();
    assert_eq!(loaded.asked[0].include, [vec![states.clone()]]);
    let yaml = "
include_filters:
  - {tag:role: [a, b], instance-state-name: stopped}
filters: {'tag:cluster': '{{ cluster }}', source-dest-check: true}
exclude_filters: [{'tag:dead': ''}]
regions: ['{{ region }}', us-east-1]
strict_permissions: false
";
    let loaded = load_with(yaml, &[], "cluster=c1 region=eu-west-1").fine();
    let query = &loaded.asked[0];
    assert_eq!(
        query.include,
        [
            vec![filter("tag:cluster", "c1"), filter("source-dest-check", "true"), states.clone()],
            vec![
                ("tag:role".to_owned(), vec!["a".into(), "b".into()]),
                filter("instance-state-name", "stopped")
            ],
        ]
    );
    assert_eq!(query.exclude, [vec![filter("tag:dead", ""), states]]);
    assert_eq!((query.regions.join(" "), query.strict_permissions), ("eu-west-1 us-east-1".into(), false));
}

const STATES: [&str; 4] = ["running", "pending", "stopping", "stopped"];

#[test]
fn excluded_instances_are_left_out_and_others_come_once_by_id() {
    let answer = Ec2Answer {
        included: vec![
            instance(3, &json!({})),
            instance(1, &json!({})),
            instance(3, &json!({})),
            instance(2, &json!({})),
        ],
        excluded: vec!["i-002".into()],
        skipped: vec!["the region eu-south-1 is left out: why".into()],
    };
    let folder = tempfile::tempdir().unwrap();
    let loaded = load_in(folder.path(), "hostnames: [instance-id]\n", false, "", |_| Ok(answer.clone()));
    assert_eq!(loaded.hosts(), "i-001 i-003");
    assert_eq!(loaded.found, ["aws_ec2.yml:1: the region eu-south-1 is left out: why"]);
}

#[test]
fn the_first_hostname_that_is_not_empty_counts() {
    let named = |hostnames: &str, tags: &Json| {
        load_with(&format!("hostnames: {hostnames}\n"), &[instance(7, tags)], "").fine().hosts()
    };
    let tags = json!({"Name": "Web", "env": "prod", "Owner": "a:b", "evil": "-oProxyCommand=id"});
    for (hostnames, expected) in [
        ("[]", "ip-10-0-0-7.eu-west-1.compute.internal"),
        ("[dns-name, ip-address, private-ip-address]", "10.0.0.7"),
        ("['tag:Nope', 'tag:Name']", "Web"),
        ("['tag:Nope,env']", "prod"),
        ("['tag:Name=Web']", "Name_Web"),
        ("['tag:Name=Db', instance-id]", "i-007"),
        ("['tag:Owner']", "a_b"),
        ("['tag:evil']", "_oProxyCommand=id"),
        ("['tag:Name | lower']", "web"),
        ("[{name: instance-id, prefix: 'tag:env'}]", "prod_i-007"),
        ("[{name: instance-id, prefix: 'tag:env', separator: '-'}]", "prod-i-007"),
        ("[{name: instance-id, prefix: 'tag:nope'}]", "i-007"),
        ("[{name: 'tag:nope', prefix: 'tag:env'}, instance-state-name]", "running"),
        ("[placement-group-name, tenancy]", "default"),
        ("[instance.group-name]", "dcos nodes"),
        ("[anything-else]", "anything-else"),
        ("['tag:Nope']", ""),
    ] {
        assert_eq!(named(hostnames, &tags), expected, "{hostnames}");
    }
}

#[test]
fn with_allow_duplicated_hosts_an_instance_has_all_its_names() {
    let yaml = "hostnames: ['tag:Name', 'tag:nope', instance-id]\nallow_duplicated_hosts: true\n";
    let loaded = load_with(yaml, &[instance(7, &json!({"Name": "web"}))], "").fine();
    assert_eq!(loaded.hosts(), "web i-007");
    let both = [instance(1, &json!({"Name": "web"})), instance(2, &json!({"Name": "web"}))];
    let loaded = load_with(yaml, &both, "").fine();
    assert_eq!(
        (loaded.hosts(), loaded.var("web", "instance_id")),
        ("web i-001 i-002".into(), "i-002".into())
    );
}

#[test]
fn two_instances_with_one_name_are_an_error() {
    let both = [instance(1, &json!({"Name": "web"})), instance(2, &json!({"Name": "web"}))];
    let loaded = load_with("hostnames: ['tag:Name']\n", &both, "");
    assert_eq!(
        loaded.found,
        [
            "aws_ec2.yml:2: the instances i-001 and i-002 would both be the host `web` [name them by `hostnames` with something \
          that differs, such as `instance-id`]"
        ]
    );
    let loaded = load_with("hostnames: [private-ip-adress]\n", &both, "");
    assert_eq!(
        loaded.found,
        [
            "aws_ec2.yml:2: the instances i-001 and i-002 would both be the host `private-ip-adress` [`private-ip-adress` is \
          no attribute of an instance, so it is taken as it is; did you mean `private-ip-address`?]"
        ]
    );
}

#[test]
fn prefix_and_suffix_rename_every_variable_and_expressions_see_the_new_names() {
    let yaml = "
hostnames: [instance-id]
hostvars_prefix: aws_
hostvars_suffix: _x
use_contrib_script_compatible_ec2_tag_keys: true
compose: {kind: aws_instance_type_x}
";
    let loaded = load_with(yaml, &[instance(1, &json!({"a-b": "c"}))], "").fine();
    assert_eq!(loaded.var("i-001", "aws_private_ip_address_x"), "10.0.0.1");
    assert_eq!(loaded.var("i-001", "aws_ec2_tag_a-b_x"), "c");
    assert_eq!(loaded.var("i-001", "kind"), "m3.large");
    assert_eq!(loaded.var("i-001", "private_ip_address"), "-");
}

#[test]
fn composed_groups_and_keyed_groups_are_made_for_these_hosts_only() {
    let yaml = "
hostnames: [instance-id]
compose: {role: ec2_tags.role | default('none')}
groups: {masters: role == 'master', big-ones: 'true'}
keyed_groups:
  - {key: placement.region, parent_group: regions}
  - {key: role, prefix: role, separator: '-'}
  - {key: ec2_tags.team, prefix: team, default_value: nobody}
use_contrib_script_compatible_sanitization: true
";
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("other.ini"), "other role=master\n").unwrap();
    let instances = [instance(1, &json!({"role": "master", "team": ""})), instance(2, &json!({}))];
    let loaded = load_in(folder.path(), yaml, false, "", |_| {
        Ok(Ec2Answer { included: instances.to_vec(), ..Ec2Answer::default() })
    })
    .fine();
    assert_eq!(loaded.groups("i-001"), "_eu-west-1 aws_ec2 big-ones masters regions role-master team_nobody");
    assert_eq!(loaded.groups("i-002"), "_eu-west-1 aws_ec2 big-ones regions role-none");
    assert_eq!(loaded.groups("other"), "ungrouped");
}

#[test]
fn what_tags_hold_is_never_a_template() {
    let yaml = "hostnames: [instance-id]\ncompose: {copied: ec2_tags.evil, key: ec2_tags | last}\n";
    let tags = json!({"evil": "{{ lookup('pipe', 'id') }}", "{{ 1 + 1 }}": "x"});
    let loaded = load_with(yaml, &[instance(1, &tags)], "").fine();
    let host = loaded.inventory.host("i-001").unwrap();
    let Yaml::Map(tags) = &host.vars.get("ec2_tags").unwrap().value else { panic!("no mapping") };
    assert!(matches!(tags.get("evil").unwrap().value, Yaml::Unsafe(_)));
    assert!(matches!(host.vars.get("copied").unwrap().value, Yaml::Unsafe(_)));
    assert_eq!(loaded.var("i-001", "copied"), "{{ lookup('pipe', 'id') }}");
    assert_eq!(loaded.var("i-001", "key"), "{{ 1 + 1 }}");
}

#[test]
fn names_of_the_old_script_come_with_their_option() {
    let yaml = "hostnames: [private-ip-address]\nuse_contrib_script_compatible_names: true\n";
    let tags = json!({"Name": "m 1", "dcos_master": "", "dcos-x": "y/z"});
    let loaded = load_with(yaml, &[instance(1, &tags), instance(2, &json!({}))], "").fine();
    assert_eq!(
        loaded.groups("10.0.0.1"),
        "ami_1 aws_ec2 ec2 eu-west-1 eu-west-1a i-001 key_key_a security_group_dcos_nodes tag_Name_m_1 tag_dcos_master \
         tag_dcos_x_y_z type_m3_large vpc_id_vpc_1"
    );
    assert!(loaded.groups("10.0.0.2").contains(" tag_none "));
    for (name, value) in [
        ("ec2_id", "i-001"),
        ("ec2_ip_address", ""),
        ("ec2_private_ip_address", "10.0.0.1"),
        ("ec2_region", "eu-west-1"),
        ("ec2_placement", "eu-west-1a"),
        ("ec2_state", "running"),
        ("ec2_state_code", "16"),
        ("ec2_launch_time", "2026-01-02T03:04:05.000Z"),
        ("ec2_security_group_names", "dcos nodes"),
        ("ec2_tag_dcos_x", "y/z"),
        ("ec2_tag_dcos_master", ""),
        ("private_ip_address", "10.0.0.1"),
    ] {
        assert_eq!(loaded.var("10.0.0.1", name), value, "{name}");
    }
}

/// A bastion with a public address in each of two zones, and private hosts.
fn network() -> Vec<Json> {
    let mut all: Vec<Json> = (1..=6).map(|n| instance(n, &json!({}))).collect();
    for (at, zone) in [(0, "eu-west-1a"), (1, "eu-west-1b")] {
        all[at]["tags"] = json!({"role": "bastion"});
        all[at]["public_ip_address"] = format!("54.0.0.{}", at + 1).into();
        all[at]["placement"]["availability_zone"] = zone.into();
    }
    all[3]["placement"]["availability_zone"] = "eu-west-1b".into();
    all[4]["vpc_id"] = "vpc-2".into();
    all[5]["public_ip_address"] = "54.0.0.6".into();
    all
}

#[test]
fn private_hosts_go_through_the_bastion_of_their_network_and_zone() {
    let yaml = "
hostnames: [instance-id]
compose:
  ansible_ssh_common_args: \"'-o Compression=yes'\"
jump_host: {tag: role=bastion, user: ec2-user, port: 2222}
";
    let loaded = load_with(yaml, &network(), "").fine();
    let args = |host: &str| loaded.var(host, "ansible_ssh_common_args");
    let through = |address: &str| format!("-o Compression=yes -o ProxyJump=ec2-user@{address}:2222");
    assert_eq!(args("i-003"), through("54.0.0.1"));
    assert_eq!(args("i-004"), through("54.0.0.2"));
    for direct in ["i-001", "i-002", "i-005", "i-006"] {
        assert_eq!(args(direct), "-o Compression=yes", "{direct}");
        assert_eq!(loaded.var(direct, "ansible_host"), "-", "{direct}");
    }
    assert_eq!(loaded.var("i-003", "ansible_host"), "10.0.0.3");
}

#[test]
fn a_group_names_bastions_too_and_a_key_makes_it_a_proxy_command() {
    let yaml = "
hostnames: [instance-id]
groups: {jumps: ec2_tags.role is defined}
compose: {ansible_host: \"'node.example'\"}
jump_host: {group: jumps, private_key_file: ~/.ssh/jump key.pem}
";
    let loaded = load_with(yaml, &network(), "").fine();
    assert_eq!(
        loaded.var("i-003", "ansible_ssh_common_args"),
        "-o 'ProxyCommand=ssh -W [%h]:%p -o BatchMode=yes -i \"~/.ssh/jump key.pem\" 54.0.0.1'"
    );
    assert_eq!(loaded.var("i-003", "ansible_host"), "node.example");
}

#[test]
fn a_jump_host_that_is_not_there_is_told() {
    let mut all = network();
    let loaded = load_with("hostnames: [instance-id]\njump_host: {tag: nope}\n", &all, "");
    assert_eq!(loaded.found, ["aws_ec2.yml:3: no jump host: no instance with the tag `nope`"]);
    // Before there are instances nobody needs one.
    let nothing = load_with("hostnames: [instance-id]\njump_host: {tag: nope}\n", &[], "");
    assert_eq!(nothing.found, Vec::<String>::new());
    for bastion in &mut all[..2] {
        bastion["state"]["name"] = "stopped".into();
    }
    let loaded = load_with("hostnames: [instance-id]\njump_host: {tag: role=bastion}\n", &all, "");
    assert_eq!(
        loaded.found,
        ["aws_ec2.yml:3: no jump host: no running instance with the tag `role=bastion`"]
    );
    assert_eq!(loaded.var("i-003", "ansible_ssh_common_args"), "-");
}

#[test]
fn wrong_options_are_told_all_at_once_with_their_places() {
    let yaml = "
region: [a]
regions: [eu-west-1, 'x y']
hostname: [x]
hostnames: [{prefix: a}]
filters: [1]
include_filters: {a: b}
keyed_groups: [{key: a, sep: b}]
use_ssm_inventory: true
cache: yes please
jump_host: {user: -oProxyCommand=x}
access_key: AKIA
";
    let loaded = load_with(yaml, &[], "");
    assert_eq!(loaded.asked, []);
    let expected = [
        "aws_ec2.yml:5: the inventory plugin `amazon.aws.aws_ec2` has no option `hostname` [did you mean `hostnames`?]",
        "aws_ec2.yml:10: `use_ssm_inventory` is not available here [leave it out, or set it to false]",
        "aws_ec2.yml:8: `include_filters` must be a list of mappings",
        "aws_ec2.yml:7: filters must be a mapping of names to values [such as `tag:role: master`]",
        "aws_ec2.yml:3: `region` must be a text",
        "aws_ec2.yml:13: `access_key` and `secret_key` belong together",
        "aws_ec2.yml:4: `x y` is no name of a region [a region is called like `eu-west-1`]",
        "aws_ec2.yml:11: `cache` must be true or false",
        "aws_ec2.yml:9: `keyed_groups` has no option `sep` [it has key, prefix, separator, parent_group, default_value, \
         trailing_separator]",
        "aws_ec2.yml:6: an item of `hostnames` needs `name`",
        "aws_ec2.yml:12: `jump_host` needs either `tag` or `group`",
        "aws_ec2.yml:12: `user` can't be `-oProxyCommand=x`",
    ];
    assert_eq!(loaded.found, expected);
}

#[test]
fn options_see_variables_of_the_command_line_and_compose_only_when_asked() {
    let yaml = "hostnames: [instance-id]\nprofile: '{{ who }}'\ncompose: {a: who}\n";
    let loaded = load_with(yaml, &[instance(1, &json!({}))], "who=ops").fine();
    assert_eq!(loaded.asked[0].access.profile.as_deref(), Some("ops"));
    assert_eq!(loaded.var("i-001", "a"), "-");
    let loaded =
        load_with(&format!("{yaml}use_extra_vars: true\n"), &[instance(1, &json!({}))], "who=ops").fine();
    assert_eq!(loaded.var("i-001", "a"), "ops");
    let loaded = load_with(yaml, &[], "");
    assert_eq!(
        loaded.found,
        [
            "aws_ec2.yml:3: `who` is undefined [options may use variables of the command line (`-e`) and lookups]"
        ]
    );
}

#[test]
fn keys_in_the_file_reach_aws_and_never_print() {
    let yaml = "aws_access_key: AKIA1\nsecret_key: geheim\nsession_token: auch\niam_role_arn: arn:x\n";
    let loaded = load_with(yaml, &[], "").fine();
    let access = &loaded.asked[0].access;
    assert_eq!(access.secret_key.as_ref().unwrap().reveal(), "geheim");
    assert_eq!(access.assume_role.as_deref(), Some("arn:x"));
    let printed = format!("{access:?}");
    assert!(
        !printed.contains("geheim") && !printed.contains("auch") && !printed.contains("AKIA1"),
        "{printed}"
    );
}

#[test]
fn a_cache_answers_within_its_lifetime_and_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "hostnames: [instance-id]\ncache: true\ncache_connection: kept\ncache_prefix: p_\naccess_key: AKIA1\nsecret_key: geheim\n";
    let load = |yaml: &str, refresh: bool, number: u8| {
        let included = vec![instance(number, &json!({}))];
        load_in(folder.path(), yaml, refresh, "", |_| {
            Ok(Ec2Answer { included: included.clone(), ..Ec2Answer::default() })
        })
        .fine()
    };
    assert_eq!(load(yaml, false, 1).hosts(), "i-001");
    let kept = load(yaml, false, 2);
    assert_eq!((kept.hosts(), kept.asked.len()), ("i-001".to_owned(), 0));
    let other = load(&format!("{yaml}regions: [eu-west-1]\n"), false, 3);
    assert_eq!(other.hosts(), "i-003");
    assert_eq!(load(yaml, true, 4).hosts(), "i-004");
    assert_eq!(load(yaml, false, 5).hosts(), "i-004");
    let files: Vec<_> = fs_err::read_dir(folder.path().join("kept")).unwrap().map(|f| f.unwrap()).collect();
    assert_eq!(files.len(), 2);
    for file in &files {
        use std::os::unix::fs::PermissionsExt as _;
        assert!(file.file_name().to_str().unwrap().starts_with("p_aws_ec2_"));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs_err::read_to_string(file.path()).unwrap();
        assert!(!text.contains("geheim") && !text.contains("AKIA1"), "{text}");
        // As old as the lifetime says, or torn.
        let mut old: Json = serde_json::from_str(&text).unwrap();
        old["written"] = (old["written"].as_u64().unwrap() - 3600).into();
        fs_err::write(file.path(), old.to_string()).unwrap();
    }
    let forever = yaml.replace("cache: true", "cache: true\ncache_timeout: 0");
    assert_eq!(load(&forever, false, 6).hosts(), "i-004");
    assert_eq!(load(yaml, false, 7).hosts(), "i-007");
    for file in &files {
        fs_err::write(file.path(), "{").unwrap();
    }
    assert_eq!(load(yaml, false, 8).hosts(), "i-008");
}

#[test]
fn what_aws_refuses_is_told_at_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |_: &Ec2Query| {
        Err(Ec2Fault { message: "ec2:DescribeInstances: no".into(), help: Some("allow it".into()) })
    };
    let loaded = load_in(folder.path(), "", false, "", refused);
    assert_eq!(loaded.found, ["aws_ec2.yml:1: ec2:DescribeInstances: no [allow it]"]);
}

#[test]
fn without_a_way_to_aws_the_plugin_says_how_to_build_one() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("ec2.yml"), "plugin: aws_ec2\n").unwrap();
    let sources = Sources::new(folder.path().to_owned());
    let mut found = Diagnostics::default();
    let vault = Vault::default();
    let from = ["ec2.yml".to_owned()];
    let plugins = Plugins::default();
    load(
        &Request { sources: &from, directory: folder.path(), playbook_dir: None, vault: &vault, plugins },
        &sources,
        &mut found,
    );
    assert_eq!(found.list[0].message, "this `dcos-play` is built without AWS");
    assert!(found.list[0].help.as_ref().unwrap().contains("--features aws"));
}
