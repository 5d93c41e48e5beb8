//! Properties of the loader: whatever stands in a file, it ends in nodes or findings with places inside of the file.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Colour, Diagnostics, Node, Sources, Yaml, parse};

fn load(text: &str) -> (Arc<Sources>, Result<Node, Diagnostics>) {
    let sources = Arc::new(Sources::new(PathBuf::from("/p")));
    let id = sources.add(PathBuf::from("/p/a.yml"), text.to_owned());
    let result = parse(&sources, id);
    (sources, result)
}

fn good(text: &str) -> (Arc<Sources>, Node) {
    let (sources, result) = load(text);
    let shown = |f: Diagnostics| f.render_in(&sources, Colour::Never);
    let node = result.map_err(shown).expect("good YAML");
    (sources, node)
}

/// The text that a node's span covers.
fn covered<'s>(text: &'s str, node: &Node) -> &'s str {
    &text[node.span.start as usize..node.span.end as usize]
}

fn get<'n>(node: &'n Node, key: &str) -> &'n Node {
    node.as_map().and_then(|m| m.get(key)).expect("key")
}

#[test]
fn spans_cover_exactly_what_was_written() {
    let text = "plain: some text   # comment\nquoted: 'it''s'\nlist: [a, \"b\"]\nmap: {x: 1}\nblock: |\n  one\n  two\nanchored: &a !!str 12\nünï: ö\n";
    let (_, node) = good(text);
    assert_eq!(covered(text, get(&node, "plain")), "some text");
    assert_eq!(covered(text, get(&node, "quoted")), "'it''s'");
    assert_eq!(covered(text, get(&node, "list")), "[a, \"b\"]");
    assert_eq!(covered(text, get(&node, "map")), "{x: 1}");
    assert_eq!(covered(text, get(&node, "anchored")), "12");
    assert_eq!(covered(text, get(&node, "ünï")), "ö");
    assert_eq!(get(&node, "block").as_str(), Some("one\ntwo\n"));
}

#[test]
fn parts_of_scalars_are_found_in_the_file() {
    for text in [
        "k: a {{ name }}\n",
        "k: \"a {{ name }}\"\n",
        "k: |\n  first\n  a {{ name }} b\n",
        "- k: >-\n    long\n    {{ name }}\n",
    ] {
        let (sources, node) = good(text);
        let holder = node.as_seq().and_then(|s| s.first()).unwrap_or(&node);
        let scalar = get(holder, "k");
        let value = scalar.as_str().expect("text");
        let at = value.find("name").expect("name");
        let span = sources.inside(scalar.span, value, at..at + 4);
        assert_eq!(&text[span.start as usize..span.end as usize], "name", "{text}");
    }
}

#[test]
fn byte_order_mark_and_windows_line_ends_shift_nothing() {
    let text = "\u{feff}a: 1\r\nb: two\r\n";
    let (sources, node) = good(text);
    let b = get(&node, "b");
    assert_eq!(b.as_str(), Some("two"));
    let place = sources.position(b.span);
    assert_eq!((place.line, place.column), (2, 4));
}

#[test]
fn empty_files_are_nothing() {
    for text in ["", "---\n", "# only a comment\n", "\u{feff}", "\n\n"] {
        assert_eq!(good(text).1.value, Yaml::Null, "{text:?}");
    }
}

#[test]
fn merged_keys_come_first_and_own_ones_win() {
    let (_, node) = good("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  <<: [*a, *b]\n  y: 3\n");
    let keys: Vec<String> = get(&node, "c")
        .as_map()
        .expect("mapping")
        .entries
        .iter()
        .map(|e| {
            format!(
                "{}={}",
                e.key.scalar_text().unwrap_or_default(),
                e.value.scalar_text().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(keys, ["x=1", "y=3", "z=2"]);
}

#[test]
fn unsafe_reaches_everything_below_it() {
    let (_, node) = good("a: !unsafe [\"{{ x }}\", {k: '{{ y }}'}]\n");
    let items = get(&node, "a").as_seq().expect("list");
    assert_eq!(items[0].value, Yaml::Unsafe("{{ x }}".into()));
    assert_eq!(get(&items[1], "k").value, Yaml::Unsafe("{{ y }}".into()));
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    for text in ["[".repeat(5000), "- ".repeat(5000), "{a: ".repeat(5000)] {
        assert!(load(&text).1.is_err());
    }
}

fn inside_file(sources: &Sources, node: &Node, size: u32) -> bool {
    let here =
        node.span.start <= node.span.end && node.span.end <= size && !sources.place(node.span).is_empty();
    here && match &node.value {
        Yaml::Seq(items) => items.iter().all(|n| inside_file(sources, n, size)),
        Yaml::Map(map) => map
            .entries
            .iter()
            .all(|e| inside_file(sources, &e.key, size) && inside_file(sources, &e.value, size)),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Pieces of YAML in any order, with the bytes that hurt: tabs, marks, quotes, braces, letters of several bytes.
    #[test]
    fn any_text_ends_in_nodes_or_findings(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "- ", "a: ", "\n", "  ", "\t", "{{ x }}", "{", "}", "[", "]", "\"", "'", "|\n", ">-\n", "&a ", "*a", "!vault ", "<<: ",
            "ü", "𝄞", "# c\n", "---\n", "...\n", "\r\n", ":", ",", "? ", "%YAML 1.1\n", "x", "0644", "~", "\u{feff}", "!", "\\", "@",
        ]), 0..40))
    {
        let text: String = pieces.concat();
        let (sources, result) = load(&text);
        match result {
            Ok(node) => prop_assert!(inside_file(&sources, &node, text.len() as u32)),
            Err(findings) => {
                prop_assert!(!findings.list.is_empty());
                let shown = findings.render_in(&sources, Colour::Never);
                prop_assert!(shown.starts_with("error: "), "{shown}");
            }
        }
    }
}
