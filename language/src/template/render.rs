//! Runs statements: loops, blocks, macros, includes.
//!
//! Owns: everything between `{%` and `%}`. Must not: evaluate expressions (that is `eval`).

use std::sync::Arc;

use minijinja::Value;
use minijinja::value::ValueKind;

use super::containers::{Dict, Map};
use super::error::{ErrorKind, R, TemplateError};
use super::eval::{Cx, Frame, too_deep};
use super::marks::{is_missing, is_unknown, missing, unknown};
use super::objects::{LoopState, Macro, Module};
use super::output::Output;
use super::program::{Ex, Loop, MacroDef, Program, Stmt, Target};
use super::values::{defined, items, list, text, truth};
use super::{Scope, SearchPath, Var};

/// How a run of statements ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// The scope of `include ... without context`: folders to search, no variables.
#[derive(Debug)]
struct NoVariables(Arc<dyn Scope>);

impl Scope for NoVariables {
    fn get(&self, _: &str) -> Option<Var> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn search(&self) -> SearchPath {
        self.0.search()
    }
}

/// Levels of includes, macros and recursive loops.
const MAX_DEPTH: usize = 60;

impl Cx {
    /// Renders a compiled text into one value.
    ///
    /// # Errors
    /// What any expression in it fails with.
    pub(super) fn render(&mut self, program: &Program) -> R<Output> {
        self.outputs.push(Output::default());
        let result = self.program(program);
        let output = self.outputs.pop().unwrap_or_default();
        result.map(|()| output)
    }

    fn out(&mut self) -> &mut Output {
        if self.outputs.is_empty() {
            self.outputs.push(Output::default());
        }
        let last = self.outputs.len() - 1;
        &mut self.outputs[last]
    }

    fn captured<T>(&mut self, run: impl FnOnce(&mut Self) -> R<T>) -> R<Output> {
        let depth = self.outputs.len();
        self.outputs.push(Output::default());
        let result = run(self);
        let output = self.outputs.drain(depth..).next().unwrap_or_default();
        result.map(|_| output)
    }

    fn program(&mut self, program: &Program) -> R<()> {
        self.deeper(|cx| {
            cx.collect_blocks(&program.body);
            let Some(at) = program.body.iter().position(|s| matches!(s, Stmt::Extends(_))) else {
                cx.body(&program.body)?;
                return Ok(());
            };
            // What stands around the blocks of a derived template is run for its `set` and macros only.
            let mut parent = None;
            cx.captured(|cx| {
                cx.body(&program.body[..at])?;
                if let Stmt::Extends(name) = &program.body[at] {
                    let name = cx.eval(name)?;
                    parent = Some(cx.load(&defined(name)?)?);
                }
                for stmt in &program.body[at + 1..] {
                    if !matches!(stmt, Stmt::Block(..)) {
                        cx.stmt(stmt)?;
                    }
                }
                Ok(())
            })?;
            match parent {
                Some((program, context)) => cx.within(context, |cx| cx.program(&program)),
                None => Ok(()),
            }
        })
    }

    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> R<T>) -> R<T> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        let result = super::with_stack(|| run(self));
        self.depth -= 1;
        result
    }

    fn within<T>(&mut self, context: super::FileContext, run: impl FnOnce(&mut Self) -> R<T>) -> R<T> {
        let outer = std::mem::replace(&mut self.file, context);
        let result = run(self);
        let inner = std::mem::replace(&mut self.file, outer);
        result.map_err(|e| e.or_file(&inner.name))
    }

    fn collect_blocks(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Block(name, body) => {
                    match self.blocks.iter_mut().find(|(n, _)| n == name) {
                        Some((_, bodies)) => bodies.push(Arc::clone(body)),
                        None => self.blocks.push((Arc::clone(name), vec![Arc::clone(body)])),
                    }
                    self.collect_blocks(body);
                }
                Stmt::If(_, yes, no) => {
                    self.collect_blocks(yes);
                    self.collect_blocks(no);
                }
                Stmt::For(l) => self.collect_blocks(&l.body),
                Stmt::With(_, body) | Stmt::Group(body) | Stmt::FilterBlock(_, body) => {
                    self.collect_blocks(body)
                }
                _ => {}
            }
        }
    }

    fn body(&mut self, stmts: &[Stmt]) -> R<Flow> {
        for stmt in stmts {
            let flow = self.stmt(stmt)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn stmt(&mut self, stmt: &Stmt) -> R<Flow> {
        match stmt {
            Stmt::Raw(raw) => self.out().push_str(raw)?,
            Stmt::Emit(ex) => {
                let value = self.eval(ex)?;
                self.out().push(value).map_err(|e| e.or_offset(ex.span.clone()))?;
            }
            Stmt::For(l) => return self.for_loop(l),
            Stmt::If(test, yes, no) => {
                let holds = self.holds(test)?;
                return self.body(if holds { yes } else { no });
            }
            Stmt::With(assignments, body) => {
                self.frames.push(Frame::default());
                let result = (|| {
                    for (target, ex) in assignments {
                        let value = self.eval(ex)?;
                        self.assign(target, value)?;
                    }
                    self.body(body)
                })();
                self.frames.pop();
                return result;
            }
            Stmt::Set(target, ex) => {
                let value = self.eval(ex)?;
                self.assign(target, value).map_err(|e| e.or_offset(ex.span.clone()))?;
            }
            Stmt::SetBlock(target, filter, body) => {
                let output = self.captured(|cx| cx.body(body))?;
                let value = match filter {
                    Some(filter) => self.filtered(filter, Value::from(output.finish_text()?))?,
                    None => match output.finish() {
                        none if none.is_none() => Value::from(""),
                        value => value,
                    },
                };
                self.assign(target, value)?;
            }
            Stmt::FilterBlock(filter, body) => {
                let output = self.captured(|cx| cx.body(body))?;
                let value = self.filtered(filter, Value::from(output.finish_text()?))?;
                self.out().push(value)?;
            }
            Stmt::Group(body) => return self.body(body),
            Stmt::Block(name, _) => self.block(name, 0)?,
            // Only valid at the top, where `program` has handled it.
            Stmt::Extends(_) => {
                return Err(TemplateError::new(
                    ErrorKind::Syntax,
                    "`extends` must stand at the top of a template",
                ));
            }
            Stmt::Include { name, ignore_missing, context } => {
                self.include(name, *ignore_missing, *context)?
            }
            Stmt::Import(name, target) => {
                let module = self.import(name)?;
                self.assign(target, module)?;
            }
            Stmt::FromImport(name, names) => {
                let module = self.import(name)?;
                for (name, alias) in names {
                    let value = module.downcast_object_ref::<Module>().and_then(|m| m.get(name));
                    let value = value.unwrap_or_else(|| {
                        missing(TemplateError::undefined(
                            &**name,
                            format!("`{name}` is undefined: the imported template does not set it"),
                        ))
                    });
                    self.set(alias, value);
                }
            }
            Stmt::Macro(def) => {
                let value = self.make_macro(def);
                self.set(&def.name, value);
            }
            Stmt::CallBlock(call, def) => {
                let caller = self.make_macro(def);
                let value = self.call_with_caller(call, caller)?;
                self.out().push(value)?;
            }
            Stmt::Do(ex) => {
                self.eval(ex)?;
            }
            Stmt::Continue => return Ok(Flow::Continue),
            Stmt::Break => return Ok(Flow::Break),
        }
        Ok(Flow::Next)
    }

    fn filtered(&mut self, filter: &Ex, input: Value) -> R<Value> {
        let outer = self.captured.replace(input);
        let result = self.eval(filter);
        self.captured = outer;
        result
    }

    fn for_loop(&mut self, l: &Arc<Loop>) -> R<Flow> {
        let over = self.eval(&l.iter)?;
        if is_unknown(&over) {
            return Err(super::values::unknown_error().or_offset(l.iter.span.clone()));
        }
        let over = items(&over).map_err(|e| e.or_offset(l.iter.span.clone()))?;
        self.run_loop(l, over, 0)?;
        Ok(Flow::Next)
    }

    fn run_loop(&mut self, l: &Arc<Loop>, mut over: Vec<Value>, depth: usize) -> R<()> {
        if let Some(filter) = &l.filter {
            let mut kept = Vec::with_capacity(over.len());
            self.frames.push(Frame::default());
            let result = (|| {
                for value in over {
                    self.assign(&l.target, value.clone())?;
                    if self.holds(filter)? {
                        kept.push(value);
                    }
                }
                Ok(())
            })();
            self.frames.pop();
            result?;
            over = kept;
        }
        if over.is_empty() {
            self.body(&l.otherwise)?;
            return Ok(());
        }
        let all = Arc::new(over);
        let changed = Arc::default();
        let loop_name: Arc<str> = "loop".into();
        self.frames.push(Frame::default());
        let result = (|| {
            for at in 0..all.len() {
                // Names set in one turn are gone in the next; a macro may still hold the frame.
                if let Some(frame) = self.frames.last_mut() {
                    if Arc::strong_count(frame) > 1 {
                        *frame = Frame::default();
                    } else {
                        frame.lock().unwrap_or_else(|e| e.into_inner()).clear();
                    }
                }
                let state = LoopState {
                    index0: at,
                    all: Arc::clone(&all),
                    depth0: depth,
                    changed: Arc::clone(&changed),
                    recurse: l.recursive.then(|| Arc::clone(l)),
                };
                self.set(&loop_name, Value::from_object(state));
                self.assign(&l.target, all[at].clone())?;
                if self.body(&l.body)? == Flow::Break {
                    break;
                }
            }
            Ok(())
        })();
        self.frames.pop();
        result
    }

    /// `loop(children)` in a recursive loop.
    pub(super) fn recurse(&mut self, state: &LoopState, args: Vec<Value>) -> R<Value> {
        let Some(l) = &state.recurse else {
            return Err(TemplateError::of_type("this loop is not `recursive`, it cannot be called"));
        };
        let over = match args.first() {
            Some(value) => items(value)?,
            None => return Err(TemplateError::arguments("`loop()` needs the items to go on with")),
        };
        let depth = state.depth0 + 1;
        let output = self.deeper(|cx| cx.captured(|cx| cx.run_loop(l, over, depth)))?;
        Ok(Value::from(output.finish_text()?))
    }

    fn block(&mut self, name: &Arc<str>, level: usize) -> R<()> {
        let body = self
            .blocks
            .iter()
            .find(|(n, _)| n == name)
            .and_then(|(_, bodies)| bodies.get(level))
            .map(Arc::clone);
        let Some(body) = body else {
            return Err(TemplateError::undefined(&**name, format!("there is no block `{name}` here")));
        };
        let outer = self.in_block.replace((Arc::clone(name), level));
        self.frames.push(Frame::default());
        let result = self.body(&body);
        self.frames.pop();
        self.in_block = outer;
        result.map(|_| ())
    }

    /// `super()`.
    pub(super) fn super_block(&mut self) -> R<Value> {
        let Some((name, level)) = self.in_block.clone() else {
            return Err(TemplateError::new(ErrorKind::Syntax, "`super()` works only inside a block"));
        };
        let output = self.deeper(|cx| cx.captured(|cx| cx.block(&name, level + 1)))?;
        Ok(Value::from(output.finish_text()?))
    }

    /// `self.name()`.
    pub(super) fn block_value(&mut self, name: &Arc<str>) -> R<Value> {
        let output = self.deeper(|cx| cx.captured(|cx| cx.block(name, 0)))?;
        Ok(Value::from(output.finish_text()?))
    }

    fn load(&mut self, name: &Value) -> R<(Arc<Program>, super::FileContext)> {
        let names = if name.as_str().is_some() { vec![name.clone()] } else { items(name)? };
        let mut tried = Vec::new();
        for name in names {
            let name = text(&name)?;
            if let Some(found) = self.engine.load(&self.file, self.scope.as_ref(), &name)? {
                return Ok(found);
            }
            tried.push(format!("`{name}`"));
        }
        Err(TemplateError::new(
            ErrorKind::TemplateNotFound,
            format!("no template {} found", tried.join(" or ")),
        ))
    }

    fn include(&mut self, name: &Ex, ignore_missing: bool, with_context: bool) -> R<()> {
        let value = self.eval(name)?;
        let value = defined(value).map_err(|e| e.or_offset(name.span.clone()))?;
        let loaded = match self.load(&value) {
            Err(e) if ignore_missing && e.kind == ErrorKind::TemplateNotFound => return Ok(()),
            loaded => loaded.map_err(|e| e.or_offset(name.span.clone()))?,
        };
        let (program, context) = loaded;
        let blocks = std::mem::take(&mut self.blocks);
        let result = if with_context {
            self.frames.push(Frame::default());
            let result = self.within(context, |cx| cx.program(&program));
            self.frames.pop();
            result
        } else {
            let frames = std::mem::replace(&mut self.frames, vec![Frame::default()]);
            let bare: Arc<dyn Scope> = Arc::new(NoVariables(Arc::clone(&self.scope)));
            let scope = std::mem::replace(&mut self.scope, bare);
            let result = self.within(context, |cx| cx.program(&program));
            self.scope = scope;
            self.frames = frames;
            result
        };
        self.blocks = blocks;
        result
    }

    fn import(&mut self, name: &Ex) -> R<Value> {
        let value = self.eval(name)?;
        let value = defined(value).map_err(|e| e.or_offset(name.span.clone()))?;
        let (program, context) = self.load(&value).map_err(|e| e.or_offset(name.span.clone()))?;
        let blocks = std::mem::take(&mut self.blocks);
        let frame = Frame::default();
        self.frames.push(Arc::clone(&frame));
        let result = self.within(context, |cx| cx.captured(|cx| cx.program(&program)));
        self.frames.pop();
        self.blocks = blocks;
        result?;
        let entries = frame.lock().unwrap_or_else(|e| e.into_inner()).clone();
        Ok(Value::from_object(Module(entries)))
    }

    fn make_macro(&mut self, def: &Arc<MacroDef>) -> Value {
        self.shared.extend(self.frames.iter().cloned());
        Value::from_object(Macro {
            def: Arc::clone(def),
            frames: self.frames.clone(),
            file: self.file.clone(),
        })
    }

    fn call_with_caller(&mut self, call: &Ex, caller: Value) -> R<Value> {
        let super::program::Expr::Call(callee, args) = &call.kind else {
            return Err(TemplateError::new(ErrorKind::Syntax, "`call` needs a call"));
        };
        let callee = self.eval(callee)?;
        let callee = defined(callee).map_err(|e| e.or_offset(call.span.clone()))?;
        let (positional, mut named) = self.arguments(args)?;
        named.push(("caller".into(), caller));
        self.call(&callee, positional, named)
    }

    /// Calls a macro; what it writes is its value.
    pub(super) fn call_macro(
        &mut self,
        mac: &Macro,
        positional: Vec<Value>,
        named: Vec<(Arc<str>, Value)>,
    ) -> R<Value> {
        let def = &mac.def;
        let frame = Frame::default();
        let mut positional = positional.into_iter();
        let mut named: Vec<(Arc<str>, Value)> = named;
        let outer = std::mem::replace(&mut self.frames, mac.frames.clone());
        self.frames.push(Arc::clone(&frame));
        let outer_file = std::mem::replace(&mut self.file, mac.file.clone());
        let outer_block = self.in_block.take();
        let result = self.deeper(|cx| {
            for (name, default) in &def.params {
                let given = positional
                    .next()
                    .filter(|v| !is_missing(v) || default.is_none())
                    .or_else(|| named.iter().position(|(n, _)| n == name).map(|at| named.remove(at).1));
                let value = match (given, default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => cx.eval(default)?,
                    (None, None) => missing(TemplateError::undefined(
                        &**name,
                        format!("`{name}` is undefined: the macro `{}` was called without it", def.name),
                    )),
                };
                cx.set(name, value);
            }
            if let Some(at) = named.iter().position(|(n, _)| &**n == "caller") {
                let caller = named.remove(at).1;
                cx.set(&"caller".into(), caller);
            }
            cx.set(&"varargs".into(), list(positional.collect()));
            let rest: Map = named.into_iter().map(|(n, v)| (Value::from(&*n), v)).collect();
            cx.set(&"kwargs".into(), Value::from_object(Dict::new(rest)));
            cx.captured(|cx| cx.body(&def.body))
        });
        self.in_block = outer_block;
        self.file = outer_file;
        self.frames = outer;
        Ok(result?.finish())
    }
}

/// The value of a bare expression.
pub(super) fn expression_value(program: &Program, cx: &mut Cx) -> R<Value> {
    match program.body.first() {
        Some(Stmt::Emit(ex)) => cx.eval(ex),
        _ => Ok(Value::from(())),
    }
}

/// The name, when a text is nothing but one name in braces.
pub(super) fn sole_name(program: &Program) -> Option<&str> {
    match &program.body[..] {
        [Stmt::Emit(Ex { kind: super::program::Expr::Name(name), .. })] => Some(name),
        _ => None,
    }
}

/// Whether a value that came out of a rendering is one that a condition accepts.
pub(super) fn as_condition(value: &Value) -> R<bool> {
    match value.kind() {
        ValueKind::Bool => Ok(value.is_true()),
        _ => truth(value),
    }
}

/// A text whose value is unknown in check mode is itself unknown.
pub(super) fn or_unknown(result: R<Value>) -> R<Value> {
    match result {
        Err(e) if e.kind == ErrorKind::Unknown => Ok(unknown()),
        other => other,
    }
}

/// Names that a target sets.
pub(super) fn names_of(target: &Target, into: &mut Vec<Arc<str>>) {
    match target {
        Target::Name(name) => into.push(Arc::clone(name)),
        Target::Attr(..) => {}
        Target::Many(targets) => targets.iter().for_each(|t| names_of(t, into)),
    }
}

impl Drop for Cx {
    /// Macros hold the frames they were written in and are held by them; emptying the frames ends the circle.
    fn drop(&mut self) {
        for frame in self.shared.drain(..) {
            frame.lock().unwrap_or_else(|e| e.into_inner()).clear();
        }
    }
}
