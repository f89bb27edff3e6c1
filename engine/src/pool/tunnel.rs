//! One tunnel: a socket to a peer node, its records, its session. Plain data, moved by completions.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Buffered;
use super::segment::transfer_bytes;
use crate::hbone::{Session, Settings, Sink};
use crate::mesh::Identity;
use crate::relay::{BulkWatch, Intake};
use crate::shard::{Buffers, LocalPod};
use crate::tls::{Established, PeerChain, RecordOpener, RecordSealer, Records};
use crate::uring::{OpId, TimerId};

/// Sealed and not yet taken by the kernel, per tunnel. A message that comes while a transfer runs waits behind this
/// much and no more (rules of a tunnel, 2); a transfer asks for more of its application only below it.
pub(crate) const TUNNEL_UNSENT_BYTES_MAX: usize = 256 * 1024;

/// Bytes of one tunnel that applications have not taken yet, beyond which it accepts no further stream. Sixteen
/// standing readers with full windows.
pub(crate) const TUNNEL_BUFFERED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of all tunnels of a shard that applications have not taken yet, beyond which it accepts no further stream. Eight
/// tunnels that are full.
pub(crate) const SHARD_BUFFERED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A transfer that moved nothing for so long is no hindrance to a newcomer.
const BULK_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) socket: OwnedFd,
    pub(crate) facts: Rc<TunnelFacts>,
    pub(crate) session: Session,
    pub(crate) sealer: RecordSealer,
    pub(crate) opener: RecordOpener,
    pub(crate) intake: Intake,
    /// What its relays receive at once in a transfer, in bytes.
    pub(crate) transfer_bytes: u32,
    /// The beginning of a record whose rest has not come yet.
    pub(crate) partial: Vec<u8>,
    /// Records for the peer; the last may still be open.
    pub(crate) out: Records,
    pub(crate) in_flight: usize,
    pub(crate) sending: Option<OpId>,
    /// Relays that have bytes for the peer and found no room or no window, in the order of their turns.
    pub(crate) waiting: VecDeque<u32>,
    /// Streams that carry a transfer; newcomers avoid such a tunnel while one of them moves.
    pub(crate) bulk_streams: u32,
    bulk_moved: Instant,
    /// Streams of ours that it may carry at a time.
    streams_max: usize,
    /// Bytes that applications have not taken yet.
    pub(crate) buffered: Buffered,
    /// Relays that use this tunnel.
    pub(crate) relays: usize,
    pub(crate) dirty: bool,
    pub(crate) phase: Phase,
    pub(crate) heartbeat: Heartbeat,
}

/// What never changes in the life of a tunnel.
#[derive(Debug)]
pub(crate) struct TunnelFacts {
    pub(crate) side: Side,
    pub(crate) pod: Rc<LocalPod>,
    pub(crate) peer: Identity,
    /// What the peer showed; kept where it may be revoked.
    pub(crate) chain: Option<PeerChain>,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Live,
    /// Our last bytes are on their way; what still comes is thrown away until the peer ends too.
    Ending,
    /// Waiting for the last operations to come back.
    Closed,
}

/// PING and the wait for its answer; also tells how long a tunnel has had no stream.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(crate) timer: Option<TimerId>,
    pub(crate) unanswered_since: Option<Instant>,
    /// When its last stream ended, or it began without one.
    pub(crate) unused_since: Instant,
    /// After so long without a stream a client ends the tunnel.
    pub(crate) unused_release: Duration,
    pub(crate) count: u64,
}

/// Writes a session's frames into the records of a tunnel.
pub(crate) struct Seal<'a> {
    pub(crate) sealer: &'a mut RecordSealer,
    pub(crate) out: &'a mut Records,
}

// === impl Tunnel ===

impl Tunnel {
    /// A tunnel whose handshake is done. Its session has written its first frames; they go out when the tunnel is put
    /// into a table. Also returns what the peer sent behind its handshake, still sealed.
    pub(crate) fn new(
        socket: OwnedFd,
        facts: TunnelFacts,
        established: Established,
        settings: &Settings,
        heartbeat: Heartbeat,
        buffers: &mut Buffers,
    ) -> (Self, Vec<u8>) {
        let Established { mut sealer, opener, leftover, .. } = established;
        let mut out = buffers.large();
        let mut seal = Seal { sealer: &mut sealer, out: &mut out };
        let session = match facts.side {
            Side::Client => Session::client(settings, &mut seal),
            Side::Server => Session::server(settings, &mut seal),
        };
        let transfer_bytes = transfer_bytes(socket.as_fd());
        let tunnel = Self {
            socket,
            facts: Rc::new(facts),
            session,
            sealer,
            opener,
            intake: Intake::default(),
            transfer_bytes,
            partial: Vec::new(),
            out,
            in_flight: 0,
            sending: None,
            waiting: VecDeque::new(),
            bulk_streams: 0,
            bulk_moved: heartbeat.unused_since,
            streams_max: settings.streams_max as usize,
            buffered: Buffered::default(),
            relays: 0,
            dirty: false,
            phase: Phase::Live,
            heartbeat,
        };
        (tunnel, leftover)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The session, and where its frames go. A tunnel that has nothing to send holds no buffer; it gets one here.
    pub(crate) fn speak(&mut self, buffers: &mut Buffers) -> (&mut Session, Seal<'_>) {
        if self.out.capacity() == 0 {
            self.out = buffers.large();
        }
        (&mut self.session, Seal { sealer: &mut self.sealer, out: &mut self.out })
    }

    /// Has carried no stream for so long that it is released.
    pub(crate) fn is_unused(&self, now: Instant) -> bool {
        let Heartbeat { unused_since, unused_release, .. } = self.heartbeat;
        self.relays == 0 && now.saturating_duration_since(unused_since) >= unused_release
    }

    pub(crate) fn unsent(&self) -> usize {
        self.in_flight + self.out.len()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.unsent() < TUNNEL_UNSENT_BYTES_MAX
    }

    pub(crate) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// May carry one more stream of ours.
    pub(crate) fn takes_streams(&self) -> bool {
        self.is_live()
            && !self.session.is_draining()
            && self.session.capacity() > 0
            && self.relays < self.streams_max
            && self.buffered.bytes() < TUNNEL_BUFFERED_BYTES_MAX
    }

    /// A relay left, with so many bytes that its application never took.
    pub(crate) fn forget_relay(&mut self, slot: u32, untaken: usize, bulk: bool, now: Instant) {
        self.buffered -= untaken;
        self.count_bulk(bulk.then_some(false));
        self.waiting.retain(|waiting| *waiting != slot);
        self.relays -= 1;
        self.heartbeat.unused_since = now;
    }

    /// Carries a transfer now. One that pauses does not keep newcomers away.
    pub(crate) fn is_bulk(&self, now: Instant) -> bool {
        self.bulk_streams > 0 && now.saturating_duration_since(self.bulk_moved) < BULK_PAUSE
    }

    /// A stream moved so many bytes one way: it may have become a transfer, or ceased to be one.
    pub(crate) fn watch_bulk(&mut self, watch: &mut BulkWatch, bytes: usize, now: Instant) {
        self.count_bulk(watch.saw(bytes));
        if watch.counted {
            self.bulk_moved = now;
        }
    }

    #[cfg(test)]
    pub(crate) fn paused_since(&mut self, then: Instant) {
        self.bulk_moved = then;
    }

    fn count_bulk(&mut self, change: Option<bool>) {
        match change {
            Some(true) => self.bulk_streams += 1,
            Some(false) => self.bulk_streams -= 1,
            None => {}
        }
    }

    /// No operation of ours is with the kernel.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.sending.is_none() && self.intake.is_at_rest()
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    pub(crate) fn new(now: Instant, unused_release: Duration) -> Self {
        Self { timer: None, unanswered_since: None, unused_since: now, unused_release, count: 0 }
    }
}

// === impl Seal ===

impl Sink for Seal<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.sealer.put(self.out, bytes);
    }
}
