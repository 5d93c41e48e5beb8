//! The web server on the bridge, from which hosts without a way out download: its content, its process, its answers.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

use super::cgroup::Cgroup;
use super::error::LabError;
use super::labs::Lab;
use super::progress::{LabEvent, Progress};
use super::spec::{WwwSource, WwwSpec};
use super::tools::{last_line_of, program};

/// Hosts of one lab download at the same time; each request waits for one of these.
const WORKERS: usize = 8;
const START_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// Builds the content if it's out of date and starts the server if it doesn't run.
pub(super) fn ensure(
    lab: &Lab,
    www: &WwwSpec,
    cgroup: &Cgroup,
    progress: &dyn Progress,
) -> Result<(), LabError> {
    let folder = match &www.source {
        WwwSource::Dir(folder) => fs_err::canonicalize(folder)?,
        WwwSource::Build(script) => build(lab, script, progress)?,
    };
    let address = SocketAddr::from((lab.spec().network.gateway(), www.port));
    if cgroup.is_alive() && TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok() {
        return Ok(());
    }
    cgroup.kill()?;
    start(lab, &folder, address, cgroup)?;
    progress.on_event(&LabEvent::WwwReady { url: format!("http://{address}/") });
    Ok(())
}

fn start(lab: &Lab, folder: &Path, address: SocketAddr, cgroup: &Cgroup) -> Result<(), LabError> {
    let groups: Vec<_> = cgroup.create()?.iter().map(|group| group.display().to_string()).collect();
    let log = lab.folder().join("www.log");
    let output = fs_err::File::create(&log)?.into_parts().0;
    const ENTER: &str = "for group in $1; do echo $$ >\"$group/cgroup.procs\"; done; shift; exec \"$@\"";
    program("setsid")
        .args(["--fork", "/bin/sh", "-c", ENTER, "lab-www", &groups.join(" ")])
        .arg(lab.program())
        .args(["lab", "serve", "--listen", &address.to_string(), "--dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(output)
        .status()?;
    let deadline = Instant::now() + START_DEADLINE;
    let begun = Instant::now();
    while TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_err() {
        let ended = begun.elapsed() > Duration::from_secs(1) && !cgroup.is_alive();
        if ended || Instant::now() > deadline {
            return Err(LabError::WwwSilent { address: address.to_string(), last: last_line_of(&log) });
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Lets the script fill the folder. It's called each time, and does nothing when the folder is up to date: only the script
/// knows what the content is made from.
fn build(lab: &Lab, script: &Path, progress: &dyn Progress) -> Result<PathBuf, LabError> {
    let folder = lab.folder().join("www");
    if !script.exists() {
        fs_err::create_dir_all(&folder)?;
        let note = format!("`{}` isn't there, so the web server has nothing to serve", script.display());
        progress.on_event(&LabEvent::Note(&note));
        return Ok(folder);
    }
    if !folder.exists() {
        progress.on_event(&LabEvent::WwwBuilding);
    }
    let script = fs_err::canonicalize(script)?;
    let log = lab.folder().join("www-build.log");
    let output = fs_err::File::create(&log)?.into_parts().0;
    // The script's own PATH is the user's: it may need tools from anywhere.
    let status = std::process::Command::new(&script)
        .arg(&folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .map_err(|error| LabError::WwwFailed {
            script: script.clone(),
            last: error.to_string(),
            log: log.clone(),
        })?;
    if !status.success() {
        return Err(LabError::WwwFailed { script, last: last_line_of(&log), log });
    }
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}

/// Serves a folder until the process ends. Files only: no listing, nothing outside the folder, not even by a link.
pub fn serve(folder: &Path, listen: SocketAddr) -> Result<(), LabError> {
    let root = fs_err::canonicalize(folder)?;
    let server = Server::http(listen)
        .map_err(|source| LabError::Listen { address: listen.to_string(), source })
        .map(Arc::new)?;
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (server, folder, root) = (Arc::clone(&server), folder.to_owned(), root.clone());
            std::thread::spawn(move || {
                for request in server.incoming_requests() {
                    answer(&folder, &root, request);
                }
            })
        })
        .collect();
    for worker in workers {
        // A worker ends only when the listener is gone, and then all do.
        drop(worker.join());
    }
    Ok(())
}

fn answer(folder: &Path, first_root: &Path, request: Request) {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return refuse(request, 405);
    }
    // The content may have been built anew, and then the folder is another one under the same name.
    let root = fs_err::canonicalize(folder).unwrap_or_else(|_| first_root.to_owned());
    let Some(path) = inside(&root, request.url()) else { return refuse(request, 404) };
    let Ok(file) = fs_err::File::open(path) else { return refuse(request, 404) };
    let Ok(metadata) = file.metadata() else { return refuse(request, 404) };
    let mut headers = vec![header("Content-Type", "application/octet-stream")];
    if let Some(time) = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok()) {
        headers.push(header("Last-Modified", &http_date(time)));
    }
    let length = usize::try_from(metadata.len()).ok();
    let response =
        Response::new(StatusCode(200), headers.into_iter().flatten().collect(), file, length, None)
            // The length must be told for files of any size; the library would send large ones in chunks.
            .with_chunked_threshold(usize::MAX);
    // A host that hung up has no use for an answer.
    drop(request.respond(response));
}

fn refuse(request: Request, status: u16) {
    drop(request.respond(Response::empty(status)));
}

fn header(name: &str, value: &str) -> Option<Header> {
    Header::from_bytes(name, value).ok()
}

fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The regular file that a URL names, if it's in the folder.
fn inside(root: &Path, url: &str) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let bytes = percent_decoded(path)?;
    let relative = Path::new(OsStr::from_bytes(&bytes)).strip_prefix("/").ok()?;
    if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return None;
    }
    let path = fs_err::canonicalize(root.join(relative)).ok()?;
    (path.starts_with(root) && path.is_file()).then_some(path)
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let value = digit()? * 16 + digit()?;
        decoded.push(u8::try_from(value).ok()?);
    }
    (!decoded.contains(&0)).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_inside_the_folder_are_served() {
        let outside = tempfile::tempdir().expect("a folder");
        fs_err::write(outside.path().join("secret"), "x").expect("a file");
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs_err::canonicalize(folder.path()).expect("its path");
        fs_err::create_dir(root.join("a")).expect("a folder inside");
        fs_err::write(root.join("a/b c"), "x").expect("a file inside");
        std::os::unix::fs::symlink(outside.path().join("secret"), root.join("link")).expect("a link");
        assert_eq!(inside(&root, "/a/b%20c?x=1"), Some(root.join("a/b c")));
        let escape = format!("/..{}/secret", outside.path().display());
        for url in [
            "/a",
            "/",
            "/a/missing",
            "/link",
            "/../etc/passwd",
            "/%2e%2e/etc/passwd",
            "//etc/passwd",
            "/%zz",
            &escape,
        ] {
            assert_eq!(inside(&root, url), None, "{url}");
        }
    }

    #[test]
    fn dates_are_written_as_http_wants_them() {
        let time = "1994-11-06T08:49:37Z".parse().expect("a time");
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
