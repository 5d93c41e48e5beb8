//! Actions against the agent's own modules: both halves must mean the same.
//!
//! Owns: no more than that; each half has its own tests.

use std::path::Path;

use serde_json::json;

use super::testing::Stage;

#[tokio::test]
async fn a_template_changes_once_and_predicts_without_writing() {
    let stage = Stage::new().var("n", json!(1)).real();
    stage.file("templates/t.j2", "n={{ n }}\n");
    let dest = format!("{}/out.conf", stage.directory());
    let args = json!({"src": "t.j2", "dest": dest, "mode": "0640"});
    let first = stage.result("template", args.clone()).await;
    assert_eq!(
        (&first["changed"], &first["mode"], &first["dest"]),
        (&json!(true), &json!("0640"), &json!(dest))
    );
    assert_eq!(fs_err::read_to_string(&dest).expect("there"), "n=1\n");
    let again = stage.result("template", args).await;
    assert_eq!((&again["changed"], &again["checksum"]), (&json!(false), &first["checksum"]));
    let check = Stage::new().check().diff().var("n", json!(2)).real();
    check.file("templates/t.j2", "n={{ n }}\n");
    let predicted = check.result("template", json!({"src": "t.j2", "dest": dest})).await;
    assert_eq!(predicted["changed"], true);
    assert_eq!(
        (&predicted["diff"][0]["before"], &predicted["diff"][0]["after"]),
        (&json!("n=1\n"), &json!("n=2\n"))
    );
    assert!(predicted["diff"][0]["after_header"].as_str().is_some_and(|h| h.ends_with("templates/t.j2")));
    assert_eq!(fs_err::read_to_string(&dest).expect("there"), "n=1\n");
}

#[tokio::test]
async fn a_large_file_is_only_sent_when_it_differs() {
    let stage = Stage::new().real();
    stage.file("files/big", &"x".repeat(200_000));
    let dest = format!("{}/to/", stage.directory());
    let args = json!({"src": "big", "dest": dest});
    assert_eq!(stage.result("copy", args.clone()).await["changed"], true);
    assert_eq!(stage.calls().len(), 2);
    assert!(stage.calls()[0].uploads.is_empty());
    assert_eq!(stage.result("copy", args).await["changed"], false);
    assert_eq!(stage.calls().len(), 3);
    assert_eq!(fs_err::metadata(format!("{dest}big")).expect("there").len(), 200_000);
}

#[tokio::test]
async fn a_large_file_in_check_mode_shows_what_the_host_cannot_know() {
    let stage = Stage::new().check().diff().real();
    stage.file("files/big", &"x".repeat(50_000));
    let dest = format!("{}/f", stage.directory());
    fs_err::write(&dest, "old\n").expect("written");
    let result = stage.result("copy", json!({"src": "big", "dest": dest})).await;
    assert_eq!((&result["changed"], &result["diff"][0]["before"]), (&json!(true), &json!("old\n")));
    assert_eq!(result["diff"][0]["after"].as_str().map(str::len), Some(50_000));
}

#[tokio::test]
async fn a_folder_arrives_as_it_is() {
    let stage = Stage::new().real();
    stage.file("files/app/a", "a");
    stage.folder("files/app/empty");
    let dest = format!("{}/target", stage.directory());
    let args = json!({"src": "app/", "dest": dest, "mode": "0600", "directory_mode": "0750"});
    assert_eq!(stage.result("copy", args.clone()).await["changed"], true);
    assert!(Path::new(&dest).join("empty").is_dir());
    assert_eq!(fs_err::read_to_string(format!("{dest}/a")).expect("there"), "a");
    assert_eq!(stage.result("copy", args).await["changed"], false);
}

#[tokio::test]
async fn a_script_runs_and_its_creates_is_obeyed() {
    let stage = Stage::new().real();
    stage.file("files/s.sh", "#!/bin/sh\necho \"got $1\"\necho oops >&2\nexit $2\n");
    let result = stage.result("script", json!({"cmd": "s.sh 'a b' 0"})).await;
    assert_eq!((&result["stdout_lines"], &result["stderr"]), (&json!(["got a b"]), &json!("oops\n")));
    assert_eq!((&result["rc"], &result["changed"]), (&json!(0), &json!(true)));
    assert_eq!(stage.failure("script", json!({"cmd": "s.sh x 3"})).await["rc"], 3);
    let skipped = stage.result("script", json!({"cmd": "s.sh x 3", "creates": "/etc/passwd"})).await;
    assert_eq!(skipped["msg"], "/etc/passwd exists, matching creates option");
    let check = Stage::new().check().real();
    check.file("files/s.sh", "exit 1\n");
    assert_eq!(check.result("script", json!({"cmd": "s.sh"})).await["skipped"], true);
}

#[tokio::test]
async fn a_file_comes_back_whole() {
    let stage = Stage::new().real();
    let text = "y".repeat(5 << 20);
    let source = stage.file("far/away", &text);
    let args = json!({"src": source, "dest": "got/", "flat": true});
    assert_eq!(stage.result("fetch", args.clone()).await["changed"], true);
    assert_eq!(fs_err::read_to_string(format!("{}/got/away", stage.directory())).expect("there"), text);
    assert_eq!(stage.result("fetch", args).await["changed"], false);
}

#[test]
fn every_option_that_is_passed_on_is_known_on_the_host() {
    let spec = |name: &str| dcos_play_agent::modules::find(name).expect("a module");
    for option in super::copy::FILE_OPTIONS {
        let there =
            spec("copy").option(option.name).unwrap_or_else(|| panic!("copy has no `{}`", option.name));
        assert_eq!((there.name, there.kind), (option.name, option.kind));
        assert!(option.aliases.iter().all(|a| there.aliases.contains(a)), "{}", option.name);
    }
    for (module, names) in [
        ("copy", vec!["dest", "checksum", "_original_basename"]),
        (
            "file",
            vec![
                "path",
                "src",
                "state",
                "force",
                "follow",
                "mode",
                "owner",
                "group",
                "attributes",
                "unsafe_writes",
            ],
        ),
        (
            "shell",
            vec!["cmd", "stdin", "stdin_add_newline", "strip_empty_ends", "creates", "removes", "chdir"],
        ),
        ("command", vec!["argv", "expand_argument_vars"]),
        ("fetch", vec!["src", "offset"]),
        ("stat", vec!["path", "follow", "get_checksum", "checksum_algorithm"]),
        ("setup", vec!["gather_subset", "gather_timeout", "filter", "fact_path"]),
    ] {
        for name in names {
            assert!(spec(module).option(name).is_some(), "`{module}` has no `{name}`");
        }
    }
}
