//! What `--help` says everywhere: fits a terminal, and names the exit statuses.

use crate::support::Project;

/// The subcommands that a help lists.
fn listed(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| !l.trim().is_empty())
        // A line that goes on is indented further.
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_help_fits_a_hundred_columns_and_names_the_exit_statuses() {
    let project = Project::new();
    let mut to_ask: Vec<Vec<String>> = vec![vec![]];
    let mut seen = Vec::new();
    while let Some(words) = to_ask.pop() {
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        args.push("--help");
        let said = project.run(&args);
        let name = args.join(" ");
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{name}");
        for line in said.out.lines() {
            assert!(line.chars().count() <= 100, "{name}: {} columns: {line}", line.chars().count());
        }
        let ends = said.out.split("Exit status: ").nth(1).unwrap_or_else(|| panic!("{name}: {}", said.out));
        let mut statuses = vec!["0 ", " 1 ", " 5 "];
        if matches!(words.first().map(String::as_str), None | Some("run" | "simulate")) {
            statuses.extend([" 2 ", " 4 ", " 6 ", " 7 ", " 130 "]);
        }
        let ends = ends.replace('\n', " ");
        for status in statuses {
            assert!(ends.contains(status), "{name}: {status}: {ends}");
        }
        to_ask.extend(listed(&said.out).into_iter().map(|c| [words.clone(), vec![c]].concat()));
        seen.push(words.join(" "));
    }
    for name in ["run", "lint", "lab up", "masters order", "inventory list", "completions"] {
        assert!(seen.iter().any(|s| s == name), "{name} was not asked: {seen:?}");
    }
}

#[test]
fn the_agents_help_fits_too_and_anything_else_is_refused() {
    let project = Project::new();
    let program = project.path("agent");
    fs_err::write(&program, dcos_play_embedded_agent::agent().bytes().expect("whole")).expect("writes");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(&program, mode).expect("a mode");
    let said = |word: &str| {
        let output = std::process::Command::new(&program).arg(word).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, help, err) = said("--help");
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(help.lines().all(|l| l.chars().count() <= 100), "{help}");
    assert!(
        help.ends_with(
            "\nExit status: 0 fine, 1 the work could not be begun, 2 the command line is wrong.\n"
        )
    );
    assert_eq!(said("--hlep"), (Some(2), String::new(), help));
}
