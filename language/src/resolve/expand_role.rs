//! One role into items: dependencies first, then the check of its arguments, then its tasks.
//!
//! Owns: which of a role's files are used, what a role's tasks inherit, when a role is not run again.

use std::sync::Arc;

use super::expand::{Expander, layer_of};
use super::roles::{self, From, Identity};
use super::{Include, Inherited, Item, Role, inherit, tasks};
use crate::source::{Node, Span, Spanned};
use crate::syntax;
use crate::vars::Layer;

/// A role to bring in.
#[derive(Debug, Clone)]
pub(super) struct RoleCall {
    pub name: String,
    /// The role's name.
    pub at: Span,
    /// The task or list item that asks.
    pub link: Span,
    pub from: From,
    /// Where the options of `from` are written.
    pub from_at: Vec<(&'static str, Span)>,
    pub params: Vec<(Spanned<String>, Node)>,
    /// `vars:` beside the role's name.
    pub vars: Option<Arc<Layer>>,
    /// By `import_role` or `include_role`.
    pub included: bool,
    pub public: bool,
    /// Over the role's own word.
    pub allow_duplicates: Option<bool>,
    pub validate: bool,
    /// Parts of the identity that stand at the place of use.
    pub when: Option<Node>,
    pub tags: Option<Node>,
    /// Roles that need this one, nearest first.
    pub parents: Vec<Arc<Role>>,
    /// Named in the `meta/main.yml` of the nearest of them.
    pub dependency: bool,
    /// Parameters of the role that needs this one.
    pub parent_params: Option<Arc<Layer>>,
}

impl RoleCall {
    pub(super) fn new(name: String, at: Span) -> Self {
        Self {
            name,
            at,
            link: at,
            from: From::default(),
            from_at: Vec::new(),
            params: Vec::new(),
            vars: None,
            included: false,
            public: true,
            allow_duplicates: None,
            validate: true,
            when: None,
            tags: None,
            parents: Vec::new(),
            dependency: false,
            parent_params: None,
        }
    }

    /// Where a `tasks_from` and kin stand, else the role's name.
    fn place_of(&self, option: &str) -> Span {
        self.from_at.iter().find(|(name, _)| *name == option).map_or(self.at, |(_, at)| *at)
    }
}

impl Expander<'_> {
    /// A role of `roles:` or of a dependency list.
    pub(super) fn role_use(
        &mut self,
        wanted: &syntax::RoleUse,
        context: &Inherited,
        parent: Option<(&[Arc<Role>], &Arc<Layer>)>,
    ) -> Option<(Vec<Item>, Arc<Role>)> {
        let name = self.static_text(&wanted.name, context, "a role's name")?;
        let mut call = RoleCall::new(name, wanted.name.span);
        call.link = wanted.span;
        call.params.clone_from(&wanted.params);
        call.when = wanted.keywords.get("when").cloned();
        call.tags = wanted.keywords.get("tags").cloned();
        call.vars = wanted.keywords.get("vars").and_then(|n| inherit::layer(n, &mut self.out));
        if let Some((parents, params)) = parent {
            call.parents = parents.to_vec();
            call.dependency = true;
            call.parent_params = Some(Arc::clone(params));
        }
        let outer_vars = context.vars.clone();
        let mut inner = inherit::inward(context, &wanted.keywords, &mut self.out);
        // `vars:` of a role are the role's own, at their own precedence.
        inner.vars = outer_vars;
        self.role(&call, &inner)
    }

    /// Expands a role; `None` when it cannot be found. An empty list when it ran already.
    pub(super) fn role(&mut self, call: &RoleCall, context: &Inherited) -> Option<(Vec<Item>, Arc<Role>)> {
        let path = roles::find(self.resolver, &call.name, call.at, context, &mut self.out)?;
        let tasks_name = call.from.tasks.as_deref().unwrap_or("main");
        let mark = path.join("tasks").join(tasks_name);
        let what = match &call.from.tasks {
            Some(from) => format!("role {} ({from})", call.name),
            None => format!("role {}", call.name),
        };
        if !self.enter(&mark, &what, call.at) {
            return None;
        }
        let expanded = self.role_inside(call, path, tasks_name, &what, context);
        self.open.pop();
        Some(expanded)
    }

    fn role_inside(
        &mut self,
        call: &RoleCall,
        path: std::path::PathBuf,
        tasks_name: &str,
        what: &str,
        context: &Inherited,
    ) -> (Vec<Item>, Arc<Role>) {
        let resolver = self.resolver;
        let meta = roles::meta(resolver, &path, call.at, &mut self.out);
        let own_params = layer_of(&call.params, call.link);
        let params = match &call.parent_params {
            Some(parent) => Arc::new(inherit::over(parent, &own_params)),
            None => Arc::new(own_params),
        };
        let identity = Identity {
            path: path.clone(),
            from: call.from.clone(),
            params: call.params.iter().map(|(k, v)| (k.value.clone(), plain(v))).collect(),
            vars: call
                .vars
                .as_ref()
                .map(|l| crate::source::Yaml::Seq(l.entries.iter().map(|(k, v)| pair_node(k, v)).collect())),
            when: call.when.as_ref().map(plain),
            tags: call.tags.as_ref().map(plain),
            included: call.included,
        };
        let again = !call.allow_duplicates.unwrap_or(meta.allow_duplicates)
            && (self.ran.contains(&identity)
                || (!call.included && self.ran_in_play.contains(&(path.clone(), params.entries.len()))));

        // `kubernetes/node` below `roles/` is a name; `../shared/web` is a path to a role named `web`.
        let name = match call.name.starts_with(['.', '/']) {
            true => call.name.rsplit('/').next().unwrap_or(&call.name).to_owned(),
            false => call.name.clone(),
        };
        let link = Include { span: call.link, what: what.to_owned() };
        let defaults = roles::variables(
            resolver,
            &path,
            "defaults",
            call.from.defaults.as_deref(),
            call.place_of("defaults_from"),
            &mut self.out,
        );
        let vars = roles::variables(
            resolver,
            &path,
            "vars",
            call.from.vars.as_deref(),
            call.place_of("vars_from"),
            &mut self.out,
        );
        let (defaults, file_vars) = (Arc::new(defaults), Arc::new(vars));
        let vars = roles::joined(&file_vars, call.vars.as_ref());
        let mut items = Vec::new();
        let mut dependencies = Vec::new();
        if let Some(list) = &meta.dependencies {
            let mut inner = context.clone();
            inner.chain.push(link.clone());
            inner.directory = path.join("meta");
            // A dependency's folder is looked for beside this role, whose variables it sees.
            let beside = Arc::new(Role {
                name: name.clone(),
                path: path.clone(),
                defaults: Arc::clone(&defaults),
                vars: Arc::clone(&vars),
                file_vars: Arc::clone(&file_vars),
                params: Arc::clone(&params),
                parents: call.parents.clone(),
                dependency: call.dependency,
                dependencies: Vec::new(),
                public: true,
            });
            let parents: Vec<Arc<Role>> =
                std::iter::once(Arc::clone(&beside)).chain(call.parents.iter().cloned()).collect();
            inner.role = Some(beside);
            for wanted in syntax::roles(list, &mut self.out) {
                if let Some((more, role)) = self.role_use(&wanted, &inner, Some((&parents, &params))) {
                    items.extend(more);
                    dependencies.push(role);
                }
            }
        }
        let role = Arc::new(Role {
            name,
            path: path.clone(),
            defaults,
            vars,
            file_vars,
            params,
            parents: call.parents.clone(),
            dependency: call.dependency,
            dependencies,
            public: call.public,
        });
        if again {
            return (Vec::new(), role);
        }
        self.ran.push(identity);
        self.roles.push(Arc::clone(&role));

        let mut inner = context.clone();
        inner.role = Some(Arc::clone(&role));
        inner.chain.push(link);
        inner.directory = path.join("tasks");
        // Handlers know the role, but not the block that a static import stands in.
        self.role_handlers(call, &role, &inner);
        if call.validate
            && let Some(specs) = &meta.argument_specs
        {
            items.extend(tasks::validation(self, specs, tasks_name, call, &inner));
        }
        match roles::file(&path, "tasks", tasks_name) {
            Some(file) => {
                if let Some(parent) = file.parent() {
                    inner.directory = parent.to_path_buf();
                }
                if let Some(node) = resolver.load(&file, call.at, &mut self.out) {
                    let written = syntax::tasks_file(&node, &mut self.out);
                    items.extend(self.items(&written, &inner));
                }
            }
            None if call.from.tasks.is_some() => {
                let folder = path.join("tasks");
                let names = roles::files_below(&folder);
                self.out.push(roles::no_file(
                    resolver,
                    tasks_name,
                    &folder,
                    &names,
                    call.place_of("tasks_from"),
                ));
            }
            None => {}
        }
        (items, role)
    }

    fn role_handlers(&mut self, call: &RoleCall, role: &Arc<Role>, context: &Inherited) {
        let name = call.from.handlers.as_deref().unwrap_or("main");
        let Some(file) = roles::file(&role.path, "handlers", name) else {
            if call.from.handlers.is_some() {
                let folder = role.path.join("handlers");
                let names = roles::files_below(&folder);
                self.out.push(roles::no_file(
                    self.resolver,
                    name,
                    &folder,
                    &names,
                    call.place_of("handlers_from"),
                ));
            }
            return;
        };
        let mut inner = context.clone();
        inner.directory = role.path.join("handlers");
        let Some(node) = self.resolver.load(&file, call.at, &mut self.out) else { return };
        let written = syntax::handlers_file(&node, &mut self.out);
        let made = self.handler_items(&written, &inner);
        match self.handlers.iter_mut().find(|(from, _)| from.as_deref() == Some(&file)) {
            // The same handlers for new parameters: the last use wins, as in Ansible.
            Some(there) => there.1 = made,
            None => self.handlers.push((Some(file), made)),
        }
    }
}

/// A value without its place, so that two uses compare by what they say.
fn plain(node: &Node) -> crate::source::Yaml {
    use crate::source::{Entry, Mapping, Yaml};
    let nowhere = |node: &Node| Node { span: Span { start: 0, end: 0, ..node.span }, value: plain(node) };
    let zero = |mut node: Node| {
        node.span.file = crate::source::SourceId(0);
        node
    };
    match &node.value {
        Yaml::Seq(items) => Yaml::Seq(items.iter().map(|n| zero(nowhere(n))).collect()),
        Yaml::Map(map) => Yaml::Map(Mapping {
            entries: map
                .entries
                .iter()
                .map(|e| Entry { key: zero(nowhere(&e.key)), value: zero(nowhere(&e.value)) })
                .collect(),
        }),
        other => other.clone(),
    }
}

fn pair_node(key: &Arc<str>, value: &Node) -> Node {
    use crate::source::{SourceId, Yaml};
    let span = Span { file: SourceId(0), start: 0, end: 0 };
    let key = Node { span, value: Yaml::Str(Arc::clone(key)) };
    Node { span, value: Yaml::Seq(vec![key, Node { span, value: plain(value) }]) }
}
