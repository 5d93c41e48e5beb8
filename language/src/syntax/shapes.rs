//! Whether a keyword's value has the shape the keyword needs, as far as that shows without rendering.

use super::keywords::{Keyword, Place, Shape};
use crate::source::{Diagnostic, Node, Yaml};

/// `None` when the value fits, or can only be judged once its template is rendered.
pub(super) fn check(word: &Keyword, value: &Node, place: Place) -> Option<Diagnostic> {
    if value.is_null() || (value.is_template() && word.shape != Shape::Items) {
        return None;
    }
    let wanted = match word.shape {
        Shape::Any | Shape::Items => return None,
        Shape::Bool if is_bool(value) => return None,
        Shape::Bool => "`true`, `false` or a template",
        Shape::Int if is_number(value, false) => return None,
        Shape::Int => "a whole number or a template",
        Shape::Number if is_number(value, true) => return None,
        Shape::Number => "a number or a template",
        Shape::Text if value.scalar_text().is_some() => return None,
        Shape::Text => "text",
        Shape::Texts => match &value.value {
            Yaml::Seq(items) => {
                let bad = items.iter().find(|i| i.scalar_text().is_none())?;
                return Some(wrong(word, &format!("a list of text, not of {}", plural(bad)), bad));
            }
            _ if value.scalar_text().is_some() => return None,
            _ => "text or a list of text",
        },
        Shape::Conditions => return conditions(word, value),
        Shape::Map if value.as_map().is_some() => return None,
        Shape::Map => "a mapping",
        Shape::Maps => match &value.value {
            Yaml::Map(_) => return None,
            Yaml::Seq(items) => {
                let bad = items.iter().find(|i| i.as_map().is_none() && !i.is_template())?;
                return Some(wrong(word, &format!("a list of mappings, not of {}", plural(bad)), bad));
            }
            _ => "a mapping",
        },
    };
    let finding = wrong(word, &format!("{wanted}, not {}", value.kind()), value);
    let written = value.scalar_text().filter(|t| t.chars().count() <= 30);
    let finding = match written {
        Some(text) => {
            Diagnostic { message: format!("`{}` must be {wanted}, not `{text}`", word.name), ..finding }
        }
        None => finding,
    };
    Some(match (word.shape, place) {
        (Shape::Map, _) if word.name == "vars" && value.as_seq().is_some() => {
            finding.help("remove the `- ` before the names")
        }
        _ => finding,
    })
}

fn conditions(word: &Keyword, value: &Node) -> Option<Diagnostic> {
    let items = value.as_seq().unwrap_or(std::slice::from_ref(value));
    let bad = items.iter().find(|i| !matches!(i.value, Yaml::Str(_) | Yaml::Bool(_)))?;
    let what = match bad.value {
        Yaml::Null => "an empty item".to_owned(),
        _ => bad.kind().to_owned(),
    };
    let finding = wrong(word, &format!("an expression or a list of expressions, not {what}"), bad);
    Some(match &bad.value {
        Yaml::Map(_) => finding
            .help("quote the whole expression when it holds `: ` or starts with `{`; no braces are needed"),
        Yaml::Unsafe(_) => finding.help("an `!unsafe` text is never evaluated"),
        _ => finding,
    })
}

fn wrong(word: &Keyword, wanted: &str, at: &Node) -> Diagnostic {
    Diagnostic::error("wrong-type", format!("`{}` must be {wanted}", word.name), at.span)
}

fn is_bool(value: &Node) -> bool {
    match &value.value {
        Yaml::Bool(_) | Yaml::Int(0 | 1) => true,
        Yaml::Str(text) => matches!(
            text.to_lowercase().as_str(),
            "yes" | "no" | "true" | "false" | "on" | "off" | "1" | "0" | "y" | "n" | "t" | "f"
        ),
        _ => false,
    }
}

fn is_number(value: &Node, fraction: bool) -> bool {
    match &value.value {
        Yaml::Int(_) => true,
        Yaml::Float(f) => fraction || f.fract() == 0.0,
        Yaml::Str(text) => {
            let text = text.trim().trim_end_matches('%');
            text.parse::<i64>().is_ok() || (fraction && text.parse::<f64>().is_ok())
        }
        _ => false,
    }
}

fn plural(node: &Node) -> &'static str {
    match node.value {
        Yaml::Map(_) => "mappings",
        Yaml::Seq(_) => "lists",
        Yaml::Null => "empty items",
        _ => "plain values",
    }
}
