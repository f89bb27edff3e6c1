//! One session and a peer made of single frames.

use super::super::frame::{ACK, END_HEADERS, END_STREAM, HEAD_BYTES, Head, Kind, PREFACE};
use super::super::hpack::Encoder;
use super::super::*;
use crate::handover::{Reader, Writer};

/// A session that tests talk to in frames.
pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) out: Vec<u8>,
    /// How the input is cut.
    pub(super) cut: usize,
}

/// An event without its borrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Request { stream: u32, method: String, authority: String, end: bool },
    Response { stream: u32, status: u16, end: bool },
    Data { stream: u32, bytes: Vec<u8> },
    End { stream: u32 },
    Reset { stream: u32, code: ErrorCode, refused: bool, by_peer: bool },
    Window { slot: Option<u32> },
    Settings,
    GoAway { last: u32, code: ErrorCode },
    Pong { payload: u64 },
}

pub(super) type Fields<'a> = &'a [(&'a str, &'a str)];

pub(super) const CONNECT: [(&str, &str); 2] = [(":method", "CONNECT"), (":authority", "10.0.0.7:8080")];
pub(super) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop")];
pub(super) const OK: [(&str, &str); 1] = [(":status", "200")];

/// Ways to cut the input that every rule is tried with.
pub(super) const CUTS: [usize; 4] = [usize::MAX, 1, 3, 10];

// === frames of the peer ===

pub(super) fn id(stream: u32) -> StreamId {
    StreamId::from_bits(stream)
}

pub(super) fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Head::new(kind, flags, id(stream), payload.len()).bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// HEADERS with END_HEADERS. The fields may be anything, upper case too.
pub(super) fn headers(stream: u32, fields: Fields<'_>, end: bool) -> Vec<u8> {
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(Kind::Headers, flags, stream, &block(fields))
}

pub(super) fn block(fields: Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        assert!(name.len() < 127 && value.len() < 127, "one length octet");
        block.extend([0, name.len() as u8]);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// A block as our encoder makes it, for long values.
pub(super) fn encoded(fields: Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    fields.iter().for_each(|(name, value)| Encoder::default().field(&mut block, name, value));
    block
}

pub(super) fn data(stream: u32, bytes: &[u8], end: bool) -> Vec<u8> {
    frame(Kind::Data, if end { END_STREAM } else { 0 }, stream, bytes)
}

pub(super) fn reset(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame(Kind::ResetStream, 0, stream, &code.0.to_be_bytes())
}

pub(super) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(Kind::WindowUpdate, 0, stream, &increment.to_be_bytes())
}

pub(super) fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (parameter, value) in parameters {
        payload.extend(parameter.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(Kind::Settings, 0, 0, &payload)
}

pub(super) fn settings_ack() -> Vec<u8> {
    frame(Kind::Settings, ACK, 0, &[])
}

pub(super) fn goaway(last: u32, code: ErrorCode) -> Vec<u8> {
    frame(Kind::Goaway, 0, 0, &[last.to_be_bytes(), code.0.to_be_bytes()].concat())
}

// === impl Rig ===

impl Rig {
    /// A server whose client has sent preface and SETTINGS and read ours.
    pub(super) fn server() -> Self {
        Self::server_with(&Settings::server())
    }

    pub(super) fn server_with(settings: &Settings) -> Self {
        let mut rig = Self::new_server(settings);
        rig.feed_well(&[&PREFACE[..], &self::settings(&[]), &settings_ack()].concat());
        rig.out.clear();
        rig
    }

    /// A server that has heard nothing.
    pub(super) fn new_server(settings: &Settings) -> Self {
        let mut out = Vec::new();
        Self { session: Session::server(settings, &mut out), out, cut: usize::MAX }
    }

    /// A client whose server has sent SETTINGS and read ours.
    pub(super) fn client() -> Self {
        Self::client_with(&Settings::client())
    }

    pub(super) fn client_with(settings: &Settings) -> Self {
        let mut out = Vec::new();
        let mut rig = Self { session: Session::client(settings, &mut out), out, cut: usize::MAX };
        rig.feed_well(&[self::settings(&[]), settings_ack()].concat());
        rig.out.clear();
        rig
    }

    pub(super) fn cut(mut self, cut: usize) -> Self {
        self.cut = cut;
        self
    }

    /// Feeds bytes of the peer; what happened up to the end of them or to an error.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> (Vec<Seen>, Option<SessionError>) {
        let mut seen = Vec::new();
        for mut piece in bytes.chunks(self.cut) {
            loop {
                match self.session.next(&mut piece, &mut self.out) {
                    Ok(Some(event)) => collect(&mut seen, event),
                    Ok(None) => break,
                    Err(error) => return (seen, Some(error)),
                }
            }
            assert!(piece.is_empty(), "None means that all is used");
            self.session.check_connection_credit();
        }
        (seen, None)
    }

    /// As [`Self::feed`], of bytes that are no error.
    pub(super) fn feed_well(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let (seen, error) = self.feed(bytes);
        assert_eq!(error, None);
        seen
    }

    /// Opens a stream of the peer's and answers it with 200.
    pub(super) fn open_and_answer(&mut self, stream: u32) {
        self.feed_well(&headers(stream, &CONNECT, false));
        self.session.respond(id(stream), 200, &[], false, &mut self.out);
        self.out.clear();
    }

    /// Opens a stream of ours, which the peer answers with 200. Its slot is its id.
    pub(super) fn connect_and_answer(&mut self) -> u32 {
        let stream = self.session.connect("10.0.0.7:8080", &[], &mut self.out).unwrap();
        self.session.set_slot(stream, stream.value());
        self.feed_well(&headers(stream.value(), &OK, false));
        self.out.clear();
        stream.value()
    }

    /// The frames that were written since the last time.
    pub(super) fn written(&mut self) -> Vec<(Head, Vec<u8>)> {
        frames(&std::mem::take(&mut self.out))
    }

    /// The RST_STREAM frames that were written since the last time.
    pub(super) fn resets(&mut self) -> Vec<(u32, ErrorCode)> {
        let is_reset = |(head, _): &(Head, Vec<u8>)| head.kind == Kind::ResetStream;
        self.written()
            .into_iter()
            .filter(is_reset)
            .map(|(head, payload)| (head.stream.value(), ErrorCode(number(&payload))))
            .collect()
    }

    /// The WINDOW_UPDATE frames that were written since the last time.
    pub(super) fn credits(&mut self) -> Vec<(u32, u32)> {
        let is_update = |(head, _): &(Head, Vec<u8>)| head.kind == Kind::WindowUpdate;
        self.written()
            .into_iter()
            .filter(is_update)
            .map(|(head, payload)| (head.stream.value(), number(&payload)))
            .collect()
    }

    /// Goes on in a copy that was written down and read back.
    pub(super) fn hand_over(&mut self) {
        self.session = handed_over(&self.session);
    }
}

/// The session after it was written down and read back; both say the same.
pub(super) fn handed_over(session: &Session) -> Session {
    let written = written_down(session);
    let mut r = Reader::new(&written);
    let read = Session::read_back(&mut r).unwrap();
    r.finish().unwrap();
    assert_eq!(written_down(&read), written);
    read
}

pub(super) fn written_down(session: &Session) -> Vec<u8> {
    let mut w = Writer::default();
    session.write_down(&mut w);
    w.finish().to_vec()
}

pub(super) fn frames(mut bytes: &[u8]) -> Vec<(Head, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() {
        let head = Head::parse(head);
        let (payload, rest) = rest.split_at(head.length as usize);
        frames.push((head, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "whole frames are written");
    frames
}

/// The first four octets of a payload.
pub(super) fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(*payload.first_chunk().unwrap())
}

/// Adds an event; pieces of DATA become one.
fn collect(seen: &mut Vec<Seen>, event: Event<'_>) {
    if let (Event::Data { stream, bytes, .. }, Some(Seen::Data { stream: last, bytes: all })) =
        (&event, seen.last_mut())
        && stream.value() == *last
    {
        all.extend_from_slice(bytes);
        return;
    }
    seen.push(event.into());
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Request { stream, request, end } => {
                let Request { method, authority, .. } = *request;
                Self::Request { stream: stream.value(), method, authority, end }
            }
            Event::Response { stream, status, end, .. } => {
                Self::Response { stream: stream.value(), status, end }
            }
            Event::Data { stream, bytes, .. } => Self::Data { stream: stream.value(), bytes: bytes.to_vec() },
            Event::End { stream, .. } => Self::End { stream: stream.value() },
            Event::Reset { stream, code, refused, by_peer, .. } => {
                Self::Reset { stream: stream.value(), code, refused, by_peer }
            }
            Event::Window { slot } => Self::Window { slot },
            Event::Settings => Self::Settings,
            Event::GoAway { last, code } => Self::GoAway { last: last.value(), code },
            Event::Pong { payload } => Self::Pong { payload },
        }
    }
}
