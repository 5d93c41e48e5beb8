//! Editing a text file that a module keeps, with the shared file attributes.
//!
//! Owns: what differs in content and attributes, writing or removing it, the diff. Must not: know the format inside.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::root;
use crate::files::attributes::{AttributeChange, Attributes};
use crate::files::diff;
use crate::files::write::{Content, Write, write};
use crate::modules::{Fault, Host};

/// A change of one file.
#[derive(Debug, PartialEq)]
pub struct Edit {
    path: String,
    before: String,
    /// The new content; `None`: the file goes.
    after: Option<String>,
    rewrite: bool,
    attributes: AttributeChange,
}

impl Edit {
    /// Compares a file with what it should be; `None` when nothing is to do.
    ///
    /// # Errors
    /// When the attributes name unknown accounts.
    pub fn of(
        path: &str,
        after: Option<String>,
        attributes: &Attributes,
        host: &Host<'_>,
    ) -> Result<Option<Self>, Fault> {
        let there = fs::metadata(root::at(path)).ok();
        let before = super::text(path);
        let rewrite = before != after;
        let attributes = match &there {
            Some(meta) if after.is_some() => attributes.plan_for(&root::at(path), meta, host)?,
            _ => AttributeChange::default(),
        };
        if !rewrite && attributes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            path: path.to_owned(),
            before: before.unwrap_or_default(),
            after,
            rewrite,
            attributes,
        }))
    }

    /// The entry for `--diff`.
    #[must_use]
    pub fn diff(&self) -> Value {
        if self.rewrite {
            let after = self.after.as_deref().unwrap_or_default();
            diff::text(&self.path, self.before.as_bytes(), after.as_bytes())
        } else {
            self.attributes.diff(Path::new(&self.path))
        }
    }

    /// Makes the change. A new file gets `mode` unless the attributes say another. Gives the backup's path.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn apply(
        self,
        attributes: &Attributes,
        mode: &str,
        backup: bool,
        host: &Host<'_>,
    ) -> Result<Option<String>, Fault> {
        let named = root::at(&self.path);
        // Written through a link: what it points at is the file people edit.
        let path = fs::canonicalize(&named).unwrap_or(named);
        if !self.rewrite {
            self.attributes.apply(&path, host)?;
            return Ok(None);
        }
        let Some(after) = self.after else {
            let saved =
                if backup && path.exists() { Some(crate::files::write::backup(&path)?) } else { None };
            fs::remove_file(&path).map_err(|e| Fault::io("remove", &path, &e))?;
            return Ok(saved);
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| Fault::io("make", folder, &e))?;
        }
        let mut attributes = attributes.clone();
        if attributes.mode.is_none() && !path.exists() {
            attributes.mode = Some(mode.to_owned());
        }
        write(
            &Write {
                path: &path,
                content: Content::Bytes(after.as_bytes()),
                attributes: &attributes,
                validate: None,
                backup,
            },
            host,
        )
    }
}
