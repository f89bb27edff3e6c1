//! What becomes of connections that are not accepted yet when a listener closes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, openat, statvfs};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::Namespace;

const PROC: &str = "/proc";
const SYSCTLS: &str = "/proc/sys";

/// `net.ipv4.tcp_migrate_req` below a proc (Linux 5.14). The namespace of the thread that opens it decides whose it is.
const MIGRATE_REQ: &str = "sys/net/ipv4/tcp_migrate_req";

/// The leave to let the kernel give connections that wait at a listener, or are still in their handshake, to another
/// listener of the same port when it closes: to that of the proxy that comes after us. They are reset otherwise.
pub(crate) struct Migration {
    proc: OwnedFd,
}

impl Migration {
    pub(crate) fn open() -> io::Result<Self> {
        let proc = if is_read_only(Path::new(SYSCTLS))? { own_proc()? } else { shared_proc()? };
        Ok(Self { proc })
    }

    /// For all listeners of this namespace, from now on.
    pub(crate) fn allow(&self, namespace: &Namespace) -> io::Result<()> {
        namespace.enter(|| {
            let sysctl = openat(&self.proc, MIGRATE_REQ, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(sysctl, b"1")?;
            Ok(())
        })
    }
}

fn is_read_only(path: &Path) -> io::Result<bool> {
    Ok(statvfs(path)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn shared_proc() -> io::Result<OwnedFd> {
    Ok(openat(CWD, PROC, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A proc that is mounted nowhere, and goes with its descriptor: the one of a container has its sysctls read-only, which
/// is about the host's, and not about those of pods. It takes SYS_ADMIN, which the charts give.
fn own_proc() -> io::Result<OwnedFd> {
    let proc = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&proc)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&proc, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}
