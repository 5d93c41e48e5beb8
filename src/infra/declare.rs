//! What a play declares under `infrastructure:`, and which resource needs which.
//!
//! Owns: reading the mapping, the edges that references make, the order. Pure. Must not: render, or call a cloud.

use std::collections::{BTreeSet, HashMap};

use petgraph::graph::{DiGraph, NodeIndex};

use super::kinds::Kind;
use crate::resolve::Arguments;
use crate::source::{Diagnostic, Diagnostics, Entry, Mapping, Node, Span, Spanned, Yaml, nearest};
use crate::template::Templates;

/// The infrastructure of a play.
#[derive(Debug, Clone)]
pub struct Declared {
    pub span: Span,
    /// The owner's name, perhaps a template.
    pub name: Node,
    pub region: Option<Node>,
    pub profile: Option<Node>,
    pub endpoint_url: Option<Node>,
    /// Ids of instances that are to be made anew.
    pub replace: Option<Node>,
    /// Only some of the resources, with all they need, are made or changed; what else is there stays as it is.
    pub partial: bool,
    /// In the order written.
    pub resources: Vec<Resource>,
    /// Positions in `resources` of those that are worked on, each after those it needs; otherwise as written.
    pub order: Vec<usize>,
}

/// One declared resource.
#[derive(Debug, Clone)]
pub struct Resource {
    pub name: Spanned<String>,
    pub kind: Kind,
    /// Written beside the kind: without it there is no such resource, and what is there of it goes.
    pub when: Option<Node>,
    /// `needs` beside the kind: resources that must be there first though no option refers to them.
    pub after: Option<Node>,
    /// Options by canonical name.
    pub options: Vec<(Spanned<String>, Node)>,
    /// Resources it refers to, by position, with the first place that does.
    pub needs: Vec<(usize, Span)>,
}

const KEYS: &[&str] = &[
    "name",
    "region",
    "aws_region",
    "profile",
    "aws_profile",
    "endpoint_url",
    "replace",
    "only",
    "resources",
];

/// The declaration as the task of an infrastructure play carries it.
#[must_use]
pub fn node_of(arguments: &Arguments) -> Node {
    let entry = |(name, value): &(Spanned<String>, Node)| Entry {
        key: Node { span: name.span, value: Yaml::Str(name.value.as_str().into()) },
        value: value.clone(),
    };
    let entries = arguments.entries.iter().map(entry).collect();
    Node { span: arguments.span, value: Yaml::Map(Mapping { entries }) }
}

/// Reads `infrastructure:`. `None` when nothing useful is left; findings go to `out`.
pub fn read(node: &Node, templates: &Templates, out: &mut Diagnostics) -> Option<Declared> {
    let Some(map) = node.as_map() else {
        let message = format!("`infrastructure` must be a mapping, not {}", node.kind());
        out.push(Diagnostic::error("wrong-type", message, node.span).help("it has `name:` and `resources:`"));
        return None;
    };
    for entry in &map.entries {
        match entry.key.as_str() {
            Some(key) if KEYS.contains(&key) => {}
            key => {
                let key = key.unwrap_or_default();
                let message = format!("`infrastructure` has no key `{key}`");
                let finding = Diagnostic::error("unknown-key", message, entry.key.span);
                out.push(match nearest(key, KEYS.iter().copied()) {
                    Some(near) => finding.label(format!("did you mean `{near}`?")),
                    None => finding.help(
                        "it has `name`, `region`, `profile`, `endpoint_url`, `replace`, `only` and `resources`",
                    ),
                });
            }
        }
    }
    let Some(name) = map.get("name").filter(|n| !n.is_null()).cloned() else {
        out.push(
            Diagnostic::error("no-owner", "this infrastructure has no `name`", node.span)
                .help("the name marks what belongs to it: all that is made carries it as a tag"),
        );
        return None;
    };
    let Some(resources) = map.get("resources").and_then(Node::as_map) else {
        let at = map.get("resources").map_or(node.span, |n| n.span);
        out.push(
            Diagnostic::error("no-resources", "`resources` must be a mapping of names to resources", at)
                .help("such as `vpc: {ec2_vpc_net: {cidr_block: 10.0.0.0/16}}`"),
        );
        return None;
    };
    let mut resources: Vec<Resource> =
        resources.entries.iter().filter_map(|e| resource(&e.key, &e.value, out)).collect();
    edges(&mut resources, templates, out);
    let mut order = order(&resources, out)?;
    let wanted = map.get("only").filter(|n| !n.is_null()).map(|node| only(node, &resources, out));
    if let Some(wanted) = &wanted {
        order.retain(|at| wanted.contains(at));
    }
    let any = |names: [&str; 2]| names.iter().find_map(|n| map.get(n)).cloned();
    Some(Declared {
        span: node.span,
        name,
        region: any(["region", "aws_region"]),
        profile: any(["profile", "aws_profile"]),
        endpoint_url: map.get("endpoint_url").cloned(),
        replace: map.get("replace").cloned(),
        partial: wanted.is_some(),
        resources,
        order,
    })
}

fn resource(key: &Node, value: &Node, out: &mut Diagnostics) -> Option<Resource> {
    let Some(name) = key.as_str().filter(|n| is_name(n)) else {
        out.push(
            Diagnostic::error("bad-name", "a resource's name is a word that templates can use", key.span)
                .help("letters, digits and `_`, no digit first: `public_subnet`"),
        );
        return None;
    };
    let Some(Mapping { entries }) = value.as_map() else {
        let message = format!("the resource `{name}` must be a mapping, not {}", value.kind());
        out.push(Diagnostic::error("wrong-type", message, value.span).help("such as `{ec2_vpc_net: {...}}`"));
        return None;
    };
    let (conditions, kinds): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|e| matches!(e.key.as_str(), Some("when" | "needs")));
    let beside = |key: &str| conditions.iter().find(|e| e.key.as_str() == Some(key)).map(|e| e.value.clone());
    let (when, after) = (beside("when"), beside("needs"));
    let [entry] = kinds.as_slice() else {
        let message = format!("the resource `{name}` must have one key, the name of its kind");
        out.push(
            Diagnostic::error("not-one-kind", message, value.span)
                .help("and, if need be, `when` and `needs`"),
        );
        return None;
    };
    let written = entry.key.as_str().unwrap_or_default();
    let Some(kind) = Kind::named(written) else {
        let message = format!("there is no kind of resource `{written}`");
        let finding = Diagnostic::error("unknown-kind", message, entry.key.span);
        out.push(match Kind::near(written) {
            Some(near) => finding.label(format!("did you mean `{near}`?")),
            None => finding.help(format!(
                "it is one of {}",
                Kind::all().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
            )),
        });
        return None;
    };
    let given: &[crate::source::Entry] = match &entry.value.value {
        Yaml::Map(map) => &map.entries,
        Yaml::Null => &[],
        _ => {
            let message = format!("the options of `{name}` must be a mapping, not {}", entry.value.kind());
            out.push(Diagnostic::error("wrong-type", message, entry.value.span));
            return None;
        }
    };
    let static_values: Vec<Option<serde_json::Value>> = given.iter().map(|e| plain(&e.value)).collect();
    let faults = kind.spec().check_static(
        given.iter().zip(&static_values).map(|(e, v)| (e.key.as_str().unwrap_or_default(), v.as_ref())),
    );
    for fault in &faults {
        let text = fault.to_string();
        // The place of the option that the message names, else of the kind.
        let at = given
            .iter()
            .filter(|e| e.key.as_str().is_some_and(|k| text.contains(&format!("`{k}`"))))
            .map(|e| e.key.span)
            .next()
            .unwrap_or(entry.key.span);
        out.push(Diagnostic::error("bad-option", text, at));
    }
    let options = given
        .iter()
        .filter_map(|e| {
            let option = kind.spec().option(e.key.as_str()?)?;
            Some((Spanned { value: option.name.to_owned(), span: e.key.span }, e.value.clone()))
        })
        .collect();
    let name = Spanned { value: name.to_owned(), span: key.span };
    Some(Resource { name, kind, when, after, options, needs: Vec::new() })
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A value without templates as JSON.
fn plain(node: &Node) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match &node.value {
        Yaml::Null => Json::Null,
        Yaml::Bool(b) => Json::Bool(*b),
        Yaml::Int(i) => Json::from(*i),
        Yaml::Float(f) => Json::from(*f),
        Yaml::Str(_) if node.is_template() => return None,
        Yaml::Str(s) | Yaml::Unsafe(s) => Json::from(&**s),
        Yaml::Vault(_) => return None,
        Yaml::Seq(items) => Json::Array(items.iter().map(plain).collect::<Option<_>>()?),
        Yaml::Map(map) => Json::Object(
            map.entries
                .iter()
                .map(|e| Some((e.key.scalar_text()?, plain(&e.value)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

/// Every text in a node, with its place.
fn texts<'n>(node: &'n Node, visit: &mut dyn FnMut(&'n str, Span)) {
    match &node.value {
        Yaml::Str(text) if node.is_template() => visit(text, node.span),
        Yaml::Seq(items) => items.iter().for_each(|n| texts(n, visit)),
        Yaml::Map(map) => map.entries.iter().for_each(|e| {
            texts(&e.key, visit);
            texts(&e.value, visit);
        }),
        _ => {}
    }
}

fn items(node: &Node) -> Vec<&Node> {
    match &node.value {
        Yaml::Seq(items) => items.iter().collect(),
        _ => vec![node],
    }
}

fn unknown<'n>(name: &str, at: Span, names: impl Iterator<Item = &'n str>, help: &str) -> Diagnostic {
    let finding = Diagnostic::error("unknown-resource", format!("no resource `{name}`"), at);
    match nearest(name, names) {
        Some(near) => finding.label(format!("did you mean `{near}`?")),
        None => finding.help(help),
    }
}

/// The resources named, and all that they need.
fn only(node: &Node, resources: &[Resource], out: &mut Diagnostics) -> BTreeSet<usize> {
    let mut open = Vec::new();
    for one in items(node) {
        let name = one.scalar_text().unwrap_or_default();
        match resources.iter().position(|r| r.name.value == name) {
            Some(at) => open.push(at),
            None => out.push(unknown(
                &name,
                one.span,
                resources.iter().map(|r| &*r.name.value),
                "`only` lists names of resources of this infrastructure",
            )),
        }
    }
    let mut all = BTreeSet::new();
    while let Some(at) = open.pop() {
        if all.insert(at) {
            open.extend(resources[at].needs.iter().map(|(need, _)| *need));
        }
    }
    all
}

fn edges(resources: &mut [Resource], templates: &Templates, out: &mut Diagnostics) {
    let places: HashMap<String, usize> =
        resources.iter().enumerate().map(|(at, r)| (r.name.value.clone(), at)).collect();
    let instances: Vec<usize> =
        (0..resources.len()).filter(|at| resources[*at].kind == Kind::Instance).collect();
    for resource in resources.iter_mut() {
        let mut needs: Vec<(usize, Span)> = Vec::new();
        for node in resource.after.iter().flat_map(items) {
            let name = node.scalar_text().unwrap_or_default();
            match places.get(&name) {
                Some(at) => needs.push((*at, node.span)),
                None => out.push(unknown(
                    &name,
                    node.span,
                    places.keys().map(String::as_str),
                    "`needs` lists names of resources of this infrastructure",
                )),
            }
        }
        if let Some((text, span)) = resource.when.as_ref().and_then(|w| Some((w.scalar_text()?, w.span))) {
            match templates.check_expression(&text) {
                Ok(refs) => {
                    let at = |name: &str| places.get(name).map(|at| (*at, span));
                    for need in refs.names.iter().filter_map(|r| at(&r.name)) {
                        if !needs.iter().any(|(known, _)| *known == need.0) {
                            needs.push(need);
                        }
                    }
                }
                Err(error) => out.push(Diagnostic::error("bad-template", error.to_string(), span)),
            }
        }
        // Members by tag: any instance may be one.
        if let Some((tags, _)) = resource.options.iter().find(|(name, _)| name.value == "instance_tags") {
            needs.extend(instances.iter().map(|at| (*at, tags.span)));
        }
        for (_, value) in &resource.options {
            texts(value, &mut |text, span| match templates.check_text(text) {
                Ok(refs) => {
                    if let Some(problem) = refs.problems.first() {
                        out.push(Diagnostic::error("bad-template", problem.to_string(), span));
                    }
                    for reference in &refs.names {
                        if let Some(at) = places.get(&*reference.name)
                            && !needs.iter().any(|(known, _)| known == at)
                        {
                            needs.push((*at, span));
                        }
                    }
                }
                Err(error) => out.push(Diagnostic::error("bad-template", error.to_string(), span)),
            });
        }
        resource.needs = needs;
    }
}

/// An order in which each resource comes after those it needs.
fn order(resources: &[Resource], out: &mut Diagnostics) -> Option<Vec<usize>> {
    let mut graph: DiGraph<usize, Span> = DiGraph::new();
    let nodes: Vec<NodeIndex> = (0..resources.len()).map(|at| graph.add_node(at)).collect();
    for (at, resource) in resources.iter().enumerate() {
        for (need, span) in &resource.needs {
            graph.add_edge(nodes[*need], nodes[at], *span);
        }
    }
    let mut round = false;
    for group in petgraph::algo::tarjan_scc(&graph) {
        let itself = group.len() == 1 && graph.contains_edge(group[0], group[0]);
        if group.len() < 2 && !itself {
            continue;
        }
        round = true;
        let mut members: Vec<usize> = group.iter().map(|n| graph[*n]).collect();
        members.sort_unstable();
        let names: Vec<String> =
            members.iter().map(|at| format!("`{}`", resources[*at].name.value)).collect();
        let message = match itself {
            true => format!("{} refers to itself", names[0]),
            false => format!("resources refer to each other in a circle: {}", names.join(", ")),
        };
        let mut places = members.iter().flat_map(|at| {
            resources[*at]
                .needs
                .iter()
                .filter(|(need, _)| members.contains(need))
                .map(move |(need, span)| (*at, *need, *span))
        });
        if let Some((at, need, span)) = places.next() {
            let words = |at: usize, need: usize| {
                format!("`{}` needs `{}`", resources[at].name.value, resources[need].name.value)
            };
            let finding = Diagnostic::error("resource-cycle", message, span).label(words(at, need));
            out.push(places.fold(finding, |f, (at, need, span)| f.also(span, words(at, need))));
        }
    }
    if round {
        return None;
    }
    // Kahn's algorithm by hand: among those that are free, the one written first.
    let mut waiting: Vec<usize> = resources.iter().map(|r| r.needs.len()).collect();
    let mut free: std::collections::BTreeSet<usize> =
        (0..resources.len()).filter(|at| waiting[*at] == 0).collect();
    let mut order = Vec::with_capacity(resources.len());
    while let Some(at) = free.pop_first() {
        order.push(at);
        for (later, resource) in resources.iter().enumerate() {
            if resource.needs.iter().any(|(need, _)| *need == at) {
                waiting[later] -= 1;
                if waiting[later] == 0 {
                    free.insert(later);
                }
            }
        }
    }
    Some(order)
}
