//! Options of template files and their `#jinja2:` header.
//!
//! Owns: delimiters, whitespace rules, newlines. Must not: read files.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use minijinja::syntax::SyntaxConfig;

use super::error::{ErrorKind, R, TemplateError, near};
use super::program::syntax;

/// How a template file is read; the defaults are those of Ansible's `template`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileOptions {
    pub trim_blocks: bool,
    pub lstrip_blocks: bool,
    /// `\n`, `\r` or `\r\n`.
    pub newline_sequence: String,
    pub keep_trailing_newline: bool,
    pub block_start_string: String,
    pub block_end_string: String,
    pub variable_start_string: String,
    pub variable_end_string: String,
    pub comment_start_string: String,
    pub comment_end_string: String,
    pub line_statement_prefix: Option<String>,
    pub line_comment_prefix: Option<String>,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            trim_blocks: true,
            lstrip_blocks: false,
            newline_sequence: "\n".to_owned(),
            keep_trailing_newline: false,
            block_start_string: "{%".to_owned(),
            block_end_string: "%}".to_owned(),
            variable_start_string: "{{".to_owned(),
            variable_end_string: "}}".to_owned(),
            comment_start_string: "{#".to_owned(),
            comment_end_string: "#}".to_owned(),
            line_statement_prefix: None,
            line_comment_prefix: None,
        }
    }
}

/// The file being rendered: what its includes obey and where they are looked for last.
#[derive(Debug, Clone)]
pub(crate) struct FileContext {
    pub(super) name: String,
    pub(super) folder: Option<PathBuf>,
    pub(super) options: Arc<FileOptions>,
}

impl Default for FileContext {
    fn default() -> Self {
        // Every rendering begins with it, and hardly any looks at it.
        static USUAL: LazyLock<Arc<FileOptions>> = LazyLock::new(Arc::default);
        Self { name: String::new(), folder: None, options: Arc::clone(&USUAL) }
    }
}

const HEADER: &str = "#jinja2:";

const KEYS: &[&str] = &[
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
];

impl FileOptions {
    pub(super) fn syntax(&self) -> R<SyntaxConfig> {
        let mut builder = SyntaxConfig::builder();
        builder
            .block_delimiters(self.block_start_string.clone(), self.block_end_string.clone())
            .variable_delimiters(self.variable_start_string.clone(), self.variable_end_string.clone())
            .comment_delimiters(self.comment_start_string.clone(), self.comment_end_string.clone())
            .trim_blocks(self.trim_blocks)
            .lstrip_blocks(self.lstrip_blocks)
            .keep_trailing_newline(self.keep_trailing_newline);
        if let Some(prefix) = &self.line_statement_prefix {
            builder.line_statement_prefix(prefix.clone());
        }
        if let Some(prefix) = &self.line_comment_prefix {
            builder.line_comment_prefix(prefix.clone());
        }
        builder.build().map_err(syntax)
    }

    /// Reads `#jinja2: key: value, ...` in the first line; gives the text after it.
    pub(super) fn with_header(mut self, text: &str) -> R<(&str, Self)> {
        let Some(rest) = text.strip_prefix(HEADER) else { return Ok((text, self)) };
        let (line, body) = rest.split_once('\n').unwrap_or((rest, ""));
        for pair in line.split(',') {
            let Some((key, value)) = pair.split_once(':') else {
                return Err(TemplateError::new(
                    ErrorKind::Syntax,
                    format!("`{}` in the `#jinja2:` header is not `key: value`", pair.trim()),
                ));
            };
            self.override_with(key.trim(), unquoted(value.trim()))?;
        }
        Ok((body, self))
    }

    /// Sets one of `*_start_string` and `*_end_string`; says whether there is an option of that name.
    pub fn set_delimiter(&mut self, name: &str, value: &str) -> bool {
        name.ends_with("_string") && self.override_with(name, value).is_ok()
    }

    fn override_with(&mut self, key: &str, value: &str) -> R<()> {
        let flag = || match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "on" => Ok(true),
            "false" | "no" | "0" | "off" => Ok(false),
            _ => Err(TemplateError::new(
                ErrorKind::Syntax,
                format!("`{key}` in the `#jinja2:` header is true or false, not `{value}`"),
            )),
        };
        let owned = value.to_owned();
        match key {
            "trim_blocks" => self.trim_blocks = flag()?,
            "lstrip_blocks" => self.lstrip_blocks = flag()?,
            "keep_trailing_newline" => self.keep_trailing_newline = flag()?,
            "newline_sequence" => self.newline_sequence = value.replace("\\r", "\r").replace("\\n", "\n"),
            "block_start_string" => self.block_start_string = owned,
            "block_end_string" => self.block_end_string = owned,
            "variable_start_string" => self.variable_start_string = owned,
            "variable_end_string" => self.variable_end_string = owned,
            "comment_start_string" => self.comment_start_string = owned,
            "comment_end_string" => self.comment_end_string = owned,
            "line_statement_prefix" => self.line_statement_prefix = Some(owned),
            "line_comment_prefix" => self.line_comment_prefix = Some(owned),
            _ => {
                let near = near(key, KEYS.iter().copied());
                return Err(TemplateError::new(
                    ErrorKind::Syntax,
                    format!("the `#jinja2:` header has no option `{key}`"),
                )
                .or_help(near.map(|near| format!("did you mean `{near}`?"))));
            }
        }
        Ok(())
    }
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}
