//! HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10): requests, responses and trailers.

use super::Step;
use crate::hbone::closed::{Ending, Past};
use crate::hbone::error::{ErrorCode, Fault};
use crate::hbone::event::Event;
use crate::hbone::fields::{Broken, Fields};
use crate::hbone::flood::Flood;
use crate::hbone::frame::{END_HEADERS, END_STREAM, Head, Kind, PADDED, PRIORITY};
use crate::hbone::session::{Leaving, Role, Session};
use crate::hbone::stream::{BODY_UNKNOWN, StreamId};
use crate::hbone::{Sink, limits};

/// A header block that was decoded, of the stream `id`.
struct Section {
    id: StreamId,
    fields: Fields,
    /// The peer says no more on this stream.
    end: bool,
}

// === impl Session ===

impl Session {
    pub(super) fn begin_headers<'i>(&mut self, head: Head) -> Result<Step<'i>, Fault> {
        // RFC 9113 §5.1.1: the client's ids are odd, and a server opens none here.
        if !head.stream.is_clients() {
            return Err(Fault::protocol("HEADERS on a stream id that is not a client's"));
        }
        if self.role == Role::Client && self.is_idle(head.stream) {
            return Err(Fault::protocol("HEADERS on a stream that nobody opened"));
        }
        if head.length < prefix_bytes(head) {
            return Err(Fault::frame_size("HEADERS shorter than its flags say"));
        }
        self.incoming.prefix_due = prefix_bytes(head) > 0;
        self.incoming.block.begin(head.stream, head.has(END_STREAM));
        Ok(Step::Continue)
    }

    pub(super) fn begin_continuation<'i>(&mut self, head: Head) -> Result<Step<'i>, Fault> {
        let block = &mut self.incoming.block;
        // RFC 9113 §6.10
        if block.stream() != Some(head.stream) {
            return Err(Fault::protocol("CONTINUATION of no header block"));
        }
        block.continuations += 1;
        if block.continuations > limits::CONTINUATIONS_PER_BLOCK_MAX {
            return Err(Fault::calm("too many CONTINUATION frames"));
        }
        Ok(Step::Continue)
    }

    pub(super) fn block<'i>(&mut self, input: &mut &'i [u8], out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        if self.incoming.prefix_due && !self.block_prefix(input)? {
            return Ok(Step::Starved);
        }
        let content = self.incoming.content(input);
        let block = &mut self.incoming.block;
        // Encoded fields are smaller than what RFC 9113 §6.5.2 counts for them.
        if block.bytes.len() + content.len() > self.settings.header_list_max as usize {
            return Err(Fault::calm("a header block above SETTINGS_MAX_HEADER_LIST_SIZE"));
        }
        block.bytes.extend_from_slice(content);
        if self.incoming.content_left() > 0 {
            return Ok(Step::Starved);
        }
        self.incoming.rest(input);
        if self.incoming.left > 0 {
            return Ok(Step::Starved);
        }
        self.incoming.finish();
        if !self.incoming.head.has(END_HEADERS) {
            return Ok(Step::Continue);
        }
        self.section(out)
    }

    /// Padding length and priority, in front of the block. False: more input is needed.
    fn block_prefix(&mut self, input: &mut &[u8]) -> Result<bool, Fault> {
        let head = self.incoming.head;
        let (padding, priority) = match (head.has(PADDED), head.has(PRIORITY)) {
            (true, true) => match self.incoming.payload::<6>(input) {
                Some([padding, priority @ .., _weight]) => (padding, Some(priority)),
                None => return Ok(false),
            },
            (true, false) => match self.incoming.payload(input) {
                Some([padding]) => (padding, None),
                None => return Ok(false),
            },
            (false, _) => match self.incoming.payload::<5>(input) {
                Some([priority @ .., _weight]) => (0, Some(priority)),
                None => return Ok(false),
            },
        };
        // RFC 9113 §6.2
        if u32::from(padding) > self.incoming.left {
            return Err(Fault::protocol("more padding than HEADERS"));
        }
        self.incoming.padding = padding;
        self.incoming.prefix_due = false;
        // RFC 7540 §5.3.1
        let dependency = priority.map(|priority| StreamId::from_bits(u32::from_be_bytes(priority)));
        self.incoming.block.self_dependent = dependency == Some(head.stream);
        Ok(true)
    }

    /// A header block is complete. It is decoded whatever becomes of it, since later ones build on it
    /// (RFC 9113 §4.3).
    fn section<'i>(&mut self, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let id = self.incoming.head.stream;
        let block = &mut self.incoming.block;
        let (end, self_dependent) = (block.end, block.self_dependent);
        let mut fields = Fields::new(self.settings.header_list_max);
        let decoded = self.decoder.decode(&block.bytes, |name, value| fields.push(name, value));
        block.finish();
        decoded.map_err(|error| Fault { code: ErrorCode::COMPRESSION_ERROR, text: error.text() })?;

        let is_new = self.role == Role::Server && id > self.last_peer_id;
        if is_new {
            self.last_peer_id = id;
            if matches!(self.leaving, Leaving::After(_)) {
                // RFC 9113 §6.8: ignored, and so is what follows on it.
                self.closed.was_reset(id, self.stream_window());
                return self.floods.spend(Flood::Other).map(|()| Step::Continue);
            }
        }
        let section = Section { id, fields, end };
        let Some(stream) = self.streams.find(id) else {
            return if is_new && self_dependent {
                self.stream_error(id, ErrorCode::PROTOCOL_ERROR, out)
            } else if is_new {
                self.request(section, out)
            } else {
                self.stray_section(section, out)
            };
        };
        if stream.remote_ended {
            return self.stream_error(id, ErrorCode::STREAM_CLOSED, out);
        }
        if self_dependent {
            return self.stream_error(id, ErrorCode::PROTOCOL_ERROR, out);
        }
        if self.role == Role::Client && !stream.answered {
            return self.response(section, out);
        }
        self.trailers(section, out)
    }

    fn request<'i>(&mut self, section: Section, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let Section { id, fields, end } = section;
        let parsed = match fields.into_request() {
            Ok(parsed) => parsed,
            Err(broken) => return self.stream_error(id, broken.code(), out),
        };
        // RFC 9113 §8.1.1
        if end && !matches!(parsed.body, 0 | BODY_UNKNOWN) {
            return self.stream_error(id, ErrorCode::PROTOCOL_ERROR, out);
        }
        // RFC 9113 §5.1.2
        if self.streams.len() >= self.settings.streams_max as usize {
            return self.stream_error(id, ErrorCode::REFUSED_STREAM, out);
        }
        self.floods.give_back(Flood::Other, 1);
        self.floods.give_back(Flood::WindowUpdates, limits::WINDOW_UPDATES_PER_DATA_FRAMES);

        let mut stream = self.open(id);
        stream.tunnel = parsed.is_connect;
        stream.remote_ended = end;
        stream.body_left = parsed.body;
        self.streams.push(stream);
        Ok(Step::Event(Event::Request { stream: id, request: Box::new(parsed.request), end }))
    }

    fn response<'i>(&mut self, section: Section, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let Section { id, fields, end } = section;
        let (status, headers) = match fields.into_response() {
            Ok(response) => response,
            Err(broken) => return self.stream_error(id, broken.code(), out),
        };
        if status < 200 {
            // RFC 9113 §8.1: an interim response is not the last thing on its stream.
            if end {
                return self.stream_error(id, ErrorCode::PROTOCOL_ERROR, out);
            }
            return self.floods.spend(Flood::Other).map(|()| Step::Continue);
        }
        let Some(stream) = self.streams.find_mut(id) else {
            return Ok(Step::Continue);
        };
        stream.answered = true;
        stream.tunnel = status < 300;
        stream.remote_ended = end;
        let slot = stream.slot;
        self.forget_if_over(id);
        Ok(Step::Event(Event::Response { stream: id, slot, status, headers, end }))
    }

    fn trailers<'i>(&mut self, section: Section, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let Section { id, fields, end } = section;
        // RFC 9113 §8.5: a tunnel carries DATA and nothing else. §8.1: trailers end their stream.
        let is_tunnel = self.streams.find(id).is_some_and(|stream| stream.tunnel);
        if is_tunnel || !end {
            return self.stream_error(id, ErrorCode::PROTOCOL_ERROR, out);
        }
        match fields.into_trailers() {
            Ok(()) => self.ended_by_peer(id, out),
            Err(broken) => self.stream_error(id, broken.code(), out),
        }
    }

    /// HEADERS on a stream that is over.
    fn stray_section<'i>(&mut self, section: Section, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let Section { id, end, .. } = section;
        match (self.closed.recall(id), self.role) {
            // On its way before our RST_STREAM arrived; trailers, since the request has come.
            (Past::ResetByUs { .. }, Role::Server) => self.late_trailers(section, out),
            // On its way before our RST_STREAM arrived, or an answer to a stream we gave up long ago.
            (Past::ResetByUs { .. } | Past::Forgotten, Role::Client) => {
                if end {
                    self.closed.has_ended_late(id, Ending::Finished);
                }
                self.floods.spend(Flood::Other).map(|()| Step::Continue)
            }
            // RFC 9113 §5.1, "closed"
            (Past::Ended(Ending::Finished), Role::Server) => {
                let text = "HEADERS on a stream that both ends have ended";
                Err(Fault { code: ErrorCode::STREAM_CLOSED, text })
            }
            (Past::Ended(_), _) => self.stream_error(id, ErrorCode::STREAM_CLOSED, out),
            // RFC 9113 §5.1.1
            (Past::Forgotten, Role::Server) => Err(Fault::protocol("a new stream with an older id")),
        }
    }

    /// RFC 9113 §8.1: trailers end their stream and are well-formed, whatever their sender knew of our RST_STREAM.
    fn late_trailers<'i>(&mut self, section: Section, out: &mut impl Sink) -> Result<Step<'i>, Fault> {
        let Section { id, fields, end } = section;
        if !end {
            return self.stream_error(id, ErrorCode::PROTOCOL_ERROR, out);
        }
        if let Err(broken) = fields.into_trailers() {
            return self.stream_error(id, broken.code(), out);
        }
        self.closed.has_ended_late(id, Ending::Finished);
        self.floods.spend(Flood::Other).map(|()| Step::Continue)
    }
}

impl Broken {
    fn code(self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::PROTOCOL_ERROR,
            Self::TooLarge => ErrorCode::ENHANCE_YOUR_CALM,
        }
    }
}

/// Octets between the frame's header and its block. CONTINUATION has none.
pub(super) fn prefix_bytes(head: Head) -> u32 {
    debug_assert_eq!(head.kind, Kind::Headers);
    u32::from(head.has(PADDED)) + if head.has(PRIORITY) { 5 } else { 0 }
}
