//! What a cloud answered when it didn't do what was asked.
//!
//! Owns: the classes of errors, which decide what happens next. Must not: know a cloud's types.

/// What an error means for whoever made the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Too many calls; the client has already waited and retried.
    Throttled,
    /// A lost or broken reply, a failing service: the call may have been carried out.
    Transient,
    /// The object isn't there: not yet after a create, no more on the way down.
    NotFound,
    /// An object of that name or address is already there.
    Exists,
    /// Something still uses the object.
    Dependency,
    /// The object is on its way from one state to another.
    State,
    /// No room left: quota or capacity. Waiting doesn't help.
    Quota,
    /// Not allowed, or no valid credentials.
    Auth,
    /// The request itself is wrong.
    Refused,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{call}: {message}{}", code_note(.code, .message))]
pub struct CloudFault {
    pub class: Class,
    /// The call as the cloud names it: `ec2:CreateVpc`. It is the permission's name too.
    pub call: &'static str,
    /// The cloud's name of the error; empty when no answer came.
    pub code: String,
    pub message: String,
}

fn code_note(code: &str, message: &str) -> String {
    if code.is_empty() || message.contains(code) { String::new() } else { format!(" ({code})") }
}

impl CloudFault {
    /// A fault that is ours to tell: what was asked for cannot be done.
    pub fn refused(call: &'static str, message: impl Into<String>) -> Self {
        Self { class: Class::Refused, call, code: String::new(), message: message.into() }
    }

    /// True when the identity is fine and only lacks the permission for this call.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self.code.as_str(), "UnauthorizedOperation" | "AccessDenied")
    }

    /// What the user can do about it.
    #[must_use]
    pub fn help(&self, identity: Option<&str>) -> Option<String> {
        match self.class {
            Class::Auth if self.is_permission() => Some(match identity {
                Some(who) => format!("allow `{}` to {who}", self.call),
                None => format!("allow `{}` to the identity in use", self.call),
            }),
            Class::Auth => {
                Some("look at the credentials: AWS_PROFILE, AWS_ACCESS_KEY_ID, or log in again".to_owned())
            }
            Class::Quota => Some("raise the quota, or ask for less or elsewhere".to_owned()),
            Class::Throttled => {
                Some("other programs use the account's request quota: run again later".into())
            }
            Class::Transient => Some("run again: what was made is found by its tags".to_owned()),
            _ => None,
        }
    }
}

/// The class of an error by the cloud's name for it.
#[must_use]
pub fn class_of(code: &str, message: &str, status: u16) -> Class {
    match code {
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException"
        | "SlowDown"
        | "EC2ThrottledException"
        | "PriorRequestNotComplete" => Class::Throttled,
        // A 5xx answer on AWS, though no retry helps: it comes before the rule for those.
        "InsufficientInstanceCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "ResourceCountExceeded"
        | "RulesPerSecurityGroupLimitExceeded"
        | "TagLimitExceeded"
        | "LimitExceeded" => Class::Quota,
        _ if code.ends_with("LimitExceeded") => Class::Quota,
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "OptInRequired" => Class::Auth,
        "InvalidGroup.Duplicate"
        | "InvalidKeyPair.Duplicate"
        | "InvalidPermission.Duplicate"
        | "RouteAlreadyExists"
        | "Resource.AlreadyAssociated"
        | "InvalidSubnet.Conflict"
        | "DuplicateLoadBalancerName"
        | "EntityAlreadyExists"
        | "DuplicateListener"
        | "DuplicatePolicyName"
        | "IdempotentParameterMismatch"
        | "IdempotentInstanceTerminated"
        | "BucketAlreadyOwnedByYou" => Class::Exists,
        "DependencyViolation"
        | "InvalidGroup.InUse"
        | "InvalidIPAddress.InUse"
        | "DeleteConflict"
        | "CannotDelete"
        | "OperationNotPermitted" => Class::Dependency,
        "IncorrectInstanceState"
        | "IncorrectState"
        | "ConcurrentTagAccess"
        | "OperationAborted"
        | "ConcurrentModification" => Class::State,
        // A new profile takes seconds to reach EC2.
        "InvalidParameterValue" if message.contains("IAM Instance Profile") => Class::NotFound,
        "Gateway.NotAttached"
        | "NatGatewayNotFound"
        | "LoadBalancerNotFound"
        | "AccessPointNotFound"
        | "NoSuchEntity"
        | "NoSuchBucket" => Class::NotFound,
        _ if code.ends_with(".NotFound") || code.ends_with("NotFound") => Class::NotFound,
        "InternalError" | "InternalFailure" | "Unavailable" | "ServiceUnavailable" => Class::Transient,
        _ if status >= 500 => Class::Transient,
        _ => Class::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capacity_is_no_glitch_though_it_is_a_5xx() {
        assert_eq!(class_of("InsufficientInstanceCapacity", "", 500), Class::Quota);
        assert_eq!(class_of("InternalError", "", 500), Class::Transient);
        assert_eq!(class_of("", "", 502), Class::Transient);
    }

    #[test]
    fn a_request_limit_is_throttling_and_other_limits_are_quotas() {
        assert_eq!(class_of("RequestLimitExceeded", "", 503), Class::Throttled);
        assert_eq!(class_of("VpcLimitExceeded", "", 400), Class::Quota);
    }

    #[test]
    fn a_profile_that_ec2_cannot_see_yet_is_not_found() {
        let message =
            "Value (web) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile";
        assert_eq!(class_of("InvalidParameterValue", message, 400), Class::NotFound);
        assert_eq!(class_of("InvalidParameterValue", "cidr", 400), Class::Refused);
        assert_eq!(class_of("InvalidVpcID.NotFound", "", 400), Class::NotFound);
    }

    #[test]
    fn help_names_the_permission_and_who_lacks_it() {
        let fault = CloudFault {
            class: Class::Auth,
            call: "ec2:CreateVpc",
            code: "UnauthorizedOperation".into(),
            message: "You are not authorized".into(),
        };
        assert_eq!(
            fault.help(Some("arn:aws:iam::1:user/x")).unwrap(),
            "allow `ec2:CreateVpc` to arn:aws:iam::1:user/x"
        );
        assert_eq!(fault.to_string(), "ec2:CreateVpc: You are not authorized (UnauthorizedOperation)");
    }
}
