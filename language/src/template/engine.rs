//! The template engine: compiled texts, variables of a scope, one rendering pass.
//!
//! Owns: [`Templates`], the cache of compiled texts, the guard against variables that need themselves.
//! Must not: know plays or hosts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use minijinja::Value;
use minijinja::value::ValueKind;

use super::error::{ErrorKind, R, TemplateError, near};
use super::eval::{Cx, too_deep};
use super::lazy::{AllVariables, Lazy, LazyList, LazyMap, Place};
use super::marks::{is_unknown, missing, why_missing};
use super::program::{self, Mode, Program};
use super::values::{plain, type_name, unknown_error};
use super::{FileContext, FileOptions, Options, Scope, Var, render, template_text};
use crate::source::{Node, Span, Yaml};
use crate::vars::ByName;

/// Texts kept compiled; a run has far fewer, data is never compiled.
const MAX_COMPILED: usize = 50_000;

/// Variables being rendered inside each other.
const MAX_NESTED: usize = 64;

/// Renders texts; cheap to clone and to share between threads.
#[derive(Debug, Clone)]
pub struct Templates(Arc<Inner>);

/// Compiled texts by text.
type Programs = HashMap<Arc<str>, Arc<Program>, ByName>;

/// A scope with the values its variables had so far.
type Known = (Arc<dyn Scope>, HashMap<Arc<str>, Value>);

/// All compiled texts, by the rules they were compiled by.
#[derive(Debug, Default)]
struct Compiled {
    playbook: Programs,
    expressions: Programs,
    files: HashMap<FileOptions, Programs>,
}

impl Compiled {
    fn of(&self, mode: &Mode) -> Option<&Programs> {
        match mode {
            Mode::Playbook => Some(&self.playbook),
            Mode::Expression => Some(&self.expressions),
            Mode::File(options) => self.files.get(options),
        }
    }

    fn of_mut(&mut self, mode: &Mode) -> &mut Programs {
        match mode {
            Mode::Playbook => &mut self.playbook,
            Mode::Expression => &mut self.expressions,
            Mode::File(options) => self.files.entry((**options).clone()).or_default(),
        }
    }
}

/// The shared part of [`Templates`].
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: Options,
    compiled: RwLock<Compiled>,
}

/// Values and the way so far during one outermost call on one thread.
#[derive(Default)]
struct Pass {
    /// By address of the scope, which is kept alive so that the address stays its own.
    values: HashMap<usize, Known>,
    path: Vec<Step>,
}

struct Step {
    scope: usize,
    text: usize,
    name: Arc<str>,
}

thread_local! {
    static PASS: RefCell<Option<Pass>> = const { RefCell::new(None) };
}

/// Ends the pass that it began.
struct PassGuard {
    owner: bool,
}

impl PassGuard {
    fn enter() -> Self {
        PASS.with_borrow_mut(|pass| {
            let owner = pass.is_none();
            if owner {
                *pass = Some(Pass::default());
            }
            Self { owner }
        })
    }
}

impl Drop for PassGuard {
    fn drop(&mut self) {
        if self.owner {
            // Dropped outside of the borrow: a value may end with code of its own.
            let ended = PASS.with_borrow_mut(Option::take);
            drop(ended);
        }
    }
}

/// The newlines at the end of a template that are not in its text any more. Ansible gives them back.
fn newlines_lost(template: &str, out: &str) -> String {
    let endings = |text: &str| text.len() - text.trim_end_matches('\n').len();
    "\n".repeat(endings(template).saturating_sub(endings(out)))
}

fn address(scope: &Arc<dyn Scope>) -> usize {
    Arc::as_ptr(scope).cast::<()>() as usize
}

impl Inner {
    /// The compiled form of a text.
    pub(super) fn compile(&self, text: &str, name: &str, mode: &Mode) -> R<Arc<Program>> {
        {
            let compiled = self.compiled.read().unwrap_or_else(|e| e.into_inner());
            if let Some(program) = compiled.of(mode).and_then(|texts| texts.get(text)) {
                return Ok(Arc::clone(program));
            }
        }
        let program = Arc::new(program::compile(text, name, mode)?);
        let mut compiled = self.compiled.write().unwrap_or_else(|e| e.into_inner());
        let texts = compiled.of_mut(mode);
        if texts.len() >= MAX_COMPILED {
            texts.clear();
        }
        texts.insert(text.into(), Arc::clone(&program));
        Ok(program)
    }

    /// The value of a variable; `None` when the scope has none of that name.
    pub(super) fn variable(self: &Arc<Self>, scope: &Arc<dyn Scope>, name: &str) -> R<Option<Value>> {
        let key = address(scope);
        let known = PASS.with_borrow(|pass| {
            pass.as_ref().and_then(|p| p.values.get(&key)).and_then(|(_, values)| values.get(name).cloned())
        });
        if known.is_some() {
            return Ok(known);
        }
        match scope.get(name) {
            None => Ok(None),
            Some(Var::Data(value)) => Ok(Some(value)),
            Some(Var::Yaml(node)) => {
                let name: Arc<str> = name.into();
                let value = self.value_of(Place::of(node), scope, &name)?;
                PASS.with_borrow_mut(|pass| {
                    if let Some(pass) = pass {
                        let (_, values) =
                            pass.values.entry(key).or_insert_with(|| (Arc::clone(scope), HashMap::new()));
                        values.insert(name, value.clone());
                    }
                });
                Ok(Some(value))
            }
        }
    }

    /// `vars`.
    pub(super) fn all_variables(self: Arc<Self>, scope: &Arc<dyn Scope>) -> Value {
        Value::from_object(AllVariables { engine: self, scope: Arc::clone(scope) })
    }

    /// The value of a node: text is rendered, lists and mappings stay lazy.
    pub(super) fn value_of(
        self: &Arc<Self>,
        place: Place,
        scope: &Arc<dyn Scope>,
        name: &Arc<str>,
    ) -> R<Value> {
        let node = place.node();
        Ok(match &node.value {
            Yaml::Null => Value::from(()),
            Yaml::Bool(b) => Value::from(*b),
            Yaml::Int(i) => Value::from(*i),
            Yaml::Float(f) => Value::from(*f),
            Yaml::Unsafe(s) => Value::from(Arc::clone(s)),
            Yaml::Vault(s) => self.open(s, node.span)?,
            Yaml::Str(s) if !template_text(s) => Value::from(Arc::clone(s)),
            Yaml::Str(s) => {
                let (s, span) = (Arc::clone(s), node.span);
                self.nested(&s, span, scope, name)?
            }
            Yaml::Seq(_) => Value::from_object(LazyList(Lazy::new(
                Arc::clone(self),
                Arc::clone(scope),
                place,
                Arc::clone(name),
            ))),
            Yaml::Map(_) => Value::from_object(LazyMap(Lazy::new(
                Arc::clone(self),
                Arc::clone(scope),
                place,
                Arc::clone(name),
            ))),
        })
    }

    fn open(&self, sealed: &str, at: Span) -> R<Value> {
        let Some(open) = &self.options.vault else {
            return Err(TemplateError::new(
                ErrorKind::Vault,
                "a `!vault` value is used but no vault password is given",
            )
            .or_at(Some(at)));
        };
        open(sealed).map(Value::from).map_err(|why| {
            TemplateError::new(ErrorKind::Vault, format!("the `!vault` value cannot be opened: {why}"))
                .or_at(Some(at))
        })
    }

    /// Renders the text of a variable while something else is being rendered.
    fn nested(
        self: &Arc<Self>,
        text: &Arc<str>,
        at: Span,
        scope: &Arc<dyn Scope>,
        name: &Arc<str>,
    ) -> R<Value> {
        let _pass = PassGuard::enter();
        let (key, id) = (address(scope), text.as_ptr() as usize);
        PASS.with_borrow_mut(|pass| {
            let Some(pass) = pass else { return Ok(()) };
            if let Some(from) = pass.path.iter().position(|s| s.scope == key && s.text == id) {
                let mut path: Vec<String> = pass.path[from..].iter().map(|s| s.name.to_string()).collect();
                path.push(name.to_string());
                let message = format!("`{name}` needs its own value first: {}", path.join(" \u{2192} "));
                return Err(TemplateError::new(ErrorKind::Cycle { path }, message).or_at(Some(at)));
            }
            if pass.path.len() >= MAX_NESTED {
                return Err(too_deep().or_at(Some(at)));
            }
            pass.path.push(Step { scope: key, text: id, name: Arc::clone(name) });
            Ok(())
        })?;
        let result = super::with_stack(|| self.run(text, &Mode::Playbook, scope));
        PASS.with_borrow_mut(|pass| {
            if let Some(pass) = pass {
                pass.path.pop();
            }
        });
        let placed = |e: TemplateError| e.or_at(Some(at)).through(name, Some(at));
        match render::or_unknown(result) {
            Ok(value) => Ok(match why_missing(&value) {
                Some(error) => missing(placed(error)),
                None => value,
            }),
            Err(e) if e.is_undefined() => Ok(missing(placed(e))),
            Err(e) => Err(placed(e)),
        }
    }

    fn run(self: &Arc<Self>, text: &str, mode: &Mode, scope: &Arc<dyn Scope>) -> R<Value> {
        let program = self.compile(text, "", mode)?;
        let mut cx = Cx::new(Arc::clone(self), Arc::clone(scope));
        match mode {
            Mode::Expression => render::expression_value(&program, &mut cx),
            _ => {
                let value = cx.render(&program)?.finish();
                let lost = value.as_str().map(|out| newlines_lost(text, out)).unwrap_or_default();
                Ok(if lost.is_empty() { value } else { Value::from(format!("{value}{lost}")) })
            }
        }
    }

    /// Finds and compiles a template that another one includes.
    pub(super) fn load(
        &self,
        from: &FileContext,
        scope: &dyn Scope,
        name: &str,
    ) -> R<Option<(Arc<Program>, FileContext)>> {
        let path = Path::new(name);
        let mut candidates: Vec<PathBuf> = Vec::new();
        if path.is_absolute() {
            candidates.push(path.to_owned());
        } else {
            for base in scope.search().bases {
                candidates.push(base.join("templates").join(path));
                candidates.push(base.join(path));
            }
            candidates.extend(from.folder.iter().map(|folder| folder.join(path)));
        }
        for candidate in candidates {
            if !candidate.is_file() {
                continue;
            }
            let text = fs_err::read_to_string(&candidate)
                .map_err(|e| TemplateError::new(ErrorKind::TemplateNotFound, e.to_string()))?;
            let options = Arc::clone(&from.options);
            let shown = candidate.display().to_string();
            let program = self
                .compile(&text, &shown, &Mode::File(Box::new((*options).clone())))
                .map_err(|e| e.or_file(&shown))?;
            let folder = candidate.parent().map(Path::to_owned);
            return Ok(Some((program, FileContext { name: shown, folder, options })));
        }
        Ok(None)
    }

    /// Renders a template file's text inside the current pass.
    pub(super) fn file(
        self: &Arc<Self>,
        text: &str,
        path: &Path,
        options: FileOptions,
        scope: &Arc<dyn Scope>,
    ) -> R<String> {
        let _pass = PassGuard::enter();
        let shown = path.display().to_string();
        let (text, options) = options.with_header(text).map_err(|e| e.or_file(&shown))?;
        let newline = options.newline_sequence.clone();
        let result = (|| {
            let program = self.compile(text, &shown, &Mode::File(Box::new(options.clone())))?;
            let mut cx = Cx::new(Arc::clone(self), Arc::clone(scope));
            let options = Arc::new(options);
            cx.file = FileContext { name: shown.clone(), folder: path.parent().map(Path::to_owned), options };
            cx.render(&program)?.finish_text()
        })();
        let mut out = result.map_err(|e| suggest(e, scope.as_ref()).or_file(&shown))?;
        out.push_str(&newlines_lost(text, &out));
        Ok(if newline == "\n" { out } else { out.replace("\r\n", "\n").replace('\n', &newline) })
    }
}

/// Adds the nearest known name to the error of an undefined variable.
fn suggest(error: TemplateError, scope: &dyn Scope) -> TemplateError {
    let ErrorKind::Undefined { name } = &error.kind else { return error };
    if error.help.is_some() || name.is_empty() || error.message != format!("`{name}` is undefined") {
        return error;
    }
    let names = scope.names();
    let near = near(name, names.iter().map(String::as_str));
    error.or_help(near.map(|near| format!("did you mean `{near}`?")))
}

impl Templates {
    /// Makes an engine; clones share what is compiled.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Inner { options, compiled: RwLock::default() }))
    }

    fn finish(result: R<Value>, at: Option<Span>, scope: &Arc<dyn Scope>) -> R<Value> {
        render::or_unknown(result.and_then(plain)).map_err(|e| suggest(e, scope.as_ref()).or_at(at))
    }

    /// Renders a text. A text that is a single `{{ expression }}` keeps the type of its value.
    ///
    /// `omit` alone comes back as the mark that [`super::is_omit`] knows; a value that check mode cannot know as
    /// the mark that [`super::is_unknown`] knows.
    ///
    /// # Errors
    /// Syntax, an undefined variable, or whatever a filter or lookup refuses.
    pub fn text(&self, text: &str, at: Option<Span>, scope: &Arc<dyn Scope>) -> R<Value> {
        if !template_text(text) {
            return Ok(Value::from(text));
        }
        let _pass = PassGuard::enter();
        Self::finish(self.0.run(text, &Mode::Playbook, scope), at, scope)
    }

    /// Renders a node with all that is in it; entries whose value is `omit` are left out.
    ///
    /// # Errors
    /// As [`Templates::text`]; the error has the place of the text that failed.
    pub fn node(&self, node: &Node, scope: &Arc<dyn Scope>) -> R<Value> {
        let _pass = PassGuard::enter();
        let value = match &node.value {
            Yaml::Str(s) => return self.text(s, Some(node.span), scope),
            _ => self.0.value_of(Place::of(Arc::new(node.clone())), scope, &"".into()),
        };
        Self::finish(value, Some(node.span), scope).map_err(without_own_name)
    }

    /// The value of a node, rendered part by part when a part is used; for `hostvars` and the like.
    #[must_use]
    pub fn lazy(&self, node: Arc<Node>, scope: Arc<dyn Scope>, name: &str) -> Value {
        let _pass = PassGuard::enter();
        match self.0.value_of(Place::of(node), &scope, &name.into()) {
            Ok(value) => value,
            Err(e) if e.is_undefined() => missing(e),
            Err(e) => super::values::invalid(e),
        }
    }

    /// The value of a variable of a scope, as templates see it; `None` when there is none.
    ///
    /// Unlike other results it may be lazy: [`Templates::settle`] makes it plain.
    #[must_use]
    pub fn variable(&self, scope: &Arc<dyn Scope>, name: &str) -> Option<Value> {
        let _pass = PassGuard::enter();
        match self.0.variable(scope, name) {
            Ok(value) => value,
            Err(e) if e.is_undefined() => Some(missing(e)),
            Err(e) => Some(super::values::invalid(e)),
        }
    }

    /// Makes a lazy value plain.
    ///
    /// # Errors
    /// A part of it cannot be rendered.
    pub fn settle(&self, value: Value, scope: &Arc<dyn Scope>) -> R<Value> {
        let _pass = PassGuard::enter();
        Self::finish(Ok(value), None, scope)
    }

    /// Evaluates a bare expression.
    ///
    /// # Errors
    /// As [`Templates::text`].
    pub fn expression(&self, text: &str, at: Option<Span>, scope: &Arc<dyn Scope>) -> R<Value> {
        let _pass = PassGuard::enter();
        Self::finish(self.0.run(text, &Mode::Expression, scope), at, scope)
    }

    /// Evaluates one item of `when`, `until`, `changed_when`, `failed_when` or `that`.
    ///
    /// Text in braces is rendered first, as old playbooks need it, and what it gives is then the expression.
    ///
    /// # Errors
    /// As [`Templates::text`]; kind `Unknown` when check mode cannot know; kind `Condition` when the result is not
    /// a boolean, unless the options allow that.
    pub fn condition(&self, node: &Node, scope: &Arc<dyn Scope>) -> R<bool> {
        let _pass = PassGuard::enter();
        let at = Some(node.span);
        let result = match &node.value {
            Yaml::Bool(b) => return Ok(*b),
            Yaml::Null => return Ok(true),
            Yaml::Str(s) if s.trim().is_empty() => return Ok(true),
            Yaml::Str(s) | Yaml::Unsafe(s) => self.condition_text(s, scope),
            Yaml::Int(_) | Yaml::Float(_) => {
                Ok(self.0.value_of(Place::of(Arc::new(node.clone())), scope, &"".into())?)
            }
            _ => Err(TemplateError::new(
                ErrorKind::Condition,
                "a condition is text or a boolean, not a list or mapping",
            )),
        };
        let value =
            result.and_then(super::values::defined).map_err(|e| suggest(e, scope.as_ref()).or_at(at))?;
        if is_unknown(&value) {
            return Err(unknown_error().or_at(at));
        }
        if value.kind() == ValueKind::Bool {
            return Ok(value.is_true());
        }
        let truth = render::as_condition(&value).map_err(|e| e.or_at(at))?;
        if self.0.options.broken_conditionals {
            return Ok(truth);
        }
        let kind = type_name(&value);
        Err(TemplateError::new(
            ErrorKind::Condition,
            format!("the condition is a value of type '{kind}', which counts as {truth}; a condition has to be true or false"),
        )
        .or_help(Some(match kind {
            "str" => "write `| bool` after it, or compare it, such as `!= \"\"`".to_owned(),
            "list" | "dict" => "write `| length > 0` after it".to_owned(),
            "NoneType" => "compare it: `is not none`".to_owned(),
            _ => "write `| bool` after it, or compare it, such as `> 0`".to_owned(),
        }))
        .or_at(at))
    }

    /// The text that a variable named alone in braces has in YAML, if it is no template itself.
    fn written_text(&self, text: &str, scope: &Arc<dyn Scope>) -> R<Option<Arc<str>>> {
        let program = self.0.compile(text, "", &Mode::Playbook)?;
        let Some(name) = render::sole_name(&program) else { return Ok(None) };
        Ok(match scope.get(name) {
            Some(Var::Yaml(node)) => match &node.value {
                Yaml::Str(s) if !template_text(s) => Some(Arc::clone(s)),
                _ => None,
            },
            _ => None,
        })
    }

    fn condition_text(&self, text: &str, scope: &Arc<dyn Scope>) -> R<Value> {
        if !template_text(text) {
            return self.0.run(text, &Mode::Expression, scope);
        }
        // Braces inside the expression, such as a dictionary literal, are no template.
        if let Ok(program) = self.0.compile(text, "", &Mode::Expression)
            && program.problems.is_empty()
        {
            return self.0.run(text, &Mode::Expression, scope);
        }
        let value = self.0.run(text, &Mode::Playbook, scope)?;
        // `when: "{{ check }}"` with `check: "a == 1"` written in YAML: what it gives is an expression.
        if let Some(made) = self.written_text(text, scope)? {
            return self.0.run(&made, &Mode::Expression, scope);
        }
        match value.as_str() {
            Some("True" | "true") => Ok(Value::from(true)),
            Some("False" | "false") => Ok(Value::from(false)),
            // A whole `{{ x }}` may give data, which is never code; with text around it the playbook wrote code.
            Some(made) if !(text.trim().starts_with("{{") && text.trim().ends_with("}}")) => {
                self.0.run(made, &Mode::Expression, scope)
            }
            _ => Ok(value),
        }
    }

    /// Renders a template file: a `#jinja2:` header is obeyed, the trailing newline is kept.
    ///
    /// `name` is the file's path; what it includes is searched in the scope's folders and beside it.
    ///
    /// # Errors
    /// As [`Templates::text`], with the name of the file that failed and the place in it.
    pub fn file(&self, text: &str, name: &Path, options: FileOptions, scope: &Arc<dyn Scope>) -> R<String> {
        self.0.file(text, name, options, scope)
    }

    /// Runs a lookup, as `with_<name>` does: the terms are rendered first and the result is always a list.
    ///
    /// # Errors
    /// An unknown lookup, terms that do not render, or what the lookup refuses.
    pub fn lookup(&self, name: &str, terms: &Node, scope: &Arc<dyn Scope>) -> R<Vec<Value>> {
        let _pass = PassGuard::enter();
        let at = Some(terms.span);
        let value = self.node(terms, scope)?;
        let mut cx = Cx::new(Arc::clone(&self.0), Arc::clone(scope));
        let result = super::lookups::with(&mut cx, name, value);
        result
            .and_then(|all| all.into_iter().map(plain).collect())
            .map_err(|e| suggest(e, scope.as_ref()).or_at(at))
    }

    /// Checks a text without rendering it.
    ///
    /// # Errors
    /// Syntax. Names that do not exist are in the result.
    pub fn check_text(&self, text: &str) -> R<super::References> {
        if !template_text(text) {
            return Ok(super::References::default());
        }
        Ok(super::check::references(&*self.0.compile(text, "", &Mode::Playbook)?))
    }

    /// Checks a bare expression, or a condition in braces, without evaluating it.
    ///
    /// # Errors
    /// Syntax. Names that do not exist are in the result.
    pub fn check_expression(&self, text: &str) -> R<super::References> {
        match self.0.compile(text, "", &Mode::Expression) {
            Ok(program) => Ok(super::check::references(&program)),
            Err(_) if template_text(text) => self.check_text(text),
            Err(e) => Err(e),
        }
    }

    /// Checks a template file without rendering it.
    ///
    /// # Errors
    /// Syntax. Names that do not exist are in the result.
    pub fn check_file(&self, text: &str, name: &Path, options: FileOptions) -> R<super::References> {
        let shown = name.display().to_string();
        let (body, options) = options.with_header(text)?;
        let header = (text.len() - body.len()) as u32;
        let moved = |error: TemplateError| error.moved(header);
        let program = self.0.compile(body, &shown, &Mode::File(Box::new(options))).map_err(moved)?;
        let mut found = super::check::references(&program);
        for name in &mut found.names {
            name.offset += header;
        }
        found.problems = found.problems.into_iter().map(moved).collect();
        Ok(found)
    }
}

/// A node rendered for itself has no variable name that would help in the chain.
fn without_own_name(error: TemplateError) -> TemplateError {
    error.without_unnamed()
}
