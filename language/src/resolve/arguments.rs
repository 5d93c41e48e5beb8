//! A task's arguments: text split, names canonical, all that shows without rendering checked against the module.
//!
//! Owns: the messages about arguments that have a place. Must not: coerce values; the module's spec does that at run time.

use dcos_play_agent::options::{Kind, Opt, Spec};

use super::Arguments;
use crate::source::{Diagnostic, Diagnostics, Node, Sources, Span, Spanned, Yaml, nearest};
use crate::syntax::{Candidate, Unbalanced, split};

/// What of the text form is an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextForm {
    /// `key=value` words only.
    Pairs,
    /// A command with a few known keys.
    FreeForm,
    /// One word, the rest are variables (`include_tasks: file.yml a=1`).
    File,
}

/// Arguments, and for [`TextForm::File`] the variables beside them.
pub(super) struct Read {
    pub arguments: Arguments,
    pub vars: Vec<(Spanned<String>, Node)>,
    /// Something was wrong with the text itself: what is missing is not worth saying.
    pub broken: bool,
}

/// Reads a candidate's arguments and its task's `args:`.
pub(super) fn read(
    sources: &Sources,
    candidate: &Candidate,
    args: Option<&Node>,
    spec: Option<&'static Spec>,
    form: TextForm,
    out: &mut Diagnostics,
) -> Read {
    let module = candidate.name.value.as_str();
    let mut read = Read {
        arguments: Arguments { span: candidate.name.span, entries: Vec::new(), whole: None },
        vars: Vec::new(),
        broken: false,
    };
    let before = out.list.len();
    match &candidate.args.value {
        Yaml::Null => {}
        Yaml::Map(_) => pairs_of(&candidate.args, &mut read.arguments.entries, out),
        Yaml::Str(text) => {
            let body = &text[candidate.text_offset..];
            let takes_text = spec.is_some_and(|s| s.free_form.is_some());
            if form != TextForm::FreeForm && form != TextForm::File && !takes_text && is_one_template(body) {
                read.arguments.whole = Some(candidate.args.clone());
            } else {
                text_form(sources, candidate, text, spec, form, &mut read, out);
            }
        }
        _ => {
            let text = candidate.args.scalar_text();
            match (text, spec.and_then(|s| s.free_form)) {
                // `command: 5` and `include_tasks: 1.0` are text to Ansible too.
                (Some(text), Some(option)) => {
                    let node = Node { span: candidate.args.span, value: Yaml::Str(text.into()) };
                    read.arguments.entries.push((named(option, candidate.args.span), node));
                }
                _ => out.push(
                    Diagnostic::error(
                        "wrong-type",
                        format!("`{module}` takes options, not {}", candidate.args.kind()),
                        candidate.args.span,
                    )
                    .help(match candidate.args.as_seq() {
                        Some(_) => "remove the `- ` before the options".to_owned(),
                        None => format!("write the options below `{module}:`, one a line"),
                    }),
                ),
            }
        }
    }
    match args {
        Some(node) if node.as_map().is_some() => {
            let mut more = Vec::new();
            pairs_of(node, &mut more, out);
            // The module's own arguments win over `args:`.
            more.retain(|(key, _)| !read.arguments.entries.iter().any(|(k, _)| k.value == key.value));
            read.arguments.entries.extend(more);
        }
        Some(node) if node.is_template() => read.arguments.whole = Some(node.clone()),
        _ => {}
    }
    read.broken = out.list.len() > before;
    read
}

/// Gives every argument its canonical name and reports what the module cannot take.
pub(super) fn check(
    arguments: &mut Arguments,
    module: &Spanned<String>,
    spec: &'static Spec,
    incomplete: bool,
    out: &mut Diagnostics,
) {
    let mut seen: Vec<(&'static str, String, Span)> = Vec::new();
    for (key, value) in &mut arguments.entries {
        let Some(option) = spec.option(&key.value) else {
            if spec.any_options {
                continue;
            }
            let names =
                spec.all_options().flat_map(|o| std::iter::once(o.name).chain(o.aliases.iter().copied()));
            let near = nearest(&key.value, names);
            let finding = Diagnostic::error(
                "unknown-argument",
                format!("`{}` has no option `{}`", module.value, key.value),
                key.span,
            );
            out.push(match near {
                Some(near) => finding.label(format!("did you mean `{near}`?")),
                None if spec.all_options().next().is_none() => finding.help("it takes no options"),
                None if crate::syntax::keyword_names(crate::syntax::Place::TASK).any(|k| k == key.value) => {
                    finding.help(format!(
                        "`{}` is a key of the task: indent it like `{}`",
                        key.value, module.value
                    ))
                }
                None => finding.help(format!("it has {}", some_names(spec))),
            });
            continue;
        };
        if let Some((_, first, at)) = seen.iter().find(|(name, ..)| *name == option.name) {
            let message = format!("`{}` is given twice, as `{first}` and as `{}`", option.name, key.value);
            out.push(Diagnostic::error("argument-twice", message, key.span).also(*at, "first here"));
        }
        seen.push((option.name, key.value.clone(), key.span));
        check_value(option, value, &module.value, out);
        option.name.clone_into(&mut key.value);
    }
    if arguments.whole.is_some() || incomplete {
        return;
    }
    // An option that was misspelt is reported as unknown; it is not missing too.
    let slipped = |name: &str| {
        let unknown =
            arguments.entries.iter().map(|(k, _)| k.value.as_str()).filter(|k| spec.option(k).is_none());
        nearest(name, unknown).is_some()
    };
    let given = |name: &str| seen.iter().any(|(n, ..)| *n == name) || slipped(name);
    for option in spec.all_options().filter(|o| o.required && !given(o.name)) {
        let what = match spec.free_form {
            Some(free) if free == option.name => format!("`{}` needs something to do", module.value),
            _ => format!("`{}` needs `{}`", module.value, option.name),
        };
        out.push(Diagnostic::error("missing-argument", what, module.span));
    }
    for group in spec.required_one_of.iter().filter(|g| !g.iter().any(|n| given(n))) {
        let message = format!("`{}` needs one of {}", module.value, quoted(group));
        out.push(Diagnostic::error("missing-argument", message, module.span));
    }
    for group in spec.mutually_exclusive {
        let both: Vec<&(&str, String, Span)> = seen.iter().filter(|(n, ..)| group.contains(n)).collect();
        if let [first, second, ..] = both.as_slice() {
            let message = format!("`{}` takes `{}` or `{}`, not both", module.value, first.1, second.1);
            out.push(Diagnostic::error("exclusive-arguments", message, second.2).also(first.2, "and here"));
        }
    }
    for (option, wanted, needed) in spec.required_if {
        let is = arguments
            .entries
            .iter()
            .any(|(k, v)| k.value == *option && v.scalar_text().as_deref() == Some(*wanted));
        let missing: Vec<&str> = needed.iter().copied().filter(|n| !given(n)).collect();
        if is && !missing.is_empty() {
            let message =
                format!("`{}` needs {} when `{option}` is `{wanted}`", module.value, quoted(&missing));
            out.push(Diagnostic::error("missing-argument", message, module.span));
        }
    }
}

fn check_value(option: &Opt, value: &Node, module: &str, out: &mut Diagnostics) {
    if value.is_null() || value.is_template() || matches!(value.value, Yaml::Vault(_)) {
        return;
    }
    if !option.choices.is_empty() {
        let items = value.as_seq().unwrap_or(std::slice::from_ref(value));
        for item in items.iter().filter(|i| !i.is_template()) {
            let Some(text) = item.scalar_text() else { continue };
            let words = if option.kind == Kind::List {
                text.split(',').map(str::trim).collect()
            } else {
                vec![text.as_str()]
            };
            for word in words {
                if fits_choice(word, item, option) {
                    continue;
                }
                let shown = option.choices.join("`, `");
                let message = format!("`{}` of `{module}` cannot be `{word}`", option.name);
                let finding = Diagnostic::error("wrong-choice", message, item.span);
                out.push(match nearest(word, option.choices.iter().copied()) {
                    Some(near) => finding.label(format!("did you mean `{near}`?")),
                    None => finding.help(format!("it is one of `{shown}`")),
                });
            }
        }
        return;
    }
    let wanted = match (option.kind, &value.value) {
        (Kind::Bool, Yaml::Str(text)) if !is_bool_word(text) => "`true` or `false`",
        (Kind::Bool, Yaml::Int(i)) if !matches!(i, 0 | 1) => "`true` or `false`",
        (Kind::Bool, Yaml::Seq(_) | Yaml::Map(_)) => "`true` or `false`",
        (Kind::Int, Yaml::Str(text)) if text.trim().parse::<i64>().is_err() => "a whole number",
        (Kind::Int, Yaml::Float(f)) if f.fract() != 0.0 => "a whole number",
        (Kind::Int | Kind::Float, Yaml::Seq(_) | Yaml::Map(_)) => "a number",
        (Kind::Float, Yaml::Str(text)) if text.trim().parse::<f64>().is_err() => "a number",
        (Kind::Dict, Yaml::Seq(_) | Yaml::Int(_) | Yaml::Bool(_)) => "a mapping",
        (Kind::List, Yaml::Map(_)) => "a list",
        _ => return,
    };
    let shown = value.scalar_text().map_or_else(|| value.kind().to_owned(), |t| format!("`{t}`"));
    let message = format!("`{}` of `{module}` must be {wanted}, not {shown}", option.name);
    out.push(Diagnostic::error("wrong-type", message, value.span));
}

/// `yes` in YAML is a boolean, but a choice may be written `yes`.
fn fits_choice(word: &str, item: &Node, option: &Opt) -> bool {
    option.choices.contains(&word)
        || match item.value {
            Yaml::Bool(true) => option.choices.iter().any(|c| matches!(*c, "yes" | "true" | "on")),
            Yaml::Bool(false) => option.choices.iter().any(|c| matches!(*c, "no" | "false" | "off")),
            _ => false,
        }
}

fn is_bool_word(text: &str) -> bool {
    matches!(
        text.trim().to_lowercase().as_str(),
        "yes" | "no" | "true" | "false" | "on" | "off" | "1" | "0" | "y" | "n" | "t" | "f" | ""
    )
}

fn text_form(
    sources: &Sources,
    candidate: &Candidate,
    text: &str,
    spec: Option<&'static Spec>,
    form: TextForm,
    read: &mut Read,
    out: &mut Diagnostics,
) {
    let offset = candidate.text_offset;
    let span = candidate.args.span;
    let body = &text[offset..];
    let inside =
        |range: std::ops::Range<usize>| sources.inside(span, text, range.start + offset..range.end + offset);
    let found = match split(body, form == TextForm::FreeForm) {
        Ok(found) => found,
        // A shell text is the shell's business: here-documents and odd quotes stay as they are.
        Err(_) if form == TextForm::FreeForm && !body.contains("{{") => {
            crate::syntax::Split { pairs: Vec::new(), rest: body.trim().to_owned() }
        }
        Err(Unbalanced(at)) => {
            let end = body[at..].chars().next().map_or(at, |c| at + c.len_utf8());
            out.push(Diagnostic::error("unbalanced", "a quote or a `{{` is never closed", inside(at..end)));
            return;
        }
    };
    let unsafe_ = matches!(candidate.args.value, Yaml::Unsafe(_));
    let text_node = |value: &str, at: Span| {
        let value = if unsafe_ { Yaml::Unsafe(value.into()) } else { Yaml::Str(value.into()) };
        Node { span: at, value }
    };
    let rest = found.rest.trim();
    for pair in found.pairs {
        let key = Spanned { span: inside(pair.key_at), value: pair.key };
        let node = text_node(&pair.value, inside(pair.value_at));
        if form == TextForm::File && !matches!(key.value.as_str(), "file" | "apply") {
            read.vars.push((key, node));
        } else {
            read.arguments.entries.push((key, node));
        }
    }
    if rest.is_empty() {
        return;
    }
    // The text as it stands keeps the node's own span, so that places inside of it can be found.
    let node = if rest == text.trim() {
        text_node(if form == TextForm::FreeForm { text } else { text.trim_end_matches('\n') }, span)
    } else {
        text_node(rest, span)
    };
    match (form, spec.and_then(|s| s.free_form)) {
        (TextForm::File, _) => read.arguments.entries.insert(0, (named("file", span), node)),
        (_, Some(option)) => read.arguments.entries.insert(0, (named(option, span), node)),
        _ => {
            let module = &candidate.name.value;
            let at = body.find(rest).map_or(span, |at| inside(at..at + rest.len()));
            out.push(
                Diagnostic::error(
                    "not-an-option",
                    format!("`{module}` does not take `{}` as text", shortened(rest)),
                    at,
                )
                .help("options are written `name: value` below the module, or `name=value`"),
            );
        }
    }
}

fn pairs_of(node: &Node, into: &mut Vec<(Spanned<String>, Node)>, out: &mut Diagnostics) {
    for entry in node.as_map().map(|m| m.entries.as_slice()).unwrap_or_default() {
        match entry.key.scalar_text() {
            Some(key) => into.push((Spanned { value: key, span: entry.key.span }, entry.value.clone())),
            None => {
                out.push(Diagnostic::error("key-not-text", "an option's name must be text", entry.key.span))
            }
        }
    }
}

fn named(name: &str, span: Span) -> Spanned<String> {
    Spanned { value: name.to_owned(), span }
}

fn is_one_template(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("{{") && text.ends_with("}}") && text.matches("{{").count() == 1
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

fn some_names(spec: &Spec) -> String {
    let names: Vec<&str> = spec.all_options().map(|o| o.name).collect();
    let shown: Vec<String> = names.iter().take(8).map(|n| format!("`{n}`")).collect();
    let more = if names.len() > 8 { format!(" and {} more", names.len() - 8) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    if line.chars().count() > 40 {
        format!("{}...", line.chars().take(37).collect::<String>())
    } else {
        line.to_owned()
    }
}
