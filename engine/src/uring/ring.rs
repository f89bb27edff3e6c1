//! The ring itself: set-up, entries waiting to be submitted, enter, completions.
//!
//! The only place that talks to `io_uring`. It decides nothing: errors of set-up and enter are given back as they are.
//!
//! Flags, all of Linux 6.1: SINGLE_ISSUER and DEFER_TASKRUN (the kernel does our work only when we enter, on our core,
//! without interrupts), TASKRUN_FLAG (it says when there is some), SUBMIT_ALL (a bad entry does not hold up the rest).
//! The ring's fd is registered, which saves its look-up in every enter.

use std::io;
use std::ptr::NonNull;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Parameters, Probe, Submitter, opcode, squeue};

use super::buffers::Group;

/// Completion entries for each submission entry: a multishot operation completes many times.
const CQ_FACTOR: u32 = 8;
/// The kernel's IORING_MAX_CQ_ENTRIES.
const CQ_ENTRIES_MAX: u32 = 65_536;

/// Operations the driver submits.
const OPERATIONS: [(&str, u8); 6] = [
    ("ACCEPT", opcode::AcceptMulti::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ("CONNECT", opcode::Connect::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("RECV", opcode::Recv::CODE),
    ("SEND", opcode::Send::CODE),
];

/// Tells whether a ring has a feature.
type Feature = fn(&Parameters) -> bool;

/// Features the driver relies on: completions are kept when their queue is full; a wait has a time limit; receives wait
/// without a worker thread; a cancel that worked does not complete.
const FEATURES: [(&str, Feature); 4] = [
    ("NODROP", Parameters::is_feature_nodrop),
    ("EXT_ARG", Parameters::is_feature_ext_arg),
    ("FAST_POLL", Parameters::is_feature_fast_poll),
    ("CQE_SKIP", Parameters::is_feature_skip_cqe_on_success),
];

/// A ring of this thread.
pub(super) struct Ring {
    /// From `Box::into_raw`, so that `submitter`, which holds the registered fd, can borrow from it; freed in `drop`.
    ring: NonNull<IoUring>,
    submitter: Submitter<'static>,
    /// Whether enters name the ring by its registered fd. At most 16 rings of a thread can be registered; without it an
    /// enter looks its fd up, no more.
    pub(super) registered: bool,
    /// Errors that the next enters fail with, the kernel left out.
    #[cfg(test)]
    pub(super) refusals: std::cell::RefCell<std::collections::VecDeque<i32>>,
    /// For every enter that may sleep: a shard that waits for its peers is idle, not waiting for a disk (6.15). Older
    /// kernels show it as I/O wait, which looks alarming and means nothing.
    idle: EnterFlags,
}

/// How long an enter may sleep for the first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    For(Duration),
    Forever,
}

/// A completion as the kernel posts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cqe {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

// === impl Ring ===

impl Ring {
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(entries.saturating_mul(CQ_FACTOR).min(CQ_ENTRIES_MAX))
            .build(entries)?;
        let ring = NonNull::from(Box::leak(Box::new(ring)));
        // SAFETY: the box is freed in `drop` only, after the last use of `submitter`; nothing borrows it mutably.
        let mut submitter = unsafe { ring.as_ref() }.submitter();
        let registered = submitter.register_ring_fd().is_ok();
        // SAFETY: as above.
        let quiet = unsafe { ring.as_ref() }.params().is_feature_no_iowait();
        let idle = if quiet { EnterFlags::NO_IOWAIT } else { EnterFlags::empty() };
        Ok(Self {
            ring,
            submitter,
            registered,
            #[cfg(test)]
            refusals: std::cell::RefCell::default(),
            idle,
        })
    }

    /// Puts an entry behind those to submit; `false` when the queue is full.
    ///
    /// # Safety
    ///
    /// What the entry points to stays valid and unmoved until its final completion.
    #[must_use]
    pub(super) unsafe fn push(&self, entry: &squeue::Entry) -> bool {
        // SAFETY: no other SubmissionQueue lives: each is a temporary of a method here, and the ring is of one thread.
        let mut queue = unsafe { self.ring().submission_shared() };
        // SAFETY: the caller's promise.
        unsafe { queue.push(entry) }.is_ok()
    }

    /// Entries pushed and not yet taken by the kernel.
    pub(super) fn staged(&self) -> u32 {
        // SAFETY: as in `push`.
        unsafe { self.ring().submission_shared() }.len() as u32
    }

    /// Whether completions wait in the kernel because the completion queue was full.
    pub(super) fn overflown(&self) -> bool {
        // SAFETY: as in `push`.
        unsafe { self.ring().submission_shared() }.cq_overflow()
    }

    /// Submits what is staged and does nothing else. Returns how many entries the kernel took.
    pub(super) fn submit(&self) -> io::Result<u32> {
        self.call(self.staged(), 0, EnterFlags::empty(), None)
    }

    /// Submits what is staged, lets the kernel do its work for us, and waits as told for a completion.
    /// Returns how many entries the kernel took; when these were not all, it did not wait.
    pub(super) fn enter(&self, wait: Wait) -> io::Result<u32> {
        let staged = self.staged();
        match wait {
            Wait::No => self.call(staged, 0, EnterFlags::GETEVENTS, None),
            Wait::Forever => self.call(staged, 1, EnterFlags::GETEVENTS | self.idle, None),
            Wait::For(limit) => {
                let limit = Timespec::from(limit);
                let arguments = SubmitArgs::new().timespec(&limit);
                let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG | self.idle;
                self.call(staged, 1, flags, Some(&arguments))
            }
        }
    }

    /// Lets the kernel do its work for us without submitting: it gives memory back.
    pub(super) fn relieve(&self, limit: Duration) -> io::Result<u32> {
        let limit = Timespec::from(limit);
        let arguments = SubmitArgs::new().timespec(&limit);
        self.call(0, 1, EnterFlags::GETEVENTS | EnterFlags::EXT_ARG, Some(&arguments))
    }

    /// The next completion.
    pub(super) fn pop(&self) -> Option<Cqe> {
        // SAFETY: no other CompletionQueue lives, as in `push`.
        let entry = unsafe { self.ring().completion_shared() }.next()?;
        Some(Cqe { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() })
    }

    /// Completions that `pop` will give without another enter.
    pub(super) fn completed(&self) -> usize {
        // SAFETY: as in `pop`.
        unsafe { self.ring().completion_shared() }.len()
    }

    /// Makes a group of buffers known to the kernel.
    pub(super) fn register(&self, group: &Group) -> io::Result<()> {
        let (address, entries) = group.ring_entries();
        // SAFETY: the entries are mapped, page-aligned, zeroed, and live longer than this ring (see `Inner`).
        unsafe { self.submitter.register_buf_ring_with_flags(address, entries, group.id(), 0) }
    }

    /// Operations and features that the driver needs and this kernel does not have.
    pub(super) fn missing(&self) -> io::Result<Vec<&'static str>> {
        let mut probe = Probe::new();
        self.submitter.register_probe(&mut probe)?;
        let operations =
            OPERATIONS.iter().filter(|(_, code)| !probe.is_supported(*code)).map(|(name, _)| *name);
        let parameters = self.ring().params();
        let features = FEATURES.iter().filter(|(_, has)| !has(parameters)).map(|(name, _)| *name);
        Ok(operations.chain(features).collect())
    }

    fn ring(&self) -> &IoUring {
        // SAFETY: allocated in `new`, freed in `drop`, never borrowed mutably.
        unsafe { self.ring.as_ref() }
    }

    fn call(
        &self,
        submit: u32,
        complete: u32,
        flags: EnterFlags,
        arguments: Option<&SubmitArgs<'_, '_>>,
    ) -> io::Result<u32> {
        #[cfg(test)]
        if let Some(errno) = self.refusals.borrow_mut().pop_front() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        // SAFETY: `arguments` is the structure that EXT_ARG announces and lives across the call; without EXT_ARG it is
        // null, a signal mask not given.
        let taken = unsafe { self.submitter.enter(submit, complete, flags.bits(), arguments) }?;
        Ok(taken as u32)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.registered {
            // The registration holds the ring: without this it would live until the thread ends.
            let unregistered = self.submitter.unregister_ring_fd();
            debug_assert!(unregistered.is_ok());
        }
        // SAFETY: `ring` came from a box in `new` and is freed only here; `submitter` has no Drop and is not used again.
        drop(unsafe { Box::from_raw(self.ring.as_ptr()) });
    }
}

// === impl Cqe ===

impl Cqe {
    /// A completion that the driver itself makes up, of an operation that the kernel does not hold.
    pub(super) fn own(user_data: u64, errno: i32) -> Self {
        Self { user_data, result: -errno, flags: 0 }
    }

    /// Whether the same operation will complete again.
    pub(super) fn more(self) -> bool {
        io_uring::cqueue::more(self.flags)
    }

    /// The provided buffer that the kernel filled.
    pub(super) fn buffer(self) -> Option<u16> {
        io_uring::cqueue::buffer_select(self.flags)
    }
}
