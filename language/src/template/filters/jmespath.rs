//! JMESPath, the language of `json_query`.
//!
//! Owns: its grammar and functions on plain values. Must not: touch variables.

mod functions;
mod parse;

use minijinja::Value;

use super::super::containers::Map;
use super::super::error::R;
use super::super::values::{
    compare, equal, int, is_list, is_map, item, items, length, list, map, pairs, type_name,
};
use parse::{Comparison, Expr};

/// Evaluates a query on plain data.
///
/// # Errors
/// What is wrong with the query, as a sentence.
pub(in crate::template) fn search(query: &str, data: &Value) -> Result<Value, String> {
    let expression = parse::parse(query)?;
    eval(&expression, data)
}

fn none() -> Value {
    Value::from(())
}

fn said<T>(result: R<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

/// JMESPath's truth: empty and null are false, numbers are true.
fn holds(value: &Value) -> bool {
    if value.is_none() {
        return false;
    }
    if is_list(value) || is_map(value) || value.as_str().is_some() {
        return length(value).is_ok_and(|l| l > 0);
    }
    value.is_number() || value.is_true()
}

fn projected(all: Vec<Value>, then: &Expr) -> Result<Value, String> {
    let mut out = Vec::new();
    for value in all {
        let found = eval(then, &value)?;
        if !found.is_none() {
            out.push(found);
        }
    }
    Ok(list(out))
}

fn eval(expression: &Expr, data: &Value) -> Result<Value, String> {
    Ok(match expression {
        Expr::Current => data.clone(),
        Expr::Literal(value) => value.clone(),
        Expr::Field(name) => {
            if is_map(data) {
                said(item(data, &Value::from(name.as_str())))?.unwrap_or_else(none)
            } else {
                none()
            }
        }
        Expr::Index(at) => {
            if is_list(data) {
                said(item(data, &int(*at)))?.unwrap_or_else(none)
            } else {
                none()
            }
        }
        Expr::Sub(left, right) => {
            let left = eval(left, data)?;
            if left.is_none() { none() } else { eval(right, &left)? }
        }
        Expr::Pipe(left, right) => {
            let left = eval(left, data)?;
            eval(right, &left)?
        }
        Expr::Project(left, then) => {
            let left = eval(left, data)?;
            if is_list(&left) { projected(said(items(&left))?, then)? } else { none() }
        }
        Expr::ProjectValues(left, then) => {
            let left = eval(left, data)?;
            if is_map(&left) {
                projected(said(pairs(&left))?.into_iter().map(|(_, v)| v).collect(), then)?
            } else {
                none()
            }
        }
        Expr::Flatten(left) => {
            let left = eval(left, data)?;
            if !is_list(&left) {
                return Ok(none());
            }
            let mut out = Vec::new();
            for value in said(items(&left))? {
                if is_list(&value) {
                    out.extend(said(items(&value))?);
                } else {
                    out.push(value);
                }
            }
            list(out)
        }
        Expr::Slice(left, bounds) => {
            let left = eval(left, data)?;
            if !is_list(&left) {
                return Ok(none());
            }
            said(super::super::operators::slice(&left, *bounds))?
        }
        Expr::Filter(left, test) => {
            let left = eval(left, data)?;
            if !is_list(&left) {
                return Ok(none());
            }
            let mut out = Vec::new();
            for value in said(items(&left))? {
                if holds(&eval(test, &value)?) {
                    out.push(value);
                }
            }
            list(out)
        }
        Expr::Compare(comparison, left, right) => {
            let (left, right) = (eval(left, data)?, eval(right, data)?);
            match comparison {
                Comparison::Eq => Value::from(said(equal(&left, &right))?),
                Comparison::Ne => Value::from(!said(equal(&left, &right))?),
                _ if !(left.is_number() && right.is_number()) => none(),
                _ => {
                    let order = said(compare(&left, &right, "<"))?;
                    Value::from(match comparison {
                        Comparison::Lt => order.is_lt(),
                        Comparison::Le => order.is_le(),
                        Comparison::Gt => order.is_gt(),
                        _ => order.is_ge(),
                    })
                }
            }
        }
        Expr::Not(inner) => Value::from(!holds(&eval(inner, data)?)),
        Expr::And(left, right) => {
            let left = eval(left, data)?;
            if holds(&left) { eval(right, data)? } else { left }
        }
        Expr::Or(left, right) => {
            let left = eval(left, data)?;
            if holds(&left) { left } else { eval(right, data)? }
        }
        Expr::List(all) => {
            if data.is_none() {
                return Ok(none());
            }
            list(all.iter().map(|e| eval(e, data)).collect::<Result<_, _>>()?)
        }
        Expr::Map(entries) => {
            if data.is_none() {
                return Ok(none());
            }
            let mut out = Map::new();
            for (key, value) in entries {
                out.insert(Value::from(key.as_str()), eval(value, data)?);
            }
            map(out)
        }
        Expr::Reference(_) => return Err("`&expression` is only an argument of functions".to_owned()),
        Expr::Call(name, args) => functions::call(name, args, data)?,
    })
}

/// JMESPath's name of a type.
fn kind(value: &Value) -> &'static str {
    match type_name(value) {
        "str" => "string",
        "int" | "float" => "number",
        "bool" => "boolean",
        "NoneType" => "null",
        "list" => "array",
        _ => "object",
    }
}
