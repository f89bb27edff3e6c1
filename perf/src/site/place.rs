//! Where a program runs: inside a network namespace of ours, or wherever a prefix that the user gave takes it.

use std::process::{Child, Command};
use std::sync::Arc;

use anyhow::{Context, Result};
use testkit::netns::Netns;
use testkit::shell;

#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A pod of ours.
    Netns(Arc<Netns>),
    /// An endpoint of the user's: the words before every command, as in `kubectl exec POD --`.
    Exec(Vec<String>),
}

impl Place {
    /// `program`, to be started with [`Self::spawn`] or [`Self::output`] only: a namespace is entered there.
    pub(crate) fn command(&self, program: &str) -> Command {
        match self {
            Self::Netns(_) => Command::new(program),
            Self::Exec(prefix) => {
                let mut words = prefix.iter().map(String::as_str).chain([program]);
                let mut command = Command::new(words.next().unwrap_or(program));
                command.args(words);
                command
            }
        }
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child> {
        match self {
            Self::Netns(netns) => netns.spawn_process(command),
            Self::Exec(_) => command.spawn().with_context(|| format!("{command:?}")),
        }
    }

    /// Runs it to its end; its standard output when it succeeded.
    pub(crate) fn output(&self, command: &mut Command) -> Result<String> {
        match self {
            Self::Netns(netns) => netns.output(command),
            Self::Exec(_) => shell::output(command),
        }
    }

    /// This program there: where it is not ours, one of its name in the path.
    pub(crate) fn own_program(&self) -> Result<String> {
        match self {
            Self::Netns(_) => {
                let program = std::env::current_exe().context("finding this program")?;
                Ok(program.to_string_lossy().into_owned())
            }
            Self::Exec(_) => Ok(env!("CARGO_PKG_NAME").to_owned()),
        }
    }

    /// In messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Netns(netns) => netns.name().to_owned(),
            Self::Exec(prefix) => prefix.join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_prefix_stands_before_every_command() {
        let place = Place::Exec(["env", "GREETING=hello"].map(str::to_owned).to_vec());
        let mut command = place.command("sh");
        assert_eq!(place.output(command.args(["-c", "echo $GREETING"])).unwrap(), "hello\n");
        assert_eq!(place.name(), "env GREETING=hello");
    }
}
