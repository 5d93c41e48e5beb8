//! The near name: one rule for every "did you mean".

/// The closest of `names` to what was written, if any is close enough to be a slip of the fingers.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let length = written.chars().count();
    let allowed = match length {
        0..=2 => return None,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    names
        .into_iter()
        .filter(|name| *name != written && name.chars().count().abs_diff(length) <= allowed)
        .filter(|name| letters_apart(written, name) <= allowed)
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// How many letters one of the texts has more than the other. No slip adds or takes more than one, so this is never above
/// their distance, and much sooner found.
fn letters_apart(a: &str, b: &str) -> usize {
    if !a.is_ascii() || !b.is_ascii() {
        return 0;
    }
    let mut surplus = [0_i16; 128];
    for byte in a.bytes() {
        surplus[usize::from(byte.to_ascii_lowercase())] += 1;
    }
    for byte in b.bytes() {
        surplus[usize::from(byte.to_ascii_lowercase())] -= 1;
    }
    let (mut more, mut fewer) = (0_usize, 0_usize);
    for count in surplus {
        match count {
            0 => {}
            1.. => more += usize::from(count.unsigned_abs()),
            _ => fewer += usize::from(count.unsigned_abs()),
        }
    }
    more.max(fewer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{letters_apart, nearest};

    proptest! {
        #[test]
        fn letters_are_never_further_apart_than_texts(a in "[a-dA-D_]{0,8}", b in "[a-dA-D_]{0,8}") {
            let distance = strsim::damerau_levenshtein(&a.to_lowercase(), &b.to_lowercase());
            prop_assert!(letters_apart(&a, &b) <= distance);
        }
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(nearest("templte", ["copy", "template"]), Some("template"));
        assert_eq!(nearest("whne", ["when", "name"]), Some("when"));
        assert_eq!(nearest("Hosts", ["hosts"]), Some("hosts"));
        assert_eq!(nearest("xyz", ["copy", "file"]), None);
        assert_eq!(nearest("dcos_verison", ["dcos_version", "dcos_url"]), Some("dcos_version"));
    }
}
