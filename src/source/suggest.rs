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
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(nearest("templte", ["copy", "template"]), Some("template"));
        assert_eq!(nearest("whne", ["when", "name"]), Some("when"));
        assert_eq!(nearest("Hosts", ["hosts"]), Some("hosts"));
        assert_eq!(nearest("xyz", ["copy", "file"]), None);
        assert_eq!(nearest("dcos_verison", ["dcos_version", "dcos_url"]), Some("dcos_version"));
    }
}
