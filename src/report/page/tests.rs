use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::model::Page;
use super::render;
use crate::journal::{
    Event, EventKind, FORMAT, Failure, Header, HostTotals, Outcome, Place, RunMode, Totals,
};

fn header() -> Header {
    Header {
        dcos_play_journal: FORMAT,
        run: "20260101-0000-abc".to_owned(),
        program: "dcos-play 0.0".to_owned(),
        agent_run: "20260101-0000-abc".to_owned(),
    }
}

fn events(kinds: Vec<(i64, EventKind)>) -> Vec<Event> {
    kinds.into_iter().zip(0..).map(|((at, kind), seq)| Event { seq, at: 1_000_000 + at, kind }).collect()
}

fn begins() -> EventKind {
    EventKind::RunStarted {
        run: "20260101-0000-abc".to_owned(),
        version: "0.0".to_owned(),
        command: vec!["dcos-play".to_owned(), "run".to_owned(), "site.yml".to_owned()],
        playbooks: vec!["site.yml".to_owned()],
        mode: RunMode::Apply,
        pid: 1,
        resumes: None,
    }
}

fn play(play: usize, after: Vec<usize>) -> EventKind {
    EventKind::PlayStarted {
        play,
        name: format!("play {play}"),
        phase: None,
        hosts: vec!["a".into(), "b".into()],
        place: Place::default(),
        after,
    }
}

fn starts(step: u64, host: &str, path: &str) -> EventKind {
    EventKind::StepStarted {
        step,
        play: 0,
        host: host.into(),
        path: path.into(),
        name: format!("task {path}").into(),
        role: None,
        action: "command".into(),
        place: Arc::new(Place { file: "site.yml".to_owned(), line: 3, column: 1 }),
        delegate: None,
    }
}

fn ends(step: u64, host: &str, path: &str, outcome: Outcome, result: Value) -> EventKind {
    let Value::Object(result) = result else { panic!("a mapping") };
    let failure = (outcome == Outcome::Failed).then(|| {
        Box::new(Failure {
            name: String::new(),
            place: Place::default(),
            excerpt: "secret lines".to_owned(),
            chain: Vec::new(),
            ran_as: "root".to_owned(),
        })
    });
    EventKind::StepFinished {
        step,
        play: 0,
        host: host.into(),
        path: path.into(),
        outcome,
        took_ms: 5,
        result: Arc::new(result),
        failure,
        fingerprint: Arc::default(),
        kept: true,
        adopted: false,
    }
}

#[test]
fn a_run_becomes_hosts_plays_steps_and_waits() {
    let place = Place { file: "site.yml".to_owned(), line: 9, column: 3 };
    let totals =
        IndexMap::from_iter([(Arc::from("a"), HostTotals { ok: 2, changed: 1, ..HostTotals::default() })]);
    let page = Page::of(
        &header(),
        &events(vec![
            (0, begins()),
            (1, play(0, Vec::new())),
            (2, starts(1, "a", "0.0")),
            (2, starts(2, "b", "0.0")),
            (10, ends(1, "a", "0.0", Outcome::Changed, json!({"changed": true, "stdout": "hello", "rc": 0}))),
            (
                11,
                EventKind::HostWaiting {
                    play: 0,
                    host: "a".into(),
                    reason: "looks at `hostvars`".to_owned(),
                    place,
                },
            ),
            (500, ends(2, "b", "0.0", Outcome::Ok, json!({"changed": false}))),
            (501, starts(3, "a", "0.1")),
            (601, ends(3, "a", "0.1", Outcome::Ok, json!({"changed": false}))),
            (602, EventKind::PlayFinished { play: 0 }),
            (602, play(1, vec![0])),
            (603, EventKind::RunFinished { totals: Totals { hosts: totals }, took_ms: 603, exit: 0 }),
        ]),
    );
    assert_eq!(page.hosts.iter().map(|h| &*h.name).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(page.hosts[0].totals.changed, 1);
    assert_eq!(page.plays[1].after, [0]);
    assert_eq!((page.plays[0].start, page.plays[0].end), (1, 602));
    assert_eq!(page.tasks.len(), 2, "one task, however many hosts have it");
    assert_eq!(
        page.steps.iter().map(|s| (s.host, s.start, s.took)).collect::<Vec<_>>(),
        [(0, 2, 8), (1, 2, 498), (0, 501, 100)]
    );
    assert_eq!(page.critical, [1, 2], "host `a` waited for `b`");
    assert_eq!(page.waits.len(), 1);
    assert_eq!(page.waits[0].why, "looks at `hostvars` (site.yml:9)");
    assert_eq!(page.steps[0].said[0], ("stdout".to_owned(), "hello".to_owned()));
    assert!(page.steps[1].said.is_empty(), "`changed: false` is what the colour says");
}

#[test]
fn a_killed_run_shows_what_was_going_on() {
    let page = Page::of(
        &header(),
        &events(vec![
            (0, begins()),
            (1, play(0, Vec::new())),
            (5, starts(1, "a", "0.0")),
            (95, play(1, vec![])),
        ]),
    );
    assert_eq!(page.exit, None);
    assert_eq!(page.took, 95);
    assert_eq!(page.steps[0].outcome, None);
    assert_eq!(page.steps[0].took, 90);
}

#[test]
fn a_hidden_step_shows_no_lines() {
    let page = Page::of(
        &header(),
        &events(vec![
            (0, begins()),
            (1, play(0, Vec::new())),
            (2, starts(1, "a", "0.0")),
            (
                3,
                ends(1, "a", "0.0", Outcome::Failed, json!({"censored": "hidden by no_log", "failed": true})),
            ),
        ]),
    );
    assert!(page.steps[0].failure.as_ref().is_some_and(|f| f.excerpt.is_empty()));
    assert_eq!(page.steps[0].said, [("censored".to_owned(), "hidden by no_log".to_owned())]);
}

#[test]
fn output_cannot_end_the_script_that_holds_it() {
    let page = Page::of(
        &header(),
        &events(vec![
            (0, begins()),
            (1, play(0, Vec::new())),
            (2, starts(1, "a", "0.0")),
            (
                3,
                ends(
                    1,
                    "a",
                    "0.0",
                    Outcome::Ok,
                    json!({"stdout": "</script><script>alert(1)</script><!--@data-->"}),
                ),
            ),
        ]),
    );
    let html = render(&page).expect("renders");
    assert_eq!(html.matches("<script").count(), 2);
    assert_eq!(html.matches("</script>").count(), 2);
    assert!(html.contains("\\u003c/script>"));
    assert!(
        !html.contains("http://") || html.matches("http://").count() == 1,
        "only the name of SVG's namespace"
    );
}
