//! `async` and `poll`: steps that go on by themselves on the host.
//!
//! Owns: the two keywords, the job's name, and the wait for its end. Must not: know how a host runs a job (the agent
//! does).
//!
//! The job's name comes from the step's key. So a step that is sent twice (a broken connection) or met again (a resumed
//! run) finds its job and never starts a second one.

use std::sync::Arc;
use std::time::Duration;

use dcos_play_agent::protocol::Background;
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use super::dispatch::{Done, Ended, Unready};
use super::remote::StepRemote;
use super::walk::Walker;
use crate::connection::{Fault, FaultKind};
use crate::journal::EventKind;
use crate::resolve::Task;
use crate::source::Node;
use crate::template::Scope;

/// Seconds between two looks when `poll` is not given; Ansible's default.
const POLL: f64 = 15.0;

/// A step's own way to run: beside the connection.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) name: String,
    /// Seconds, as written.
    limit: f64,
    /// Zero: nobody waits.
    poll: Duration,
}

impl Job {
    /// What the agent is told.
    pub(super) fn request(&self) -> Background {
        let limit_ms = (self.limit * 1000.0).min(9e15) as u64;
        Background { job: self.name.clone(), limit_ms }
    }

    fn limit(&self) -> Duration {
        Duration::from_secs_f64(self.limit.min(1e9))
    }
}

/// `j` and twelve digits, a dot and the step's number: short enough to be typed, the same for the same key, which is
/// `run/host/step/item/attempt`.
fn name(key: &str) -> String {
    let step = key.rsplit('/').nth(2).unwrap_or_default();
    let hash = Sha256::digest(key.as_bytes());
    let number = hash.iter().take(8).fold(0_u64, |n, b| (n << 8) | u64::from(*b));
    format!("j{:012}.{step}", number % 1_000_000_000_000)
}

impl Walker {
    /// The job that a step is to be, if it has `async`; `key` names the step.
    pub(super) fn job(
        &self,
        task: &Task,
        scope: &Arc<dyn Scope>,
        key: &dyn Fn() -> String,
    ) -> Result<Option<Job>, Unready> {
        let seconds = |node: &Option<Node>, keyword: &str| -> Result<Option<f64>, Unready> {
            let Some(node) = node else { return Ok(None) };
            let value = self.playing.run.inputs.templates.node(node, scope)?;
            let number = value.to_string().trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
            number.map(Some).ok_or_else(|| {
                Unready::Text(format!("`{keyword}` must be a number of seconds, not `{value}`"))
            })
        };
        let Some(limit) = seconds(&task.async_, "async")?.filter(|limit| *limit > 0.0) else {
            return Ok(None);
        };
        let poll = Duration::from_secs_f64(seconds(&task.poll, "poll")?.unwrap_or(POLL).min(1e9));
        Ok(Some(Job { name: name(&key()), limit, poll }))
    }

    /// Waits for the end of a job that has been started, and cleans it up; with `poll: 0` the start is the end.
    pub(super) async fn follow(&self, job: &Job, remote: &StepRemote<'_>, begun: Ended) -> Ended {
        let started =
            |done: &Done| done.result.get("ansible_job_id").is_some_and(|id| *id == job.name.as_str());
        let mut last = match begun {
            Ended::Done(done) if started(&done) && !job.poll.is_zero() => done.result,
            other => return other,
        };
        let run = &self.playing.run;
        let began = run.clock.now();
        loop {
            let passed = run.clock.now().saturating_sub(began);
            let left = job.limit().saturating_sub(passed);
            if left.is_zero() {
                return Ended::Failed(late(job, last));
            }
            last = match self.ask(job, remote, "_wait", job.poll.min(left).as_secs_f64().into()).await {
                Ok(result) => result,
                Err(fault) if fault.kind == FaultKind::Cancelled => {
                    // The user's second Ctrl-C is meant for what runs on the host, not for the question about it.
                    let _ = self.ask(job, remote, "_end", true.into()).await;
                    return Ended::Cancelled;
                }
                Err(fault) => return Ended::Unreachable(fault),
            };
            if *run.interrupts.borrow() > 1 {
                let _ = self.ask(job, remote, "_end", true.into()).await;
                return Ended::Cancelled;
            }
            let is = |key: &str| last.get(key) == Some(&Json::Bool(true));
            if is("finished") || is("failed") {
                break;
            }
            let waited = run.clock.now().saturating_sub(began).as_secs();
            let what = format!("the job {} runs since {waited}s of at most {}s", job.name, job.limit);
            run.tell(EventKind::HostBusy { host: Arc::clone(&self.host), what });
        }
        // A result that stays behind on the host is swept by its agent in time.
        let _ = self.ask(job, remote, "mode", "cleanup".into()).await;
        // The host watches the time as well, and may be the first to see that it is up.
        if last.get("msg").is_some_and(|msg| msg == "Timeout exceeded") && last.contains_key("child_pid") {
            last.insert("finished".into(), false.into());
            return Ended::Failed(late(job, last));
        }
        if last.get("failed") == Some(&Json::Bool(true)) {
            Ended::Failed(last)
        } else {
            Ended::Done(Done::plain(last))
        }
    }

    async fn ask(
        &self,
        job: &Job,
        remote: &StepRemote<'_>,
        option: &str,
        value: Json,
    ) -> Result<Map<String, Json>, Fault> {
        let mut args = Map::new();
        args.insert("jid".into(), job.name.as_str().into());
        args.insert(option.into(), value);
        let mut result = remote.send("async_status", Arc::new(args), Vec::new(), false, true).await?.result;
        // That of the question; nobody asked it but us.
        result.remove("invocation");
        Ok(result)
    }
}

fn late(job: &Job, last: Map<String, Json>) -> Map<String, Json> {
    let mut result = Map::new();
    result.insert("failed".into(), true.into());
    result.insert("changed".into(), false.into());
    let text = format!("async task did not complete within the requested time - {}s", job.limit);
    result.insert("msg".into(), text.into());
    result.insert("async_result".into(), Json::Object(last));
    result
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_job_is_named_after_its_step() {
        assert_eq!(name("run/host/7/0/1"), name("run/host/7/0/1"));
        assert_ne!(name("run/host/7/0/1"), name("run/host/7/1/1"));
        let name = name("run/host/12/0/1");
        let (number, step) = name.strip_prefix('j').and_then(|n| n.split_once('.')).expect("two parts");
        assert_eq!((number.len(), step), (12, "12"));
    }
}
