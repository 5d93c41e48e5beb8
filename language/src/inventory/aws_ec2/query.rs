//! What is asked of AWS and what comes back, in plain data.

use serde_json::Value as Json;

use crate::vars::secrets::Secret;

/// How to reach AWS; what is empty comes from the SDK's usual chain (environment, profile, SSO, role of the instance).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ec2Access {
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint_url: Option<String>,
    pub access_key: Option<Secret>,
    pub secret_key: Option<Secret>,
    pub session_token: Option<Secret>,
    pub assume_role: Option<String>,
}

/// Filters of `DescribeInstances` that hold together; every value of one is an alternative.
pub type Ec2Filters = Vec<(String, Vec<String>)>;

/// Which instances are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ec2Query {
    pub access: Ec2Access,
    /// Empty: every region that the account has enabled.
    pub regions: Vec<String>,
    /// Instances that fit any of these.
    pub include: Vec<Ec2Filters>,
    /// Instances to leave out again.
    pub exclude: Vec<Ec2Filters>,
    /// False: regions in which the identity isn't allowed to look are left out.
    pub strict_permissions: bool,
}

/// What AWS described.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ec2Answer {
    /// Documents of instances with the names of `DescribeInstances` in snake case; `tags` is a mapping, `placement.region`
    /// the region. An instance may come more than once.
    pub included: Vec<Json>,
    /// Ids of instances that fit `exclude`.
    pub excluded: Vec<String>,
    /// Sentences about what was left out for lack of permission.
    pub skipped: Vec<String>,
}

/// Why AWS gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Ec2Fault {
    /// Call, region, AWS's words, and the identity in use.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
}

/// Asks AWS.
pub type Ec2Ask<'a> = &'a dyn Fn(&Ec2Query) -> Result<Ec2Answer, Ec2Fault>;
