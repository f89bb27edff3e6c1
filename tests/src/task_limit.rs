//! How many threads a process may have, as a container runtime limits it: a control group with a `pids` controller.
//!
//! What a process does that cannot start a thread is a fault that a node really has, and one that can be taken back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Process;
use crate::run::Run;

/// Where the controller is: a hierarchy of its own, or the one of all.
const HIERARCHIES: [&str; 2] = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];

/// The limit of one process, which is let go of when this is dropped.
#[derive(Debug)]
pub struct TaskLimit {
    group: PathBuf,
    parent: PathBuf,
}

impl TaskLimit {
    /// Takes the process with all its threads, which may have more.
    ///
    /// Seen to work with a hierarchy of its own (version 1). With the one of all (version 2) it takes the real root: that of
    /// a container has processes in it, and so cannot limit its children.
    pub fn of(process: &Process) -> Result<Self> {
        let parent =
            HIERARCHIES.map(PathBuf::from).into_iter().find(|path| path.join("cgroup.procs").exists());
        let parent = parent.context("there is no control group: mount /sys/fs/cgroup")?;
        // Those of one hierarchy for all have to be told which controllers their children get.
        let controllers = parent.join("cgroup.subtree_control");
        if controllers.exists() {
            fs::write(&controllers, "+pids").context(
                "no control group can limit threads: run where /sys/fs/cgroup is the root of the hierarchy",
            )?;
        }
        let name = Run::current()?.unique_directory("limit")?;
        let name = name.display().to_string().trim_start_matches('/').replace('/', "-");
        let limit = Self { group: parent.join(name), parent };
        fs::create_dir(&limit.group).with_context(|| format!("making {}", limit.group.display()))?;
        enter(&limit.group, &process.pid().to_string())?;
        Ok(limit)
    }

    /// From now on no thread is started any more; those that run go on.
    pub fn exhaust(&self) -> Result<()> {
        self.set("1")
    }

    pub fn lift(&self) -> Result<()> {
        self.set("max")
    }

    fn set(&self, limit: &str) -> Result<()> {
        let file = self.group.join("pids.max");
        fs::write(&file, limit).with_context(|| format!("writing {limit} to {}", file.display()))
    }
}

impl Drop for TaskLimit {
    fn drop(&mut self) {
        // A process that has ended is in no group.
        for process in fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = enter(&self.parent, process);
        }
        let _ = fs::remove_dir(&self.group);
    }
}

fn enter(group: &Path, process: &str) -> Result<()> {
    let file = group.join("cgroup.procs");
    fs::write(&file, process).with_context(|| format!("writing {process} to {}", file.display()))
}
