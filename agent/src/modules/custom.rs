//! Modules of the project's own `library/`: executables of any language.
//!
//! Owns: the ways in which such a module gets its arguments and answers, which are Ansible's:
//! <https://docs.ansible.com/ansible/latest/dev_guide/developing_program_flow_modules.html>. Must not: know any of them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Command, Fault, Finished, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Repeat, Spec};
use crate::words;

/// The module; the controller calls it for executables that it found in `library/`.
pub struct Custom;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    _name: String,
    /// The executable as it was sent.
    _path: PathBuf,
    _args: Map<String, Value>,
    /// `ansible_python_interpreter`.
    _interpreter: Option<String>,
    #[serde(default)]
    _verbosity: u8,
}

const OPTIONS: &[Opt] = &[
    Opt::str("_name").required(),
    Opt::path("_path").required(),
    Opt::raw("_args").required(),
    Opt::str("_interpreter"),
    Opt::int("_verbosity"),
];

/// In a module's text: where its arguments are to be put as JSON.
const PLACE: &str = "<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>";

impl Module for Custom {
    const SPEC: Spec = Spec { options: &[OPTIONS], repeat: Repeat::Ask, ..Spec::new("_custom") };
    type Args = Args;
    type Change = std::convert::Infallible;

    /// Runs it, also in check mode: it is told, and has to know what to do.
    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Self::Change>, Fault> {
        let content = fs::read(&args._path).map_err(|e| Fault::io("read", &args._path, &e))?;
        let call = Call::of(args, &content, host);
        let room = call.script.as_ref().map_or(content.len(), String::len);
        let folder = Folder::make(room + call.arguments.as_ref().map_or(0, String::len))?;
        let finished = match &call.script {
            Some(text) => {
                let program = folder.file("module", text.as_bytes(), 0o700)?;
                let mut argv = interpreter(text, args._interpreter.as_deref());
                if argv.is_empty() {
                    argv = vec!["/bin/sh".to_owned()];
                }
                argv.push(program.display().to_string());
                call.run(argv, &folder, host)?
            }
            None => run_binary(&call, &content, &folder, host)?,
        };
        answer(&args._name, &finished).map(Inspection::Same)
    }

    fn apply(_: &Args, change: Self::Change, _: &Host<'_>) -> Result<Outcome, Fault> {
        match change {}
    }
}

/// How one module is called.
struct Call {
    /// The text to run; nothing for a binary.
    script: Option<String>,
    /// The content of the file that is its only argument.
    arguments: Option<String>,
}

impl Call {
    fn of(args: &Args, content: &[u8], host: &Host<'_>) -> Self {
        let mut all = args._args.clone();
        for (name, value) in [
            ("_ansible_check_mode", json!(host.check)),
            ("_ansible_diff", json!(host.diff)),
            ("_ansible_no_log", json!(false)),
            ("_ansible_debug", json!(false)),
            ("_ansible_verbosity", json!(args._verbosity)),
            ("_ansible_version", json!("2.19.0")),
            ("_ansible_module_name", json!(args._name)),
            ("_ansible_keep_remote_files", json!(false)),
            ("_ansible_string_conversion_action", json!("warn")),
        ] {
            all.insert(name.to_owned(), value);
        }
        let Some(text) = std::str::from_utf8(content).ok().filter(|t| !t.contains('\0')) else {
            return Self { script: None, arguments: Some(Value::Object(all).to_string()) };
        };
        if text.contains(PLACE) {
            let text = text.replace(PLACE, &Value::Object(all).to_string());
            return Self { script: Some(text), arguments: None };
        }
        let arguments = if text.contains("ansible.module_utils") {
            // `AnsibleModule` reads them from a file that is named, where Ansible's Python library is installed.
            json!({ "ANSIBLE_MODULE_ARGS": all }).to_string()
        } else if text.contains("WANT_JSON") {
            Value::Object(all).to_string()
        } else {
            let pair = |(name, value): (&String, &Value)| {
                let text = value.as_str().map_or_else(|| python_text(value), str::to_owned);
                format!("{name}={}", words::quote(&text))
            };
            all.iter().map(pair).collect::<Vec<_>>().join(" ")
        };
        Self { script: Some(text.to_owned()), arguments: Some(arguments) }
    }

    fn run(&self, mut argv: Vec<String>, folder: &Folder, host: &Host<'_>) -> Result<Finished, Fault> {
        if let Some(arguments) = &self.arguments {
            argv.push(folder.file("arguments", arguments.as_bytes(), 0o600)?.display().to_string());
        }
        host.runner.run(&Command { argv, stdin: Some(Vec::new()), ..Command::default() })
    }
}

/// A value in `key=value` form: as Python prints it.
fn python_text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

/// The words of the `#!` line; a Python that isn't there is looked for where systems have it.
fn interpreter(text: &str, python: Option<&str>) -> Vec<String> {
    let Some(line) = text.lines().next().and_then(|l| l.strip_prefix("#!")) else { return Vec::new() };
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let name = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    if words.first().is_some_and(|w| name(w) == "env") && words.len() > 1 {
        words.remove(0);
    }
    let Some(first) = words.first_mut() else { return words };
    if name(first).starts_with("python") {
        let given = python.filter(|p| !p.is_empty() && !p.starts_with("auto")).map(str::to_owned);
        let usual =
            ["/usr/bin/python3", "/usr/local/bin/python3", "/usr/libexec/platform-python", "/usr/bin/python"];
        if let Some(given) = given {
            *first = given;
        } else if !Path::new(first.as_str()).is_file()
            && let Some(there) = usual.iter().find(|p| Path::new(p).is_file())
        {
            *first = (*there).to_owned();
        }
    }
    words
}

/// Programs can't be run everywhere: the agent's own folder comes first, since the agent does run there.
fn run_binary(call: &Call, content: &[u8], folder: &Folder, host: &Host<'_>) -> Result<Finished, Fault> {
    let own = std::env::current_exe().ok().and_then(|p| p.parent().map(Path::to_path_buf));
    let home = std::env::home_dir();
    let mut last = None;
    for base in own.into_iter().chain([folder.0.clone()]).chain(home).chain([PathBuf::from("/var/tmp")]) {
        let Ok(there) = Folder::in_folder(&base) else { continue };
        let program = match there.file("module", content, 0o700) {
            Ok(program) => program,
            Err(fault) => {
                last = Some(fault);
                continue;
            }
        };
        match call.run(vec![program.display().to_string()], folder, host) {
            Err(fault) if fault.msg.contains("Permission denied") || fault.msg.contains("Errno 13") => {
                last = Some(fault);
            }
            done => return done,
        }
    }
    Err(last.unwrap_or_else(|| Fault::new("this host has no folder in which a program may be run")))
}

/// The result that a module printed.
fn answer(name: &str, finished: &Finished) -> Result<Outcome, Fault> {
    let out = String::from_utf8_lossy(&finished.stdout);
    let err = String::from_utf8_lossy(&finished.stderr);
    let Some(Value::Object(mut result)) = json_in(&out) else {
        let mut why = format!("the module `{name}` gave no JSON");
        if err.contains("No module named 'ansible'") || err.contains("No module named ansible") {
            why.push_str(": it needs Ansible's Python library, which this host doesn't have");
        }
        return Err(Fault::new(why)
            .with("module_stdout", out.into_owned())
            .with("module_stderr", err.into_owned())
            .with("rc", finished.rc));
    };
    result.remove("invocation");
    let rc = result.get("rc").and_then(Value::as_i64).unwrap_or(0);
    let truth = |value: Option<&Value>| match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => matches!(text.to_lowercase().as_str(), "true" | "yes" | "1"),
        _ => false,
    };
    let failed = match result.get("failed") {
        Some(value) => truth(Some(value)),
        None => rc != 0,
    };
    if failed {
        let msg = result.remove("msg").map(|m| m.as_str().map_or_else(|| m.to_string(), str::to_owned));
        return Err(Fault { msg: msg.unwrap_or_default(), values: result });
    }
    let changed = truth(result.get("changed"));
    Ok(Outcome { changed, values: result, ..Outcome::default() })
}

/// The object in an output that may have other lines before and after it.
fn json_in(text: &str) -> Option<Value> {
    let start = text.lines().scan(0, |at, line| {
        let here = *at;
        *at += line.len() + 1;
        Some((here, line))
    });
    let mut starts = start.filter(|(_, line)| line.trim_start().starts_with('{')).map(|(at, _)| at);
    starts.find_map(|at| {
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        values.next()?.ok()
    })
}

/// A private folder that goes with its value.
struct Folder(PathBuf);

impl Folder {
    /// In the first of the usual places that has room for so many bytes: a small `/tmp` is often full.
    fn make(room: usize) -> Result<Self, Fault> {
        let usual = std::env::temp_dir();
        let bases = [usual.clone(), PathBuf::from("/var/tmp")].into_iter().chain(std::env::home_dir());
        let roomy = |base: PathBuf| {
            let folder = Self::in_folder(&base).ok()?;
            let tried = folder.file("room", &vec![0; room], 0o600).ok()?;
            fs::remove_file(tried).ok()?;
            Some(folder)
        };
        bases.filter_map(roomy).next().ok_or_else(|| {
            Fault::new(format!(
                "`{}` and the like have no folder with room for {room} bytes",
                usual.display()
            ))
        })
    }

    fn in_folder(base: &Path) -> nix::Result<Self> {
        nix::unistd::mkdtemp(&base.join(".dcos-play-XXXXXX")).map(Self)
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) -> Result<PathBuf, Fault> {
        let path = self.0.join(name);
        let written = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| file.write_all(content));
        written.map(|()| path.clone()).map_err(|e| Fault::io("write", &path, &e))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{run, temp_dir};

    fn call(text: &[u8], args: Value, check: bool) -> Value {
        let dir = temp_dir();
        let path = dir.at("module");
        std::fs::write(&path, text).expect("writes");
        run("_custom", json!({"_name": "mine", "_path": path, "_args": args}), check)
    }

    #[test]
    fn old_modules_source_a_file_of_pairs() {
        let module = b"#!/bin/sh\n. \"$1\"\necho noise\necho \"{\\\"changed\\\": true, \\\"got\\\": \\\"$name/$flag/$_ansible_check_mode\\\"}\"\n";
        let result = call(module, json!({"name": "it's a b", "flag": true}), false);
        assert_eq!((&result["changed"], &result["got"]), (&json!(true), &json!("it's a b/True/False")));
        assert_eq!(call(module, json!({"name": "x", "flag": 1}), true)["got"], "x/1/True");
    }

    #[test]
    fn modules_that_want_json_get_a_file_of_it() {
        let module = b"#!/bin/sh\n# WANT_JSON\ncat \"$1\"\n";
        let result = call(module, json!({"list": [1, {"a": "b"}], "changed": true}), false);
        assert_eq!((&result["list"], &result["changed"]), (&json!([1, {"a": "b"}]), &json!(true)));
        assert_eq!(result["_ansible_module_name"], "mine");
    }

    #[test]
    fn json_may_be_put_into_the_text() {
        let module = b"#!/bin/sh\ncat <<'EOF'\n<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>\nEOF\n";
        assert_eq!(call(module, json!({"a": 1}), false)["a"], 1);
    }

    #[test]
    fn a_binary_gets_a_file_of_json() {
        // A compiled program that prints the file it is given: `cat` itself.
        let cat = std::fs::read("/bin/cat").expect("reads");
        assert_eq!(call(&cat, json!({"a": [true]}), false)["a"], json!([true]));
    }

    #[test]
    fn failures_are_told_and_what_is_no_json_is_shown() {
        let failed =
            call(b"#!/bin/sh\necho '{\"failed\": true, \"msg\": \"no luck\", \"x\": 1}'\n", json!({}), false);
        assert_eq!(
            (&failed["failed"], &failed["msg"], &failed["x"]),
            (&json!(true), &json!("no luck"), &json!(1))
        );
        let by_rc = call(b"#!/bin/sh\necho '{\"rc\": 3}'\n", json!({}), false);
        assert_eq!((&by_rc["failed"], &by_rc["rc"]), (&json!(true), &json!(3)));
        let odd = call(b"#!/bin/sh\necho hello; echo oops >&2; exit 4\n", json!({}), false);
        assert_eq!(odd["msg"], "the module `mine` gave no JSON");
        assert_eq!(
            (&odd["module_stdout"], &odd["module_stderr"], &odd["rc"]),
            (&json!("hello\n"), &json!("oops\n"), &json!(4))
        );
    }
}
