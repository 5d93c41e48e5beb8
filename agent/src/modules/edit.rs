//! What the modules that edit text files share.
//!
//! Owns: reading the file that is edited, and turning old and new content into a change. Must not: know how the new
//! content comes about.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Fault, Host, Inspection, Outcome};
use crate::files::attributes::{AttributeChange, Attributes};
use crate::files::write::{Content, Write, write};
use crate::files::{diff, real_path};

/// A file before it is edited.
pub(super) struct Before {
    /// With links resolved, so that they stay.
    pub(super) path: PathBuf,
    /// `None` when there is no file.
    pub(super) content: Option<Vec<u8>>,
}

/// What an edit will do.
pub struct Edit {
    path: PathBuf,
    content: Option<Vec<u8>>,
    attributes: AttributeChange,
    /// The result, but for the backup.
    pub(super) predicted: Outcome,
}

/// How the file is written.
pub(super) struct How<'a> {
    pub(super) attributes: &'a Attributes,
    pub(super) validate: Option<&'a str>,
    pub(super) backup: bool,
}

/// Reads the file. One that doesn't exist is an error unless it may be created.
pub(super) fn read(path: &str, create: bool) -> Result<Before, Fault> {
    let real = real_path(Path::new(path));
    if real.is_dir() {
        return Err(Fault::new(format!("Path {path} is a directory !")).with("rc", 256));
    }
    match fs::read(&real) {
        Ok(content) => Ok(Before { path: real, content: Some(content) }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && create => {
            Ok(Before { path: real, content: None })
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(Fault::new(format!("Path {path} does not exist !")).with("rc", 257))
        }
        Err(e) => Err(Fault::io("read", path, &e)),
    }
}

/// Compares old and new content, and the attributes.
pub(super) fn inspect(
    before: Before,
    after: Option<Vec<u8>>,
    msg: &str,
    values: Outcome,
    how: &How<'_>,
    host: &Host<'_>,
) -> Result<Inspection<Edit>, Fault> {
    let mut predicted = values;
    let differs = after.as_ref().is_some_and(|after| before.content.as_ref() != Some(after));
    let attributes = match &before.content {
        Some(_) => how.attributes.plan(&before.path, true, host)?,
        None => AttributeChange::default(),
    };
    let shown = before.path.display().to_string();
    let mut messages = Vec::new();
    if differs {
        let old = before.content.as_deref().unwrap_or_default();
        let mut entry = diff::text(&shown, old, after.as_deref().unwrap_or_default());
        if !attributes.is_empty() {
            entry["after_header"] = format!("{shown} (content and file attributes)").into();
        }
        predicted.diff.push(entry);
        messages.push(msg);
    }
    if !attributes.is_empty() {
        predicted.diff.push(attributes.diff(&before.path));
        messages.push("ownership, perms or SE linux context changed");
    }
    predicted.changed = differs || !attributes.is_empty();
    predicted.values.insert("msg".to_owned(), Value::from(messages.join(" and ")));
    if !predicted.changed {
        return Ok(Inspection::Same(predicted));
    }
    let edit = Edit {
        path: before.path,
        content: after.filter(|_| differs),
        attributes,
        predicted: predicted.clone(),
    };
    Ok(Inspection::Differs { change: edit, predicted })
}

/// Writes the edited file. Gives the backup's path.
pub(super) fn apply(edit: &Edit, how: &How<'_>, host: &Host<'_>) -> Result<Option<String>, Fault> {
    let Some(content) = &edit.content else {
        edit.attributes.apply(&edit.path, host)?;
        return Ok(None);
    };
    if let Some(folder) = edit.path.parent()
        && !folder.exists()
    {
        fs::create_dir_all(folder).map_err(|e| Fault::io("create", folder, &e))?;
    }
    let one = Write {
        path: &edit.path,
        content: Content::Bytes(content),
        attributes: how.attributes,
        validate: how.validate,
        backup: how.backup,
    };
    write(&one, host)
}
