//! `uri`: talks to a web service.
//!
//! Owns: the request's body and the result. Must not: know TLS or proxies (see `http`).

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::http::{self, Answer, Asked, HttpArgs};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, Attributes};
use crate::files::write::{Content, Write, write};
use crate::files::{checksum, info};
use crate::options::{CheckSupport, Opt, Repeat, Spec};

static OPTIONS: &[Opt] = &[
    Opt::str("method"),
    Opt::raw("body"),
    Opt::str("body_format").choices(&["form-urlencoded", "json", "raw", "form-multipart"]),
    Opt::path("src"),
    Opt::bool("remote_src").ignored("the controller has sent the file"),
    Opt::path("dest"),
    Opt::bool("return_content"),
    Opt::str("follow_redirects").choices(&["all", "none", "safe", "urllib2", "yes", "no", "True", "False"]),
    Opt::list("status_code"),
    Opt::path("creates"),
    Opt::path("removes"),
    Opt::path("unix_socket"),
];

/// See the module's documentation.
pub struct Uri;

/// Arguments of `uri`.
#[derive(Debug, Deserialize)]
pub struct Args {
    #[serde(flatten)]
    http: HttpArgs,
    method: Option<String>,
    body: Option<Value>,
    body_format: Option<String>,
    src: Option<String>,
    dest: Option<String>,
    #[serde(default)]
    return_content: bool,
    follow_redirects: Option<String>,
    status_code: Option<Vec<String>>,
    creates: Option<String>,
    removes: Option<String>,
    unix_socket: Option<String>,
    #[serde(flatten)]
    attributes: Attributes,
}

impl Module for Uri {
    const SPEC: Spec = Spec {
        options: &[http::OPTIONS, OPTIONS, attributes::OPTIONS],
        mutually_exclusive: &[&["body", "src"]],
        check: CheckSupport::None,
        repeat: Repeat::Ask,
        ..Spec::new("uri")
    };
    type Args = Args;
    type Change = ();

    fn inspect(args: &Args, _: &Host<'_>) -> Result<Inspection<()>, Fault> {
        if args.unix_socket.is_some() {
            return Err(Fault::new("`unix_socket` of `uri` is not supported, use `command` with curl"));
        }
        let skipped = |path: &str, word: &str| {
            let text = format!("skipped, since '{path}' {word}");
            Ok(Inspection::Same(Outcome::same().with("stdout", text)))
        };
        if let Some(path) = args.creates.as_deref().filter(|p| Path::new(p).exists()) {
            return skipped(path, "exists");
        }
        if let Some(path) = args.removes.as_deref().filter(|p| !Path::new(p).exists()) {
            return skipped(path, "does not exist");
        }
        Ok(Inspection::Differs { change: (), predicted: Outcome::same() })
    }

    fn apply(args: &Args, (): (), host: &Host<'_>) -> Result<Outcome, Fault> {
        let method = args.method.as_deref().unwrap_or("GET").to_uppercase();
        let (body, kind) = args.request_body()?;
        let redirects = match args.follow_redirects.as_deref().unwrap_or("safe") {
            "all" | "yes" | "True" => true,
            "none" | "no" | "False" => false,
            _ => matches!(method.as_str(), "GET" | "HEAD"),
        };
        let asked = Asked {
            method: &method,
            body: body.as_deref(),
            headers: kind.map(|kind| ("content-type".to_owned(), kind)).into_iter().collect(),
            redirects,
            usual_timeout: 30,
        };
        let wanted = args.wanted()?;
        let shown = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let began = Instant::now();
        let answer = args.http.ask(&asked, host).map_err(|fault| {
            Fault::new(format!("Status code was -1 and not [{shown}]: {}", fault.msg))
                .with("status", -1)
                .with("url", args.http.url.clone())
                .with("redirected", false)
                .with("elapsed", began.elapsed().as_secs())
        })?;
        let status = answer.status;
        let message = answer.message();
        let mut outcome = described(&args.http.url, &answer);
        let kind = answer.header("content-type").unwrap_or_default().to_lowercase();
        let name = http::file_name(&answer.url, answer.header("content-disposition"));
        let mut content = Vec::new();
        answer
            .body()
            .read_to_end(&mut content)
            .map_err(|e| Fault::new(format!("the answer broke off: {e}")).with("status", status))?;
        outcome = outcome.with("elapsed", began.elapsed().as_secs());
        let fits = wanted.contains(&status);
        let text = String::from_utf8_lossy(&content);
        if kind.contains("json")
            && let Ok(json) = serde_json::from_str::<Value>(&text)
        {
            outcome = outcome.with("json", json);
        }
        if args.return_content || !fits {
            outcome = outcome.with("content", text.into_owned());
        }
        if !fits {
            let msg = format!("Status code was {status} and not [{shown}]: {message}");
            return Err(Fault { msg, values: outcome.values });
        }
        outcome = outcome.with("msg", message);
        if let Some(dest) = &args.dest {
            return save(args, Path::new(dest), &name, &content, outcome, host);
        }
        Ok(outcome)
    }
}

impl Args {
    fn wanted(&self) -> Result<Vec<u16>, Fault> {
        let Some(codes) = &self.status_code else { return Ok(vec![200]) };
        let parse = |code: &String| {
            code.trim()
                .parse()
                .map_err(|_| Fault::new(format!("`status_code` must be numbers, not `{code}`")))
        };
        codes.iter().map(parse).collect()
    }

    /// The body's bytes and their content type.
    fn request_body(&self) -> Result<(Option<Vec<u8>>, Option<String>), Fault> {
        if let Some(src) = &self.src {
            let bytes = std::fs::read(src).map_err(|e| Fault::io("read", src, &e))?;
            return Ok((Some(bytes), Some("application/octet-stream".to_owned())));
        }
        let Some(body) = &self.body else { return Ok((None, None)) };
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Ok(match self.body_format.as_deref().unwrap_or("raw") {
            "json" => (Some(text(body).into_bytes()), Some("application/json".to_owned())),
            "form-urlencoded" => {
                let kind = Some("application/x-www-form-urlencoded".to_owned());
                (Some(form(body)?.into_bytes()), kind)
            }
            "form-multipart" => {
                return Err(Fault::new("`body_format: form-multipart` of `uri` is not supported"));
            }
            _ => (Some(text(body).into_bytes()), None),
        })
    }
}

fn form(body: &Value) -> Result<String, Fault> {
    let mut pairs: Vec<(String, &Value)> = Vec::new();
    match body {
        Value::String(text) => return Ok(text.clone()),
        Value::Object(map) => pairs.extend(map.iter().map(|(k, v)| (k.clone(), v))),
        Value::Array(items) => {
            for item in items {
                match item.as_array().map(Vec::as_slice) {
                    Some([Value::String(name), value]) => pairs.push((name.clone(), value)),
                    _ => return Err(Fault::new("a form's body must be a mapping or a list of pairs")),
                }
            }
        }
        _ => return Err(Fault::new("a form's body must be a mapping or a list of pairs")),
    }
    let mut encoded = Vec::new();
    for (name, value) in pairs {
        let values = match value {
            Value::Array(values) => values.iter().collect(),
            one => vec![one],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Bool(true) => "True".to_owned(),
                Value::Bool(false) => "False".to_owned(),
                other => other.to_string(),
            };
            encoded.push(format!("{}={}", percent(&name), percent(&text)));
        }
    }
    Ok(encoded.join("&"))
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
        out
    })
}

/// Status, headers and cookies.
fn described(asked: &str, answer: &Answer) -> Outcome {
    let mut values = Map::new();
    let mut cookies = Map::new();
    for (at, (name, _)) in answer.headers.iter().enumerate() {
        if answer.headers[..at].iter().any(|(earlier, _)| earlier == name) {
            continue;
        }
        let all: Vec<&str> =
            answer.headers[at..].iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        if name == "set-cookie" {
            for cookie in &all {
                if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                    cookies.insert(name.trim().to_owned(), value.trim().into());
                }
            }
        }
        values.insert(name.replace('-', "_"), all.join(", ").into());
    }
    let string =
        cookies.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect::<Vec<_>>();
    values.insert("cookies_string".to_owned(), string.join("; ").into());
    values.insert("cookies".to_owned(), cookies.into());
    values.insert("status".to_owned(), answer.status.into());
    values.insert("url".to_owned(), answer.url.clone().into());
    let redirected = answer.url.trim_end_matches('/') != asked.trim_end_matches('/');
    values.insert("redirected".to_owned(), redirected.into());
    Outcome { values, ..Outcome::default() }
}

fn save(
    args: &Args,
    dest: &Path,
    name: &str,
    content: &[u8],
    mut outcome: Outcome,
    host: &Host<'_>,
) -> Result<Outcome, Fault> {
    let path: PathBuf = if dest.is_dir() { dest.join(name) } else { dest.to_path_buf() };
    let same = checksum::of_file("sha1", &path).is_ok_and(|sum| sum == checksum::sha1(content));
    if same {
        let change = args.attributes.plan(&path, true, host)?;
        change.apply(&path, host)?;
        outcome.changed = !change.is_empty();
    } else {
        let one = Write {
            path: &path,
            content: Content::Bytes(content),
            attributes: &args.attributes,
            validate: None,
            backup: false,
        };
        write(&one, host)?;
        outcome.changed = true;
    }
    outcome.values.extend(info::path_info(&path));
    Ok(outcome.with("path", path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::http::testing::{answer, serve};
    use crate::testing::{run, temp_dir};

    #[test]
    fn answers_are_told_by_ansibles_names() {
        let (url, asked) = serve(vec![
            answer(
                "200 OK",
                "Content-Type: application/json\r\nX-Some-Head: 1\r\nSet-Cookie: a=b; Path=/\r\n",
                "{\"k\": [1]}",
            ),
            answer("404 Not Found", "", "nope"),
            answer("302 Found", "Location: /else\r\n", ""),
            answer("201 Created", "", "there"),
            answer("401 Unauthorized", "WWW-Authenticate: Basic\r\n", ""),
            answer("200 OK", "", ""),
        ]);
        let args = json!({"url": url, "method": "POST", "body": {"x": 1}, "body_format": "json", "headers": {"X-A": 7}});
        let result = run("uri", args, false);
        assert_eq!(
            (&result["status"], &result["json"]["k"][0], &result["changed"]),
            (&json!(200), &json!(1), &json!(false))
        );
        assert_eq!((&result["x_some_head"], &result["cookies"]["a"]), (&json!("1"), &json!("b")));
        assert_eq!((&result["msg"], &result["redirected"]), (&json!("OK (10 bytes)"), &json!(false)));
        assert_eq!(result.get("content"), None);
        let request = asked.recv().expect("asked").to_lowercase();
        assert!(
            request.contains("content-type: application/json") && request.contains("x-a: 7"),
            "{request}"
        );
        assert!(request.ends_with("{\"x\":1}"), "{request}");

        let result = run("uri", json!({"url": url, "status_code": "200,201"}), false);
        assert_eq!(result["msg"], "Status code was 404 and not [200, 201]: HTTP Error 404: Not Found");
        assert_eq!((&result["failed"], &result["content"]), (&json!(true), &json!("nope")));

        let result = run("uri", json!({"url": url, "status_code": [201], "return_content": true}), false);
        assert_eq!((&result["redirected"], &result["content"]), (&json!(true), &json!("there")));
        assert_eq!(result["url"], format!("{url}/else"));

        let result = run("uri", json!({"url": url, "user": "u", "password": "p"}), false);
        assert_eq!(result["status"], 200);
        let requests: Vec<String> = asked.try_iter().collect();
        assert!(
            requests.last().is_some_and(|r| r
                .to_lowercase()
                .contains("authorization: basic dtpw".to_lowercase().as_str()))
        );
        assert_eq!(
            result["invocation"]["module_args"]["url_password"],
            "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
        );
    }

    #[test]
    fn no_answer_is_status_minus_one_and_check_mode_asks_nobody() {
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let result = run("uri", json!({"url": format!("http://127.0.0.1:{port}/")}), false);
        assert_eq!((&result["status"], &result["failed"]), (&json!(-1), &json!(true)));
        assert!(
            result["msg"].as_str().is_some_and(|m| m.contains("Connection refused")),
            "{}",
            result["msg"]
        );
        let result = run("uri", json!({"url": "http://127.0.0.1:1/"}), true);
        assert_eq!(result["skipped"], true);
        let dir = temp_dir();
        let result = run("uri", json!({"url": "http://127.0.0.1:1/", "creates": dir.path()}), false);
        assert_eq!(result["changed"], false);
    }

    #[test]
    fn a_download_changes_once() {
        let dir = temp_dir();
        let (url, _asked) = serve(vec![answer("200 OK", "", "abc"), answer("200 OK", "", "abc")]);
        let args = json!({"url": format!("{url}/f.txt"), "dest": dir.path(), "mode": "0600"});
        let result = run("uri", args.clone(), false);
        assert_eq!((&result["changed"], &result["path"]), (&json!(true), &json!(dir.at("f.txt"))));
        assert_eq!(run("uri", args, false)["changed"], false);
    }
}
