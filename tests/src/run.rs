//! One run of a program that makes namespaces: its names, its directory, and the certainty that both go away.
//!
//! Dropping a [`crate::netns::Netns`] removes it, but a process that is killed drops nothing. So the first namespace of
//! a process starts a *guard*: a small shell in a process group of its own that waits until our end of a pipe closes,
//! which happens however we end, and then kills what still lives in our namespaces and removes them. A guard that was
//! itself killed leaves its run to the next one: every run first sweeps those whose process is dead.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// What our namespaces begin with; the pid of their owner follows.
const PREFIX: &str = "rw-";
/// The file that tells later runs to leave a run standing.
const KEPT: &str = "kept";

/// Removes the namespaces that begin with $1, what runs in them, and the directory $2.
const REMOVE: &str = r#"
for name in $(ip netns list | cut -d' ' -f1 | grep "^$1"); do
    for pid in $(ip netns pids "$name"); do kill -KILL "$pid"; done
    ip netns del "$name"
done
rm -rf "$2"
"#;

/// Waits for the end of its input, whatever signal comes, before it removes.
const GUARD: &str = r#"
trap '' INT TERM HUP QUIT
if [ "$(cat)" = keep ]; then exit; fi
"#;

/// This process's run.
#[derive(Debug)]
pub struct Run {
    prefix: String,
    directory: PathBuf,
    next: AtomicU32,
    guard: ChildStdin,
}

impl Run {
    /// The run of this process, begun at the first call.
    pub fn current() -> Result<&'static Self> {
        static RUN: OnceLock<Result<Run, String>> = OnceLock::new();
        let run = RUN.get_or_init(|| Self::begin().map_err(|error| format!("{error:#}")));
        run.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn begin() -> Result<Self> {
        if !is_root() {
            bail!("network namespaces need root");
        }
        sweep(false)?;
        let pid = std::process::id();
        let prefix = format!("{PREFIX}{pid}-");
        let directory = directory_of(pid);
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let mut guard = Command::new("sh")
            .args(["-c", &format!("{GUARD}{REMOVE}"), "sh", &prefix])
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting the shell that cleans up")?;
        let guard = guard.stdin.take().context("no pipe to the shell that cleans up")?;
        Ok(Self { prefix, directory, next: AtomicU32::new(0), guard })
    }

    /// A name for a namespace that nobody else has, ending in `role`.
    pub fn unique_name(&self, role: &str) -> String {
        format!("{}{}-{role}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A new directory for files of this run.
    pub fn unique_directory(&self, role: &str) -> Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.join(format!("{number}-{role}"));
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        Ok(directory)
    }

    /// Leaves everything standing when this process ends, until [`sweep`] is told to take kept runs too.
    pub fn keep(&self) -> Result<()> {
        fs::write(self.directory.join(KEPT), "").context("marking the run as kept")?;
        let mut guard = &self.guard;
        guard.write_all(b"keep\n").context("telling the guard to keep the run")
    }
}

/// Removes what this process's run has made so far, whoever uses it. Without a run there is nothing to remove.
pub fn clear() -> Result<()> {
    let pid = std::process::id();
    let was_begun = directory_of(pid).exists();
    if was_begun { remove(pid) } else { Ok(()) }
}

/// Removes what runs whose process is dead left behind; `kept` ones only on demand. The number of runs removed.
pub fn sweep(kept: bool) -> Result<usize> {
    let mut removed = 0;
    for pid in runs()? {
        let directory = directory_of(pid);
        let is_kept = directory.join(KEPT).exists();
        let is_alive = Path::new("/proc").join(pid.to_string()).exists();
        if is_kept && kept || !is_kept && !is_alive {
            remove(pid)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// What the run of `pid` made. In a group of its own: Ctrl-C is for the program, not for what cleans up after it.
fn remove(pid: u32) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", REMOVE, "sh", &format!("{PREFIX}{pid}-")]).arg(directory_of(pid)).process_group(0);
    crate::shell::output(&mut shell).map(drop)
}

/// The pids of all runs that left a directory or a namespace.
fn runs() -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for place in [Path::new("/run/netns"), &std::env::temp_dir()] {
        let Ok(entries) = fs::read_dir(place) else { continue };
        for entry in entries {
            let name = entry?.file_name();
            pids.extend(owner(&name.to_string_lossy()));
        }
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// The pid in the name of a namespace (`rw-123-4-pod`) or of a run's directory (`rw-123`).
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn directory_of(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{pid}"))
}

pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_read_from_names_of_ours_only() {
        let table = [
            ("rw-123-4-pod", Some(123)),
            ("rw-123", Some(123)),
            ("rw-", None),
            ("rw-x-4", None),
            ("cni-123", None),
            ("xrw-123", None),
        ];
        for (name, expected) in table {
            assert_eq!(owner(name), expected, "{name}");
        }
    }
}
