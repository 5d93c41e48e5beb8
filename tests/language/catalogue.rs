//! A few modules with the shapes that matter, so that these tests do not move when real modules do.

use dcos_play::resolve::{Catalogue, Found};
use dcos_play_agent::options::{CheckSupport, Opt, Spec};

#[derive(Debug)]
pub(crate) struct Test;

static COMMAND: Spec = Spec {
    options: &[&[
        Opt::str("cmd"),
        Opt::list("argv"),
        Opt::path("chdir"),
        Opt::path("creates"),
        Opt::path("removes"),
        Opt::str("stdin"),
        Opt::path("executable"),
    ]],
    free_form: Some("cmd"),
    required_one_of: &[&["cmd", "argv"]],
    check: CheckSupport::None,
    ..Spec::new("command")
};
static SHELL: Spec = Spec {
    free_form: Some("cmd"),
    options: &[&[Opt::str("cmd").required(), Opt::path("chdir"), Opt::path("creates")]],
    ..Spec::new("shell")
};
static COPY: Spec = Spec {
    options: &[&[
        Opt::path("dest").required(),
        Opt::path("src"),
        Opt::str("content"),
        Opt::bool("backup"),
        Opt::bool("force").aliases(&["thirsty"]),
        Opt::mode("mode"),
        Opt::str("owner"),
        Opt::str("group"),
    ]],
    mutually_exclusive: &[&["src", "content"]],
    required_one_of: &[&["src", "content"]],
    ..Spec::new("copy")
};
static TEMPLATE: Spec = Spec {
    options: &[&[Opt::path("src").required(), Opt::path("dest").required(), Opt::mode("mode")]],
    ..Spec::new("template")
};
static FILE: Spec = Spec {
    options: &[&[
        Opt::path("path").required().aliases(&["dest", "name"]),
        Opt::str("state").choices(&["absent", "directory", "file", "hard", "link", "touch"]),
        Opt::mode("mode"),
        Opt::bool("recurse"),
    ]],
    ..Spec::new("file")
};
static DEBUG: Spec = Spec {
    options: &[&[Opt::raw("msg"), Opt::str("var"), Opt::int("verbosity")]],
    mutually_exclusive: &[&["msg", "var"]],
    ..Spec::new("debug")
};
static SERVICE: Spec = Spec {
    options: &[&[
        Opt::str("name").required(),
        Opt::str("state").choices(&["reloaded", "restarted", "started", "stopped"]),
        Opt::bool("enabled"),
    ]],
    ..Spec::new("service")
};
static SET_FACT: Spec =
    Spec { options: &[&[Opt::bool("cacheable")]], any_options: true, ..Spec::new("set_fact") };
static INCLUDE_VARS: Spec = Spec {
    options: &[&[Opt::path("file"), Opt::path("dir"), Opt::str("name")]],
    free_form: Some("file"),
    ..Spec::new("include_vars")
};
static WAIT_FOR: Spec =
    Spec { options: &[&[Opt::int("port"), Opt::str("host"), Opt::int("timeout")]], ..Spec::new("wait_for") };
static SYSCTL: Spec = Spec {
    collections: &["ansible.posix"],
    options: &[&[
        Opt::str("name").required(),
        Opt::str("value"),
        Opt::str("state").choices(&["present", "absent"]),
    ]],
    required_if: &[("state", "present", &["value"])],
    ..Spec::new("sysctl")
};
static VALIDATE: Spec = Spec {
    options: &[&[
        Opt::dict("argument_spec").required(),
        Opt::dict("provided_arguments"),
        Opt::dict("validate_args_context"),
    ]],
    ..Spec::new("validate_argument_spec")
};

static ALL: &[Found] = &[
    Found::Module(&COMMAND),
    Found::Module(&SHELL),
    Found::Module(&COPY),
    Found::Controller(&TEMPLATE),
    Found::Module(&FILE),
    Found::Controller(&DEBUG),
    Found::Module(&SERVICE),
    Found::Controller(&SET_FACT),
    Found::Controller(&INCLUDE_VARS),
    Found::Module(&WAIT_FOR),
    Found::Module(&SYSCTL),
    Found::Controller(&VALIDATE),
    Found::Controller(&INFRASTRUCTURE),
];

static INFRASTRUCTURE: Spec = Spec {
    options: &[&[Opt::str("name").required(), Opt::raw("resources").required(), Opt::str("region")]],
    ..Spec::new("infrastructure")
};

fn spec(found: &Found) -> &'static Spec {
    let (Found::Module(spec) | Found::Controller(spec)) = found;
    spec
}

impl Catalogue for Test {
    fn find(&self, short: &str) -> Option<Found> {
        ALL.iter().find(|f| spec(f).name == short || spec(f).aliases.contains(&short)).copied()
    }

    fn names(&self) -> Vec<&'static str> {
        ALL.iter().map(|f| spec(f).name).collect()
    }
}
