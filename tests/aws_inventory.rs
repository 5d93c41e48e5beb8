//! The inventory plugin `amazon.aws.aws_ec2` by the real binary against an emulator of AWS.

#[path = "support/emulator.rs"]
mod emulator;
#[path = "support/mod.rs"]
mod support;

use emulator::{Emulator, tag, tags};
use serde_json::{Value as Json, json};
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
        ("TagSpecification.1.ResourceType".to_owned(), "instance"),
    ];
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
