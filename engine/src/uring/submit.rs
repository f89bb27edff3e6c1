//! From what the shard asked for to the kernel: staging entries, offering buffers, the enter of a turn.

use std::io;
use std::time::{Duration, Instant};

use super::counters::Count;
use super::driver::{Core, Inner};
use super::ops::{BULK, CHATTY, Kind, OpId, State, cancel_entry, doorbell_cancel_entry, doorbell_entry};
use super::ring::Wait;

/// How long to wait for completions, which free memory, when the kernel could not take an entry for want of it.
const REFUSED_WAIT_MS: u64 = 1;
/// One round of `shutdown`.
const SHUTDOWN_WAIT_MS: u64 = 10;

/// Something for the next enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request {
    Start(OpId),
    Cancel(OpId),
    Doorbell,
    StopDoorbell,
}

/// What staging one request came to.
enum Staged {
    Done,
    /// The submission queue has no room.
    Full,
}

impl Inner {
    /// Lets starving receives try again, as many as there are buffers, the longest waiting first.
    pub(super) fn feed(&self) {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        for (queue, group) in core.starving.iter_mut().zip(&self.groups) {
            let fed = queue.len().min(group.available());
            for id in queue.drain(..fed) {
                let Some(slot) = core.ops.get_mut(id) else { continue };
                slot.state = State::Queued;
                core.pending.push_back(Request::Start(id));
                self.counters.rearmed.one();
            }
        }
    }

    /// Makes entries of all that is pending; submits in between when the submission queue is full.
    pub(super) fn stage(&self) -> io::Result<()> {
        while let Staged::Full = self.stage_until_full() {
            self.offer_buffers();
            self.counters.enters.one();
            match self.ring.submit() {
                // The enter of the turn will try again, and knows what to do then.
                Ok(0) => return Ok(()),
                Ok(taken) => self.counters.sqes.add(u64::from(taken)),
                Err(error) if is_passing(&error) => return Ok(()),
                Err(error) => return Err(unusable(&error)),
            }
        }
        Ok(())
    }

    /// The enter of a turn. Returns whether the kernel refused entries for want of memory, which stay staged.
    pub(super) fn enter(&self, wait: bool) -> io::Result<bool> {
        self.enter_for(self.wait(wait))
    }

    /// An enter of `shutdown`, which neither timers nor the doorbell end.
    pub(super) fn enter_to_end(&self) -> io::Result<bool> {
        let idle = self.core.borrow().kernel == 0;
        self.enter_for(if idle { Wait::No } else { Wait::For(Duration::from_millis(SHUTDOWN_WAIT_MS)) })
    }

    fn enter_for(&self, wait: Wait) -> io::Result<bool> {
        self.offer_buffers();
        let staged = self.ring.staged();
        self.counters.enters.one();
        if wait != Wait::No {
            self.counters.waits.one();
        }
        match self.ring.enter(wait) {
            Ok(taken) => {
                self.counters.sqes.add(u64::from(taken));
                if taken < staged { self.relieve() } else { Ok(false) }
            }
            // The timer's time has come, or a signal: the turn goes on or begins again.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => Ok(false),
            Err(error) if is_passing(&error) => self.relieve(),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// The kernel had no memory for an entry. Completions give some back; the entry stays staged for the next turn.
    fn relieve(&self) -> io::Result<bool> {
        self.counters.refused.one();
        self.counters.enters.one();
        match self.ring.relieve(Duration::from_millis(REFUSED_WAIT_MS)) {
            Ok(_) => Ok(true),
            Err(error) if is_passing(&error) || error.raw_os_error() == Some(libc::ETIME) => Ok(true),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// How long the turn may sleep: not at all when something is there already, else until the next timer.
    fn wait(&self, wanted: bool) -> Wait {
        let core = self.core.borrow();
        if !wanted || core.closed || !core.local.is_empty() || !core.pending.is_empty() {
            return Wait::No;
        }
        let Some(tick) = core.timers.next_tick() else { return Wait::Forever };
        let left = self.clock.until(tick, Instant::now());
        if left.is_zero() { Wait::No } else { Wait::For(left) }
    }

    /// Small buffers are offered all: a multishot receive takes as many as there is data. Of large ones as many as
    /// receives may take.
    fn offer_buffers(&self) {
        self.groups[usize::from(CHATTY)].offer(usize::MAX);
        self.groups[usize::from(BULK)].offer(self.core.borrow().receiving[usize::from(BULK)]);
    }

    fn stage_until_full(&self) -> Staged {
        let mut core = self.core.borrow_mut();
        while let Some(&request) = core.pending.front() {
            if let Staged::Full = self.stage_one(&mut core, request) {
                return Staged::Full;
            }
            core.pending.pop_front();
        }
        Staged::Done
    }

    fn stage_one(&self, core: &mut Core, request: Request) -> Staged {
        let entry = match request {
            Request::Start(id) => return self.stage_start(core, id),
            Request::Cancel(id) => match core.ops.get_mut(id) {
                Some(slot) if slot.state == State::Kernel => cancel_entry(id),
                _ => return Staged::Done,
            },
            Request::Doorbell => doorbell_entry(self.bell.fd()),
            Request::StopDoorbell => doorbell_cancel_entry(),
        };
        // SAFETY: these entries point to no memory.
        if !unsafe { self.ring.push(&entry) } {
            return Staged::Full;
        }
        if request == Request::Doorbell {
            core.kernel += 1;
        }
        Staged::Done
    }

    fn stage_start(&self, core: &mut Core, id: OpId) -> Staged {
        let Some(slot) = core.ops.get_mut(id) else { return Staged::Done };
        debug_assert_eq!(slot.state, State::Queued);
        if slot.cancelled {
            // The kernel never hears of it: its fd may be closed by now, when a future was dropped.
            core.answer(id, libc::ECANCELED);
            return Staged::Done;
        }
        if let Kind::Send { position, end, .. } = &slot.kind
            && position >= end
        {
            core.answer(id, 0);
            return Staged::Done;
        }
        let sizes = [self.groups[0].config().size, self.groups[1].config().size];
        // SAFETY: what the entry points to is owned by the slot, on the heap, and untouched until its final completion.
        if !unsafe { self.ring.push(&slot.entry(id, sizes)) } {
            return Staged::Full;
        }
        slot.state = State::Kernel;
        if let Some(group) = slot.group() {
            core.receiving[usize::from(group)] += 1;
        }
        core.kernel += 1;
        Staged::Done
    }
}

/// Whether an enter failed for want of memory or because of a signal, and may be tried again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM | libc::EINTR))
}

fn unusable(error: &io::Error) -> io::Error {
    let cause = match error.raw_os_error() {
        Some(libc::EBADR) => "the kernel had no memory to keep completions and lost some",
        _ => "the ring of this shard cannot be used any more",
    };
    io::Error::new(error.kind(), format!("io_uring_enter: {error}: {cause}"))
}
