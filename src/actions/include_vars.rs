//! `include_vars`: variables from files, for the host from now on.
//!
//! Owns: what the files' variables become (a layer, under a name, merged). Must not: render them; a value is rendered
//! when it is used.

use std::path::PathBuf;
use std::sync::Arc;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::include_vars_files::{self as files, Choice};
use super::rendering::{data_node, json};
use super::results::{Reply, typed};
use super::{Action, Context, Done, Effect, Stop, local_files};
use crate::source::{Entry, Mapping, Node, Span, Yaml};
use crate::template::Var;
use crate::vars::Layer;

static OPTIONS: &[Opt] = &[
    Opt::str("file").aliases(&["_raw_params"]),
    Opt::str("dir"),
    Opt::str("name"),
    Opt::int("depth"),
    Opt::str("files_matching"),
    Opt::list("ignore_files"),
    Opt::list("extensions"),
    Opt::bool("ignore_unknown_extensions"),
    Opt::str("hash_behaviour").choices(&["replace", "merge"]),
];
static SPEC: Spec = Spec {
    options: &[OPTIONS],
    free_form: Some("file"),
    required_one_of: &[&["file", "dir"]],
    mutually_exclusive: &[&["file", "dir"]],
    ..Spec::new("include_vars")
};

#[derive(Deserialize)]
struct Args {
    file: Option<String>,
    dir: Option<String>,
    name: Option<String>,
    depth: Option<usize>,
    files_matching: Option<String>,
    ignore_files: Option<Vec<String>>,
    extensions: Option<Vec<String>>,
    #[serde(default)]
    ignore_unknown_extensions: bool,
    hash_behaviour: Option<String>,
}

pub(super) struct IncludeVars;

impl Action for IncludeVars {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        async move { run(context, args) }.boxed()
    }
}

fn run(context: &Context<'_>, args: Map<String, Json>) -> Result<Done, Stop> {
    let args: Args = typed(&SPEC, args)?;
    let merge = args.hash_behaviour.as_deref() == Some("merge");
    let extensions =
        args.extensions.unwrap_or_else(|| files::EXTENSIONS.iter().map(|e| (*e).to_owned()).collect());
    let paths: Vec<PathBuf> = match (&args.file, &args.dir) {
        (Some(file), None) => vec![local_files::find(context, "vars", file)?],
        (None, Some(dir)) => files::list(
            context,
            dir,
            &Choice {
                depth: args.depth.unwrap_or(0),
                matching: args.files_matching.as_deref(),
                ignore: args.ignore_files.as_deref().unwrap_or_default(),
                extensions: &extensions,
                skip_unknown: args.ignore_unknown_extensions,
            },
        )?,
        (Some(_), Some(_)) => {
            return Err(Stop::failed(
                "You are mixing file only and dir only arguments, these are incompatible",
            ));
        }
        (None, None) => return Err(Stop::failed("`include_vars` needs `file` or `dir`")),
    };
    let mut all = Mapping::default();
    let mut span = context.raw.span;
    for path in &paths {
        let (mapping, at) = files::load(context, path)?;
        span = at;
        put_all(&mut all, mapping, merge);
    }
    if let Some(name) = &args.name {
        let key = Node { span, value: Yaml::Str(name.as_str().into()) };
        all = Mapping { entries: vec![Entry { key, value: Node { span, value: Yaml::Map(all) } }] };
    }
    let mut entries = Vec::with_capacity(all.entries.len());
    for Entry { key, value } in all.entries {
        let Some(name) = key.as_str() else {
            return Err(Stop::failed(format!(
                "{}: the name of a variable must be text",
                context.sources.place(key.span)
            )));
        };
        let name: Arc<str> = name.into();
        let value = if merge { with_existing(context, &name, value)? } else { value };
        entries.push((name, Arc::new(value)));
    }
    let shown: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    // The values themselves stay out of the result: they are not rendered yet, and some may be secret.
    Reply::new(false)
        .with("ansible_included_var_files", shown)
        .with("variables", entries.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>())
        .effect(Effect::Vars(Arc::new(Layer { entries, span: Some(span) })))
}

/// Puts entries into a mapping; with `merge`, mappings of the same name become one.
fn put_all(into: &mut Mapping, from: Mapping, merge: bool) {
    for entry in from.entries {
        match into.entries.iter_mut().find(|e| e.key.value == entry.key.value) {
            None => into.entries.push(entry),
            Some(old) => match (&mut old.value.value, entry.value.value) {
                (Yaml::Map(old), Yaml::Map(new)) if merge => put_all(old, new, true),
                (old_value, value) => {
                    *old_value = value;
                    old.value.span = entry.value.span;
                }
            },
        }
    }
}

/// `hash_behaviour: merge`: what the host already has under that name, overlaid.
fn with_existing(context: &Context<'_>, name: &str, value: Node) -> Result<Node, Stop> {
    let Yaml::Map(new) = value.value else { return Ok(value) };
    let span = value.span;
    let old = match context.scope.get(name) {
        Some(Var::Yaml(node)) => (*node).clone(),
        Some(Var::Data(data)) => data_node(&json(&data), span),
        None => return Ok(Node { span, value: Yaml::Map(new) }),
    };
    let mut merged = match old.value {
        Yaml::Map(map) => map,
        _ => Mapping::default(),
    };
    put_all(&mut merged, new, true);
    Ok(Node { span, value: Yaml::Map(merged) })
}

/// The span of a file's beginning.
pub(super) fn start_of(file: crate::source::SourceId) -> Span {
    Span { file, start: 0, end: 0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::testing::Stage;

    async fn layer(stage: &Stage, args: Json) -> Vec<(String, Json)> {
        let done = stage.run("include_vars", args).await.expect("works");
        let [Effect::Vars(layer)] = done.effects.as_slice() else { panic!("one layer") };
        layer.entries.iter().map(|(name, node)| (name.to_string(), plain(node))).collect()
    }

    fn plain(node: &Node) -> Json {
        match &node.value {
            Yaml::Null => Json::Null,
            Yaml::Bool(b) => json!(b),
            Yaml::Int(i) => json!(i),
            Yaml::Float(f) => json!(f),
            Yaml::Str(s) => json!(s),
            Yaml::Unsafe(s) => json!(format!("unsafe {s}")),
            Yaml::Vault(s) => json!(format!("vault {s}")),
            Yaml::Seq(items) => items.iter().map(plain).collect(),
            Yaml::Map(map) => Json::Object(
                map.entries
                    .iter()
                    .map(|e| (e.key.as_str().unwrap_or("?").to_owned(), plain(&e.value)))
                    .collect(),
            ),
        }
    }

    #[tokio::test]
    async fn a_file_of_the_role_gives_variables_that_are_not_rendered_yet() {
        let stage = Stage::new();
        let path = stage.file("vars/Debian.yml", "pkg: nginx\nurl: 'http://{{ later }}'\n");
        let done = stage.run("include_vars", json!({"file": "Debian.yml"})).await.expect("works");
        assert_eq!(
            Json::Object(done.result),
            json!({"changed": false, "ansible_included_var_files": [path], "variables": ["pkg", "url"]})
        );
        assert_eq!(
            layer(&stage, json!({"file": "Debian.yml"})).await,
            [("pkg".into(), json!("nginx")), ("url".into(), json!("http://{{ later }}"))]
        );
        let named = layer(&stage, json!({"file": "Debian.yml", "name": "os"})).await;
        assert_eq!(named, [("os".into(), json!({"pkg": "nginx", "url": "http://{{ later }}"}))]);
    }

    #[tokio::test]
    async fn a_folder_is_read_in_order_and_filtered() {
        let stage = Stage::new();
        stage.file("vars/all/10.yml", "a: 1\nm: {x: 1, y: 1}\n");
        stage.file("vars/all/20.json", "{\"b\": 2, \"m\": {\"y\": 2}}");
        stage.file("vars/all/sub/30.yaml", "c: 3\n");
        stage.file("vars/all/README.md", "text");
        stage.file("vars/all/10.yml.bak", "x: 1");
        let base = json!({"dir": "vars/all", "ignore_unknown_extensions": true});
        let with = |more: Json| {
            let mut args = base.clone();
            for (k, v) in more.as_object().expect("a mapping") {
                args[k] = v.clone();
            }
            args
        };
        let names = |vars: Vec<(String, Json)>| vars.into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names(layer(&stage, base.clone()).await), ["a", "m", "b", "c"]);
        assert_eq!(names(layer(&stage, with(json!({"depth": 1}))).await), ["a", "m", "b"]);
        assert_eq!(names(layer(&stage, with(json!({"files_matching": "^1"}))).await), ["a", "m"]);
        assert_eq!(
            names(layer(&stage, with(json!({"ignore_files": ["20.json", "30.yaml"]}))).await),
            ["a", "m"]
        );
        assert_eq!(layer(&stage, base.clone()).await[1].1, json!({"y": 2}));
        let merged = layer(&stage, with(json!({"hash_behaviour": "merge"}))).await;
        assert_eq!(merged[1].1, json!({"x": 1, "y": 2}));
        let failed = stage.failure("include_vars", json!({"dir": "vars/all"})).await;
        assert!(
            failed["msg"].as_str().is_some_and(|m| m.contains("does not have a valid extension")),
            "{failed}"
        );
    }

    #[tokio::test]
    async fn merge_keeps_what_the_host_has_and_never_makes_data_a_template() {
        let stage = Stage::new().data("m", json!({"old": "{{ evil }}", "x": 1}));
        stage.file("vars/v.yml", "m: {x: 2}\n");
        let merged = layer(&stage, json!({"file": "v.yml", "hash_behaviour": "merge"})).await;
        assert_eq!(merged, [("m".into(), json!({"old": "unsafe {{ evil }}", "x": 2}))]);
    }

    #[tokio::test]
    async fn vault_files_are_opened_and_empty_ones_are_fine() {
        let stage = Stage::new().vault("secret: 1\n");
        stage.file("vars/v.yml", "$ANSIBLE_VAULT;1.1;AES256\n3030\n");
        stage.file("vars/e.yml", "---\n");
        assert_eq!(layer(&stage, json!({"file": "v.yml"})).await, [("secret".into(), json!(1))]);
        assert_eq!(layer(&stage, json!({"file": "v.yml"})).await.len(), 1);
        assert!(layer(&stage, json!({"file": "e.yml"})).await.is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let stage = Stage::new();
        let base = stage.directory();
        stage.file("vars/list.yml", "- a\n");
        stage.file("vars/bad.yml", "a: [\n");
        for (args, msg) in [
            (
                json!({"file": "gone.yml"}),
                format!(
                    "could not find or access `gone.yml` on the controller, searched in `{base}/vars`, `{base}`"
                ),
            ),
            (
                json!({"file": "list.yml"}),
                format!("{base}/vars/list.yml must be stored as a dictionary/hash"),
            ),
            (json!({"dir": "nope"}), format!("{base}/nope directory does not exist")),
        ] {
            assert_eq!(stage.failure("include_vars", args).await["msg"], json!(msg));
        }
        let bad = stage.failure("include_vars", json!({"file": "bad.yml"})).await;
        assert!(bad["msg"].as_str().is_some_and(|m| m.contains("vars/bad.yml:")), "{bad}");
    }
}
