//! `fetch`: brings a file of the host to the controller.
//!
//! Owns: where it is stored and when it is asked for. Must not: leave half a file behind.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use dcos_play_agent::files::checksum::{hex, md5, sha1};
use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use sha1::Sha1;

use super::local_files::expand_home;
use super::results::{Reply, checked, flag, typed};
use super::{Action, Context, Done, Stop};

static OPTIONS: &[Opt] = &[
    Opt::path("src").required(),
    Opt::str("dest").required(),
    Opt::bool("flat"),
    Opt::bool("fail_on_missing"),
    Opt::bool("validate_checksum"),
];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("fetch") };

#[derive(Deserialize)]
struct Args {
    src: String,
    dest: String,
    #[serde(default)]
    flat: bool,
    fail_on_missing: Option<bool>,
    validate_checksum: Option<bool>,
}

pub(super) struct Fetch;

impl Action for Fetch {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        run(context, args).boxed()
    }
}

async fn run(context: &Context<'_>, args: Map<String, Json>) -> Result<Done, Stop> {
    let args: Args = typed(&SPEC, args)?;
    let question =
        json!({"path": args.src, "follow": true, "get_checksum": true, "checksum_algorithm": "sha1"});
    let (answer, _) = context.remote.module_always("stat", object(question)).await?;
    let answer = checked(answer)?;
    let stat = answer.get("stat").and_then(Json::as_object).cloned().unwrap_or_default();
    if let Some(why) = unusable(&stat) {
        let missing = why == MISSING;
        if missing && !args.fail_on_missing.unwrap_or(true) {
            return Reply::new(false)
                .with("msg", format!("{why}, not transferring, ignored"))
                .with("file", args.src)
                .done();
        }
        return Err(Stop::failed(why).with("file", args.src));
    }
    let dest = destination(context, &args)?;
    let remote = stat.get("checksum").and_then(Json::as_str).map(str::to_owned);
    let local = fs_err::read(&dest).ok();
    if let (Some(bytes), Some(remote)) = (&local, &remote)
        && sha1(bytes) == *remote
    {
        return Reply::new(false)
            .with("file", args.src)
            .with("dest", dest.display().to_string())
            .with("md5sum", md5(bytes))
            .with("checksum", remote.clone())
            .done();
    }
    if context.check {
        return Reply::new(true)
            .with("file", args.src)
            .with("dest", dest.display().to_string())
            .with("remote_checksum", remote)
            .done();
    }
    let unwritable =
        |e: std::io::Error| Stop::failed(format!("cannot write `{}` on the controller: {e}", dest.display()));
    let mut writing = Writing::begin(&dest).map_err(unwritable)?;
    loop {
        // A large file comes in pieces and never stands in memory as a whole.
        let question = object(json!({"src": args.src, "offset": writing.size}));
        let (answer, piece) = context.remote.module_always("fetch", question).await?;
        let answer = checked(answer)?;
        writing.add(&piece).map_err(unwritable)?;
        if piece.is_empty() || flag(&answer, "eof") {
            break;
        }
    }
    let (checksum, md5sum) = writing.sums();
    if args.validate_checksum.unwrap_or(true)
        && let Some(remote) = &remote
        && *remote != checksum
    {
        return Err(Stop::failed("checksum mismatch: the file changed while it was fetched")
            .with("file", args.src)
            .with("dest", dest.display().to_string())
            .with("checksum", checksum)
            .with("remote_checksum", remote.clone()));
    }
    writing.finish(&dest).map_err(unwritable)?;
    Reply::new(true)
        .with("md5sum", md5sum)
        .with("dest", dest.display().to_string())
        .with("remote_md5sum", Json::Null)
        .with("checksum", checksum)
        .with("remote_checksum", remote)
        .done()
}

const MISSING: &str = "the remote file does not exist";

fn unusable(stat: &Map<String, Json>) -> Option<&'static str> {
    if !flag(stat, "exists") {
        Some(MISSING)
    } else if flag(stat, "isdir") {
        Some("remote file is a directory, fetch cannot work on directories")
    } else if stat.get("readable").is_some_and(|r| r == false) {
        Some("the remote file is not readable")
    } else {
        None
    }
}

fn object(value: Json) -> Map<String, Json> {
    if let Json::Object(map) = value { map } else { Map::new() }
}

/// `dest/host/path` or, with `flat`, what `dest` says.
fn destination(context: &Context<'_>, args: &Args) -> Result<PathBuf, Stop> {
    let absolute = |written: &str| {
        let path = expand_home(written);
        if path.is_absolute() { path } else { context.playbook_directory.join(path) }
    };
    let dest = absolute(&args.dest);
    if !args.flat {
        // `..` in a path of the host must not lead out of the host's folder.
        let below = Path::new(&args.src)
            .components()
            .filter(|c| matches!(c, std::path::Component::Normal(_)))
            .collect::<PathBuf>();
        return Ok(dest.join(&*context.host).join(below));
    }
    if args.dest.ends_with('/') {
        let name = Path::new(&args.src).file_name().unwrap_or_default();
        return Ok(dest.join(name));
    }
    if dest.is_dir() {
        return Err(Stop::failed(
            "dest is an existing directory, use a trailing slash if you want to fetch src into that directory",
        ));
    }
    Ok(dest)
}

/// A file that takes its name only when it is whole.
struct Writing {
    file: tempfile::NamedTempFile,
    size: u64,
    sha1: Sha1,
    md5: Md5,
}

impl Writing {
    fn begin(dest: &Path) -> std::io::Result<Self> {
        let folder = dest.parent().unwrap_or(Path::new("."));
        fs_err::create_dir_all(folder)?;
        let file = tempfile::NamedTempFile::new_in(folder)?;
        Ok(Self { file, size: 0, sha1: Sha1::new(), md5: Md5::new() })
    }

    fn add(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.file.write_all(piece)?;
        self.size += piece.len() as u64;
        self.sha1.update(piece);
        self.md5.update(piece);
        Ok(())
    }

    /// SHA-1 and MD5 so far, in hex.
    fn sums(&self) -> (String, String) {
        (hex(&self.sha1.clone().finalize()), hex(&self.md5.clone().finalize()))
    }

    fn finish(self, dest: &Path) -> std::io::Result<()> {
        self.file.as_file().sync_all()?;
        // The mode that any new file of this user gets, or that of the file which is replaced: the temporary one's
        // is private.
        match fs_err::metadata(dest) {
            Ok(meta) => self.file.as_file().set_permissions(meta.permissions())?,
            Err(_) => set_mode(self.file.as_file(), 0o666 & !umask())?,
        }
        self.file.persist(dest).map_err(|e| e.error)?;
        Ok(())
    }
}

fn set_mode(file: &std::fs::File, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// The umask of this process, without changing it.
fn umask() -> u32 {
    let text = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let octal = text.lines().find_map(|l| l.strip_prefix("Umask:")).map(str::trim);
    octal.and_then(|o| u32::from_str_radix(o, 8).ok()).unwrap_or(0o077)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::Stage;

    fn there(text: &str) -> Json {
        json!({"stat": {"exists": true, "isdir": false, "checksum": sha1(text.as_bytes())}})
    }

    #[tokio::test]
    async fn a_file_lands_below_the_hosts_name_and_is_not_fetched_twice() {
        let stage = Stage::new()
            .always("stat", there("log\n"))
            .answer_blob("fetch", json!({"eof": false}), b"lo")
            .answer_blob("fetch", json!({"eof": true}), b"g\n");
        let args = json!({"src": "/var/log/../x.log", "dest": "out"});
        let result = stage.result("fetch", args.clone()).await;
        let dest = format!("{}/out/host1/var/log/x.log", stage.directory());
        assert_eq!(result["dest"], json!(dest));
        assert_eq!(result["changed"], true);
        assert_eq!(fs_err::read_to_string(&dest).expect("written"), "log\n");
        let again = stage.result("fetch", args).await;
        assert_eq!((&again["changed"], &again["file"]), (&json!(false), &json!("/var/log/../x.log")));
        assert_eq!(stage.calls().iter().filter(|c| c.module == "fetch").count(), 2);
    }

    #[tokio::test]
    async fn flat_needs_a_slash_for_a_folder() {
        let stage = Stage::new().always("stat", there("a")).always_blob("fetch", b"a");
        let args = |dest: &str| json!({"src": "/etc/a", "dest": dest, "flat": true});
        let result = stage.result("fetch", args("got/")).await;
        assert_eq!(result["dest"], json!(format!("{}/got/a", stage.directory())));
        assert_eq!(
            stage.failure("fetch", args("got")).await["msg"],
            "dest is an existing directory, use a trailing slash if you want to fetch src into that directory"
        );
    }

    #[tokio::test]
    async fn missing_files_fail_unless_told_otherwise() {
        let stage = Stage::new().always("stat", json!({"stat": {"exists": false}}));
        let args = json!({"src": "/nope", "dest": "out"});
        assert_eq!(stage.failure("fetch", args).await["msg"], "the remote file does not exist");
        let result =
            stage.result("fetch", json!({"src": "/nope", "dest": "out", "fail_on_missing": false})).await;
        assert_eq!(result["msg"], "the remote file does not exist, not transferring, ignored");
    }

    #[tokio::test]
    async fn a_changed_file_is_a_mismatch_and_check_mode_writes_nothing() {
        let stage =
            Stage::new().always("stat", there("old")).answer_blob("fetch", json!({"eof": true}), b"new");
        let args = json!({"src": "/x", "dest": "out"});
        assert_eq!(
            stage.failure("fetch", args.clone()).await["msg"],
            "checksum mismatch: the file changed while it was fetched"
        );
        let check = Stage::new().check().always("stat", there("old"));
        assert_eq!(check.result("fetch", args).await["changed"], true);
        assert!(!Path::new(&format!("{}/out", check.directory())).exists());
    }
}
