//! `junit.xml`: a run as CI servers read it.
//!
//! Owns: the XML. A play is a test suite, a step a test case of its host's class. Must not: decide what a failure is;
//! outcomes do. The format is the one that Jenkins and GitLab read: <https://github.com/testmoapp/junitxml>.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use super::Started;
use super::failure::{message, plain};
use crate::journal::{Event, EventKind, Outcome, PlayId, StepId};

/// What stands in one suite.
#[derive(Default)]
struct Suite {
    name: String,
    cases: String,
    tests: usize,
    failures: usize,
    skipped: usize,
    millis: u64,
}

/// Writes the file, whole or not at all.
///
/// # Errors
/// A disk that refuses.
pub fn write(path: &Path, events: &[Event]) -> std::io::Result<()> {
    super::write_whole(path, render(events).as_bytes())
}

fn render(events: &[Event]) -> String {
    let mut suites: Vec<Suite> = Vec::new();
    let mut plays: HashMap<PlayId, usize> = HashMap::new();
    let mut started: HashMap<StepId, (PlayId, Started<'_>)> = HashMap::new();
    let mut lost: HashMap<StepId, String> = HashMap::new();
    let mut run = "";
    for event in events {
        match &event.kind {
            EventKind::RunStarted { run: id, .. } => run = id,
            EventKind::PlayStarted { play, name, .. } => {
                plays.insert(*play, suites.len());
                suites.push(Suite { name: name.clone(), ..Suite::default() });
            }
            EventKind::StepStarted { step, play, .. } => {
                if let Some(begun) = Started::of(&event.kind) {
                    started.insert(*step, (*play, begun));
                }
            }
            EventKind::HostUnreachable { step, what, .. } => {
                lost.insert(*step, what.clone());
            }
            EventKind::StepFinished { step, host, outcome, took_ms, result, failure, .. } => {
                let Some((play, step_started)) = started.remove(step) else { continue };
                let Some(suite) = plays.get(&play).and_then(|at| suites.get_mut(*at)) else { continue };
                suite.tests += 1;
                suite.millis += took_ms;
                let head = format!(
                    "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
                    escaped(host),
                    escaped(&step_started.title()),
                    seconds(*took_ms)
                );
                let inside = match outcome {
                    Outcome::Ok | Outcome::Changed => None,
                    Outcome::Skipped | Outcome::FailureIgnored | Outcome::UnreachableIgnored => {
                        suite.skipped += 1;
                        Some("<skipped/>".to_owned())
                    }
                    Outcome::Failed | Outcome::Unreachable | Outcome::Cancelled => {
                        suite.failures += 1;
                        let said = lost.remove(step).unwrap_or_else(|| message(result));
                        let mut text = String::new();
                        if let Some(failure) = failure {
                            let _ = writeln!(text, "{}", failure.place);
                        }
                        for key in ["stdout", "stderr"] {
                            if let Some(output) = result.get(key).map(plain).filter(|o| !o.is_empty()) {
                                let _ = writeln!(text, "{key}:\n{output}");
                            }
                        }
                        let word = super::words::outcome(*outcome);
                        Some(format!(
                            "<failure type=\"{word}\" message=\"{}\">{}</failure>",
                            escaped(&said),
                            escaped(&text)
                        ))
                    }
                };
                let _ = match inside {
                    Some(inside) => writeln!(suite.cases, "{head}>{inside}</testcase>"),
                    None => writeln!(suite.cases, "{head}/>"),
                };
            }
            _ => {}
        }
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (tests, failures): (usize, usize) =
        suites.iter().fold((0, 0), |sum, s| (sum.0 + s.tests, sum.1 + s.failures));
    let _ = writeln!(
        out,
        "<testsuites name=\"dcos-play {}\" tests=\"{tests}\" failures=\"{failures}\">",
        escaped(run)
    );
    for suite in &suites {
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\">",
            escaped(&suite.name),
            suite.tests,
            suite.failures,
            suite.skipped,
            seconds(suite.millis)
        );
        out.push_str(&suite.cases);
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// Text for XML 1.0, which has no way to say most control characters: they become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push('\t'),
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::Place;

    #[test]
    fn a_failure_keeps_its_words_and_xml_stays_xml() {
        let events: Vec<Event> = [
            EventKind::PlayStarted {
                play: 0,
                name: "Web & more".to_owned(),
                phase: None,
                hosts: vec!["a".into()],
                place: Place::default(),
                after: Vec::new(),
            },
            EventKind::StepStarted {
                step: 1,
                play: 0,
                host: "a".into(),
                path: "0".into(),
                name: "Look <here>".into(),
                role: Some("web".into()),
                action: "command".into(),
                place: Arc::default(),
                delegate: None,
            },
            EventKind::StepFinished {
                step: 1,
                play: 0,
                host: "a".into(),
                path: "0".into(),
                outcome: Outcome::Failed,
                took_ms: 1042,
                result: serde_json::json!({"msg": "no \"way\"", "stderr": "\u{1b}[31mred"})
                    .as_object()
                    .cloned()
                    .unwrap_or_default()
                    .into(),
                failure: None,
                fingerprint: Arc::default(),
                kept: true,
                adopted: false,
            },
        ]
        .into_iter()
        .zip(0..)
        .map(|(kind, seq)| Event { seq, at: 0, kind })
        .collect();
        assert_eq!(
            render(&events),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"dcos-play \" tests=\"1\" failures=\"1\">\n\
             \x20 <testsuite name=\"Web &amp; more\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"1.042\">\n\
             \x20   <testcase classname=\"a\" name=\"web : Look &lt;here&gt;\" time=\"1.042\">\
             <failure type=\"FAILED\" message=\"no &quot;way&quot;\">stderr:&#10;\u{fffd}[31mred&#10;</failure></testcase>\n\
             \x20 </testsuite>\n</testsuites>\n"
        );
    }
}
