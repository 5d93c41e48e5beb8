//! The resolved playbook: what plan and engine work with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcos_play_agent::options::Spec;

use crate::source::{Node, Span, Spanned};
use crate::vars::Layer;

/// A playbook with all names checked.
#[derive(Debug)]
pub struct Playbook {
    /// Absolute path of the file given on the command line.
    pub path: PathBuf,
    pub plays: Vec<Arc<Play>>,
}

/// A play. Values that may be templated stay nodes; they are rendered when the play starts.
#[derive(Debug)]
pub struct Play {
    /// Position among all plays, imported playbooks expanded.
    pub index: usize,
    pub span: Span,
    /// As written, or the hosts pattern like Ansible does.
    pub name: String,
    pub id: String,
    pub phase: Option<String>,
    /// The play's own tags and those of the imports that brought it in; its tasks have them too.
    pub tags: Vec<String>,
    /// `None`: after the play before it. `Some([])`: at once.
    pub needs: Option<Vec<Need>>,
    pub hosts: Node,
    pub order: Order,
    pub strategy: Strategy,
    pub serial: Option<Node>,
    pub max_fail_percentage: Option<Node>,
    /// Names of what the play must have for itself.
    pub locks: Vec<Node>,
    pub force_handlers: Option<Node>,
    pub gather_facts: Option<Node>,
    pub gather_subset: Option<Node>,
    pub gather_timeout: Option<Node>,
    pub fact_path: Option<Node>,
    pub vars: Arc<Layer>,
    pub vars_files: Vec<Node>,
    pub vars_prompt: Vec<VarsPrompt>,
    /// Play keywords that tasks inherit; already merged into every task below.
    pub settings: Arc<Settings>,
    /// pre_tasks, roles, tasks, post_tasks in order, with the implicit `meta: flush_handlers` between them.
    pub items: Vec<Item>,
    /// All handlers in the order they would run: the play's own after those of its roles, as Ansible orders them.
    pub handlers: Vec<Arc<Handler>>,
    /// Static roles of the play; their defaults and vars are visible to all tasks of the play.
    pub roles: Vec<Arc<Role>>,
    /// Folder of the playbook file that holds this play.
    pub directory: PathBuf,
}

/// `needs:` names another play.
#[derive(Debug, Clone)]
pub struct Need {
    pub play: Spanned<String>,
    pub scope: NeedScope,
}

/// How much of the needed play must be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedScope {
    /// All its hosts.
    Play,
    /// Only the host that wants to start.
    Host,
}

/// Host order of a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Inventory,
    ReverseInventory,
    Sorted,
    ReverseSorted,
    Shuffle,
}

/// How hosts move through a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Barriers where the data needs them: our default.
    #[default]
    Inferred,
    /// A barrier before every task.
    Linear,
    /// No barrier at all.
    Free,
    /// Like free, each host to its end before another takes its slot.
    HostPinned,
}

/// One entry of `vars_prompt`.
#[derive(Debug, Clone)]
pub struct VarsPrompt {
    pub name: String,
    pub prompt: Option<Node>,
    pub default: Option<Node>,
    pub private: bool,
    pub confirm: bool,
    pub encrypt: Option<String>,
    pub unsafe_: bool,
}

/// A task or a block.
#[derive(Debug, Clone)]
pub enum Item {
    Task(Arc<Task>),
    Block(Arc<Block>),
}

/// A block. Its keywords are already merged into the tasks; only the structure matters here.
#[derive(Debug)]
pub struct Block {
    pub span: Span,
    pub name: Option<Node>,
    pub items: Vec<Item>,
    pub rescue: Vec<Item>,
    pub always: Vec<Item>,
}

/// A handler: a task that waits for a notification.
#[derive(Debug)]
pub struct Handler {
    pub task: Arc<Task>,
    pub listen: Vec<Node>,
}

/// Identity of a task: stable when lines move, unique in the playbook.
/// `masters/roles/master/tasks/install.yml/Run the installer#1` and for dynamic includes the including task's path, then the included one's.
pub type TaskPath = Arc<str>;

/// A task with every inherited keyword merged in.
#[derive(Debug)]
pub struct Task {
    pub path: TaskPath,
    pub span: Span,
    /// As written, possibly a template.
    pub name: Option<Node>,
    pub action: Action,
    pub loop_: Option<Loop>,
    pub register: Option<Arc<str>>,
    /// Outermost first: play, role, block, import, own.
    pub when: Vec<Condition>,
    pub changed_when: Vec<Condition>,
    pub failed_when: Vec<Condition>,
    pub until: Vec<Condition>,
    pub retries: Option<Node>,
    pub delay: Option<Node>,
    pub notify: Vec<Node>,
    pub async_: Option<Node>,
    pub poll: Option<Node>,
    /// Names of what no two hosts may work on at a time.
    pub locks: Vec<Node>,
    /// All tags, inherited ones included.
    pub tags: Vec<String>,
    pub settings: Arc<Settings>,
    /// `vars:` from the outermost block to the task itself; inner wins.
    pub vars: Vec<Arc<Layer>>,
    /// `vars:` of the `include_tasks` and `include_role` that brought the task in, outermost first; they win over
    /// `set_fact`.
    pub include_params: Vec<Arc<Layer>>,
    /// The role the task belongs to.
    pub role: Option<Arc<Role>>,
    /// How the task came here, outermost first: `included from playbooks/provision.yml:31 (role master)`.
    pub chain: Vec<Include>,
    /// Folder of the file that holds the task.
    pub directory: PathBuf,
    /// For `include_tasks` and `include_role`: what the included tasks inherit, used by [`super::Resolver`].
    pub inherited: Option<Arc<Inherited>>,
}

impl Task {
    /// A task that no file spells out: nothing but its action, under the keywords of what is around it. Callers set what
    /// else it has.
    #[must_use]
    pub fn implicit(
        path: TaskPath,
        span: Span,
        action: Action,
        settings: &Arc<Settings>,
        directory: &Path,
    ) -> Self {
        Self {
            path,
            span,
            name: None,
            action,
            loop_: None,
            register: None,
            when: Vec::new(),
            changed_when: Vec::new(),
            failed_when: Vec::new(),
            until: Vec::new(),
            retries: None,
            delay: None,
            notify: Vec::new(),
            async_: None,
            poll: None,
            locks: Vec::new(),
            tags: Vec::new(),
            settings: Arc::clone(settings),
            vars: Vec::new(),
            include_params: Vec::new(),
            role: None,
            chain: Vec::new(),
            directory: directory.to_owned(),
            inherited: None,
        }
    }

    /// True for a `meta: flush_handlers` that nobody wrote: the one after each section of a play.
    #[must_use]
    pub fn is_implicit_flush(&self) -> bool {
        matches!(self.action.kind, ActionKind::Meta(Meta::FlushHandlers))
            && self.name.is_none()
            && self.path.contains("/flush_handlers after ")
    }
}

/// What tasks take over from everything around them. Opaque outside of this stage.
#[derive(Debug, Clone)]
pub struct Inherited {
    pub(super) settings: Arc<Settings>,
    pub(super) when: Vec<Condition>,
    pub(super) tags: Vec<String>,
    pub(super) vars: Vec<Arc<Layer>>,
    pub(super) include_params: Vec<Arc<Layer>>,
    /// A block's `notify`, which its tasks have unless they name their own.
    pub(super) notify: Vec<Node>,
    pub(super) role: Option<Arc<Role>>,
    pub(super) chain: Vec<Include>,
    /// Folder of the file being read.
    pub(super) directory: PathBuf,
    /// Folder of the playbook that holds the play.
    pub(super) playbook_directory: PathBuf,
    /// Folder of the playbook given on the command line.
    pub(super) root_directory: PathBuf,
    /// Set below `handlers`, where tasks may `listen`.
    pub(super) handlers: bool,
    /// What task paths begin with: the play's id, or the including task's path.
    pub(super) prefix: Arc<str>,
}

/// One link of an include chain.
#[derive(Debug, Clone)]
pub struct Include {
    pub span: Span,
    /// `role master`, `tasks/install.yml`.
    pub what: String,
}

/// A `when`, `until`, `changed_when` or `failed_when` item: a bare expression (or a boolean).
#[derive(Debug, Clone)]
pub struct Condition {
    pub expression: Node,
}

/// Keywords that pass from play to block to task. `None`: not said anywhere.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub r#become: Option<Node>,
    pub become_user: Option<Node>,
    pub become_method: Option<Node>,
    pub become_flags: Option<Node>,
    pub become_exe: Option<Node>,
    pub connection: Option<Node>,
    pub remote_user: Option<Node>,
    pub port: Option<Node>,
    pub check_mode: Option<Node>,
    pub diff: Option<Node>,
    pub ignore_errors: Option<Node>,
    pub ignore_unreachable: Option<Node>,
    pub any_errors_fatal: Option<Node>,
    pub no_log: Option<Node>,
    pub run_once: Option<Node>,
    pub throttle: Option<Node>,
    pub timeout: Option<Node>,
    pub delegate_to: Option<Node>,
    pub delegate_facts: Option<Node>,
    pub debugger: Option<Node>,
    /// Outermost first; inner entries win.
    pub environment: Vec<Node>,
    /// Outermost first; inner entries win.
    pub module_defaults: Vec<Node>,
    pub collections: Vec<String>,
}

/// `loop:` or `with_*:`.
#[derive(Debug, Clone)]
pub struct Loop {
    /// `None` for `loop:`; the lookup's name for `with_items` and kin.
    pub lookup: Option<Spanned<String>>,
    pub items: Node,
    pub control: LoopControl,
}

/// `loop_control:`.
#[derive(Debug, Clone, Default)]
pub struct LoopControl {
    pub loop_var: Option<String>,
    pub index_var: Option<String>,
    pub label: Option<Node>,
    pub pause: Option<Node>,
    pub extended: bool,
    pub extended_allitems: bool,
    pub break_when: Vec<Condition>,
}

/// What a task does.
#[derive(Debug, Clone)]
pub struct Action {
    /// As written: `ansible.builtin.copy`.
    pub written: Spanned<String>,
    /// Short canonical name: `copy`.
    pub name: Arc<str>,
    pub kind: ActionKind,
    pub args: Arguments,
}

/// Who does it.
#[derive(Debug, Clone)]
pub enum ActionKind {
    /// A module of the agent, on the host.
    Module(&'static Spec),
    /// Runs on the controller (and may call modules): `template`, `debug`, `set_fact`, `reboot`.
    Controller(&'static Spec),
    Meta(Meta),
    IncludeTasks,
    IncludeRole,
    /// An executable of the project's `library/`.
    Custom(PathBuf),
}

/// `meta:` actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    FlushHandlers,
    RefreshInventory,
    ClearFacts,
    ClearHostErrors,
    EndPlay,
    EndBatch,
    EndHost,
    EndRole,
    ResetConnection,
    Noop,
}

/// A task's arguments as written; `key=value` text is already split.
#[derive(Debug, Clone)]
pub struct Arguments {
    pub span: Span,
    /// By canonical option name where the module's spec knows it, else as written.
    pub entries: Vec<(Spanned<String>, Node)>,
    /// `args: "{{ variable }}"`: a mapping only known at run time.
    pub whole: Option<Node>,
}

/// A role as used in one place.
#[derive(Debug)]
pub struct Role {
    pub name: String,
    pub path: PathBuf,
    pub defaults: Arc<Layer>,
    pub vars: Arc<Layer>,
    /// Those of `vars` that its files set: what the rest of the play sees. `vars:` of an entry of `roles:` are the role's alone.
    pub file_vars: Arc<Layer>,
    /// Parameters given where the role is used.
    pub params: Arc<Layer>,
    /// The roles that brought this one in, nearest first: it sees their variables (`ansible_parent_role_names`).
    pub parents: Vec<Arc<Role>>,
    /// Named in another role's `meta/main.yml`, not by a play or a task.
    pub dependency: bool,
    /// Roles of `meta/main.yml`, whose defaults and vars this role sees too.
    pub dependencies: Vec<Arc<Role>>,
    /// Whether variables of the role are seen outside it (static roles: yes; `include_role`: with `public`).
    pub public: bool,
}
