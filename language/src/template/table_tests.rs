//! Rows of templates with the results that ansible-core 2.19 gave for them.
//!
//! `rows.jsonl` was made by running each template through ansible-core itself; a row has the template (`t`), variables as
//! YAML (`v`) and the result as JSON (`e`), or `error` where Ansible refuses. `when` rows are conditions.
//! Rows of `json_query` are from the Python library jmespath, which that filter uses. Rows where this engine differs on
//! purpose (it takes more) are not in the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ErrorKind, FileOptions, Options, Scope, SearchPath, Templates, Value, Var};
use crate::source::{Node, SourceId, Sources, Span, Yaml, parse};

/// Variables of one test.
#[derive(Debug)]
struct Vars {
    node: Node,
    data: Vec<(&'static str, Value)>,
    folder: Option<PathBuf>,
}

impl Scope for Vars {
    fn get(&self, name: &str) -> Option<Var> {
        if let Some((_, value)) = self.data.iter().find(|(n, _)| *n == name) {
            return Some(Var::Data(value.clone()));
        }
        self.node.as_map()?.get(name).map(|node| Var::Yaml(Arc::new(node.clone())))
    }

    fn names(&self) -> Vec<String> {
        let map = self.node.as_map();
        let mut names: Vec<String> = map
            .into_iter()
            .flat_map(|m| m.entries.iter().filter_map(|e| e.key.as_str().map(ToOwned::to_owned)))
            .collect();
        names.sort();
        names
    }

    fn search(&self) -> SearchPath {
        SearchPath { bases: self.folder.iter().cloned().collect() }
    }
}

fn node_of(yaml: &str) -> Node {
    let sources = Sources::new(PathBuf::new());
    let id = sources.add(PathBuf::from("vars"), yaml.to_owned());
    match parse(&sources, id) {
        Ok(node) => node,
        Err(found) => panic!("{yaml}: {:?}", found.list),
    }
}

fn scope_with(yaml: &str, data: Vec<(&'static str, Value)>) -> Arc<dyn Scope> {
    Arc::new(Vars { node: node_of(yaml), data, folder: None })
}

fn scope(yaml: &str) -> Arc<dyn Scope> {
    scope_with(yaml, Vec::new())
}

fn templates() -> Templates {
    Templates::new(Options::default())
}

fn text_node(text: &str) -> Node {
    Node { span: Span { file: SourceId(0), start: 0, end: text.len() as u32 }, value: Yaml::Str(text.into()) }
}

fn json(value: &Value) -> String {
    super::to_json(value).map_or_else(|e| format!("not JSON: {e}"), |v| v.to_string())
}

#[test]
fn rows_give_what_ansible_gives() {
    let templates = templates();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("rows.jsonl").lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("a row is JSON");
        let (template, vars) = (row["t"].as_str().unwrap_or(""), row["v"].as_str().unwrap_or(""));
        let scope = scope(if vars.is_empty() { "{}" } else { vars });
        count += 1;
        let result = if row["when"].as_bool() == Some(true) {
            templates.condition(&text_node(template), &scope).map(Value::from)
        } else {
            templates.text(template, None, &scope)
        };
        let expected =
            if row["error"].as_bool() == Some(true) { "an error".to_owned() } else { row["e"].to_string() };
        let got = match &result {
            Ok(value) => json(value),
            Err(e) if expected != "an error" => format!("an error: {e}"),
            Err(_) => "an error".to_owned(),
        };
        if got != expected {
            wrong.push(format!("{template}\n  vars     {vars}\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn error(template: &str, vars: &str) -> super::TemplateError {
    match templates().text(template, None, &scope(vars)) {
        Ok(value) => panic!("{template} gave {}", json(&value)),
        Err(e) => e,
    }
}

#[test]
fn undefined_names_the_variable_and_a_near_one() {
    let e = error("{{ clustre_name }}", "{cluster_name: a}");
    assert_eq!(e.to_string(), "`clustre_name` is undefined");
    assert_eq!(e.help.as_deref(), Some("did you mean `cluster_name`?"));
    assert_eq!(e.offset, Some(3..15));
}

#[test]
fn undefined_inside_a_variable_shows_the_way_there() {
    let e = error("{{ a }}", "{a: 'x {{ b }}', b: '{{ c.d }}', c: {}}");
    assert_eq!(e.to_string(), "`d` is undefined: the mapping has no such key");
    let way: Vec<&str> = e.chain.iter().map(|link| link.variable.as_str()).collect();
    assert_eq!(way, ["b", "a"]);
    assert!(e.at.is_some());
}

#[test]
fn cycle_names_all_variables_on_the_way() {
    let e = error("{{ a }}", "{a: '{{ b }}', b: '{{ c }}', c: 'x {{ a }}'}");
    assert_eq!(e.to_string(), "`a` needs its own value first: a \u{2192} b \u{2192} c \u{2192} a");
}

#[test]
fn data_is_never_rendered() {
    let scope = scope_with("{x: '{{ fact }}'}", vec![("fact", Value::from("{{ 1 + 1 }}"))]);
    let value = templates().text("{{ x }}", None, &scope).expect("renders");
    assert_eq!(value.as_str(), Some("{{ 1 + 1 }}"));
}

#[test]
fn unsafe_text_is_never_rendered() {
    let value =
        templates().node(&node_of("{a: !unsafe '{{ x }}', b: '{{ 1 }}'}"), &scope("{}")).expect("renders");
    assert_eq!(json(&value), r#"{"a":"{{ x }}","b":1}"#);
}

#[test]
fn omit_leaves_entries_out_and_alone_is_a_mark() {
    let scope = scope("{}");
    let value =
        templates().node(&node_of("{a: '{{ omit }}', b: ['{{ omit }}', 2]}"), &scope).expect("renders");
    assert_eq!(json(&value), r#"{"b":[2]}"#);
    assert!(super::is_omit(&templates().text("{{ x | default(omit) }}", None, &scope).expect("renders")));
}

#[test]
fn unknown_spreads_and_a_condition_says_so() {
    let scope = scope_with("{y: '{{ r.stdout }} x'}", vec![("r", super::unknown())]);
    for template in ["{{ r.stdout | int + 1 }}", "{{ y }}", "{{ r.a.b | default(3) }}", "a {{ r }}"] {
        assert!(super::is_unknown(&templates().text(template, None, &scope).expect(template)), "{template}");
    }
    let e = templates().condition(&text_node("r.rc == 0"), &scope).expect_err("is unknown");
    assert_eq!(e.kind, ErrorKind::Unknown);
    assert!(!templates().condition(&text_node("r.rc == 0 and false"), &scope).expect("is false"));
}

#[test]
fn condition_that_is_no_boolean_says_what_to_write() {
    let e = templates().condition(&text_node("x"), &scope("{x: 'yes'}")).expect_err("is text");
    assert_eq!(e.kind, ErrorKind::Condition);
    assert_eq!(e.help.as_deref(), Some("write `| bool` after it, or compare it, such as `!= \"\"`"));
}

#[test]
fn check_finds_unknown_filters_tests_and_lookups() {
    let found = templates()
        .check_text("{{ x | defualt(1) }}{{ y is defnied }}{{ lookup('flie', 'a') }}")
        .expect("parses");
    let said: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["no filter named `defualt`", "no test named `defnied`", "no lookup named `flie`"]);
    assert_eq!(found.problems[0].help.as_deref(), Some("did you mean `default`?"));
}

#[test]
fn check_knows_which_names_may_be_missing() {
    let found = templates()
        .check_text("{% set l = 1 %}{{ a.b | default(c) }}{{ l }}{{ d if d is defined else e }}{% for i in f %}{{ i }}{% endfor %}")
        .expect("parses");
    let names: Vec<(&str, bool)> = found.names.iter().map(|r| (&*r.name, r.guarded)).collect();
    assert_eq!(names, [("a", true), ("c", false), ("d", true), ("d", true), ("e", false), ("f", false)]);
}

#[test]
fn file_obeys_its_header_and_keeps_the_last_newline() {
    let scope = scope("{x: 1, l: [1, 2]}");
    let render = |text: &str| templates().file(text, Path::new("t.j2"), FileOptions::default(), &scope);
    assert_eq!(render("a\n{% if x %}\nb\n{% endif %}\n").as_deref(), Ok("a\nb\n"));
    assert_eq!(
        render("#jinja2: lstrip_blocks: True, variable_start_string: '[%', variable_end_string: '%]'\n  {% for i in l %}\n[% i %]\n  {% endfor %}\n")
            .as_deref(),
        Ok("1\n2\n")
    );
    let e = render("#jinja2: trim_blcks: true\n").expect_err("unknown option");
    assert_eq!(e.to_string(), "the `#jinja2:` header has no option `trim_blcks`");
}

#[test]
fn includes_imports_and_inheritance_are_found_beside_the_roles_templates() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs_err::create_dir_all(folder.path().join("templates")).expect("a folder");
        fs_err::write(folder.path().join("templates").join(name), text).expect("a file");
    };
    write("base.j2", "<{% block a %}base{% endblock %}|{% block b %}B{% endblock %}>");
    write("macros.j2", "{% macro twice(x, y='!') %}{{ x }}{{ x }}{{ y }}{% endmacro %}");
    write("part.j2", "part of {{ name }} {{ local }}");
    let scope: Arc<dyn Scope> = Arc::new(Vars {
        node: node_of("{name: me}"),
        data: Vec::new(),
        folder: Some(folder.path().to_owned()),
    });
    let render = |text: &str| {
        templates().file(text, &folder.path().join("templates/t.j2"), FileOptions::default(), &scope)
    };
    assert_eq!(
        render("{% extends 'base.j2' %}{% block a %}mine+{{ super() }}{% endblock %}").as_deref(),
        Ok("<mine+base|B>")
    );
    assert_eq!(render("{% from 'macros.j2' import twice %}{{ twice('a') }}").as_deref(), Ok("aa!"));
    assert_eq!(
        render("{% import 'macros.j2' as m with context %}{{ m.twice('b', y='?') }}").as_deref(),
        Ok("bb?")
    );
    assert_eq!(render("{% set local = 1 %}{% include 'part.j2' %}").as_deref(), Ok("part of me 1"));
    let e = render("{% include 'nope.j2' %}").expect_err("is missing");
    assert_eq!(e.to_string(), "no template `nope.j2` found");
}

#[test]
fn with_lookups_give_lists() {
    let lookup = |name: &str, terms: &str| {
        let all = templates().lookup(name, &node_of(terms), &scope("{l: [a, b]}")).expect(name);
        json(&Value::from(all))
    };
    assert_eq!(lookup("items", "['{{ l }}', c, [d, [e]]]"), r#"["a","b","c","d",["e"]]"#);
    assert_eq!(lookup("dict", "{a: 1}"), r#"[{"key":"a","value":1}]"#);
    assert_eq!(lookup("nested", "['{{ l }}', [1, 2]]"), r#"[["a",1],["a",2],["b",1],["b",2]]"#);
    assert_eq!(lookup("together", "['{{ l }}', [1]]"), r#"[["a",1],["b",null]]"#);
    assert_eq!(lookup("sequence", "start=4 end=8 stride=2 format=h%02x"), r#"["h04","h06","h08"]"#);
    assert_eq!(lookup("sequence", "count=3"), r#"["1","2","3"]"#);
    assert_eq!(lookup("subelements", "[[{n: a, k: [1, 2]}], k]"), r#"[[{"n":"a"},1],[{"n":"a"},2]]"#);
    assert_eq!(lookup("indexed_items", "[a, b]"), r#"[[0,"a"],[1,"b"]]"#);
    assert_eq!(lookup("flattened", "[a, [b, [c]]]"), r#"["a","b","c"]"#);
}

#[test]
fn lazy_parts_fail_only_when_used() {
    let vars = "{c: {good: '{{ n }}', bad: '{{ nope }}'}, n: 5}";
    let value = templates()
        .text("{{ c.good }}{{ c | length }}{{ 'bad' in c }}", None, &scope(vars))
        .expect("renders");
    assert_eq!(value.as_str(), Some("52True"));
    assert_eq!(error("{{ c }}", vars).to_string(), "`nope` is undefined");
}

#[test]
fn password_is_made_once_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sub/secret");
    let template = format!("{{{{ lookup('password', '{} length=12 chars=digits') }}}}", path.display());
    let first = templates().text(&template, None, &scope("{}")).expect("makes");
    let again = templates().text(&template, None, &scope("{}")).expect("reads");
    // All digits: what a template gives keeps the type of the lookup's result, which is text.
    assert_eq!(first.as_str().map(str::len), Some(12));
    assert_eq!(first, again);
}

#[test]
fn deep_chains_of_variables_fit_a_worker_threads_stack_and_deeper_ones_are_refused() {
    let chain = |length: usize| {
        let mut vars: Vec<String> = (0..length)
            .map(|n| format!("v{n}: \"{{{{ [v{}, 1] | first | default('x') }}}}\"", n + 1))
            .collect();
        vars.push(format!("v{length}: end"));
        scope(&vars.join("\n"))
    };
    let value = templates().text("{{ v0 }}", None, &chain(60)).expect("fits");
    assert_eq!(value.as_str(), Some("end"));
    let e = templates().text("{{ v0 }}", None, &chain(200)).expect_err("is too deep");
    assert_eq!(e.kind, ErrorKind::Depth);
    let e = templates()
        .file(
            "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
            Path::new("t"),
            FileOptions::default(),
            &scope("{}"),
        )
        .expect_err("never ends");
    assert_eq!(e.kind, ErrorKind::Depth);
}

#[test]
fn an_address_is_read_with_its_headers_and_a_refusal_says_why() {
    use std::io::{BufRead as _, Write as _};

    super::use_agent(|| dcos_play_embedded_agent::agent().bytes());
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let asked = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for answer in ["200 OK", "404 Not Found"] {
            let (stream, _) = server.accept().expect("asked");
            let mut reader = std::io::BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|n| n > 0) {}
            write!(
                reader.get_mut(),
                "HTTP/1.1 {answer}\r\nContent-Length: 8\r\nConnection: close\r\n\r\none\ntwo\n"
            )
            .expect("answers");
            heads.push(head.to_lowercase());
        }
        heads
    });
    let template = format!(
        "{{{{ query('url', 'http://{address}/a', headers={{'X-Who': 'us'}}, username='u', password='p', force_basic_auth=true) }}}}"
    );
    let lines = templates().text(&template, None, &scope("{}")).expect("reads");
    assert_eq!(json(&lines), r#"["one","two"]"#);
    let e = error(&format!("{{{{ lookup('url', 'http://{address}/b') }}}}"), "{}");
    assert!(e.to_string().contains(&format!("lookup `url`: `http://{address}/b`: ")), "{e}");
    assert!(e.to_string().contains("404"), "{e}");
    let heads = asked.join().expect("served");
    assert!(
        heads[0].contains("x-who: us\r\n") && heads[0].contains("authorization: basic dtpw\r\n"),
        "{}",
        heads[0]
    );
}

/// A name server on this machine that gives these answers, each a response code and records, in turn; and what it was asked.
fn name_server(answers: Vec<(u8, Vec<Vec<u8>>)>) -> (u16, std::thread::JoinHandle<Vec<Vec<u8>>>) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let asked = std::thread::spawn(move || {
        answers
            .into_iter()
            .map(|(code, records)| {
                let mut question = [0; 512];
                let (length, from) = socket.recv_from(&mut question).expect("asked");
                let question = question[..length].to_vec();
                let mut answer = question.clone();
                answer[2] = 0x81;
                answer[3] = 0x80 | code;
                answer[7] = records.len() as u8;
                answer.extend(records.concat());
                socket.send_to(&answer, from).expect("answers");
                question
            })
            .collect()
    });
    (port, asked)
}

/// A record of the name that was asked for: its number, a lifetime of 60 seconds, and its bytes.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0xc0, 12];
    out.extend(kind.to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 60]);
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

#[test]
fn names_are_looked_up_at_a_name_server() {
    let alias = record(5, b"\x03web\xc0\x0c");
    let mail = record(16, b"\x05v=one\x09say \"two\"");
    let (port, asked) = name_server(vec![
        (0, vec![alias, record(1, &[10, 0, 0, 1]), record(1, &[10, 0, 0, 2])]),
        (0, vec![record(15, b"\x00\x0a\x04mail\xc0\x0c"), record(46, b"signature")]),
        (0, vec![mail.clone()]),
        (0, vec![mail]),
        (0, vec![record(12, b"\x04host\x03lab\x00")]),
        (0, vec![record(33, b"\x00\x01\x00\x02\x13\xc4\x03sip\xc0\x0c")]),
        (3, vec![]),
        (3, vec![]),
        (3, vec![]),
        (2, vec![]),
        // A name that points at itself would never end.
        (0, vec![record(5, b"\xc0\x29")]),
    ]);
    let at = format!("'@127.0.0.1', port={port}");
    let value = |expression: &str| {
        json(&templates().text(&format!("{{{{ {expression} }}}}"), None, &scope("{}")).expect("knows"))
    };
    assert_eq!(value(&format!("lookup('dig', 'lab.example', {at})")), r#""10.0.0.1,10.0.0.2""#);
    assert_eq!(value(&format!("query('dig', 'lab.example/MX', {at})")), r#"["10 mail.lab.example."]"#);
    assert_eq!(
        value(&format!("query('dig', 'lab.example', 'qtype=TXT', {at})")),
        r#"["v=one\" \"say \\\"two\\\""]"#
    );
    assert_eq!(
        value(&format!("query('community.general.dig', 'lab.example', 'qtype=TXT', 'flat=0', {at})")),
        r#"[{"strings":["v=one","say \"two\""],"owner":"lab.example.","type":"TXT","ttl":60,"class":"IN"}]"#
    );
    assert_eq!(value(&format!("lookup('dig', '192.0.2.7/PTR', {at})")), r#""host.lab.""#);
    assert_eq!(
        value(&format!("lookup('dig', 'lab.example', {at}, qtype='SRV', wantlist=true)")),
        r#"["1 2 5060 sip.lab.example."]"#
    );
    assert_eq!(value(&format!("lookup('dig', 'lab.example', {at})")), r#""NXDOMAIN""#);
    assert_eq!(value(&format!("lookup('dig', 'lab.example', {at}, real_empty=true)")), "[]");
    let e = error(&format!("{{{{ lookup('dig', 'lab.example', {at}, fail_on_error=true) }}}}"), "{}");
    assert_eq!(e.to_string(), "lookup `dig`: A lab.example: there is no such name");
    let e = error(&format!("{{{{ lookup('dig', 'lab.example', {at}) }}}}"), "{}");
    assert_eq!(e.to_string(), "lookup `dig`: A lab.example: every name server failed (SERVFAIL)");
    let e = error(&format!("{{{{ lookup('dig', 'lab.example/CNAME', {at}) }}}}"), "{}");
    assert_eq!(
        e.to_string(),
        "lookup `dig`: CNAME lab.example: name server 127.0.0.1: its answer cannot be read"
    );
    let questions = asked.join().expect("served");
    assert_eq!(
        &questions[0][2..],
        b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03lab\x07example\x00\x00\x01\x00\x01"
    );
    assert!(questions[4].windows(6).any(|w| w == b"\x017\x012\x010"), "{:?}", questions[4]);
    for (wrong, said) in
        [("'flat=maybe'", "`flat` is yes or no, not `maybe`"), ("port='dns'", "`dns` is no port")]
    {
        let e = error(&format!("{{{{ lookup('dig', 'lab.example', {wrong}) }}}}"), "{}");
        assert_eq!(e.to_string(), format!("lookup `dig`: {said}"));
    }
    let e = error("{{ lookup('dig', 'lab.example', qtype='LOC') }}", "{}");
    assert!(e.to_string().contains("no records of type `LOC` here; known are A, NS, "), "{e}");
}

#[test]
fn passwords_come_from_the_store_and_are_made_on_demand() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("pass");
    // What the real one does, without a key.
    let script = "#!/bin/sh
entry=$PASSWORD_STORE_DIR/$(eval echo \\$$#)
case $1 in
show) [ -e \"$entry\" ] || { echo \"Error: ${entry##*/} is not in the password store.\" >&2; exit 1; }; cat \"$entry\" ;;
insert) cat >\"$entry\" ;;
esac
";
    fs_err::write(&program, script).expect("a program");
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let store = folder.path().display().to_string();
    let templates = Templates::new(super::Options {
        environment: [
            ("PATH".to_owned(), format!("{store}:/usr/bin:/bin")),
            ("PASSWORD_STORE_DIR".to_owned(), store.clone()),
        ]
        .into(),
        ..super::Options::default()
    });
    let value = |expression: &str| {
        templates.text(&format!("{{{{ {expression} }}}}"), None, &scope("{}")).map(|value| json(&value))
    };
    let of = |expression: &str| value(expression).expect("knows");
    fs_err::write(folder.path().join("db"), "s3cret\nuser: admin\nurl: https://db:1/\n").expect("an entry");
    assert_eq!(of("lookup('community.general.passwordstore', 'db')"), r#""s3cret""#);
    assert_eq!(of("lookup('passwordstore', 'db subkey=user')"), r#""admin""#);
    assert_eq!(of("lookup('passwordstore', 'db', subkey='url')"), r#""https://db:1/""#);
    assert_eq!(of("lookup('passwordstore', 'db', subkey='nothing')"), "null");
    assert_eq!(
        of("lookup('passwordstore', 'db', returnall=true)"),
        r#""s3cret\nuser: admin\nurl: https://db:1/""#
    );
    assert_eq!(of("lookup('passwordstore', 'none missing=empty')"), "null");
    let refused = value("lookup('passwordstore', 'none')").expect_err("is not there");
    assert_eq!(
        refused.to_string(),
        "lookup `passwordstore`: no entry `none`; `missing=create` makes one, `missing=empty` goes on"
    );
    let refused = value("lookup('passwordstore', 'db subkye=a')").expect_err("a wrong option");
    assert_eq!(refused.to_string(), "lookup `passwordstore`: it has no option `subkye`");

    let made = of("lookup('passwordstore', 'new create=true length=12 nosymbols=true')");
    let kept = fs_err::read_to_string(folder.path().join("new")).expect("made");
    let (first, rest) = kept.split_once('\n').expect("lines");
    assert_eq!((made, first.len()), (format!("\"{first}\""), 12));
    assert!(first.chars().all(|c| c.is_ascii_alphanumeric()), "{first}");
    assert!(rest.starts_with("lookup_pass: First generated by ansible on "), "{rest}");
    assert_eq!(of("lookup('passwordstore', 'new create=true')"), format!("\"{first}\""), "made once");

    assert_eq!(
        of("lookup('passwordstore', 'db', overwrite=true, userpass='other', backup=true)"),
        r#""other""#
    );
    let kept = fs_err::read_to_string(folder.path().join("db")).expect("kept");
    assert!(
        kept.starts_with(
            "other\nuser: admin\nurl: https://db:1/\nlookup_pass: old password was s3cret (Updated on "
        ),
        "{kept}"
    );
}
