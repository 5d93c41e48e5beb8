//! Host ranges (`web[01:10:2]`, `db[a:c]`) and the port of `host:2222`.
//!
//! Owns: what one host entry of an inventory expands to. Must not: know files.

/// A host entry taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostEntry {
    pub names: Vec<String>,
    pub port: Option<u16>,
}

/// Why a range makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RangeError {
    #[error("a host range is `[begin:end]` or `[begin:end:step]`, not `[{0}]`")]
    Shape(String),
    #[error("the host range `[{0}]` has no end")]
    NoEnd(String),
    #[error(
        "begin and end of the host range `[{0}]` must have the same number of digits, because begin starts with 0"
    )]
    Width(String),
    #[error("the host range `[{0}]` begins after its end")]
    Order(String),
    #[error("the step of the host range `[{0}]` must be a number from 1")]
    Step(String),
    #[error("the host range `[{0}]` has more than {MOST} hosts")]
    TooMany(String),
}

/// A typing error in a range must not eat all memory.
const MOST: usize = 1_000_000;

/// Splits off the port and expands all ranges, the last one fastest.
pub(super) fn host_entry(text: &str) -> Result<HostEntry, RangeError> {
    let (pattern, port) = split_port(text);
    Ok(HostEntry { names: expand(pattern)?, port })
}

/// `host:22` and `[fe80::1]:22`; a colon inside of a range or of a bare IPv6 address is none.
fn split_port(text: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = text.rsplit_once(':') else { return (text, None) };
    let Ok(port) = port.parse::<u16>() else { return (text, None) };
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'))
        && inner.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return (inner, Some(port));
    }
    let mut in_brackets = false;
    for c in host.chars() {
        match c {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            ':' if !in_brackets => return (text, None),
            _ => {}
        }
    }
    if in_brackets { (text, None) } else { (host, Some(port)) }
}

fn expand(pattern: &str) -> Result<Vec<String>, RangeError> {
    let Some((head, rest)) = pattern.split_once('[') else { return Ok(vec![pattern.to_owned()]) };
    let Some((range, tail)) = rest.split_once(']') else { return Err(RangeError::Shape(rest.to_owned())) };
    let values = range_values(range)?;
    let tails = expand(tail)?;
    if values.len().saturating_mul(tails.len()) > MOST {
        return Err(RangeError::TooMany(range.to_owned()));
    }
    Ok(values.iter().flat_map(|v| tails.iter().map(move |t| format!("{head}{v}{t}"))).collect())
}

fn range_values(range: &str) -> Result<Vec<String>, RangeError> {
    let shape = || RangeError::Shape(range.to_owned());
    let bounds: Vec<&str> = range.split(':').collect();
    let (begin, end, step) = match bounds[..] {
        [begin, end] => (begin, end, 1),
        [begin, end, step] => {
            let step = step.parse::<usize>().ok().filter(|s| *s > 0);
            (begin, end, step.ok_or_else(|| RangeError::Step(range.to_owned()))?)
        }
        _ => return Err(shape()),
    };
    if end.is_empty() {
        return Err(RangeError::NoEnd(range.to_owned()));
    }
    let begin = if begin.is_empty() { "0" } else { begin };
    if let (Some(from), Some(to)) = (letter(begin), letter(end)) {
        if from > to {
            return Err(RangeError::Order(range.to_owned()));
        }
        return Ok((from..=to).step_by(step).map(|at| LETTERS[at..=at].to_owned()).collect());
    }
    let (Ok(from), Ok(to)) = (begin.parse::<usize>(), end.parse::<usize>()) else { return Err(shape()) };
    if from > to {
        return Err(RangeError::Order(range.to_owned()));
    }
    if (to - from) / step >= MOST {
        return Err(RangeError::TooMany(range.to_owned()));
    }
    let width = if begin.len() > 1 && begin.starts_with('0') {
        if begin.len() != end.len() {
            return Err(RangeError::Width(range.to_owned()));
        }
        begin.len()
    } else {
        0
    };
    Ok((from..=to).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn letter(text: &str) -> Option<usize> {
    if text.len() == 1 { LETTERS.find(text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_expand_as_in_ansible() {
        let cases: &[(&str, &[&str], Option<u16>)] = &[
            ("web", &["web"], None),
            ("web:2222", &["web"], Some(2222)),
            ("web[1:3]", &["web1", "web2", "web3"], None),
            ("web[01:05:2].x", &["web01.x", "web03.x", "web05.x"], None),
            ("web[08:10]:22", &["web08", "web09", "web10"], Some(22)),
            ("db[a:c]", &["dba", "dbb", "dbc"], None),
            ("r[1:2]h[a:b]", &["r1ha", "r1hb", "r2ha", "r2hb"], None),
            ("n[:2]", &["n0", "n1", "n2"], None),
            ("[fe80::1]:22", &["fe80::1"], Some(22)),
            ("fe80::1", &["fe80::1"], None),
        ];
        for (text, names, port) in cases {
            let entry = host_entry(text).unwrap();
            assert_eq!(entry.names, *names, "{text}");
            assert_eq!(entry.port, *port, "{text}");
        }
    }

    #[test]
    fn senseless_ranges_are_refused() {
        for text in [
            "a[1]",
            "a[1:]",
            "a[01:100]",
            "a[3:1]",
            "a[c:a]",
            "a[1:9:0]",
            "a[1:9:x]",
            "a[1:x]",
            "a[0:99999999]",
            "a[1:2",
        ] {
            assert!(host_entry(text).is_err(), "{text}");
        }
    }
}
