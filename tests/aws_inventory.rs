//! The inventory plugin `amazon.aws.aws_ec2` by the real binary against an emulator of AWS.

#[path = "support/emulator.rs"]
mod emulator;
#[path = "support/mod.rs"]
mod support;

use emulator::{Emulator, tag, tags};
use serde_json::{Map, Value as Json, json};
use support::{Project, Said};

/// Runs the binary with the emulator's account.
fn run(aws: &Emulator, project: &Project, args: &[&str]) -> Said {
    run_with(aws, project, &[], args)
}

fn run_with(aws: &Emulator, project: &Project, more: &[(&str, &str)], args: &[&str]) -> Said {
    let mut command = project.command(args);
    command.envs(aws.environment()).envs(more.iter().copied());
    let output = command.output().expect("the binary runs");
    Said {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn inventory(aws: &Emulator, project: &Project, file: &str) -> Json {
    let said = run(aws, project, &["inventory", "-i", file, "list", "--json"]);
    assert_eq!((said.status, said.err.as_str()), (0, ""), "{}", said.out);
    serde_json::from_str(&said.out).expect("JSON")
}

/// A VPC with a subnet in a zone.
fn network(aws: &Emulator, region: &str, second: u8) -> (String, String) {
    let cidr = format!("10.{second}.0.0/16");
    let made = aws.ec2(region, &[("Action", "CreateVpc"), ("CidrBlock", &cidr)]);
    let vpc = tag(&made, "vpcId").to_owned();
    let (cidr, zone) = (format!("10.{second}.1.0/24"), format!("{region}a"));
    let made = aws.ec2(
        region,
        &[("Action", "CreateSubnet"), ("VpcId", &vpc), ("CidrBlock", &cidr), ("AvailabilityZone", &zone)],
    );
    (vpc, tag(&made, "subnetId").to_owned())
}

/// Instances of one reservation; their ids.
fn launch(
    aws: &Emulator,
    region: &str,
    subnet: &str,
    count: usize,
    public: bool,
    with: &[(&str, &str)],
) -> Vec<String> {
    let (count, public) = (count.to_string(), public.to_string());
    let mut call = vec![
        ("Action".to_owned(), "RunInstances"),
        ("ImageId".to_owned(), "ami-12345678"),
        ("InstanceType".to_owned(), "m5.large"),
        ("MinCount".to_owned(), &count),
        ("MaxCount".to_owned(), &count),
        ("NetworkInterface.1.DeviceIndex".to_owned(), "0"),
        ("NetworkInterface.1.SubnetId".to_owned(), subnet),
        ("NetworkInterface.1.AssociatePublicIpAddress".to_owned(), &public),
    ];
    if !with.is_empty() {
        call.push(("TagSpecification.1.ResourceType".to_owned(), "instance"));
    }
    for (at, (key, value)) in with.iter().enumerate() {
        call.push((format!("TagSpecification.1.Tag.{}.Key", at + 1), *key));
        call.push((format!("TagSpecification.1.Tag.{}.Value", at + 1), *value));
    }
    let call: Vec<(&str, &str)> = call.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let made = aws.ec2(region, &call);
    tags(&made, "instanceId").map(str::to_owned).collect()
}

#[test]
fn aws_emulator_keeps_regions_apart() {
    let Some(aws) = Emulator::start() else { return };
    let (vpc, _) = network(&aws, "eu-west-1", 80);
    let list = [("Action", "DescribeVpcs"), ("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc.as_str())];
    assert_eq!(tag(&aws.ec2("eu-west-1", &list), "cidrBlock"), "10.80.0.0/16");
    assert!(!aws.ec2("us-east-1", &list).contains("<cidrBlock>"));
}

#[test]
fn three_hundred_instances_of_two_regions_come_page_by_page() {
    let Some(aws) = Emulator::start() else { return };
    let mut made = Vec::new();
    for (region, second) in [("eu-west-1", 80), ("us-east-2", 81)] {
        let (_, subnet) = network(&aws, region, second);
        for number in 0..30 {
            let kind = if number % 3 == 0 { "master" } else { "agent" };
            made.extend(launch(&aws, region, &subnet, 5, false, &[("kind", kind), ("dcos", "")]));
        }
    }
    assert_eq!(made.len(), 300);
    let project = Project::new();
    project.file(
        "aws_ec2.yml",
        "plugin: amazon.aws.aws_ec2
regions: [eu-west-1, us-east-2]
filters: {tag-key: dcos}
hostnames: [instance-id]
cache: true
keyed_groups:
  - {key: placement.region}
  - {key: ec2_tags, prefix: tag, trailing_separator: false, parent_group: tags}
",
    );
    // Pages of five reservations: six calls a region.
    let list = |more: &[(&str, &str)], args: &[&str]| {
        let small = [("__DCOS_PLAY_EC2_PAGE", "5")];
        let said = run_with(&aws, &project, &[&small, more].concat(), args);
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{}", said.out);
        serde_json::from_str::<Json>(&said.out).expect("JSON")
    };
    let wanted = ["inventory", "-i", "aws_ec2.yml", "list", "--json"];
    let found = list(&[], &wanted);
    made.sort();
    let hosts = |found: &Json, group: &str| -> Vec<String> {
        let list = found[group]["hosts"].as_array().cloned().unwrap_or_default();
        list.iter().map(|h| h.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(hosts(&found, "aws_ec2"), made);
    assert_eq!(hosts(&found, "_eu_west_1").len(), 150);
    assert_eq!(hosts(&found, "_us_east_2").len(), 150);
    assert_eq!(hosts(&found, "tag_kind_master").len(), 100);
    assert_eq!(hosts(&found, "tag_kind_agent").len(), 200);
    assert_eq!(hosts(&found, "tag_dcos").len(), 300);
    let mut parents: Vec<&str> =
        found["tags"]["children"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
    parents.sort_unstable();
    assert_eq!(parents, ["tag_dcos", "tag_kind_agent", "tag_kind_master"]);

    // One instance goes away: the cache doesn't know, the account does.
    aws.ec2(
        "eu-west-1",
        &[("Action", "TerminateInstances"), ("InstanceId.1", &hosts(&found, "_eu_west_1")[0])],
    );
    assert_eq!(list(&[], &wanted), found);
    let now = list(&[], &["inventory", "--refresh-cache", "-i", "aws_ec2.yml", "list", "--json"]);
    assert_eq!(hosts(&now, "aws_ec2").len(), 299);
    assert_eq!(list(&[], &wanted), now);
    // Other credentials are another account, which never sees what was kept for this one.
    let other = list(&[("AWS_ACCESS_KEY_ID", "AKIAOTHER")], &wanted);
    assert_eq!(hosts(&other, "aws_ec2").len(), 299);
}

/// A message as one line.
fn unwrapped(message: &str) -> String {
    message.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// Text that came from AWS, in the form of `ansible-inventory`.
fn data(text: &str) -> Json {
    json!({"__ansible_unsafe": text})
}

/// Two masters with public addresses in eu-west-1, an agent without one, and an instance nobody tagged.
fn small_world(aws: &Emulator) -> [Vec<String>; 3] {
    let (_, subnet) = network(aws, "eu-west-1", 80);
    let mut masters = launch(
        aws,
        "eu-west-1",
        &subnet,
        2,
        true,
        &[("Name", "web"), ("dcos_master", ""), ("role", "master")],
    );
    masters.sort();
    let agent =
        [("Name", "db-1"), ("role", "agent"), ("dcos-controller", ""), ("x:y", "q"), ("evil", "{{ 1 + 1 }}")];
    let agents = launch(aws, "eu-west-1", &subnet, 1, false, &agent);
    let others = launch(aws, "eu-west-1", &subnet, 1, false, &[]);
    [masters, agents, others]
}

// What is expected here is what `ansible-inventory` 2.19 printed with amazon.aws 10.1 for the same instances; it lists an
// empty `ungrouped` too. `ec2_tags` and `availability_zone_id` came with later versions of the collection.
#[test]
fn lists_graphs_and_hosts_are_what_ansible_inventory_prints() {
    let Some(aws) = Emulator::start() else { return };
    let [masters, agents, others] = small_world(&aws);
    let project = Project::new();
    project.file(
        "aws_ec2.yml",
        "plugin: amazon.aws.aws_ec2
regions: [eu-west-1]
hostnames: [instance-id]
keyed_groups:
  - {prefix: tag, key: tags, trailing_separator: false}
  - {key: placement.region, parent_group: regions}
  - {key: tags.role | default('none'), prefix: role, separator: '-'}
  - {key: instance_type, separator: ''}
  - {key: nothing.at.all, prefix: x}
compose:
  ansible_host: private_ip_address
  number: 1 + 1
  a_list: '[1, private_ip_address]'
groups:
  masters: tags.role is defined and tags.role == 'master'
  no-dash: private_ip_address is defined
",
    );
    let list = inventory(&aws, &project, "aws_ec2.yml");
    let mut all = [masters.clone(), agents.clone(), others.clone()].concat();
    all.sort();
    let mut groups: Map<String, Json> = list.as_object().expect("groups").clone();
    let mut meta = groups.remove("_meta").expect("variables");
    let mut top: Vec<String> = groups["all"]["children"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c.as_str().unwrap().to_owned())
        .collect();
    groups.remove("all");
    top.sort_unstable();
    assert_eq!(
        top.join(" "),
        "aws_ec2 m5_large masters no_dash regions role_agent role_master role_none tag_Name_db_1 tag_Name_web \
         tag_dcos_controller tag_dcos_master tag_evil____1___1___ tag_role_agent tag_role_master tag_x_y_q"
    );
    assert_eq!(
        Json::Object(groups),
        json!({
            "_eu_west_1": {"hosts": all},
            "aws_ec2": {"hosts": all},
            "m5_large": {"hosts": all},
            "masters": {"hosts": masters},
            "no_dash": {"hosts": all},
            "regions": {"children": ["_eu_west_1"]},
            "role_agent": {"hosts": agents},
            "role_master": {"hosts": masters},
            "role_none": {"hosts": others},
            "tag_Name_db_1": {"hosts": agents},
            "tag_Name_web": {"hosts": masters},
            "tag_dcos_controller": {"hosts": agents},
            "tag_dcos_master": {"hosts": masters},
            "tag_evil____1___1___": {"hosts": agents},
            "tag_role_agent": {"hosts": agents},
            "tag_role_master": {"hosts": masters},
            "tag_x_y_q": {"hosts": agents},
        })
    );

    let vars = meta["hostvars"][&agents[0]].take();
    let tags = json!({
        "Name": data("db-1"),
        "dcos-controller": data(""),
        "evil": data("{{ 1 + 1 }}"),
        "role": data("agent"),
        "x:y": data("q"),
    });
    for (name, value) in [
        ("a_list", json!([1, data("10.80.1.6")])),
        ("ami_launch_index", json!(0)),
        ("ansible_host", data("10.80.1.6")),
        ("ebs_optimized", json!(false)),
        ("ec2_tags", tags.clone()),
        ("instance_id", data(&agents[0])),
        ("instance_type", data("m5.large")),
        ("monitoring", json!({"state": data("disabled")})),
        ("number", json!(2)),
        ("private_ip_address", data("10.80.1.6")),
        ("requester_id", data("")),
        ("state", json!({"code": 16, "name": data("running")})),
        ("tags", tags),
    ] {
        assert_eq!(vars[name], value, "{name}");
    }
    assert!(vars.get("public_ip_address").is_none());
    assert_eq!(vars["placement"]["region"], data("eu-west-1"));
    assert_eq!(vars["placement"]["availability_zone_id"], data("euw1-az3"));
    // A time is no text, so it has no mark.
    let launched = vars["launch_time"].as_str().expect("a time");
    assert!(launched.ends_with("+00:00") && launched.contains('T'), "{launched}");

    let said = run(&aws, &project, &["inventory", "-i", "aws_ec2.yml", "host", &agents[0], "--json"]);
    assert_eq!(serde_json::from_str::<Json>(&said.out).expect("JSON"), vars);
    let said = run(&aws, &project, &["inventory", "-i", "aws_ec2.yml", "graph", "masters"]);
    assert_eq!(said.out, format!("@masters:\n  |--{}\n  |--{}\n", masters[0], masters[1]));
}

#[test]
fn without_regions_all_of_the_account_are_asked() {
    let Some(aws) = Emulator::start() else { return };
    let mut made = Vec::new();
    for (region, second) in [("eu-west-1", 80), ("ap-southeast-2", 81)] {
        let (_, subnet) = network(&aws, region, second);
        made.extend(launch(&aws, region, &subnet, 1, false, &[("Name", region)]));
    }
    let project = Project::new();
    project.file("aws_ec2.yml", "plugin: aws_ec2\nhostnames: ['tag:Name']\n");
    let found = inventory(&aws, &project, "aws_ec2.yml");
    let mut hosts: Vec<&str> =
        found["aws_ec2"]["hosts"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["ap-southeast-2", "eu-west-1"]);
}

#[test]
fn a_missing_permission_is_named_with_the_identity_that_lacks_it() {
    let Some(aws) = Emulator::start() else { return };
    let (iam, version) = ("iam", "2010-05-08");
    aws.call(iam, version, "us-east-1", &[("Action", "CreateUser"), ("UserName", "ada")]);
    let key = aws.call(iam, version, "us-east-1", &[("Action", "CreateAccessKey"), ("UserName", "ada")]);
    aws.check_permissions();
    let project = Project::new();
    project.file("aws_ec2.yml", "plugin: aws_ec2\nregions: [eu-west-1]\n");
    let ada = [
        ("AWS_ACCESS_KEY_ID", tag(&key, "AccessKeyId")),
        ("AWS_SECRET_ACCESS_KEY", tag(&key, "SecretAccessKey")),
    ];
    let args = ["inventory", "-i", "aws_ec2.yml", "list"];
    let said = run_with(&aws, &project, &ada, &args);
    assert_eq!(said.status, 5, "{}", said.err);
    let words = unwrapped(&said.err);
    assert!(words.contains("error: ec2:DescribeInstances: "), "{words}");
    assert!(words.contains("user/ada"), "{words}");
    assert!(words.contains("[region eu-west-1]"), "{words}");
    assert!(
        words.contains("help: allow `ec2:DescribeInstances` to arn:aws:iam::123456789012:user/ada"),
        "{words}"
    );

    // Where that is allowed, the region is left out and told; standard output stays clean.
    project.file("aws_ec2.yml", "plugin: aws_ec2\nregions: [eu-west-1]\nstrict_permissions: false\n");
    let said = run_with(&aws, &project, &ada, &args);
    assert_eq!((said.status, said.out.trim()), (0, ""), "{}", said.err);
    assert!(said.err.contains("the region eu-west-1 is left out: ec2:DescribeInstances: "), "{}", said.err);

    // A key that AWS doesn't know: there is no identity, so the message says where the key comes from.
    project.file("aws_ec2.yml", "plugin: aws_ec2\nregions: [eu-west-1]\n");
    let said = run_with(&aws, &project, &[("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")], &args);
    assert_eq!(said.status, 5, "{}", said.err);
    assert!(said.err.contains("AKIAUNKNOWN of AWS_ACCESS_KEY_ID"), "{}", said.err);
    assert!(!said.err.contains("geheim-emulator"), "{}", said.err);
}

#[test]
fn a_profile_of_the_file_counts_more_than_keys_of_the_environment() {
    let project = Project::new();
    project.file("aws_ec2.yml", "plugin: aws_ec2\nregions: [eu-west-1]\nprofile: nobody\n");
    let mut command = project.command(&["inventory", "-i", "aws_ec2.yml", "list"]);
    // Nothing listens there, and nothing is asked: the profile isn't there.
    let settings = [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "AKIAOTHER"),
        ("AWS_SECRET_ACCESS_KEY", "geheim"),
    ];
    let output = command.envs(settings).output().expect("the binary runs");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{err}");
    let words = unwrapped(&err);
    assert!(words.contains("asked as the profile `nobody` of the inventory"), "{words}");
}

#[test]
fn an_endpoint_that_is_not_there_is_told_with_its_cause() {
    let project = Project::new();
    project.file("aws_ec2.yml", "plugin: aws_ec2\nregions: [eu-west-1]\n");
    let mut command = project.command(&["inventory", "-i", "aws_ec2.yml", "list"]);
    let settings = [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "AKIAOTHER"),
        ("AWS_SECRET_ACCESS_KEY", "geheim"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ];
    let output = command.envs(settings).output().expect("the binary runs");
    let words = unwrapped(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(5), "{words}");
    assert!(words.contains("ec2:DescribeInstances: ") && words.contains("refused"), "{words}");
    assert!(words.contains("[region eu-west-1]") && words.contains("is the network there"), "{words}");
}

#[test]
fn the_shipped_inventory_makes_the_groups_of_the_playbooks() {
    let Some(aws) = Emulator::start() else { return };
    let (vpc, subnet) = network(&aws, "eu-west-1", 80);
    let tagged = |role: &'static str| [("role", role), ("dcos-play:owner", "c1")];
    for (role, count, public) in [
        ("bootstrap", 1, false),
        ("master", 3, false),
        ("private_agent", 2, false),
        ("public_agent", 1, true),
        ("jump_host", 1, true),
    ] {
        launch(&aws, "eu-west-1", &subnet, count, public, &tagged(role));
    }
    launch(&aws, "eu-west-1", &subnet, 1, true, &[("role", "master"), ("dcos-play:owner", "c2")]);
    let project = Project::new();
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory/ec2.yml");
    let shipped = shipped.display().to_string();
    let args = |view: &[&'static str]| {
        let mut args = vec!["inventory", "-i", &shipped, "-e", "cluster_name=c1"];
        args.extend(view);
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let list = args(&["list", "--json"]);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let said = run(&aws, &project, &list);
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    let found: Json = serde_json::from_str(&said.out).expect("JSON");
    let count = |group: &str| found[group]["hosts"].as_array().map_or(0, Vec::len);
    let counts =
        ["bootstrap", "masters", "private_agents", "public_agents", "agents", "dcos", "aws_ec2"].map(count);
    assert_eq!(counts, [1, 3, 2, 1, 3, 7, 8]);
    let vars = &found["_meta"]["hostvars"];
    let jump = vars.as_object().unwrap().iter().find(|(name, _)| name.starts_with("jump_host-")).unwrap().1;
    let way =
        format!("-o ProxyJump=centos@{}", jump["public_ip_address"]["__ansible_unsafe"].as_str().unwrap());
    for (name, vars) in vars.as_object().unwrap() {
        let private = name.split_once('-').unwrap().1;
        assert_eq!(vars["private_ip"], data(private));
        assert_eq!(vars["vpc_id"], data(&vpc));
        if name.starts_with("public_agent-") || name.starts_with("jump_host-") {
            assert_eq!(vars["ansible_host"], vars["public_ip_address"]);
            assert!(vars.get("ansible_ssh_common_args").is_none());
        } else {
            assert_eq!(vars["ansible_host"], data(private));
            assert_eq!(vars["ansible_ssh_common_args"], data(&way));
        }
    }
    // The cache lies in the user's folder and holds no secret.
    let kept = project.home().join(".cache/dcos-play/inventory");
    let files: Vec<_> = fs_err::read_dir(&kept).expect("the cache").map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let text = fs_err::read_to_string(&files[0]).unwrap();
    assert!(text.contains(&vpc) && !text.contains("geheim-emulator") && !text.contains("AKIAEMULATOR"));
}
