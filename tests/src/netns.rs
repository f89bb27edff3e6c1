//! One network namespace, removed on drop, and the way to work inside it.
//!
//! A thread can be in a namespace of its own, and what it starts (threads, processes, sockets) stays there. So inside
//! always means on a thread made for it, which ends in the namespace it entered: nothing has to be restored.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::run::Run;
use crate::shell;

/// A named network namespace of this run with its loopback up.
#[derive(Debug)]
pub struct Netns {
    name: String,
    path: PathBuf,
    file: File,
}

impl Netns {
    /// Makes one; `role` is the readable end of its name.
    pub fn new(role: &str) -> Result<Self> {
        let name = Run::current()?.unique_name(role);
        shell::run(&format!("ip netns add {name}"))?;
        let path = Path::new("/run/netns").join(&name);
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let netns = Self { name, path, file };
        // A new IPv6 address would otherwise be of no use for a second, while nobody else claims it.
        netns.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file other processes open to enter it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` inside and returns what it returned; a panic in it goes on here.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.join_this_thread();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `work` inside on a thread of its own. Returns when the thread is inside.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.enter(|| thread::spawn(work))
    }

    /// Starts a process inside, in a group of its own: a Ctrl-C at the terminal is for who started it, who ends it in turn.
    pub fn spawn_process(&self, command: &mut Command) -> Result<Child> {
        self.enter(|| command.process_group(0).spawn())
            .with_context(|| format!("{command:?} in {}", self.name))
    }

    /// Runs a command inside to its end; its standard output when it succeeded.
    pub fn output(&self, command: &mut Command) -> Result<String> {
        self.enter(|| shell::output(command)).with_context(|| format!("in {}", self.name))
    }

    /// Runs a command line without blanks in its arguments inside.
    pub fn run(&self, line: &str) -> Result<String> {
        self.enter(|| shell::run(line)).with_context(|| format!("in {}", self.name))
    }

    /// One `ip` command inside: `netns.ip("link set eth0 up")`.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        shell::run(&format!("ip -n {} {arguments}", self.name))
    }

    /// Many `ip` commands inside, one a line.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        shell::feed(&mut command, lines).map(drop)
    }

    /// Writes a sysctl of the namespace: `netns.sysctl("net/ipv4/ip_forward", "1")`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let file = Path::new("/proc/sys").join(key);
        self.enter(|| std::fs::write(&file, value))
            .with_context(|| format!("writing {value} to {} in {}", file.display(), self.name))
    }

    fn join_this_thread(&self) {
        if let Err(errno) = setns(&self.file, CloneFlags::CLONE_NEWNET) {
            panic!("entering {}: {errno}", self.path.display());
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Nobody is left to tell; the guard of the run tries once more at the end.
        let _ = shell::run(&format!("ip netns del {}", self.name));
    }
}
