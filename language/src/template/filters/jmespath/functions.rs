//! The functions of JMESPath.

use std::cmp::Ordering;

use minijinja::Value;

use super::parse::Expr;
use super::{eval, kind, said};
use crate::template::containers::Map;
use crate::template::filters::json_text;
use crate::template::values::{
    as_float, compare, contains, int, is_list, is_map, items, length, list, map, pairs, text,
};

struct Call<'a> {
    name: &'a str,
    args: &'a [Expr],
    data: &'a Value,
}

impl Call<'_> {
    fn arg(&self, at: usize) -> Result<Value, String> {
        match self.args.get(at) {
            Some(expression) => eval(expression, self.data),
            None => Err(format!("`{}()` needs {} arguments", self.name, at + 1)),
        }
    }

    fn wrong(&self, wanted: &str, got: &Value) -> String {
        format!("`{}()` needs {wanted}, got {}", self.name, kind(got))
    }

    fn list(&self, at: usize) -> Result<Vec<Value>, String> {
        let value = self.arg(at)?;
        if is_list(&value) { said(items(&value)) } else { Err(self.wrong("an array", &value)) }
    }

    fn string(&self, at: usize) -> Result<String, String> {
        let value = self.arg(at)?;
        value.as_str().map(ToOwned::to_owned).ok_or_else(|| self.wrong("a string", &value))
    }

    fn number(&self, at: usize) -> Result<f64, String> {
        let value = self.arg(at)?;
        if value.is_number() {
            as_float(&value).ok_or_default(&value)
        } else {
            Err(self.wrong("a number", &value))
        }
    }

    /// Each item with the value that `&expression` has for it.
    fn keyed(&self, reference: usize) -> Result<Vec<(Value, Value)>, String> {
        let Some(Expr::Reference(expression)) = self.args.get(reference) else {
            return Err(format!("`{}()` needs an `&expression`", self.name));
        };
        self.list(1 - reference)?.into_iter().map(|item| Ok((eval(expression, &item)?, item))).collect()
    }
}

trait OrNan {
    fn ok_or_default(self, value: &Value) -> Result<f64, String>;
}

impl OrNan for Option<f64> {
    fn ok_or_default(self, value: &Value) -> Result<f64, String> {
        self.ok_or_else(|| format!("{value} is no number"))
    }
}

fn float(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { int(number as i128) } else { Value::from(number) }
}

fn sorted(mut keyed: Vec<(Value, Value)>) -> Result<Vec<Value>, String> {
    let mut failed = None;
    keyed.sort_by(|a, b| {
        compare(&a.0, &b.0, "<").unwrap_or_else(|e| {
            failed.get_or_insert(e.to_string());
            Ordering::Equal
        })
    });
    match failed {
        Some(why) => Err(why),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}

fn extreme(keyed: Vec<(Value, Value)>, wanted: Ordering) -> Result<Value, String> {
    let mut best: Option<(Value, Value)> = None;
    for (key, item) in keyed {
        let better = match &best {
            Some((best, _)) => said(compare(&key, best, "<"))? == wanted,
            None => true,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(|| Value::from(()), |(_, item)| item))
}

/// Calls a function by name.
pub(super) fn call(name: &str, args: &[Expr], data: &Value) -> Result<Value, String> {
    let c = Call { name, args, data };
    let own = |c: &Call<'_>| -> Result<Vec<(Value, Value)>, String> {
        Ok(c.list(0)?.into_iter().map(|v| (v.clone(), v)).collect())
    };
    Ok(match name {
        "abs" => float(c.number(0)?.abs()),
        "ceil" => float(c.number(0)?.ceil()),
        "floor" => float(c.number(0)?.floor()),
        "avg" => {
            let all = c.list(0)?;
            if all.is_empty() {
                return Ok(Value::from(()));
            }
            let total: f64 = all.iter().filter_map(as_float).sum();
            Value::from(total / all.len() as f64)
        }
        "sum" => float(c.list(0)?.iter().filter_map(as_float).sum()),
        "contains" => {
            let (within, wanted) = (c.arg(0)?, c.arg(1)?);
            Value::from(contains(&within, &wanted).unwrap_or(false))
        }
        "starts_with" => Value::from(c.string(0)?.starts_with(&c.string(1)?)),
        "ends_with" => Value::from(c.string(0)?.ends_with(&c.string(1)?)),
        "join" => {
            let glue = c.string(0)?;
            let parts = c.list(1)?.iter().map(|v| said(text(v))).collect::<Result<Vec<_>, _>>()?;
            Value::from(parts.join(&glue))
        }
        "keys" | "values" => {
            let value = c.arg(0)?;
            if !is_map(&value) {
                return Err(c.wrong("an object", &value));
            }
            let entries = said(pairs(&value))?;
            list(entries.into_iter().map(|(k, v)| if name == "keys" { k } else { v }).collect())
        }
        "length" => int(said(length(&c.arg(0)?))? as i128),
        "map" => {
            let Some(Expr::Reference(expression)) = args.first() else {
                return Err("`map()` needs an `&expression` first".to_owned());
            };
            list(c.list(1)?.iter().map(|v| eval(expression, v)).collect::<Result<_, _>>()?)
        }
        "max" => extreme(own(&c)?, Ordering::Greater)?,
        "min" => extreme(own(&c)?, Ordering::Less)?,
        "max_by" => extreme(c.keyed(1)?, Ordering::Greater)?,
        "min_by" => extreme(c.keyed(1)?, Ordering::Less)?,
        "sort" => list(sorted(own(&c)?)?),
        "sort_by" => list(sorted(c.keyed(1)?)?),
        "reverse" => {
            let value = c.arg(0)?;
            match value.as_str() {
                Some(s) => Value::from(s.chars().rev().collect::<String>()),
                None => {
                    let mut all = c.list(0)?;
                    all.reverse();
                    list(all)
                }
            }
        }
        "merge" => {
            let mut out = Map::new();
            for at in 0..args.len() {
                out.extend(said(pairs(&c.arg(at)?))?);
            }
            map(out)
        }
        "not_null" => {
            for at in 0..args.len() {
                let value = c.arg(at)?;
                if !value.is_none() {
                    return Ok(value);
                }
            }
            Value::from(())
        }
        "to_array" => {
            let value = c.arg(0)?;
            if is_list(&value) { value } else { list(vec![value]) }
        }
        "to_string" => {
            let value = c.arg(0)?;
            if value.as_str().is_some() { value } else { Value::from(said(json_text(&value))?) }
        }
        "to_number" => {
            let value = c.arg(0)?;
            if value.is_number() {
                return Ok(value);
            }
            match value.as_str().map(str::trim) {
                Some(s) => s
                    .parse::<i64>()
                    .map(Value::from)
                    .or_else(|_| s.parse::<f64>().map(Value::from))
                    .unwrap_or_else(|_| Value::from(())),
                None => Value::from(()),
            }
        }
        "type" => Value::from(kind(&c.arg(0)?)),
        other => return Err(format!("there is no function `{other}`")),
    })
}
