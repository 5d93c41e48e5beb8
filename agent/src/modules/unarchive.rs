//! `unarchive`: unpacks a tar or zip file.
//!
//! Owns: driving `tar` and `unzip`, and knowing whether all is there already. Must not: parse archives itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::http::{Asked, HttpArgs};
use super::{Command, Fault, Finished, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, Attributes};
use crate::files::glob::{fnmatch, glob};
use crate::files::info;
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::path("src").required(),
    Opt::path("dest").required(),
    Opt::bool("remote_src"),
    Opt::bool("copy").ignored("it is `remote_src` the other way round, which the controller has seen to"),
    Opt::path("creates"),
    Opt::list("exclude"),
    Opt::list("include"),
    Opt::raw_list("extra_opts"),
    Opt::bool("list_files"),
    Opt::bool("keep_newer"),
    Opt::bool("decrypt").ignored("vault files are opened on the controller"),
    Opt::bool("validate_certs"),
    Opt::bytes("io_buffer_size").ignored("the archiver has its own"),
];

/// See the module's documentation.
pub struct Unarchive;

/// Arguments of `unarchive`.
#[derive(Debug, Deserialize)]
pub struct Args {
    src: String,
    dest: String,
    creates: Option<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    extra_opts: Vec<String>,
    #[serde(default)]
    list_files: bool,
    #[serde(default)]
    keep_newer: bool,
    validate_certs: Option<bool>,
    #[serde(flatten)]
    attributes: Attributes,
}

/// An archive that is opened by the right program.
struct Archive {
    path: PathBuf,
    kind: Kind,
    /// A download goes when this is dropped.
    download: bool,
}

impl Drop for Archive {
    fn drop(&mut self) {
        if self.download {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Tar(Option<&'static str>),
    Zip,
}

impl Kind {
    /// Told by the first bytes, not by the name.
    fn of(path: &Path) -> std::io::Result<Self> {
        let mut head = Vec::new();
        fs::File::open(path)?.take(6).read_to_end(&mut head)?;
        Ok(match head.as_slice() {
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Self::Zip,
            [0x1f, 0x8b, ..] => Self::Tar(Some("--gzip")),
            [b'B', b'Z', b'h', ..] => Self::Tar(Some("--bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Self::Tar(Some("--xz")),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Tar(Some("--zstd")),
            _ => Self::Tar(None),
        })
    }

    /// Ansible's names for them.
    const fn handler(self) -> &'static str {
        match self {
            Self::Zip => "ZipArchive",
            Self::Tar(Some(flag)) => match flag.as_bytes() {
                b"--bzip2" => "TarBzipArchive",
                b"--xz" => "TarXzArchive",
                b"--zstd" => "TarZstdArchive",
                _ => "TgzArchive",
            },
            Self::Tar(None) => "TarArchive",
        }
    }
}

/// What is to be unpacked.
pub struct Change {
    archive: Archive,
    files: Vec<String>,
    /// Unpacking is needed; else only attributes are set.
    unpack: bool,
}

impl Module for Unarchive {
    const SPEC: Spec = Spec {
        options: &[OPTIONS, attributes::OPTIONS],
        mutually_exclusive: &[&["include", "exclude"]],
        ..Spec::new("unarchive")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        if let Some(creates) = &args.creates
            && !glob(creates, Path::new(".")).is_empty()
        {
            let msg = format!("skipped, since {creates} exists");
            return Ok(Inspection::Same(Outcome::same().with("skipped", true).with("msg", msg)));
        }
        let archive = args.archive(host)?;
        let dest = Path::new(&args.dest);
        if !dest.is_dir() {
            if host.check && !dest.exists() {
                // A task before this one may make it.
                let predicted = args.described(archive.kind, &[]);
                let predicted = Outcome { changed: true, ..predicted };
                return Ok(Inspection::Differs {
                    change: Change { archive, files: Vec::new(), unpack: true },
                    predicted,
                });
            }
            return Err(Fault::new(format!("dest '{}' must be an existing dir", args.dest)));
        }
        let files = args.list(&archive, host)?;
        let differences = match archive.kind {
            Kind::Zip => args.zip_differences(&archive, host)?,
            Kind::Tar(_) => args.tar_differences(&archive, host)?,
        };
        let unpack = !differences.is_empty();
        let mut changed = unpack;
        for file in &files {
            let path = dest.join(file);
            if !changed && path.symlink_metadata().is_ok() {
                changed = !args.attributes.plan(&path, false, host)?.is_empty();
            }
        }
        let mut outcome = args.described(archive.kind, &files);
        outcome.values.extend(info::path_info(dest));
        outcome.changed = changed;
        if !changed {
            return Ok(Inspection::Same(outcome));
        }
        if unpack {
            outcome.diff.push(json!({ "prepared": differences.join("\n") + "\n" }));
        }
        Ok(Inspection::Differs { change: Change { archive, files, unpack }, predicted: outcome })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let dest = Path::new(&args.dest);
        let mut outcome = args.described(change.archive.kind, &change.files);
        if change.unpack {
            let argv = args.extract_command(&change.archive);
            let done = run(host, argv.clone())?;
            let results = json!({
                "cmd": argv, "rc": done.rc, "out": text(&done.stdout), "err": text(&done.stderr),
            });
            if done.rc != 0 {
                let msg = format!("failed to unpack {} to {}", args.src, args.dest);
                return Err(Fault { msg, values: outcome.values }
                    .with("extract_results", results)
                    .with("stderr", text(&done.stderr)));
            }
            outcome = outcome.with("extract_results", results);
        }
        for file in &change.files {
            let path = dest.join(file);
            if path.symlink_metadata().is_ok() {
                args.attributes.plan(&path, false, host)?.apply(&path, host)?;
            }
        }
        outcome.values.extend(info::path_info(dest));
        outcome.changed = true;
        Ok(outcome)
    }
}

impl Args {
    fn described(&self, kind: Kind, files: &[String]) -> Outcome {
        let mut values = Map::new();
        values.insert("dest".to_owned(), self.dest.clone().into());
        values.insert("src".to_owned(), self.src.clone().into());
        values.insert("handler".to_owned(), kind.handler().into());
        if self.list_files {
            values.insert("files".to_owned(), files.to_vec().into());
        }
        Outcome { values, ..Outcome::default() }
    }

    fn archive(&self, host: &Host<'_>) -> Result<Archive, Fault> {
        let download = self.src.contains("://");
        let path = if download { self.download(host)? } else { PathBuf::from(&self.src) };
        let missing = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => Fault::new(format!("Source '{}' does not exist", self.src)),
            _ => Fault::io("read", &path, &e),
        };
        let meta = fs::metadata(&path).map_err(missing)?;
        if meta.is_dir() || meta.len() == 0 {
            let what = if meta.is_dir() { "is a directory" } else { "is empty" };
            return Err(Fault::new(format!("Source '{}' {what}, not an archive", self.src)));
        }
        let kind = Kind::of(&path).map_err(missing)?;
        Ok(Archive { path, kind, download })
    }

    fn download(&self, host: &Host<'_>) -> Result<PathBuf, Fault> {
        let options = json!({"url": self.src, "validate_certs": self.validate_certs});
        let http: HttpArgs = serde_json::from_value(options)
            .map_err(|e| Fault::new(format!("cannot download `{}`: {e}", self.src)))?;
        let asked =
            Asked { method: "GET", body: None, headers: Vec::new(), redirects: true, usual_timeout: 30 };
        let answer = http.ask(&asked, host)?;
        if answer.status != 200 {
            return Err(Fault::new(format!("Failure downloading {}, {}", self.src, answer.message())));
        }
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(".dcos-play-archive-{}-{next}", std::process::id()));
        let _ = fs::remove_file(&path);
        let written =
            fs::File::create_new(&path).and_then(|mut file| std::io::copy(&mut answer.body(), &mut file));
        written.map_err(|e| {
            let _ = fs::remove_file(&path);
            Fault::io("download into", &path, &e)
        })?;
        Ok(path)
    }

    fn tar(&self, action: &str, archive: &Archive) -> Vec<String> {
        let mut argv: Vec<String> = ["tar", action, "-C", &self.dest].map(str::to_owned).to_vec();
        if let Kind::Tar(Some(flag)) = archive.kind {
            argv.push(flag.to_owned());
        }
        argv.extend(self.extra_opts.iter().cloned());
        argv.extend(self.exclude.iter().map(|pattern| format!("--exclude={pattern}")));
        argv.extend(["-f".to_owned(), archive.path.display().to_string()]);
        argv.extend(self.include.iter().cloned());
        argv
    }

    fn extract_command(&self, archive: &Archive) -> Vec<String> {
        match archive.kind {
            Kind::Tar(_) => {
                let mut argv = self.tar("--extract", archive);
                if self.keep_newer {
                    argv.insert(2, "--keep-newer-files".to_owned());
                }
                argv
            }
            Kind::Zip => {
                let mut argv =
                    vec!["unzip".to_owned(), if self.keep_newer { "-uo" } else { "-o" }.to_owned()];
                argv.extend(self.extra_opts.iter().cloned());
                argv.push(archive.path.display().to_string());
                argv.extend(self.include.iter().cloned());
                if !self.exclude.is_empty() {
                    argv.push("-x".to_owned());
                    argv.extend(self.exclude.iter().cloned());
                }
                argv.extend(["-d".to_owned(), self.dest.clone()]);
                argv
            }
        }
    }

    /// The names in the archive that are wanted.
    fn list(&self, archive: &Archive, host: &Host<'_>) -> Result<Vec<String>, Fault> {
        let argv = match archive.kind {
            Kind::Tar(_) => {
                let mut argv = self.tar("--list", archive);
                // Names as they will be on disk, and not in quotes.
                argv.splice(
                    2..2,
                    ["--show-transformed-names".to_owned(), "--quoting-style=literal".to_owned()],
                );
                argv
            }
            Kind::Zip => vec!["unzip".to_owned(), "-Z1".to_owned(), archive.path.display().to_string()],
        };
        let done = run(host, argv)?;
        if done.rc != 0 {
            let why = text(&done.stderr);
            let msg = format!(
                "Failed to find handler for \"{}\": it is no archive that can be read: {why}",
                self.src
            );
            return Err(Fault::new(msg));
        }
        let names = text(&done.stdout).lines().map(str::to_owned).collect::<Vec<_>>();
        Ok(match archive.kind {
            Kind::Tar(_) => names,
            Kind::Zip => names.into_iter().filter(|name| self.wants(name)).collect(),
        })
    }

    fn wants(&self, name: &str) -> bool {
        let hit = |patterns: &[String]| patterns.iter().any(|p| fnmatch(p).is_some_and(|r| r.is_match(name)));
        (self.include.is_empty() || hit(&self.include)) && !hit(&self.exclude)
    }

    /// What `tar` finds different. Owners count only where unpacking would set them.
    fn tar_differences(&self, archive: &Archive, host: &Host<'_>) -> Result<Vec<String>, Fault> {
        let done = run(host, self.tar("--diff", archive))?;
        if done.rc == 0 {
            return Ok(Vec::new());
        }
        let root = nix::unistd::geteuid().is_root();
        let counts = |line: &str| {
            let line = line.trim_end();
            !(line.is_empty()
                || line.ends_with(": Uid differs") && (!root || self.attributes.owner.is_some())
                || line.ends_with(": Gid differs") && (!root || self.attributes.group.is_some())
                || line.ends_with(": Mode differs") && self.attributes.mode.is_some()
                || self.keep_newer && line.ends_with("differs")
                // tar's summary, not a difference.
                || line.starts_with("tar: Exiting with failure")
                || line.contains("Removing leading `/'"))
        };
        let both = format!("{}\n{}", text(&done.stdout), text(&done.stderr));
        Ok(both.lines().filter(|line| counts(line)).map(str::to_owned).collect())
    }

    /// Files that are missing or have another size or checksum.
    fn zip_differences(&self, archive: &Archive, host: &Host<'_>) -> Result<Vec<String>, Fault> {
        let done = run(host, vec!["unzip".to_owned(), "-lv".to_owned(), archive.path.display().to_string()])?;
        let mut differences = Vec::new();
        for (name, (size, crc)) in zip_entries(&text(&done.stdout)) {
            if !self.wants(&name) {
                continue;
            }
            let path = Path::new(&self.dest).join(&name);
            let same = match fs::metadata(&path) {
                Ok(meta) if name.ends_with('/') => meta.is_dir(),
                Ok(meta) if meta.len() == size => crc_of(&path).is_ok_and(|there| there == crc),
                _ => false,
            };
            if !same {
                let word = if path.exists() { "differs" } else { "is missing" };
                differences.push(format!("{name} {word}"));
            }
        }
        Ok(differences)
    }
}

/// Length and CRC of each line of `unzip -lv`.
fn zip_entries(listing: &str) -> BTreeMap<String, (u64, u32)> {
    let entry = |line: &str| {
        let mut rest = line;
        let mut fields = Vec::new();
        for _ in 0..7 {
            let trimmed = rest.trim_start();
            let (field, tail) = trimmed.split_once(char::is_whitespace)?;
            fields.push(field);
            rest = tail;
        }
        let (size, crc) = (fields.first()?.parse().ok()?, u32::from_str_radix(fields.get(6)?, 16).ok()?);
        // Two blanks stand before the name, which may start with one itself.
        Some((rest.strip_prefix(' ').unwrap_or(rest).to_owned(), (size, crc)))
    };
    listing.lines().filter_map(entry).collect()
}

fn crc_of(path: &Path) -> std::io::Result<u32> {
    let mut file = fs::File::open(path)?;
    let mut crc = flate2::Crc::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(crc.sum()),
            n => crc.update(&buffer[..n]),
        }
    }
}

fn run(host: &Host<'_>, argv: Vec<String>) -> Result<Finished, Fault> {
    // Messages are compared, so they have to be English.
    let environment =
        ["LANG", "LC_ALL", "LC_MESSAGES"].map(|n| (n.to_owned(), "C.UTF-8".to_owned())).to_vec();
    let program = argv.first().cloned().unwrap_or_default();
    host.runner.run(&Command { argv, environment, ..Command::default() }).map_err(|fault| {
        if fault.values.get("rc") == Some(&Value::from(2)) {
            Fault::new(format!("Unable to find required '{program}' binary in the path"))
        } else {
            fault
        }
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use serde_json::{Value, json};

    use crate::testing::{changes_once, run, temp_dir};

    #[test]
    fn tar_and_zip_are_unpacked_once() {
        let dir = temp_dir();
        std::fs::create_dir_all(dir.path().join("in/sub")).expect("creates");
        std::fs::write(dir.path().join("in/a b"), "x\n").expect("writes");
        std::fs::write(dir.path().join("in/sub/c"), "y\n").expect("writes");
        let done = |ok: std::io::Result<std::process::Output>| ok.is_ok_and(|o| o.status.success());
        let input = dir.at("in");
        assert!(done(Process::new("tar").args(["-czf", &dir.at("t"), "-C", &input, "."]).output()));
        let zipped = done(Process::new("zip").args(["-qr", &dir.at("z"), "."]).current_dir(&input).output());
        for (src, handler) in [("t", "TgzArchive"), ("z.zip", "ZipArchive")] {
            if handler == "ZipArchive" && !(zipped && done(Process::new("unzip").arg("-v").output())) {
                continue;
            }
            let out = dir.at(&format!("out-{src}"));
            std::fs::create_dir(&out).expect("creates");
            let args = json!({"src": dir.at(src), "dest": out, "remote_src": true, "list_files": true});
            let result =
                changes_once("unarchive", &args, || std::fs::read_dir(&out).is_ok_and(|d| d.count() == 0));
            assert_eq!(result["handler"], handler);
            assert!(
                result["files"]
                    .as_array()
                    .is_some_and(|f| f.iter().any(|n| n.as_str().is_some_and(|n| n.ends_with("a b"))))
            );
            assert_eq!(std::fs::read_to_string(format!("{out}/sub/c")).expect("there"), "y\n");
            std::fs::write(format!("{out}/a b"), "z\n").expect("writes");
            changes_once("unarchive", &args, || true);
        }
    }

    #[test]
    fn options_choose_and_wrong_sources_are_told() {
        let dir = temp_dir();
        std::fs::create_dir_all(dir.path().join("top/in")).expect("creates");
        std::fs::create_dir_all(dir.path().join("out")).expect("creates");
        for name in ["a", "b"] {
            std::fs::write(dir.path().join("top/in").join(name), name).expect("writes");
        }
        let made = Process::new("tar").args(["-cJf", &dir.at("t"), "-C", &dir.at("top"), "in"]).status();
        assert!(made.is_ok_and(|s| s.success()));
        let args: Value = json!({
            "src": dir.at("t"), "dest": dir.at("out"), "exclude": ["*/b"], "extra_opts": ["--strip-components=1"], "mode": "0600",
        });
        let result = run("unarchive", args, false);
        assert_eq!(result["changed"], true, "{result:#}");
        assert!(dir.path().join("out/a").exists() && !dir.path().join("out/b").exists());
        let skipped =
            run("unarchive", json!({"src": "/no", "dest": dir.at("out"), "creates": dir.at("out/a")}), false);
        assert_eq!((&skipped["changed"], &skipped["skipped"]), (&json!(false), &json!(true)));
        let missing = run("unarchive", json!({"src": "/no/t.tar", "dest": dir.at("out")}), false);
        assert_eq!(missing["msg"], "Source '/no/t.tar' does not exist");
        let nowhere = run("unarchive", json!({"src": dir.at("t"), "dest": "/no/such"}), false);
        assert_eq!(nowhere["msg"], "dest '/no/such' must be an existing dir");
    }
}
