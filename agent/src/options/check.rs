//! The rules about option names and between options.
//!
//! Owns: unknown, missing, doubled and exclusive options, and the static check. Must not: change values.
//! Called by: [`Spec::check_static`] on the controller and by the coercion on the host.

use serde_json::Value;

use super::{ArgumentFault, Opt, Spec, coerce};

/// See [`Spec::check_static`].
pub(super) fn check_static<'a>(
    spec: &Spec,
    given: impl IntoIterator<Item = (&'a str, Option<&'a Value>)>,
) -> Vec<ArgumentFault> {
    let mut faults = Vec::new();
    let mut written: Vec<(&'static Opt, &str, Option<Value>)> = Vec::new();
    for (name, literal) in given {
        let Some(option) = spec.option(name).filter(|o| !internal(o)) else {
            if spec.any_options {
                continue;
            }
            faults.push(unknown(spec, name));
            continue;
        };
        if literal.is_some_and(Value::is_null) {
            continue;
        }
        if let Some((_, first, _)) = written.iter().find(|(o, ..)| o.name == option.name) {
            faults.push(ArgumentFault::Twice {
                module: spec.name,
                option: option.name,
                first: (*first).to_owned(),
                second: name.to_owned(),
            });
            continue;
        }
        let value = literal.cloned().and_then(|v| match coerce::typed(spec.name, option, v) {
            Ok(value) => Some(value),
            Err(fault) => {
                faults.push(fault);
                None
            }
        });
        written.push((option, name, value));
    }
    missing(spec, |name| written.iter().any(|(o, ..)| o.name == name), &mut faults);
    // A template may still come out as `omit`, so only literal values can exclude each other.
    exclusive(spec, |name| written.iter().any(|(o, _, v)| o.name == name && v.is_some()), &mut faults);
    required_if(
        spec,
        |name| written.iter().find(|(o, ..)| o.name == name).and_then(|(_, _, v)| v.as_ref()),
        |name| written.iter().any(|(o, ..)| o.name == name),
        &mut faults,
    );
    faults
}

/// Options that only the controller's own actions may send start with `_`.
fn internal(option: &Opt) -> bool {
    option.name.starts_with('_')
}

/// The fault of an unknown option, with the nearest known one.
pub(super) fn unknown(spec: &Spec, name: &str) -> ArgumentFault {
    let names = spec
        .all_options()
        .filter(|o| !internal(o))
        .flat_map(|o| std::iter::once(o.name).chain(o.aliases.iter().copied()));
    ArgumentFault::Unknown { module: spec.name, option: name.to_owned(), suggestion: nearest(name, names) }
}

/// The name that is most like the given one, if any is like it at all.
pub fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let lower = name.to_lowercase();
    names
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= known.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Required options and groups of which one is needed.
pub(super) fn missing(spec: &Spec, given: impl Fn(&str) -> bool, faults: &mut Vec<ArgumentFault>) {
    for option in spec.all_options().filter(|o| o.required && !given(o.name)) {
        faults.push(ArgumentFault::Missing { module: spec.name, option: option.name });
    }
    for group in spec.required_one_of {
        if !group.iter().any(|name| given(name)) {
            faults.push(ArgumentFault::MissingOneOf { module: spec.name, options: group });
        }
    }
}

/// Groups of which at most one may be given.
pub(super) fn exclusive(spec: &Spec, given: impl Fn(&str) -> bool, faults: &mut Vec<ArgumentFault>) {
    for group in spec.mutually_exclusive {
        let both: Vec<&'static str> = group.iter().copied().filter(|name| given(name)).collect();
        if both.len() > 1 {
            faults.push(ArgumentFault::Exclusive { module: spec.name, options: both });
        }
    }
}

/// Options that another option's value makes necessary.
pub(super) fn required_if<'v>(
    spec: &Spec,
    value: impl Fn(&str) -> Option<&'v Value>,
    given: impl Fn(&str) -> bool,
    faults: &mut Vec<ArgumentFault>,
) {
    for (option, wanted, needed) in spec.required_if {
        let holds = value(option).is_some_and(|v| match v {
            Value::String(s) => s == wanted,
            Value::Bool(on) => wanted.eq_ignore_ascii_case(if *on { "true" } else { "false" }),
            Value::Number(number) => wanted.parse::<f64>().is_ok_and(|w| number.as_f64() == Some(w)),
            _ => false,
        });
        let needed: Vec<&'static str> = needed.iter().copied().filter(|name| !given(name)).collect();
        if holds && !needed.is_empty() {
            faults.push(ArgumentFault::MissingBecause { module: spec.name, option, value: wanted, needed });
        }
    }
}
