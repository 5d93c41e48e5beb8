//! The kinds of resources: names, options, and what a change of an option means.
//!
//! Owns: the tables; names are those of the `amazon.aws` modules. Pure. Must not: call a cloud.

use dcos_play_agent::options::{Opt, Spec};

use crate::source::nearest;

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Vpc,
    Subnet,
    InternetGateway,
    Address,
    NatGateway,
    RouteTable,
    SecurityGroup,
    Key,
    Instance,
    ClassicElb,
    Bucket,
    Role,
}

/// What happens when an option differs from what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Changed on the living object.
    InPlace,
    /// The object is made anew.
    Replace,
    /// Only counts when the object is made; later differences are not looked at, as in the Ansible module.
    AtCreation,
}

pub(super) const COLLECTIONS: &[&str] = &["amazon.aws", "community.aws"];

const fn spec(name: &'static str, options: &'static [&'static [Opt]]) -> Spec {
    Spec { options, collections: COLLECTIONS, ..Spec::new(name) }
}

static TAGS: &[Opt] = &[Opt::dict("tags").aliases(&["resource_tags"]), Opt::bool("purge_tags")];

static VPC: &[Opt] = &[Opt::str("name"), Opt::str("cidr_block").required()];
/// What a network has besides its name and its place.
pub(super) static VPC_MORE: &[Opt] = &[
    Opt::str("tenancy").choices(&["default", "dedicated"]),
    Opt::bool("dns_support"),
    Opt::bool("dns_hostnames"),
];
pub(super) static SUBNET: &[Opt] = &[
    Opt::str("vpc_id").required(),
    Opt::str("cidr").required(),
    Opt::str("az").aliases(&["availability_zone"]),
    Opt::bool("map_public"),
];
static IGW: &[Opt] = &[Opt::str("vpc_id").required()];
static ADDRESS: &[Opt] = &[Opt::str("name")];
static NAT: &[Opt] = &[
    Opt::str("name"),
    Opt::str("subnet_id").required(),
    // Without one the gateway gets an address of its own, which goes with it.
    Opt::str("allocation_id"),
];
pub(super) static ROUTES: &[Opt] = &[
    Opt::str("vpc_id").required(),
    Opt::raw_list("routes"),
    Opt::list("subnets"),
    Opt::bool("purge_routes"),
    Opt::bool("purge_subnets"),
];
static GROUP: &[Opt] = &[Opt::str("name"), Opt::str("description").required(), Opt::str("vpc_id").required()];
/// What a group is for.
pub(super) static GROUP_MORE: &[Opt] = &[
    Opt::raw_list("rules"),
    Opt::raw_list("rules_egress").aliases(&["egress_rules"]),
    Opt::bool("purge_rules"),
    Opt::bool("purge_rules_egress"),
];
static KEY: &[Opt] = &[Opt::str("name"), Opt::str("key_material").required()];
static INSTANCE: &[Opt] = &[
    Opt::str("name"),
    Opt::int("count"),
    Opt::str("image_id").aliases(&["image"]).required(),
    Opt::str("instance_type").required(),
    Opt::str("vpc_subnet_id").aliases(&["subnet_id"]).required(),
    Opt::list("private_ip_addresses"),
];
/// What an instance has besides its image, its type and its place.
pub(super) static INSTANCE_MORE: &[Opt] = &[
    Opt::list("security_groups").aliases(&["security_group"]),
    Opt::str("key_name"),
    Opt::raw_list("volumes"),
    Opt::str("user_data"),
    Opt::str("iam_instance_profile").aliases(&["instance_role"]),
    Opt::bool("assign_public_ip"),
    Opt::bool("source_dest_check"),
    Opt::bool("termination_protection"),
    Opt::bool("ebs_optimized"),
];
static ELB: &[Opt] = &[
    Opt::str("name"),
    Opt::raw_list("listeners").required(),
    Opt::list("subnets").required(),
    // Ours: the members are the instances of this infrastructure with all these tags.
    Opt::dict("instance_tags"),
];
/// What a load balancer has besides its place and its listeners.
pub(super) static ELB_MORE: &[Opt] = &[
    Opt::list("security_group_ids"),
    Opt::str("scheme").choices(&["internal", "internet-facing"]),
    Opt::dict("health_check"),
    Opt::list("instance_ids"),
    Opt::bool("purge_instance_ids"),
    Opt::bool("cross_az_load_balancing").aliases(&["cross_availability_zone"]),
    Opt::int("connection_draining_timeout"),
    Opt::int("idle_timeout"),
    Opt::dict("access_logs"),
    Opt::dict("stickiness"),
];

static BUCKET: &[Opt] = &[Opt::str("name"), Opt::bool("versioning"), Opt::raw("policy"), Opt::bool("force")];
static ROLE: &[Opt] = &[
    Opt::str("name"),
    Opt::raw("assume_role_policy_document"),
    Opt::list("managed_policies").aliases(&["managed_policy"]),
    // The role's one inline policy, as `iam_policy` has it in a module of its own.
    Opt::raw("policy_json"),
    Opt::bool("create_instance_profile"),
];

static SPECS: &[(Kind, &[&str], Spec)] = &[
    (Kind::Vpc, &[], spec("ec2_vpc_net", &[VPC, VPC_MORE, TAGS])),
    (Kind::Subnet, &[], spec("ec2_vpc_subnet", &[SUBNET, TAGS])),
    (Kind::InternetGateway, &[], spec("ec2_vpc_igw", &[IGW, TAGS])),
    (Kind::Address, &[], spec("ec2_eip", &[ADDRESS, TAGS])),
    (Kind::NatGateway, &[], spec("ec2_vpc_nat_gateway", &[NAT, TAGS])),
    (Kind::RouteTable, &[], spec("ec2_vpc_route_table", &[ROUTES, TAGS])),
    (Kind::SecurityGroup, &["ec2_group"], spec("ec2_security_group", &[GROUP, GROUP_MORE, TAGS])),
    (Kind::Key, &[], spec("ec2_key", &[KEY, TAGS])),
    (Kind::Instance, &[], spec("ec2_instance", &[INSTANCE, INSTANCE_MORE, TAGS])),
    (Kind::ClassicElb, &["ec2_elb_lb"], spec("elb_classic_lb", &[ELB, ELB_MORE, TAGS])),
    (Kind::Bucket, &[], spec("s3_bucket", &[BUCKET, TAGS])),
    (Kind::Role, &[], spec("iam_role", &[ROLE, TAGS])),
];

impl Kind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        SPECS.iter().map(|(kind, ..)| *kind)
    }

    /// The kind with that module name: short, fully qualified, or an old one.
    #[must_use]
    pub fn named(written: &str) -> Option<Self> {
        let short =
            COLLECTIONS.iter().find_map(|c| written.strip_prefix(c)?.strip_prefix('.')).unwrap_or(written);
        SPECS.iter().find(|(_, old, spec)| spec.name == short || old.contains(&short)).map(|(kind, ..)| *kind)
    }

    /// The kind's name nearest to what was written.
    #[must_use]
    pub fn near(written: &str) -> Option<&'static str> {
        nearest(written, SPECS.iter().map(|(_, _, spec)| spec.name))
    }

    /// The options.
    #[must_use]
    pub fn spec(self) -> &'static Spec {
        // The table has a row for each kind; a test looks.
        SPECS.iter().find(|(kind, ..)| *kind == self).map_or(&SPECS[0].2, |(_, _, spec)| spec)
    }

    /// The module's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// True when one resource may stand for several objects (`count`).
    #[must_use]
    pub fn counted(self) -> bool {
        self == Self::Instance
    }

    /// What a difference in an option means.
    #[must_use]
    pub fn change(self, option: &str) -> Change {
        use Change::{AtCreation, InPlace, Replace};
        match (self, option) {
            (_, "tags") => InPlace,
            (Self::Vpc, "cidr_block" | "tenancy") => Replace,
            (Self::Subnet, "vpc_id" | "cidr" | "az") => Replace,
            (Self::InternetGateway, "vpc_id") => Replace,
            (Self::NatGateway, "subnet_id" | "allocation_id") => Replace,
            (Self::RouteTable, "vpc_id") => Replace,
            (Self::SecurityGroup, "name" | "description" | "vpc_id") => Replace,
            (Self::Key, _) => Replace,
            (Self::Instance, "image_id" | "vpc_subnet_id" | "key_name" | "private_ip_address") => Replace,
            (
                Self::Instance,
                "user_data"
                | "volumes"
                | "assign_public_ip"
                | "termination_protection"
                | "private_ip_addresses",
            ) => AtCreation,
            (Self::ClassicElb | Self::Bucket | Self::Role, "name" | "scheme") => Replace,
            _ => InPlace,
        }
    }

    /// Options that say how to compare, and are no property of the object.
    #[must_use]
    pub fn is_manner(option: &str) -> bool {
        option.starts_with("purge_") || matches!(option, "count" | "force")
    }

    /// When the kind goes in a teardown: AWS refuses to delete what something else still uses.
    #[must_use]
    pub fn teardown_rank(self) -> u8 {
        match self {
            Self::ClassicElb | Self::Instance | Self::NatGateway => 0,
            // Let go before the internet gateway that they pass.
            Self::Address => 1,
            Self::RouteTable => 2,
            Self::InternetGateway => 3,
            Self::SecurityGroup => 4,
            Self::Subnet => 5,
            Self::Vpc => 6,
            Self::Key | Self::Role | Self::Bucket => 7,
        }
    }

    /// Kinds of services other than EC2, which an identity may well have no permission to look at.
    #[must_use]
    pub fn stands_apart(self) -> bool {
        matches!(self, Self::ClassicElb | Self::Bucket | Self::Role)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_row() {
        for kind in Kind::all() {
            assert_eq!(Kind::named(kind.name()), Some(kind));
            assert_eq!(Kind::named(&format!("amazon.aws.{kind}")), Some(kind));
        }
    }

    #[test]
    fn old_names_and_near_names_are_known() {
        assert_eq!(Kind::named("ec2_group"), Some(Kind::SecurityGroup));
        assert_eq!(Kind::named("amazon.aws.ec2_elb_lb"), Some(Kind::ClassicElb));
        assert_eq!(Kind::near("ec2_vpc_nett"), Some("ec2_vpc_net"));
    }
}
