//! How a step's host is reached, out of keywords, variables and the command line.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::dispatch::{Unready, constant, known};
use super::prepared::{Prepared, constant_flag};
use super::state::lock;
use super::walk::Walker;
use crate::connection::{Become, BecomeMethod, SshTarget, Target, Via};
use crate::resolve::Task;
use crate::source::Node;
use crate::template::{ErrorKind, Scope, TemplateError, Var};
use crate::vars::connection::{self, Connection, ConnectionError, Given};
use crate::vars::{SteadyConnection, TaskScope};

impl Walker {
    /// The target of a task on a host (its own, or the one it is delegated to).
    ///
    /// # Errors
    /// A sentence: a variable that cannot be rendered, a connection or become method that we do not have. The template's
    /// error itself when check mode cannot know a value.
    pub(super) fn target(
        &self,
        task: &Task,
        prepared: &Prepared,
        scope: &Arc<TaskScope>,
        host: &Arc<str>,
    ) -> Result<Arc<Target>, Unready> {
        let delegated = *host != self.host;
        let shared: Arc<dyn Scope> = Arc::clone(scope) as _;
        if delegated {
            let given = self.given(task, &shared, true)?;
            return Ok(Arc::new(self.resolve_target(&given, &shared, host, true)?.0));
        }
        let constant = || {
            let given = is_constant(task).then(|| self.given(task, &shared, false).ok()).flatten()?;
            Some(Arc::new(given))
        };
        let given = match prepared.given.get_or_init(constant) {
            Some(given) => Arc::clone(given),
            None => Arc::new(self.given(task, &shared, false)?),
        };
        // What a step may have changed has no say in it: then it is as it was.
        let steady = scope.steady_connection();
        if let Some(steady) = &steady
            && let Some(known) = &*lock(&self.reached)
            && (Arc::ptr_eq(&known.given, &given) || known.given == given)
            && known.steady == *steady
        {
            return Ok(Arc::clone(&known.target));
        }
        let (target, constant) = self.resolve_target(&given, &shared, host, false)?;
        let target = Arc::new(target);
        if let Some(steady) = steady.filter(|_| constant) {
            *lock(&self.reached) = Some(Reached { given, steady, target: Arc::clone(&target) });
        }
        Ok(target)
    }

    /// The target of a task on the walker's own host.
    pub(super) fn own_target(&self, task: &Task) -> Result<Arc<Target>, Unready> {
        let prepared = self.playing.prepared(task);
        self.target(task, &prepared, &Arc::new(self.prepared_scope(&prepared)), &self.host)
    }

    /// What keywords and the command line say about the connection.
    fn given(&self, task: &Task, scope: &Arc<dyn Scope>, delegated: bool) -> Result<Given, TemplateError> {
        let run = &self.playing.run;
        let templates = &run.inputs.templates;
        let defaults = &run.inputs.options.connection;
        let settings = &task.settings;
        let text = |node: &Option<Node>| -> Result<Option<String>, TemplateError> {
            let Some(node) = node else { return Ok(None) };
            let value = templates.node(node, scope)?;
            if crate::template::is_omit(&value) || value.is_none() {
                return Ok(None);
            }
            crate::template::to_text(&value).map(Some)
        };
        let flag = |node: &Option<Node>| -> Result<Option<bool>, TemplateError> {
            node.as_ref().map(|n| templates.condition(n, scope)).transpose()
        };
        Ok(Given {
            // A play's `connection: local` is about its own hosts; the delegate says itself how it is reached.
            connection: if delegated { None } else { text(&settings.connection)? }
                .or_else(|| defaults.connection.clone()),
            user: text(&settings.remote_user)?.or_else(|| defaults.user.clone()),
            port: text(&settings.port)?.and_then(|p| p.parse().ok()),
            private_key_file: defaults.private_key.as_ref().map(|p| p.display().to_string()),
            password: defaults.password.clone(),
            ssh_args: defaults.ssh_args.clone(),
            common_args: defaults.common_args.clone(),
            extra_args: defaults.extra_args.clone(),
            timeout: None,
            r#become: flag(&settings.r#become)?.unwrap_or(defaults.r#become),
            become_method: text(&settings.become_method)?.or_else(|| defaults.become_method.clone()),
            become_user: text(&settings.become_user)?.or_else(|| defaults.become_user.clone()),
            become_flags: text(&settings.become_flags)?,
            become_exe: text(&settings.become_exe)?,
            become_password: defaults.become_password.clone(),
        })
    }

    /// The target, and whether its variables are all written as what they are: then they cannot become others.
    fn resolve_target(
        &self,
        given: &Given,
        scope: &Arc<dyn Scope>,
        host: &Arc<str>,
        delegated: bool,
    ) -> Result<(Target, bool), Unready> {
        let run = &self.playing.run;
        let templates = &run.inputs.templates;
        let defaults = &run.inputs.options.connection;
        // A delegate's connection variables are its own; so the scope is that of the other host.
        let foreign: Arc<dyn Scope>;
        let look = if delegated {
            foreign = Arc::new(run.inputs.store.scope(host, &Arc::default()));
            &foreign
        } else {
            scope
        };
        let steady = Cell::new(true);
        let render = |var: &Var| match var {
            Var::Yaml(node) => {
                steady.set(steady.get() && constant(node).is_some());
                templates.node(node, look).and_then(known)
            }
            Var::Data(value) => {
                steady.set(false);
                known(value.clone())
            }
        };
        let resolved = connection::resolve(look.as_ref(), host, given, &render).map_err(|e| match e {
            ConnectionError::Render { fault, .. } if fault.kind == ErrorKind::Unknown => {
                Unready::Template(fault)
            }
            ConnectionError::Render { name, fault } => {
                Unready::Text(format!("`{name}` cannot be rendered: {}", self.explain(&fault)))
            }
            other @ ConnectionError::Value { .. } => Unready::Text(other.to_string()),
        })?;
        let via =
            via(&resolved, defaults.check_host_keys, defaults.connect_timeout).map_err(Unready::Text)?;
        let r#become = match resolved.r#become {
            None => None,
            Some(other) => {
                let method = match other.method.rsplit('.').next().unwrap_or_default() {
                    "sudo" => BecomeMethod::Sudo,
                    "doas" => BecomeMethod::Doas,
                    method => {
                        return Err(Unready::Text(format!(
                            "`become_method: {method}` is not supported: use sudo or doas"
                        )));
                    }
                };
                let flags = other.flags.as_deref().map_or(Some(Vec::new()), shlex::split);
                // Ansible's own defaults for sudo are what the agent does anyway.
                let flags =
                    flags.ok_or_else(|| Unready::Text("`become_flags` have an open quote".to_owned()))?;
                let flags = flags.into_iter().filter(|f| !matches!(f.as_str(), "-H" | "-S" | "-n")).collect();
                Some(Become {
                    method,
                    user: other.user,
                    password: other.password,
                    executable: other.exe,
                    flags,
                })
            }
        };
        // Becoming who one already is would cost a sudo for nothing, and fail where sudo is not installed.
        let r#become = r#become.filter(|b| !(b.flags.is_empty() && logs_in_as(&via, &b.user)));
        for secret in [r#become.as_ref().and_then(|b| b.password.as_ref())].into_iter().flatten() {
            run.inputs.masks.add(secret.reveal());
        }
        if let Via::Ssh(ssh) = &via
            && let Some(secret) = &ssh.password
        {
            run.inputs.masks.add(secret.reveal());
        }
        Ok((Target { host: Arc::clone(host), via, r#become }, steady.get()))
    }
}

/// Whether no variable has a say in what a task's keywords tell of the connection.
fn is_constant(task: &Task) -> bool {
    let settings = &task.settings;
    let texts = [
        &settings.connection,
        &settings.remote_user,
        &settings.port,
        &settings.become_method,
        &settings.become_user,
        &settings.become_flags,
        &settings.become_exe,
    ];
    constant_flag(settings.r#become.as_ref(), false).is_some()
        && texts.into_iter().flatten().all(|node| constant(node).is_some())
}

/// The last target of a host, and what it came from.
pub(super) struct Reached {
    given: Arc<Given>,
    steady: SteadyConnection,
    target: Arc<Target>,
}

/// The way that resolved variables describe; the other two are what counts where they say nothing.
///
/// # Errors
/// A sentence: an open quote in ssh's arguments, a connection that we do not have.
pub(crate) fn via(
    resolved: &Connection,
    check_host_keys: bool,
    connect_timeout: Duration,
) -> Result<Via, String> {
    match resolved.kind.as_str() {
        "local" => Ok(Via::Local),
        "ssh" => {
            let mut extra_args = Vec::new();
            for args in
                [&resolved.ssh_args, &resolved.common_args, &resolved.extra_args].into_iter().flatten()
            {
                let words = shlex::split(args)
                    .ok_or_else(|| format!("the ssh arguments `{args}` have an open quote"))?;
                extra_args.extend(words);
            }
            Ok(Via::Ssh(Box::new(SshTarget {
                address: resolved.host.clone(),
                port: resolved.port,
                user: resolved.user.clone(),
                password: resolved.password.clone(),
                private_key: resolved.private_key_file.as_deref().map(expand_home),
                extra_args,
                check_host_keys: resolved.host_key_checking.unwrap_or(check_host_keys),
                executable: resolved.ssh_executable.clone().unwrap_or_else(|| "ssh".to_owned()),
                connect_timeout: resolved.timeout.map_or(connect_timeout, Duration::from_secs),
            })))
        }
        other => Err(format!("the connection `{other}` is not supported: use ssh or local")),
    }
}

fn logs_in_as(via: &Via, user: &str) -> bool {
    match via {
        Via::Ssh(ssh) => ssh.user.as_deref() == Some(user),
        Via::Local => user == "root" && nix::unistd::geteuid().is_root(),
    }
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// `10.77.0.12 as root`: for people.
pub(super) fn described(target: &Target) -> String {
    let (place, login) = match &target.via {
        Via::Local => ("this machine", None),
        Via::Ssh(ssh) => (ssh.address.as_str(), ssh.user.as_deref()),
    };
    let user = target.r#become.as_ref().map(|b| b.user.as_str()).or(login);
    match user {
        Some(user) => format!("{place} as {user}"),
        None => place.to_owned(),
    }
}
