//! Secrets in every stream of a run: screen, JSON, journal, host logs, summary, page, JUnit.

use std::path::Path;

use crate::support::Project;

/// `hunter22`, made with `ansible-vault` of ansible-core 2.19, password `pw1`.
const SEALED_VALUE: &str = "\
$ANSIBLE_VAULT;1.1;AES256
65643636336130613163616432373262373236363436376232666635656239613830343131366432
6666333234316138393231623865393664633766323466640a633030306363313635303731313538
62316366366639316136343937376330326435333132376539616334316539303536343937303536
3631643037373538350a613538636361646338646337383536346531643539363164303138633365
3133
";

/// Every file below a folder whose text has these words.
fn holding(folder: &Path, words: &str, into: &mut Vec<String>) {
    for entry in fs_err::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        } else if path.is_dir() {
            holding(&path, words, into);
        } else if String::from_utf8_lossy(&fs_err::read(&path).expect("a file")).contains(words) {
            into.push(path.display().to_string());
        }
    }
}

fn nowhere(project: &Project, args: &[&str], status: i32, words: &[&str]) {
    let said = project.run(args);
    assert_eq!(said.status, status, "{}{}", said.out, said.err);
    for word in words {
        for text in [&said.out, &said.err] {
            assert!(!text.contains(word), "`{word}` is shown by {args:?}:\n{text}");
        }
        let mut found = Vec::new();
        holding(&project.path(".dcos-play"), word, &mut found);
        assert!(found.is_empty(), "{args:?}: `{word}` is in {found:?}");
    }
}

const WAYS: [&[&str]; 3] =
    [&["-vvv", "--diff"], &["--output", "json", "--diff"], &["--check", "--diff", "-vv"]];

#[test]
fn a_literal_secret_of_a_no_log_task_is_nowhere_however_the_task_ends() {
    // Fine, with items and output while it runs, tried again, ignored, and failing in a module, an action, a template.
    let before = "- hosts: h1
  gather_facts: false
  tasks:
    - {name: Items, shell: \"echo literal-secret {{ item }}; echo literal-secret >&2\", loop: [item-secret], no_log: true}
    - {name: Diff, copy: {content: literal-secret, dest: \"{{ playbook_dir }}/kept\"}, no_log: true}
    - {name: Again, shell: echo literal-secret; exit 1, retries: 1, delay: 0, until: false, no_log: true, ignore_errors: true}
    - {name: Delegated, shell: echo literal-secret; exit 1, delegate_to: h2, no_log: true, ignore_errors: true}
    - {name: Said, debug: {msg: literal-secret}, no_log: true}
";
    for last in [
        "shell: echo literal-secret; exit 1",
        "assert: {that: \"1 == 2\", fail_msg: literal-secret}",
        "fail: {msg: literal-secret}",
        "command: \"echo literal-secret {{ 'literal-secret' + [] }}\"",
        "copy: {src: literal-secret, dest: /nonexistent/literal-secret}",
    ] {
        for way in WAYS {
            let project = crate::project(&format!("{before}    - {{name: Last, {last}, no_log: true}}\n"));
            let args = [&["run", "play.yml", "-i", "hosts"], way].concat();
            let status = if way.contains(&"--check") && last.starts_with("shell") { 0 } else { 2 };
            nowhere(&project, &args, status, &["literal-secret", "item-secret"]);
        }
    }
}

#[test]
fn a_vault_value_is_masked_wherever_it_shows_up() {
    let sealed: String = SEALED_VALUE.lines().map(|l| format!("        {l}\n")).collect();
    for last in ["fail: {msg: \"no {{ word }} here\"}", "command: \"sh -c 'echo {{ word }} >&2; exit 3'\""] {
        for way in WAYS {
            let project = crate::project(&format!(
                "- name: \"Play\"
  hosts: h1
  gather_facts: false
  vars:
    word: !vault |
{sealed}  tasks:
    - {{name: \"Say {{{{ word }}}}\", command: \"echo {{{{ word }}}} {{{{ word | upper | lower }}}}\", register: said}}
    - {{name: Show, debug: {{msg: \"{{{{ said }}}} {{{{ word }}}}\"}}}}
    - {{name: Kept, copy: {{content: \"a {{{{ word }}}} b\", dest: \"{{{{ playbook_dir }}}}/kept\"}}}}
    - {{name: Items, command: \"echo {{{{ item }}}}\", loop: [\"{{{{ word }}}}\"]}}
    - {{name: Last, {last}}}
"
            ));
            project.file("pw", "pw1\n");
            let args = [&["run", "play.yml", "-i", "hosts", "--vault-password-file", "pw"], way].concat();
            let fine = way.contains(&"--check") && last.starts_with("command");
            nowhere(&project, &args, if fine { 0 } else { 2 }, &["hunter22"]);
        }
    }
}
