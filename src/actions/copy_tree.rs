//! `copy` of a whole folder.
//!
//! Owns: the walk and the order: folders first, so that empty ones and their modes arrive too. Must not: compare
//! contents; each file goes its own way through `transfer`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::local_files::{self, Payload};
use super::results::{checked, flag};
use super::transfer::{self, Sending};
use super::{Context, Done, Stop};

/// Deeper than any sane tree: a symbolic link that leads back up would never end otherwise.
const DEPTH: usize = 64;

/// Options that `file` and `copy` share.
const ATTRIBUTES: &[&str] =
    &["owner", "group", "attributes", "selevel", "serole", "setype", "seuser", "unsafe_writes"];

/// A folder to be copied.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// `src` ended with a slash: what is in it goes into `dest`, not the folder itself.
    pub(super) contents_only: bool,
    /// Links are copied as what they point to.
    pub(super) follow: bool,
    pub(super) decrypt: bool,
}

#[derive(Default)]
struct Found {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    /// Path and target.
    links: Vec<(PathBuf, PathBuf)>,
}

impl Tree {
    /// Sends all of it. The result sums up: `changed` when anything was.
    pub(super) async fn send(
        &self,
        context: &Context<'_>,
        args: Map<String, Json>,
        dest: &str,
        mode: Option<&str>,
    ) -> Result<Done, Stop> {
        let mut found = Found::default();
        self.walk(&self.root, 0, &mut found)?;
        let base = match self.root.file_name() {
            Some(name) if !self.contents_only => Path::new(dest).join(name),
            _ => PathBuf::from(dest),
        };
        let target = |local: &Path| {
            let below = local.strip_prefix(&self.root).unwrap_or(local);
            let full = if below.as_os_str().is_empty() { base.clone() } else { base.join(below) };
            full.to_string_lossy().trim_end_matches('/').to_owned()
        };
        let mut changed = false;
        let mut diff = Vec::new();
        let mut take = |result: &mut Map<String, Json>| {
            changed |= flag(result, "changed");
            if let Some(Json::Array(entries)) = result.remove("diff") {
                diff.extend(entries);
            }
        };
        for folder in &found.folders {
            let mut file = attributes(&args);
            file.insert("path".into(), target(folder).into());
            file.insert("state".into(), "directory".into());
            if let Some(mode) = directory_mode(&args, mode, folder)? {
                file.insert("mode".into(), mode.into());
            }
            take(&mut checked(context.remote.module("file", file, Vec::new()).await?)?);
        }
        for local in &found.files {
            let mut one = args.clone();
            let mut full = target(local);
            let mut basename = None;
            // In a dry run the folder may be one that was only foreseen: with a slash the host foresees it, too.
            if context.check
                && let Some((folder, name)) = full.rsplit_once('/')
            {
                basename = Some(name.to_owned());
                full = format!("{folder}/");
            }
            one.insert("dest".into(), full.into());
            if mode == Some("preserve") {
                one.insert("mode".into(), local_files::mode_of(local)?.into());
            }
            let payload = Payload::file(context, local, self.decrypt).await?;
            let sending = Sending { payload, basename, shown_source: local.display().to_string() };
            take(&mut transfer::send(context, one, &sending).await?.result);
        }
        for (local, points_to) in &found.links {
            let mut file = attributes(&args);
            file.insert("path".into(), target(local).into());
            file.insert("src".into(), points_to.display().to_string().into());
            file.insert("state".into(), "link".into());
            file.insert("force".into(), true.into());
            file.insert("follow".into(), false.into());
            take(&mut checked(context.remote.module("file", file, Vec::new()).await?)?);
        }
        let mut result = Map::new();
        result.insert("changed".into(), changed.into());
        result.insert("dest".into(), format!("{}/", dest.trim_end_matches('/')).into());
        result.insert("src".into(), self.root.display().to_string().into());
        if !diff.is_empty() {
            result.insert("diff".into(), diff.into());
        }
        Ok(Done { result, effects: Vec::new() })
    }

    fn walk(&self, folder: &Path, depth: usize, found: &mut Found) -> Result<(), Stop> {
        if depth > DEPTH {
            return Err(Stop::failed(format!(
                "`{}` is nested too deep: does a symbolic link lead back up?",
                folder.display()
            )));
        }
        let unreadable =
            |e: std::io::Error| Stop::failed(format!("cannot read a folder on the controller: {e}"));
        // With a trailing slash the folder itself is `dest`; it is made too, as Ansible does.
        found.folders.push(folder.to_owned());
        let mut entries = fs_err::read_dir(folder)
            .map_err(unreadable)?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable)?;
        entries.sort();
        for path in entries {
            if !self.follow && path.is_symlink() {
                let points_to = fs_err::read_link(&path).map_err(unreadable)?;
                found.links.push((path, points_to));
            } else if path.is_dir() {
                self.walk(&path, depth + 1, found)?;
            } else {
                found.files.push(path);
            }
        }
        Ok(())
    }
}

fn attributes(args: &Map<String, Json>) -> Map<String, Json> {
    args.iter()
        .filter(|(name, _)| ATTRIBUTES.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

/// The mode of folders: `directory_mode`, or the local one with `preserve`; else whatever the host gives.
fn directory_mode(
    args: &Map<String, Json>,
    mode: Option<&str>,
    folder: &Path,
) -> Result<Option<String>, Stop> {
    match args.get("directory_mode").and_then(Json::as_str) {
        Some("preserve") => local_files::mode_of(folder).map(Some),
        Some(mode) => Ok(Some(mode.to_owned())),
        None if mode == Some("preserve") => local_files::mode_of(folder).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::testing::Stage;

    fn tree() -> Stage {
        let stage =
            Stage::new().always("file", json!({"changed": false})).always("copy", json!({"changed": true}));
        stage.file("files/app/a.txt", "a");
        stage.file("files/app/sub/b.txt", "b");
        stage.folder("files/app/empty");
        stage
    }

    fn sent(stage: &Stage) -> Vec<String> {
        let name = |call: &crate::actions::testing::Call, key: &str| {
            call.args.get(key).and_then(Json::as_str).unwrap_or("-").to_owned()
        };
        stage
            .calls()
            .iter()
            .map(|c| format!("{} {}", c.module, name(c, if c.module == "copy" { "dest" } else { "path" })))
            .collect()
    }

    #[tokio::test]
    async fn a_folder_goes_below_dest_with_its_empty_folders() {
        let stage = tree();
        let result =
            stage.result("copy", json!({"src": "app", "dest": "/opt/", "directory_mode": "0755"})).await;
        assert_eq!(
            sent(&stage),
            [
                "file /opt/app",
                "file /opt/app/empty",
                "file /opt/app/sub",
                "copy /opt/app/a.txt",
                "copy /opt/app/sub/b.txt"
            ]
        );
        assert_eq!(stage.calls()[1].args["mode"], "0755");
        assert_eq!(result["changed"], true);
        assert_eq!(result["dest"], "/opt/");
    }

    #[tokio::test]
    async fn a_trailing_slash_copies_the_contents() {
        let stage = tree();
        stage.result("copy", json!({"src": "app/", "dest": "/opt/app2"})).await;
        assert_eq!(sent(&stage)[0], "file /opt/app2");
        assert_eq!(sent(&stage)[4], "copy /opt/app2/sub/b.txt");
        assert_eq!(stage.calls()[0].args.get("mode"), None);
    }

    #[tokio::test]
    async fn links_stay_links_only_when_asked() {
        let stage = tree();
        stage.link("files/app/l", "a.txt");
        stage.result("copy", json!({"src": "app/", "dest": "/o", "local_follow": false})).await;
        let link = stage.calls().pop().expect("a call");
        assert_eq!(
            Json::Object(link.args),
            json!({"path": "/o/l", "src": "a.txt", "state": "link", "force": true, "follow": false})
        );
        let followed = tree();
        followed.link("files/app/l", "a.txt");
        followed.result("copy", json!({"src": "app/", "dest": "/o"})).await;
        assert!(sent(&followed).contains(&"copy /o/l".to_owned()));
    }
}
