//! The playbook as a whole: imports of playbooks, plays, their ids and what they need.
//!
//! Owns: the order of plays and the checks between them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::expand::Expander;
use super::resolver::Resolution;
use super::{
    Inherited, Item, Need, NeedScope, Order, Play, Playbook, Resolver, Settings, Strategy, VarsPrompt,
    checks, inherit, roles, tasks,
};
use crate::source::{Diagnostic, Diagnostics, Node, Span, Spanned, Yaml, nearest};
use crate::syntax::{self, BookEntry, Keywords};
use crate::vars::Layer;

/// What an `import_playbook` gives to the plays it brings in.
#[derive(Debug, Clone, Default)]
struct Imported {
    when: Vec<super::Condition>,
    tags: Vec<String>,
    vars: Option<Arc<Layer>>,
    chain: Vec<super::Include>,
    /// What plays need besides their own `needs`; a play without any follows the one before it anyway.
    needs: Vec<Need>,
}

/// Playbook files that are open, with the place that asked for them.
type OpenBooks = Vec<(PathBuf, Option<Span>)>;

/// What a play was made from, for the checks between plays.
pub(super) struct Made {
    pub play: Play,
    /// Written `id:`, not derived from the name.
    pub explicit: bool,
    pub scouted: Vec<Item>,
    pub scouted_handlers: Vec<Arc<super::Handler>>,
    pub handlers_unknown: bool,
    /// `register` names of tasks that could not be made.
    pub lost: Vec<Node>,
}

impl Resolver {
    /// Reads a playbook and everything it names statically, and finds all mistakes that can be known now.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> Resolution {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let mut out = Diagnostics::default();
        let mut made = Vec::new();
        self.book(&path, None, &Imported::default(), &mut Vec::new(), &mut made, &mut out);
        check_ids(&made, &mut out);
        check_needs(&made, &mut out);
        checks::handlers(&made, &mut out);
        checks::templates(self, &made, &mut out);
        out.sort();
        let plays =
            made.into_iter().enumerate().map(|(index, made)| Arc::new(Play { index, ..made.play })).collect();
        Resolution { playbook: Playbook { path, plays }, findings: out }
    }

    fn book(
        &self,
        path: &Path,
        at: Option<Span>,
        imported: &Imported,
        open: &mut OpenBooks,
        made: &mut Vec<Made>,
        out: &mut Diagnostics,
    ) {
        if let Some(from) = open.iter().position(|(p, _)| p == path) {
            let names: Vec<String> =
                open[from..].iter().map(|(p, _)| self.shown(p)).chain([self.shown(path)]).collect();
            let places: Vec<Span> =
                at.into_iter().chain(open[from + 1..].iter().filter_map(|(_, at)| *at)).collect();
            if let Some((first, more)) = places.split_first() {
                let message = format!("playbooks import each other in a circle: {}", names.join(" → "));
                let mut finding =
                    Diagnostic::error("import-cycle", message, *first).label("imports it again");
                for (place, (path, _)) in more.iter().zip(&open[from + 1..]) {
                    finding = finding.also(*place, format!("imports `{}`", self.shown(path)));
                }
                out.push(finding.help("remove one of these imports"));
            }
            return;
        }
        let node = match at {
            Some(at) => self.load(path, at, out),
            None => match self.load_first(path) {
                Ok(node) => Some(node),
                Err(findings) => {
                    out.extend(findings);
                    None
                }
            },
        };
        let Some(node) = node else { return };
        open.push((path.to_path_buf(), at));
        let book = syntax::book(&node, out);
        let directory = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        for entry in book.entries {
            match entry {
                BookEntry::Play(play) => {
                    let root = open.first().and_then(|(p, _)| p.parent()).unwrap_or(&directory);
                    let one = self.play(&play, &directory, root, imported, made, out);
                    made.push(one);
                }
                BookEntry::Import(import) => {
                    self.import(&import, &directory, imported, open, made, out);
                }
            }
        }
        open.pop();
    }

    fn import(
        &self,
        import: &syntax::ImportPlaybook,
        directory: &Path,
        outer: &Imported,
        open: &mut OpenBooks,
        made: &mut Vec<Made>,
        out: &mut Diagnostics,
    ) {
        let keywords = &import.keywords;
        for given in
            keywords.given.iter().filter(|g| !matches!(g.name, "name" | "when" | "tags" | "vars" | "needs"))
        {
            out.push(
                Diagnostic::warning(
                    "no-effect",
                    format!("`{}` has no effect on `import_playbook`", given.name),
                    given.key,
                )
                .help("put it on the plays of the imported file"),
            );
        }
        let mut inner = outer.clone();
        inner.when.extend(inherit::conditions(keywords.get("when")));
        inherit::add_tags(&mut inner.tags, keywords.get("tags"));
        inner.needs.extend(needs(keywords, out).unwrap_or_default());
        if let Some(own) = keywords.get("vars").and_then(|n| inherit::layer(n, out)) {
            // The outer import's variables win, as the importing side does everywhere.
            inner.vars = Some(match &outer.vars {
                Some(outer) => Arc::new(inherit::over(&own, outer)),
                None => own,
            });
        }
        let layers: Vec<Arc<Layer>> = inner.vars.iter().cloned().collect();
        let name = if import.file.is_template() {
            self.setup.static_text.render(&import.file, &layers)
        } else {
            import.file.scalar_text()
        };
        let Some(name) = name else {
            out.push(
                Diagnostic::error(
                    "template-in-import",
                    "the name of an imported playbook must be known before the run",
                    import.file.span,
                )
                .help("set the variable with `-e`"),
            );
            return;
        };
        let path = roles::clean(&directory.join(&name));
        if !path.is_file() && name.split('.').count() == 3 && !name.contains('/') && !name.ends_with(".yml") {
            out.push(
                Diagnostic::error(
                    "no-file",
                    format!("the collection playbook `{name}` is not here"),
                    import.file.span,
                )
                .help("import it by its path"),
            );
            return;
        }
        if !path.is_file() {
            let folder = path.parent().unwrap_or(directory).to_path_buf();
            out.push(roles::no_file(self, &name, &folder, &top_files(&folder), import.file.span));
            return;
        }
        inner.chain.push(super::Include { span: import.span, what: self.shown(&path) });
        self.book(&path, Some(import.file.span), &inner, open, made, out);
    }

    fn play(
        &self,
        play: &syntax::Play,
        directory: &Path,
        root: &Path,
        imported: &Imported,
        before: &[Made],
        out: &mut Diagnostics,
    ) -> Made {
        let keywords = &play.keywords;
        let infrastructure = keywords.entry("infrastructure");
        let nobody = infrastructure.map_or(Yaml::Null, |_| Yaml::Str(Arc::from("localhost")));
        let hosts = keywords.get("hosts").cloned().unwrap_or(Node { span: play.span, value: nobody });
        let unnamed = || infrastructure.map_or_else(|| pattern(&hosts), |_| "Infrastructure".to_owned());
        let name = keywords.get("name").and_then(Node::scalar_text).unwrap_or_else(unnamed);
        let explicit = keywords.get("id").and_then(Node::scalar_text);
        let id = explicit.clone().unwrap_or_else(|| free_id(&name, before));
        let mut tags = imported.tags.clone();
        inherit::add_tags(&mut tags, keywords.get("tags"));
        super::catalogue::check_groups(keywords.get("module_defaults"), out);
        let settings = inherit::settings(&Arc::new(Settings::default()), keywords);
        let own_vars = keywords.get("vars").and_then(|n| inherit::layer(n, out)).unwrap_or_default();
        let vars = match &imported.vars {
            Some(upper) => Arc::new(inherit::over(&own_vars, upper)),
            None => own_vars,
        };
        let context = Inherited {
            settings: Arc::clone(&settings),
            when: imported.when.clone(),
            tags: tags.clone(),
            vars: Vec::new(),
            include_params: Vec::new(),
            notify: Vec::new(),
            role: None,
            chain: imported.chain.clone(),
            directory: directory.to_path_buf(),
            playbook_directory: directory.to_path_buf(),
            root_directory: root.to_path_buf(),
            handlers: false,
            prefix: Arc::from(id.as_str()),
        };
        let mut expander = Expander::new(self, true);
        expander.play_vars = Some(Arc::clone(&vars));
        let mut items = expander.items(&play.pre_tasks, &context);
        if !items.is_empty() {
            items.push(tasks::flush(play.span, "pre_tasks", &context));
        }
        for wanted in &play.roles {
            if let Some((more, _)) = expander.role_use(wanted, &context, None) {
                items.extend(more);
            }
        }
        items.extend(infrastructure.and_then(|given| tasks::infrastructure(&mut expander, given, &context)));
        items.extend(expander.items(&play.tasks, &context));
        items.push(tasks::flush(play.span, "tasks", &context));
        let post = expander.items(&play.post_tasks, &context);
        if !post.is_empty() {
            items.extend(post);
            items.push(tasks::flush(play.span, "post_tasks", &context));
        }
        let own = expander.handler_items(&play.handlers, &context);
        expander.handlers.push((None, own));
        let handlers = expander.all_handlers();
        out.extend(std::mem::take(&mut expander.out));
        Made {
            explicit: explicit.is_some(),
            scouted: expander.scouted,
            scouted_handlers: expander.scouted_handlers,
            handlers_unknown: expander.handlers_unknown,
            lost: expander.lost,
            play: Play {
                index: 0,
                span: play.span,
                name,
                id,
                phase: keywords.get("phase").and_then(Node::scalar_text),
                tags,
                needs: needs(keywords, out).map(|mut own| {
                    own.extend(imported.needs.iter().cloned());
                    own
                }),
                order: order(keywords, out),
                strategy: strategy(keywords, out),
                hosts,
                serial: keywords.get("serial").cloned(),
                locks: keywords.get("locks").into_iter().flat_map(inherit::one_or_many).collect(),
                max_fail_percentage: keywords.get("max_fail_percentage").cloned(),
                force_handlers: keywords.get("force_handlers").cloned(),
                // What is declared is made from here: facts of this machine serve nobody.
                gather_facts: keywords.get("gather_facts").cloned().or_else(|| {
                    let silent = (!self.setup.gathers_facts).then_some(play.span);
                    infrastructure
                        .map(|given| given.key)
                        .or(silent)
                        .map(|span| Node { span, value: Yaml::Bool(false) })
                }),
                gather_subset: keywords.get("gather_subset").cloned(),
                gather_timeout: keywords.get("gather_timeout").cloned(),
                fact_path: keywords.get("fact_path").cloned(),
                vars,
                vars_files: keywords.get("vars_files").into_iter().flat_map(inherit::one_or_many).collect(),
                vars_prompt: prompts(keywords.get("vars_prompt"), out),
                settings,
                items,
                handlers,
                roles: expander.roles,
                directory: directory.to_path_buf(),
            },
        }
    }
}

fn top_files(folder: &Path) -> Vec<PathBuf> {
    roles::files_below(folder).into_iter().filter(|p| p.parent() == Some(folder)).collect()
}

/// The hosts pattern as one text, as Ansible names a play without a name.
fn pattern(hosts: &Node) -> String {
    let parts: Vec<String> = inherit::one_or_many(hosts).filter_map(|n| n.scalar_text()).collect();
    parts.join(",")
}

fn literal<'k>(keywords: &'k Keywords, name: &str, out: &mut Diagnostics) -> Option<(&'k Node, String)> {
    let node = keywords.get(name)?;
    if node.is_template() {
        let message = format!("`{name}` of a play cannot be a template");
        out.push(
            Diagnostic::error("template-not-possible", message, node.span)
                .help("it shapes the plan, which is made before any host is known"),
        );
        return None;
    }
    Some((node, node.scalar_text()?))
}

fn order(keywords: &Keywords, out: &mut Diagnostics) -> Order {
    let Some((node, text)) = literal(keywords, "order", out) else { return Order::default() };
    choice(
        "order",
        &text,
        node.span,
        &[
            ("inventory", Order::Inventory),
            ("reverse_inventory", Order::ReverseInventory),
            ("sorted", Order::Sorted),
            ("reverse_sorted", Order::ReverseSorted),
            ("shuffle", Order::Shuffle),
        ],
        out,
    )
    .unwrap_or_default()
}

fn strategy(keywords: &Keywords, out: &mut Diagnostics) -> Strategy {
    let Some((node, text)) = literal(keywords, "strategy", out) else { return Strategy::default() };
    let short = super::catalogue::short(&text);
    if let Some(plain) = short.strip_prefix("mitogen_") {
        out.push(
            Diagnostic::error("not-supported", format!("`{text}` is a plugin of Mitogen"), node.span).help(
                format!(
                    "write `strategy: {plain}` or remove the line: connections are kept open here anyway"
                ),
            ),
        );
        return Strategy::default();
    }
    if short == "debug" {
        out.push(
            Diagnostic::error(
                "not-supported",
                "`strategy: debug` is not supported: there is no interactive debugger",
                node.span,
            )
            .help("remove the line; `--resume` goes on from the failed task"),
        );
        return Strategy::default();
    }
    let known =
        [("linear", Strategy::Linear), ("free", Strategy::Free), ("host_pinned", Strategy::HostPinned)];
    choice("strategy", short, node.span, &known, out).unwrap_or_default()
}

fn choice<T: Copy>(key: &str, text: &str, at: Span, known: &[(&str, T)], out: &mut Diagnostics) -> Option<T> {
    let found = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let finding = Diagnostic::error("wrong-choice", format!("`{key}` cannot be `{text}`"), at);
        out.push(match nearest(text, known.iter().map(|(n, _)| *n)) {
            Some(near) => finding.label(format!("did you mean `{near}`?")),
            None => finding.help(format!(
                "it is one of {}",
                known.iter().map(|(n, _)| format!("`{n}`")).collect::<Vec<_>>().join(", ")
            )),
        });
    }
    found
}

fn needs(keywords: &Keywords, out: &mut Diagnostics) -> Option<Vec<Need>> {
    let given = keywords.entry("needs")?;
    let items: Vec<Node> = inherit::one_or_many(&given.value).collect();
    let mut needs = Vec::new();
    for item in items {
        match &item.value {
            Yaml::Map(map) => {
                for entry in &map.entries {
                    let key = entry.key.scalar_text().unwrap_or_default();
                    if !matches!(key.as_str(), "play" | "scope") {
                        let finding = Diagnostic::error(
                            "unknown-key",
                            format!("an item of `needs` has no key `{key}`"),
                            entry.key.span,
                        );
                        out.push(finding.help("it has `play` and `scope`"));
                    }
                }
                let Some(play) =
                    map.get("play").and_then(|n| Some(Spanned { value: n.scalar_text()?, span: n.span }))
                else {
                    out.push(
                        Diagnostic::error("bad-need", "an item of `needs` names no play", item.span)
                            .help("write `{play: name, scope: host}`"),
                    );
                    continue;
                };
                let scope = map.get("scope").and_then(|n| Some((n.span, n.scalar_text()?)));
                let known = [("play", NeedScope::Play), ("host", NeedScope::Host)];
                let scope = scope.and_then(|(at, text)| choice("scope", &text, at, &known, out));
                needs.push(Need { play, scope: scope.unwrap_or(NeedScope::Play) });
            }
            _ => match item.scalar_text() {
                Some(value) => {
                    needs.push(Need { play: Spanned { value, span: item.span }, scope: NeedScope::Play })
                }
                None => out.push(Diagnostic::error(
                    "bad-need",
                    format!("an item of `needs` is the name of a play, not {}", item.kind()),
                    item.span,
                )),
            },
        }
    }
    Some(needs)
}

fn prompts(node: Option<&Node>, out: &mut Diagnostics) -> Vec<VarsPrompt> {
    let mut prompts = Vec::new();
    for item in node.into_iter().flat_map(inherit::one_or_many) {
        let Some(map) = item.as_map() else {
            out.push(Diagnostic::error(
                "wrong-type",
                format!("an item of `vars_prompt` is a mapping, not {}", item.kind()),
                item.span,
            ));
            continue;
        };
        for entry in &map.entries {
            let known =
                ["name", "prompt", "default", "private", "confirm", "encrypt", "salt_size", "salt", "unsafe"];
            let key = entry.key.scalar_text().unwrap_or_default();
            if !known.contains(&key.as_str()) {
                let finding =
                    Diagnostic::error("unknown-key", format!("a prompt has no key `{key}`"), entry.key.span);
                out.push(match nearest(&key, known) {
                    Some(near) => finding.label(format!("did you mean `{near}`?")),
                    None => finding,
                });
            }
        }
        let Some(name) = map.get("name").and_then(Node::scalar_text) else {
            out.push(
                Diagnostic::error("no-name", "this prompt names no variable", item.span).help("add `name:`"),
            );
            continue;
        };
        prompts.push(VarsPrompt {
            name,
            prompt: map.get("prompt").cloned(),
            default: map.get("default").cloned(),
            private: map.get("private").is_none_or(roles::is_true),
            confirm: map.get("confirm").is_some_and(roles::is_true),
            encrypt: map.get("encrypt").and_then(Node::scalar_text),
            unsafe_: map.get("unsafe").is_some_and(roles::is_true),
        });
    }
    prompts
}

/// The play's name; numbered where earlier plays have it, because plays may share a name and task paths must not.
fn free_id(name: &str, before: &[Made]) -> String {
    let taken = |id: &str| before.iter().any(|m| m.play.id == id);
    if !taken(name) {
        return name.to_owned();
    }
    (2..).map(|n| format!("{name}#{n}")).find(|id| !taken(id)).unwrap_or_default()
}

fn check_ids(made: &[Made], out: &mut Diagnostics) {
    for (at, this) in made.iter().enumerate().filter(|(_, m)| m.explicit) {
        if let Some(other) = made[..at].iter().find(|m| m.play.id == this.play.id) {
            out.push(
                Diagnostic::error(
                    "duplicate-id",
                    format!("two plays have the id `{}`", this.play.id),
                    this.play.span,
                )
                .label("the second")
                .also(other.play.span, "the first"),
            );
        }
    }
}

fn check_needs(made: &[Made], out: &mut Diagnostics) {
    let mut edges: Vec<Vec<(usize, Option<Span>)>> = Vec::new();
    for (at, this) in made.iter().enumerate() {
        let mut own = Vec::new();
        match &this.play.needs {
            None if at > 0 => own.push((at - 1, None)),
            None => {}
            Some(needs) => {
                for need in needs {
                    if let Some(found) = needed(made, need, out) {
                        own.push((found, Some(need.play.span)));
                    }
                }
            }
        }
        edges.push(own);
    }
    if let Some(circle) = circle(&edges) {
        let names: Vec<&str> = circle
            .iter()
            .chain(circle.first())
            .filter_map(|(at, _)| made.get(*at))
            .map(|m| m.play.id.as_str())
            .collect();
        let message = format!("these plays wait for each other: {}", names.join(" → "));
        let mut finding: Option<Diagnostic> = None;
        for (nth, (at, place)) in circle.iter().enumerate() {
            let Some(this) = made.get(*at) else { continue };
            let next = names.get(nth + 1).copied().unwrap_or_default();
            let (span, text) = match place {
                Some(span) => (*span, format!("`{}` needs `{next}`", this.play.id)),
                None => (
                    this.play.span,
                    format!("`{}` comes after `{next}`, because it has no `needs`", this.play.id),
                ),
            };
            finding = Some(match finding {
                None => Diagnostic::error("needs-cycle", message.clone(), span).label(text),
                Some(finding) => finding.also(span, text),
            });
        }
        out.list.extend(
            finding.map(|f| f.help("take one of these needs away; `needs: []` lets a play start at once")),
        );
    }
}

fn needed(made: &[Made], need: &Need, out: &mut Diagnostics) -> Option<usize> {
    let wanted = &need.play.value;
    let by_id: Vec<usize> =
        (0..made.len()).filter(|at| made[*at].explicit && made[*at].play.id == *wanted).collect();
    let by_name: Vec<usize> = (0..made.len()).filter(|at| made[*at].play.name == *wanted).collect();
    match (by_id.first(), by_name.as_slice()) {
        (Some(at), _) | (None, [at]) => Some(*at),
        (None, []) => {
            let finding = Diagnostic::error("unknown-play", format!("no play `{wanted}`"), need.play.span);
            let names = made.iter().flat_map(|m| [m.play.id.as_str(), m.play.name.as_str()]);
            out.push(match nearest(wanted, names) {
                Some(near) => finding.label(format!("did you mean `{near}`?")),
                None => finding.help("`needs` takes the `id` or the name of a play of this run"),
            });
            None
        }
        (None, [first, second, ..]) => {
            out.push(
                Diagnostic::error(
                    "ambiguous-play",
                    format!("several plays are named `{wanted}`"),
                    need.play.span,
                )
                .also(made[*first].play.span, "one")
                .also(made[*second].play.span, "another")
                .help("give the one that is meant an `id:`"),
            );
            None
        }
    }
}

/// The first circle found in play order, as the plays on it with the place of the need that leads on.
fn circle(edges: &[Vec<(usize, Option<Span>)>]) -> Option<Vec<(usize, Option<Span>)>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    fn visit(
        at: usize,
        edges: &[Vec<(usize, Option<Span>)>],
        marks: &mut [Mark],
        path: &mut Vec<(usize, Option<Span>)>,
    ) -> Option<Vec<(usize, Option<Span>)>> {
        marks[at] = Mark::Open;
        for (next, place) in &edges[at] {
            path.push((at, *place));
            match marks[*next] {
                Mark::Open => {
                    let from = path.iter().position(|(p, _)| p == next)?;
                    return Some(path[from..].to_vec());
                }
                Mark::New => {
                    if let Some(found) = visit(*next, edges, marks, path) {
                        return Some(found);
                    }
                }
                Mark::Done => {}
            }
            path.pop();
        }
        marks[at] = Mark::Done;
        None
    }
    let mut marks = vec![Mark::New; edges.len()];
    (0..edges.len()).find_map(|at| {
        if marks[at] == Mark::New { visit(at, edges, &mut marks, &mut Vec::new()) } else { None }
    })
}
