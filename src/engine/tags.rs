//! Which tasks `--tags` and `--skip-tags` leave.
//!
//! Ansible's rules: <https://docs.ansible.com/ansible/latest/playbook_guide/playbooks_tags.html#special-tags-always-and-never>.

/// True when a task with these tags runs.
#[must_use]
pub fn selected(tags: &[String], only: &[String], skip: &[String]) -> bool {
    let has = |name: &str| tags.iter().any(|t| t == name);
    let overlaps = |wanted: &[String]| tags.iter().any(|t| wanted.iter().any(|w| w == t));
    let says = |wanted: &[String], name: &str| wanted.iter().any(|w| w == name);
    let run = if only.is_empty() || says(only, "all") {
        !has("never") || overlaps(only)
    } else {
        (has("always") && !has("never"))
            || overlaps(only)
            || (says(only, "tagged") && !tags.is_empty() && !has("never"))
            || (says(only, "untagged") && tags.is_empty())
    };
    if !run {
        return false;
    }
    if skip.is_empty() {
        return true;
    }
    let dropped = if says(skip, "all") {
        !has("always") || says(skip, "always")
    } else {
        overlaps(skip)
            || (says(skip, "tagged") && !tags.is_empty())
            || (says(skip, "untagged") && tags.is_empty())
    };
    !dropped
}

#[cfg(test)]
mod tests {
    use super::selected;

    #[test]
    fn special_tags_follow_ansible() {
        for (tags, only, skip, runs) in [
            ("", "", "", true),
            ("never", "", "", false),
            ("never debug", "debug", "", true),
            ("a", "b", "", false),
            ("a b", "b", "", true),
            ("always", "b", "", true),
            ("always never", "b", "", false),
            ("", "tagged", "", false),
            ("a", "tagged", "", true),
            ("", "untagged", "", true),
            ("a", "", "a", false),
            ("always", "", "always", false),
            ("always", "", "all", true),
            ("a", "all", "tagged", false),
            ("a", "a", "untagged", true),
        ] {
            let list = |s: &str| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(
                selected(&list(tags), &list(only), &list(skip)),
                runs,
                "{tags:?} --tags {only:?} --skip-tags {skip:?}"
            );
        }
    }
}
