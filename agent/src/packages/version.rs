//! The order of package versions.
//!
//! Owns: Debian's rule (<https://www.debian.org/doc/debian-policy/ch-controlfields.html#version>) and rpm's
//! (<https://rpm.org/docs/latest/manual/dependencies.html>), and shell patterns over versions.

use std::cmp::Ordering;

/// Compares two Debian versions, epoch, upstream part and revision.
#[must_use]
pub fn compare_debian(a: &str, b: &str) -> Ordering {
    let (ea, ua, ra) = debian_parts(a);
    let (eb, ub, rb) = debian_parts(b);
    ea.cmp(&eb).then_with(|| debian_part(ua, ub)).then_with(|| debian_part(ra, rb))
}

fn debian_parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

fn debian_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        while a.first().is_some_and(|c| !c.is_ascii_digit()) || b.first().is_some_and(|c| !c.is_ascii_digit())
        {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order != Ordering::Equal {
                return order;
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let (da, rest_a) = digits(a);
        let (db, rest_b) = digits(b);
        let order = da.len().cmp(&db.len()).then_with(|| da.cmp(db));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// Leading digits without zeros in front, and what follows them.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|c| **c == b'0').count();
    (&number[zeros..], rest)
}

/// Compares two rpm versions or releases.
#[must_use]
pub fn compare_rpm(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip_separators(a);
        b = skip_separators(b);
        // A tilde is older than anything, even the end; a caret newer than the end and older than the rest.
        for mark in [b'~', b'^'] {
            let (ma, mb) = (a.first() == Some(&mark), b.first() == Some(&mark));
            if ma && mb {
                a = skip_separators(&a[1..]);
                b = skip_separators(&b[1..]);
            } else if ma || mb {
                let before_end = mark == b'~';
                let other_ended = if ma { b.is_empty() } else { a.is_empty() };
                let smaller_is_marked = before_end || !other_ended;
                return if ma == smaller_is_marked { Ordering::Less } else { Ordering::Greater };
            }
        }
        match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(x), Some(y)) => match (x.is_ascii_digit(), y.is_ascii_digit()) {
                (true, false) => return Ordering::Greater,
                (false, true) => return Ordering::Less,
                (true, true) => {
                    let ((da, ra), (db, rb)) = (digits(a), digits(b));
                    let order = da.len().cmp(&db.len()).then_with(|| da.cmp(db));
                    if order != Ordering::Equal {
                        return order;
                    }
                    (a, b) = (ra, rb);
                }
                (false, false) => {
                    let end = |t: &[u8]| t.iter().position(|c| !c.is_ascii_alphabetic()).unwrap_or(t.len());
                    let ((la, ra), (lb, rb)) = (a.split_at(end(a)), b.split_at(end(b)));
                    if la != lb {
                        return la.cmp(lb);
                    }
                    (a, b) = (ra, rb);
                }
            },
        }
    }
}

fn skip_separators(text: &[u8]) -> &[u8] {
    let start =
        text.iter().position(|c| c.is_ascii_alphanumeric() || matches!(c, b'~' | b'^')).unwrap_or(text.len());
    &text[start..]
}

/// True when the text matches a shell pattern of `*` and `?`.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    fn go(p: &[char], t: &[char]) -> bool {
        match p {
            [] => t.is_empty(),
            ['*', rest @ ..] => (0..=t.len()).any(|n| go(rest, &t[n..])),
            ['?', rest @ ..] => !t.is_empty() && go(rest, &t[1..]),
            [c, rest @ ..] => t.first() == Some(c) && go(rest, &t[1..]),
        }
    }
    go(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Ordering::{Equal, Greater, Less};

    #[test]
    fn debian_versions_follow_the_policy() {
        for (a, b, order) in [
            ("1.0", "1.0", Equal),
            ("1.0~rc1", "1.0", Less),
            ("1:0.9", "2.0", Greater),
            ("1.10", "1.9", Greater),
            ("1.0-2", "1.0-10", Less),
            ("1.0a", "1.0+", Less),
            ("2.4.7-1ubuntu4", "2.4.7-1ubuntu4.1", Less),
            ("1.001", "1.1", Equal),
        ] {
            assert_eq!(compare_debian(a, b), order, "{a} {b}");
            assert_eq!(compare_debian(b, a), order.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn rpm_versions_follow_rpm() {
        for (a, b, order) in [
            ("1.0", "1.0", Equal),
            ("1.0~rc1", "1.0", Less),
            ("1.0^git1", "1.0", Greater),
            ("1.0^git1", "1.0.1", Less),
            ("7.el7", "7.el7_9", Less),
            ("1.10", "1.9", Greater),
            ("2.a", "2.1", Less),
        ] {
            assert_eq!(compare_rpm(a, b), order, "{a} {b}");
            assert_eq!(compare_rpm(b, a), order.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn patterns_match_whole_versions() {
        assert!(matches("1.2*", "1.2.3") && matches("1.?", "1.2") && !matches("1.2", "1.2.3"));
    }
}
