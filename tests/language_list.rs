//! The page that says what of Ansible's language is known is made from the code: `docs/language.md`.
//!
//! `UPDATE_EXPECT=1 cargo test --test language_list` writes it.

use std::fmt::Write as _;
use std::path::Path;

use dcos_play::actions::Known;
use dcos_play::resolve::{Catalogue as _, Found};
use dcos_play::syntax::{KEYWORDS, Place};
use dcos_play::template;
use dcos_play_agent::options::CheckSupport;

/// Modules of `ansible.builtin` 2.19 that are not there, and why. Everything else of it is.
const REFUSED: &[(&str, &str)] = &[
    ("async_wrapper", "is a part of Ansible itself; `async` works"),
    (
        "expect",
        "is Python's pexpect; programs that can be told their answers with options or `stdin` are better off",
    ),
    ("subversion", "no playbook of the census uses it; `command` works"),
];

/// All modules that ansible-core 2.19 has.
const BUILTIN: &str = "add_host apt apt_key apt_repository assemble assert async_status async_wrapper blockinfile command \
    copy cron deb822_repository debconf debug dnf dnf5 dpkg_selections expect fail fetch file find gather_facts get_url \
    getent git group group_by hostname import_playbook import_role import_tasks include_role include_tasks include_vars \
    iptables known_hosts lineinfile meta mount_facts package package_facts pause ping pip raw reboot replace rpm_key script \
    service service_facts set_fact set_stats setup shell slurp stat subversion systemd systemd_service sysvinit tempfile \
    template unarchive uri user validate_argument_spec wait_for wait_for_connection yum_repository";

/// Actions that the language itself defines.
const LANGUAGE: [&str; 7] =
    ["import_playbook", "import_role", "import_tasks", "include", "include_role", "include_tasks", "meta"];

fn known(name: &str) -> bool {
    LANGUAGE.contains(&name) || Known.find(name).is_some()
}

fn page() -> String {
    let mut out = String::from(
        "# What of Ansible's language is known\n\nMade from the code by `make generate`. What is not here is refused by name and \
         place before a host is touched.\n\n## Keywords\n\n| keyword | may stand in |\n|---|---|\n",
    );
    let places = [
        (Place::PLAY, "play"),
        (Place::ROLE, "role"),
        (Place::BLOCK, "block"),
        (Place::TASK, "task"),
        (Place::HANDLER, "handler"),
        (Place::IMPORT_PLAYBOOK, "import_playbook"),
        (Place::LOOP_CONTROL, "loop_control"),
    ];
    for keyword in KEYWORDS.iter().filter(|k| k.refused.is_none()) {
        let at: Vec<&str> =
            places.iter().filter(|(p, _)| keyword.places.meets(*p)).map(|(_, n)| *n).collect();
        writeln!(out, "| `{}` | {} |", keyword.name, at.join(", ")).expect("text");
    }
    out.push_str("\nAnd `with_<lookup>` in tasks. Refused with advice:\n\n");
    for keyword in KEYWORDS {
        if let Some(why) = keyword.refused {
            writeln!(out, "- `{}`: {why}", keyword.name).expect("text");
        }
    }
    out.push_str("\n## Modules\n\n| module | also called | collection | in check mode | options without effect |\n|---|---|---|---|---|\n");
    for name in Known.names() {
        let Some(Found::Module(spec) | Found::Controller(spec)) = Known.find(name) else { continue };
        // They come with the feature `aws`, and docs/aws-infrastructure.md lists them.
        if spec.collections.iter().any(|c| c.ends_with(".aws")) {
            continue;
        }
        let quoted = |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        let ignored: Vec<String> =
            spec.all_options().filter_map(|o| o.ignored.map(|why| format!("`{}` ({why})", o.name))).collect();
        let check = if spec.check == CheckSupport::Full { "told" } else { "skipped" };
        let collection =
            if spec.collections.is_empty() { "`ansible.builtin`".into() } else { quoted(spec.collections) };
        writeln!(
            out,
            "| `{name}` | {} | {collection} | {check} | {} |",
            quoted(spec.aliases),
            ignored.join(", ")
        )
        .expect("text");
    }
    let language = LANGUAGE.map(|n| format!("`{n}`")).join(", ");
    writeln!(
        out,
        "\nThe language itself has {language}. AWS: [aws-infrastructure.md](aws-infrastructure.md)."
    )
    .expect("text");
    out.push_str("\nNot there from `ansible.builtin`:\n\n");
    for (name, why) in REFUSED {
        writeln!(out, "- `{name}`: {why}").expect("text");
    }
    let [filters, tests, functions] = template::known_names();
    for (title, names) in [
        ("Filters", filters),
        ("Tests", tests),
        ("Functions in templates", functions),
        ("Lookups", template::lookup_names()),
    ] {
        let names = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        writeln!(out, "\n## {title}\n\n{names}").expect("text");
    }
    out
}

#[test]
fn the_page_of_what_is_known_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language.md");
    let page = page();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs_err::write(&path, &page).expect("written");
    }
    let there = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/language.md is not what the code says: make generate");
}

#[test]
fn every_builtin_module_is_there_or_refused_with_a_reason() {
    for name in BUILTIN.split_whitespace() {
        let refused = REFUSED.iter().any(|(n, _)| *n == name);
        assert!(known(name) != refused, "{name}");
    }
}

/// The census's modules that at least six of its projects use.
#[test]
fn the_censuss_modules_filters_tests_and_lookups_are_known() {
    for name in "command file template set_fact service apt include_vars package copy debug include_tasks stat shell lineinfile \
        fail import_tasks systemd user get_url assert meta group wait_for yum setup include_role apt_repository unarchive pip \
        slurp uri pause fetch include find mount replace sysctl apt_key import_playbook raw modprobe blockinfile \
        package_facts add_host git script yum_repository service_facts selinux import_role iptables authorized_key getent \
        tempfile firewalld cron ini_file lvol"
        .split_whitespace()
    {
        assert!(known(name), "{name}");
    }
    let [filters, tests, functions] = template::known_names();
    let lookups = template::lookup_names();
    for (what, known, wanted) in [
        (
            "filter",
            &filters,
            "default length bool list int ternary join map regex_replace first basename lower selectattr b64decode \
             regex_search from_json difference trim combine string unique comment to_json replace dirname sort flatten \
             to_nice_yaml json_query ipaddr quote intersect select from_yaml indent to_nice_json union dict2items rejectattr \
             split d type_debug last reject count random to_uuid b64encode float product hash upper to_yaml ipwrap \
             regex_escape round realpath sum password_hash items2dict",
        ),
        (
            "test",
            &tests,
            "defined version changed undefined match search failed none string succeeded version_compare success mapping \
             skipped truthy iterable number sameas regex boolean sequence in false integer ipv4 subset true exists any \
             contains falsy abs dict directory divisibleby ipv4_address ipv6 superset",
        ),
        ("function", &functions, "lookup range namespace query dict undef q"),
        (
            "lookup",
            &lookups,
            "items first_found env file dict fileglob template password together nested subelements vars sequence url pipe \
             flattened filetree inventory_hostnames varnames indexed_items ini list passwordstore collection_version dig",
        ),
    ] {
        for name in wanted.split_whitespace() {
            assert!(known.contains(&name), "{what} {name}");
        }
    }
}
