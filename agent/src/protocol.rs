//! Frames and messages between controller and agent.
//!
//! Owns: the wire format and its version. Must not: do anything but encode and decode.
//!
//! A frame is two big-endian `u32` lengths, a JSON document and a blob: file contents and command output travel in
//! the blob, so that no byte is ever escaped. The controller speaks first ([`ToAgent::Hello`]); a step is one
//! [`ToAgent::Step`] there and one [`FromAgent::Done`] back with [`FromAgent::Output`] in between.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Version of the messages; both sides refuse any other.
pub const PROTOCOL: u32 = 1;

/// Largest JSON document accepted, in bytes.
pub const MAX_JSON: u32 = 256 << 20;
/// Largest blob accepted in one frame, in bytes; longer contents are cut into several frames.
pub const MAX_BLOB: u32 = 4 << 20;

/// The line that the bootstrap shell prints when the agent's binary is not on the host yet.
pub const NEED_AGENT: &str = "dcos-play: need agent";
/// The line that the agent prints right before its first frame: whatever stands before it (banners, `.bashrc`
/// output) is not ours and is skipped.
pub const AGENT_READY: &str = "dcos-play: agent ready";

/// Names a step within a run: unique for run, host and attempt.
pub type StepKey = String;

/// A name for bytes sent ahead of the step that uses them; unique within a connection.
pub type UploadId = u64;

/// What the controller says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToAgent {
    /// Opens the conversation. The agent answers with [`FromAgent::Hello`].
    Hello { protocol: u32, run: String },
    /// A piece of a file for a later step; the bytes are in the blob. The agent spools it to a private temporary file.
    Upload { id: UploadId, last: bool },
    /// Do one step.
    Step(Box<StepRequest>),
    /// Ends a running step: its process group gets SIGTERM, then SIGKILL after `grace_ms`.
    Cancel { step: StepKey, grace_ms: u64 },
    /// The result of this step is safely in the journal; the agent may forget it.
    Acknowledge { step: StepKey },
    /// Asks for the result of a step that an earlier connection began. Answer: `Done`, or [`FromAgent::Unknown`].
    /// When the step still runs, the answer comes when it ends.
    Collect { step: StepKey },
    /// Nothing more will be asked.
    Bye,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromAgent {
    /// Who and where the agent is.
    Hello(AgentHello),
    /// Bytes that a running step's command has written; they are in the blob.
    Output { step: StepKey, stream: Stream },
    /// A step has ended; this is sent exactly once per step and connection. File contents that belong to the result
    /// (`fetch`, `slurp` of large files) stand in the blob.
    Done { step: StepKey, result: StepResult },
    /// The agent never heard of that step.
    Unknown { step: StepKey },
    /// The agent cannot go on (wrong protocol, unreadable frame).
    Fault { message: String },
}

/// The agent's first words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentHello {
    pub protocol: u32,
    pub version: String,
    pub user: String,
    pub uid: u32,
    pub home: String,
    pub hostname: String,
    /// Contents of `/proc/sys/kernel/random/boot_id`, trimmed.
    pub boot_id: String,
    /// Steps of this run whose results wait to be collected or that still run.
    pub pending: Vec<StepKey>,
}

/// Which of a command's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// One module call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRequest {
    pub step: StepKey,
    /// Short canonical name: `copy`, `systemd`.
    pub module: String,
    /// Arguments after templating, not yet coerced.
    pub args: Map<String, Value>,
    /// Only inspect, change nothing.
    #[serde(default)]
    pub check: bool,
    /// The user wants to see before and after.
    #[serde(default)]
    pub diff: bool,
    /// Added to the environment of the module's commands (the task's `environment`).
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    /// Milliseconds after which the step is ended like by `Cancel`; `None`: never.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Uploads that the arguments refer to by [`UploadRef`] names.
    #[serde(default)]
    pub uploads: Vec<UploadRef>,
    /// Results hold a secret: nothing of this step is spooled in clear beyond what collecting needs.
    #[serde(default)]
    pub no_log: bool,
    /// Start it as a job and answer at once.
    #[serde(default)]
    pub background: Option<Background>,
}

/// A step that goes on by itself (`async`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Background {
    /// Its name; a second request of that name starts nothing.
    pub job: String,
    /// Milliseconds after which it is ended.
    pub limit_ms: u64,
}

/// Binds an upload to an option: the module sees the path of the spooled file as that option's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UploadRef {
    pub id: UploadId,
    /// The option that receives the spooled file's path, e.g. `src`.
    pub option: String,
}

/// A module's result, as Ansible names it: `changed`, `failed`, `msg`, `rc`, `stdout`, ... and for `--diff`
/// `diff: [{before, after, before_header, after_header}]`. Facts stand under `ansible_facts`.
pub type StepResult = Map<String, Value>;

/// What can go wrong while reading a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the connection ended in the middle of a message")]
    Torn,
    #[error("a message of {0} bytes is over the limit")]
    TooLarge(u32),
    #[error("a message could not be understood: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Encodes one frame.
pub fn encode<M: Serialize>(message: &M, blob: &[u8]) -> Result<Vec<u8>, FrameError> {
    let json = serde_json::to_vec(message)?;
    let json_len = u32::try_from(json.len()).map_err(|_| FrameError::TooLarge(u32::MAX))?;
    let blob_len = u32::try_from(blob.len()).map_err(|_| FrameError::TooLarge(u32::MAX))?;
    if json_len > MAX_JSON {
        return Err(FrameError::TooLarge(json_len));
    }
    if blob_len > MAX_BLOB {
        return Err(FrameError::TooLarge(blob_len));
    }
    let mut frame = Vec::with_capacity(8 + json.len() + blob.len());
    frame.extend_from_slice(&json_len.to_be_bytes());
    frame.extend_from_slice(&blob_len.to_be_bytes());
    frame.extend_from_slice(&json);
    frame.extend_from_slice(blob);
    Ok(frame)
}

/// Reads the two lengths at the head of a frame and checks them.
pub fn lengths(head: [u8; 8]) -> Result<(usize, usize), FrameError> {
    let [a, b, c, d, e, f, g, h] = head;
    let json = u32::from_be_bytes([a, b, c, d]);
    let blob = u32::from_be_bytes([e, f, g, h]);
    if json > MAX_JSON {
        return Err(FrameError::TooLarge(json));
    }
    if blob > MAX_BLOB {
        return Err(FrameError::TooLarge(blob));
    }
    Ok((json as usize, blob as usize))
}

/// Reads one frame; `None` when the stream ends between frames.
pub fn read<M: DeserializeOwned>(from: &mut impl Read) -> Result<Option<(M, Vec<u8>)>, FrameError> {
    let mut head = [0; 8];
    let mut got = 0;
    while got < head.len() {
        match from.read(&mut head[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(FrameError::Torn),
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    let (json_len, blob_len) = lengths(head)?;
    let mut json = vec![0; json_len];
    let mut blob = vec![0; blob_len];
    for part in [&mut json, &mut blob] {
        from.read_exact(part).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => FrameError::Torn,
            _ => e.into(),
        })?;
    }
    Ok(Some((serde_json::from_slice(&json)?, blob)))
}

/// Writes one frame and flushes.
pub fn write<M: Serialize>(to: &mut impl Write, message: &M, blob: &[u8]) -> Result<(), FrameError> {
    to.write_all(&encode(message, blob)?)?;
    to.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_trip_and_torn_ones_are_told() {
        let message = ToAgent::Upload { id: 7, last: true };
        let bytes = encode(&message, b"\0\xffdata").expect("encodes");
        let mut from = bytes.as_slice();
        let (back, blob) = read::<ToAgent>(&mut from).expect("reads").expect("a frame");
        assert_eq!((back, blob.as_slice()), (message, b"\0\xffdata".as_slice()));
        assert!(read::<ToAgent>(&mut from).expect("clean end").is_none());
        let mut torn = &bytes[..bytes.len() - 1];
        assert!(matches!(read::<ToAgent>(&mut torn), Err(FrameError::Torn)));
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_memory_is_taken() {
        let mut head = [0; 8];
        head[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(lengths(head), Err(FrameError::TooLarge(u32::MAX))));
    }
}
