//! The operations under way: a slab of slots, each from the call that asked for it to its final completion.
//!
//! ```text
//!            start                 stage                final completion
//!   (free) ────────▶ Queued ────────────────▶ Kernel ───────────────────▶ (free), or Done for a future
//!                      │ ▲                      │
//!              cancel  │ └──── armed again ◀────┤ ended by the kernel, short send
//!                      ▼                        ▼ no buffer
//!                   Answered ◀──── cancel ── Starving ──▶ Queued
//! ```
//!
//! A slot owns what the kernel may touch and is freed only when the kernel has ended the operation. Its number and
//! generation are the operation's `user_data`, so a late completion or a stale [`OpId`] finds nothing.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::task::Waker;

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};
use socket2::SockAddr;

use super::completion::{Completion, Received, RecvMode, Token};
#[cfg(debug_assertions)]
use super::witness::{Witness, Witnesses};

/// Buffer groups as the kernel knows them.
pub(super) const CHATTY: u16 = 0;
pub(super) const BULK: u16 = 1;

/// One send carries at most this many bytes; the rest follows. Well below the kernel's limit of 2 GiB. Less in tests, so
/// that they see a rest.
const SEND_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };
/// Ends the list of free slots.
const NONE: u32 = u32::MAX;
/// Slots of a table: the bits above are for [`Target`].
const SLOTS_MAX: usize = 1 << 30;
/// Marks the completion of a cancel in `user_data`.
const CANCEL: u64 = 1 << 31;
/// `user_data` of the doorbell's poll.
const DOORBELL: u64 = u64::MAX;
/// `user_data` of what nobody waits for.
const NOBODY: u64 = u64::MAX - 1;

/// Names an operation; harmless once it is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OpId {
    index: u32,
    generation: u32,
}

/// Whose completion it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Op(OpId),
    Cancel(OpId),
    Doorbell,
    Nobody,
}

#[derive(Debug)]
pub(super) struct Ops {
    slots: Vec<Slot>,
    /// The first free slot, or `NONE`.
    free: u32,
    live: usize,
    #[cfg(debug_assertions)]
    witnesses: Witnesses,
}

#[derive(Debug)]
pub(super) struct Slot {
    generation: u32,
    pub(super) state: State,
    pub(super) fd: RawFd,
    /// No completion of it may lead to another try.
    pub(super) cancelled: bool,
    pub(super) kind: Kind,
    pub(super) owner: Owner,
    #[cfg(debug_assertions)]
    witness: Witness,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Holds the next free slot.
    Free(u32),
    /// Goes to the kernel with the next enter.
    Queued,
    Kernel,
    /// Waits for a buffer of its group.
    Starving,
    /// Its completion needs no kernel and is on its way.
    Answered,
    /// A future has still to take the outcome.
    Done,
}

/// What the operation does, with the memory it needs.
#[derive(Debug)]
pub(super) enum Kind {
    Accept,
    Recv {
        mode: RecvMode,
        /// Ends with its first completion.
        once: bool,
        /// Takes one buffer at a time, because its group has run out before.
        scarce: bool,
        /// Takes no more bytes than this in one buffer; a multishot receive fills its buffers.
        most: u32,
    },
    /// Sends `buffer[position..end]`.
    Send {
        buffer: Vec<u8>,
        position: usize,
        end: usize,
    },
    Poll {
        events: u32,
    },
    /// Waits for an error or the end of both directions, through whatever else happens.
    Watch {
        /// What it has come to, once it has.
        seen: Option<u32>,
    },
    Connect {
        /// Boxed: slots move when the table grows.
        address: Box<SockAddr>,
    },
}

#[derive(Debug)]
pub(super) enum Owner {
    Table(Token),
    Future {
        waker: Option<Waker>,
        outcome: Option<Outcome>,
    },
    /// A future that was dropped.
    Nobody,
}

/// How a step of an operation ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Accepted(io::Result<OwnedFd>),
    Received(Received),
    Sent {
        buffer: Vec<u8>,
        sent: usize,
        result: io::Result<()>,
    },
    /// Also a connect.
    Polled(io::Result<u32>),
}

// === impl OpId ===

impl OpId {
    pub(super) fn user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

// === impl Target ===

impl Target {
    pub(super) fn of(user_data: u64) -> Self {
        if user_data == DOORBELL {
            return Self::Doorbell;
        }
        if user_data == NOBODY {
            return Self::Nobody;
        }
        let index = (user_data & (CANCEL - 1)) as u32;
        let id = OpId { index, generation: (user_data >> 32) as u32 };
        if user_data & CANCEL == 0 { Self::Op(id) } else { Self::Cancel(id) }
    }
}

// === impl Ops ===

impl Ops {
    pub(super) fn with_capacity(slots: usize) -> Self {
        Self {
            slots: Vec::with_capacity(slots),
            free: NONE,
            live: 0,
            #[cfg(debug_assertions)]
            witnesses: Witnesses::default(),
        }
    }

    /// Operations that are not over; outcomes that a future has still to take are not counted.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn insert(&mut self, fd: RawFd, kind: Kind, owner: Owner) -> OpId {
        #[cfg(debug_assertions)]
        let witness = self.witnesses.open(fd, &kind);
        let mut slot = Slot {
            generation: 0,
            state: State::Queued,
            fd,
            cancelled: false,
            kind,
            owner,
            #[cfg(debug_assertions)]
            witness,
        };
        self.live += 1;
        if self.free == NONE {
            let index = self.slots.len();
            assert!(index < SLOTS_MAX, "more operations under way than a ring can name");
            self.slots.push(slot);
            return OpId { index: index as u32, generation: 0 };
        }
        let index = self.free;
        let place = &mut self.slots[index as usize];
        let State::Free(next) = place.state else { unreachable!("the free list names free slots") };
        self.free = next;
        slot.generation = place.generation;
        let id = OpId { index, generation: slot.generation };
        *place = slot;
        id
    }

    pub(super) fn get_mut(&mut self, id: OpId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.index as usize)?;
        let live = slot.generation == id.generation && !matches!(slot.state, State::Free(_));
        live.then_some(slot)
    }

    /// The operation is over: a table's or nobody's slot becomes free, a future's waits to be taken.
    /// What comes back is to be handed on, woken or dropped without a borrow of the table.
    pub(super) fn finish(&mut self, id: OpId, outcome: Outcome) -> Finished {
        let Some(slot) = self.get_mut(id) else { return Finished::Dropped(outcome) };
        debug_assert!(slot.state != State::Done);
        let finished = match &mut slot.owner {
            Owner::Table(token) => Finished::Table(outcome.completion(*token, false)),
            Owner::Nobody => Finished::Dropped(outcome),
            Owner::Future { waker, outcome: place } => {
                *place = Some(outcome);
                slot.state = State::Done;
                Finished::Future(waker.take())
            }
        };
        self.live -= 1;
        #[cfg(debug_assertions)]
        self.close_witness(id);
        if !matches!(finished, Finished::Future(_)) {
            self.release(id);
        }
        finished
    }

    /// The future that waited for it was dropped. Its waker is to be dropped without a borrow of the table.
    pub(super) fn abandon(&mut self, id: OpId) -> Option<Waker> {
        let slot = self.get_mut(id)?;
        let Owner::Future { waker, .. } = &mut slot.owner else { return None };
        let waker = waker.take();
        slot.owner = Owner::Nobody;
        #[cfg(debug_assertions)]
        self.forget_witness(id);
        waker
    }

    /// A future takes its outcome; the slot becomes free.
    pub(super) fn take(&mut self, id: OpId) -> Option<Outcome> {
        let slot = self.get_mut(id)?;
        if slot.state != State::Done {
            return None;
        }
        let Owner::Future { outcome, .. } = &mut slot.owner else { return None };
        let outcome = outcome.take();
        self.release(id);
        outcome
    }

    /// The ids of all operations that are not over.
    pub(super) fn ids(&self) -> impl Iterator<Item = OpId> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| !matches!(slot.state, State::Free(_) | State::Done))
            .map(|(index, slot)| OpId { index: index as u32, generation: slot.generation })
    }

    fn release(&mut self, id: OpId) {
        let slot = &mut self.slots[id.index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = State::Free(self.free);
        // Nothing of the caller's is left behind: neither a send buffer nor a waker.
        debug_assert!(!matches!(slot.owner, Owner::Future { waker: Some(_), .. }));
        slot.owner = Owner::Nobody;
        slot.kind = Kind::Accept;
        self.free = id.index;
    }

    #[cfg(debug_assertions)]
    fn close_witness(&mut self, id: OpId) {
        let slot = &mut self.slots[id.index as usize];
        self.witnesses.close(slot.fd, &mut slot.witness);
    }

    #[cfg(debug_assertions)]
    fn forget_witness(&mut self, id: OpId) {
        let slot = &mut self.slots[id.index as usize];
        self.witnesses.forget(&mut slot.witness);
    }

    /// From here on fds may be closed before their operations have ended: the driver is shut down.
    #[cfg(debug_assertions)]
    pub(super) fn dismiss_witnesses(&mut self) {
        self.witnesses.dismiss();
    }
}

/// What is left to do, without a borrow of the table, when an operation is over.
#[derive(Debug)]
pub(super) enum Finished {
    Table(Completion),
    Future(Option<Waker>),
    Dropped(Outcome),
}

// === impl Slot ===

impl Slot {
    /// The buffer group a receive takes from.
    pub(super) fn group(&self) -> Option<u16> {
        match self.kind {
            Kind::Recv { mode, .. } => Some(mode.group()),
            _ => None,
        }
    }

    /// The entry that makes the kernel do it; `sizes` are those of the groups' buffers. What it points to is this slot's.
    pub(super) fn entry(&self, id: OpId, sizes: [u32; 2]) -> Entry {
        let fd = types::Fd(self.fd);
        let entry = match &self.kind {
            Kind::Accept => {
                opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK).build()
            }
            Kind::Recv { mode: RecvMode::Chatty, once: false, scarce: false, .. } => {
                opcode::RecvMulti::new(fd, CHATTY).build()
            }
            Kind::Recv { mode, most, .. } => {
                let group = mode.group();
                opcode::Recv::new(fd, std::ptr::null_mut(), sizes[usize::from(group)].min(*most))
                    .buf_group(group)
                    .build()
                    .flags(Flags::BUFFER_SELECT)
            }
            Kind::Send { buffer, position, end } => {
                let rest = &buffer[*position..*end];
                let len = rest.len().min(SEND_BYTES_MAX) as u32;
                opcode::Send::new(fd, rest.as_ptr(), len)
                    .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                    .build()
            }
            Kind::Poll { events } => opcode::PollAdd::new(fd, *events).build(),
            Kind::Watch { .. } => opcode::PollAdd::new(fd, 0).multi(true).build(),
            Kind::Connect { address } => {
                opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build()
            }
        };
        entry.user_data(id.user_data())
    }
}

/// The entry that ends an operation early. Only a failed cancel completes.
pub(super) fn cancel_entry(id: OpId) -> Entry {
    opcode::AsyncCancel::new(id.user_data())
        .build()
        .flags(Flags::SKIP_SUCCESS)
        .user_data(id.user_data() | CANCEL)
}

/// The entry that reports each ring of the doorbell.
pub(super) fn doorbell_entry(fd: RawFd) -> Entry {
    opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).multi(true).build().user_data(DOORBELL)
}

/// The entry that ends the doorbell's poll.
pub(super) fn doorbell_cancel_entry() -> Entry {
    opcode::AsyncCancel::new(DOORBELL).build().flags(Flags::SKIP_SUCCESS).user_data(NOBODY)
}

// === impl RecvMode ===

impl RecvMode {
    pub(super) fn group(self) -> u16 {
        match self {
            Self::Chatty => CHATTY,
            Self::Bulk => BULK,
        }
    }
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn completion(self, token: Token, more: bool) -> Completion {
        match self {
            Self::Accepted(result) => Completion::Accepted { token, result, more },
            Self::Received(result) => Completion::Received { token, result, more },
            Self::Sent { buffer, sent, result } => Completion::Sent { token, buffer, sent, result },
            Self::Polled(result) => Completion::Polled { token, result },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(ops: &mut Ops) -> OpId {
        ops.insert(-1, Kind::Poll { events: 0 }, Owner::Table(Token(7)))
    }

    #[test]
    fn user_data_says_whose_completion_it_is() {
        for (index, generation) in [(0, 0), (1, 0), (0, 1), ((1 << 30) - 1, u32::MAX), (12_345, 1 << 31)] {
            let id = OpId { index, generation };
            assert_eq!(Target::of(id.user_data()), Target::Op(id));
            assert_eq!(Target::of(id.user_data() | CANCEL), Target::Cancel(id));
        }
        assert_eq!(Target::of(DOORBELL), Target::Doorbell);
        assert_eq!(Target::of(NOBODY), Target::Nobody);
        assert_eq!(Target::of(cancel_entry(OpId { index: 3, generation: 4 }).get_user_data()), {
            Target::Cancel(OpId { index: 3, generation: 4 })
        });
        assert_eq!(Target::of(doorbell_entry(0).get_user_data()), Target::Doorbell);
        assert_eq!(Target::of(doorbell_cancel_entry().get_user_data()), Target::Nobody);
    }

    #[test]
    fn a_slot_is_used_again_under_another_generation() {
        let mut ops = Ops::with_capacity(1);
        let first = poll(&mut ops);
        assert_eq!(ops.live(), 1);
        assert!(matches!(ops.finish(first, Outcome::Polled(Ok(1))), Finished::Table(_)));
        let second = poll(&mut ops);
        assert_eq!(first.index, second.index);
        assert!(ops.get_mut(first).is_none() && ops.get_mut(second).is_some());
        // A late end of the first changes nothing.
        assert!(matches!(ops.finish(first, Outcome::Polled(Ok(1))), Finished::Dropped(_)));
        assert_eq!(ops.live(), 1);
        assert_eq!(ops.slots.len(), 1);
    }

    #[test]
    fn a_future_s_slot_stays_until_its_outcome_is_taken() {
        let mut ops = Ops::with_capacity(1);
        let owner = Owner::Future { waker: Some(Waker::noop().clone()), outcome: None };
        let id = ops.insert(-1, Kind::Poll { events: 0 }, owner);
        assert!(ops.take(id).is_none());
        assert!(matches!(ops.finish(id, Outcome::Polled(Ok(5))), Finished::Future(Some(_))));
        assert_eq!((ops.live(), ops.ids().count()), (0, 0));
        assert_ne!(poll(&mut ops).index, id.index);
        assert!(matches!(ops.take(id), Some(Outcome::Polled(Ok(5)))));
        assert!(ops.take(id).is_none());
        assert_eq!(poll(&mut ops).index, id.index);
    }

    #[test]
    fn an_abandoned_operation_ends_by_itself() {
        let mut ops = Ops::with_capacity(1);
        let owner = Owner::Future { waker: Some(Waker::noop().clone()), outcome: None };
        let id = ops.insert(-1, Kind::Poll { events: 0 }, owner);
        assert!(ops.abandon(id).is_some());
        assert_eq!(ops.live(), 1);
        assert!(matches!(ops.finish(id, Outcome::Polled(Ok(5))), Finished::Dropped(_)));
        assert_eq!(ops.live(), 0);
    }
}
