//! Any bytes as the input of a session: in one piece, and in small pieces with hand-overs between them, which has to
//! make no difference; and its frames as h2 cuts them.

use std::io::Cursor;

use bytes::Bytes;
use engine::handover::{Reader, Writer};
use engine::hbone::frame::{HEAD_BYTES, Head, Kind, PREFACE};
use engine::hbone::{ErrorCode, Event, Session, SessionError, Settings};
use futures_lite::StreamExt as _;
use futures_lite::future::block_on;
use h2::Codec;
use h2::frame::Frame;

use crate::choices::Choices;

/// First byte: role and settings. Second: how the input is cut. The rest is input.
pub fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let (kind, cut) = (choices.byte(), usize::from(choices.byte()) % 64 + 1);
    let received = choices.rest();

    let mut whole = End::new(kind);
    whole.receive(received, usize::MAX, false);
    let mut pieces = End::new(kind);
    pieces.receive(received, cut, true);

    assert_eq!(whole.transcript, pieces.transcript);
    assert_eq!(whole.error, pieces.error);
    assert_eq!(whole.out, pieces.out);
    if whole.error.is_none() {
        assert_eq!(written_down(&whole.session), written_down(&pieces.session));
    }
    check_written(&whole.out, kind);
    check_heads(received);
}

/// A session, its application and all that was seen of them.
struct End {
    session: Session,
    out: Vec<u8>,
    transcript: Vec<String>,
    error: Option<(ErrorCode, &'static str)>,
}

impl End {
    fn new(kind: u8) -> Self {
        let mut settings = Settings::server();
        if kind & 2 != 0 {
            settings.stream_window = 300;
            settings.credit_batch = 40;
            settings.streams_max = 2;
            settings.header_list_max = 400;
        }
        let mut out = Vec::new();
        let mut session = if kind & 1 == 0 {
            Session::server(&settings, &mut out)
        } else {
            Session::client(&settings, &mut out)
        };
        // A client has streams open from the beginning, so that their answers are tried too.
        for slot in 0..u32::from(kind >> 2) % 4 {
            let stream = session.connect("10.0.0.7:8080", &[("baggage", "a=b")], &mut out);
            stream.into_iter().for_each(|stream| session.set_slot(stream, slot));
        }
        Self { session, out, transcript: Vec::new(), error: None }
    }

    fn receive(&mut self, bytes: &[u8], cut: usize, moves: bool) {
        for mut piece in bytes.chunks(cut) {
            loop {
                if moves {
                    self.hand_over();
                }
                match self.session.next(&mut piece, &mut self.out) {
                    Ok(Some(event)) => self.event(event),
                    Ok(None) => break,
                    Err(SessionError { code, text, .. }) => {
                        self.error = Some((code, text));
                        return;
                    }
                }
            }
            assert!(piece.is_empty());
        }
    }

    /// Answers as an application would, without looking at how DATA was cut.
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Request { stream, ref request, .. } => {
                let is_connect = request.method == "CONNECT";
                let status = if is_connect { 200 } else { 400 };
                self.session.set_slot(stream, stream.value());
                self.session.respond(stream, status, &[], !is_connect, &mut self.out);
                let _ = self.session.send(stream, b"hello", &mut self.out);
            }
            Event::Data { stream, bytes, .. } => {
                for octet in bytes {
                    self.session.release(stream, 1, &mut self.out);
                    self.transcript.push(format!("{stream:?} {octet}"));
                }
                return;
            }
            Event::End { stream, .. } => self.session.end(stream, &mut self.out),
            _ => {}
        }
        self.transcript.push(format!("{event:?}"));
    }

    fn hand_over(&mut self) {
        let written = written_down(&self.session);
        let mut r = Reader::new(&written);
        self.session = Session::read_back(&mut r).expect("what was written is read");
        r.finish().expect("and nothing more was written");
        assert_eq!(written, written_down(&self.session));
    }
}

/// The last failure's text is not part of what is written, so that it is compared apart.
fn written_down(session: &Session) -> Vec<u8> {
    let mut w = Writer::default();
    session.write_down(&mut w);
    w.finish().to_vec()
}

/// What a session writes, h2 can read.
fn check_written(out: &[u8], kind: u8) {
    let frames =
        if kind & 1 == 0 { out } else { out.strip_prefix(&PREFACE[..]).expect("a client's preface") };
    let mut codec: Codec<_, Bytes> = Codec::new(Cursor::new(frames.to_vec()));
    while let Some(frame) = block_on(codec.next()) {
        frame.expect("h2 reads what we write");
    }
}

/// The same bytes as frames alone: we cut them where h2 does.
fn check_heads(bytes: &[u8]) {
    let mut codec: Codec<_, Bytes> = Codec::new(Cursor::new(bytes.to_vec()));
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let head = Head::parse(head);
        let Some((payload, after)) = after.split_at_checked(head.length as usize) else { return };
        rest = after;
        // h2 says nothing of header blocks before they are whole, and of unknown frames.
        if matches!(head.kind, Kind::Headers | Kind::PushPromise | Kind::Continuation) {
            return;
        }
        if let Kind::Unknown(_) = head.kind {
            continue;
        }
        match block_on(codec.next()) {
            Some(Ok(frame)) => check_frame(head, payload, &frame),
            _ => return,
        }
    }
}

fn check_frame(head: Head, payload: &[u8], frame: &Frame) {
    let (kind, stream) = match frame {
        Frame::Data(data) => {
            assert!(data.payload().len() <= payload.len());
            (Kind::Data, data.stream_id().into())
        }
        Frame::Priority(_) => (Kind::Priority, head.stream.value()),
        Frame::Settings(_) => (Kind::Settings, 0),
        Frame::Ping(ping) => {
            assert_eq!(&ping.payload()[..], payload);
            (Kind::Ping, 0)
        }
        Frame::GoAway(_) => (Kind::Goaway, 0),
        Frame::WindowUpdate(update) => (Kind::WindowUpdate, update.stream_id().into()),
        Frame::Reset(reset) => (Kind::ResetStream, reset.stream_id().into()),
        Frame::Headers(_) | Frame::PushPromise(_) => panic!("{frame:?} for {head:?}"),
    };
    assert_eq!((head.kind, head.stream.value()), (kind, stream));
}
