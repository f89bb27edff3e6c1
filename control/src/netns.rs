//! Network namespaces named by a path (`/proc/<pid>/ns/net`, `/var/run/netns/<name>`).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{FsType, fstatfs};
use thiserror::Error;

/// The file system that namespaces are files of (`NSFS_MAGIC` in linux/magic.h).
const NSFS: FsType = FsType(0x6e73_6673);

#[derive(Debug, Error)]
pub enum NetnsError {
    #[error("{}: no such network namespace; its pod is gone, or the path is not that of this node", .0.display())]
    Gone(PathBuf),
    #[error("{0} is not a path: write /run/netns/{0}, or /proc/<pid>/ns/net")]
    NotAPath(String),
    #[error("{}: not a network namespace; name a path such as /proc/<pid>/ns/net or /var/run/netns/<name>", .0.display())]
    NotANamespace(PathBuf),
    #[error("{}: {cause}", path.display())]
    Open { path: PathBuf, cause: io::Error },
    #[error("the network namespace cannot be entered: {0}; CAP_SYS_ADMIN is needed for that")]
    Enter(Errno),
    #[error("no thread to enter the network namespace with: {0}")]
    Thread(io::Error),
}

/// Opens a namespace; the descriptor keeps it alive.
pub fn open(path: &Path) -> Result<OwnedFd, NetnsError> {
    let file = File::open(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => match path.to_str() {
            // What `ip netns` calls it.
            Some(name) if !name.contains('/') => NetnsError::NotAPath(name.to_owned()),
            _ => NetnsError::Gone(path.to_owned()),
        },
        _ => NetnsError::Open { path: path.to_owned(), cause },
    })?;
    match is_namespace(&file) {
        Ok(true) => Ok(file.into()),
        _ => Err(NetnsError::NotANamespace(path.to_owned())),
    }
}

/// Whether a descriptor is one of a namespace, of whatever kind.
pub fn is_namespace(file: impl AsFd) -> io::Result<bool> {
    Ok(fstatfs(file)?.filesystem_type() == NSFS)
}

/// Runs `act` inside the namespace, in a thread of its own: whatever happens, no other code of this process is ever
/// in there. Programs that `act` starts are inside as well.
pub fn inside<T: Send>(netns: impl AsFd + Sync, act: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    thread::scope(|scope| {
        let entered = || {
            // CLONE_NEWNET also makes the kernel refuse namespaces of another kind.
            setns(&netns, CloneFlags::CLONE_NEWNET).map_err(NetnsError::Enter)?;
            Ok(act())
        };
        let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, entered);
        thread.map_err(NetnsError::Thread)?.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn our_own_namespace_can_be_opened() {
        assert!(open(Path::new("/proc/self/ns/net")).is_ok());
    }

    #[test]
    fn what_is_no_namespace_is_told_apart() {
        assert!(matches!(open(Path::new("/proc/self/ns/nothing")), Err(NetnsError::Gone(_))));
        let name = open(Path::new("client")).unwrap_err().to_string();
        assert!(name.contains("write /run/netns/client"), "{name}");
        assert!(matches!(open(Path::new("/proc/self/status")), Err(NetnsError::NotANamespace(_))));
        assert!(matches!(open(Path::new("/")), Err(NetnsError::NotANamespace(_))));
    }
}
