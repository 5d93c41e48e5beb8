//! Compiled templates: minijinja's parser gives the tree, this gives the form that is evaluated and checked.
//!
//! Owns: [`Program`], its nodes, and the way from text to them. Must not: evaluate.
//!
//! Why not minijinja's own engine: Ansible needs undefined values that say why they are undefined, survive `a.b.c`
//! chains and may sit inside lists, results that keep their type, and lists that templates change in place.

use std::ops::Range;
use std::sync::Arc;

use minijinja::Value;
use minijinja::machinery::ast;
use minijinja::machinery::{Span as AstSpan, parse, parse_expr};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;

use super::error::{ErrorKind, R, TemplateError};
use super::registry::{self, Builtin};

/// An expression with its place in the text.
#[derive(Debug)]
pub(super) struct Ex {
    pub(super) kind: Expr,
    pub(super) span: Range<u32>,
}

#[derive(Debug)]
pub(super) enum Expr {
    Const(Value),
    Name(Arc<str>),
    Attr(Box<Ex>, Arc<str>),
    Item(Box<Ex>, Box<Ex>),
    Slice(Box<Ex>, [Option<Box<Ex>>; 3]),
    Not(Box<Ex>),
    Neg(Box<Ex>),
    Binary(Binary, Box<Ex>, Box<Ex>),
    And(Box<Ex>, Box<Ex>),
    Or(Box<Ex>, Box<Ex>),
    Compare(Box<Ex>, Vec<(Relation, Ex)>),
    If {
        test: Box<Ex>,
        yes: Box<Ex>,
        no: Option<Box<Ex>>,
    },
    Filter(&'static Builtin, Vec<Arg>),
    Test(&'static Builtin, Vec<Arg>),
    Call(Box<Ex>, Vec<Arg>),
    List(Vec<Ex>),
    Tuple(Vec<Ex>),
    Map(Vec<(Ex, Ex)>),
    /// The text that a filter block or `set` block captured.
    Captured,
    /// A template inside a string of a condition, as old playbooks have it.
    Embedded(Box<Program>),
    /// Something that cannot work, such as an unknown filter; fails when it is reached.
    Fail(Box<TemplateError>, Vec<Arg>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
    Concat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Debug)]
pub(super) enum Arg {
    Pos(Ex),
    Kw(Arc<str>, Ex),
    Splat(Ex),
    KwSplat(Ex),
}

impl Arg {
    pub(super) fn expression(&self) -> &Ex {
        match self {
            Self::Pos(e) | Self::Kw(_, e) | Self::Splat(e) | Self::KwSplat(e) => e,
        }
    }
}

#[derive(Debug)]
pub(super) enum Target {
    Name(Arc<str>),
    Attr(Box<Ex>, Arc<str>),
    Many(Vec<Target>),
}

#[derive(Debug)]
pub(super) struct Loop {
    pub(super) target: Target,
    pub(super) iter: Ex,
    pub(super) filter: Option<Ex>,
    pub(super) recursive: bool,
    pub(super) body: Vec<Stmt>,
    pub(super) otherwise: Vec<Stmt>,
}

#[derive(Debug)]
pub(super) struct MacroDef {
    pub(super) name: Arc<str>,
    /// Name and, if it has one, default.
    pub(super) params: Vec<(Arc<str>, Option<Ex>)>,
    pub(super) body: Vec<Stmt>,
}

#[derive(Debug)]
pub(super) enum Stmt {
    Raw(Arc<str>),
    Emit(Ex),
    For(Arc<Loop>),
    If(Ex, Vec<Stmt>, Vec<Stmt>),
    With(Vec<(Target, Ex)>, Vec<Stmt>),
    Set(Target, Ex),
    SetBlock(Target, Option<Ex>, Vec<Stmt>),
    FilterBlock(Ex, Vec<Stmt>),
    Group(Vec<Stmt>),
    Block(Arc<str>, Arc<Vec<Stmt>>),
    Extends(Ex),
    Include { name: Ex, ignore_missing: bool, context: bool },
    Import(Ex, Target),
    FromImport(Ex, Vec<(Arc<str>, Arc<str>)>),
    Macro(Arc<MacroDef>),
    CallBlock(Ex, Arc<MacroDef>),
    Do(Ex),
    Continue,
    Break,
}

/// A compiled text.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) body: Vec<Stmt>,
    /// What cannot work, found while compiling.
    pub(super) problems: Vec<TemplateError>,
}

/// Which rules a text is compiled by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// Text in a playbook: backslashes in strings of `{{ }}` are kept as they stand.
    Playbook,
    /// A bare expression, as in `when`.
    Expression,
    /// A template file.
    File(Box<super::FileOptions>),
}

/// Compiles a text.
///
/// # Errors
/// Syntax. Unknown filters and tests are `problems` of the program.
pub(super) fn compile(text: &str, name: &str, mode: &Mode) -> R<Program> {
    let mut lower = Lower {
        text,
        file: name.into(),
        keep_backslashes: false,
        raw: *mode == Mode::Playbook,
        expression: *mode == Mode::Expression,
        problems: Vec::new(),
    };
    let body = match mode {
        Mode::Expression => {
            let trimmed = text.trim();
            let ast = parse_expr(trimmed).map_err(syntax)?;
            lower.text = trimmed;
            let ex = lower.expr(&ast);
            vec![Stmt::Emit(ex)]
        }
        Mode::Playbook | Mode::File(_) => {
            let config = match mode {
                Mode::File(options) => options.syntax()?,
                _ => playbook_syntax()?,
            };
            let bent;
            let parsed = match parse(text, name, config.clone()) {
                // In `{{ }}` of a playbook a backslash is a backslash, so `'C:\x'` is no broken escape there.
                Err(e) if e.kind() == minijinja::ErrorKind::BadEscape && *mode == Mode::Playbook => {
                    bent = without_escapes(text);
                    parse(&bent, name, config)
                }
                other => other,
            };
            match parsed.map_err(syntax)? {
                ast::Stmt::Template(t) => lower.body(&t.children),
                other => lower.body(std::slice::from_ref(&other)),
            }
        }
    };
    Ok(Program { body, problems: lower.problems })
}

/// The text with every `\x` inside `{{ }}` as two characters that parse everywhere; their meaning is read from the text itself.
fn without_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut inside = false;
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('{', Some('{')) => inside = true,
            ('}', Some('}')) => inside = false,
            ('\\', Some(next)) if inside && next.is_ascii() && !matches!(next, '"' | '\'' | '\\') => {
                out.push_str("\\\\");
                chars.next();
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

fn playbook_syntax() -> R<SyntaxConfig> {
    // A newline at the end, as `>` and `|` of YAML leave it, makes no text of a value; `engine` gives it back to texts.
    SyntaxConfig::builder().trim_blocks(true).build().map_err(syntax)
}

pub(super) fn syntax(error: minijinja::Error) -> TemplateError {
    let what = error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned);
    let result = TemplateError::new(ErrorKind::Syntax, format!("the template does not parse: {what}"));
    match error.range() {
        Some(range) => result.or_offset(range.start as u32..range.end as u32),
        None => result,
    }
}

struct Lower<'s> {
    text: &'s str,
    file: Arc<str>,
    /// Inside `{{ }}` of a playbook text.
    keep_backslashes: bool,
    raw: bool,
    /// A bare expression.
    expression: bool,
    problems: Vec<TemplateError>,
}

fn range(span: AstSpan) -> Range<u32> {
    span.start_offset..span.end_offset
}

impl Lower<'_> {
    fn body(&mut self, stmts: &[ast::Stmt<'_>]) -> Vec<Stmt> {
        stmts.iter().filter_map(|stmt| self.stmt(stmt)).collect()
    }

    fn stmt(&mut self, stmt: &ast::Stmt<'_>) -> Option<Stmt> {
        Some(match stmt {
            ast::Stmt::Template(t) => Stmt::Group(self.body(&t.children)),
            ast::Stmt::EmitExpr(e) => {
                self.keep_backslashes = self.raw;
                let ex = self.expr(&e.expr);
                self.keep_backslashes = false;
                Stmt::Emit(ex)
            }
            ast::Stmt::EmitRaw(r) => {
                if r.raw.is_empty() {
                    return None;
                }
                Stmt::Raw(r.raw.into())
            }
            ast::Stmt::ForLoop(f) => Stmt::For(Arc::new(Loop {
                target: self.target(&f.target),
                iter: self.expr(&f.iter),
                filter: f.filter_expr.as_ref().map(|e| self.expr(e)),
                recursive: f.recursive,
                body: self.body(&f.body),
                otherwise: self.body(&f.else_body),
            })),
            ast::Stmt::IfCond(c) => {
                Stmt::If(self.expr(&c.expr), self.body(&c.true_body), self.body(&c.false_body))
            }
            ast::Stmt::WithBlock(w) => Stmt::With(
                w.assignments.iter().map(|(t, e)| (self.target(t), self.expr(e))).collect(),
                self.body(&w.body),
            ),
            ast::Stmt::Set(s) => Stmt::Set(self.target(&s.target), self.expr(&s.expr)),
            ast::Stmt::SetBlock(s) => Stmt::SetBlock(
                self.target(&s.target),
                s.filter.as_ref().map(|f| self.expr(f)),
                self.body(&s.body),
            ),
            ast::Stmt::AutoEscape(a) => Stmt::Group(self.body(&a.body)),
            ast::Stmt::FilterBlock(f) => Stmt::FilterBlock(self.expr(&f.filter), self.body(&f.body)),
            ast::Stmt::Block(b) => Stmt::Block(b.name.into(), Arc::new(self.body(&b.body))),
            ast::Stmt::Import(i) => Stmt::Import(self.expr(&i.expr), self.target(&i.name)),
            ast::Stmt::FromImport(i) => {
                let names = i
                    .names
                    .iter()
                    .filter_map(|(name, alias)| {
                        let name = name_of(name)?;
                        let alias = alias.as_ref().and_then(name_of).unwrap_or_else(|| Arc::clone(&name));
                        Some((name, alias))
                    })
                    .collect();
                Stmt::FromImport(self.expr(&i.expr), names)
            }
            ast::Stmt::Extends(e) => Stmt::Extends(self.expr(&e.name)),
            ast::Stmt::Include(i) => {
                let name = self.expr(&i.name);
                let after = self.text.get(name.span.end as usize..).unwrap_or_default().trim_start();
                let after = after.strip_prefix("ignore missing").unwrap_or(after).trim_start();
                // The parser reads these words and forgets them.
                let context = !after.starts_with("without context");
                Stmt::Include { name, ignore_missing: i.ignore_missing, context }
            }
            ast::Stmt::Macro(m) => Stmt::Macro(Arc::new(self.macro_def(m))),
            ast::Stmt::CallBlock(c) => {
                let call = Ex {
                    kind: Expr::Call(Box::new(self.expr(&c.call.expr)), self.args(&c.call.args)),
                    span: range(c.call.span()),
                };
                Stmt::CallBlock(call, Arc::new(self.macro_def(&c.macro_decl)))
            }
            ast::Stmt::Continue(_) => Stmt::Continue,
            ast::Stmt::Break(_) => Stmt::Break,
            ast::Stmt::Do(d) => Stmt::Do(Ex {
                kind: Expr::Call(Box::new(self.expr(&d.call.expr)), self.args(&d.call.args)),
                span: range(d.call.span()),
            }),
        })
    }

    fn macro_def(&mut self, m: &ast::Macro<'_>) -> MacroDef {
        let first_default = m.args.len() - m.defaults.len();
        let params = m
            .args
            .iter()
            .enumerate()
            .map(|(at, arg)| {
                let default =
                    at.checked_sub(first_default).and_then(|d| m.defaults.get(d)).map(|e| self.expr(e));
                (name_of(arg).unwrap_or_else(|| "".into()), default)
            })
            .collect();
        MacroDef { name: m.name.into(), params, body: self.body(&m.body) }
    }

    fn target(&mut self, e: &ast::Expr<'_>) -> Target {
        match e {
            ast::Expr::Var(v) => Target::Name(v.id.into()),
            ast::Expr::GetAttr(a) => Target::Attr(Box::new(self.expr(&a.expr)), a.name.into()),
            ast::Expr::List(l) => Target::Many(l.items.iter().map(|e| self.target(e)).collect()),
            ast::Expr::Tuple(l) => Target::Many(l.items.iter().map(|e| self.target(e)).collect()),
            ast::Expr::Const(c) => Target::Name(c.value.to_string().into()),
            _ => Target::Many(Vec::new()),
        }
    }

    fn boxed(&mut self, e: &ast::Expr<'_>) -> Box<Ex> {
        Box::new(self.expr(e))
    }

    fn optional(&mut self, e: Option<&ast::Expr<'_>>) -> Option<Box<Ex>> {
        e.map(|e| self.boxed(e))
    }

    fn args(&mut self, args: &[ast::CallArg<'_>]) -> Vec<Arg> {
        args.iter()
            .map(|arg| match arg {
                ast::CallArg::Pos(e) => Arg::Pos(self.expr(e)),
                ast::CallArg::Kwarg(name, e) => Arg::Kw((*name).into(), self.expr(e)),
                ast::CallArg::PosSplat(e) => Arg::Splat(self.expr(e)),
                ast::CallArg::KwargSplat(e) => Arg::KwSplat(self.expr(e)),
            })
            .collect()
    }

    fn fail(&mut self, error: TemplateError, span: &Range<u32>, args: Vec<Arg>) -> Expr {
        let error = error.or_offset(span.clone());
        self.problems.push(error.clone());
        Expr::Fail(Box::new(error), args)
    }

    fn embedded(&self, text: &str) -> Option<Program> {
        if !self.expression || !super::template_text(text) {
            return None;
        }
        compile(text, &self.file, &Mode::Playbook).ok()
    }

    fn constant(&self, value: &Value, span: &Range<u32>) -> Value {
        if self.keep_backslashes
            && value.kind() == ValueKind::String
            && let Some(written) = self.text.get(span.start as usize..span.end as usize)
            && let Some(quote) = written.chars().next().filter(|c| matches!(c, '\'' | '"'))
            && written.contains('\\')
            && let Some(inner) = written.strip_prefix(quote).and_then(|w| w.strip_suffix(quote))
            && !inner.replace("\\\\", "").replace(&format!("\\{quote}"), "").contains(quote)
        {
            return Value::from(inner);
        }
        value.clone()
    }

    fn expr(&mut self, e: &ast::Expr<'_>) -> Ex {
        let span = range(e.span());
        let kind = match e {
            ast::Expr::Var(v) => Expr::Name(v.id.into()),
            ast::Expr::Const(c) => match c.value.as_str().and_then(|text| self.embedded(text)) {
                Some(program) => Expr::Embedded(Box::new(program)),
                None => Expr::Const(self.constant(&c.value, &span)),
            },
            ast::Expr::Slice(s) => Expr::Slice(
                self.boxed(&s.expr),
                [
                    self.optional(s.start.as_ref()),
                    self.optional(s.stop.as_ref()),
                    self.optional(s.step.as_ref()),
                ],
            ),
            ast::Expr::UnaryOp(u) => match u.op {
                ast::UnaryOpKind::Not => Expr::Not(self.boxed(&u.expr)),
                ast::UnaryOpKind::Neg => Expr::Neg(self.boxed(&u.expr)),
            },
            ast::Expr::BinOp(b) => self.binary(b),
            ast::Expr::Compare(c) => {
                let first = self.boxed(&c.expr);
                let rest = c
                    .ops
                    .iter()
                    .map(|op| {
                        let relation = match op.op {
                            ast::CompareOpKind::Eq => Relation::Eq,
                            ast::CompareOpKind::Ne => Relation::Ne,
                            ast::CompareOpKind::Lt => Relation::Lt,
                            ast::CompareOpKind::Lte => Relation::Le,
                            ast::CompareOpKind::Gt => Relation::Gt,
                            ast::CompareOpKind::Gte => Relation::Ge,
                            ast::CompareOpKind::In => Relation::In,
                            ast::CompareOpKind::NotIn => Relation::NotIn,
                        };
                        (relation, self.expr(&op.expr))
                    })
                    .collect();
                Expr::Compare(first, rest)
            }
            ast::Expr::IfExpr(i) => Expr::If {
                test: self.boxed(&i.test_expr),
                yes: self.boxed(&i.true_expr),
                no: self.optional(i.false_expr.as_ref()),
            },
            ast::Expr::Filter(f) => {
                let mut args = vec![Arg::Pos(match &f.expr {
                    Some(e) => self.expr(e),
                    None => Ex { kind: Expr::Captured, span: span.clone() },
                })];
                args.extend(self.args(&f.args));
                match registry::filter(f.name) {
                    Some(builtin) => Expr::Filter(builtin, args),
                    None => {
                        let error = TemplateError::no_such("filter", f.name, registry::near_filter(f.name));
                        self.fail(error, &span, args)
                    }
                }
            }
            ast::Expr::Test(t) => {
                let mut args = vec![Arg::Pos(self.expr(&t.expr))];
                args.extend(self.args(&t.args));
                match registry::test(t.name) {
                    Some(builtin) => Expr::Test(builtin, args),
                    None => {
                        let error = TemplateError::no_such("test", t.name, registry::near_test(t.name));
                        self.fail(error, &span, args)
                    }
                }
            }
            ast::Expr::GetAttr(a) => Expr::Attr(self.boxed(&a.expr), a.name.into()),
            ast::Expr::GetItem(i) => Expr::Item(self.boxed(&i.expr), self.boxed(&i.subscript_expr)),
            ast::Expr::Call(c) => Expr::Call(self.boxed(&c.expr), self.args(&c.args)),
            ast::Expr::List(l) => Expr::List(l.items.iter().map(|e| self.expr(e)).collect()),
            ast::Expr::Tuple(l) => Expr::Tuple(l.items.iter().map(|e| self.expr(e)).collect()),
            ast::Expr::Map(m) => {
                Expr::Map(m.keys.iter().zip(&m.values).map(|(k, v)| (self.expr(k), self.expr(v))).collect())
            }
        };
        Ex { kind, span }
    }

    fn binary(&mut self, b: &ast::BinOp<'_>) -> Expr {
        let left = self.boxed(&b.left);
        let right = self.boxed(&b.right);
        let relation = |relation, left, right: Box<Ex>| Expr::Compare(left, vec![(relation, *right)]);
        match b.op {
            ast::BinOpKind::Eq => relation(Relation::Eq, left, right),
            ast::BinOpKind::Ne => relation(Relation::Ne, left, right),
            ast::BinOpKind::Lt => relation(Relation::Lt, left, right),
            ast::BinOpKind::Lte => relation(Relation::Le, left, right),
            ast::BinOpKind::Gt => relation(Relation::Gt, left, right),
            ast::BinOpKind::Gte => relation(Relation::Ge, left, right),
            ast::BinOpKind::In => relation(Relation::In, left, right),
            ast::BinOpKind::ScAnd => Expr::And(left, right),
            ast::BinOpKind::ScOr => Expr::Or(left, right),
            ast::BinOpKind::Add => Expr::Binary(Binary::Add, left, right),
            ast::BinOpKind::Sub => Expr::Binary(Binary::Sub, left, right),
            ast::BinOpKind::Mul => Expr::Binary(Binary::Mul, left, right),
            ast::BinOpKind::Div => Expr::Binary(Binary::Div, left, right),
            ast::BinOpKind::FloorDiv => Expr::Binary(Binary::FloorDiv, left, right),
            ast::BinOpKind::Rem => Expr::Binary(Binary::Rem, left, right),
            ast::BinOpKind::Pow => Expr::Binary(Binary::Pow, left, right),
            ast::BinOpKind::Concat => Expr::Binary(Binary::Concat, left, right),
        }
    }
}

fn name_of(e: &ast::Expr<'_>) -> Option<Arc<str>> {
    if let ast::Expr::Var(v) = e { Some(v.id.into()) } else { None }
}
