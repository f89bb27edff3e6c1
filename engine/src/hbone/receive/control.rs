//! The small frames: PRIORITY, RST_STREAM, PING, GOAWAY, WINDOW_UPDATE (RFC 9113 §6.3, §6.4, §6.7 to §6.9).

use super::Step;
use crate::hbone::Sink;
use crate::hbone::closed::Ending;
use crate::hbone::error::{ErrorCode, Fault};
use crate::hbone::event::Event;
use crate::hbone::flood::Flood;
use crate::hbone::flow::WindowOverflow;
use crate::hbone::frame::{self, ACK, Head, Kind};
use crate::hbone::session::{Role, Session};
use crate::hbone::stream::{NO_SLOT, StreamId};

impl Session {
    pub(super) fn begin_priority<'i>(&mut self, head: Head, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        if head.stream == StreamId::CONNECTION {
            return Err(Fault::protocol("PRIORITY on no stream"));
        }
        self.floods.spend(Flood::Other)?;
        if head.length == 5 {
            return Ok(Step::Continue);
        }
        self.incoming.skipping = true;
        self.priority_error(head.stream, Fault::frame_size("PRIORITY that is not five octets long"), out)
    }

    pub(super) fn priority<'i>(
        &mut self,
        input: &mut &'i [u8],
        out: &mut impl Sink,
    ) -> Result<Step<'i>, Fault> {
        let Some([dependency @ .., _weight]) = self.incoming.payload::<5>(input) else {
            return Ok(Step::Starved);
        };
        self.incoming.finish();
        let stream = self.incoming.head.stream;
        // RFC 7540 §5.3.1. Otherwise priorities mean nothing to a tunnel (RFC 9113 §5.3.2).
        if StreamId::from_bits(u32::from_be_bytes(dependency)) == stream {
            return self.priority_error(stream, Fault::protocol("a stream that depends on itself"), out);
        }
        Ok(Step::Continue)
    }

    /// A stream error of PRIORITY, which may come in every state; an idle stream cannot be reset (RFC 9113 §6.4).
    fn priority_error<'i>(
        &mut self,
        stream: StreamId,
        fault: Fault,
        out: &mut impl Sink,
    ) -> Result<Step<'i>, Fault> {
        if self.is_idle(stream) {
            return Err(fault);
        }
        self.stream_error(stream, fault.code, out)
    }

    pub(super) fn reset_by_peer<'i>(&mut self, input: &mut &'i [u8]) -> Result<Step<'i>, Fault> {
        let Some(code) = self.incoming.payload(input) else {
            return Ok(Step::Starved);
        };
        self.incoming.finish();
        let code = ErrorCode(u32::from_be_bytes(code));
        let id = self.incoming.head.stream;
        // RFC 9113 §6.4
        if self.is_idle(id) {
            return Err(Fault::protocol("RST_STREAM on an idle stream"));
        }
        let Some(stream) = self.streams.remove(id) else {
            self.closed.has_ended_late(id, Ending::ResetByPeer);
            return self.floods.spend(Flood::Other).map(|()| Step::Continue);
        };
        self.closed.has_ended(id, Ending::ResetByPeer);
        if self.role == Role::Server && !stream.answered {
            self.floods.spend(Flood::Resets)?;
        }
        let refused = code == ErrorCode::REFUSED_STREAM;
        Ok(Step::Event(Event::Reset { stream: id, slot: stream.slot, code, refused, by_peer: true }))
    }

    pub(super) fn ping_by_peer<'i>(
        &mut self,
        input: &mut &'i [u8],
        out: &mut impl Sink,
    ) -> Result<Step<'i>, Fault> {
        let Some(payload) = self.incoming.payload::<8>(input) else {
            return Ok(Step::Starved);
        };
        self.incoming.finish();
        if !self.incoming.head.has(ACK) {
            self.floods.spend(Flood::Pings)?;
            // RFC 9113 §6.7
            frame::put_small(out, Kind::Ping, ACK, StreamId::CONNECTION, payload);
            return Ok(Step::Continue);
        }
        self.floods.spend(Flood::Other)?;
        let payload = u64::from_be_bytes(payload);
        self.leave_after_round_trip(payload, out);
        Ok(Step::Event(Event::Pong { payload }))
    }

    pub(super) fn goaway_by_peer<'i>(&mut self, input: &mut &'i [u8]) -> Result<Step<'i>, Fault> {
        let Some([l0, l1, l2, l3, code @ ..]) = self.incoming.payload::<8>(input) else {
            return Ok(Step::Starved);
        };
        // What is left is text for logs.
        self.incoming.skipping = true;
        self.floods.spend(Flood::Other)?;
        let last = StreamId::from_bits(u32::from_be_bytes([l0, l1, l2, l3]));
        // RFC 9113 §6.8: it never grows.
        let last = self.peer_leaves_after.map_or(last, |before| before.min(last));
        self.peer_leaves_after = Some(last);
        Ok(Step::Event(Event::GoAway { last, code: ErrorCode(u32::from_be_bytes(code)) }))
    }

    pub(super) fn window_update<'i>(
        &mut self,
        input: &mut &'i [u8],
        out: &mut impl Sink,
    ) -> Result<Step<'i>, Fault> {
        let Some(increment) = self.incoming.payload(input) else {
            return Ok(Step::Starved);
        };
        self.incoming.finish();
        self.floods.spend(Flood::WindowUpdates)?;
        // RFC 9113 §6.9: the reserved bit is ignored.
        let increment = i64::from(u32::from_be_bytes(increment) & StreamId::MAX.value());
        let id = self.incoming.head.stream;
        if id == StreamId::CONNECTION {
            if increment == 0 {
                return Err(Fault::protocol("WINDOW_UPDATE of 0"));
            }
            let grown = self.send.shift(increment);
            grown.map_err(|WindowOverflow| Fault::flow_control("the connection's window above 2^31-1"))?;
            return Ok(Step::Event(Event::Window { slot: None }));
        }
        // RFC 9113 §5.1, "idle"
        if self.is_idle(id) {
            return Err(Fault::protocol("WINDOW_UPDATE on an idle stream"));
        }
        let Some(stream) = self.streams.find_mut(id) else {
            return Ok(Step::Continue);
        };
        if increment == 0 {
            return self.stream_error(id, ErrorCode::PROTOCOL_ERROR, out);
        }
        if stream.send.shift(increment) == Err(WindowOverflow) {
            return self.stream_error(id, ErrorCode::FLOW_CONTROL_ERROR, out);
        }
        if stream.local_ended || stream.slot == NO_SLOT {
            return Ok(Step::Continue);
        }
        Ok(Step::Event(Event::Window { slot: Some(stream.slot) }))
    }
}
