//! Sending: what the caller does to streams and to the session.

use super::error::ErrorCode;
use super::flood::Flood;
use super::frame::{self, END_STREAM, HEAD_BYTES, Head, Kind};
use super::session::{Leaving, Role, Session};
use super::stream::StreamId;
use super::{Sink, limits};

/// The PING that measures the round trip between the two GOAWAYs of a server.
const LEAVING_PING: u64 = u64::from_be_bytes(*b"leaving.");

// === streams ===

impl Session {
    /// Opens a stream with CONNECT (RFC 9113 §8.5). Header names are lower case. `None`: [`Self::capacity`] is 0.
    pub fn connect(
        &mut self,
        authority: &str,
        headers: &[(&str, &str)],
        out: &mut impl Sink,
    ) -> Option<StreamId> {
        if self.capacity() == 0 {
            return None;
        }
        let id = StreamId::from_bits(self.next_id);
        self.next_id += 2;
        let mut stream = self.open(id);
        stream.tunnel = true;
        self.streams.push(stream);
        self.floods.give_back(Flood::WindowUpdates, limits::WINDOW_UPDATES_PER_DATA_FRAMES);

        let pseudo = [(":method", "CONNECT"), (":authority", authority)];
        self.put_section(id, pseudo.iter().chain(headers), false, out);
        Some(id)
    }

    /// Answers a stream of the peer's. With `end` the answer is all there is; the peer's half stays open until it ends or
    /// is reset, by the next [`Self::ping`] at the latest. Until then the peer, which mostly ends it by itself when it has
    /// read the answer, is held to the rules of an open stream.
    pub fn respond(
        &mut self,
        stream: StreamId,
        status: u16,
        headers: &[(&str, &str)],
        end: bool,
        out: &mut impl Sink,
    ) {
        debug_assert_eq!(self.role, Role::Server);
        debug_assert!((200..=999).contains(&status));
        let Some(state) = self.streams.find_mut(stream) else {
            return;
        };
        debug_assert!(!state.answered, "a stream is answered once");
        state.answered = true;
        state.local_ended = end;
        state.tunnel &= status < 300;
        if status < 300 {
            self.floods.give_back(Flood::Resets, 1);
        }
        let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        let status = std::str::from_utf8(&digits).expect("invariant: decimal digits are ASCII");
        let pseudo = [(":status", status)];
        self.put_section(stream, pseudo.iter().chain(headers), end, out);
        self.forget_if_over(stream);
    }

    /// Bytes that [`Self::send`] would take now.
    pub fn sendable(&self, stream: StreamId) -> usize {
        match self.streams.find(stream) {
            Some(state) if !state.local_ended && (state.answered || self.role == Role::Client) => {
                state.send.available().min(self.send.available())
            }
            _ => 0,
        }
    }

    /// Sends as many of `bytes` as the windows allow, and returns how many.
    ///
    /// Frames hold at most [`limits::DATA_PAYLOAD_BYTES_MAX`]: chunks of that size waste nothing.
    pub fn send(&mut self, stream: StreamId, bytes: &[u8], out: &mut impl Sink) -> usize {
        let mut rest = bytes;
        while let Some((head, length)) = self.data_frame(stream, rest.len()) {
            let (payload, after) = rest.split_at(length);
            out.put(&head);
            out.put(payload);
            rest = after;
        }
        bytes.len() - rest.len()
    }

    /// Begins a frame for some of `wanted` bytes: its header, and how many bytes of payload the caller puts right behind
    /// it. For whoever has room before the bytes, and can put both as one piece. `None`: the windows allow nothing, or
    /// nothing is wanted.
    pub fn data_frame(&mut self, stream: StreamId, wanted: usize) -> Option<([u8; HEAD_BYTES], usize)> {
        let allowed = wanted.min(self.sendable(stream));
        let state = self.streams.find_mut(stream).filter(|_| allowed > 0)?;
        let frame_max = limits::DATA_PAYLOAD_BYTES_MAX.min(self.peer.frame_size as usize);
        let length = frame_payload(allowed, frame_max);
        state.send.take(length);
        self.send.take(length);
        self.floods.give_back(Flood::WindowUpdates, limits::WINDOW_UPDATES_PER_DATA_FRAMES);
        Some((Head::new(Kind::Data, 0, stream, length).bytes(), length))
    }

    /// Nothing more is sent on this stream (END_STREAM).
    pub fn end(&mut self, stream: StreamId, out: &mut impl Sink) {
        let Some(state) = self.streams.find_mut(stream).filter(|state| !state.local_ended) else {
            return;
        };
        // RFC 9113 §8.1: a response begins with its header section.
        debug_assert!(self.role == Role::Client || state.answered, "respond first");
        state.local_ended = true;
        frame::put_small(out, Kind::Data, END_STREAM, stream, []);
        self.forget_if_over(stream);
    }

    /// Ends a stream both ways, at once (RST_STREAM). A stream that is over already stays so.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode, out: &mut impl Sink) {
        if self.streams.find(stream).is_some() {
            self.reset_stream(stream, code, out);
        }
    }

    /// The application took so many bytes of [`super::Event::Data`]: the peer may send as many more, in a while.
    pub fn release(&mut self, stream: StreamId, bytes: usize, out: &mut impl Sink) {
        debug_assert!(
            self.streams.find(stream).is_none_or(|state| bytes <= state.receive.held(self.stream_window())),
            "released more than was delivered"
        );
        self.credit_stream(stream, bytes, out);
    }

    /// Gives stream credit back for bytes of DATA that nobody holds any more.
    pub(super) fn credit_stream(&mut self, stream: StreamId, bytes: usize, out: &mut impl Sink) {
        let size = self.stream_window();
        let batch = self.settings.credit_batch;
        // RFC 9113 §5.1: nothing more comes on a half that has ended.
        let Some(state) = self.streams.find_mut(stream).filter(|state| !state.remote_ended) else {
            return;
        };
        if let Some(increment) = state.receive.give_back(bytes, size, batch) {
            frame::put_window_update(out, stream, increment);
        }
    }

    fn put_section<'h>(
        &mut self,
        stream: StreamId,
        fields: impl Iterator<Item = &'h (&'h str, &'h str)>,
        end: bool,
        out: &mut impl Sink,
    ) {
        let mut block = Vec::with_capacity(limits::HEADER_BLOCK_KEPT_BYTES_MAX / 4);
        self.encoder.begin(&mut block);
        for (name, value) in fields {
            self.encoder.field(&mut block, name, value);
        }
        frame::put_block(out, stream, &block, end, self.peer.frame_size);
    }
}

// === the session ===

impl Session {
    /// Sends a PING, whose answer is [`super::Event::Pong`]. It is taken for a keepalive, sent every ten seconds or
    /// so: that much time has passed, the peer's flood budgets are filled up again, and requests that were answered in full
    /// and go on all the same are reset.
    pub fn ping(&mut self, payload: u64, out: &mut impl Sink) {
        self.floods.refill();
        self.reset_answered(out);
        put_ping(payload, out);
    }

    /// RFC 9113 §8.1: whoever has its whole response may be asked to send nothing more.
    fn reset_answered(&mut self, out: &mut impl Sink) {
        while let Some(id) = self.answered_in_full() {
            self.reset_stream(id, ErrorCode::NO_ERROR, out);
        }
    }

    fn answered_in_full(&self) -> Option<StreamId> {
        let mut streams = self.streams.iter().filter(|_| self.role == Role::Server);
        streams.find(|stream| stream.is_answered_in_full()).map(|stream| stream.id)
    }

    /// Says that we are leaving (RFC 9113 §6.8). Streams that exist finish; no more are opened.
    ///
    /// With NO_ERROR, a server first announces it and goes on taking streams for one round trip, so that none on its
    /// way is lost; a second call ends that. With another code it takes none from now on.
    pub fn goaway(&mut self, code: ErrorCode, out: &mut impl Sink) {
        let is_graceful = code == ErrorCode::NO_ERROR;
        match self.leaving {
            Leaving::No if is_graceful && self.role == Role::Server => {
                self.leaving = Leaving::Announced;
                frame::put_goaway(out, StreamId::MAX, code, "");
                put_ping(LEAVING_PING, out);
            }
            Leaving::After(_) if is_graceful => {}
            _ => self.leave(code, out),
        }
    }

    /// Takes no more streams from now on, also where that was not announced: nobody is there for whom it would matter, or
    /// they had their time. Existing ones finish.
    pub fn leave_now(&mut self, out: &mut impl Sink) {
        if !matches!(self.leaving, Leaving::After(_)) {
            self.leave(ErrorCode::NO_ERROR, out);
        }
    }

    /// The answer to [`LEAVING_PING`]: whatever the peer sent before it knew has arrived.
    pub(super) fn leave_after_round_trip(&mut self, pong: u64, out: &mut impl Sink) {
        if self.leaving == Leaving::Announced && pong == LEAVING_PING {
            self.leave(ErrorCode::NO_ERROR, out);
        }
    }

    fn leave(&mut self, code: ErrorCode, out: &mut impl Sink) {
        let last = self.last_taken();
        self.leaving = Leaving::After(last);
        frame::put_goaway(out, last, code, "");
    }
}

fn put_ping(payload: u64, out: &mut impl Sink) {
    frame::put_small(out, Kind::Ping, 0, StreamId::CONNECTION, payload.to_be_bytes());
}

/// How much of `left` bytes goes into the next frame. The last frame is not a runt, where that can be helped.
fn frame_payload(left: usize, frame_max: usize) -> usize {
    if left > frame_max && left < frame_max + limits::DATA_RUNT_BYTES {
        return left - limits::DATA_RUNT_BYTES;
    }
    left.min(frame_max)
}

/// Header and payload of the largest frame fill whole TLS records.
const _: () = assert!((limits::DATA_PAYLOAD_BYTES_MAX + HEAD_BYTES).is_multiple_of(16_384));

#[cfg(test)]
mod unit_tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn frames_are_full_and_none_is_a_runt() {
        let max = limits::DATA_PAYLOAD_BYTES_MAX;
        for (mut left, expected) in [
            (1, &[1][..]),
            (max, &[max]),
            (max + 1, &[max - 255, 256]),
            (max + 255, &[max - 1, 256]),
            (max + 256, &[max, 256]),
            (2 * max, &[max, max]),
            (2 * max + 7, &[max, max - 249, 256]),
        ] {
            let mut frames = Vec::new();
            while left > 0 {
                frames.push(frame_payload(left, max));
                left -= frames[frames.len() - 1];
            }
            assert_eq!(frames, expected);
        }
    }
}
