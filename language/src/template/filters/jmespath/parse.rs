//! Text of a query to its tree.

use minijinja::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone)]
pub(super) enum Expr {
    Current,
    Literal(Value),
    Field(String),
    Index(i128),
    Sub(Box<Expr>, Box<Expr>),
    Pipe(Box<Expr>, Box<Expr>),
    /// `left[*]then`
    Project(Box<Expr>, Box<Expr>),
    /// `left.*then`
    ProjectValues(Box<Expr>, Box<Expr>),
    Flatten(Box<Expr>),
    Slice(Box<Expr>, [Option<i128>; 3]),
    Filter(Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    List(Vec<Expr>),
    Map(Vec<(String, Expr)>),
    Reference(Box<Expr>),
    Call(String, Vec<Expr>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Quoted(String),
    Raw(String),
    Json(String),
    Number(i128),
    Op(&'static str),
    End,
}

const OPERATORS: &[&str] = &[
    "[?", "[]", "||", "&&", "==", "!=", "<=", ">=", "[", "]", "{", "}", "(", ")", ".", "*", ",", ":", "|",
    "@", "&", "!", "<", ">",
];

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = query;
    while let Some(c) = rest.chars().next() {
        if c.is_whitespace() {
            rest = &rest[c.len_utf8()..];
        } else if c.is_ascii_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            out.push(Token::Name(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if c.is_ascii_digit() || (c == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            let end = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |at| at + 1);
            out.push(Token::Number(rest[..end].parse().map_err(|_| "a number is too big".to_owned())?));
            rest = &rest[end..];
        } else if matches!(c, '"' | '\'' | '`') {
            let mut end = None;
            let mut escaped = false;
            for (at, next) in rest.char_indices().skip(1) {
                if escaped {
                    escaped = false;
                } else if next == '\\' {
                    escaped = true;
                } else if next == c {
                    end = Some(at);
                    break;
                }
            }
            let Some(end) = end else { return Err(format!("a {c} is never closed in `{query}`")) };
            let inner = &rest[1..end];
            out.push(match c {
                '"' => Token::Quoted(
                    serde_json::from_str(&rest[..=end])
                        .map_err(|e| format!("a quoted name does not parse: {e}"))?,
                ),
                '\'' => Token::Raw(inner.replace("\\'", "'")),
                _ => Token::Json(inner.replace("\\`", "`")),
            });
            rest = &rest[end + 1..];
        } else if let Some(operator) = OPERATORS.iter().find(|o| rest.starts_with(**o)) {
            out.push(Token::Op(operator));
            rest = &rest[operator.len()..];
        } else {
            return Err(format!("`{c}` means nothing in the query `{query}`"));
        }
    }
    out.push(Token::End);
    Ok(out)
}

/// Parses a query.
pub(super) fn parse(query: &str) -> Result<Expr, String> {
    let mut parser = Parser { tokens: tokens(query)?, at: 0, query, depth: 0 };
    let expression = parser.expression(0)?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected());
    }
    Ok(expression)
}

struct Parser<'q> {
    tokens: Vec<Token>,
    at: usize,
    query: &'q str,
    depth: usize,
}

/// How tightly an operator binds; projections stop where the strength falls below 10.
fn strength(token: &Token) -> u8 {
    match token {
        Token::Op("|") => 1,
        Token::Op("||") => 2,
        Token::Op("&&") => 3,
        Token::Op("==" | "!=" | "<" | "<=" | ">" | ">=") => 5,
        Token::Op("[]") => 9,
        Token::Op("*") => 20,
        Token::Op("[?") => 21,
        Token::Op(".") => 40,
        Token::Op("[") => 55,
        Token::Op("(") => 60,
        _ => 0,
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn unexpected(&self) -> String {
        match self.peek() {
            Token::End => format!("the query `{}` ends too early", self.query),
            token => format!("{token:?} is not expected in the query `{}`", self.query),
        }
    }

    fn take(&mut self, operator: &'static str) -> Result<(), String> {
        if *self.peek() == Token::Op(operator) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn takes(&mut self, operator: &'static str) -> bool {
        let hit = *self.peek() == Token::Op(operator);
        self.at += usize::from(hit);
        hit
    }

    fn expression(&mut self, binding: u8) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > 100 {
            return Err("the query is nested too deep".to_owned());
        }
        let mut left = self.prefix()?;
        while binding < strength(self.peek()) {
            left = self.infix(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn prefix(&mut self) -> Result<Expr, String> {
        let start = self.at;
        Ok(match self.next() {
            Token::Name(name) => {
                if self.takes("(") {
                    let mut args = Vec::new();
                    while !self.takes(")") {
                        if !args.is_empty() {
                            self.take(",")?;
                        }
                        args.push(if self.takes("&") {
                            Expr::Reference(Box::new(self.expression(0)?))
                        } else {
                            self.expression(0)?
                        });
                    }
                    Expr::Call(name, args)
                } else {
                    Expr::Field(name)
                }
            }
            Token::Quoted(name) => Expr::Field(name),
            Token::Raw(text) => Expr::Literal(Value::from(text)),
            Token::Json(text) => Expr::Literal(crate::template::from_json(
                // Old queries leave out the quotes of a text.
                serde_json::from_str(text.trim()).unwrap_or_else(|_| serde_json::Value::from(text.trim())),
            )),
            Token::Op("@") => Expr::Current,
            Token::Op("!") => Expr::Not(Box::new(self.expression(45)?)),
            Token::Op("(") => {
                let inner = self.expression(0)?;
                self.take(")")?;
                inner
            }
            Token::Op("*") => Expr::ProjectValues(Box::new(Expr::Current), Box::new(self.right_side(20)?)),
            Token::Op("{") => self.mapping()?,
            Token::Op("[]") => {
                let flat = Expr::Flatten(Box::new(Expr::Current));
                Expr::Project(Box::new(flat), Box::new(self.right_side(9)?))
            }
            Token::Op("[?") => self.filter(Expr::Current)?,
            Token::Op("[") => match self.peek() {
                Token::Number(_) | Token::Op(":") => self.bracket(Expr::Current)?,
                Token::Op("*") if self.tokens.get(self.at + 1) == Some(&Token::Op("]")) => {
                    self.bracket(Expr::Current)?
                }
                _ => self.list()?,
            },
            _ => {
                self.at = start;
                return Err(self.unexpected());
            }
        })
    }

    fn infix(&mut self, left: Expr) -> Result<Expr, String> {
        let left_box = Box::new(left);
        Ok(match self.next() {
            Token::Op("|") => Expr::Pipe(left_box, Box::new(self.expression(1)?)),
            Token::Op("||") => Expr::Or(left_box, Box::new(self.expression(2)?)),
            Token::Op("&&") => Expr::And(left_box, Box::new(self.expression(3)?)),
            Token::Op("==") => Expr::Compare(Comparison::Eq, left_box, Box::new(self.expression(5)?)),
            Token::Op("!=") => Expr::Compare(Comparison::Ne, left_box, Box::new(self.expression(5)?)),
            Token::Op("<") => Expr::Compare(Comparison::Lt, left_box, Box::new(self.expression(5)?)),
            Token::Op("<=") => Expr::Compare(Comparison::Le, left_box, Box::new(self.expression(5)?)),
            Token::Op(">") => Expr::Compare(Comparison::Gt, left_box, Box::new(self.expression(5)?)),
            Token::Op(">=") => Expr::Compare(Comparison::Ge, left_box, Box::new(self.expression(5)?)),
            Token::Op("[]") => {
                Expr::Project(Box::new(Expr::Flatten(left_box)), Box::new(self.right_side(9)?))
            }
            Token::Op("[?") => self.filter(*left_box)?,
            Token::Op("[") => self.bracket(*left_box)?,
            Token::Op(".") => {
                if self.takes("*") {
                    Expr::ProjectValues(left_box, Box::new(self.right_side(20)?))
                } else {
                    Expr::Sub(left_box, Box::new(self.dotted(40)?))
                }
            }
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        })
    }

    /// What may follow a dot.
    fn dotted(&mut self, binding: u8) -> Result<Expr, String> {
        match self.peek() {
            Token::Name(_) | Token::Quoted(_) | Token::Op("*") => self.expression(binding),
            Token::Op("[") => {
                self.at += 1;
                self.list()
            }
            Token::Op("{") => {
                self.at += 1;
                self.mapping()
            }
            _ => Err(self.unexpected()),
        }
    }

    /// What a projection applies to each of its values.
    fn right_side(&mut self, binding: u8) -> Result<Expr, String> {
        match self.peek() {
            token if strength(token) < 10 => Ok(Expr::Current),
            Token::Op("[" | "[?") => self.expression_from(Expr::Current, binding),
            Token::Op(".") => {
                self.at += 1;
                if self.takes("*") {
                    let values = Expr::ProjectValues(Box::new(Expr::Current), Box::new(self.right_side(20)?));
                    return self.expression_from(values, binding);
                }
                let first = self.dotted(binding)?;
                self.expression_from(first, binding)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn expression_from(&mut self, mut left: Expr, binding: u8) -> Result<Expr, String> {
        while binding < strength(self.peek()) {
            left = self.infix(left)?;
        }
        Ok(left)
    }

    fn filter(&mut self, left: Expr) -> Result<Expr, String> {
        let test = self.expression(0)?;
        self.take("]")?;
        let filtered = Expr::Filter(Box::new(left), Box::new(test));
        Ok(Expr::Project(Box::new(filtered), Box::new(self.right_side(21)?)))
    }

    /// After `[`: an index, a slice or `*`.
    fn bracket(&mut self, left: Expr) -> Result<Expr, String> {
        let left = Box::new(left);
        if self.takes("*") {
            self.take("]")?;
            return Ok(Expr::Project(left, Box::new(self.right_side(20)?)));
        }
        let mut parts = [None; 3];
        let mut part = 0;
        let mut slice = false;
        loop {
            match self.next() {
                Token::Number(number) => parts[part] = Some(number),
                Token::Op(":") if part < 2 => {
                    part += 1;
                    slice = true;
                }
                Token::Op("]") => break,
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected());
                }
            }
        }
        if slice {
            let sliced = Expr::Slice(left, parts);
            return Ok(Expr::Project(Box::new(sliced), Box::new(self.right_side(20)?)));
        }
        match parts[0] {
            Some(at) => Ok(Expr::Sub(left, Box::new(Expr::Index(at)))),
            None => Err(self.unexpected()),
        }
    }

    fn list(&mut self) -> Result<Expr, String> {
        let mut all = vec![self.expression(0)?];
        while self.takes(",") {
            all.push(self.expression(0)?);
        }
        self.take("]")?;
        Ok(Expr::List(all))
    }

    fn mapping(&mut self) -> Result<Expr, String> {
        let mut entries = Vec::new();
        loop {
            let key = match self.next() {
                Token::Name(name) | Token::Quoted(name) => name,
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected());
                }
            };
            self.take(":")?;
            entries.push((key, self.expression(0)?));
            if self.takes("}") {
                return Ok(Expr::Map(entries));
            }
            self.take(",")?;
        }
    }
}
