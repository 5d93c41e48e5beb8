//! Clients of AWS: credentials, region, endpoint, retries, and what an error means.
//!
//! Owns: how the SDK is set up; everything that talks to AWS takes its clients from here. Must not: know resources.
//!
//! Credentials come from the SDK's usual chain (environment, profile, SSO, process, role of the instance), the endpoint
//! from `AWS_ENDPOINT_URL` and its kin.

use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::infra::fault::{Class, CloudFault, class_of};

/// What the user said about how to reach AWS; empty means the usual chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Else AWS_REGION, the profile, or the instance's own.
    pub region: Option<String>,
    pub profile: Option<String>,
    /// Else `AWS_ENDPOINT_URL`.
    pub endpoint_url: Option<String>,
    /// Else the usual chain.
    pub keys: Option<Keys>,
    /// A role to take on with these credentials.
    pub assume_role: Option<String>,
    /// Attempts that a call has, where `AWS_MAX_ATTEMPTS` doesn't say; else as many as changes need.
    pub attempts: Option<u32>,
}

/// Credentials given in a file; they print as stars.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(****)")
    }
}

/// Clients for one account and region. Clones share connections and the rate at which they are throttled.
#[derive(Debug, Clone)]
pub struct Clients {
    pub region: String,
    pub ec2: aws_sdk_ec2::Client,
    pub elb: aws_sdk_elasticloadbalancing::Client,
    pub sts: aws_sdk_sts::Client,
    /// For calls that must not be sent twice blindly: a lost reply comes back as an error, at once.
    pub once: aws_sdk_ec2::Client,
    pub once_elb: aws_sdk_elasticloadbalancing::Client,
    config: aws_config::SdkConfig,
}

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoClient {
    #[error("no AWS region: set `region`, AWS_REGION, or a region in the profile")]
    Region,
}

/// Attempts a call has; EC2's buckets refill slowly, and the SDK's own three are too few for provisioning.
const ATTEMPTS: u32 = 9;

impl Clients {
    /// Makes the clients. Nothing is sent yet: wrong credentials show at the first call.
    ///
    /// # Errors
    /// No region is known.
    pub async fn new(access: &Access) -> Result<Self, NoClient> {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.clone())
            .retry_config(retries(
                std::env::var("AWS_MAX_ATTEMPTS").ok().as_deref(),
                access.attempts.unwrap_or(ATTEMPTS),
            ))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(10))
                    .operation_attempt_timeout(Duration::from_secs(60))
                    .build(),
            );
        if let Some(region) = &access.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &access.profile {
            // The usual chain would look into the environment first: a profile that somebody named must not lose to a key
            // that happens to stand there.
            let around = ProviderConfig::default()
                .with_http_client(http)
                .with_region(access.region.clone().map(Region::new));
            let named = ProfileFileCredentialsProvider::builder().configure(&around).profile_name(profile);
            loader = loader.profile_name(profile).credentials_provider(named.build());
        }
        if let Some(url) = &access.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(keys) = &access.keys {
            loader = loader.credentials_provider(aws_credential_types::Credentials::new(
                &keys.access_key,
                &keys.secret_key,
                keys.session_token.clone(),
                None,
                "given",
            ));
        }
        let mut config = loader.load().await;
        if let Some(role) = &access.assume_role {
            let provider = aws_config::sts::AssumeRoleProvider::builder(role)
                .session_name("dcos-play")
                .configure(&config)
                .build()
                .await;
            config = config
                .into_builder()
                .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
                    provider,
                ))
                .build();
        }
        Self::from_config(config)
    }

    fn from_config(config: aws_config::SdkConfig) -> Result<Self, NoClient> {
        let region = config.region().ok_or(NoClient::Region)?.to_string();
        let single = RetryConfig::disabled();
        let once = aws_sdk_ec2::config::Builder::from(&config).retry_config(single.clone()).build();
        let once_elb =
            aws_sdk_elasticloadbalancing::config::Builder::from(&config).retry_config(single).build();
        Ok(Self {
            region,
            ec2: aws_sdk_ec2::Client::new(&config),
            elb: aws_sdk_elasticloadbalancing::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
            once: aws_sdk_ec2::Client::from_conf(once),
            once_elb: aws_sdk_elasticloadbalancing::Client::from_conf(once_elb),
            config,
        })
    }

    /// The same account in another region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        let config = self.config.clone().into_builder().region(Region::new(region.to_owned())).build();
        // A config with a region makes clients.
        Self::from_config(config).unwrap_or_else(|_| self.clone())
    }

    /// Where `AWS_ENDPOINT_URL` or its kin sends everything.
    pub(super) fn endpoint_url(&self) -> Option<&str> {
        self.config.endpoint_url()
    }

    pub(super) fn credentials(&self) -> Option<aws_credential_types::provider::SharedCredentialsProvider> {
        self.config.credentials_provider()
    }

    /// Tries of a call: `most`, or fewer when the user wants fewer.
    pub(super) fn tries(&self, most: u32) -> u32 {
        self.config.retry_config().map_or(most, |r| r.max_attempts().min(most))
    }

    /// Who the credentials belong to, as AWS names it (`arn:aws:iam::123456789012:user/ada`), for messages.
    pub async fn identity(&self) -> Option<String> {
        let reply = self.sts.get_caller_identity().send().await.ok()?;
        reply.arn().map(ToOwned::to_owned)
    }
}

/// Retries with a rate that adapts to throttling. `AWS_MAX_ATTEMPTS` is obeyed.
fn retries(attempts: Option<&str>, usual: u32) -> RetryConfig {
    let attempts = attempts.and_then(|n| n.parse().ok()).filter(|n| *n > 0).unwrap_or(usual);
    RetryConfig::adaptive().with_max_attempts(attempts).with_max_backoff(Duration::from_secs(20))
}

/// What an SDK error means. `call` is the permission's name: `ec2:CreateVpc`.
pub fn fault<E>(call: &'static str, error: &SdkError<E, HttpResponse>) -> CloudFault
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let (class, code, message) = match error {
        SdkError::ServiceError(reply) => {
            let status = reply.raw().status().as_u16();
            let code = reply.err().code().unwrap_or_default().to_owned();
            let message = match reply.err().message() {
                Some(message) => message.to_owned(),
                None if code.is_empty() => format!("HTTP status {status} without an explanation"),
                None => code.clone(),
            };
            (class_of(&code, &message, status), code, message)
        }
        SdkError::TimeoutError(_) => (Class::Transient, String::new(), "no answer in time".to_owned()),
        SdkError::ConstructionFailure(_) => (Class::Refused, String::new(), causes(error)),
        SdkError::DispatchFailure(failure) => {
            let message = causes(error);
            // No credentials is no network problem, though it is told in the same place.
            let class = if failure.is_other() && message.to_lowercase().contains("credential") {
                Class::Auth
            } else {
                Class::Transient
            };
            (class, String::new(), message)
        }
        _ => (Class::Transient, String::new(), causes(error)),
    };
    CloudFault { class, call, code, message }
}

fn causes<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + Send + Sync + 'static,
{
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Some wrappers say no more than what they wrap.
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_the_environment_and_default_to_nine() {
        assert_eq!(retries(None, ATTEMPTS).max_attempts(), 9);
        assert_eq!(retries(Some("2"), ATTEMPTS).max_attempts(), 2);
        assert_eq!(retries(Some("0"), ATTEMPTS).max_attempts(), 9);
        assert_eq!(retries(Some("many"), 4).max_attempts(), 4);
    }

    #[test]
    fn keys_never_print() {
        let keys = Keys { access_key: "AKIA1".into(), secret_key: "geheim".into(), session_token: None };
        assert_eq!(format!("{keys:?}"), "Keys(****)");
    }
}
