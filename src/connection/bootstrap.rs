//! The shell lines that find or install the agent on a host.
//!
//! Owns: where the agent lives on hosts, and the POSIX `sh` text. Must not: do I/O.
//!
//! Nothing but `sh`, `mkdir`, `chmod`, `cat`, `mv`, `rm` and `id` is assumed on the host. A folder is taken only
//! when it belongs to the user alone and programs may run from it (temporary folders are often `noexec`).

use super::shell::quote;

/// Where the agent may live, best first; a shell expands them on the host.
const FOLDERS: &str = r#""${XDG_CACHE_HOME:-$HOME/.cache}/dcos-play" "$HOME/.dcos-play" "/var/tmp/.dcos-play-$u" "/dev/shm/.dcos-play-$u" "/run/user/$u/dcos-play" "/tmp/.dcos-play-$u""#;

/// The word after [`dcos_play_agent::protocol::NEED_AGENT`] when the host can unpack gzip.
pub(super) const GZIP: &str = "gzip";

/// The line the install command prints when the agent is in place.
pub(super) const INSTALLED: &str = "dcos-play: agent installed";

/// Starts the agent, or says that it is needed and in which form it can be received.
pub(super) fn start(hash: &str) -> String {
    let need = dcos_play_agent::protocol::NEED_AGENT;
    format!(
        "u=$(id -u); for d in {FOLDERS}; do \
         if [ -O \"$d\" ] && [ -x \"$d/agent-{hash}\" ]; then \
         export DCOS_PLAY_AGENT_DIR=\"$d\"; exec \"$d/agent-{hash}\" serve; fi; done; \
         if command -v gzip >/dev/null 2>&1; then echo '{need} {GZIP}'; else echo '{need} plain'; fi"
    )
}

/// Receives the agent on standard input and puts it in place; exits with 1 and reasons on standard error when no
/// folder will do.
pub(super) fn install(hash: &str, size: usize, gzip: bool) -> String {
    let unpack = if gzip { "gzip -dc" } else { "cat" };
    format!(
        "umask 077; u=$(id -u); for d in {FOLDERS}; do \
         mkdir -p \"$d\" 2>/dev/null && [ -O \"$d\" ] && chmod 700 \"$d\" 2>/dev/null || continue; \
         t=\"$d/.new-$$\"; \
         if ! {{ printf '#!/bin/sh\\nexit 0\\n' >\"$t\" && chmod 700 \"$t\" && \"$t\"; }} 2>/dev/null; then \
         rm -f \"$t\"; echo \"cannot write or run programs in $d\" >&2; continue; fi; \
         {unpack} >\"$t\" || {{ rm -f \"$t\"; echo \"the agent could not be written to $d\" >&2; exit 1; }}; \
         s=$(wc -c <\"$t\"); if [ $((s)) -ne {size} ]; then rm -f \"$t\"; \
         echo \"the agent arrived incomplete in $d: $((s)) of {size} bytes\" >&2; exit 1; fi; \
         chmod 700 \"$t\" && mv -f \"$t\" \"$d/agent-{hash}\" || exit 1; \
         for o in \"$d\"/agent-*; do [ \"$o\" = \"$d/agent-{hash}\" ] || find \"$o\" -mtime +30 -exec rm -f {{}} \\; 2>/dev/null; done; \
         echo '{INSTALLED}'; exit 0; done; \
         echo 'no folder on this host lets the user keep and run a program' >&2; exit 1"
    )
}

/// Wraps a line so that it runs as another user.
pub(super) fn escalated(escalation: &super::Become, prompt: &str, line: &str) -> String {
    let flags = escalation.flags.iter().map(|f| quote(f)).collect::<Vec<_>>().join(" ");
    let user = quote(&escalation.user);
    let line = quote(line);
    // From `/`: the login user's folder may be closed to the other user.
    match escalation.method {
        super::BecomeMethod::Sudo => {
            let program = quote(escalation.executable.as_deref().unwrap_or("sudo"));
            // -S reads the password from standard input; it is sent only when the prompt shows up.
            let ask = if escalation.password.is_some() {
                format!("-S -p {}", quote(prompt))
            } else {
                "-n".to_owned()
            };
            format!("cd / && exec {program} -H {ask} {flags} -u {user} -- /bin/sh -c {line}")
        }
        super::BecomeMethod::Doas => {
            let program = quote(escalation.executable.as_deref().unwrap_or("doas"));
            format!("cd / && exec {program} -n {flags} -u {user} /bin/sh -c {line}")
        }
    }
}

/// Wraps a line so that it has a terminal, for a sudo that wants one; its three streams stay what they are, because a
/// terminal would change the bytes. `script` is part of util-linux and of busybox.
pub(super) fn with_terminal(line: &str) -> String {
    let inner = quote(&format!("{{ {line}; }} <&3 >&4 2>&5 3<&- 4>&- 5>&-"));
    format!("exec 3<&0 4>&1 5>&2; SHELL=/bin/sh exec script -q -c {inner} /dev/null </dev/null >/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_valid_posix_shell() {
        for line in [start("abc"), install("abc", 3, true), install("abc", 3, false)] {
            let checked =
                std::process::Command::new("/bin/sh").args(["-n", "-c", &line]).status().expect("sh runs");
            assert!(checked.success(), "{line}");
        }
    }

    #[test]
    fn a_terminal_is_there_and_the_streams_are_as_before() {
        use std::io::Write as _;
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", &with_terminal("(: </dev/tty) && cat && echo complaint >&2")])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("sh starts");
        // Bytes that a terminal would change or take as signals.
        let bytes: Vec<u8> = (0..=255).collect();
        child.stdin.take().expect("stdin").write_all(&bytes).expect("writes");
        let output = child.wait_with_output().expect("ends");
        assert_eq!(output.stdout, bytes, "{output:?}");
        assert_eq!(output.stderr, b"complaint\n");
    }

    #[test]
    fn installing_puts_the_program_in_a_private_folder_and_start_runs_it() {
        let home = tempfile::tempdir().expect("temp dir");
        let program = "#!/bin/sh\necho \"started $1 in $DCOS_PLAY_AGENT_DIR\"\n";
        let run = |line: &str, input: &str| {
            use std::io::Write as _;
            let mut child = std::process::Command::new("/bin/sh")
                .args(["-c", line])
                .env("HOME", home.path())
                .env_remove("XDG_CACHE_HOME")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .expect("sh starts");
            child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("writes");
            String::from_utf8(child.wait_with_output().expect("ends").stdout).expect("text")
        };
        assert!(run(&start("beef"), "").starts_with("dcos-play: need agent"));
        assert_eq!(run(&install("beef", program.len(), false), program), format!("{INSTALLED}\n"));
        let folder = home.path().join(".cache/dcos-play");
        assert_eq!(run(&start("beef"), ""), format!("started serve in {}\n", folder.display()));
        assert_eq!(run(&install("dead", 99, false), "short"), "", "an incomplete agent is not installed");
        assert!(run(&start("dead"), "").starts_with("dcos-play: need agent"));
    }
}
