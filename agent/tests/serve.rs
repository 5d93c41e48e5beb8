//! The agent's binary, spoken to as the controller does.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use dcos_play_agent::protocol::{
    self, AGENT_READY, AgentHello, Background, FromAgent, PROTOCOL, StepRequest, StepResult, ToAgent,
    UploadRef,
};
use serde_json::{Value, json};

/// A private folder that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dcos-play-serve-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path => found.push(path.display().to_string()),
                }
            }
        }
        found
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Agent {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Agent {
    fn start(dir: &Dir) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dcos-play-agent"))
            .arg("serve")
            .env("DCOS_PLAY_AGENT_DIR", &dir.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        let to = child.stdin.take().expect("a pipe");
        let mut from = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        from.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), AGENT_READY);
        Self { child, to, from }
    }

    fn hello(dir: &Dir) -> (Self, AgentHello) {
        let mut agent = Self::start(dir);
        agent.say(&ToAgent::Hello { protocol: PROTOCOL, run: "run-1".to_owned() });
        match agent.hear() {
            (FromAgent::Hello(hello), _) => (agent, hello),
            (other, _) => panic!("not a greeting: {other:?}"),
        }
    }

    fn say(&mut self, message: &ToAgent) {
        self.send(message, b"");
    }

    fn send(&mut self, message: &ToAgent, blob: &[u8]) {
        protocol::write(&mut self.to, message, blob).expect("the agent listens");
    }

    fn hear(&mut self) -> (FromAgent, Vec<u8>) {
        protocol::read(&mut self.from).expect("a frame").expect("the agent speaks")
    }

    fn step(&mut self, step: &str, module: &str, args: Value) {
        self.request(request(step, module, args));
    }

    fn request(&mut self, request: StepRequest) {
        self.say(&ToAgent::Step(Box::new(request)));
    }

    /// Output up to the result of this step.
    fn result(&mut self, wanted: &str) -> (String, StepResult) {
        let mut output = Vec::new();
        loop {
            match self.hear() {
                (FromAgent::Output { .. }, bytes) => output.extend(bytes),
                (FromAgent::Done { step, result }, _) if step == wanted => {
                    return (String::from_utf8_lossy(&output).into_owned(), result);
                }
                (other, _) => panic!("not the result of {wanted}: {other:?}"),
            }
        }
    }

    fn bye(mut self) {
        self.say(&ToAgent::Bye);
        drop(self.to);
        let mut rest = Vec::new();
        self.from.read_to_end(&mut rest).expect("reads to the end");
        assert!(self.child.wait().expect("ends").success());
    }
}

fn request(step: &str, module: &str, args: Value) -> StepRequest {
    let Value::Object(args) = args else { panic!("arguments are a mapping") };
    StepRequest {
        step: step.to_owned(),
        module: module.to_owned(),
        args,
        check: false,
        diff: false,
        environment: vec![("FROM_TASK".to_owned(), "task".to_owned())],
        timeout_ms: None,
        uploads: vec![],
        no_log: false,
        background: None,
    }
}

/// A step that goes on by itself.
fn job(step: &str, name: &str, limit_ms: u64, cmd: &str) -> StepRequest {
    let background = Some(Background { job: name.to_owned(), limit_ms });
    StepRequest { background, ..request(step, "shell", json!({ "cmd": cmd })) }
}

impl Agent {
    /// Asks for a job, waiting so many seconds for its end.
    fn status(&mut self, step: &str, name: &str, more: Value) -> Value {
        let mut args = json!({ "jid": name });
        for (key, value) in more.as_object().expect("a mapping") {
            args[key] = value.clone();
        }
        self.step(step, "async_status", args);
        let result = self.result(step).1;
        self.say(&ToAgent::Acknowledge { step: step.to_owned() });
        Value::Object(result)
    }
}

#[test]
fn a_job_outlives_the_agent_that_started_it() {
    let dir = Dir::new("job");
    let (mut agent, _) = Agent::hello(&dir);
    let (gate, trace) = (dir.0.join("gate"), dir.0.join("trace"));
    assert!(Command::new("mkfifo").arg(&gate).status().expect("runs").success());
    let cmd = format!("echo once >> {}; cat {}; exit 3", trace.display(), gate.display());
    agent.request(job("a", "j1.1", 60_000, &cmd));
    let (_, begun) = agent.result("a");
    let file = dir.0.join("async/j1.1").display().to_string();
    assert_eq!(
        Value::Object(begun),
        json!({"ansible_job_id": "j1.1", "started": true, "finished": false, "changed": true, "results_file": file})
    );
    // Asked for twice, as after a broken connection: it is the same job.
    agent.request(job("a2", "j1.1", 60_000, &cmd));
    agent.result("a2");
    agent.say(&ToAgent::Acknowledge { step: "a".to_owned() });
    agent.say(&ToAgent::Acknowledge { step: "a2".to_owned() });
    let running = agent.status("b", "j1.1", json!({}));
    assert_eq!((&running["finished"], &running["started"]), (&json!(false), &json!(true)));
    agent.bye();

    let (mut second, hello) = Agent::hello(&dir);
    assert_eq!(hello.pending.len(), 0);
    std::fs::write(&gate, "x\n").expect("the job reads");
    let ended = second.status("c", "j1.1", json!({"_wait": 30}));
    assert_eq!((&ended["finished"], &ended["rc"], &ended["failed"]), (&json!(true), &json!(3), &json!(true)));
    assert_eq!((&ended["stdout"], &ended["msg"]), (&json!("x"), &json!("non-zero return code")));
    assert_eq!(std::fs::read_to_string(&trace).expect("a trace"), "once\n");
    let cleaned = second.status("d", "j1.1", json!({"mode": "cleanup"}));
    assert_eq!((&cleaned["erased"], &cleaned["changed"]), (&json!(file), &json!(false)));
    let gone = second.status("e", "j1.1", json!({}));
    assert_eq!((&gone["msg"], &gone["failed"]), (&json!("could not find job"), &json!(true)));
    assert_eq!((&gone["finished"], &gone["results_file"]), (&json!(true), &json!(file)));
    second.bye();
    for name in [gate, trace] {
        std::fs::remove_file(name).expect("removes");
    }
    assert_eq!(dir.files(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn a_job_ends_at_its_limit_when_told_or_without_a_word() {
    let dir = Dir::new("job-end");
    let (mut agent, _) = Agent::hello(&dir);
    agent.request(job("a", "j2", 200, "sleep 100"));
    agent.result("a");
    let late = agent.status("b", "j2", json!({"_wait": 30}));
    assert_eq!((&late["msg"], &late["failed"]), (&json!("Timeout exceeded"), &json!(true)));
    agent.request(job("c", "j3", 60_000, "sleep 100"));
    agent.result("c");
    let ended = agent.status("d", "j3", json!({"_wait": 30, "_end": true}));
    assert_eq!((&ended["msg"], &ended["finished"]), (&json!("the step was cancelled"), &json!(true)));
    agent.request(job("e", "j4", 60_000, "sleep 3"));
    agent.result("e");
    let pid = std::fs::read_to_string(dir.0.join("async/j4.lock")).expect("a lock");
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().expect("runs").success());
    let killed = agent.status("f", "j4", json!({"_wait": 30}));
    assert_eq!(killed["msg"], "the job ended without a result: it was killed, or the host restarted");
    let wrong = agent.status("g", "../x", json!({}));
    assert_eq!(wrong["msg"], "`../x` is no job id");
    agent.bye();
}

#[test]
fn steps_run_side_by_side_and_output_comes_live() {
    let dir = Dir::new("live");
    let (mut agent, hello) = Agent::hello(&dir);
    assert_eq!((hello.protocol, hello.pending.len(), hello.boot_id.len()), (PROTOCOL, 0, 36));
    let fifo = dir.0.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("runs").success());
    // The first step can only end after the second has run beside it.
    agent.step("a", "shell", json!({"cmd": format!("echo $FROM_TASK; cat {}", fifo.display())}));
    let (FromAgent::Output { step, .. }, bytes) = agent.hear() else { panic!("output before the result") };
    assert_eq!((step.as_str(), bytes.as_slice()), ("a", &b"task\n"[..]));
    agent.step("b", "shell", json!({"cmd": format!("echo hi > {}", fifo.display())}));
    let mut ended = Vec::new();
    while ended.len() < 2 {
        if let (FromAgent::Done { step, result }, _) = agent.hear() {
            assert_eq!(result["rc"], 0);
            agent.say(&ToAgent::Acknowledge { step: step.clone() });
            ended.push(step);
        }
    }
    agent.step("c", "nothing", json!({}));
    assert_eq!(agent.result("c").1["msg"], "this agent has no module `nothing`");
    agent.say(&ToAgent::Acknowledge { step: "c".to_owned() });
    std::fs::remove_file(fifo).expect("removes");
    agent.bye();
    assert_eq!(dir.files(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn cancel_and_timeout_end_a_step() {
    let dir = Dir::new("cancel");
    let (mut agent, _) = Agent::hello(&dir);
    agent.step("a", "shell", json!({"cmd": "echo go; sleep 100"}));
    assert!(matches!(agent.hear().0, FromAgent::Output { .. }));
    agent.say(&ToAgent::Cancel { step: "a".to_owned(), grace_ms: 1000 });
    let (_, result) = agent.result("a");
    assert_eq!((&result["failed"], &result["msg"]), (&json!(true), &json!("the step was cancelled")));
    agent
        .request(StepRequest { timeout_ms: Some(100), ..request("b", "shell", json!({"cmd": "sleep 100"})) });
    let (_, result) = agent.result("b");
    assert_eq!(result["msg"], "Timed out after 0.1 second(s).");
    assert_eq!(result["cmd"], "sleep 100");
    agent.bye();
}

#[test]
fn a_dropped_connection_loses_no_result() {
    let dir = Dir::new("drop");
    let (mut agent, _) = Agent::hello(&dir);
    let fifo = dir.0.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("runs").success());
    agent.step("done", "shell", json!({"cmd": "echo 1"}));
    agent.result("done");
    agent.step("slow", "shell", json!({"cmd": format!("echo go; cat {}; echo 2", fifo.display())}));
    assert!(matches!(agent.hear().0, FromAgent::Output { .. }));
    let Agent { mut child, to, from } = agent;
    drop((to, from));

    let (mut second, hello) = Agent::hello(&dir);
    assert_eq!(hello.pending, ["done", "slow"]);
    second.say(&ToAgent::Collect { step: "never".to_owned() });
    assert_eq!(second.hear().0, FromAgent::Unknown { step: "never".to_owned() });
    second.say(&ToAgent::Collect { step: "done".to_owned() });
    assert_eq!(second.result("done").1["stdout"], "1");
    second.say(&ToAgent::Acknowledge { step: "done".to_owned() });
    second.say(&ToAgent::Collect { step: "slow".to_owned() });
    std::fs::write(&fifo, "x\n").expect("the step reads");
    assert_eq!(second.result("slow").1["stdout"], "go\nx\n2");
    assert!(child.wait().expect("ends").success(), "the first agent ends with its step");
    second.say(&ToAgent::Acknowledge { step: "slow".to_owned() });
    second.say(&ToAgent::Collect { step: "slow".to_owned() });
    assert_eq!(second.hear().0, FromAgent::Unknown { step: "slow".to_owned() });
    second.bye();
}

#[test]
fn a_step_of_a_lost_connection_can_be_cancelled_by_the_next() {
    let dir = Dir::new("orphan");
    let (mut agent, _) = Agent::hello(&dir);
    agent.step("a", "shell", json!({"cmd": "echo go; sleep 100"}));
    assert!(matches!(agent.hear().0, FromAgent::Output { .. }));
    let Agent { mut child, to, from } = agent;
    drop((to, from));
    let (mut second, hello) = Agent::hello(&dir);
    assert_eq!(hello.pending, ["a"]);
    second.say(&ToAgent::Collect { step: "a".to_owned() });
    second.say(&ToAgent::Cancel { step: "a".to_owned(), grace_ms: 1000 });
    assert_eq!(second.result("a").1["msg"], "the step was cancelled");
    assert!(child.wait().expect("ends").success());
    second.bye();
}

#[test]
fn uploads_reach_the_step_that_names_them_and_go_with_it() {
    let dir = Dir::new("upload");
    let (mut agent, _) = Agent::hello(&dir);
    agent.send(&ToAgent::Upload { id: 1, last: false }, b"one ");
    agent.send(&ToAgent::Upload { id: 1, last: true }, b"two");
    agent.send(&ToAgent::Upload { id: 2, last: false }, b"part");
    let with = |step, id| StepRequest {
        uploads: vec![UploadRef { id, option: "stdin".to_owned() }],
        ..request(step, "shell", json!({"cmd": "read f; cat $f; stat -c ' %a' $f"}))
    };
    agent.request(with("a", 1));
    assert_eq!(agent.result("a").1["stdout"], "one two 600");
    for (step, id) in [("b", 1), ("c", 2)] {
        agent.request(with(step, id));
        let msg = format!("upload {id} for `stdin` did not arrive completely");
        assert_eq!(agent.result(step).1["msg"], msg);
    }
    let left = dir.files().into_iter().filter(|f| f.contains("upload-1")).count();
    assert_eq!(left, 0);
    agent.bye();
}

#[test]
fn another_version_and_an_unwritable_folder_are_told() {
    let dir = Dir::new("version");
    let mut agent = Agent::start(&dir);
    agent.say(&ToAgent::Hello { protocol: 99, run: "r".to_owned() });
    let FromAgent::Fault { message } = agent.hear().0 else { panic!("a fault") };
    assert_eq!(message, format!("this agent speaks version {PROTOCOL}, the controller version 99"));
    let file = Dir(dir.0.join("file"));
    std::fs::write(&file.0, "").expect("writes");
    let mut agent = Agent::start(&Dir(file.0.join("sub")));
    let FromAgent::Fault { message } = agent.hear().0 else { panic!("a fault") };
    assert!(message.starts_with("cannot create `"), "{message}");
}
