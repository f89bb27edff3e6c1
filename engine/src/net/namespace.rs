//! A pod's network namespace: a socket made inside it belongs to it for good, wherever it is used.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::rc::Rc;

use nix::sched::{CloneFlags, setns};

/// The namespace that the sockets of a pod are made in. Cheap to clone; the last clone closes the descriptor.
#[derive(Clone)]
pub(crate) struct Namespace {
    /// `None` is the namespace this process lives in (dedicated mode).
    pod: Option<Rc<OwnedFd>>,
}

impl Namespace {
    pub(crate) fn new(pod: Option<OwnedFd>) -> Self {
        Self { pod: pod.map(Rc::new) }
    }

    /// Runs `make` with this thread inside the namespace and takes the thread home again.
    ///
    /// Synchronous on purpose: nothing else of the shard can run while the thread is away. A thread that cannot come
    /// home would make every later socket in a stranger's network, so that ends the process.
    pub(crate) fn enter<T>(&self, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(pod) = &self.pod else { return make() };
        let home = File::open("/proc/thread-self/ns/net")?;
        setns(pod.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let away = Away { home };
        let made = make();
        drop(away);
        made
    }
}

/// Restores the namespace, also when the work inside it panics.
struct Away {
    home: File,
}

impl Drop for Away {
    fn drop(&mut self) {
        if setns(self.home.as_fd(), CloneFlags::CLONE_NEWNET).is_err() {
            process::abort();
        }
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pod.is_some() { "Namespace(pod)" } else { "Namespace(own)" })
    }
}
