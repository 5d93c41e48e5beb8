//! A runner for tests that plays a script of commands and answers.

use std::sync::Mutex;

use crate::modules::{Command, Fault, Finished, Host, Runner};

/// Expected commands in order, each with its answer. A command that is not next fails the test.
pub struct Script {
    steps: Mutex<std::collections::VecDeque<(String, Finished)>>,
    inputs: Mutex<Vec<String>>,
}

impl Script {
    /// `(command line, status, stdout)` in the order they must come.
    pub fn of(steps: &[(&str, i32, &str)]) -> Self {
        let steps = steps
            .iter()
            .map(|(line, rc, out)| {
                let stderr = if *rc == 0 { Vec::new() } else { out.as_bytes().to_vec() };
                (
                    (*line).to_owned(),
                    Finished { rc: *rc, stdout: out.as_bytes().to_vec(), stderr, seconds: 0.1 },
                )
            })
            .collect();
        Self { steps: Mutex::new(steps), inputs: Mutex::default() }
    }

    /// A host on which these commands may run.
    pub fn host(&self) -> Host<'_> {
        Host { check: false, diff: true, environment: &[], runner: self }
    }

    /// Standard inputs that commands got.
    pub fn inputs(&self) -> Vec<String> {
        self.inputs.lock().expect("lock").clone()
    }

    /// Every step has been played.
    pub fn done(&self) {
        let left = self.steps.lock().expect("lock");
        assert!(left.is_empty(), "never ran: {left:?}");
    }
}

impl Runner for Script {
    fn run(&self, command: &Command) -> Result<Finished, Fault> {
        let line = command.argv.join(" ");
        if let Some(input) = &command.stdin {
            self.inputs.lock().expect("lock").push(String::from_utf8_lossy(input).into_owned());
        }
        let next = self.steps.lock().expect("lock").pop_front();
        match next {
            Some((expected, answer)) => {
                assert_eq!(line, expected);
                Ok(answer)
            }
            None => panic!("unexpected command: {line}"),
        }
    }

    fn cancelled(&self) -> bool {
        false
    }
}

/// Reads arguments as the driver would after coercion.
pub fn args<A: serde::de::DeserializeOwned>(value: serde_json::Value) -> A {
    serde_json::from_value(value).expect("arguments")
}
