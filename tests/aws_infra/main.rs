//! Infrastructure plays against an emulator of AWS: the program as users run it, and a proxy that breaks calls.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

mod emulator;
#[path = "../lab/mod.rs"]
mod lab;
mod site;
mod site_lab;
mod strict;
mod tasks;

use emulator::{Emulator, Fault};

/// One of every kind, with references between them.
const WORLD: &str = r#"
- name: World
  vars: {data: "echo hello"}
  infrastructure:
    name: "{{ owner }}"
    region: eu-west-1
    replace: "{{ leaving | default([]) }}"
    resources:
      vpc: {ec2_vpc_net: {cidr_block: "{{ network | default('10.0.0.0/16') }}"}}
      gate: {ec2_vpc_igw: {vpc_id: "{{ vpc.id }}"}}
      public: {ec2_vpc_subnet: {vpc_id: "{{ vpc.id }}", cidr: 10.0.0.0/24, map_public: true}}
      private: {ec2_vpc_subnet: {vpc_id: "{{ vpc.id }}", cidr: 10.0.1.0/24}}
      nat: {ec2_vpc_nat_gateway: {subnet_id: "{{ public.id }}"}}
      fixed: {ec2_eip: {}}
      out: {ec2_vpc_route_table: {vpc_id: "{{ vpc.id }}", subnets: ["{{ public.id }}"], routes: [{dest: 0.0.0.0/0, gateway_id: "{{ gate.id }}"}]}}
      inside: {ec2_vpc_route_table: {vpc_id: "{{ vpc.id }}", subnets: ["{{ private.id }}"], routes: [{dest: 0.0.0.0/0, nat_gateway_id: "{{ nat.id }}"}]}}
      door: {ec2_security_group: {description: door, vpc_id: "{{ vpc.id }}"}}
      nodes:
        ec2_security_group:
          name: "{{ owner }}-nodes"
          description: nodes
          vpc_id: "{{ vpc.id }}"
          rules:
            - {proto: all, group_name: "{{ owner }}-nodes"}
            - {ports: [80, 443], group_id: "{{ door.id }}"}
            - {ports: 22, cidr_ip: 0.0.0.0/0}
      key: {ec2_key: {key_material: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC1Hn8Zl0PbGxAEhZxjQ1sCXDTX8bJGjVkXIcZ7hM3Ui ada}}
      bucket: {s3_bucket: {versioning: true, force: true}}
      role:
        iam_role:
          policy_json: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "arn:aws:s3:::{{ bucket.name }}/*"}]}
      masters:
        ec2_instance:
          count: "{{ masters_wanted | default(2) }}"
          image_id: ami-785db401
          instance_type: "{{ type | default('m5.large') }}"
          vpc_subnet_id: "{{ private.id }}"
          security_groups: ["{{ nodes.id }}"]
          key_name: "{{ key.name }}"
          iam_instance_profile: "{{ role.instance_profile }}"
          user_data: "{{ data }}"
          volumes: [{device_name: /dev/sda1, volume_size: 20}]
          tags: {role: master}
      lb:
        elb_classic_lb:
          listeners: [{protocol: tcp, load_balancer_port: 80, instance_port: 80}]
          subnets: ["{{ public.id }}"]
          security_group_ids: ["{{ door.id }}"]
          scheme: internal
          instance_ids: "{{ masters.instance_ids }}"
          health_check: {ping_protocol: tcp, ping_port: 5050, healthy_threshold: 2, response_timeout: 5}
          idle_timeout: 120
"#;

fn world() -> Emulator {
    let emulator = Emulator::start();
    std::fs::write(emulator.folder.path().join("world.yml"), WORLD).unwrap();
    emulator
}

fn owner(name: &str) -> String {
    format!("owner={name}")
}

fn run(emulator: &Emulator, name: &str, more: &[&str]) -> (Option<i32>, String) {
    emulator.play(&[&["run", "world.yml", "-e", &owner(name)], more].concat())
}

fn plan(emulator: &Emulator, name: &str, more: &[&str]) -> (Option<i32>, String) {
    emulator.play(&[&["plan", "world.yml", "-e", &owner(name)], more].concat())
}

/// What belongs to an owner, without ids: what `destroy` would ask about.
fn objects(emulator: &Emulator, name: &str) -> Vec<String> {
    let (_, text) = emulator.play(&["destroy", "world.yml", "-e", &owner(name)]);
    let lines = text.lines().filter_map(|l| l.strip_prefix("- delete "));
    let mut all: Vec<String> =
        lines.filter_map(|l| l.rsplit_once(' ')).map(|(what, _)| what.to_owned()).collect();
    all.sort();
    all
}

fn destroy(emulator: &Emulator, name: &str) {
    let (status, text) = emulator.play(&["destroy", "world.yml", "-y", "-e", &owner(name)]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.ends_with(&format!("nothing is left of `{name}`\n")), "{text}");
}

/// Nothing but what every account has from the start.
fn nothing_is_left(emulator: &Emulator) {
    for (action, element, from_start) in [
        ("DescribeVpcs", "vpcId", 1),
        ("DescribeInternetGateways", "internetGatewayId", 0),
        ("DescribeAddresses", "allocationId", 0),
        ("DescribeKeyPairs", "keyName", 0),
        ("DescribeSecurityGroups", "groupDescription", 1),
    ] {
        assert_eq!(emulator.count(action, element), from_start, "{action}");
    }
    assert_eq!(emulator.elsewhere(), Vec::<String>::new());
}

#[test]
fn a_world_is_made_twice_with_nothing_to_do_in_between_and_nothing_stays() {
    let emulator = world();
    for _ in 0..2 {
        let (status, text) = plan(&emulator, "a", &[]);
        assert_eq!(status, Some(3), "{text}");
        assert!(text.contains("    vpc_id: (known when applied)\n"), "{text}");
        assert!(text.ends_with("16 to create, 0 to update, 0 to replace, 0 to delete\n"), "{text}");
        emulator.breaks(Fault::None);
        let (status, text) = run(&emulator, "a", &["--check"]);
        assert_eq!(status, Some(0), "{text}");
        assert_eq!(emulator.calls(), Vec::<String>::new());
        let (status, text) = run(&emulator, "a", &[]);
        assert_eq!(status, Some(0), "{text}");
        assert_eq!(plan(&emulator, "a", &[]).0, Some(0), "{}", plan(&emulator, "a", &[]).1);
        emulator.breaks(Fault::None);
        let (status, text) = run(&emulator, "a", &[]);
        assert_eq!((status, emulator.calls()), (Some(0), Vec::new()), "{text}");
        destroy(&emulator, "a");
        nothing_is_left(&emulator);
    }
}

#[test]
fn a_run_that_is_killed_at_any_call_is_repeated_without_a_double_or_an_orphan() {
    let emulator = world();
    emulator.breaks(Fault::None);
    assert_eq!(run(&emulator, "whole", &[]).0, Some(0));
    let wanted = objects(&emulator, "whole");
    let calls = emulator.calls().len();
    assert!(calls > 30, "{calls}");
    let (mut names, mut killed) = (vec!["whole".to_owned()], 0);
    for at in 1..=calls {
        let name = format!("k{at}");
        emulator.breaks(Fault::KillAt(at));
        let (status, text) = run(&emulator, &name, &[]);
        // Calls run side by side, so that one run may need fewer than another.
        killed += usize::from(status.is_none());
        assert!(status.is_none() || at + 3 > calls, "call {at}: {text}");
        let before = emulator.calls();
        emulator.breaks(Fault::None);
        let (status, text) = run(&emulator, &name, &[]);
        assert_eq!(status, Some(0), "call {at} {:?}: {text}", before.get(at - 1));
        assert_eq!(objects(&emulator, &name), wanted, "call {at} {:?}", before.get(at - 1));
        let (status, text) = plan(&emulator, &name, &[]);
        assert_eq!(status, Some(0), "call {at}: {text}");
        names.push(name);
    }
    assert!(killed + 3 > calls, "{killed} of {calls}");
    for name in names {
        destroy(&emulator, &name);
    }
    nothing_is_left(&emulator);
}

#[test]
fn lost_replies_and_throttling_change_nothing_but_the_time_it_takes() {
    let emulator = world();
    assert_eq!(run(&emulator, "whole", &[]).0, Some(0));
    let wanted = objects(&emulator, "whole");
    for (fault, name) in [(Fault::LoseReplies, "lost"), (Fault::Throttle, "slow")] {
        emulator.breaks(fault);
        let (status, text) = run(&emulator, name, &[]);
        assert_eq!(status, Some(0), "{text}");
        emulator.breaks(Fault::None);
        assert_eq!(objects(&emulator, name), wanted);
        assert_eq!(plan(&emulator, name, &[]).0, Some(0), "{}", plan(&emulator, name, &[]).1);
        emulator.breaks(fault);
        destroy(&emulator, name);
    }
    emulator.breaks(Fault::None);
    destroy(&emulator, "whole");
    nothing_is_left(&emulator);
}

#[test]
fn changes_are_made_in_place_or_by_replacement_that_must_be_allowed() {
    let emulator = world();
    assert_eq!(run(&emulator, "a", &[]).0, Some(0));
    // In place: a type, by stop and start.
    let (status, text) = plan(&emulator, "a", &["-e", "type=m5.xlarge"]);
    assert_eq!(status, Some(3));
    assert!(text.contains("    instance_type: \"m5.large\" -> \"m5.xlarge\"\n"), "{text}");
    assert!(text.ends_with("0 to create, 2 to update, 0 to replace, 0 to delete\n"), "{text}");
    emulator.breaks(Fault::None);
    let (status, text) = run(&emulator, "a", &["-e", "type=m5.xlarge"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(!emulator.calls().contains(&"RunInstances".to_owned()));
    // Fewer: the last one goes, and the load balancer's members with it.
    let fewer = ["-e", "type=m5.xlarge", "-e", "masters_wanted=1"];
    let (status, text) = run(&emulator, "a", &fewer);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("(item=delete masters[1] (ec2_instance) i-"), "{text}");
    assert_eq!(plan(&emulator, "a", &fewer).0, Some(0));
    // One of them by name.
    let by_name = [&fewer[..], &["--replace", "masters"]].concat();
    let (status, text) = run(&emulator, "a", &by_name);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("(item=create masters (ec2_instance) i-"), "{text}");
    // By its id, as the play says; that one is gone then, and a second run has nothing to do.
    let id = text.split("(item=create masters (ec2_instance) ").nth(1).unwrap();
    let id: String = id.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let leaving = format!("{{\"leaving\": [\"{id}\"]}}");
    let by_id = [&fewer[..], &["-e", &leaving]].concat();
    let (status, text) = plan(&emulator, "a", &by_id);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.ends_with(" 1 to replace, 0 to delete\n"), "{text}");
    let (status, text) = run(&emulator, "a", &by_id);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(&format!("(item=delete masters (ec2_instance) {id}")), "{text}");
    assert!(text.contains("(item=create masters (ec2_instance) i-"), "{text}");
    assert_eq!(plan(&emulator, "a", &by_id).0, Some(0));
    // A replacement of what they stand on takes them along.
    let elsewhere = [&fewer[..], &["-e", "network=10.0.0.0/20"]].concat();
    emulator.breaks(Fault::None);
    let (status, text) = run(&emulator, "a", &elsewhere);
    assert_eq!((status, emulator.calls()), (Some(2), Vec::new()), "{text}");
    assert!(text.contains("replacing `masters` needs `--allow-replace`: what is on them is lost"), "{text}");
    let (status, text) = run(&emulator, "a", &[&elsewhere[..], &["--allow-replace"]].concat());
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(plan(&emulator, "a", &elsewhere).0, Some(0));
    destroy(&emulator, "a");
    nothing_is_left(&emulator);
}

#[test]
fn instances_that_left_the_playbook_go_only_when_that_is_allowed() {
    let emulator = world();
    let book = |resources: &str| {
        let text = format!(
            "- infrastructure:\n    name: a\n    region: eu-west-1\n    resources:\n      vpc: {{ec2_vpc_net: {{cidr_block: 10.0.0.0/16}}}}\n{resources}"
        );
        std::fs::write(emulator.folder.path().join("some.yml"), text).unwrap();
    };
    let subnet = "      net: {ec2_vpc_subnet: {vpc_id: \"{{ vpc.id }}\", cidr: 10.0.0.0/24}}\n";
    let node = "      node: {when: wanted | default(true) | bool, ec2_instance: {count: \"{{ many | default(2) }}\", image_id: ami-785db401, instance_type: m5.large, vpc_subnet_id: \"{{ net.id }}\"}}\n";
    book(&format!("{subnet}{node}"));
    let (status, text) = emulator.play(&["run", "some.yml"]);
    assert_eq!(status, Some(0), "{text}");
    // Fewer are said plainly.
    let (status, text) = emulator.play(&["run", "some.yml", "-e", "many=1"]);
    assert_eq!((status, emulator.running()), (Some(0), 1), "{text}");
    emulator.breaks(Fault::None);
    let (status, text) = emulator.play(&["run", "some.yml", "-e", "wanted=no"]);
    assert_eq!((status, emulator.calls()), (Some(2), Vec::new()), "{text}");
    book(subnet);
    let (status, text) = emulator.play(&["plan", "some.yml"]);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("- delete node (ec2_instance) i-"), "{text}");
    let (status, text) = emulator.play(&["run", "some.yml"]);
    assert_eq!((status, emulator.calls()), (Some(2), Vec::new()), "{text}");
    assert!(text.contains("deleting `node` needs `--allow-replace`"), "{text}");
    let (status, text) = emulator.play(&["run", "some.yml", "--allow-replace"]);
    assert_eq!((status, emulator.running()), (Some(0), 0), "{text}");
}

#[test]
fn a_run_that_is_killed_at_any_call_can_be_destroyed_at_once() {
    let emulator = world();
    emulator.breaks(Fault::None);
    assert_eq!(run(&emulator, "whole", &[]).0, Some(0));
    let calls = emulator.calls().len();
    destroy(&emulator, "whole");
    for at in 1..calls {
        emulator.breaks(Fault::KillAt(at));
        // A name of its own: the token of an instance that is gone would be one more call.
        let name = format!("k{at}");
        let (status, text) = run(&emulator, &name, &[]);
        assert!(status.is_none() || at + 3 > calls, "call {at}: {text}");
        emulator.breaks(Fault::None);
        destroy(&emulator, &name);
        nothing_is_left(&emulator);
        assert_eq!(emulator.running(), 0, "call {at}");
    }
}

#[test]
fn an_object_that_somebody_else_made_is_ours_once_it_carries_the_tags() {
    let emulator = Emulator::start();
    let book = "
- hosts: localhost
  gather_facts: false
  tasks:
    - ec2_vpc_net: {name: old, cidr_block: 10.3.0.0/16}
      register: net
    - ec2_tag: {resource: '{{ net.vpc.id }}', tags: {'dcos-play:owner': a, 'dcos-play:resource': vpc, 'dcos-play:index': '0'}}
";
    let declared = "- infrastructure: {name: a, region: eu-west-1, resources: {vpc: {ec2_vpc_net: {cidr_block: 10.3.0.0/16, tags: {Name: old}}}}}\n";
    for (name, text) in [("made.yml", book), ("declared.yml", declared)] {
        std::fs::write(emulator.folder.path().join(name), text).unwrap();
    }
    assert_eq!(emulator.play(&["plan", "declared.yml"]).0, Some(3));
    let (status, text) = emulator.play(&["run", "made.yml"]);
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = emulator.play(&["plan", "declared.yml"]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(emulator.count("DescribeVpcs", "vpcId"), 2);
}

/// Plain emulators let everything come and go at once, and let anything be deleted.
#[test]
fn what_takes_its_time_is_waited_for_and_what_is_in_use_goes_last() {
    let emulator = world();
    emulator.breaks(Fault::Strict);
    let (status, text) = run(&emulator, "a", &[]);
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = plan(&emulator, "a", &[]);
    assert_eq!(status, Some(0), "{text}");
    // The proxy itself refuses what AWS refuses.
    let vpc = emulator.ec2("Action=DescribeSubnets&Filter.1.Name=tag:dcos-play:owner&Filter.1.Value.1=a");
    let vpc = vpc.split("<vpcId>").nth(1).and_then(|rest| rest.split('<').next()).unwrap().to_owned();
    assert!(emulator.ec2(&format!("Action=DeleteVpc&VpcId={vpc}")).contains("DependencyViolation"));
    let (status, text) = run(&emulator, "a", &["-e", "type=m5.xlarge", "-e", "masters_wanted=1"]);
    assert_eq!(status, Some(0), "{text}");
    destroy(&emulator, "a");
    // Groups name each other and go side by side; nothing else of ours is ever in the way.
    let refused: Vec<String> =
        emulator.refused().into_iter().filter(|call| call != "DeleteSecurityGroup").collect();
    assert_eq!(refused, ["DeleteVpc"]);
    emulator.breaks(Fault::None);
    nothing_is_left(&emulator);
    assert_eq!(emulator.running(), 0);
}

#[test]
fn a_teardown_deletes_what_uses_before_what_is_used() {
    let emulator = world();
    assert_eq!(run(&emulator, "a", &[]).0, Some(0));
    emulator.breaks(Fault::None);
    destroy(&emulator, "a");
    let calls = emulator.calls();
    let at = |call: &str| calls.iter().position(|c| c == call).unwrap_or_else(|| panic!("{call}: {calls:?}"));
    let last = |call: &str| calls.iter().rposition(|c| c == call).unwrap();
    for (first, then) in [
        ("DeleteNatGateway", "ReleaseAddress"),
        ("TerminateInstances", "DetachInternetGateway"),
        ("ReleaseAddress", "DetachInternetGateway"),
        ("DeleteLoadBalancer", "DeleteSecurityGroup"),
        ("DeleteRouteTable", "DeleteSubnet"),
        ("DeleteSecurityGroup", "DeleteVpc"),
        ("DeleteSubnet", "DeleteVpc"),
        ("RemoveRoleFromInstanceProfile", "DeleteRole"),
    ] {
        assert!(last(first) < at(then), "{first} before {then}: {calls:?}");
    }
}

#[test]
fn the_shipped_infrastructure_is_made_in_every_size_and_goes_again() {
    let emulator = Emulator::start();
    let folder = emulator.folder.path();
    let book = format!("{}/playbooks/infrastructure.yml", env!("CARGO_MANIFEST_DIR"));
    let key = folder.join("key.pub");
    std::fs::write(
        &key,
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC1Hn8Zl0PbGxAEhZxjQ1sCXDTX8bJGjVkXIcZ7hM3Ui ada\n",
    )
    .unwrap();
    let key = format!("ssh_public_key_file={}", key.display());
    let (status, text) = emulator.play(&["plan", &book, "-e", "cluster_name=dc"]);
    assert_eq!(status, Some(5), "{text}");
    let all =
        ["-e", "cluster_name=dc", "-e", "aws_image=ami-785db401", "-e", "admin_cidr=10.9.0.0/16", "-e", &key];
    for (size, dynamic, instances) in [("minimal", true, 5), ("small", false, 9), ("recommended", false, 12)]
    {
        let (size, dynamic) = (format!("size={size}"), format!("dynamic_masters={dynamic}"));
        let words = [&all[..], &["-e", &size, "-e", &dynamic]].concat();
        let (status, text) = emulator.play(&[&["run", &book], &words[..]].concat());
        assert_eq!(status, Some(0), "{size}: {text}");
        let made = text.lines().filter(|l| l.contains("create ") && l.contains("(ec2_instance)"));
        assert_eq!(made.count(), instances, "{size}: {text}");
        let (status, text) = emulator.play(&[&["plan", &book], &words[..]].concat());
        assert_eq!(status, Some(0), "{size}: {text}");
        let (status, text) = emulator.play(&[&["destroy", "-y", &book], &words[..]].concat());
        assert_eq!(status, Some(0), "{size}: {text}");
    }
    nothing_is_left(&emulator);
}
