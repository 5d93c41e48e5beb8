//! Drawings of plans: what a picture must hold to be one.

use crate::project;

const PLAYS: &str = "- {name: One & \"only\", hosts: web, phase: first, tasks: [{ping: }]}\n- {name: Two, hosts: web, phase: second, needs: [{play: 'One & \"only\"', scope: host}], tasks: [{ping: }]}\n- {name: Three, hosts: h1, tasks: [{ping: }]}\n";

/// Every tag is closed, and nothing is left of markup in texts.
fn well_formed(svg: &str) {
    let mut open = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "{text}");
        let name = tag.split([' ', '/']).find(|n| !n.is_empty()).expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_picture_needs_nothing_else_and_is_the_same_each_time() {
    let project = project(PLAYS);
    let said = project.run(&["graph", "play.yml", "-i", "hosts"]);
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    well_formed(&said.out);
    assert!(!said.out.contains("href") && !said.out.contains("@import"), "{}", said.out);
    for text in [
        "One &amp; &quot;only&quot;",
        ">Two<",
        ">first<",
        ">second<",
        "web · 2 hosts · 1 task",
        "needs One &amp; &quot;only&quot;, host by host (play.yml:2)",
        "after Two: the order written",
    ] {
        assert!(said.out.contains(text), "`{text}` is not in\n{}", said.out);
    }
    assert_eq!(said.out.matches("marker-end").count(), 2);
    assert_eq!(project.run(&["graph", "play.yml", "-i", "hosts"]).out, said.out);
    let hosts = project.run(&["graph", "play.yml", "-i", "hosts", "--hosts"]);
    well_formed(&hosts.out);
    // Five hosts' parts, two of them straight from their own, one from the end of all.
    assert_eq!(hosts.out.matches("marker-end").count(), 5 + 2 + 1);
}

#[test]
fn a_picture_of_too_many_boxes_is_refused() {
    let project = project("- {name: One, hosts: all, tasks: [{ping: }]}\n");
    project.file("hosts", "n[1:3000]\n");
    let said = project.run(&["graph", "play.yml", "-i", "hosts", "--hosts"]);
    assert!(said.err.contains("3001 boxes are too many for a picture"), "{}", said.err);
    let dot = project.run(&["graph", "play.yml", "-i", "hosts", "--hosts", "--format", "dot"]);
    assert_eq!((dot.status, dot.out.matches(" -> ").count()), (0, 3000));
}
