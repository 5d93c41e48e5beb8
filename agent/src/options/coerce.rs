//! Turns raw arguments into typed ones.
//!
//! Owns: what each [`Kind`] accepts. Must not: read the host (`~` and `$VAR` of paths are expanded by the driver).
//! Called by: [`Spec::coerce`] on the host, and by the static check for literal values.

use serde_json::{Map, Number, Value};

use super::{ArgumentFault, Kind, Opt, Spec, check};

const TRUE: &[&str] = &["y", "yes", "on", "1", "true", "t"];
const FALSE: &[&str] = &["n", "no", "off", "0", "false", "f"];

/// The whole coercion: names, types, choices, then the rules between options.
pub(super) fn coerce(spec: &Spec, raw: Map<String, Value>) -> Result<Map<String, Value>, Vec<ArgumentFault>> {
    let mut faults = Vec::new();
    let mut written: Vec<(&'static Opt, String)> = Vec::new();
    let mut args = Map::new();
    for (name, value) in raw {
        let Some(option) = spec.option(&name) else {
            if spec.any_options {
                args.insert(name, value);
                continue;
            }
            faults.push(check::unknown(spec, &name));
            continue;
        };
        if value.is_null() {
            continue;
        }
        if let Some((_, first)) = written.iter().find(|(o, _)| o.name == option.name) {
            faults.push(ArgumentFault::Twice {
                module: spec.name,
                option: option.name,
                first: first.clone(),
                second: name,
            });
            continue;
        }
        written.push((option, name));
        match typed(spec.name, option, value) {
            Ok(value) => {
                args.insert(option.name.to_owned(), value);
            }
            Err(fault) => faults.push(fault),
        }
    }
    // An option whose value is wrong counts as given, so that one mistake makes one message.
    let given = |name: &str| written.iter().any(|(o, _)| o.name == name);
    check::missing(spec, given, &mut faults);
    check::exclusive(spec, given, &mut faults);
    check::required_if(spec, |name| args.get(name), given, &mut faults);
    if faults.is_empty() { Ok(args) } else { Err(faults) }
}

/// One value, coerced and held against the choices.
pub(super) fn typed(
    module: &'static str,
    option: &'static Opt,
    value: Value,
) -> Result<Value, ArgumentFault> {
    let value = match boolean_choice(option, &value) {
        Some(choice) => Value::from(choice),
        None => value,
    };
    let shown = if option.secret { "what was given".to_owned() } else { describe(&value) };
    let value = kind(option.kind, value).map_err(|wanted| ArgumentFault::WrongType {
        module,
        option: option.name,
        wanted,
        got: shown,
    })?;
    if !option.choices.is_empty() {
        let items = match &value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        for item in items {
            let text = text(item).unwrap_or_default();
            if !option.choices.contains(&text.as_str()) {
                return Err(ArgumentFault::WrongChoice {
                    module,
                    option: option.name,
                    choices: option.choices,
                    got: if option.secret { "a secret".to_owned() } else { text },
                });
            }
        }
    }
    Ok(value)
}

/// YAML turns an unquoted `no` into a boolean although the choice is the word: the only choice that means the same
/// is taken.
fn boolean_choice(option: &Opt, value: &Value) -> Option<&'static str> {
    let Value::Bool(on) = value else { return None };
    let words = if *on { TRUE } else { FALSE };
    let mut fitting = option.choices.iter().filter(|c| words.contains(&c.to_lowercase().as_str()));
    match (fitting.next(), fitting.next()) {
        (Some(choice), None) => Some(choice),
        _ => None,
    }
}

fn kind(kind: Kind, value: Value) -> Result<Value, &'static str> {
    match kind {
        Kind::Str | Kind::Path => Ok(text(&value).unwrap_or_else(|| written(&value)).into()),
        Kind::Bool => boolean(&value).map(Value::from).ok_or("a boolean"),
        Kind::Int => integer(&value).map(Value::from).ok_or("an integer"),
        Kind::Float => float(&value).ok_or("a number"),
        Kind::List => list(value).ok_or("a list of strings"),
        Kind::RawList => Ok(match value {
            Value::Array(_) => value,
            one => Value::Array(vec![one]),
        }),
        Kind::Dict => dict(value).ok_or("a mapping, JSON or `key=value` words"),
        Kind::Raw => Ok(value),
        Kind::Mode => mode(&value).map(Value::from).ok_or("a file mode such as `\"0644\"` or `u=rw,g=r`"),
        Kind::Bytes => bytes(&value).map(Value::from).ok_or("a size such as `10M`"),
    }
}

/// A scalar as Python would print it; `None` for lists and mappings.
fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(s) => s.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(n) => n.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    })
}

/// Any value as Python would write it: what Ansible makes of a list or mapping where an option wants text.
fn written(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::String(s) => quoted(s),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(written).collect())),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(k, v)| format!("{}: {}", quoted(k), written(v)));
            format!("{{{}}}", joined(entries.collect()))
        }
        scalar => text(scalar).unwrap_or_default(),
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote || c == '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

fn boolean(value: &Value) -> Option<bool> {
    let word = match value {
        Value::Bool(on) => return Some(*on),
        Value::String(s) => s.trim().to_lowercase(),
        Value::Number(n) => match n.as_f64() {
            Some(1.0) => return Some(true),
            Some(0.0) => return Some(false),
            _ => return None,
        },
        _ => return None,
    };
    if TRUE.contains(&word.as_str()) {
        Some(true)
    } else if FALSE.contains(&word.as_str()) {
        Some(false)
    } else {
        None
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(on) => Some(i64::from(*on)),
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().and_then(whole)),
        Value::String(s) => {
            let s = s.trim();
            s.parse().ok().or_else(|| s.parse().ok().and_then(whole))
        }
        _ => None,
    }
}

/// A float without a fraction as an integer.
fn whole(number: f64) -> Option<i64> {
    // Beyond 2^53 a float no longer says which integer was meant.
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "just checked to be an integer within 2^53")]
    exact.then_some(number as i64)
}

fn float(value: &Value) -> Option<Value> {
    let number = match value {
        Value::Number(_) => return Some(value.clone()),
        Value::Bool(on) => f64::from(u8::from(*on)),
        Value::String(s) => s.trim().parse().ok()?,
        _ => return None,
    };
    Number::from_f64(number).map(Value::Number)
}

fn list(value: Value) -> Option<Value> {
    let items = match value {
        Value::Array(items) => items,
        Value::String(s) if s.trim().is_empty() => Vec::new(),
        Value::String(s) => s.split(',').map(|item| Value::from(item.trim())).collect(),
        Value::Object(_) | Value::Null => return None,
        scalar => vec![scalar],
    };
    let items: Option<Vec<Value>> = items.iter().map(|item| text(item).map(Value::from)).collect();
    items.map(Value::Array)
}

fn dict(value: Value) -> Option<Value> {
    let source = match value {
        Value::Object(_) => return Some(value),
        Value::String(s) => s,
        _ => return None,
    };
    let trimmed = source.trim();
    if trimmed.starts_with('{') {
        return serde_json::from_str::<Map<String, Value>>(trimmed).ok().map(Value::Object);
    }
    let mut map = Map::new();
    for word in words(trimmed)? {
        let (key, value) = word.split_once('=')?;
        map.insert(key.trim().to_owned(), Value::from(value.trim()));
    }
    (!map.is_empty()).then_some(Value::Object(map))
}

/// Splits `a=1, b="x y"` at commas and blanks outside quotes; `None` when a quote stays open.
fn words(source: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => word.extend(chars.next()),
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (',' | ' ' | '\t' | '\n', None) => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (c, _) => word.push(c),
        }
    }
    if quote.is_some() {
        return None;
    }
    if !word.is_empty() {
        words.push(word);
    }
    Some(words)
}

/// A mode in its normal form: four octal digits or more, or symbolic as it came, or a word such as `preserve`.
///
/// An integer is the mode itself: YAML has read `0644` as 420 already.
fn mode(value: &Value) -> Option<String> {
    let source = match value {
        Value::Number(n) => return n.as_u64().filter(|n| *n <= 0o7777).map(|n| format!("{n:04o}")),
        Value::String(s) => s.trim(),
        _ => return None,
    };
    let digits = source.strip_prefix("0o").unwrap_or(source);
    if let Ok(bits) = u32::from_str_radix(digits, 8) {
        return (bits <= 0o7777 && !digits.starts_with('+')).then(|| format!("{bits:04o}"));
    }
    (source == "preserve" || symbolic(source)).then(|| source.to_owned())
}

fn symbolic(source: &str) -> bool {
    source.split(',').all(|clause| {
        let who_ends = clause.find(|c| !"ugoa".contains(c)).unwrap_or(clause.len());
        let rest = &clause[who_ends..];
        rest.starts_with(['+', '-', '=']) && rest.chars().all(|c| "+-=rwxXstugo".contains(c))
    })
}

/// A number of bytes as it is written: `10M`, `1G` or a number.
pub(crate) fn bytes(value: &Value) -> Option<u64> {
    let source = match value {
        Value::Number(n) => return n.as_u64(),
        Value::String(s) => s.trim(),
        _ => return None,
    };
    let digits = source.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(source.len());
    let number: f64 = source[..digits].parse().ok()?;
    let unit = source[digits..].trim().to_ascii_uppercase();
    let power = match unit.strip_suffix('B').filter(|u| !u.is_empty()).unwrap_or(&unit) {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        _ => return None,
    };
    let total = number * 1024_f64.powi(power);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded by the check before it"
    )]
    (total < 9e18).then(|| total.round() as u64)
}

/// A value for a message: short, and its type where the value alone doesn't tell.
fn describe(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Null => "nothing".to_owned(),
        Value::String(s) if s.chars().count() > 60 => {
            format!("`{}...`", s.chars().take(60).collect::<String>())
        }
        Value::String(s) => format!("`{s}`"),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{ArgumentFault, Opt, Spec};
    use super::*;

    static OPTIONS: &[Opt] = &[
        Opt::path("path").aliases(&["dest", "name"]).required(),
        Opt::bool("force"),
        Opt::int("retries"),
        Opt::float("delay"),
        Opt::list("groups"),
        Opt::raw_list("rules"),
        Opt::dict("headers"),
        Opt::mode("mode"),
        Opt::bytes("size"),
        Opt::str("state").choices(&["present", "absent", "no"]),
        Opt::str("src"),
        Opt::str("content"),
        Opt::str("password").secret(),
        Opt::int("token").secret(),
    ];
    static SPEC: Spec = Spec {
        options: &[OPTIONS],
        mutually_exclusive: &[&["src", "content"]],
        required_if: &[("state", "present", &["src"])],
        ..Spec::new("thing")
    };

    fn coerced(args: Value) -> Result<Value, Vec<String>> {
        let Value::Object(args) = args else { panic!("arguments are a mapping") };
        SPEC.coerce(args)
            .map(Value::Object)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_become_what_the_option_is() {
        let args = json!({
            "dest": "/x", "force": "Yes", "retries": "3.0", "delay": "0.5", "groups": "a, b,c", "rules": "x",
            "headers": "a=1, b='x y'", "mode": 420, "size": "1.5K", "src": 5, "content": null, "state": false,
        });
        let wanted = json!({
            "path": "/x", "force": true, "retries": 3, "delay": 0.5, "groups": ["a", "b", "c"], "rules": ["x"],
            "headers": {"a": "1", "b": "x y"}, "mode": "0644", "size": 1536, "src": "5", "state": "no",
        });
        assert_eq!(coerced(args), Ok(wanted));
    }

    #[test]
    fn modes_have_one_normal_form() {
        for (given, wanted) in [
            (json!("644"), Some("0644")),
            (json!("0o1777"), Some("1777")),
            (json!(0o755), Some("0755")),
            (json!("u=rw,g=r,o="), Some("u=rw,g=r,o=")),
            (json!("a+rX"), Some("a+rX")),
            (json!("preserve"), Some("preserve")),
            (json!("89"), None),
            (json!("u~x"), None),
            (json!(true), None),
            (json!("77777"), None),
        ] {
            assert_eq!(mode(&given).as_deref(), wanted, "{given}");
        }
    }

    #[test]
    fn a_list_or_mapping_for_a_string_is_written_as_python_would() {
        let given = json!({"path": "/x", "state": "no", "content": ["a", "b'c", {"k": [1, true, null, 1.5, "\u{e9}\n"]}]});
        let coerced = coerced(given).expect("coerced");
        assert_eq!(coerced["content"], r#"['a', "b'c", {'k': [1, True, None, 1.5, 'é\n']}]"#);
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let args = json!({
            "pth": "/x", "force": "maybe", "state": "gone", "src": "a", "content": "b", "token": ["x"],
        });
        assert_eq!(
            coerced(args),
            Err(vec![
                "`thing` has no option `pth`, did you mean `path`?".to_owned(),
                "`force` of `thing` must be a boolean, not `maybe`".to_owned(),
                "`state` of `thing` must be one of `present`, `absent`, `no`, not `gone`".to_owned(),
                "`token` of `thing` must be an integer, not what was given".to_owned(),
                "`thing` needs `path`".to_owned(),
                "`thing` takes only one of `src`, `content`".to_owned(),
            ])
        );
        assert_eq!(
            coerced(json!({"path": "/x", "dest": "/y", "state": "present"})),
            Err(vec![
                "`path` of `thing` is given twice, as `path` and as `dest`".to_owned(),
                "`thing` needs `src` when `state` is `present`".to_owned(),
            ])
        );
    }

    #[test]
    fn only_literal_values_are_judged_before_a_host_is_touched() {
        let gone = json!("gone");
        let given =
            [("path", None), ("state", Some(&gone)), ("src", None), ("content", None), ("Force", None)];
        assert_eq!(
            SPEC.check_static(given),
            vec![
                ArgumentFault::WrongChoice {
                    module: "thing",
                    option: "state",
                    choices: &["present", "absent", "no"],
                    got: "gone".to_owned()
                },
                ArgumentFault::Unknown {
                    module: "thing",
                    option: "Force".to_owned(),
                    suggestion: Some("force")
                },
            ]
        );
        assert!(SPEC.is_secret("password") && !SPEC.is_secret("dest"));
    }
}
