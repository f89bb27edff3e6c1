//! A program in a process group of its own, which is ended with all that it started: when nobody waits for it any more, or
//! when this program leaves. Ctrl-C on a terminal does not reach it: whoever started it decides when it ends.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// All that were started and not dropped yet.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A running program; killed on drop, with what it started.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Child,
    id: i32,
}

impl Group {
    /// Starts it.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let mut groups = lock();
        let leader = command.process_group(0).spawn().with_context(|| format!("running {command:?}"))?;
        let id = i32::try_from(leader.id()).context("no such process group")?;
        groups.insert(id);
        Ok(Self { leader, id })
    }

    /// How the program ended, if it has.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.leader.try_wait()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut groups = lock();
        // None of it may be left, which is an error.
        let _ = killpg(Pid::from_raw(self.id), Signal::SIGKILL);
        groups.remove(&self.id);
        drop(groups);
        let _ = self.leader.wait();
    }
}

/// For a program that leaves at once and drops nothing.
pub(crate) fn end_all() {
    for &id in lock().iter() {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
}

fn lock() -> MutexGuard<'static, BTreeSet<i32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn what_it_started_ends_with_it() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & echo started; wait"]).stdout(Stdio::piped());
        let mut group = Group::spawn(&mut shell).unwrap();
        let mut said = BufReader::new(group.leader.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        assert!(group.try_wait().unwrap().is_none());
        drop(group);
        // The other end is closed when nobody has it any more: the shell and what it started.
        assert_eq!(said.read_to_string(&mut String::new()).unwrap(), 0);
    }
}
