//! `async_status`: how a task that was started with `async` is.
//!
//! Owns: the module's options and results. Must not: start or run jobs (`jobs` does).

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::jobs::{Jobs, Progress};
use crate::options::{Opt, Spec};

/// Asks for a job, or forgets it.
pub struct AsyncStatus;

/// Arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    jid: String,
    mode: Option<String>,
    /// Seconds to wait for the job's end; the controller's own polling uses it.
    #[serde(rename = "_wait")]
    wait: Option<f64>,
    /// Ends the job; what a cancelled run asks for.
    #[serde(rename = "_end", default)]
    end: bool,
}

impl Module for AsyncStatus {
    const SPEC: Spec = Spec {
        options: &[&[
            Opt::str("jid").required(),
            Opt::str("mode").choices(&["status", "cleanup"]),
            Opt::float("_wait"),
            Opt::bool("_end"),
        ]],
        ..Spec::new("async_status")
    };
    type Args = Args;
    type Change = Jobs;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Jobs>, Fault> {
        let jobs = Jobs::of(host.environment)
            .ok_or_else(|| Fault::new("the agent cannot tell where its own folder is"))?;
        let file = jobs.file(&args.jid)?;
        let name = file.display().to_string();
        if args.mode.as_deref() == Some("cleanup") {
            if !file.exists() {
                return Err(unknown(&args.jid, "erased", &name));
            }
            let predicted = Outcome { values: erased(&args.jid, &file), ..Outcome::default() };
            return Ok(Inspection::Differs { change: jobs, predicted });
        }
        if args.end {
            jobs.end(&args.jid)?;
        }
        let wait = Duration::try_from_secs_f64(args.wait.unwrap_or(0.0)).unwrap_or_default();
        let progress = jobs
            .progress(&args.jid, wait, &|| host.runner.cancelled())
            .map_err(|fault| if file.exists() { fault } else { unknown(&args.jid, "results_file", &name) })?;
        let finished = progress != Progress::Running;
        let mut values = told(&args.jid, true, finished);
        values.insert("results_file".to_owned(), name.into());
        match progress {
            Progress::Running => Ok(Inspection::Same(Outcome { values, ..Outcome::default() })),
            Progress::Vanished => Err(Fault {
                msg: "the job ended without a result: it was killed, or the host restarted".to_owned(),
                values,
            }),
            Progress::Finished(result) => {
                values.extend(result);
                if values.get("failed") == Some(&Value::Bool(true)) {
                    let msg = match values.remove("msg") {
                        Some(Value::String(msg)) => msg,
                        _ => String::new(),
                    };
                    return Err(Fault { msg, values });
                }
                let changed = values.get("changed") == Some(&Value::Bool(true));
                Ok(Inspection::Same(Outcome { changed, values, ..Outcome::default() }))
            }
        }
    }

    fn apply(args: &Args, jobs: Jobs, _: &Host<'_>) -> Result<Outcome, Fault> {
        jobs.forget(&args.jid)?;
        Ok(Outcome { values: erased(&args.jid, &jobs.file(&args.jid)?), ..Outcome::default() })
    }
}

fn told(job: &str, started: bool, finished: bool) -> Map<String, Value> {
    let mut values = Map::new();
    values.insert("ansible_job_id".to_owned(), job.into());
    values.insert("started".to_owned(), started.into());
    values.insert("finished".to_owned(), finished.into());
    values.insert("stdout".to_owned(), "".into());
    values.insert("stderr".to_owned(), "".into());
    values
}

fn erased(job: &str, file: &Path) -> Map<String, Value> {
    let mut values = told(job, false, false);
    values.insert("erased".to_owned(), file.display().to_string().into());
    values
}

fn unknown(job: &str, key: &str, file: &str) -> Fault {
    let mut values = told(job, true, true);
    values.insert(key.to_owned(), file.into());
    Fault { msg: "could not find job".to_owned(), values }
}
