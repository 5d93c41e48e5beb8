//! `debconf`: answers to the questions that packages ask.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{need_program, run, run_with_input};
use crate::system::{fault, outcome};

/// The module.
pub struct Debconf;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    question: Option<String>,
    vtype: Option<String>,
    value: Option<Value>,
    #[serde(default)]
    unseen: bool,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required().aliases(&["pkg"]),
    Opt::str("question").aliases(&["selection", "setting"]),
    Opt::str("vtype").choices(&[
        "boolean",
        "error",
        "multiselect",
        "note",
        "password",
        "seen",
        "select",
        "string",
        "text",
        "title",
    ]),
    Opt::raw("value").aliases(&["answer"]),
    Opt::bool("unseen"),
];

impl Module for Debconf {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("debconf") };
    type Args = Args;
    type Change = String;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<String>, Fault> {
        let before = answers(&args.name, host)?;
        let Some(question) = &args.question else {
            return Ok(Inspection::Same(outcome(false, json!({"msg": "", "current": before}))));
        };
        let (Some(vtype), Some(value)) = (&args.vtype, &args.value) else {
            return Err(fault("`debconf` needs `vtype` and `value` when `question` is given"));
        };
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Bool(on) if vtype != "boolean" => if *on { "True" } else { "False" }.to_owned(),
            other => other.to_string(),
        };
        let value = if vtype == "boolean" { value.to_lowercase() } else { value };
        let mut there = before.get(question).and_then(Value::as_str).map(str::to_owned);
        if vtype == "password" && there.is_some() {
            there = password(args, question, host)?;
        }
        if there.as_deref() == Some(value.as_str()) {
            return Ok(Inspection::Same(outcome(false, json!({"msg": "", "current": before}))));
        }
        let hide = |text: &str| if vtype == "password" { "********".to_owned() } else { text.to_owned() };
        let one = |text: &str| {
            let mut map = Map::new();
            map.insert(question.clone(), hide(text).into());
            Value::Object(map)
        };
        let (previous, current) = (one(there.as_deref().unwrap_or_default()), one(&value));
        let mut predicted = outcome(true, json!({"msg": "", "current": current, "previous": previous}));
        predicted.diff.push(json!({"before": previous, "after": current}));
        Ok(Inspection::Differs { change: format!("{} {question} {vtype} {value}\n", args.name), predicted })
    }

    fn apply(args: &Args, line: String, host: &Host<'_>) -> Result<Outcome, Fault> {
        let told = match Self::inspect(args, host)? {
            Inspection::Same(outcome) | Inspection::Differs { predicted: outcome, .. } => outcome,
        };
        let program = need_program("debconf-set-selections")?;
        let argv = if args.unseen { vec![program, "-u".to_owned()] } else { vec![program] };
        run_with_input(host, &argv, &line)?.or_fault("cannot set the answer")?;
        Ok(Outcome { changed: true, diff: Vec::new(), ..told })
    }
}

/// The package's questions with their answers.
fn answers(package: &str, host: &Host<'_>) -> Result<Map<String, Value>, Fault> {
    let said = run(host, &[&need_program("debconf-show")?, package])?.or_fault("cannot read the answers")?;
    Ok(said
        .out
        .lines()
        .filter_map(|line| {
            let (question, answer) = line.trim_start_matches('*').trim().split_once(':')?;
            Some((question.to_owned(), answer.trim().into()))
        })
        .collect())
}

/// `debconf-show` hides passwords; `debconf-get-selections` of debconf-utils, where it is, tells them.
fn password(args: &Args, question: &str, host: &Host<'_>) -> Result<Option<String>, Fault> {
    let said = run(host, &[need_program("debconf-get-selections")?])?.or_fault("cannot read the answers")?;
    Ok(said.out.lines().find_map(|line| {
        let mut fields = line.splitn(4, '\t');
        let ours = fields.next() == Some(&args.name) && fields.next() == Some(question);
        ours.then(|| fields.nth(1).unwrap_or_default().to_owned())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    const SHOWN: &str = "* tzdata/Areas: Etc\n  tzdata/Zones/Etc: UTC\n";

    fn root() -> FakeRoot {
        let root = FakeRoot::with(&[]);
        root.program("/usr/bin/debconf-show");
        root.program("/usr/bin/debconf-set-selections");
        root
    }

    #[test]
    fn an_answer_is_set_once() {
        let _root = root();
        let arguments =
            json!({"name": "tzdata", "question": "tzdata/Areas", "vtype": "select", "value": "Europe"});
        let show = "/usr/bin/debconf-show tzdata";
        let script =
            Script::of(&[(show, 0, SHOWN), (show, 0, SHOWN), ("/usr/bin/debconf-set-selections", 0, "")]);
        let arguments: Args = args(arguments);
        let Ok(Inspection::Differs { change, predicted }) = Debconf::inspect(&arguments, &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.values["previous"], json!({"tzdata/Areas": "Etc"}));
        let done = Debconf::apply(&arguments, change, &script.host()).expect("applies");
        assert_eq!(done.values["current"], json!({"tzdata/Areas": "Europe"}));
        assert_eq!(script.inputs(), ["tzdata tzdata/Areas select Europe\n"]);
        let script = Script::of(&[(show, 0, "  tzdata/Areas: Europe\n")]);
        assert!(matches!(Debconf::inspect(&arguments, &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn a_boolean_is_compared_as_debconf_writes_it() {
        let _root = root();
        let script = Script::of(&[("/usr/bin/debconf-show x", 0, "* x/on: true\n")]);
        let arguments: Args =
            args(json!({"name": "x", "question": "x/on", "vtype": "boolean", "value": true}));
        assert!(matches!(Debconf::inspect(&arguments, &script.host()), Ok(Inspection::Same(_))));
    }
}
