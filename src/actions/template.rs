//! `template`: renders a file of the controller and puts it on the host.
//!
//! Owns: the options of the rendering and the variables that only templates see. Must not: transfer bytes itself.

use std::path::Path;
use std::sync::Arc;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::copy::FILE_OPTIONS;
use super::local_files::{self, Payload};
use super::rendering::With;
use super::results::typed;
use super::transfer::{self, Sending};
use super::{Action, Context, Done, Stop};
use crate::template::{FileOptions, Scope, Value};

static OPTIONS: &[Opt] = &[
    Opt::str("src").required(),
    Opt::path("dest").required(),
    Opt::str("block_start_string"),
    Opt::str("block_end_string"),
    Opt::str("variable_start_string"),
    Opt::str("variable_end_string"),
    Opt::str("comment_start_string"),
    Opt::str("comment_end_string"),
    Opt::bool("trim_blocks"),
    Opt::bool("lstrip_blocks"),
    Opt::str("newline_sequence").choices(&["\n", "\r", "\r\n", "\\n", "\\r", "\\r\\n"]),
    Opt::str("output_encoding"),
];
static SPEC: Spec = Spec { options: &[OPTIONS, FILE_OPTIONS], ..Spec::new("template") };

/// What `ansible_managed` says unless the user says otherwise.
const MANAGED: &str = "Ansible managed";

#[derive(Deserialize)]
struct Args {
    src: String,
    dest: String,
    block_start_string: Option<String>,
    block_end_string: Option<String>,
    variable_start_string: Option<String>,
    variable_end_string: Option<String>,
    comment_start_string: Option<String>,
    comment_end_string: Option<String>,
    trim_blocks: Option<bool>,
    lstrip_blocks: Option<bool>,
    newline_sequence: Option<String>,
    output_encoding: Option<String>,
    mode: Option<String>,
}

impl Args {
    fn file_options(&self) -> FileOptions {
        let mut options = FileOptions::default();
        let set = |to: &mut String, from: &Option<String>| {
            if let Some(from) = from {
                to.clone_from(from);
            }
        };
        set(&mut options.block_start_string, &self.block_start_string);
        set(&mut options.block_end_string, &self.block_end_string);
        set(&mut options.variable_start_string, &self.variable_start_string);
        set(&mut options.variable_end_string, &self.variable_end_string);
        set(&mut options.comment_start_string, &self.comment_start_string);
        set(&mut options.comment_end_string, &self.comment_end_string);
        options.trim_blocks = self.trim_blocks.unwrap_or(options.trim_blocks);
        options.lstrip_blocks = self.lstrip_blocks.unwrap_or(options.lstrip_blocks);
        if let Some(newline) = &self.newline_sequence {
            options.newline_sequence = newline.replace("\\r", "\r").replace("\\n", "\n");
        }
        options
    }
}

pub(super) struct Template;

impl Action for Template {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn acts_remotely(&self) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        run(context, args).boxed()
    }
}

async fn run(context: &Context<'_>, mut args: Map<String, Json>) -> Result<Done, Stop> {
    let own: Args = typed(&SPEC, args.clone())?;
    for name in OPTIONS.iter().map(|o| o.name).filter(|n| *n != "dest") {
        args.remove(name);
    }
    let path = local_files::find(context, "templates", &own.src)?;
    if path.is_dir() {
        return Err(Stop::failed(format!("`{}` is a folder, `template` renders one file", path.display())));
    }
    if own.mode.as_deref() == Some("preserve") {
        args.insert("mode".into(), local_files::mode_of(&path)?.into());
    }
    let rendered = rendered(context, &own, &path)?;
    let payload = Payload::bytes(encoded(rendered, own.output_encoding.as_deref())?);
    let basename = Path::new(&own.src).file_name().map(|n| n.to_string_lossy().into_owned());
    let sending = Sending { payload, basename, shown_source: path.display().to_string() };
    transfer::send(context, args, &sending).await
}

fn rendered(context: &Context<'_>, own: &Args, path: &Path) -> Result<String, Stop> {
    let bytes =
        fs_err::read(path).map_err(|e| Stop::failed(format!("cannot read a file on the controller: {e}")))?;
    let bytes = local_files::opened(path, bytes, context.vault.as_ref())?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Stop::failed(format!("the template `{}` is not UTF-8 text", path.display())))?;
    let scope: Arc<dyn Scope> = Arc::new(With {
        extra: template_variables(context, own, path)?,
        base: Arc::clone(&context.scope),
        folder: path.parent().map(Path::to_owned),
    });
    Ok(context.templates.file(&text, path, own.file_options(), &scope)?)
}

fn template_variables(
    context: &Context<'_>,
    own: &Args,
    path: &Path,
) -> Result<Vec<(&'static str, Value)>, Stop> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = fs_err::metadata(path)
        .map_err(|e| Stop::failed(format!("cannot read a file on the controller: {e}")))?;
    let owner = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(meta.uid())).ok().flatten();
    let node =
        nix::sys::utsname::uname().map(|u| u.nodename().to_string_lossy().into_owned()).unwrap_or_default();
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let modified = jiff::Timestamp::from_second(meta.mtime()).unwrap_or_default();
    let date = |zoned: &jiff::Zoned| Value::from(zoned.strftime("%Y-%m-%d %H:%M:%S").to_string());
    let mut extra = vec![
        ("template_host", Value::from(node)),
        ("template_path", Value::from(path.display().to_string())),
        ("template_fullpath", Value::from(full.display().to_string())),
        ("template_destpath", Value::from(own.dest.clone())),
        ("template_mtime", date(&modified.to_zoned(jiff::tz::TimeZone::system()))),
        ("template_run_date", date(&context.clock.wall())),
        ("template_uid", owner.map_or_else(|| Value::from(meta.uid()), |u| Value::from(u.name))),
    ];
    if context.scope.get("ansible_managed").is_none() {
        extra.push(("ansible_managed", Value::from(MANAGED)));
    }
    Ok(extra)
}

/// Text in the encoding that `output_encoding` names.
fn encoded(text: String, encoding: Option<&str>) -> Result<Vec<u8>, Stop> {
    let Some(written) = encoding else { return Ok(text.into_bytes()) };
    let narrow = |limit: u32| {
        text.chars()
            .map(|c| {
                u8::try_from(u32::from(c)).ok().filter(|b| u32::from(*b) < limit).ok_or_else(|| {
                    Stop::failed(format!("`{c}` cannot be written in `{written}`, the `output_encoding`"))
                })
            })
            .collect::<Result<Vec<u8>, Stop>>()
    };
    let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    match written.to_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" => Ok(text.into_bytes()),
        "utf-8-sig" => Ok([b"\xef\xbb\xbf", text.as_bytes()].concat()),
        "ascii" | "us-ascii" => narrow(0x80),
        "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" => narrow(0x100),
        "utf-16" => Ok([&[0xff, 0xfe], wide(u16::to_le_bytes).as_slice()].concat()),
        "utf-16-le" | "utf-16le" => Ok(wide(u16::to_le_bytes)),
        "utf-16-be" | "utf-16be" => Ok(wide(u16::to_be_bytes)),
        _ => Err(Stop::failed(format!(
            "`output_encoding` knows `utf-8`, `utf-8-sig`, `utf-16`, `latin-1` and `ascii`, not `{written}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn renders_from_the_roles_templates_and_sends_small_files_at_once() {
        let stage =
            Stage::new().var("port", json!(80)).answer("copy", json!({"changed": true, "dest": "/etc/x"}));
        let path = stage.file(
            "templates/x.conf.j2",
            "# {{ ansible_managed }} {{ template_path | basename }}\nport {{ port }}\n",
        );
        let result =
            stage.result("template", json!({"src": "x.conf.j2", "dest": "/etc/x", "mode": "0644"})).await;
        let text = "# Ansible managed x.conf.j2\nport 80\n";
        let checksum = dcos_play_agent::files::checksum::sha1(text.as_bytes());
        assert_eq!(result, json!({"changed": true, "dest": "/etc/x", "src": path, "checksum": checksum}));
        let call = &stage.calls()[0];
        assert_eq!(
            Json::Object(call.args.clone()),
            json!({"dest": "/etc/x", "mode": "0644", "checksum": checksum, "_original_basename": "x.conf.j2"})
        );
        assert_eq!(call.upload("src"), text);
        assert_eq!(stage.calls().len(), 1);
    }

    #[tokio::test]
    async fn an_unchanged_large_template_costs_one_message_without_content() {
        let stage = Stage::new()
            .answer("copy", json!({"changed": false, "path": "/etc/x"}))
            .answer("copy", json!({"changed": false, "_need_upload": true}))
            .answer("copy", json!({"changed": true}));
        stage.file("templates/big.j2", &"x".repeat(100_000));
        let args = json!({"src": "big.j2", "dest": "/etc/x"});
        assert_eq!(stage.result("template", args.clone()).await["changed"], false);
        assert!(stage.calls()[0].uploads.is_empty());
        assert_eq!(stage.result("template", args).await["changed"], true);
        assert_eq!(stage.calls()[2].upload("src").len(), 100_000);
    }

    #[tokio::test]
    async fn delimiters_newlines_and_encoding_follow_the_options() {
        let stage = Stage::new().var("a", json!("\u{e9}")).answer("copy", json!({"changed": true}));
        stage.file("templates/t", "<< a >>\n{{ a }}\n");
        let args = json!({
            "src": "t", "dest": "/x", "variable_start_string": "<<", "variable_end_string": ">>",
            "newline_sequence": "\\r\\n", "output_encoding": "latin-1",
        });
        stage.result("template", args).await;
        assert_eq!(stage.calls()[0].upload_bytes("src"), b"\xe9\r\n{{ a }}\r\n");
    }

    #[tokio::test]
    async fn failures_name_the_template_or_the_folders_searched() {
        let stage = Stage::new();
        let base = stage.directory();
        stage.file("templates/t", "{{ nope }}");
        assert_eq!(
            stage.failure("template", json!({"src": "t", "dest": "/x"})).await["msg"],
            format!("{base}/templates/t: `nope` is undefined")
        );
        assert_eq!(
            stage.failure("template", json!({"src": "gone.j2", "dest": "/x"})).await["msg"],
            format!(
                "could not find or access `gone.j2` on the controller, searched in `{base}/templates`, `{base}`"
            )
        );
    }
}
