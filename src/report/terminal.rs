//! The live screen: a bar for every running play, a line for every busy host, failures above them as they happen.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::words::{colour_of, cut, paint, took};
use super::{Context, Reporter, Settings, plain, recap};
use crate::journal::{Event, EventKind, Outcome};

/// Host lines shown at once; more hosts are counted in one line.
const HOST_LINES: usize = 14;

/// Draws on the terminal.
pub struct Terminal {
    settings: Settings,
    screen: MultiProgress,
    plays: HashMap<usize, PlayBar>,
    hosts: HashMap<Arc<str>, ProgressBar>,
    /// The play that each busy host works in.
    playing: HashMap<Arc<str>, usize>,
    not_run: Vec<String>,
}

struct PlayBar {
    bar: ProgressBar,
    name: String,
    began: i64,
    hosts: usize,
    changed: u32,
    rebooted: u32,
    lost: HashSet<Arc<str>>,
}

impl Terminal {
    /// Draws on standard error, as progress is no output.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(12));
        Self {
            settings,
            screen,
            plays: HashMap::new(),
            hosts: HashMap::new(),
            playing: HashMap::new(),
            not_run: Vec::new(),
        }
    }

    fn above(&self, text: &str) -> std::io::Result<()> {
        self.screen.println(text.trim_end_matches('\n'))
    }

    fn host_line(&mut self, host: &Arc<str>, what: &str) {
        let width = self.settings.width.saturating_sub(4);
        if let Some(line) = self.hosts.get(host) {
            line.set_message(cut(&format!("{host:<14} {what}"), width));
            return;
        }
        if self.hosts.len() >= HOST_LINES {
            return;
        }
        let line = self.screen.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("  {spinner} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        line.set_style(style);
        line.enable_steady_tick(Duration::from_millis(100));
        line.set_message(cut(&format!("{host:<14} {what}"), width));
        self.hosts.insert(Arc::clone(host), line);
    }

    fn free(&mut self, host: &Arc<str>) {
        if let Some(line) = self.hosts.remove(host) {
            line.finish_and_clear();
            self.screen.remove(&line);
        }
    }

    fn show_play(&self, play: usize, now: i64) {
        let Some(p) = self.plays.get(&play) else { return };
        let mut text =
            format!("changed {:<4} {:>8}", p.changed, took(u64::try_from(now - p.began).unwrap_or(0)));
        if p.rebooted > 0 {
            text.push_str(&format!("   ({} rebooted)", p.rebooted));
        }
        if !p.lost.is_empty() {
            text.push_str(&paint(self.settings.colour, "31", &format!("   {} failed", p.lost.len())));
        }
        p.bar.set_message(text);
    }
}

impl Reporter for Terminal {
    fn on_event(&mut self, event: &Event, context: &Context) -> std::io::Result<()> {
        match &event.kind {
            EventKind::PlayStarted { play, name, hosts, .. } => {
                let bar = self.screen.insert(self.plays.len(), ProgressBar::new(0));
                let template = "  {prefix:<22} {bar:24.green/dim} {msg}";
                let style = ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("█▌░");
                bar.set_style(style);
                bar.set_prefix(cut(&format!("{name} ({})", hosts.len()), 22));
                let row = PlayBar {
                    bar,
                    name: name.clone(),
                    began: event.at,
                    hosts: hosts.len(),
                    changed: 0,
                    rebooted: 0,
                    lost: HashSet::new(),
                };
                self.plays.insert(*play, row);
                self.show_play(*play, event.at);
            }
            EventKind::StepStarted { play, host, .. } => {
                let title = match &event.kind {
                    EventKind::StepStarted { name, role: Some(role), .. } => format!("{role} · {name}"),
                    EventKind::StepStarted { name, .. } => name.to_string(),
                    _ => String::new(),
                };
                let title = match &event.kind {
                    EventKind::StepStarted { delegate: Some(to), .. } => format!("{title} -> {to}"),
                    _ => title,
                };
                self.host_line(host, &title);
                self.playing.insert(Arc::clone(host), *play);
                if let Some(p) = self.plays.get(play) {
                    p.bar.inc_length(1);
                }
            }
            EventKind::StepOutput { step, host, text, .. } => {
                let title = context.started(*step).map(|s| s.title()).unwrap_or_default();
                if let Some(last) = text.lines().rev().find(|l| !l.trim().is_empty()) {
                    self.host_line(host, &format!("{title} │ {}", last.trim()));
                }
            }
            EventKind::HostBusy { host, what } => self.host_line(host, what),
            EventKind::StepFinished { play, host, adopted: true, .. } => {
                if let Some(p) = self.plays.get_mut(play) {
                    p.bar.inc(1);
                }
                self.free(host);
            }
            EventKind::StepFinished { play, host, outcome, .. } => {
                if let Some(p) = self.plays.get_mut(play) {
                    p.bar.inc(1);
                    p.changed += u32::from(*outcome == Outcome::Changed);
                    if matches!(outcome, Outcome::Failed | Outcome::Unreachable) {
                        p.lost.insert(Arc::clone(host));
                    }
                }
                self.show_play(*play, event.at);
                self.free(host);
                let debug = match &event.kind {
                    EventKind::StepFinished { step, .. } => {
                        context.started(*step).is_some_and(|s| s.action == "debug")
                    }
                    _ => false,
                };
                let worth = matches!(outcome, Outcome::Failed | Outcome::FailureIgnored)
                    || (*outcome != Outcome::Skipped && (debug || self.settings.verbosity > 0))
                    || (self.settings.diff && *outcome == Outcome::Changed);
                if worth && let Some(text) = plain::lines(event, context, &self.settings) {
                    self.above(&text)?;
                }
            }
            EventKind::PlayFinished { play } => {
                self.show_play(*play, event.at);
                if let Some(p) = self.plays.remove(play) {
                    let mark = if p.lost.is_empty() {
                        paint(self.settings.colour, colour_of(Outcome::Ok), "✓")
                    } else {
                        paint(self.settings.colour, colour_of(Outcome::Failed), "✗")
                    };
                    let message = p.bar.message();
                    p.bar.finish_and_clear();
                    self.screen.remove(&p.bar);
                    let fine = p.hosts.saturating_sub(p.lost.len());
                    let name = cut(&p.name, 30);
                    self.above(&format!(
                        "{mark} {name:<30} {fine}/{} hosts   {}",
                        p.hosts,
                        message.trim_end()
                    ))?;
                }
            }
            EventKind::HostRebooted { host, .. } => {
                let play = self.playing.get(host).and_then(|play| self.plays.get_mut(play));
                if let Some(p) = play {
                    p.rebooted += 1;
                }
                if let Some(text) = plain::lines(event, context, &self.settings) {
                    self.above(&text)?;
                }
            }
            EventKind::HostUnreachable { .. } | EventKind::Warning { .. } | EventKind::CancelBegan { .. } => {
                if let Some(text) = plain::lines(event, context, &self.settings) {
                    self.above(&text)?;
                }
            }
            EventKind::PlayNotRun { name, why, .. } => {
                self.not_run.push(plain::why_not(name, why));
            }
            EventKind::RunStarted { run, command, .. } => {
                self.above(&format!("{}   run {run}", command.join(" ")))?;
            }
            EventKind::RunFinished { totals, took_ms, exit } => {
                for (_, line) in self.hosts.drain() {
                    line.finish_and_clear();
                }
                for (_, p) in self.plays.drain() {
                    p.bar.finish_and_clear();
                }
                self.screen.clear()?;
                let mut out = std::io::stdout().lock();
                use std::io::Write as _;
                out.write_all(recap::table(totals, &self.settings, true).as_bytes())?;
                let closing = recap::closing(totals, *took_ms, *exit, &self.not_run, &self.settings);
                out.write_all(closing.as_bytes())?;
                out.flush()?;
            }
            _ => {}
        }
        Ok(())
    }
}
