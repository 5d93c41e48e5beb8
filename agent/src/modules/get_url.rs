//! `get_url`: brings a file from the web to the host.
//!
//! Owns: when to download, checksums, the write. Must not: know TLS or proxies (see `http`).

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::http::{self, Answer, Asked, HttpArgs};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, AttributeChange, Attributes};
use crate::files::write::{Content, Write, write};
use crate::files::{checksum, info};
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] =
    &[Opt::path("dest").required(), Opt::bool("backup"), Opt::str("checksum"), Opt::path("tmp_dest")];

/// See the module's documentation.
pub struct GetUrl;

/// Arguments of `get_url`.
#[derive(Debug, Deserialize)]
pub struct Args {
    #[serde(flatten)]
    http: HttpArgs,
    dest: String,
    #[serde(default)]
    backup: bool,
    checksum: Option<String>,
    tmp_dest: Option<String>,
    #[serde(flatten)]
    attributes: Attributes,
}

/// What `inspect` has found, or downloaded.
pub enum Change {
    /// A file that is there already and only changes its attributes.
    Attributes(PathBuf, AttributeChange, Map<String, Value>),
    /// Downloaded, and different from what is there.
    Write { dest: PathBuf, download: Download, values: Map<String, Value> },
    /// Check mode stops here.
    Predicted,
}

/// A downloaded file that goes unless it was moved into place.
pub struct Download {
    path: PathBuf,
}

impl Drop for Download {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Module for GetUrl {
    const SPEC: Spec =
        Spec { options: &[http::OPTIONS, OPTIONS, attributes::OPTIONS], ..Spec::new("get_url") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let dest = PathBuf::from(&args.dest);
        let wanted = args.wanted_checksum(host)?;
        let is_dir = dest.is_dir();
        let mut force = args.http.force;
        let mut since = None;
        if !is_dir && let Ok(meta) = fs::metadata(&dest) {
            if let Some((algorithm, sum)) = wanted.as_ref().filter(|_| !force) {
                let there = checksum::of_file(algorithm, &dest).map_err(|e| Fault::io("read", &dest, &e))?;
                if there == *sum {
                    return args.only_attributes(dest, "file already exists", host);
                }
                // The host's file may be newer than the right one.
                force = true;
            }
            since = meta.modified().ok().filter(|_| !force);
        } else if host.check {
            let dest = if is_dir { dest.join(http::file_name(&args.http.url, None)) } else { dest.clone() };
            if !dest.exists() {
                let predicted = Outcome::changed()
                    .with("dest", dest.display().to_string())
                    .with("url", args.http.url.clone());
                return Ok(Inspection::Differs { change: Change::Predicted, predicted });
            }
        }
        let parent = if is_dir {
            &dest
        } else {
            dest.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."))
        };
        if !parent.is_dir() {
            return Err(args.fault(format!("Destination {} does not exist", parent.display())));
        }
        args.download(dest.clone(), is_dir, since, wanted, host)
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        match change {
            Change::Predicted => Ok(Outcome::changed()),
            Change::Attributes(path, change, mut values) => {
                change.apply(&path, host)?;
                values.extend(info::path_info(&path));
                Ok(Outcome { changed: true, values, ..Outcome::default() })
            }
            Change::Write { dest, download, mut values } => {
                let one = Write {
                    path: &dest,
                    content: Content::Taken(&download.path),
                    attributes: &args.attributes,
                    validate: None,
                    backup: args.backup,
                };
                if let Some(backup) = write(&one, host)? {
                    values.insert("backup_file".to_owned(), backup.into());
                }
                if let Ok(sum) = checksum::of_file("md5", &dest) {
                    values.insert("md5sum".to_owned(), sum.into());
                }
                values.extend(info::path_info(&dest));
                Ok(Outcome { changed: true, values, ..Outcome::default() })
            }
        }
    }
}

impl Args {
    fn fault(&self, msg: String) -> Fault {
        Fault::new(msg).with("url", self.http.url.clone()).with("dest", self.dest.clone())
    }

    fn asked(&self, headers: Vec<(String, String)>) -> Asked<'static> {
        Asked { method: "GET", body: None, headers, redirects: true, usual_timeout: 10 }
    }

    /// The checksum that the file must have: the algorithm and the digits, which may stand in a file on the web.
    fn wanted_checksum(&self, host: &Host<'_>) -> Result<Option<(String, String)>, Fault> {
        let Some(text) = self.checksum.as_deref().filter(|c| !c.trim().is_empty()) else { return Ok(None) };
        let Some((algorithm, sum)) = text.split_once(':') else {
            return Err(
                self.fault("The checksum parameter has to be in format <algorithm>:<checksum>".to_owned())
            );
        };
        let algorithm = algorithm.trim().to_lowercase();
        if checksum::algorithm(&algorithm).is_none() {
            return Err(self.fault(format!("`{algorithm}` is not a checksum algorithm that is known here")));
        }
        let sum = sum.trim();
        if !sum.contains("://") {
            let sum: String = sum.chars().filter(char::is_ascii_hexdigit).collect();
            return Ok(Some((algorithm, sum.to_lowercase())));
        }
        let mut text = String::new();
        if let Some(path) = sum.strip_prefix("file://") {
            text = fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?;
        } else {
            let mut http = self.http.clone();
            sum.clone_into(&mut http.url);
            let answer = http.ask(&self.asked(Vec::new()), host)?;
            if answer.status >= 400 {
                return Err(
                    self.fault(format!("cannot read the checksum file `{sum}`: {}", answer.message()))
                );
            }
            let read = answer.body().take(16 << 20).read_to_string(&mut text);
            read.map_err(|e| self.fault(format!("cannot read the checksum file `{sum}`: {e}")))?;
        }
        let name = http::file_name(&self.http.url, None);
        match sum_in(&text, &name) {
            Some(digits) => Ok(Some((algorithm, digits))),
            None => Err(self.fault(format!("Unable to find a checksum for file '{name}' in '{sum}'"))),
        }
    }

    fn only_attributes(
        &self,
        dest: PathBuf,
        msg: &str,
        host: &Host<'_>,
    ) -> Result<Inspection<Change>, Fault> {
        let mut values = Map::new();
        values.insert("dest".to_owned(), dest.display().to_string().into());
        values.insert("url".to_owned(), self.http.url.clone().into());
        values.insert("msg".to_owned(), msg.into());
        let change = self.attributes.plan(&dest, true, host)?;
        if change.is_empty() {
            values.extend(info::path_info(&dest));
            return Ok(Inspection::Same(Outcome { values, ..Outcome::default() }));
        }
        let predicted = Outcome {
            changed: true,
            values: values.clone(),
            diff: vec![change.diff(&dest)],
            ..Outcome::default()
        };
        Ok(Inspection::Differs { change: Change::Attributes(dest, change, values), predicted })
    }

    fn download(
        &self,
        dest: PathBuf,
        is_dir: bool,
        since: Option<SystemTime>,
        wanted: Option<(String, String)>,
        host: &Host<'_>,
    ) -> Result<Inspection<Change>, Fault> {
        let began = Instant::now();
        let mut headers = Vec::new();
        match since.and_then(|at| Timestamp::try_from(at).ok()) {
            Some(at) => {
                let date = at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
                headers.push(("if-modified-since".to_owned(), date));
            }
            None if self.http.force => headers.push(("cache-control".to_owned(), "no-cache".to_owned())),
            None => {}
        }
        let answer = self.http.ask(&self.asked(headers), host).map_err(|fault| {
            self.fault(fault.msg.clone())
                .with("status_code", -1)
                .with("response", fault.msg)
                .with("elapsed", began.elapsed().as_secs())
        })?;
        let message = answer.message();
        let status = answer.status;
        if status == 304 {
            return self.only_attributes(dest, "HTTP Error 304: Not Modified", host);
        }
        if status != 200 {
            return Err(self
                .fault("Request failed".to_owned())
                .with("status_code", status)
                .with("response", message)
                .with("elapsed", began.elapsed().as_secs()));
        }
        let dest = if is_dir {
            dest.join(http::file_name(&answer.url, answer.header("content-disposition")))
        } else {
            dest
        };
        let folder = match &self.tmp_dest {
            Some(folder) => PathBuf::from(folder),
            None => dest.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new(".")).to_path_buf(),
        };
        let download = (!host.check).then(|| temp_in(&folder)).transpose()?;
        let sums = self.receive(answer, download.as_ref(), wanted.as_ref().map(|(a, _)| a.as_str()), host)?;
        if let Some((algorithm, sum)) = &wanted
            && sums.wanted != *sum
        {
            let shown = dest.display();
            let it_was = &sums.wanted;
            return Err(self
                .fault(format!("The checksum for {shown} did not match {sum}; it was {it_was}."))
                .with("algorithm", algorithm.clone()));
        }
        let there = checksum::of_file("sha1", &dest).ok();
        if there.as_ref() == Some(&sums.sha1) {
            return self.only_attributes(dest, &message, host);
        }
        let mut values = Map::new();
        let mut put = |name: &str, value: Value| {
            values.insert(name.to_owned(), value);
        };
        put("dest", dest.display().to_string().into());
        put("url", self.http.url.clone().into());
        put("msg", message.into());
        put("status_code", status.into());
        put("elapsed", began.elapsed().as_secs().into());
        put("checksum_src", sums.sha1.into());
        put("checksum_dest", there.into());
        put("size", sums.size.into());
        if let Some(download) = &download {
            put("src", download.path.display().to_string().into());
        }
        let predicted = Outcome { changed: true, values: values.clone(), ..Outcome::default() };
        let change = match download {
            Some(download) => Change::Write { dest, download, values },
            None => Change::Predicted,
        };
        Ok(Inspection::Differs { change, predicted })
    }

    /// Reads the body into the file, if there is one, and into the checksums.
    fn receive(
        &self,
        answer: Answer,
        download: Option<&Download>,
        algorithm: Option<&str>,
        host: &Host<'_>,
    ) -> Result<Sums, Fault> {
        let known = |name: &str| checksum::algorithm(name).ok_or_else(|| Fault::new(format!("no `{name}`")));
        let (mut sha1, mut wanted) = (known("sha1")?, known(algorithm.unwrap_or("sha1"))?);
        let mut file = match download {
            Some(download) => Some(
                File::options()
                    .write(true)
                    .open(&download.path)
                    .map_err(|e| Fault::io("write", &download.path, &e))?,
            ),
            None => None,
        };
        let mut body = answer.body();
        let mut buffer = vec![0; 128 << 10];
        let mut size = 0_u64;
        loop {
            if host.runner.cancelled() {
                return Err(Fault::new("the step was cancelled"));
            }
            let got = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.fault(format!("the download broke off: {e}"))),
            };
            size += got as u64;
            sha1.update(&buffer[..got]);
            wanted.update(&buffer[..got]);
            if let (Some(file), Some(download)) = (&mut file, download) {
                file.write_all(&buffer[..got]).map_err(|e| Fault::io("write", &download.path, &e))?;
            }
        }
        Ok(Sums { sha1: checksum::hex(&sha1.finalize()), wanted: checksum::hex(&wanted.finalize()), size })
    }
}

struct Sums {
    sha1: String,
    wanted: String,
    size: u64,
}

fn temp_in(folder: &Path) -> Result<Download, Fault> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = folder.join(format!(".dcos-play-download-{}-{next}", std::process::id()));
    let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
    made.map_err(|e| Fault::io("write a download into", folder, &e))?;
    Ok(Download { path })
}

/// The digits for a file in a list of checksums; a list of one word needs no name.
fn sum_in(text: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    if let [line] = lines.as_slice()
        && !line.contains(char::is_whitespace)
    {
        return Some(line.to_lowercase());
    }
    lines.iter().find_map(|line| {
        let (sum, file) = line.split_once(char::is_whitespace)?;
        let file = file.trim().trim_start_matches('*').trim_start_matches("./");
        (file == name || file.rsplit('/').next() == Some(name)).then(|| sum.to_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::http::testing::{answer, serve};
    use super::sum_in;
    use crate::testing::{run, temp_dir};

    const SUM: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_is_downloaded_once_and_known_by_its_checksum() {
        let dir = temp_dir();
        let (url, asked) = serve(vec![answer("200 OK", "", "abc")]);
        let args = json!({"url": format!("{url}/f"), "dest": dir.at("f"), "checksum": SUM, "mode": "0640"});
        assert_eq!(run("get_url", args.clone(), true)["changed"], true);
        assert!(!dir.path().join("f").exists());
        let result = run("get_url", args.clone(), false);
        assert_eq!(
            (&result["changed"], &result["mode"], &result["size"]),
            (&json!(true), &json!("0640"), &json!(3))
        );
        assert_eq!((&result["status_code"], &result["msg"]), (&json!(200), &json!("OK (3 bytes)")));
        assert!(asked.recv().expect("asked").contains("ansible-httpget"));
        // No more answers are served: nothing is asked.
        let result = run("get_url", args, false);
        assert_eq!((&result["changed"], &result["msg"]), (&json!(false), &json!("file already exists")));
        assert_eq!(std::fs::read_dir(dir.path()).expect("reads").count(), 1, "no download is left");
    }

    #[test]
    fn the_server_may_say_not_modified() {
        let dir = temp_dir();
        let (url, asked) = serve(vec![
            answer("200 OK", "", "abc"),
            answer("304 Not Modified", "", ""),
            answer("200 OK", "", "abc"),
            answer("200 OK", "", "new"),
            answer("200 OK", "", "new"),
        ]);
        let args = json!({"url": format!("{url}/f"), "dest": dir.path()});
        assert_eq!(run("get_url", args, false)["dest"], dir.at("f"));
        let args = json!({"url": format!("{url}/f"), "dest": dir.at("f")});
        assert_eq!(run("get_url", args.clone(), false)["changed"], false);
        assert_eq!(run("get_url", args.clone(), false)["changed"], false, "the same content");
        assert_eq!(run("get_url", args.clone(), true)["changed"], true, "check mode compares the content");
        assert_eq!(std::fs::read_to_string(dir.at("f")).expect("reads"), "abc");
        assert_eq!(run("get_url", args, false)["changed"], true);
        assert!(
            asked.try_iter().nth(1).is_some_and(|r| r.contains("if-modified-since: ") && r.contains(" GMT"))
        );
    }

    #[test]
    fn failures_are_told_and_nothing_is_written() {
        let dir = temp_dir();
        let (url, _asked) = serve(vec![answer("404 Not Found", "", ""), answer("200 OK", "", "other")]);
        let args = json!({"url": format!("{url}/f"), "dest": dir.at("f"), "checksum": SUM});
        let result = run("get_url", args.clone(), false);
        assert_eq!((&result["msg"], &result["status_code"]), (&json!("Request failed"), &json!(404)));
        assert_eq!(result["response"], "HTTP Error 404: Not Found");
        let result = run("get_url", args, false);
        assert!(result["msg"].as_str().is_some_and(|m| m.contains("did not match")), "{}", result["msg"]);
        assert_eq!(std::fs::read_dir(dir.path()).expect("reads").count(), 0);
    }

    #[test]
    fn checksum_files_name_the_file_or_are_one_word() {
        assert_eq!(sum_in("AB\n", "f").as_deref(), Some("ab"));
        assert_eq!(sum_in("1 *g\n2  ./f\n", "f").as_deref(), Some("2"));
        assert_eq!(sum_in("1 g\n2 h\n", "f"), None);
    }
}
