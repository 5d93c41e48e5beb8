//! The inventory plugin `amazon.aws.aws_ec2` by the real binary against an emulator of AWS.

#[path = "support/emulator.rs"]
mod emulator;

use emulator::{Emulator, tag};

#[test]
fn aws_emulator_keeps_regions_apart() {
    let Some(aws) = Emulator::start() else { return };
    let made = aws.ec2("eu-west-1", &[("Action", "CreateVpc"), ("CidrBlock", "10.80.0.0/16")]);
    let filter = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", tag(&made, "vpcId"))];
    let list = [("Action", "DescribeVpcs"), filter[0], filter[1]];
    assert_eq!(tag(&aws.ec2("eu-west-1", &list), "cidrBlock"), "10.80.0.0/16");
    assert!(!aws.ec2("us-east-1", &list).contains("<cidrBlock>"));
}
