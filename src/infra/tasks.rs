//! Resources as ordinary tasks: the modules of `amazon.aws`, with their names, options and results.
//!
//! Owns: which module works on which kind, and how; the specs. Must not: know a cloud's types.

use dcos_play_agent::options::{Opt, Spec};

use super::kinds::{COLLECTIONS, ELB_MORE, GROUP_MORE, INSTANCE_MORE, Kind, ROUTES, SUBNET, VPC_MORE};

/// What a module does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Makes, changes or deletes one object, found by its natural key.
    Manage(Kind),
    /// Instances, of which a task may mean many.
    Instances {
        /// The `ec2` module of old: its results have other names.
        old: bool,
    },
    /// Lists objects.
    Info(Kind),
    /// Tags of one object of any kind.
    Tag,
    /// Lists the tags of one object.
    TagInfo,
    /// Lists images.
    Images,
    /// A bucket with its properties.
    Bucket,
    /// Lists buckets.
    Buckets,
    /// A role with its policies.
    Role,
    /// A profile that holds a role.
    InstanceProfile,
    /// Lists roles, or profiles.
    IamInfo { profiles: bool },
    /// Pins the host keys that an instance's console shows.
    HostKeys,
}

const fn spec(
    name: &'static str,
    aliases: &'static [&'static str],
    options: &'static [&'static [Opt]],
) -> Spec {
    Spec { options, aliases, collections: COLLECTIONS, ..Spec::new(name) }
}

/// Who and where; every module has these.
static ACCESS: &[Opt] = &[
    Opt::str("region").aliases(&["aws_region", "ec2_region"]),
    Opt::str("profile").aliases(&["aws_profile"]),
    Opt::str("endpoint_url").aliases(&["ec2_url", "aws_endpoint_url"]),
    Opt::str("access_key").aliases(&["aws_access_key", "aws_access_key_id", "ec2_access_key"]),
    Opt::str("secret_key").aliases(&["aws_secret_key", "aws_secret_access_key", "ec2_secret_key"]).secret(),
    Opt::str("session_token")
        .aliases(&["aws_session_token", "security_token", "aws_security_token"])
        .secret(),
    Opt::bool("validate_certs").ignored("certificates are always checked"),
    Opt::bool("debug_botocore_endpoint_logs").ignored("there is no botocore here"),
];
static STATE: &[Opt] = &[
    Opt::str("state").choices(&["present", "absent"]),
    Opt::dict("tags").aliases(&["resource_tags"]),
    Opt::bool("purge_tags"),
    // A task always waits until what it made can be used.
    Opt::bool("wait").ignored("a task ends when what it made can be used"),
    Opt::int("wait_timeout").ignored("deadlines are those of infrastructure plays"),
];
static LISTING: &[Opt] = &[Opt::dict("filters")];

static VPC: &[Opt] = &[Opt::str("name"), Opt::str("cidr_block"), Opt::str("vpc_id"), Opt::bool("multi_ok")];
static IGW: &[Opt] = &[Opt::str("vpc_id"), Opt::str("internet_gateway_id")];
static ADDRESS: &[Opt] = &[
    Opt::str("public_ip").aliases(&["ip"]),
    Opt::str("allocation_id"),
    Opt::bool("reuse_existing_ip_allowed"),
    Opt::str("tag_name"),
    Opt::str("tag_value"),
    Opt::bool("in_vpc").ignored("every address is one of a VPC"),
];
static NAT: &[Opt] = &[
    Opt::str("subnet_id"),
    Opt::str("allocation_id"),
    Opt::str("eip_address"),
    Opt::str("nat_gateway_id"),
    Opt::bool("if_exist_do_not_create"),
    Opt::bool("release_eip"),
    Opt::str("client_token"),
];
static ROUTES_BY: &[Opt] = &[Opt::str("route_table_id"), Opt::str("lookup").choices(&["tag", "id"])];
static GROUP: &[Opt] = &[Opt::str("name"), Opt::str("group_id"), Opt::str("description"), Opt::str("vpc_id")];
static KEY: &[Opt] = &[Opt::str("name").required(), Opt::str("key_material"), Opt::bool("force")];
static ELB: &[Opt] = &[
    Opt::str("name").required(),
    Opt::raw_list("listeners"),
    Opt::bool("purge_listeners"),
    Opt::list("subnets"),
    Opt::bool("purge_subnets"),
    Opt::list("zones"),
    Opt::bool("purge_zones"),
    Opt::list("security_group_names"),
];
static TAG: &[Opt] = &[
    Opt::str("resource").required(),
    Opt::dict("tags").aliases(&["resource_tags"]),
    Opt::bool("purge_tags"),
    Opt::str("state").choices(&["present", "absent", "list"]),
];
static TAGGED: &[Opt] = &[Opt::str("resource").required()];
static BUCKET: &[Opt] = &[
    Opt::str("name").required(),
    Opt::bool("force"),
    Opt::raw("policy"),
    Opt::bool("versioning"),
    Opt::bool("requester_pays"),
    Opt::str("encryption").choices(&["none", "AES256", "aws:kms", "aws:kms:dsse"]),
    Opt::str("encryption_key_id"),
    Opt::dict("public_access"),
    Opt::bool("delete_public_access"),
    Opt::str("object_ownership").choices(&["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]),
    Opt::bool("delete_object_ownership"),
    Opt::str("acl").choices(&["private", "public-read", "public-read-write", "authenticated-read"]),
    Opt::bool("object_lock_enabled"),
    Opt::bool("validate_bucket_name").ignored("names that S3 refuses are refused before"),
];
static BUCKETS: &[Opt] = &[Opt::str("name"), Opt::str("name_filter")];
static ROLE: &[Opt] = &[
    Opt::str("name").aliases(&["role_name"]).required(),
    Opt::str("path").aliases(&["path_prefix", "prefix"]),
    Opt::str("description"),
    Opt::raw("assume_role_policy_document"),
    Opt::str("boundary").aliases(&["boundary_policy_arn"]),
    Opt::list("managed_policies").aliases(&["managed_policy"]),
    Opt::int("max_session_duration"),
    Opt::bool("purge_policies").aliases(&["purge_policy", "purge_managed_policies"]),
    Opt::bool("create_instance_profile"),
    Opt::bool("delete_instance_profile"),
];
static PROFILE: &[Opt] = &[
    Opt::str("name").aliases(&["instance_profile_name"]).required(),
    Opt::str("path").aliases(&["path_prefix", "prefix"]),
    Opt::str("role"),
];
static IAM_LIST: &[Opt] = &[
    Opt::str("name").aliases(&["role_name", "instance_profile_name"]),
    Opt::str("path_prefix").aliases(&["path", "prefix"]),
];
static HOST_KEYS: &[Opt] = &[
    Opt::str("instance_id").required(),
    Opt::list("hosts").required(),
    Opt::str("path"),
    Opt::int("timeout"),
];
static IMAGES: &[Opt] = &[
    Opt::list("image_ids").aliases(&["image_id"]),
    Opt::list("owners").aliases(&["owner"]),
    Opt::list("executable_users").aliases(&["executable_user"]),
    Opt::dict("filters"),
    Opt::bool("describe_image_attributes"),
];

static INSTANCE: &[Opt] = &[
    Opt::str("name"),
    Opt::str("image_id"),
    Opt::raw("image"),
    Opt::str("instance_type"),
    Opt::str("vpc_subnet_id").aliases(&["subnet_id"]),
    Opt::dict("network"),
    Opt::str("private_ip_address"),
    Opt::int("count"),
    Opt::int("exact_count"),
    Opt::list("instance_ids"),
    Opt::dict("filters"),
    Opt::str("client_token"),
    Opt::str("state").choices(&[
        "present",
        "running",
        "started",
        "stopped",
        "restarted",
        "rebooted",
        "terminated",
        "absent",
    ]),
    Opt::dict("tags").aliases(&["resource_tags"]),
    Opt::bool("purge_tags"),
    Opt::bool("wait"),
    Opt::int("wait_timeout").ignored("deadlines are those of infrastructure plays"),
];
/// The `ec2` module, which Ansible dropped. Its options get the new names before anything else is done.
static OLD_INSTANCE: &[Opt] = &[
    Opt::str("image_id").aliases(&["image"]),
    Opt::str("instance_type"),
    Opt::str("vpc_subnet_id"),
    // Names and ids: what is one is seen by its form.
    Opt::list("security_groups").aliases(&["group", "groups"]),
    Opt::list("group_id"),
    Opt::str("key_name").aliases(&["keypair"]),
    Opt::raw_list("volumes"),
    Opt::str("user_data"),
    Opt::str("iam_instance_profile").aliases(&["instance_profile_name"]),
    Opt::str("private_ip_address").aliases(&["private_ip"]),
    Opt::bool("assign_public_ip"),
    Opt::bool("source_dest_check"),
    Opt::bool("termination_protection"),
    Opt::bool("ebs_optimized"),
    Opt::int("count"),
    Opt::int("exact_count"),
    Opt::raw("count_tag"),
    Opt::list("instance_ids").aliases(&["instance_id"]),
    Opt::str("client_token").aliases(&["id"]),
    Opt::dict("tags").aliases(&["instance_tags"]),
    Opt::str("state").choices(&["present", "absent", "running", "stopped", "restarted"]),
    Opt::bool("wait"),
    Opt::int("wait_timeout").ignored("deadlines are those of infrastructure plays"),
    Opt::str("zone").aliases(&["aws_zone", "ec2_zone"]).ignored("the subnet has a zone"),
];

static VPC_IDS: &[Opt] = &[Opt::list("ids").aliases(&["vpc_ids", "vpc_id"])];
static SUBNET_IDS: &[Opt] = &[Opt::list("ids").aliases(&["subnet_ids", "subnet_id"])];
static IGW_IDS: &[Opt] = &[Opt::list("ids").aliases(&["internet_gateway_ids"])];
static NAT_IDS: &[Opt] = &[Opt::list("ids").aliases(&["nat_gateway_ids"])];
static INSTANCE_IDS: &[Opt] = &[Opt::list("ids").aliases(&["instance_ids"])];
static ELB_NAMES: &[Opt] = &[Opt::list("names")];
static KEY_NAMES: &[Opt] = &[Opt::list("names")];

use Work::{Info, Instances, Manage};

/// Every module, with what it does.
pub static MODULES: &[(Work, Spec)] = &[
    (Manage(Kind::Vpc), spec("ec2_vpc_net", &["ec2_vpc"], &[VPC, VPC_MORE, STATE, ACCESS])),
    (Manage(Kind::Subnet), spec("ec2_vpc_subnet", &[], &[SUBNET, STATE, ACCESS])),
    (Manage(Kind::InternetGateway), spec("ec2_vpc_igw", &[], &[IGW, STATE, ACCESS])),
    (Manage(Kind::Address), spec("ec2_eip", &[], &[ADDRESS, STATE, ACCESS])),
    (Manage(Kind::NatGateway), spec("ec2_vpc_nat_gateway", &[], &[NAT, STATE, ACCESS])),
    (Manage(Kind::RouteTable), spec("ec2_vpc_route_table", &[], &[ROUTES, ROUTES_BY, STATE, ACCESS])),
    (
        Manage(Kind::SecurityGroup),
        spec("ec2_security_group", &["ec2_group"], &[GROUP, GROUP_MORE, STATE, ACCESS]),
    ),
    (Manage(Kind::Key), spec("ec2_key", &[], &[KEY, STATE, ACCESS])),
    (
        Manage(Kind::ClassicElb),
        Spec {
            mutually_exclusive: &[&["security_group_ids", "security_group_names"], &["subnets", "zones"]],
            ..spec("elb_classic_lb", &["ec2_elb_lb"], &[ELB, ELB_MORE, STATE, ACCESS])
        },
    ),
    (Instances { old: false }, spec("ec2_instance", &[], &[INSTANCE, INSTANCE_MORE, ACCESS])),
    (Instances { old: true }, spec("ec2", &[], &[OLD_INSTANCE, ACCESS])),
    (Info(Kind::Vpc), spec("ec2_vpc_net_info", &["ec2_vpc_net_facts"], &[VPC_IDS, LISTING, ACCESS])),
    (
        Info(Kind::Subnet),
        spec("ec2_vpc_subnet_info", &["ec2_vpc_subnet_facts"], &[SUBNET_IDS, LISTING, ACCESS]),
    ),
    (
        Info(Kind::InternetGateway),
        spec("ec2_vpc_igw_info", &["ec2_vpc_igw_facts"], &[IGW_IDS, LISTING, ACCESS]),
    ),
    (
        Info(Kind::NatGateway),
        spec("ec2_vpc_nat_gateway_info", &["ec2_vpc_nat_gateway_facts"], &[NAT_IDS, LISTING, ACCESS]),
    ),
    (Info(Kind::Address), spec("ec2_eip_info", &["ec2_eip_facts"], &[LISTING, ACCESS])),
    (
        Info(Kind::RouteTable),
        spec("ec2_vpc_route_table_info", &["ec2_vpc_route_table_facts"], &[LISTING, ACCESS]),
    ),
    (
        Info(Kind::SecurityGroup),
        spec("ec2_security_group_info", &["ec2_group_info", "ec2_group_facts"], &[LISTING, ACCESS]),
    ),
    (Info(Kind::Key), spec("ec2_key_info", &[], &[KEY_NAMES, LISTING, ACCESS])),
    (
        Info(Kind::Instance),
        spec("ec2_instance_info", &["ec2_instance_facts"], &[INSTANCE_IDS, LISTING, ACCESS]),
    ),
    (
        Work::Tag,
        Spec {
            required_if: &[("state", "present", &["tags"]), ("state", "absent", &["tags"])],
            ..spec("ec2_tag", &[], &[TAG, ACCESS])
        },
    ),
    (Work::TagInfo, spec("ec2_tag_info", &[], &[TAGGED, ACCESS])),
    (
        Work::Bucket,
        Spec {
            mutually_exclusive: &[
                &["public_access", "delete_public_access"],
                &["object_ownership", "delete_object_ownership"],
            ],
            ..spec("s3_bucket", &[], &[BUCKET, STATE, ACCESS])
        },
    ),
    (
        Work::Buckets,
        spec("s3_bucket_info", &["aws_s3_bucket_info", "aws_s3_bucket_facts"], &[BUCKETS, ACCESS]),
    ),
    (Work::Role, spec("iam_role", &[], &[ROLE, STATE, ACCESS])),
    (Work::InstanceProfile, spec("iam_instance_profile", &[], &[PROFILE, STATE, ACCESS])),
    (Work::IamInfo { profiles: false }, spec("iam_role_info", &["iam_role_facts"], &[IAM_LIST, ACCESS])),
    (Work::IamInfo { profiles: true }, spec("iam_instance_profile_info", &[], &[IAM_LIST, ACCESS])),
    // Ours: nothing in Ansible has it.
    (Work::HostKeys, Spec { collections: &[], ..spec("ec2_host_keys", &[], &[HOST_KEYS, ACCESS]) }),
    (Work::Images, spec("ec2_ami_info", &["ec2_ami_facts"], &[IMAGES, ACCESS])),
    (
        Info(Kind::ClassicElb),
        spec("elb_classic_lb_info", &["ec2_elb_info", "ec2_elb_facts"], &[ELB_NAMES, ACCESS]),
    ),
];

/// True for the canonical name of one of these modules.
#[must_use]
pub fn is_module(name: &str) -> bool {
    MODULES.iter().any(|(_, spec)| spec.name == name || spec.aliases.contains(&name))
}
