//! The conversation with one running agent.
//!
//! Owns: frames in both directions and who waits for which answer. Must not: start or restart anything.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use dcos_play_agent::protocol::{self, AgentHello, FromAgent, StepKey, ToAgent};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;

use super::shell::Shell;
use super::{Content, OutputSink, Reply};

/// How an asked step ended, as far as this connection knows.
pub(super) enum Answer {
    Done(Reply),
    /// The agent never heard of the step.
    Unknown,
    /// The connection ended first.
    Lost,
}

struct Waiter {
    output: OutputSink,
    done: oneshot::Sender<Answer>,
}

type Waiters = Arc<Mutex<HashMap<StepKey, Waiter>>>;

/// A live agent.
pub(super) struct Channel {
    pub(super) hello: AgentHello,
    /// The way it was reached, which goes down with it.
    pub(super) shell: Arc<Shell>,
    writer: tokio::sync::Mutex<Box<dyn AsyncWrite + Send + Unpin>>,
    waiters: Waiters,
    alive: Arc<AtomicBool>,
    next_upload: AtomicU64,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Channel {
    /// Takes over the streams after the agent's hello.
    pub(super) fn new(
        hello: AgentHello,
        shell: Arc<Shell>,
        writer: Box<dyn AsyncWrite + Send + Unpin>,
        from: Box<dyn AsyncRead + Send + Unpin>,
    ) -> Self {
        let waiters = Waiters::default();
        let alive = Arc::new(AtomicBool::new(true));
        let reader = tokio::spawn(listen(from, Arc::clone(&waiters), Arc::clone(&alive)));
        Self { hello, shell, writer: writer.into(), waiters, alive, next_upload: AtomicU64::new(1), reader }
    }

    /// False once the connection has ended.
    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Sends contents ahead of a step; `None` when the connection ended or a local file cannot be read.
    pub(super) async fn upload(&self, content: &Content) -> std::io::Result<protocol::UploadId> {
        const PIECE: usize = 1 << 20;
        let id = self.next_upload.fetch_add(1, Ordering::Relaxed);
        match content {
            Content::Bytes(bytes) => {
                let mut pieces = bytes.chunks(PIECE).peekable();
                if pieces.peek().is_none() {
                    self.send(&ToAgent::Upload { id, last: true }, &[]).await?;
                }
                while let Some(piece) = pieces.next() {
                    self.send(&ToAgent::Upload { id, last: pieces.peek().is_none() }, piece).await?;
                }
            }
            Content::File(path) => {
                let mut file = tokio::fs::File::open(path).await?;
                let mut piece = vec![0; PIECE];
                loop {
                    let mut filled = 0;
                    while filled < PIECE {
                        match file.read(&mut piece[filled..]).await? {
                            0 => break,
                            n => filled += n,
                        }
                    }
                    let last = filled < PIECE;
                    self.send(&ToAgent::Upload { id, last }, &piece[..filled]).await?;
                    if last {
                        break;
                    }
                }
            }
        }
        Ok(id)
    }

    /// Sends a message that is answered under a step's key, and waits for the answer.
    pub(super) async fn ask(&self, step: &StepKey, message: &ToAgent, output: OutputSink) -> Answer {
        let (done, answer) = oneshot::channel();
        lock(&self.waiters).insert(step.clone(), Waiter { output, done });
        // Looked at after the waiter is registered: the reader fails all waiters when it ends, in this order.
        if !self.is_alive() || self.send(message, &[]).await.is_err() {
            lock(&self.waiters).remove(step);
            return Answer::Lost;
        }
        answer.await.unwrap_or(Answer::Lost)
    }

    /// Sends one message.
    pub(super) async fn send(&self, message: &ToAgent, blob: &[u8]) -> std::io::Result<()> {
        let frame = protocol::encode(message, blob).map_err(std::io::Error::other)?;
        let mut writer = self.writer.lock().await;
        writer.write_all(&frame).await?;
        writer.flush().await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads one frame from the agent; `None` when the stream ended or makes no sense.
pub(super) async fn frame(from: &mut (impl AsyncRead + Unpin)) -> Option<(FromAgent, Vec<u8>)> {
    let mut head = [0; 8];
    from.read_exact(&mut head).await.ok()?;
    let (json_len, blob_len) = protocol::lengths(head).ok()?;
    let mut json = vec![0; json_len];
    from.read_exact(&mut json).await.ok()?;
    let mut blob = vec![0; blob_len];
    from.read_exact(&mut blob).await.ok()?;
    Some((serde_json::from_slice(&json).ok()?, blob))
}

async fn listen(mut from: Box<dyn AsyncRead + Send + Unpin>, waiters: Waiters, alive: Arc<AtomicBool>) {
    while let Some((message, blob)) = frame(&mut from).await {
        match message {
            FromAgent::Output { step, stream } => {
                let sink = lock(&waiters).get(&step).map(|w| Arc::clone(&w.output));
                if let Some(sink) = sink {
                    sink(stream, &blob);
                }
            }
            FromAgent::Done { step, result } => {
                if let Some(waiter) = lock(&waiters).remove(&step) {
                    // A waiter that is gone was cancelled: nobody wants the answer.
                    let _ = waiter.done.send(Answer::Done(Reply { result, blob }));
                }
            }
            FromAgent::Unknown { step } => {
                if let Some(waiter) = lock(&waiters).remove(&step) {
                    let _ = waiter.done.send(Answer::Unknown);
                }
            }
            FromAgent::Hello(_) => {}
            FromAgent::Fault { .. } => break,
        }
    }
    alive.store(false, Ordering::Release);
    for (_, waiter) in lock(&waiters).drain() {
        let _ = waiter.done.send(Answer::Lost);
    }
}
