//! Evaluates expressions.
//!
//! Owns: [`Cx`], the state of one rendering, names, operators' operands, calls. Must not: know what single filters do.

use std::sync::{Arc, Mutex};

use minijinja::Value;
use minijinja::value::{Tuple, ValueKind};

use super::containers::{Dict, List, Map, Namespace};
use super::engine::Inner;
use super::error::{ErrorKind, R, TemplateError};
use super::marks::{is_missing, is_nothing, is_unknown, missing, nothing, omit, unknown, why_missing};
use super::objects::{LoopState, Macro, Module};
use super::output::Output;
use super::program::{Arg, Binary, Ex, Expr, Relation, Target};
use super::values::{
    compare, contains, defined, equal, int, item, items, mutable, pairs, text, truth, type_name,
};
use super::{Scope, methods, operators, registry};

/// Variables that a template set; shared with macros that were written where they are visible.
pub(super) type Frame = Arc<Mutex<Vec<(Arc<str>, Value)>>>;

/// The statements of a block.
pub(super) type Body = Arc<Vec<super::program::Stmt>>;

/// Named arguments.
pub(super) type Named = Vec<(Arc<str>, Value)>;

/// The state of rendering one text.
pub(super) struct Cx {
    pub(super) engine: Arc<Inner>,
    pub(super) scope: Arc<dyn Scope>,
    pub(super) frames: Vec<Frame>,
    pub(super) outputs: Vec<Output>,
    /// Text for `Expr::Captured`.
    pub(super) captured: Option<Value>,
    /// Blocks by name, most derived first.
    pub(super) blocks: Vec<(Arc<str>, Vec<Body>)>,
    /// The block being rendered and how many levels up, for `super()`.
    pub(super) in_block: Option<(Arc<str>, usize)>,
    /// What includes of this template obey and where it lies.
    pub(super) file: super::FileContext,
    pub(super) depth: usize,
    /// Frames that macros hold.
    pub(super) shared: Vec<Frame>,
}

/// Loads the value under a name in a frame.
pub(super) fn in_frame(frame: &Frame, name: &str) -> Option<Value> {
    let frame = frame.lock().unwrap_or_else(|e| e.into_inner());
    frame.iter().rev().find(|(n, _)| **n == *name).map(|(_, v)| v.clone())
}

pub(super) fn store(frame: &Frame, name: &Arc<str>, value: Value) {
    let mut frame = frame.lock().unwrap_or_else(|e| e.into_inner());
    match frame.iter_mut().find(|(n, _)| n == name) {
        Some(entry) => entry.1 = value,
        None => frame.push((Arc::clone(name), value)),
    }
}

impl Cx {
    pub(super) fn new(engine: Arc<Inner>, scope: Arc<dyn Scope>) -> Self {
        Self {
            engine,
            scope,
            frames: vec![Frame::default()],
            outputs: Vec::new(),
            captured: None,
            blocks: Vec::new(),
            in_block: None,
            file: super::FileContext::default(),
            depth: 0,
            shared: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, name: &Arc<str>, value: Value) {
        if let Some(frame) = self.frames.last() {
            store(frame, name, value);
        }
    }

    /// A name set by the template itself.
    pub(super) fn local(&self, name: &str) -> Option<Value> {
        self.frames.iter().rev().find_map(|frame| in_frame(frame, name))
    }

    /// The value of a name; a missing mark when there is none.
    pub(super) fn name(&mut self, name: &str) -> R<Value> {
        if let Some(value) = self.local(name) {
            return Ok(value);
        }
        if let Some(value) = self.engine.variable(&self.scope, name)? {
            return Ok(value);
        }
        Ok(match name {
            "omit" => omit(),
            "vars" => Arc::clone(&self.engine).all_variables(&self.scope),
            _ => match registry::function(name) {
                Some(function) => Value::from_object(super::objects::Function(function)),
                None => missing(TemplateError::undefined(name, format!("`{name}` is undefined"))),
            },
        })
    }

    pub(super) fn eval(&mut self, ex: &Ex) -> R<Value> {
        self.eval_kind(ex).map_err(|e| e.or_offset(ex.span.clone()))
    }

    fn eval_defined(&mut self, ex: &Ex) -> R<Value> {
        let value = self.eval(ex)?;
        match value.kind() {
            ValueKind::Plain if is_nothing(&value) => Ok(Value::from("")),
            ValueKind::Plain | ValueKind::Undefined | ValueKind::Invalid => {
                defined(value).map_err(|e| e.or_offset(ex.span.clone()))
            }
            _ => Ok(value),
        }
    }

    fn eval_truth(&mut self, ex: &Ex) -> R<bool> {
        let value = self.eval(ex)?;
        truth(&value).map_err(|e| e.or_offset(ex.span.clone()))
    }

    fn eval_kind(&mut self, ex: &Ex) -> R<Value> {
        Ok(match &ex.kind {
            Expr::Const(value) => value.clone(),
            Expr::Name(name) => {
                let value = self.name(name)?;
                match why_missing(&value) {
                    Some(error) if error.offset.is_none() && error.at.is_none() => {
                        missing(error.or_offset(ex.span.clone()))
                    }
                    _ => value,
                }
            }
            Expr::Attr(of, name) => {
                let of = self.eval(of)?;
                self.attribute(&of, name, ex)?
            }
            Expr::Item(of, key) => {
                let of = self.eval(of)?;
                if is_missing(&of) || is_unknown(&of) {
                    return Ok(of);
                }
                let key = self.eval(key)?;
                if is_missing(&key) || is_unknown(&key) {
                    return Ok(key);
                }
                self.subscript(&of, &key, ex)?
            }
            Expr::Slice(of, parts) => {
                let of = self.eval_defined(of)?;
                let mut bounds = [None; 3];
                for (bound, part) in bounds.iter_mut().zip(parts) {
                    if let Some(part) = part {
                        let value = self.eval_defined(part)?;
                        if value.is_none() {
                            continue;
                        }
                        *bound = Some(super::values::as_int(&value).ok_or_else(|| {
                            TemplateError::of_type("slice indices must be integers or None")
                        })?);
                    }
                }
                operators::slice(&of, bounds)?
            }
            Expr::Not(e) => {
                let value = self.eval(e)?;
                if is_unknown(&value) {
                    return Ok(value);
                }
                Value::from(!truth(&value).map_err(|err| err.or_offset(e.span.clone()))?)
            }
            Expr::Neg(e) => {
                let value = self.eval_defined(e)?;
                if is_unknown(&value) {
                    return Ok(value);
                }
                operators::negate(&value)?
            }
            Expr::And(a, b) => {
                let left = self.eval(a)?;
                if is_unknown(&left) {
                    let right = self.eval(b)?;
                    return Ok(if !is_unknown(&right) && !truth(&right)? {
                        Value::from(false)
                    } else {
                        left
                    });
                }
                if truth(&left).map_err(|err| err.or_offset(a.span.clone()))? { self.eval(b)? } else { left }
            }
            Expr::Or(a, b) => {
                let left = self.eval(a)?;
                if is_unknown(&left) {
                    let right = self.eval(b)?;
                    return Ok(if !is_unknown(&right) && truth(&right)? { right } else { left });
                }
                if truth(&left).map_err(|err| err.or_offset(a.span.clone()))? { left } else { self.eval(b)? }
            }
            Expr::Binary(operator, a, b) => {
                let left = self.eval_defined(a)?;
                let right = self.eval_defined(b)?;
                if is_unknown(&left) || is_unknown(&right) {
                    return Ok(unknown());
                }
                if *operator == Binary::Concat {
                    let mut out = text(&left)?;
                    out.push_str(&text(&right)?);
                    Value::from(out)
                } else {
                    operators::binary(*operator, &left, &right)?
                }
            }
            Expr::Compare(first, rest) => {
                let mut left = self.eval_defined(first)?;
                for (relation, ex) in rest {
                    let right = self.eval_defined(ex)?;
                    if is_unknown(&left) || is_unknown(&right) {
                        return Ok(unknown());
                    }
                    if !related(*relation, &left, &right)? {
                        return Ok(Value::from(false));
                    }
                    left = right;
                }
                Value::from(true)
            }
            Expr::If { test, yes, no } => {
                let value = self.eval(test)?;
                if is_unknown(&value) {
                    return Ok(value);
                }
                if truth(&value).map_err(|err| err.or_offset(test.span.clone()))? {
                    self.eval(yes)?
                } else if let Some(no) = no {
                    self.eval(no)?
                } else {
                    nothing(TemplateError::undefined(
                        "",
                        "the condition of this inline `if` is false and it has no `else`",
                    ))
                }
            }
            Expr::Filter(builtin, args) => {
                let (positional, named) = self.arguments(args)?;
                builtin.call(self, positional, named)?
            }
            Expr::Test(builtin, args) => {
                let (positional, named) = self.arguments(args)?;
                builtin.call(self, positional, named)?
            }
            Expr::Call(callee, args) => self.call_expression(callee, args)?,
            Expr::List(list) => {
                let mut out = Vec::with_capacity(list.len());
                for ex in list {
                    out.push(self.eval(ex)?);
                }
                Value::from_object(List::new(out))
            }
            Expr::Tuple(list) => {
                let mut out = Vec::with_capacity(list.len());
                for ex in list {
                    out.push(self.eval(ex)?);
                }
                Value::from(Tuple::from(out))
            }
            Expr::Map(entries) => {
                let mut out = Map::with_capacity(entries.len());
                for (key, value) in entries {
                    let key = self.eval_defined(key)?;
                    let value = self.eval(value)?;
                    out.insert(key, value);
                }
                Value::from_object(Dict::new(out))
            }
            Expr::Embedded(program) => self.render(program)?.finish(),
            Expr::Captured => self.captured.clone().unwrap_or_else(|| Value::from("")),
            Expr::Fail(error, _) => return Err((**error).clone()),
        })
    }

    /// `value.name`: Python looks for an attribute first and Jinja then for an item.
    pub(super) fn attribute(&mut self, of: &Value, name: &str, ex: &Ex) -> R<Value> {
        if is_missing(of) || is_unknown(of) {
            return Ok(of.clone());
        }
        if let Some(value) = item(of, &Value::from(name))? {
            return Ok(value);
        }
        if methods::exists(of, name) {
            return Ok(Value::from_object(super::objects::Method { of: of.clone(), name: name.into() }));
        }
        if let Some(found) = of.as_object().and_then(|object| object.get_value(&Value::from(name))) {
            return super::values::valid(found);
        }
        Ok(missing(no_attribute(of, name).or_offset(ex.span.clone())))
    }

    fn subscript(&mut self, of: &Value, key: &Value, ex: &Ex) -> R<Value> {
        if let Some(value) = item(of, key)? {
            return Ok(value);
        }
        if let Some(name) = key.as_str() {
            if !matches!(of.kind(), ValueKind::Map) {
                return self.attribute(of, name, ex);
            }
            return Ok(missing(no_attribute(of, name).or_offset(ex.span.clone())));
        }
        let shown = text(key)?;
        Ok(missing(
            TemplateError::undefined(
                shown.clone(),
                format!("a value of type '{}' has no element {shown}", type_name(of)),
            )
            .or_offset(ex.span.clone()),
        ))
    }

    /// Evaluates arguments, spread ones included.
    pub(super) fn arguments(&mut self, args: &[Arg]) -> R<(Vec<Value>, Named)> {
        let mut positional = Vec::with_capacity(args.len());
        let mut named = Vec::new();
        for arg in args {
            match arg {
                Arg::Pos(ex) => positional.push(self.eval(ex)?),
                Arg::Kw(name, ex) => named.push((Arc::clone(name), self.eval(ex)?)),
                Arg::Splat(ex) => {
                    let value = self.eval(ex)?;
                    positional.extend(items(&value)?);
                }
                Arg::KwSplat(ex) => {
                    let value = self.eval(ex)?;
                    for (key, value) in pairs(&value)? {
                        named.push((text(&key)?.into(), value));
                    }
                }
            }
        }
        Ok((positional, named))
    }

    fn call_expression(&mut self, callee: &Ex, args: &[Arg]) -> R<Value> {
        match &callee.kind {
            Expr::Name(name) => {
                if self.local(name).is_none() {
                    if &**name == "super" {
                        return self.super_block();
                    }
                    if let Some(function) = registry::function(name) {
                        let (positional, named) = self.arguments(args)?;
                        return function.call(self, positional, named);
                    }
                }
                let value = self.name(name)?;
                if is_missing(&value) {
                    return Err(TemplateError::no_such("function", name, registry::near_function(name)));
                }
                let (positional, named) = self.arguments(args)?;
                self.call(&value, positional, named)
            }
            Expr::Attr(of, name) => {
                if let Expr::Name(self_name) = &of.kind
                    && &**self_name == "self"
                    && self.local("self").is_none()
                {
                    return self.block_value(name);
                }
                let receiver = if methods::mutates(name) { self.place(of)? } else { self.eval(of)? };
                let receiver = match why_missing(&receiver) {
                    Some(error) => return Err(error.or_offset(of.span.clone())),
                    None => receiver,
                };
                let (positional, named) = self.arguments(args)?;
                self.call_method(&receiver, name, positional, named)
            }
            _ => {
                let value = self.eval_defined(callee)?;
                let (positional, named) = self.arguments(args)?;
                self.call(&value, positional, named)
            }
        }
    }

    /// The value of a place in a form that can be changed; a variable keeps the changeable form as a local.
    fn place(&mut self, ex: &Ex) -> R<Value> {
        let value = self.eval(ex)?;
        let changeable = mutable(&value)?;
        if value.downcast_object_ref::<List>().is_some() || value.downcast_object_ref::<Dict>().is_some() {
            return Ok(value);
        }
        if !matches!(changeable.kind(), ValueKind::Seq | ValueKind::Map)
            || (changeable.downcast_object_ref::<List>().is_none()
                && changeable.downcast_object_ref::<Dict>().is_none())
        {
            return Ok(value);
        }
        match &ex.kind {
            Expr::Name(name) => {
                let holder = self.frames.iter().rev().find(|frame| in_frame(frame, name).is_some());
                if let Some(frame) = holder.or_else(|| self.frames.first()) {
                    store(frame, name, changeable.clone());
                }
            }
            Expr::Attr(of, name) => {
                let parent = self.place(of)?;
                put(&parent, Value::from(&**name), changeable.clone());
            }
            Expr::Item(of, key) => {
                let parent = self.place(of)?;
                let key = self.eval(key)?;
                put(&parent, key, changeable.clone());
            }
            _ => {}
        }
        Ok(changeable)
    }

    pub(super) fn call_method(
        &mut self,
        of: &Value,
        name: &str,
        positional: Vec<Value>,
        named: Vec<(Arc<str>, Value)>,
    ) -> R<Value> {
        if is_unknown(of) {
            return Ok(of.clone());
        }
        if let Some(state) = of.downcast_object_ref::<LoopState>() {
            return state.method(name, &positional);
        }
        if let Some(module) = of.downcast_object_ref::<Module>() {
            let Some(value) = module.get(name) else {
                return Err(TemplateError::undefined(name, format!("the imported template has no `{name}`")));
            };
            return self.call(&value, positional, named);
        }
        if let Some(result) = super::objects::method(of, name, &positional) {
            return result;
        }
        if methods::exists(of, name) {
            return methods::call(self, of, name, positional, named);
        }
        match item(of, &Value::from(name))? {
            Some(value) => self.call(&value, positional, named),
            None => Err(no_attribute(of, name)),
        }
    }

    /// Calls a macro, function or method object.
    pub(super) fn call(
        &mut self,
        callee: &Value,
        positional: Vec<Value>,
        named: Vec<(Arc<str>, Value)>,
    ) -> R<Value> {
        if let Some(mac) = callee.downcast_object::<Macro>() {
            return self.call_macro(&mac, positional, named);
        }
        if let Some(function) = callee.downcast_object_ref::<super::objects::Function>() {
            return function.0.call(self, positional, named);
        }
        if let Some(method) = callee.downcast_object_ref::<super::objects::Method>() {
            return self.call_method(&method.of, &method.name, positional, named);
        }
        if let Some(state) = callee.downcast_object::<LoopState>() {
            return self.recurse(&state, positional);
        }
        if let Some(result) = super::objects::call(callee) {
            return result;
        }
        defined(callee.clone())?;
        Err(TemplateError::of_type(format!("'{}' object is not callable", type_name(callee))))
    }

    /// Assigns to a target, unpacking where it has several names.
    pub(super) fn assign(&mut self, target: &Target, value: Value) -> R<()> {
        match target {
            Target::Name(name) => self.set(name, value),
            Target::Attr(of, name) => {
                let of = self.eval_defined(of)?;
                match of.downcast_object_ref::<Namespace>() {
                    Some(namespace) => {
                        namespace.0.lock().insert(Value::from(&**name), value);
                    }
                    None => {
                        return Err(TemplateError::of_type(format!(
                            "only attributes of a `namespace()` can be set, not of a value of type '{}'",
                            type_name(&of)
                        )));
                    }
                }
            }
            Target::Many(targets) => {
                let parts = items(&value)?;
                if parts.len() != targets.len() {
                    return Err(TemplateError::of_type(format!(
                        "{} to unpack (expected {}, got {})",
                        if parts.len() > targets.len() { "too many values" } else { "not enough values" },
                        targets.len(),
                        parts.len()
                    )));
                }
                for (target, part) in targets.iter().zip(parts) {
                    self.assign(target, part)?;
                }
            }
        }
        Ok(())
    }

    /// Evaluates a test of an `if` statement.
    pub(super) fn holds(&mut self, ex: &Ex) -> R<bool> {
        self.eval_truth(ex)
    }
}

fn put(parent: &Value, key: Value, value: Value) {
    if let Some(dict) = parent.downcast_object_ref::<Dict>() {
        dict.lock().insert(key, value);
    } else if let Some(list) = parent.downcast_object_ref::<List>()
        && let Some(at) = key.as_usize()
        && let Some(slot) = list.lock().get_mut(at)
    {
        *slot = value;
    } else if let Some(namespace) = parent.downcast_object_ref::<Namespace>() {
        namespace.0.lock().insert(key, value);
    }
}

fn no_attribute(of: &Value, name: &str) -> TemplateError {
    let mut error = TemplateError::undefined(
        name,
        format!("`{name}` is undefined: a value of type '{}' has no such attribute", type_name(of)),
    );
    if of.kind() == ValueKind::Map {
        error = TemplateError::undefined(name, format!("`{name}` is undefined: the mapping has no such key"));
        if let Ok(keys) = items(of) {
            let near = super::error::near(name, keys.iter().filter_map(Value::as_str));
            error = error.or_help(near.map(|near| format!("did you mean `{near}`?")));
        }
    }
    error
}

fn related(relation: Relation, a: &Value, b: &Value) -> R<bool> {
    use std::cmp::Ordering::{Greater, Less};
    Ok(match relation {
        Relation::Eq => equal(a, b)?,
        Relation::Ne => !equal(a, b)?,
        Relation::Lt => compare(a, b, "<")? == Less,
        Relation::Le => compare(a, b, "<=")? != Greater,
        Relation::Gt => compare(a, b, ">")? == Greater,
        Relation::Ge => compare(a, b, ">=")? != Less,
        Relation::In => contains(b, a)?,
        Relation::NotIn => !contains(b, a)?,
    })
}

/// The error for templates nested too deep.
pub(super) fn too_deep() -> TemplateError {
    TemplateError::new(ErrorKind::Depth, "templates are nested too deep here")
}

/// A length as a value.
pub(super) fn count(number: usize) -> Value {
    int(number as i128)
}
