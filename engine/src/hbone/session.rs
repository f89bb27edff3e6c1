//! The state of a session, and [`Session::next`], which works off what the peer sent.

use std::fmt;

use super::closed::{ClosedStreams, Ending, Past};
use super::error::{ErrorCode, Fault, SessionError, Side};
use super::event::Event;
use super::flood::Floods;
use super::flow::{ReceiveWindow, SendWindow};
use super::receive::Incoming;
use super::settings::{PeerSettings, Settings};
use super::stream::{Stream, StreamId, Streams};
use super::{Sink, frame, hpack, limits};

/// One tunnel: see the module's documentation.
pub struct Session {
    pub(super) role: Role,
    /// What we announced.
    pub(super) settings: Settings,
    /// The peer acknowledged it.
    pub(super) settings_acknowledged: bool,
    pub(super) peer: PeerSettings,
    pub(super) peer_settings_seen: bool,

    pub(super) streams: Streams,
    pub(super) closed: ClosedStreams,
    /// The id of the next stream we open, if we are the client.
    pub(super) next_id: u32,
    /// The highest id of a stream the peer opened, if we are the server.
    pub(super) last_peer_id: StreamId,

    pub(super) send: SendWindow,
    pub(super) receive: ReceiveWindow,
    pub(super) floods: Floods,

    pub(super) incoming: Incoming,
    pub(super) decoder: hpack::Decoder,
    pub(super) encoder: hpack::Encoder,

    pub(super) leaving: Leaving,
    /// The `last` of the peer's GOAWAY: our streams above it were not processed.
    pub(super) peer_leaves_after: Option<StreamId>,
    pub(super) failed: Option<Fault>,
}

/// Which end of the tunnel we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// How far our own GOAWAY is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// A server has announced it and waits for one round trip, in which streams on their way still arrive
    /// (RFC 9113 §6.8).
    Announced,
    /// Streams above this one are not taken any more.
    After(StreamId),
}

// === impl Session ===

impl Session {
    /// The client's end of a new tunnel. Writes the preface (RFC 9113 §3.4).
    pub fn client(settings: &Settings, out: &mut impl Sink) -> Self {
        out.put(frame::PREFACE);
        Self::new(Role::Client, settings, out)
    }

    /// The server's end of a new tunnel. Writes the preface (RFC 9113 §3.4).
    pub fn server(settings: &Settings, out: &mut impl Sink) -> Self {
        Self::new(Role::Server, settings, out)
    }

    fn new(role: Role, settings: &Settings, out: &mut impl Sink) -> Self {
        let settings = settings.within_bounds();
        settings.put(role, out);
        let raise = limits::CONNECTION_WINDOW_BYTES - limits::INITIAL_WINDOW_BYTES;
        frame::put_window_update(out, StreamId::CONNECTION, raise);

        let peer = PeerSettings::initial();
        Self {
            role,
            settings,
            settings_acknowledged: false,
            peer,
            peer_settings_seen: false,
            streams: Streams::default(),
            closed: ClosedStreams::default(),
            next_id: 1,
            last_peer_id: StreamId::CONNECTION,
            send: SendWindow::new(limits::INITIAL_WINDOW_BYTES),
            receive: ReceiveWindow::new(limits::CONNECTION_WINDOW_BYTES),
            floods: Floods::new(),
            incoming: Incoming::new(role),
            decoder: hpack::Decoder::default(),
            encoder: hpack::Encoder::default(),
            leaving: Leaving::No,
            peer_leaves_after: None,
            failed: None,
        }
    }

    /// Works off `input`, which is cut anywhere, up to the next event, and advances it past what was used. `None`:
    /// all of it was used and nothing more happened.
    ///
    /// Any other method may be called between two events. On an error the session is over: GOAWAY is in `out`.
    /// Replies go to `out` without a bound of their own: a caller whose peer does not read stops calling this.
    pub fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        out: &mut impl Sink,
    ) -> Result<Option<Event<'i>>, SessionError> {
        if let Some(fault) = self.failed {
            return Err(self.error(fault));
        }
        self.advance(input, out).map_err(|fault| {
            self.failed = Some(fault);
            frame::put_goaway(out, self.last_taken(), fault.code, fault.text);
            self.error(fault)
        })
    }

    /// Gives a stream the caller's index, which then comes with each of its events.
    pub fn set_slot(&mut self, stream: StreamId, slot: u32) {
        if let Some(stream) = self.streams.find_mut(stream) {
            stream.slot = slot;
        }
    }

    /// Streams that are not over.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// How many more streams we may open now.
    pub fn capacity(&self) -> usize {
        if self.role == Role::Server || self.is_draining() || self.failed.is_some() {
            return 0;
        }
        let ids_left = (StreamId::MAX.value() + 2).saturating_sub(self.next_id) as usize / 2;
        (self.peer.streams_max as usize).saturating_sub(self.streams.len()).min(ids_left)
    }

    /// Either side has sent GOAWAY: existing streams finish, new ones go elsewhere.
    pub fn is_draining(&self) -> bool {
        self.leaving != Leaving::No || self.peer_leaves_after.is_some()
    }

    /// The peer has begun to speak HTTP/2: its SETTINGS have come.
    pub fn has_heard_peer(&self) -> bool {
        self.peer_settings_seen
    }

    /// We have said that we leave, and still take streams that were on their way then.
    pub fn takes_latecomers(&self) -> bool {
        self.leaving == Leaving::Announced
    }

    fn error(&self, fault: Fault) -> SessionError {
        let side = match self.role {
            Role::Client => Side::Upstream,
            Role::Server => Side::Downstream,
        };
        SessionError { code: fault.code, side, text: fault.text }
    }
}

// === what receiving and sending share ===

impl Session {
    /// A stream that nobody has opened yet (RFC 9113 §5.1, "idle").
    pub(super) fn is_idle(&self, id: StreamId) -> bool {
        match self.role {
            Role::Client => !id.is_clients() || id.value() >= self.next_id,
            // A client's even ids, and ours, which we never use: we push nothing.
            Role::Server => !id.is_clients() || id > self.last_peer_id,
        }
    }

    /// The `last` of a GOAWAY of ours, which never grows (RFC 9113 §6.8).
    pub(super) fn last_taken(&self) -> StreamId {
        match self.leaving {
            Leaving::After(last) => last,
            Leaving::No | Leaving::Announced => self.last_peer_id,
        }
    }

    /// The full size of a stream's receive window. Until the peer knows a smaller one it may use the initial size
    /// (RFC 9113 §6.9.3).
    pub(super) fn stream_window(&self) -> u32 {
        if self.settings_acknowledged {
            self.settings.stream_window
        } else {
            self.settings.stream_window.max(limits::INITIAL_WINDOW_BYTES)
        }
    }

    pub(super) fn open(&self, id: StreamId) -> Stream {
        let send = SendWindow::new(self.peer.stream_window);
        Stream::new(id, send, ReceiveWindow::new(self.stream_window()))
    }

    /// Resets a stream that may be open. Frames of it that are on their way are taken and thrown away.
    pub(super) fn reset_stream(&mut self, id: StreamId, code: ErrorCode, out: &mut impl Sink) {
        match self.streams.remove(id) {
            Some(stream) => self.closed.was_reset(id, stream.receive.left()),
            // A frame that no peer may send gives no new window to those that were on their way.
            None if matches!(self.closed.recall(id), Past::ResetByUs { .. }) => {}
            None => self.closed.was_reset(id, self.stream_window()),
        }
        frame::put_small(out, frame::Kind::ResetStream, 0, id, code.0.to_be_bytes());
    }

    /// Forgets a stream that both sides have ended.
    pub(super) fn forget_if_over(&mut self, id: StreamId) {
        if self.streams.find(id).is_some_and(Stream::is_over) {
            self.streams.remove(id);
            self.closed.has_ended(id, Ending::Finished);
        }
    }

    /// Gives connection credit back for bytes of DATA that left the session.
    pub(super) fn credit_connection(&mut self, bytes: usize, out: &mut impl Sink) {
        let size = limits::CONNECTION_WINDOW_BYTES;
        if let Some(increment) = self.receive.give_back(bytes, size, size / 4) {
            frame::put_window_update(out, StreamId::CONNECTION, increment);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.role)
            .field("streams", &self.streams.len())
            .field("draining", &self.is_draining())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
