//! The host of one step, as actions and the dispatcher use it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dcos_play_agent::protocol::{Background, Stream};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::prepared::Prepared;
use super::resume::{Known, Prints};
use super::state::{RunState, lock};
use super::unknown::Subject;
use crate::actions::Remote;
use crate::connection::{Call, Content, Fault, FaultKind, OutputSink, RawOutput, Reply, Seat, Target};
use crate::journal::{EventKind, Outcome, StepId};

/// How long a cancelled command may take to end before it is killed.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// One step's way to its host.
pub(super) struct StepRemote<'a> {
    pub(super) run: &'a Arc<RunState>,
    pub(super) prepared: &'a Prepared,
    /// What the first call of the task sends has nothing of this host.
    pub(super) same_for_all: bool,
    pub(super) target: Arc<Target>,
    /// The host whose step it is; its log gets the output, also when the step is delegated.
    pub(super) host: &'a Arc<str>,
    pub(super) step: StepId,
    /// Of the item of a loop.
    pub(super) number: usize,
    pub(super) attempt: u32,
    pub(super) calls: AtomicU32,
    pub(super) check: bool,
    pub(super) diff: bool,
    pub(super) no_log: bool,
    pub(super) environment: Arc<[(String, String)]>,
    pub(super) timeout: Option<Duration>,
    /// Takes in what the first call sends.
    pub(super) prints: Option<&'a Prints>,
    pub(super) verify: bool,
    pub(super) collect: Option<String>,
    pub(super) repeat: bool,
    /// The first call is to go on by itself.
    pub(super) background: Option<Background>,
    pub(super) seat: Seat,
}

impl StepRemote<'_> {
    /// Runs a module and waits; the second Ctrl-C cancels it on the host.
    pub(super) async fn send(
        &self,
        module: &str,
        args: Arc<Map<String, Json>>,
        uploads: Vec<(String, Content)>,
        check: bool,
        repeat_safe: bool,
    ) -> Result<Reply, Fault> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            self.print(module, &args, &uploads);
        }
        if self.verify {
            return Err(not_asked());
        }
        // From here on the host may do it, so a run that resumes this one has to know that it began.
        if !self.run.commit() {
            return Err(cancelled());
        }
        let background = self.background.clone().filter(|_| number == 0);
        let subject = check.then(|| Subject::of(module, &args));
        let call = Call {
            step: self.key(number),
            module: module.into(),
            args,
            check,
            diff: self.diff,
            environment: Arc::clone(&self.environment),
            timeout: self.timeout,
            no_log: self.no_log,
            // Who starts a job twice starts it once.
            repeat_safe: repeat_safe || self.repeat || background.is_some(),
            background,
            seat: self.seat.clone(),
            collect: self.collect.clone().filter(|_| number == 0),
            uploads,
        };
        let step = call.step.clone();
        let working = self.run.transport.call(&self.target, call, self.sink());
        tokio::pin!(working);
        let mut interrupts = self.run.interrupts.clone();
        tokio::select! {
            reply = &mut working => return reply.map(|mut reply| {
                if let Some(subject) = subject {
                    let mut foreseen = lock(&self.run.foreseen);
                    let changed = foreseen.entry(Arc::clone(&self.target.host)).or_default();
                    subject.foresee(changed, &mut reply.result);
                }
                reply
            }),
            _ = interrupts.wait_for(|n| *n > 1) => {}
        }
        // Who only logs in, or tries to reach a lost host, has nothing to end there.
        if self.run.transport.cancel(&self.target, &step, CANCEL_GRACE).await
            && let Ok(reply) = tokio::time::timeout(CANCEL_GRACE * 2, working).await
        {
            return reply;
        }
        Err(cancelled())
    }

    /// Names a call; unique for run, host, step, item, attempt and number.
    fn key(&self, call: u32) -> String {
        let run = &self.run.inputs.run;
        let mut key = String::with_capacity(run.len() + self.host.len() + 24);
        let _ = write!(key, "{run}/{}/{}/{}/{}/{call}", self.host, self.step, self.number, self.attempt);
        key
    }

    fn print(&self, module: &str, args: &Map<String, Json>, uploads: &[(String, Content)]) {
        let Some(prints) = self.prints else { return };
        if self.same_for_all && uploads.is_empty() && prints.is_new() {
            let user = self.target.r#become.as_ref().map(|b| &b.user);
            let feed = || Known::of(|prints| self.feed(prints, module, args, uploads));
            prints.begin(&self.prepared.printed(user, feed));
        } else {
            self.feed(prints, module, args, uploads);
        }
    }

    fn feed(&self, prints: &Prints, module: &str, args: &Map<String, Json>, uploads: &[(String, Content)]) {
        prints.feed(module.as_bytes());
        prints.feed(&serde_json::to_vec(args).unwrap_or_default());
        match self.environment.is_empty() {
            true => prints.feed(b"[]"),
            false => prints.feed(format!("{:?}", self.environment).as_bytes()),
        }
        match self.target.r#become.as_ref().map(|b| &b.user) {
            None => prints.feed(b"None"),
            user => prints.feed(format!("{user:?}").as_bytes()),
        }
        for (option, content) in uploads {
            prints.feed(option.as_bytes());
            match content {
                Content::Bytes(bytes) => prints.feed(bytes),
                // A file that cannot be read fails the step a moment later, with its name.
                Content::File(path) => prints.feed(&file_print(path)),
            }
        }
    }

    fn sink(&self) -> OutputSink {
        if self.no_log {
            return Arc::new(|_, _| {});
        }
        let run = Arc::clone(self.run);
        let (step, host) = (self.step, Arc::clone(self.host));
        Arc::new(move |stream: Stream, bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let text = run.inputs.mask(&text);
            run.tell(EventKind::StepOutput { step, host: Arc::clone(&host), stream, text });
        })
    }
}

impl Remote for StepRemote<'_> {
    fn module<'a>(
        &'a self,
        module: &'a str,
        args: Map<String, Json>,
        uploads: Vec<(String, Content)>,
    ) -> BoxFuture<'a, Result<Map<String, Json>, Fault>> {
        let safe = dcos_play_agent::modules::find(module)
            .is_some_and(|spec| spec.repeat == dcos_play_agent::options::Repeat::Safe);
        async move { Ok(self.send(module, Arc::new(args), uploads, self.check, safe).await?.result) }.boxed()
    }

    fn module_always<'a>(
        &'a self,
        module: &'a str,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<(Map<String, Json>, Vec<u8>), Fault>> {
        async move {
            let reply = self.send(module, Arc::new(args), Vec::new(), false, true).await?;
            Ok((reply.result, reply.blob))
        }
        .boxed()
    }

    fn raw<'a>(
        &'a self,
        command: &'a str,
        timeout: Option<Duration>,
    ) -> BoxFuture<'a, Result<RawOutput, Fault>> {
        if let Some(prints) = self.prints {
            prints.feed(command.as_bytes());
        }
        if self.verify {
            return async { Err(not_asked()) }.boxed();
        }
        if !self.run.commit() {
            return async { Err(cancelled()) }.boxed();
        }
        self.run.transport.raw(&self.target, command, timeout.or(self.timeout), self.sink())
    }

    fn reset(&self) -> BoxFuture<'_, ()> {
        if self.verify {
            return async {}.boxed();
        }
        // Whether it is on record does not matter: nothing is done on the host.
        self.run.transport.reset(&self.target)
    }

    fn boot_id(&self) -> BoxFuture<'_, Result<String, Fault>> {
        if self.verify {
            return async { Err(not_asked()) }.boxed();
        }
        self.run.transport.boot_id(&self.target)
    }

    fn busy(&self, what: &str) {
        if self.verify {
            return;
        }
        self.run.tell(EventKind::HostBusy { host: Arc::clone(self.host), what: self.run.inputs.mask(what) });
    }

    fn item(&self, label: &str, changed: bool, result: Map<String, Json>) {
        if self.verify {
            return;
        }
        self.run.tell(EventKind::StepItem {
            step: self.step,
            host: Arc::clone(self.host),
            label: self.run.inputs.mask(label),
            outcome: if changed { Outcome::Changed } else { Outcome::Ok },
            result: if self.no_log { Map::new() } else { self.run.inputs.mask_result(&result) },
        });
    }

    fn rebooted(&self, before: &str, after: &str, took: Duration) {
        self.run.tell(EventKind::HostRebooted {
            host: Arc::clone(self.host),
            before: before.to_owned(),
            after: after.to_owned(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
    }
}

fn cancelled() -> Fault {
    Fault { kind: FaultKind::Cancelled, what: "cancelled".to_owned(), next: None }
}

fn not_asked() -> Fault {
    Fault { kind: FaultKind::NotAsked, what: "the host was not asked".to_owned(), next: None }
}

/// A hash of a file's contents, read in pieces.
fn file_print(path: &std::path::Path) -> Vec<u8> {
    use sha2::Digest as _;
    use std::io::Read as _;
    let mut hash = sha2::Sha256::new();
    let Ok(mut file) = std::fs::File::open(path) else { return Vec::new() };
    let mut piece = vec![0; 1 << 16];
    while let Ok(n @ 1..) = file.read(&mut piece) {
        hash.update(&piece[..n]);
    }
    hash.finalize().to_vec()
}
