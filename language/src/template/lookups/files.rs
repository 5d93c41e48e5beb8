//! Lookups that read files and addresses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::Value;

use super::{Call, find_file};
use crate::template::FileOptions;
use crate::template::containers::Map;
use crate::template::error::R;
use crate::template::eval::Cx;
use crate::template::filters::{Dice, Seed, glob};
use crate::template::values::{is_list, is_map, item, items, map, pairs, text};

fn read(call: &Call, path: &Path) -> R<String> {
    let bytes = fs_err::read(path).map_err(|e| call.fail(e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn located(cx: &Cx, call: &Call, kind: &str, name: &str) -> R<PathBuf> {
    find_file(cx, kind, name).ok_or_else(|| {
        let places: Vec<String> = cx.scope.search().bases.iter().map(|b| b.display().to_string()).collect();
        call.fail(format!(
            "no file `{name}` in {}",
            if places.is_empty() { "the current folder".to_owned() } else { places.join(", ") }
        ))
    })
}

pub(super) fn file(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let (left, right) = (call.flag("lstrip", false)?, call.flag("rstrip", call.name == "file")?);
    let mut out = Vec::new();
    for term in &call.terms {
        let path = located(cx, call, "files", &text(term)?)?;
        let mut content = read(call, &path)?;
        if content.starts_with("$ANSIBLE_VAULT;") {
            content = match &cx.engine.options.vault {
                Some(open) => open(&content)
                    .map_err(|why| call.fail(format!("the vault file cannot be opened: {why}")))?,
                None => return Err(call.fail("the file is sealed by vault but no vault password is given")),
            };
        }
        let mut shown = content.as_str();
        if left {
            shown = shown.trim_start();
        }
        if right {
            shown = shown.trim_end();
        }
        out.push(Value::from(shown));
    }
    Ok(out)
}

pub(super) fn fileglob(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let term = crate::template::filters::home_expanded(cx, &text(term)?);
        if term.starts_with('/') {
            out.extend(glob(&term).into_iter().map(Value::from));
            continue;
        }
        let search = cx.scope.search();
        for base in &search.bases {
            let found: Vec<String> = [base.join("files").join(&term), base.join(&term)]
                .iter()
                .map(|p| glob(&p.display().to_string()))
                .find(|found| !found.is_empty())
                .unwrap_or_default();
            if !found.is_empty() {
                out.extend(found.into_iter().map(Value::from));
                break;
            }
        }
    }
    Ok(out)
}

/// Folders, files and links below a folder.
pub(super) fn filetree(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    use std::os::unix::fs::MetadataExt as _;
    let mut out = Vec::new();
    for term in &call.terms {
        let root = located(cx, call, "files", &text(term)?)?;
        let mut open = vec![root.clone()];
        while let Some(folder) = open.pop() {
            let mut entries: Vec<PathBuf> =
                fs_err::read_dir(&folder).map_err(|e| call.fail(e))?.flatten().map(|e| e.path()).collect();
            entries.sort();
            for path in entries {
                let meta = fs_err::symlink_metadata(&path).map_err(|e| call.fail(e))?;
                let relative = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                let mut entry = Map::new();
                let mut put = |key: &str, value: Value| entry.insert(Value::from(key), value);
                put("root", Value::from(root.display().to_string()));
                put("path", Value::from(relative));
                put("mode", Value::from(format!("{:04o}", meta.mode() & 0o7777)));
                put("uid", Value::from(meta.uid()));
                put("gid", Value::from(meta.gid()));
                put("size", Value::from(meta.size()));
                put("mtime", Value::from(meta.mtime() as f64));
                put("ctime", Value::from(meta.ctime() as f64));
                let state = if meta.is_symlink() {
                    let target = fs_err::read_link(&path).map_err(|e| call.fail(e))?;
                    put("src", Value::from(target.display().to_string()));
                    "link"
                } else if meta.is_dir() {
                    open.push(path);
                    "directory"
                } else {
                    put("src", Value::from(path.display().to_string()));
                    "file"
                };
                put("state", Value::from(state));
                out.push(map(entry));
            }
        }
    }
    Ok(out)
}

fn names(value: &Value) -> R<Vec<String>> {
    if is_list(value) {
        let mut out = Vec::new();
        for one in items(value)? {
            out.extend(names(&one)?);
        }
        return Ok(out);
    }
    Ok(text(value)?.split([',', ';', ':']).map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect())
}

/// Names as they stand, without splitting at commas.
fn whole(value: &Value) -> R<Vec<String>> {
    if is_list(value) { items(value)?.iter().map(text).collect() } else { Ok(vec![text(value)?]) }
}

pub(super) fn first_found(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut candidates: Vec<String> = Vec::new();
    let mut skip = call.flag("skip", false)?;
    let mut add = |files: Option<Value>, paths: Option<Value>, whole_names: bool| -> R<()> {
        let files = match files {
            Some(files) if whole_names => whole(&files)?,
            Some(files) => names(&files)?,
            None => Vec::new(),
        };
        let paths = paths.map(|p| names(&p)).transpose()?.unwrap_or_default();
        if paths.is_empty() {
            candidates.extend(files);
        } else if files.is_empty() {
            candidates.extend(paths);
        } else {
            for path in &paths {
                for file in &files {
                    candidates.push(if file.starts_with('/') {
                        file.clone()
                    } else {
                        format!("{}/{file}", path.trim_end_matches('/'))
                    });
                }
            }
        }
        Ok(())
    };
    let mut terms = Vec::new();
    for term in &call.terms {
        if is_list(term) {
            terms.extend(items(term)?);
        } else {
            terms.push(term.clone());
        }
    }
    for term in &terms {
        if is_map(term) {
            let field = |name: &str| item(term, &Value::from(name));
            if let Some(value) = field("skip")? {
                skip = crate::template::filters::boolean(&value).unwrap_or(false);
            }
            add(field("files")?, field("paths")?, true)?;
        } else {
            add(Some(term.clone()), call.option("paths").cloned(), true)?;
        }
    }
    if terms.is_empty() {
        add(call.option("files").cloned(), call.option("paths").cloned(), true)?;
    }
    for candidate in &candidates {
        for kind in ["files", "templates", "vars", "tasks"] {
            if let Some(path) = find_file(cx, kind, candidate) {
                return Ok(vec![Value::from(path.display().to_string())]);
            }
        }
    }
    if skip || call.text("errors", "strict")? == "ignore" {
        return Ok(Vec::new());
    }
    Err(call.fail(format!("none of these files exists: {}", candidates.join(", "))))
}

/// Variables on top of a scope, for `template_vars`.
#[derive(Debug)]
struct Overlay {
    under: Arc<dyn crate::template::Scope>,
    over: Vec<(String, Value)>,
}

impl crate::template::Scope for Overlay {
    fn get(&self, name: &str) -> Option<crate::template::Var> {
        match self.over.iter().find(|(n, _)| n == name) {
            Some((_, value)) => Some(crate::template::Var::Data(value.clone())),
            None => self.under.get(name),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.under.names();
        names.extend(self.over.iter().map(|(n, _)| n.clone()));
        names.sort();
        names.dedup();
        names
    }

    fn search(&self) -> crate::template::SearchPath {
        self.under.search()
    }
}

pub(super) fn template(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let path = located(cx, call, "templates", &text(term)?)?;
        let content = read(call, &path)?;
        let mut options = FileOptions::default();
        options.variable_start_string = call.text("variable_start_string", &options.variable_start_string)?;
        options.variable_end_string = call.text("variable_end_string", &options.variable_end_string)?;
        options.comment_start_string = call.text("comment_start_string", &options.comment_start_string)?;
        options.comment_end_string = call.text("comment_end_string", &options.comment_end_string)?;
        options.trim_blocks = call.flag("trim_blocks", options.trim_blocks)?;
        options.lstrip_blocks = call.flag("lstrip_blocks", options.lstrip_blocks)?;
        let mut over = Vec::new();
        if let Some(vars) = call.option("template_vars") {
            for (name, value) in pairs(vars)? {
                over.push((text(&name)?, value));
            }
        }
        let shown = path.display().to_string();
        over.push(("template_path".to_owned(), Value::from(shown.as_str())));
        over.push(("template_fullpath".to_owned(), Value::from(shown)));
        let scope: Arc<dyn crate::template::Scope> = Arc::new(Overlay { under: Arc::clone(&cx.scope), over });
        let engine = Arc::clone(&cx.engine);
        let made = engine.file(&content, &path, options, &scope)?;
        out.push(Value::from(made));
    }
    Ok(out)
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// The characters a password is made of.
fn alphabet(chars: &[String]) -> Vec<char> {
    let mut out = String::new();
    for set in chars {
        match set.as_str() {
            "ascii_letters" => out.push_str(LETTERS),
            "ascii_lowercase" => out.push_str(&LETTERS[..26]),
            "ascii_uppercase" => out.push_str(&LETTERS[26..]),
            "digits" => out.push_str(DIGITS),
            "hexdigits" => out.push_str("0123456789abcdefABCDEF"),
            "octdigits" => out.push_str("01234567"),
            "punctuation" => out.push_str(PUNCTUATION),
            other => out.push_str(other),
        }
    }
    let mut seen = Vec::new();
    for c in out.chars() {
        if !seen.contains(&c) {
            seen.push(c);
        }
    }
    seen
}

/// `path length=20 chars=ascii_letters,digits`: made once, then kept in the file.
pub(super) fn password(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let term = text(term)?;
        let mut path = Vec::new();
        let mut length = call.option("length").and_then(Value::as_usize).unwrap_or(20);
        let mut chars = match call.option("chars") {
            Some(value) => names_kept(value)?,
            None => vec!["ascii_letters".to_owned(), "digits".to_owned(), ".,:-_".to_owned()],
        };
        let mut seed = call.option("seed").map(text).transpose()?;
        let mut encrypt = call.option("encrypt").filter(|v| !v.is_none()).map(text).transpose()?;
        for part in term.split(' ') {
            match part.split_once('=') {
                Some(("length", value)) => {
                    length = value
                        .parse()
                        .map_err(|_| call.fail(format!("`length` has to be a number, not `{value}`")))?;
                }
                Some(("chars", value)) => chars = comma_list(value),
                Some(("seed", value)) => seed = Some(value.to_owned()),
                Some(("encrypt", value)) => encrypt = Some(value.to_owned()),
                Some(("ident", _)) => {}
                _ => path.push(part),
            }
        }
        let path = path.join(" ").trim().to_owned();
        let keep = path != "/dev/null";
        let file = match find_file(cx, "files", &path) {
            Some(found) => found,
            None => {
                let base = cx.scope.search().bases.last().cloned();
                base.unwrap_or_else(|| cx.engine.options.current_folder.clone())
                    .join(crate::template::filters::home_expanded(cx, &path))
            }
        };
        let stored = if keep && file.exists() { Some(read(call, &file)?) } else { None };
        let (plain, mut salt) = match stored.as_deref().map(str::trim_end) {
            Some(kept) if !kept.is_empty() => match kept.rsplit_once(" salt=") {
                Some((plain, salt)) => (plain.to_owned(), Some(salt.to_owned())),
                None => (kept.to_owned(), None),
            },
            _ => {
                let alphabet = alphabet(&chars);
                if alphabet.is_empty() {
                    return Err(call.fail("`chars` is empty"));
                }
                let mut dice = Dice::new(seed.clone().map(Seed::Text).as_ref());
                let made: String = (0..length).map(|_| alphabet[dice.below(alphabet.len())]).collect();
                (made, None)
            }
        };
        let fresh_salt = encrypt.is_some() && salt.is_none();
        if fresh_salt {
            let letters: Vec<char> = format!("{LETTERS}{DIGITS}./").chars().collect();
            salt = Some((0..16).map(|_| letters[Dice::System.below(letters.len())]).collect());
        }
        if keep && (stored.as_deref().is_none_or(|s| s.trim_end().is_empty()) || fresh_salt) {
            let content = match &salt {
                Some(salt) => format!("{plain} salt={salt}\n"),
                None => format!("{plain}\n"),
            };
            store_secret(call, &file, &content)?;
        }
        out.push(match encrypt {
            Some(scheme) => {
                let salt = salt.unwrap_or_default();
                Value::from(
                    crate::template::filters::crypt(&plain, &scheme, Some(&salt), None)
                        .map_err(|why| call.fail(why))?,
                )
            }
            None => Value::from(plain),
        });
    }
    Ok(out)
}

fn comma_list(value: &str) -> Vec<String> {
    let mut out: Vec<String> = value.split(',').filter(|s| !s.is_empty()).map(ToOwned::to_owned).collect();
    // `,,` stands for a comma itself.
    if value.contains(",,") {
        out.push(",".to_owned());
    }
    out
}

fn names_kept(value: &Value) -> R<Vec<String>> {
    if is_list(value) { items(value)?.iter().map(text).collect() } else { Ok(comma_list(&text(value)?)) }
}

/// Writes a file that only its owner reads, whole or not at all.
fn store_secret(call: &Call, path: &Path, content: &str) -> R<()> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder).map_err(|e| call.fail(e))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| call.fail(e))?;
    file.write_all(content.as_bytes()).map_err(|e| call.fail(e))?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(|e| call.fail(e))?;
    file.persist(path).map_err(|e| call.fail(e))?;
    Ok(())
}

/// `key section=x file=y type=ini|properties re=false default=z`
pub(super) fn ini(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let term = text(term)?;
        let mut key = Vec::new();
        let mut given: Vec<(String, String)> = Vec::new();
        for part in term.split_whitespace() {
            match part.split_once('=') {
                Some((k @ ("section" | "file" | "type" | "re" | "default" | "encoding"), v)) => {
                    given.push((k.to_owned(), v.to_owned()));
                }
                _ => key.push(part),
            }
        }
        let key = key.join(" ");
        let option = |name: &str, default: &str| -> R<String> {
            match given.iter().find(|(n, _)| n == name) {
                Some((_, value)) => Ok(value.clone()),
                None => call.text(name, default),
            }
        };
        let section =
            if option("type", "ini")? == "properties" { String::new() } else { option("section", "global")? };
        let path = located(cx, call, "files", &option("file", "ansible.ini")?)?;
        let by_pattern =
            crate::template::filters::boolean(&Value::from(option("re", "false")?)).unwrap_or(false);
        let mut current = String::new();
        let mut found = Vec::new();
        for line in read(call, &path)?.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                name.clone_into(&mut current);
                continue;
            }
            let Some((k, v)) = line.split_once(['=', ':']) else { continue };
            let k = k.trim();
            if current != section {
                continue;
            }
            let hit = if by_pattern {
                let regex = crate::template::filters::compile_regex(
                    &key,
                    crate::template::filters::RegexFlags::default(),
                    k,
                )?;
                regex.is_match(k).map_err(|e| call.fail(e))?
            } else {
                k.eq_ignore_ascii_case(&key)
            };
            if hit {
                found.push(v.trim().to_owned());
            }
        }
        match found.is_empty() {
            true => out.push(Value::from(option("default", "")?)),
            // The last of several equal keys counts.
            false if !by_pattern => out.extend(found.pop().map(Value::from)),
            false => out.extend(found.into_iter().map(Value::from)),
        }
    }
    Ok(out)
}

/// `key file=y delimiter=TAB col=1 default=z`
pub(super) fn csvfile(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let term = text(term)?;
        let mut key = String::new();
        let mut given: Vec<(String, String)> = Vec::new();
        for part in term.split_whitespace() {
            match part.split_once('=') {
                Some((k @ ("file" | "delimiter" | "col" | "default" | "encoding" | "keycol"), v)) => {
                    given.push((k.to_owned(), v.to_owned()));
                }
                _ => part.clone_into(&mut key),
            }
        }
        let option = |name: &str, default: &str| -> R<String> {
            match given.iter().find(|(n, _)| n == name) {
                Some((_, value)) => Ok(value.clone()),
                None => call.text(name, default),
            }
        };
        let delimiter = match option("delimiter", "TAB")?.as_str() {
            "TAB" | "\\t" => '\t',
            other => other.chars().next().unwrap_or(','),
        };
        let column = |name: &str, default: &str| -> R<usize> {
            let value = option(name, default)?;
            value.parse().map_err(|_| call.fail(format!("`{name}` has to be a number, not `{value}`")))
        };
        let (col, keycol) = (column("col", "1")?, column("keycol", "0")?);
        let path = located(cx, call, "files", &option("file", "ansible.csv")?)?;
        let row = read(call, &path)?
            .lines()
            .map(|line| csv_fields(line, delimiter))
            .find(|fields| fields.get(keycol) == Some(&key));
        match row.and_then(|fields| fields.get(col).cloned()) {
            Some(found) => out.push(Value::from(found)),
            None => {
                let default = option("default", "")?;
                if !default.is_empty() {
                    out.push(Value::from(default));
                }
            }
        }
    }
    Ok(out)
}

fn csv_fields(line: &str, delimiter: char) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let last = out.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                out[last].push('"');
            }
            '"' => quoted = !quoted,
            c if c == delimiter && !quoted => out.push(String::new()),
            c => out[last].push(c),
        }
    }
    out
}
