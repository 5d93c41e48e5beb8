//! How a host is reached and as whom tasks run there, out of its variables.
//!
//! Owns: the names of connection variables with their old aliases. Must not: connect or render.

use super::secrets::Secret;
use crate::template::{Scope, Value, Var, is_omit};

/// What keywords and the command line say; variables of the host win over all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    pub connection: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub private_key_file: Option<String>,
    pub password: Option<Secret>,
    pub ssh_args: Option<String>,
    pub common_args: Option<String>,
    pub extra_args: Option<String>,
    pub timeout: Option<u64>,
    pub r#become: bool,
    pub become_method: Option<String>,
    pub become_user: Option<String>,
    pub become_flags: Option<String>,
    pub become_exe: Option<String>,
    pub become_password: Option<Secret>,
}

/// Where and how to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `ssh`, `local`, ...; `smart` and collection prefixes are already resolved.
    pub kind: String,
    /// Address or name to connect to.
    pub host: String,
    pub port: Option<u16>,
    /// `None`: what the user's ssh configuration says.
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub private_key_file: Option<String>,
    pub ssh_args: Option<String>,
    pub common_args: Option<String>,
    pub extra_args: Option<String>,
    pub ssh_executable: Option<String>,
    /// `None`: what the run's settings say.
    pub host_key_checking: Option<bool>,
    /// Seconds.
    pub timeout: Option<u64>,
    pub remote_tmp: Option<String>,
    /// Path of the shell on the host.
    pub shell: Option<String>,
    /// `None`: tasks run as the user who connects.
    pub r#become: Option<Become>,
}

/// Another user for tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Become {
    /// `sudo`, `su`, ...
    pub method: String,
    pub user: String,
    pub flags: Option<String>,
    pub exe: Option<String>,
    pub password: Option<Secret>,
}

/// Why the variables make no connection; `F` is the renderer's error.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError<F> {
    #[error("can't render `{name}`")]
    Render { name: &'static str, fault: F },
    #[error("`{name}` is `{value}`, which is not {expected}")]
    Value { name: &'static str, value: String, expected: &'static str },
}

/// The names of one setting, and its place in [`ALL`].
#[derive(Clone, Copy)]
struct Names {
    at: usize,
    list: &'static [&'static str],
}

// In each list a later name wins over an earlier one, as in Ansible's plugins.
const CONNECTION: Names = Names { at: 0, list: &["ansible_connection"] };
const HOST: Names = Names { at: 1, list: &["ansible_host", "ansible_ssh_host"] };
const PORT: Names = Names { at: 2, list: &["ansible_port", "ansible_ssh_port"] };
const USER: Names = Names { at: 3, list: &["ansible_user", "ansible_ssh_user"] };
const PASSWORD: Names =
    Names { at: 4, list: &["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"] };
const PRIVATE_KEY: Names =
    Names { at: 5, list: &["ansible_private_key_file", "ansible_ssh_private_key_file"] };
const SSH_ARGS: Names = Names { at: 6, list: &["ansible_ssh_args"] };
const COMMON_ARGS: Names = Names { at: 7, list: &["ansible_ssh_common_args"] };
const EXTRA_ARGS: Names = Names { at: 8, list: &["ansible_ssh_extra_args"] };
const SSH_EXECUTABLE: Names = Names { at: 9, list: &["ansible_ssh_executable"] };
const HOST_KEY_CHECKING: Names =
    Names { at: 10, list: &["ansible_host_key_checking", "ansible_ssh_host_key_checking"] };
const TIMEOUT: Names = Names { at: 11, list: &["ansible_timeout", "ansible_ssh_timeout"] };
const REMOTE_TMP: Names = Names { at: 12, list: &["ansible_remote_tmp"] };
const SHELL: Names = Names { at: 13, list: &["ansible_shell_executable"] };
const BECOME: Names = Names { at: 14, list: &["ansible_become"] };
const BECOME_METHOD: Names = Names { at: 15, list: &["ansible_become_method"] };
const BECOME_USER: Names = Names { at: 16, list: &["ansible_become_user"] };
const BECOME_FLAGS: Names = Names { at: 17, list: &["ansible_become_flags"] };
const BECOME_EXE: Names = Names { at: 18, list: &["ansible_become_exe"] };
const BECOME_PASSWORD: Names = Names { at: 19, list: &["ansible_become_password", "ansible_become_pass"] };

/// The old names that only one become method knows.
const METHOD_NAMES: &[(&str, [&str; 4])] = &[
    ("sudo", ["ansible_sudo_user", "ansible_sudo_flags", "ansible_sudo_exe", "ansible_sudo_pass"]),
    ("su", ["ansible_su_user", "ansible_su_flags", "ansible_su_exe", "ansible_su_pass"]),
    ("doas", ["ansible_doas_user", "ansible_doas_flags", "ansible_doas_exe", "ansible_doas_pass"]),
];

const ALL: [Names; 20] = [
    CONNECTION,
    HOST,
    PORT,
    USER,
    PASSWORD,
    PRIVATE_KEY,
    SSH_ARGS,
    COMMON_ARGS,
    EXTRA_ARGS,
    SSH_EXECUTABLE,
    HOST_KEY_CHECKING,
    TIMEOUT,
    REMOTE_TMP,
    SHELL,
    BECOME,
    BECOME_METHOD,
    BECOME_USER,
    BECOME_FLAGS,
    BECOME_EXE,
    BECOME_PASSWORD,
];

/// The settings that a name can decide, as a set of bits by their place in `ALL`; 0 for all other names. Levels of
/// variables remember them, so that a step need not look for forty names on every level when hardly any is there.
#[must_use]
pub fn settings_of(name: &str) -> u32 {
    if !name.starts_with("ansible_") {
        return 0;
    }
    let own = ALL.iter().filter(|names| names.list.contains(&name)).map(|names| names.at);
    let old = METHOD_NAMES
        .iter()
        .flat_map(|(_, old)| [BECOME_USER, BECOME_FLAGS, BECOME_EXE, BECOME_PASSWORD].into_iter().zip(old));
    let old = old.filter(|(_, old)| **old == name).map(|(names, _)| names.at);
    own.chain(old).fold(0, |bits, at| bits | 1 << at)
}

/// True for a name that steers how we connect, which facts from a host must not set.
#[must_use]
pub fn is_connection_variable(name: &str) -> bool {
    settings_of(name) != 0
        || name.starts_with("ansible_become_")
        || (name.starts_with("ansible_") && name.ends_with("_interpreter"))
        || matches!(
            name,
            "ansible_shell_type" | "ansible_ssh_pipelining" | "ansible_pipelining" | "ansible_delegated_vars"
        )
}

/// Resolves the connection of a scope's host. `name` is its inventory name, `render` makes a value of a variable.
///
/// # Errors
/// A variable that can't be rendered or isn't of the right kind.
pub fn resolve<F>(
    scope: &dyn Scope,
    name: &str,
    given: &Given,
    render: &dyn Fn(&Var) -> Result<Value, F>,
) -> Result<Connection, ConnectionError<F>> {
    let look = Look { scope, render, there: scope.connection_settings() };
    let kind =
        look.text(CONNECTION)?.or_else(|| given.connection.clone()).unwrap_or_else(|| "ssh".to_owned());
    let kind = match kind.rsplit('.').next().unwrap_or_default() {
        "smart" | "paramiko" | "paramiko_ssh" => "ssh",
        short => short,
    };
    Ok(Connection {
        kind: kind.to_owned(),
        host: look.text(HOST)?.unwrap_or_else(|| name.to_owned()),
        port: look.number(PORT, "a port")?.or(given.port),
        user: look.text(USER)?.or_else(|| given.user.clone()),
        password: look.secret(PASSWORD)?.or_else(|| given.password.clone()),
        private_key_file: look.text(PRIVATE_KEY)?.or_else(|| given.private_key_file.clone()),
        ssh_args: look.text(SSH_ARGS)?.or_else(|| given.ssh_args.clone()),
        common_args: look.text(COMMON_ARGS)?.or_else(|| given.common_args.clone()),
        extra_args: look.text(EXTRA_ARGS)?.or_else(|| given.extra_args.clone()),
        ssh_executable: look.text(SSH_EXECUTABLE)?,
        host_key_checking: look.boolean(HOST_KEY_CHECKING)?,
        timeout: look.number(TIMEOUT, "a number of seconds")?.or(given.timeout),
        remote_tmp: look.text(REMOTE_TMP)?,
        shell: look.text(SHELL)?,
        r#become: if look.boolean(BECOME)?.unwrap_or(given.r#become) {
            Some(look.other_user(given)?)
        } else {
            None
        },
    })
}

struct Look<'a, F> {
    scope: &'a dyn Scope,
    render: &'a dyn Fn(&Var) -> Result<Value, F>,
    /// Settings that any level says something about.
    there: u32,
}

impl<F> Look<'_, F> {
    fn value(&self, names: Names) -> Result<Option<(&'static str, Value)>, ConnectionError<F>> {
        self.value_of(names, None)
    }

    /// `old` is a name that only one become method knows; it wins over the others.
    fn value_of(
        &self,
        names: Names,
        old: Option<&'static str>,
    ) -> Result<Option<(&'static str, Value)>, ConnectionError<F>> {
        if self.there & 1 << names.at == 0 {
            return Ok(None);
        }
        for name in old.iter().chain(names.list.iter().rev()) {
            if let Some(var) = self.scope.get(name) {
                let value = (self.render)(&var).map_err(|fault| ConnectionError::Render { name, fault })?;
                // `ansible_user: null` and `default(omit)` mean: as if it were not said.
                let unsaid = value.is_none() || value.is_undefined() || is_omit(&value);
                return Ok(if unsaid { None } else { Some((name, value)) });
            }
        }
        Ok(None)
    }

    fn text(&self, names: Names) -> Result<Option<String>, ConnectionError<F>> {
        Ok(self.value(names)?.map(|(_, value)| value.to_string()))
    }

    fn secret(&self, names: Names) -> Result<Option<Secret>, ConnectionError<F>> {
        Ok(self.text(names)?.map(Secret::new))
    }

    fn number<N: std::str::FromStr>(
        &self,
        names: Names,
        expected: &'static str,
    ) -> Result<Option<N>, ConnectionError<F>> {
        let Some((name, value)) = self.value(names)? else { return Ok(None) };
        let text = value.to_string();
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(ConnectionError::Value { name, value: text, expected }),
        }
    }

    fn boolean(&self, names: Names) -> Result<Option<bool>, ConnectionError<F>> {
        let Some((name, value)) = self.value(names)? else { return Ok(None) };
        let text = value.to_string();
        match &*text.trim().to_ascii_lowercase() {
            "true" | "yes" | "on" | "1" | "y" | "t" | "1.0" => Ok(Some(true)),
            "false" | "no" | "off" | "0" | "n" | "f" | "0.0" | "" => Ok(Some(false)),
            _ => Err(ConnectionError::Value { name, value: text, expected: "a boolean" }),
        }
    }

    fn other_user(&self, given: &Given) -> Result<Become, ConnectionError<F>> {
        let method = self
            .text(BECOME_METHOD)?
            .or_else(|| given.become_method.clone())
            .unwrap_or_else(|| "sudo".to_owned());
        let method = method.rsplit('.').next().unwrap_or_default().to_owned();
        let old = METHOD_NAMES.iter().find(|(m, _)| *m == method).map(|(_, names)| names);
        let text = |new: Names, at: usize| {
            Ok(self.value_of(new, old.map(|names| names[at]))?.map(|(_, value)| value.to_string()))
        };
        Ok(Become {
            user: text(BECOME_USER, 0)?
                .or_else(|| given.become_user.clone())
                .unwrap_or_else(|| "root".to_owned()),
            flags: text(BECOME_FLAGS, 1)?.or_else(|| given.become_flags.clone()),
            exe: text(BECOME_EXE, 2)?.or_else(|| given.become_exe.clone()),
            password: text(BECOME_PASSWORD, 3)?.map(Secret::new).or_else(|| given.become_password.clone()),
            method,
        })
    }
}
