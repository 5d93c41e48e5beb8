//! `vars_prompt`: asked on the terminal before the play starts.

use std::io::IsTerminal as _;
use std::sync::Arc;

use super::play::PlayFault;
use super::state::RunState;
use crate::resolve::Play;
use crate::source::{Node, Yaml};
use crate::template::Scope;
use crate::vars::Table;

/// Asks for every variable that the command line does not give.
pub(super) fn ask(run: &Arc<RunState>, play: &Play, scope: &Arc<dyn Scope>) -> Result<Table, PlayFault> {
    let mut table = Table::default();
    for prompt in &play.vars_prompt {
        if run.inputs.store.has_extra(&prompt.name) {
            continue;
        }
        let at = prompt.prompt.as_ref().map_or(play.span, |n| n.span);
        let text = |node: &Option<Node>| -> Result<Option<String>, PlayFault> {
            let Some(node) = node else { return Ok(None) };
            let value =
                run.inputs.templates.node(node, scope).map_err(|e| PlayFault { text: e.to_string(), at })?;
            Ok(Some(crate::template::to_text(&value).map_err(|e| PlayFault { text: e.to_string(), at })?))
        };
        let default = text(&prompt.default)?;
        let question = text(&prompt.prompt)?.unwrap_or_else(|| prompt.name.clone());
        if let Some(method) = &prompt.encrypt {
            return Err(PlayFault {
                text: format!("`encrypt: {method}` in vars_prompt is not supported yet"),
                at,
            });
        }
        let answer = if std::io::stdin().is_terminal() {
            crate::ask::line(&question, default.as_deref(), prompt.private)
                .map_err(|e| PlayFault { text: e.to_string(), at })?
        } else {
            default.clone().ok_or_else(|| PlayFault {
                text: format!(
                    "`{}` must be asked for, and there is no terminal: give it with -e {}=...",
                    prompt.name, prompt.name
                ),
                at,
            })?
        };
        if prompt.private {
            run.inputs.masks.add(&answer);
        }
        let node = Node { span: at, value: Yaml::Unsafe(answer.into()) };
        table.set(prompt.name.as_str().into(), Arc::new(node));
    }
    Ok(table)
}
