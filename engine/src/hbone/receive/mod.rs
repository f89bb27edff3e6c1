//! Receiving: bytes to frames to events.
//!
//! A frame is worked off as its bytes arrive. Only header blocks are gathered; the small frames need up to nine bytes
//! at a time, and DATA is handed out piece by piece. [`Incoming`] says how far it is, between any two bytes.

mod control;
mod data;
mod headers;
mod incoming;
mod settings;

pub(super) use incoming::Incoming;

use self::incoming::Phase;
use super::Sink;
use super::closed::Ending;
use super::error::{ErrorCode, Fault};
use super::event::Event;
use super::flood::Flood;
use super::frame::{self, HEAD_BYTES, Head, Kind, PREFACE};
use super::session::{Role, Session};
use super::stream::StreamId;

/// What a piece of input came to.
enum Step<'i> {
    /// More input is needed.
    Starved,
    /// Something was done that the caller need not know.
    Continue,
    Event(Event<'i>),
}

impl From<Option<Event<'static>>> for Step<'_> {
    fn from(event: Option<Event<'static>>) -> Self {
        event.map_or(Self::Continue, Self::Event)
    }
}

impl Session {
    pub(super) fn advance<'i>(
        &mut self,
        input: &mut &'i [u8],
        out: &mut impl Sink,
    ) -> Result<Option<Event<'i>>, Fault> {
        loop {
            if let Some(event) = self.unprocessed_stream() {
                return Ok(Some(event));
            }
            let step = match self.incoming.phase {
                Phase::Preface { matched } => self.preface(matched, input)?,
                Phase::Head => self.head(input, out)?,
                Phase::Payload => self.payload(input, out)?,
            };
            match step {
                Step::Starved => return Ok(None),
                Step::Continue => {}
                Step::Event(event) => return Ok(Some(event)),
            }
        }
    }

    /// RFC 9113 §6.8: streams above the `last` of a GOAWAY were not processed; one at a time, the youngest first.
    fn unprocessed_stream(&mut self) -> Option<Event<'static>> {
        let last = self.peer_leaves_after?;
        let id = self.streams.last().filter(|id| self.role == Role::Client && *id > last)?;
        let stream = self.streams.remove(id)?;
        self.closed.has_ended(id, Ending::ResetByPeer);
        let code = ErrorCode::REFUSED_STREAM;
        Some(Event::Reset { stream: id, slot: stream.slot, code, refused: true, by_peer: true })
    }

    /// RFC 9113 §3.4
    fn preface<'i>(&mut self, matched: u8, input: &mut &'i [u8]) -> Result<Step<'i>, Fault> {
        if input.is_empty() {
            return Ok(Step::Starved);
        }
        let expected = &PREFACE[usize::from(matched)..];
        let (given, rest) = input.split_at(input.len().min(expected.len()));
        if given != &expected[..given.len()] {
            return Err(Fault::protocol("the connection does not begin as HTTP/2"));
        }
        *input = rest;
        let matched = matched + given.len() as u8;
        self.incoming.phase =
            if usize::from(matched) == PREFACE.len() { Phase::Head } else { Phase::Preface { matched } };
        Ok(Step::Continue)
    }

    fn head<'i>(&mut self, input: &mut &'i [u8], out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let Some(bytes) = self.incoming.fill::<HEAD_BYTES>(input) else {
            return Ok(Step::Starved);
        };
        let head = Head::parse(&bytes);
        self.check_order(&head)?;
        self.incoming.begin(head);
        match head.kind {
            Kind::Data => self.begin_data(head, out),
            Kind::Headers => self.begin_headers(head),
            Kind::Continuation => self.begin_continuation(head),
            Kind::Settings => self.begin_settings(head),
            Kind::Priority => self.begin_priority(head, out),
            Kind::ResetStream => begin_fixed(head, 4, Scope::Stream),
            Kind::WindowUpdate => begin_fixed(head, 4, Scope::Either),
            Kind::Ping => begin_fixed(head, 8, Scope::Connection),
            Kind::Goaway => begin_goaway(head),
            // RFC 9113 §8.4: a client cannot push, and as a client we do not allow it.
            Kind::PushPromise => Err(Fault::protocol("PUSH_PROMISE, which nobody asked for")),
            // RFC 9113 §4.1: ignored.
            Kind::Unknown(_) => self.floods.spend(Flood::Other).map(|()| Step::Continue),
        }
    }

    /// What has to hold for a frame of any kind.
    fn check_order(&self, head: &Head) -> Result<(), Fault> {
        // RFC 9113 §4.2
        if head.length > self.settings.frame_size {
            return Err(Fault::frame_size("a frame above SETTINGS_MAX_FRAME_SIZE"));
        }
        // RFC 9113 §3.4
        if !self.peer_settings_seen && (head.kind != Kind::Settings || head.has(frame::ACK)) {
            return Err(Fault::protocol("the first frame is not SETTINGS"));
        }
        // RFC 9113 §4.3, §6.2, §6.10
        let continued = self.incoming.block.stream();
        if continued.is_some_and(|stream| head.kind != Kind::Continuation || head.stream != stream) {
            return Err(Fault::protocol("another frame inside a header block"));
        }
        Ok(())
    }

    fn payload<'i>(&mut self, input: &mut &'i [u8], out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        if self.incoming.skipping {
            return Ok(self.incoming.skip(input));
        }
        match self.incoming.head.kind {
            Kind::Data => self.data(input, out),
            Kind::Headers | Kind::Continuation => self.block(input, out),
            Kind::Settings => self.settings(input, out),
            Kind::Priority => self.priority(input, out),
            Kind::ResetStream => self.reset_by_peer(input),
            Kind::WindowUpdate => self.window_update(input, out),
            Kind::Ping => self.ping_by_peer(input, out),
            Kind::Goaway => self.goaway_by_peer(input),
            Kind::PushPromise | Kind::Unknown(_) => Ok(self.incoming.skip(input)),
        }
    }

    /// Every byte of DATA that is not in this session any more was given back to the connection's window.
    #[cfg(test)]
    pub(super) fn check_connection_credit(&self) {
        let is_data = self.incoming.phase == Phase::Payload && self.incoming.head.kind == Kind::Data;
        let expected = if is_data { self.incoming.left as usize } else { 0 };
        assert_eq!(self.receive.held(super::limits::CONNECTION_WINDOW_BYTES), expected);
    }

    /// A stream error (RFC 9113 §5.4.2). The caller is told if it knows the stream.
    fn stream_error<'i>(
        &mut self,
        stream: StreamId,
        code: ErrorCode,
        out: &mut impl Sink,
    ) -> Result<Step<'i>, Fault> {
        self.floods.spend(Flood::Resets)?;
        let slot = self.streams.find(stream).map(|stream| stream.slot);
        self.reset_stream(stream, code, out);
        let event = slot.map(|slot| Event::Reset { stream, slot, code, refused: false, by_peer: false });
        Ok(event.into())
    }
}

/// What the stream id of a frame may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Connection,
    Stream,
    Either,
}

/// Frames of a fixed size: RFC 9113 §6.4, §6.7, §6.9.
fn begin_fixed<'i>(head: Head, length: u32, scope: Scope) -> Result<Step<'i>, Fault> {
    let is_connection = head.stream == StreamId::CONNECTION;
    if scope != Scope::Either && is_connection != (scope == Scope::Connection) {
        return Err(Fault::protocol("a frame on a stream id that its kind cannot have"));
    }
    if head.length != length {
        return Err(Fault::frame_size("a frame that is not as long as its kind"));
    }
    Ok(Step::Continue)
}

/// RFC 9113 §6.8
fn begin_goaway<'i>(head: Head) -> Result<Step<'i>, Fault> {
    if head.stream != StreamId::CONNECTION {
        return Err(Fault::protocol("GOAWAY on a stream"));
    }
    if head.length < 8 {
        return Err(Fault::frame_size("GOAWAY without its code"));
    }
    Ok(Step::Continue)
}
