//! DATA (RFC 9113 §6.1).

use super::Step;
use crate::hbone::Sink;
use crate::hbone::closed::{Ending, Past};
use crate::hbone::error::{ErrorCode, Fault};
use crate::hbone::event::Event;
use crate::hbone::flood::Flood;
use crate::hbone::flow::WindowExceeded;
use crate::hbone::frame::{END_STREAM, Head, PADDED};
use crate::hbone::limits::DATA_RUNT_BYTES;
use crate::hbone::session::{Role, Session};
use crate::hbone::stream::{BODY_UNKNOWN, StreamId};

impl Session {
    pub(super) fn begin_data<'i>(&mut self, head: Head, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        if head.stream == StreamId::CONNECTION {
            return Err(Fault::protocol("DATA on no stream"));
        }
        // RFC 9113 §5.1, "idle"
        if self.is_idle(head.stream) {
            return Err(Fault::protocol("DATA on an idle stream"));
        }
        if head.has(PADDED) && head.length == 0 {
            return Err(Fault::frame_size("padded DATA without a padding length"));
        }
        self.incoming.prefix_due = head.has(PADDED);

        // RFC 9113 §6.9.1: the connection window counts every DATA frame, those on closed streams too.
        self.receive
            .take(head.length)
            .map_err(|WindowExceeded| Fault::flow_control("DATA above the window of the connection"))?;

        let is_client = self.role == Role::Client;
        let Some(stream) = self.streams.find_mut(head.stream) else {
            return self.stray_data(head, out);
        };
        if stream.remote_ended {
            return self.stream_error(head.stream, ErrorCode::STREAM_CLOSED, out);
        }
        // RFC 9113 §8.1: a response begins with its header section.
        if is_client && !stream.answered {
            return self.stream_error(head.stream, ErrorCode::PROTOCOL_ERROR, out);
        }
        if stream.receive.take(head.length) == Err(WindowExceeded) {
            return self.stream_error(head.stream, ErrorCode::FLOW_CONTROL_ERROR, out);
        }
        Ok(Step::Continue)
    }

    /// DATA on a stream that is over.
    fn stray_data<'i>(&mut self, head: Head, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let Past::ResetByUs { bytes_left } = self.closed.recall(head.stream) else {
            return self.stream_error(head.stream, ErrorCode::STREAM_CLOSED, out);
        };
        // On its way before our RST_STREAM arrived. There was a window for so much and no more.
        *bytes_left = bytes_left
            .checked_sub(head.length)
            .ok_or_else(|| Fault::flow_control("DATA on a stream that was reset, above its window"))?;
        if (head.length as usize) < DATA_RUNT_BYTES {
            self.floods.spend(Flood::Other)?;
        }
        Ok(Step::Continue)
    }

    pub(super) fn data<'i>(&mut self, input: &mut &'i [u8], out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        if self.incoming.prefix_due {
            return self.data_padding(input, out);
        }
        if self.incoming.content_left() > 0 {
            return self.data_content(input, out);
        }
        if self.incoming.left > 0 {
            let padding = self.incoming.rest(input);
            self.credit_connection(padding, out);
            return Ok(if padding == 0 { Step::Starved } else { Step::Continue });
        }
        self.data_done(out)
    }

    fn data_padding<'i>(&mut self, input: &mut &'i [u8], out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let Some([padding]) = self.incoming.payload(input) else {
            return Ok(Step::Starved);
        };
        if u32::from(padding) > self.incoming.left {
            return Err(Fault::protocol("more padding than DATA"));
        }
        self.incoming.prefix_due = false;
        self.incoming.padding = padding;
        // RFC 9113 §6.9.1: padding counts, and nobody else gives it back.
        self.credit_connection(1, out);
        self.credit_stream(self.incoming.head.stream, 1 + usize::from(padding), out);
        Ok(Step::Continue)
    }

    fn data_content<'i>(&mut self, input: &mut &'i [u8], out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let bytes = self.incoming.content(input);
        if bytes.is_empty() {
            return Ok(Step::Starved);
        }
        self.credit_connection(bytes.len(), out);
        let id = self.incoming.head.stream;
        let Some(stream) = self.streams.find_mut(id) else {
            return Ok(Step::Continue);
        };
        if stream.body_left != BODY_UNKNOWN {
            // RFC 9113 §8.1.1: the DATA of a request is as long as its content-length says.
            let Some(left) = stream.body_left.checked_sub(bytes.len() as u64) else {
                return self.stream_error(id, ErrorCode::PROTOCOL_ERROR, out);
            };
            stream.body_left = left;
        }
        Ok(Step::Event(Event::Data { stream: id, slot: stream.slot, bytes }))
    }

    fn data_done<'i>(&mut self, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let head = self.incoming.head;
        self.incoming.finish();
        if self.incoming.had_content && self.streams.find(head.stream).is_some() {
            for flood in [Flood::EmptyData, Flood::Pings, Flood::Other] {
                self.floods.give_back(flood, 1);
            }
        } else if !self.incoming.had_content && !head.has(END_STREAM) {
            self.floods.spend(Flood::EmptyData)?;
        }
        if !head.has(END_STREAM) {
            return Ok(Step::Continue);
        }
        self.ended_by_peer(head.stream, out)
    }

    /// END_STREAM has arrived, behind DATA or on trailers.
    pub(super) fn ended_by_peer<'i>(&mut self, id: StreamId, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let Some(stream) = self.streams.find_mut(id) else {
            self.closed.has_ended_late(id, Ending::Finished);
            return Ok(Step::Continue);
        };
        if !matches!(stream.body_left, 0 | BODY_UNKNOWN) {
            return self.stream_error(id, ErrorCode::PROTOCOL_ERROR, out);
        }
        stream.remote_ended = true;
        let slot = stream.slot;
        self.forget_if_over(id);
        Ok(Step::Event(Event::End { stream: id, slot }))
    }
}
