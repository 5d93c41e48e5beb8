//! How a diagnostic looks: the headline, the place, the lines of the file.
//!
//! Owns: the one rendering, by miette's graphical handler. Must not: decide what is shown; that is in the diagnostic.

use std::fmt;
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};

use super::{Diagnostic, Diagnostics, Label, Severity, SourceFile, SourceId, Sources};

/// Columns that a rendering may take: the same on every terminal, so that messages can be compared.
const WIDTH: usize = 100;

/// Whether to paint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Never,
    Ansi,
}

impl Diagnostic {
    /// The full text with source excerpts, without colour.
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        self.render_in(sources, Colour::Never)
    }

    /// The full text with source excerpts; ends with a line break.
    #[must_use]
    pub fn render_in(&self, sources: &Sources, colour: Colour) -> String {
        let handler = handler(colour);
        let mut out = String::new();
        let first = self.labels.first().map(|l| l.span.file);
        let mut others: Vec<SourceId> = Vec::new();
        for label in &self.labels {
            if Some(label.span.file) != first && !others.contains(&label.span.file) {
                others.push(label.span.file);
            }
        }
        let of = |id: SourceId| self.labels.iter().filter(|l| l.span.file == id).cloned().collect::<Vec<_>>();
        let severity = match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        };
        let main = View {
            severity,
            message: self.message.clone(),
            labels: first.map(of).unwrap_or_default(),
            help: if others.is_empty() { self.help.clone() } else { None },
            code: first.map(|id| Excerpt(sources.file(id))),
        };
        append(&mut out, &handler, &main);
        for (nth, id) in others.iter().enumerate() {
            // miette knows one file a report, so every further file is a report of its own below the first.
            let mut labels = of(*id);
            let message = labels.first_mut().map(|l| std::mem::take(&mut l.text)).unwrap_or_default();
            let view = View {
                severity: miette::Severity::Advice,
                message,
                labels,
                help: if nth + 1 == others.len() { self.help.clone() } else { None },
                code: Some(Excerpt(sources.file(*id))),
            };
            append(&mut out, &handler, &view);
        }
        out
    }
}

impl Diagnostics {
    /// All findings, a blank line after each.
    #[must_use]
    pub fn render_in(&self, sources: &Sources, colour: Colour) -> String {
        self.list.iter().map(|finding| finding.render_in(sources, colour) + "\n").collect()
    }
}

fn handler(colour: Colour) -> GraphicalReportHandler {
    let mut characters = ThemeCharacters::unicode();
    // Words, so that the severity survives a log without colour and `grep error:` works.
    characters.error = "error:".into();
    characters.warning = "warning:".into();
    characters.advice = "see:".into();
    let styles = match colour {
        Colour::Never => ThemeStyles::none(),
        Colour::Ansi => ThemeStyles::ansi(),
    };
    GraphicalReportHandler::new_themed(GraphicalTheme { characters, styles })
        .with_width(WIDTH)
        .with_links(false)
        .with_break_words(false)
        .with_context_lines(1)
        .tab_width(4)
        .without_syntax_highlighting()
}

fn append(out: &mut String, handler: &GraphicalReportHandler, view: &View) {
    let mut text = String::new();
    // Writing to a string cannot fail; a span outside of its file could, and then the headline must still be seen.
    if handler.render_report(&mut text, view).is_err() {
        text = format!("  {}\n", view.message);
    }
    let mut in_excerpt = false;
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        in_excerpt |= line.contains("╭─[");
        // miette sets its reports off by two columns; ours start at the left margin like a compiler's.
        let shown = if in_excerpt { line } else { line.strip_prefix("  ").unwrap_or(line) };
        out.push_str(shown.trim_end());
        out.push('\n');
        in_excerpt &= !line.contains("╰────");
    }
}

#[derive(Debug)]
struct View {
    severity: miette::Severity,
    message: String,
    labels: Vec<Label>,
    help: Option<String>,
    code: Option<Excerpt>,
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for View {}

impl miette::Diagnostic for View {
    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.code.as_ref().map(|c| c as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let file = self.code.as_ref().map(|c| Arc::clone(&c.0))?;
        Some(Box::new(self.labels.iter().enumerate().map(move |(nth, label)| {
            let text = (!label.text.is_empty()).then(|| label.text.clone());
            let span = shown(&file, label);
            if nth == 0 {
                LabeledSpan::new_primary_with_span(text, span)
            } else {
                LabeledSpan::new_with_span(text, span)
            }
        })))
    }
}

/// What is underlined: at most the rest of the first line, because a marked block of twenty lines hides its point.
fn shown(file: &SourceFile, label: &Label) -> SourceSpan {
    let size = file.text.len();
    let start = (label.span.start as usize).min(size);
    let end = (label.span.end as usize).clamp(start, size);
    let first = file.text.get(start..end).unwrap_or("");
    let line = first.lines().next().unwrap_or("");
    let text = line.trim_end();
    SourceSpan::from((start, if text.is_empty() { line.len() } else { text.len() }))
}

/// A file as miette reads it, with columns that count characters and lines from the index.
#[derive(Debug)]
struct Excerpt(Arc<SourceFile>);

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let file = &self.0;
        if span.offset() + span.len() > file.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        let first = file.position(span.offset() as u32);
        let last = file.position((span.offset() + span.len()) as u32);
        let from_line = first.line.saturating_sub(before).max(1);
        // Without context miette asks for the exact place, to print it.
        let (start, column) = if before == 0 && after == 0 {
            (span.offset(), first.column - 1)
        } else {
            (file.line_start(from_line) as usize, 0)
        };
        let end = (file.line_start(last.line + after + 1) as usize).max(start);
        let data = file.text.get(start..end).ok_or(MietteError::OutOfBounds)?;
        Ok(Box::new(MietteSpanContents::new_named(
            file.name.clone(),
            data.as_bytes(),
            (start, end - start).into(),
            from_line - 1,
            column,
            file.line_count(),
        )))
    }
}
