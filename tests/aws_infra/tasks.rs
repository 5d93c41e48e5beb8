//! Modules of AWS as ordinary tasks.

use crate::emulator::{Emulator, Fault};

fn play(emulator: &Emulator, tasks: &str, more: &[&str]) -> (Option<i32>, String) {
    let book = format!("- hosts: localhost\n  gather_facts: false\n  tasks:\n{tasks}");
    std::fs::write(emulator.folder.path().join("tasks.yml"), book).unwrap();
    emulator.play(&[&["run", "tasks.yml"], more].concat())
}

/// As roles of years ago have it: module by module, results handed on, old names among the new ones.
const STACK: &str = r#"
    - amazon.aws.ec2_vpc_net: {name: t, cidr_block: 10.5.0.0/16, region: eu-west-1, tags: {team: ops}}
      register: net
    - ec2_vpc_igw: {vpc_id: "{{ net.vpc.id }}"}
      register: gate
    - ec2_vpc_subnet: {vpc_id: "{{ net.vpc.id }}", cidr: 10.5.1.0/24, map_public: true, resource_tags: {Name: one}}
      register: subnet
    - ec2_vpc_nat_gateway: {subnet_id: "{{ subnet.subnet.id }}", if_exist_do_not_create: true, wait: true, tags: {Name: out}}
      register: nat
    - ec2_vpc_route_table:
        vpc_id: "{{ net.vpc.id }}"
        tags: {Name: public}
        subnets: ["{{ subnet.subnet.id }}"]
        routes: [{dest: 0.0.0.0/0, gateway_id: igw}]
      register: routes
    - ec2_group:
        name: nodes
        description: nodes
        vpc_id: "{{ net.vpc.id }}"
        rules: [{proto: tcp, ports: [22, 80], cidr_ip: 0.0.0.0/0}, {proto: all, group_name: nodes}]
      register: group
    - ec2_key: {name: ada, key_material: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC1Hn8Zl0PbGxAEhZxjQ1sCXDTX8bJGjVkXIcZ7hM3Ui ada}
    - ec2:
        image: ami-785db401
        instance_type: m5.large
        key_name: ada
        group: nodes
        vpc_subnet_id: "{{ subnet.subnet.id }}"
        exact_count: 2
        count_tag: dcos_master
        instance_tags: {dcos_master: '', python: ''}
        wait: true
      register: old
    - ec2_instance:
        name: agent
        image_id: ami-785db401
        instance_type: m5.large
        vpc_subnet_id: "{{ subnet.subnet.id }}"
        security_groups: [nodes]
        tags: {role: agent}
      register: new
    - ec2_elb_lb:
        name: front
        state: present
        listeners: [{protocol: tcp, load_balancer_port: 80, instance_port: 80}]
        subnets: ["{{ subnet.subnet.id }}"]
        security_group_ids: ["{{ group.group_id }}"]
        instance_ids: "{{ new.instance_ids }}"
      register: lb
    - add_host: {name: "{{ item.private_ip }}", groups: masters, ec2_id: "{{ item.id }}"}
      loop: "{{ old.tagged_instances }}"
    - ec2_vpc_subnet_facts: {filters: {vpc_id: "{{ net.vpc.id }}"}}
      register: subnets
    - ec2_instance_info: {filters: {"tag:role": agent, instance-state-name: running}}
      register: agents
    - ec2_group_info: {filters: {group-name: nodes}}
      register: groups
    - assert:
        that:
          - net.vpc.cidr_block == '10.5.0.0/16' and net.vpc.tags.Name == 't' and net.vpc.tags.team == 'ops'
          - gate.gateway_id is match('igw-') and gate.vpc_id == net.vpc.id
          - nat.nat_gateway_id is match('nat-') and nat.nat_gateway_addresses | length == 1
          - routes.route_table.id is match('rtb-') and routes.route_table.routes | length == 1
          - old.tagged_instances | length == 2 and old.tagged_instances[0].state == 'running'
          - new.instances[0].state.name == 'running' and new.instances[0].tags.Name == 'agent'
          - groups['masters'] | length == 2
          - hostvars[groups['masters'][0]].ec2_id is match('i-')
          - subnets.subnets | map(attribute='id') | list == [subnet.subnet.id]
          - agents.instances | map(attribute='instance_id') | list == new.instance_ids
          - found.security_groups[0].group_id == group.group_id
          - lb.elb.name == 'front' and lb.elb.dns_name is match('front')
"#;

fn stack() -> String {
    STACK.replace("register: groups\n", "register: found\n")
}

#[test]
fn tasks_make_a_stack_once_and_hand_on_what_the_modules_of_ansible_return() {
    let emulator = Emulator::start();
    let (status, text) = play(&emulator, &stack(), &[]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(emulator.running(), 3);
    // Again: everything is found by its natural key.
    emulator.breaks(Fault::None);
    let (status, text) = play(&emulator, &stack(), &[]);
    assert_eq!((status, emulator.calls()), (Some(0), Vec::new()), "{text}");
    // And in check mode.
    let (status, text) = play(&emulator, &stack(), &["--check"]);
    assert_eq!((status, emulator.calls()), (Some(0), Vec::new()), "{text}");
}

#[test]
fn check_mode_of_tasks_makes_nothing_and_goes_on() {
    let emulator = Emulator::start();
    emulator.breaks(Fault::None);
    let steps = stack();
    let steps = steps.split("    - assert").next().unwrap();
    let (status, text) = play(&emulator, steps, &["--check"]);
    assert_eq!((status, emulator.calls()), (Some(0), Vec::new()), "{text}");
    assert!(text.contains("changed=11 "), "{text}");
}

const SOME: &str = r#"
    - ec2_instance:
        image_id: ami-785db401
        instance_type: m5.large
        tags: {role: web}
        exact_count: "{{ wanted }}"
        filters: {"tag:role": web}
      register: web
    - assert: {that: ["web.instances | length == wanted | int", "web.changed == (changes | bool)"]}
"#;

#[test]
fn an_exact_count_launches_what_is_missing_and_ends_what_is_too_much() {
    let emulator = Emulator::start();
    for (wanted, changes) in [(3, "yes"), (3, "no"), (1, "yes"), (2, "yes"), (0, "yes")] {
        let (wanted_is, changes_is) = (format!("wanted={wanted}"), format!("changes={changes}"));
        let (status, text) = play(&emulator, SOME, &["-e", &wanted_is, "-e", &changes_is]);
        assert_eq!(status, Some(0), "{wanted}: {text}");
        assert_eq!(emulator.running(), wanted, "{text}");
    }
}

#[test]
fn instances_are_stopped_started_and_terminated_by_their_ids() {
    let emulator = Emulator::start();
    let steps = r#"
    - ec2_instance: {name: a, image_id: ami-785db401, instance_type: m5.large}
      register: made
    - ec2_instance: {instance_ids: "{{ made.instance_ids }}", state: stopped}
      register: stopped
    - ec2: {instance_ids: "{{ made.instance_ids }}", state: running, wait: yes}
      register: started
    - ec2: {instance_ids: "{{ made.instance_ids }}", state: running}
      register: again
    - ec2_instance: {instance_ids: "{{ made.instance_ids }}", state: restarted}
    - ec2: {instance_ids: "{{ made.instance_ids }}", state: absent}
      register: gone
    - assert:
        that:
          - stopped is changed and stopped.instances[0].state.name == 'stopped'
          - started is changed and started.instances[0].state == 'running'
          - again is not changed
          - gone.terminated_ids == made.instance_ids
    - ec2_instance: {state: absent}
      ignore_errors: true
      register: all
    - assert: {that: [all is failed, "'say which instances' in all.msg"]}
"#;
    let (status, text) = play(&emulator, steps, &[]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(emulator.running(), 0);
}

#[test]
fn an_instance_whose_reply_is_lost_is_made_once() {
    let emulator = Emulator::start();
    emulator.breaks(Fault::LoseReplies);
    let (status, text) = play(&emulator, SOME, &["-e", "wanted=2", "-e", "changes=yes"]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(emulator.running(), 2, "{text}");
}

#[test]
fn tasks_change_in_place_take_away_and_leave_what_they_do_not_name() {
    let emulator = Emulator::start();
    let steps = r#"
    - ec2_vpc_net: {name: t, cidr_block: 10.6.0.0/16}
      register: net
    - ec2_security_group: &door
        name: door
        description: door
        vpc_id: "{{ net.vpc.id }}"
        rules: [{proto: tcp, ports: 22, cidr_ip: 0.0.0.0/0}]
    - ec2_security_group:
        <<: *door
        rules: [{proto: tcp, ports: 80, cidr_ip: 0.0.0.0/0}]
        purge_rules: false
      register: both
    - ec2_security_group:
        <<: *door
        rules: [{proto: tcp, ports: 80, cidr_ip: 0.0.0.0/0}]
      register: one
    - assert: {that: [both is changed, one is changed, both.ip_permissions | length == 2, one.ip_permissions | length == 1]}
    - ec2_vpc_subnet: {vpc_id: "{{ net.vpc.id }}", cidr: 10.6.1.0/24, tags: {a: b}}
    - ec2_vpc_subnet: {vpc_id: "{{ net.vpc.id }}", cidr: 10.6.1.0/24, tags: {c: d}, map_public: true}
      register: subnet
    - assert: {that: [subnet is changed, "subnet.subnet.tags == {'c': 'd'}", subnet.subnet.map_public_ip_on_launch]}
    - ec2_vpc_subnet: {vpc_id: "{{ net.vpc.id }}", cidr: 10.6.1.0/24, state: absent}
    - ec2_security_group: {name: door, vpc_id: "{{ net.vpc.id }}", state: absent}
    - ec2_vpc_net: {name: t, cidr_block: 10.6.0.0/16, state: absent}
    - ec2_vpc_net: {name: t, cidr_block: 10.6.0.0/16, state: absent}
      register: gone
    - assert: {that: [gone is not changed]}
"#;
    let (status, text) = play(&emulator, steps, &[]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(emulator.count("DescribeVpcs", "vpcId"), 1);
}

#[test]
fn unknown_options_of_aws_modules_are_found_before_a_call() {
    let emulator = Emulator::start();
    emulator.breaks(Fault::None);
    let (status, text) = play(&emulator, "    - ec2_instance: {imageid: ami-1}\n", &[]);
    assert_eq!(status, Some(5), "{text}");
    assert!(text.contains("image_id"), "{text}");
}

#[test]
fn any_object_is_tagged_and_untagged_by_its_id() {
    let emulator = Emulator::start();
    let steps = r#"
    - ec2_vpc_igw: {vpc_id: "{{ net.vpc.id }}"}
      register: gate
    - ec2_tag: &one {resource: "{{ gate.gateway_id }}", region: eu-west-1, state: present, tags: {Name: cluster-gateway, bare: null}}
      register: first
    - ec2_tag: *one
      register: second
    - ec2_tag: {resource: "{{ gate.gateway_id }}", tags: {Name: other}, purge_tags: true}
      register: third
    - ec2_tag: {resource: "{{ gate.gateway_id }}", tags: {Name: no-such-value}, state: absent}
      register: kept
    - amazon.aws.ec2_tag_info: {resource: "{{ gate.gateway_id }}"}
      register: list
    - ec2_tag: {resource: "{{ gate.gateway_id }}", tags: {Name: null}, state: absent}
      register: gone
    - ec2_tag: {resource: "{{ gate.gateway_id }}", state: list}
      register: after
    - assert:
        that:
          - "first is changed and first.added_tags == {'Name': 'cluster-gateway', 'bare': ''}"
          - "second is not changed and second.tags == first.tags"
          - "third is changed and third.tags == {'Name': 'other'} and third.removed_tags == {'bare': ''}"
          - "kept is not changed"
          - "list.tags == {'Name': 'other'}"
          - "gone is changed and after.tags == {} and after is not changed"
"#;
    let steps =
        format!("    - ec2_vpc_net: {{name: t, cidr_block: 10.7.0.0/16}}\n      register: net{steps}");
    let (status, text) = play(&emulator, &steps, &[]);
    assert_eq!(status, Some(0), "{text}");
    emulator.breaks(Fault::None);
    let missing = "    - ec2_tag: {resource: igw-1}\n";
    let (status, text) = play(&emulator, missing, &[]);
    assert_eq!((status, emulator.calls()), (Some(2), Vec::new()), "{text}");
    assert!(text.contains("`tags` is missing"), "{text}");
}

#[test]
fn images_are_listed_oldest_first_with_the_names_of_the_module() {
    let emulator = Emulator::start();
    let steps = r#"
    - ec2_ami_facts: {image_ids: [ami-785db401, ami-1e749f67], region: eu-west-1}
      register: both
    - amazon.aws.ec2_ami_info: {owners: "099720109477", filters: {name: "ubuntu*xenial*", architecture: x86_64}}
      register: xenial
    - assert:
        that:
          - both.images | length == 2 and both is not changed
          - both.images | map(attribute='creation_date') | list == both.images | map(attribute='creation_date') | sort
          - (xenial.images | sort(attribute='creation_date') | last).image_id == 'ami-785db401'
          - xenial.images[0].block_device_mappings[0].ebs.volume_size == 15 and xenial.images[0].tags == {}
"#;
    let (status, text) = play(&emulator, steps, &[]);
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn a_load_balancer_takes_names_of_groups_and_keeps_what_is_not_purged() {
    let emulator = Emulator::start();
    let steps = r#"
    - ec2_vpc_net: {name: t, cidr_block: 10.8.0.0/16}
      register: net
    - ec2_vpc_subnet: {vpc_id: "{{ net.vpc.id }}", cidr: 10.8.1.0/24}
      register: one
    - ec2_vpc_subnet: {vpc_id: "{{ net.vpc.id }}", cidr: 10.8.2.0/24}
      register: two
    - ec2_group: {name: front, description: front, vpc_id: "{{ net.vpc.id }}"}
      register: group
    - ec2_elb_lb: &lb
        name: front
        state: present
        security_group_names: front
        subnets: ["{{ one.subnet.id }}"]
        listeners: [{protocol: http, load_balancer_port: 80, instance_port: 80}]
        stickiness: {type: loadbalancer, enabled: true, expiration: 300}
      register: made
    - ec2_elb_lb: *lb
      register: again
    - elb_classic_lb:
        <<: *lb
        subnets: ["{{ two.subnet.id }}"]
        purge_listeners: false
        listeners: [{protocol: tcp, load_balancer_port: 2181, instance_port: 2181}]
      register: wider
    - elb_classic_lb: {<<: *lb, stickiness: {enabled: false}, purge_subnets: true}
      register: narrow
    - elb_classic_lb: {name: front, security_group_names: [nobody], subnets: ["{{ one.subnet.id }}"]}
      register: wrong
      ignore_errors: true
    - elb_classic_lb: {name: front, state: absent}
      register: gone
    - elb_classic_lb: {name: front, state: absent}
      register: still
    - assert:
        that:
          - made.elb.status == 'created' and made.elb.security_group_ids == [group.group_id]
          - again is not changed and again.elb.status == 'exists'
          - wider is changed and wider.elb.subnets == [one.subnet.id, two.subnet.id] | sort
          - wider.elb.listeners | map(attribute='load_balancer_port') | list == [80, 2181]
          - narrow is changed and narrow.elb.subnets == [one.subnet.id]
          - narrow.elb.listeners | map(attribute='load_balancer_port') | list == [80]
          - wrong is failed and "no security group named `nobody`" in wrong.msg
          - gone is changed and gone.elb.status == 'deleted'
          - still is not changed and still.elb.status == 'gone'
"#;
    let (status, text) = play(&emulator, steps, &[]);
    assert_eq!(status, Some(0), "{text}");
    // The usual subnets of zones.
    let steps = r#"
    - ec2_elb_lb: {name: zoned, zones: [eu-west-1a, eu-west-1b], listeners: [{protocol: tcp, load_balancer_port: 80, instance_port: 80}]}
      register: zoned
    - assert: {that: ["zoned.elb.subnets | length == 2"]}
"#;
    let (status, text) = play(&emulator, steps, &[]);
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn buckets_are_made_changed_and_emptied_by_tasks() {
    let emulator = Emulator::start();
    let steps = r#"
    - s3_bucket: {name: A_bad}
      register: bad
      ignore_errors: true
    - s3_bucket: &logs
        name: c1-logs
        region: eu-west-1
        versioning: true
        encryption: AES256
        public_access: {block_public_acls: true, block_public_policy: true}
        policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::156460612806:root"}, Action: ["s3:PutObject"], Resource: "arn:aws:s3:::c1-logs/*"}]}
        tags: {Name: c1-logs, Environment: Dev}
      register: made
    - s3_bucket: *logs
      register: again
    - s3_bucket: {name: c1-logs, versioning: false, encryption: none, delete_public_access: true, policy: "{}", tags: {Name: other}, acl: private}
      register: other
    - s3_bucket: {name: c1-logs, object_ownership: BucketOwnerEnforced, tags: {more: x}, purge_tags: false}
      register: more
    - s3_bucket_info: {name_filter: c1-}
      register: list
    - amazon.aws.s3_bucket: {name: c1-logs, state: absent}
      register: gone
    - s3_bucket: {name: c1-logs, state: absent, force: true}
      register: still
    - assert:
        that:
          - bad is failed and 'is no name for a bucket' in bad.msg
          - made is changed and made.versioning.Versioning == 'Enabled' and made.tags.Environment == 'Dev'
          - made.encryption.SSEAlgorithm == 'AES256' and made.public_access_block.block_public_policy
          - again is not changed and again.policy.Statement | length == 1
          - other is changed and other.versioning.Versioning == 'Suspended' and other.public_access_block is none and other.policy is none
          - "other.tags == {'Name': 'other'} and other.acl == 'private'"
          - "more is changed and more.object_ownership == 'BucketOwnerEnforced' and more.tags == {'Name': 'other', 'more': 'x'}"
          - list.buckets | map(attribute='name') | list == ['c1-logs']
          - gone is changed and still is not changed
"#;
    let (status, text) = play(&emulator, steps, &[]);
    assert_eq!(status, Some(0), "{text}");
    emulator.breaks(Fault::None);
    let check = "    - s3_bucket: {name: later, versioning: true, tags: {a: b}}\n      register: later\n    - assert: {that: [later is changed, \"later.tags == {'a': 'b'}\"]}\n";
    let (status, text) = play(&emulator, check, &["--check"]);
    assert_eq!((status, emulator.calls()), (Some(0), Vec::new()), "{text}");
}

#[test]
fn roles_and_profiles_are_made_changed_and_taken_away_by_tasks() {
    let emulator = Emulator::start();
    let steps = r#"
    - iam_role: &node
        name: c1-node
        description: nodes
        assume_role_policy_document: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: "sts:AssumeRole"}]}
        tags: {team: ops}
      register: made
    - iam_role: *node
      register: again
    - iam_role: {name: c1-node, max_session_duration: 7200, managed_policies: ["arn:aws:iam::aws:policy/NoSuchThing"]}
      register: wrong
      ignore_errors: true
    - iam_role: {name: c1-node, max_session_duration: 7200, tags: {team: dev}}
      register: other
    - iam_instance_profile: {name: c1-extra, role: c1-node, tags: {a: b}}
      register: extra
    - community.aws.iam_instance_profile: {name: c1-extra, role: c1-node}
      register: same
    - iam_instance_profile: {name: c1-extra, tags: {c: d}}
      register: retagged
    - iam_role_info: {name: c1-node}
      register: role
    - iam_instance_profile_info: {}
      register: profiles
    - iam_role: {name: c1-node, state: absent, delete_instance_profile: true}
      register: gone
    - iam_role: {name: c1-node, state: absent}
      register: still
    - iam_instance_profile: {name: c1-extra, state: absent}
      register: bare
    - iam_instance_profile_info: {}
      register: none_left
    - iam_role: {name: nobody}
      register: without
      ignore_errors: true
    - assert:
        that:
          - made is changed and made.iam_role.arn is match('arn:aws:iam::') and made.iam_role.instance_profiles == ['c1-node']
          - made.iam_role.assume_role_policy_document.Statement | length == 1 and made.iam_role.tags.team == 'ops'
          - again is not changed
          - wrong is failed
          - other is changed and other.iam_role.max_session_duration == 7200 and other.iam_role.tags.team == 'dev'
          - other.iam_role.description == 'nodes'
          - extra is changed and extra.iam_instance_profile.roles[0].role_name == 'c1-node' and extra.iam_instance_profile.tags.a == 'b'
          - same is not changed
          - "retagged is changed and retagged.iam_instance_profile.tags == {'c': 'd'}"
          - retagged.iam_instance_profile.roles[0].role_name == 'c1-node'
          - role.iam_roles[0].instance_profiles | sort == ['c1-extra', 'c1-node']
          - profiles.iam_instance_profiles | map(attribute='instance_profile_name') | sort == ['c1-extra', 'c1-node']
          - gone is changed and still is not changed and bare is changed
          - none_left.iam_instance_profiles == []
          - without is failed and 'assume_role_policy_document' in without.msg
"#;
    let (status, text) = play(&emulator, steps, &[]);
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn what_has_no_name_is_made_once_though_every_reply_is_lost() {
    let emulator = Emulator::start();
    let steps = r#"
    - ec2_vpc_net: {name: t, cidr_block: 10.9.0.0/16}
      register: net
    - ec2_vpc_igw: {vpc_id: "{{ net.vpc.id }}", tags: {Name: door}}
      register: gate
    - ec2_eip: {tags: {Name: out}}
      register: address
    - ec2_vpc_subnet: {vpc_id: "{{ net.vpc.id }}", cidr: 10.9.1.0/24}
      register: subnet
    - ec2_vpc_nat_gateway: {subnet_id: "{{ subnet.subnet.id }}"}
    - ec2_tag_info: {resource: "{{ gate.gateway_id }}"}
      register: tags
    - assert: {that: ["tags.tags == {'Name': 'door'}", "gate.vpc_id == net.vpc.id", address.allocation_id is match('eipalloc-')]}
"#;
    emulator.breaks(Fault::LoseReplies);
    let (status, text) = play(&emulator, steps, &[]);
    assert_eq!(status, Some(0), "{text}");
    // One for the task, one for the gateway.
    let made = ("DescribeAddresses", "allocationId", 2);
    for (action, element, count) in [("DescribeInternetGateways", "internetGatewayId", 1), made] {
        assert_eq!(emulator.count(action, element), count, "{action}");
    }
}
