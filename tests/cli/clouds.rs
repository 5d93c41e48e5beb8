//! Modules of AWS in a program that was built without it: known by name, and refused before any host is touched.

use super::project;

const TASKS: &str = "\
- hosts: all
  gather_facts: false
  tasks:
    - command: touch ran
    - block:
        - ec2_tag: {resource: igw-1, tags: {a: b}}
        - ec2_elb_lb: {name: front, security_group_names: door, listeners: []}
        - amazon.aws.ec2_ami_info: {owners: self}
        - s3_bucket: {name: logs}
        - iam_role: {name: node}
        - community.aws.iam_instance_profile: {name: node}
";

#[test]
fn modules_of_aws_pass_lint_with_a_warning_and_are_refused_before_a_host_is_touched() {
    let project = project(TASKS);
    let said = project.run(&["lint", "play.yml"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let text = format!("{}{}", said.out, said.err);
    for name in ["ec2_tag", "elb_classic_lb", "ec2_ami_info", "s3_bucket", "iam_role", "iam_instance_profile"]
    {
        let finding = format!("`{name}` works on AWS, which this dcos-play was built without");
        assert!(text.contains(&finding), "{name}: {text}");
    }
    assert!(text.contains("make build FEATURES=aws"), "{text}");
    assert!(text.contains("no errors, 6 warnings"), "{text}");
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 5, "{}{}", said.out, said.err);
    assert!(said.err.contains("error: `ec2_tag` works on AWS"), "{}", said.err);
    assert!(!project.path("ran").exists());
}

#[test]
fn a_wrong_option_of_an_aws_module_is_an_error_without_aws_too() {
    let project = project("- hosts: all\n  tasks:\n    - ec2_tag: {resource: igw-1, tag: {a: b}}\n");
    let said = project.run(&["lint", "play.yml"]);
    assert_eq!(said.status, 5, "{}{}", said.out, said.err);
    assert!(said.err.contains("tags"), "{}", said.err);
}
