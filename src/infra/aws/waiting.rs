//! Waiting for AWS: polls with a deadline.
//!
//! Owns: how often and how long. Must not: know what is waited for.

use std::time::Duration;

use crate::infra::fault::{Class, CloudFault};

/// How long something may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    limit: Duration,
    most: Duration,
}

impl Patience {
    /// What AWS has to build or tear down: gateways, instances, network interfaces.
    pub(super) const MINUTES: Self =
        Self { limit: Duration::from_secs(15 * 60), most: Duration::from_secs(5) };
    /// What has to reach all of AWS.
    pub(super) const MOMENTS: Self = Self { limit: Duration::from_secs(120), most: Duration::from_secs(4) };
}

const FIRST: Duration = Duration::from_millis(200);

/// The pause before a try, from 0: doubles up to `most`.
pub(super) fn pause(attempt: u32, most: Duration) -> Duration {
    FIRST.saturating_mul(1 << attempt.min(10)).min(most)
}

/// Asks until there is an answer.
///
/// # Errors
/// The first failed call, or nothing until the deadline.
pub(super) async fn until<T, A>(
    patience: Patience,
    call: &'static str,
    what: &str,
    ask: impl Fn() -> A,
) -> Result<T, CloudFault>
where
    A: Future<Output = Result<Option<T>, CloudFault>>,
{
    let began = tokio::time::Instant::now();
    for attempt in 0.. {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        let left = patience.limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(pause(attempt, patience.most).min(left)).await;
    }
    let message = format!("waited {} minutes for {what}", patience.limit.as_secs().div_ceil(60));
    Err(CloudFault { class: Class::State, call, code: String::new(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_answer_or_at_the_deadline() {
        let asked = std::cell::Cell::new(0);
        let end = until(Patience::MOMENTS, "c", "it", || {
            asked.set(asked.get() + 1);
            std::future::ready(Ok((asked.get() == 5).then_some("there")))
        });
        assert_eq!(end.await, Ok("there"));
        let never = until(Patience::MOMENTS, "c", "it", || std::future::ready(Ok(None::<()>))).await;
        assert_eq!(never.unwrap_err().to_string(), "c: waited 2 minutes for it");
    }
}
