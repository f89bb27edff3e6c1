//! One relayed connection: the application's socket on one side, a stream of a tunnel on the other.

use std::collections::VecDeque;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use super::{HalfClosed, Intake, Outlet};
use crate::hbone::frame::HEAD_BYTES;
use crate::hbone::{Session, Sink, StreamId};
use crate::observe::{Direction, Observation, Record, ResponseFlag, Traffic};
use crate::pool::Seal;
use crate::shard::{Buffers, Key, LocalPod, Promise};
use crate::uring::{Lease, OpId};

#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) pod: Rc<LocalPod>,
    /// `None` while the connection to the application is being made (inbound).
    pub(crate) app: Option<OwnedFd>,
    pub(crate) tunnel: Key,
    pub(crate) stream: StreamId,
    pub(crate) phase: Phase,
    pub(crate) intake: Intake,
    /// Sees an RST while nothing is received.
    pub(crate) guard: Option<OpId>,
    /// Received from the application and not yet taken by the tunnel.
    pub(crate) held: VecDeque<Held>,
    pub(crate) outlet: Outlet,
    pub(crate) turn: Turn,
    pub(crate) bulk: BulkWatch,
    pub(crate) half_closed: HalfClosed,
    pub(crate) record: Record,
    /// Towards the tunnel and from it, in bytes.
    pub(crate) carried: Carried,
}

/// Bytes that wait for the tunnel.
#[derive(Debug)]
pub(crate) enum Held {
    /// Where they were received.
    Lease(Lease),
    /// Copied, since a connection that stands must not keep receive buffers from others; they begin at `from`.
    Copy { buffer: Vec<u8>, from: usize },
}

/// How far each direction has come, and what the relay waits for in this turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// The application sent FIN.
    pub(crate) app_ended: bool,
    /// END_STREAM went out.
    pub(crate) end_sent: bool,
    /// END_STREAM came in.
    pub(crate) far_ended: bool,
    /// FIN went to the application.
    pub(crate) shut: bool,
    /// Stands in the tunnel's waiting line.
    pub(crate) waiting: bool,
    /// Stands in the shard's list of sockets to send to.
    pub(crate) dirty: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) to_tunnel: u64,
    pub(crate) to_app: u64,
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// CONNECT is sent, the answer is awaited.
    Opening(Promise<Opened>),
    /// The application is being connected to.
    Connecting,
    Open,
    /// Waiting for the last operations to come back.
    Closed,
}

/// The answer to a CONNECT.
#[derive(Debug)]
pub(crate) enum Opened {
    Yes,
    No(Refused),
}

/// The stream did not come to be; the application's socket is given back.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) app: OwnedFd,
    /// The peer did not process it: another tunnel may be tried.
    pub(crate) unprocessed: bool,
    pub(crate) cause: String,
    pub(crate) flag: ResponseFlag,
}

/// Tells a transfer from a conversation.
#[derive(Debug, Default)]
pub(crate) struct BulkWatch {
    streak: usize,
    pub(crate) counted: bool,
}

/// So many bytes in a row, without a small message between them, are a transfer.
const BULK_STREAK_BYTES: usize = 512 * 1024;

/// A piece below this is a message and ends the streak.
const MESSAGE_BYTES: usize = 4 * 1024;

// === impl Relay ===

impl Relay {
    pub(crate) fn new(
        pod: Rc<LocalPod>,
        tunnel: Key,
        stream: StreamId,
        phase: Phase,
        app: Option<OwnedFd>,
        record: Record,
        transfer_bytes: u32,
    ) -> Self {
        Self {
            pod,
            app,
            tunnel,
            stream,
            phase,
            intake: Intake::up_to(transfer_bytes),
            guard: None,
            held: VecDeque::new(),
            outlet: Outlet::default(),
            turn: Turn::default(),
            bulk: BulkWatch::default(),
            half_closed: HalfClosed::default(),
            record,
            carried: Carried::default(),
        }
    }

    pub(crate) fn app(&self) -> Option<BorrowedFd<'_>> {
        self.app.as_ref().map(|fd| fd.as_fd())
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening(_))
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting)
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// What it has carried, as its client sees it.
    pub(crate) fn traffic(&self) -> Traffic {
        let Carried { to_tunnel, to_app } = self.carried;
        match self.record.connection().direction {
            Direction::Outbound => Traffic { sent: to_tunnel, received: to_app },
            Direction::Inbound => Traffic { sent: to_app, received: to_tunnel },
        }
    }

    /// The last that is told of it.
    pub(crate) fn closed(&self, now: Instant, cause: Option<String>) -> Observation {
        self.record.closed(self.traffic(), now, cause)
    }

    /// The stream has come to its end both ways: nothing is wanted of its tunnel any more.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_open() && self.turn.end_sent && self.turn.far_ended
    }

    /// One side has ended, and the other has not.
    pub(crate) fn is_half_closed(&self) -> bool {
        self.turn.app_ended != self.turn.far_ended
    }

    /// Both directions came to their end and everything was delivered.
    pub(crate) fn is_finished(&self) -> bool {
        self.turn.end_sent && self.turn.shut && self.outlet.pending() == 0
    }

    /// No operation of ours is with the kernel.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.guard.is_none() && self.intake.is_at_rest() && self.outlet.is_at_rest()
    }
}

// === impl Held ===

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Lease(lease) => lease,
            Self::Copy { buffer, from } => &buffer[*from..],
        }
    }
}

impl Held {
    /// Sends the first `wanted` bytes, as far as the windows go, and forgets them. Returns how many these were.
    pub(crate) fn send(
        &mut self,
        session: &mut Session,
        stream: StreamId,
        wanted: usize,
        seal: &mut Seal<'_>,
    ) -> usize {
        let mut sent = 0;
        while let Some((head, length)) = session.data_frame(stream, wanted - sent) {
            // Header and payload as one piece are sealed from where they lie, without being copied together first.
            self.prepend(&head);
            seal.put(&self[..head.len() + length]);
            self.advance(head.len() + length);
            sent += length;
        }
        sent
    }

    /// The bytes of a lease, in a buffer of the shard's stock.
    pub(crate) fn copy_of(lease: &Lease, buffers: &mut Buffers) -> Self {
        let mut buffer = buffers.link(HEAD_BYTES + lease.len());
        buffer.extend_from_slice(&[0; HEAD_BYTES]);
        buffer.extend_from_slice(lease);
        Self::Copy { buffer, from: HEAD_BYTES }
    }

    fn prepend(&mut self, head: &[u8; HEAD_BYTES]) {
        match self {
            Self::Lease(lease) => lease.prepend(head),
            Self::Copy { buffer, from } => {
                buffer[*from - HEAD_BYTES..*from].copy_from_slice(head);
                *from -= HEAD_BYTES;
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        match self {
            Self::Lease(lease) => lease.advance(bytes),
            Self::Copy { from, .. } => *from += bytes,
        }
    }
}

// === impl BulkWatch ===

impl BulkWatch {
    /// Returns what the stream is now, when that changed: a transfer or not.
    pub(crate) fn saw(&mut self, bytes: usize) -> Option<bool> {
        if bytes < MESSAGE_BYTES {
            self.streak = 0;
        } else {
            self.streak = (self.streak + bytes).min(BULK_STREAK_BYTES);
        }
        let bulk = self.streak == BULK_STREAK_BYTES || (self.counted && self.streak > 0);
        if bulk == self.counted {
            return None;
        }
        self.counted = bulk;
        Some(bulk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_noticed_and_forgotten() {
        let mut watch = BulkWatch::default();
        assert_eq!(watch.saw(256 * 1024), None);
        assert_eq!(watch.saw(64), None, "a message ends the streak");
        assert_eq!(watch.saw(256 * 1024), None);
        assert_eq!(watch.saw(256 * 1024), Some(true));
        assert_eq!(watch.saw(256 * 1024), None);
        assert_eq!(watch.saw(100), Some(false));
    }
}
