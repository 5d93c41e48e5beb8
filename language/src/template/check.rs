//! What a text refers to, found without rendering it.
//!
//! Owns: [`References`]. Must not: evaluate, or decide which missing name is an error.

use std::sync::Arc;

use super::error::TemplateError;
use super::program::{Arg, Ex, Expr, MacroDef, Program, Stmt, Target};
use super::registry;
use super::render::names_of;

/// A name that a text reads from the variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub name: Arc<str>,
    /// `a.b['c']`: what is read below the name, as far as it is written out.
    pub path: Vec<Arc<str>>,
    /// Bytes within the text at which the name stands.
    pub offset: u32,
    /// True where a missing value is expected: under `default`, `is defined`, or in an arm behind such a test.
    pub guarded: bool,
}

/// What a text refers to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct References {
    pub names: Vec<Reference>,
    /// Lookups by name, where the name is written out, with their offset.
    pub lookups: Vec<(Arc<str>, u32)>,
    /// Filters, tests and lookups that do not exist.
    pub problems: Vec<TemplateError>,
}

/// Collects what a compiled text refers to.
pub(super) fn references(program: &Program) -> References {
    let mut walk = Walk::default();
    walk.out.problems.clone_from(&program.problems);
    walk.body(&program.body);
    walk.out
}

#[derive(Default)]
struct Walk {
    out: References,
    /// Names the template sets itself, innermost last.
    local: Vec<Arc<str>>,
    /// Variables that a test around this place asks about.
    asked: Vec<Arc<str>>,
    /// Inside the input of `default` and the like.
    soft: usize,
}

/// Filters and tests that take a missing input.
const SOFT_FILTERS: &[&str] = &["default", "d", "mandatory"];
const SOFT_TESTS: &[&str] = &["defined", "undefined"];

impl Walk {
    fn body(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.stmt(stmt);
        }
    }

    fn scoped(&mut self, run: impl FnOnce(&mut Self)) {
        let depth = self.local.len();
        run(self);
        self.local.truncate(depth);
    }

    fn set(&mut self, target: &Target) {
        if let Target::Attr(of, _) = target {
            self.ex(of);
        }
        names_of(target, &mut self.local);
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Raw(_) | Stmt::Continue | Stmt::Break => {}
            Stmt::Emit(ex) | Stmt::Do(ex) | Stmt::Extends(ex) | Stmt::Include { name: ex, .. } => self.ex(ex),
            Stmt::For(l) => {
                self.ex(&l.iter);
                self.scoped(|w| {
                    w.local.push("loop".into());
                    w.set(&l.target);
                    if let Some(filter) = &l.filter {
                        w.ex(filter);
                    }
                    w.body(&l.body);
                });
                self.body(&l.otherwise);
            }
            Stmt::If(test, yes, no) => {
                self.ex(test);
                let depth = self.asked.len();
                asked_about(test, &mut self.asked);
                self.body(yes);
                self.body(no);
                self.asked.truncate(depth);
            }
            Stmt::With(assignments, body) => self.scoped(|w| {
                for (target, ex) in assignments {
                    w.ex(ex);
                    w.set(target);
                }
                w.body(body);
            }),
            Stmt::Set(target, ex) => {
                self.ex(ex);
                self.set(target);
            }
            Stmt::SetBlock(target, filter, body) => {
                self.scoped(|w| w.body(body));
                if let Some(filter) = filter {
                    self.ex(filter);
                }
                self.set(target);
            }
            Stmt::FilterBlock(filter, body) => {
                self.body(body);
                self.ex(filter);
            }
            Stmt::Group(body) => self.body(body),
            Stmt::Block(_, body) => self.scoped(|w| w.body(body)),
            Stmt::Import(ex, target) => {
                self.ex(ex);
                self.set(target);
            }
            Stmt::FromImport(ex, names) => {
                self.ex(ex);
                self.local.extend(names.iter().map(|(_, alias)| Arc::clone(alias)));
            }
            Stmt::Macro(def) => {
                self.local.push(Arc::clone(&def.name));
                self.macro_def(def);
            }
            Stmt::CallBlock(call, def) => {
                self.ex(call);
                self.macro_def(def);
            }
        }
    }

    fn macro_def(&mut self, def: &MacroDef) {
        self.scoped(|w| {
            for (name, default) in &def.params {
                if let Some(default) = default {
                    w.ex(default);
                }
                w.local.push(Arc::clone(name));
            }
            w.local.extend(["varargs", "kwargs", "caller"].map(Arc::from));
            w.body(&def.body);
        });
    }

    fn args(&mut self, args: &[Arg]) {
        for arg in args {
            self.ex(arg.expression());
        }
    }

    fn soft_first(&mut self, soft: bool, args: &[Arg]) {
        let Some((first, rest)) = args.split_first() else { return };
        self.soft += usize::from(soft);
        self.ex(first.expression());
        self.soft -= usize::from(soft);
        self.args(rest);
    }

    fn read(&mut self, name: &Arc<str>, path: Vec<Arc<str>>, ex: &Ex) {
        if self.local.contains(name) {
            return;
        }
        let guarded = self.soft > 0 || self.asked.contains(name);
        self.out.names.push(Reference { name: Arc::clone(name), path, offset: ex.span.start, guarded });
    }

    fn ex(&mut self, ex: &Ex) {
        match &ex.kind {
            Expr::Const(_) | Expr::Captured => {}
            Expr::Embedded(program) => {
                self.out.problems.extend(program.problems.iter().cloned());
                self.body(&program.body);
            }
            Expr::Name(name) => {
                if registry::function(name).is_none() && &**name != "omit" {
                    self.read(name, Vec::new(), ex);
                }
            }
            Expr::Attr(..) | Expr::Item(..) => {
                if let Some((name, root, path)) = chain(ex) {
                    self.read(&name, path, root);
                    return;
                }
                match &ex.kind {
                    Expr::Attr(of, _) => self.ex(of),
                    Expr::Item(of, key) => {
                        self.ex(of);
                        self.ex(key);
                    }
                    _ => {}
                }
            }
            Expr::Slice(of, parts) => {
                self.ex(of);
                parts.iter().flatten().for_each(|p| self.ex(p));
            }
            Expr::Not(e) | Expr::Neg(e) => self.ex(e),
            Expr::Binary(_, a, b) => {
                self.ex(a);
                self.ex(b);
            }
            Expr::And(a, b) | Expr::Or(a, b) => {
                self.ex(a);
                let depth = self.asked.len();
                asked_about(a, &mut self.asked);
                self.ex(b);
                self.asked.truncate(depth);
            }
            Expr::Compare(first, rest) => {
                self.ex(first);
                rest.iter().for_each(|(_, e)| self.ex(e));
            }
            Expr::If { test, yes, no } => {
                self.ex(test);
                let depth = self.asked.len();
                asked_about(test, &mut self.asked);
                self.ex(yes);
                if let Some(no) = no {
                    self.ex(no);
                }
                self.asked.truncate(depth);
            }
            Expr::Filter(builtin, args) => self.soft_first(SOFT_FILTERS.contains(&builtin.name), args),
            Expr::Test(builtin, args) => self.soft_first(SOFT_TESTS.contains(&builtin.name), args),
            Expr::Call(callee, args) => {
                if let Expr::Name(name) = &callee.kind {
                    if matches!(&**name, "lookup" | "query" | "q") {
                        self.lookup(args);
                    }
                    if registry::function(name).is_none() && &**name != "super" {
                        self.ex(callee);
                    }
                } else if let Expr::Attr(of, _) = &callee.kind {
                    self.ex(of);
                } else {
                    self.ex(callee);
                }
                self.args(args);
            }
            Expr::List(all) | Expr::Tuple(all) => all.iter().for_each(|e| self.ex(e)),
            Expr::Map(entries) => {
                for (key, value) in entries {
                    self.ex(key);
                    self.ex(value);
                }
            }
            Expr::Fail(_, args) => self.args(args),
        }
    }

    fn lookup(&mut self, args: &[Arg]) {
        let Some(Arg::Pos(first)) = args.first() else { return };
        let Expr::Const(value) = &first.kind else { return };
        let Some(name) = value.as_str() else { return };
        self.out.lookups.push((name.into(), first.span.start));
        if registry::lookup(name).is_none() {
            self.out.problems.push(
                TemplateError::no_such("lookup", name, registry::near_lookup(name))
                    .or_offset(first.span.clone()),
            );
        }
    }
}

/// A name, where it stands, and what is read below it.
type Chain<'e> = (Arc<str>, &'e Ex, Vec<Arc<str>>);

/// `a.b['c']` as name, the expression of the name, and path.
fn chain(ex: &Ex) -> Option<Chain<'_>> {
    match &ex.kind {
        Expr::Name(name) => Some((Arc::clone(name), ex, Vec::new())),
        Expr::Attr(of, name) => {
            let (root, at, mut path) = chain(of)?;
            path.push(Arc::clone(name));
            Some((root, at, path))
        }
        Expr::Item(of, key) => {
            let Expr::Const(key) = &key.kind else { return None };
            let (root, at, mut path) = chain(of)?;
            path.push(key.as_str().map_or_else(|| key.to_string().into(), Into::into));
            Some((root, at, path))
        }
        _ => None,
    }
}

/// The variables whose existence a test asks about.
fn asked_about(test: &Ex, into: &mut Vec<Arc<str>>) {
    match &test.kind {
        Expr::Test(builtin, args) if SOFT_TESTS.contains(&builtin.name) => {
            if let Some((name, ..)) = args.first().and_then(|a| chain(a.expression())) {
                into.push(name);
            }
        }
        Expr::Filter(builtin, args) if SOFT_FILTERS.contains(&builtin.name) => {
            if let Some((name, ..)) = args.first().and_then(|a| chain(a.expression())) {
                into.push(name);
            }
        }
        Expr::Filter(_, args) | Expr::Test(_, args) => {
            if let Some(first) = args.first() {
                asked_about(first.expression(), into);
            }
        }
        Expr::Not(e) => asked_about(e, into),
        Expr::And(a, b) | Expr::Or(a, b) => {
            asked_about(a, into);
            asked_about(b, into);
        }
        // `'x' in y` and `x in groups` are how people ask, too.
        Expr::Compare(first, rest) => {
            asked_about(first, into);
            rest.iter().for_each(|(_, e)| asked_about(e, into));
        }
        _ => {}
    }
}
