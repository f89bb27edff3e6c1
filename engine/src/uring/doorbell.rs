//! How other threads wake a shard: an eventfd that its ring polls.
//!
//! Who rings first puts its message where the shard will look. The flag saves the system call while the shard has a ring
//! before it that it did not yet answer; it is cleared before the shard looks, so a message is never left lying:
//! either the ringer finds the flag clear and writes, or the shard clears it afterwards and then sees the message.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes the shard of a driver, from any thread. May outlive it.
#[derive(Clone, Debug)]
pub struct Doorbell {
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    event: EventFd,
    /// It was rung and the shard has not answered yet.
    rung: AtomicBool,
}

impl Doorbell {
    pub(super) fn new() -> Result<Self, Errno> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { bell: Arc::new(Bell { event, rung: AtomicBool::new(false) }) })
    }

    /// The shard's turn ends, or does not begin to wait, and gives [`Completion::Doorbell`](super::Completion::Doorbell).
    pub fn ring(&self) {
        if self.bell.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        // Fails only when the counter is full, after 2^64 rings, and then the fd is readable anyway.
        let _ = self.bell.event.write(1);
    }

    /// The shard will look into its mailbox: from now on a ring counts again.
    pub(super) fn answer(&self) {
        self.bell.rung.swap(false, Ordering::AcqRel);
    }

    pub(super) fn fd(&self) -> RawFd {
        self.bell.event.as_raw_fd()
    }
}
