//! Sessions that move to another process, at every byte of what they receive.

use super::super::frame::{END_HEADERS, Kind, PADDED, PREFACE, PRIORITY};
use super::super::*;
use super::random::Random;
use super::rig::*;
use crate::handover::Reader;

/// Input of a server with a bit of everything.
fn everything() -> Vec<u8> {
    let block = block(&[&CONNECT[..], &[("baggage", "k8s.namespace.name=shop")]].concat());
    let (first, rest) = block.split_at(9);
    let prefixed = [&[2, 0, 0, 0, 0, 9][..], first, &[0, 0]].concat();
    [
        PREFACE.to_vec(),
        settings(&[(4, 70_000), (3, 7), (5, 20_000)]),
        settings_ack(),
        frame(Kind::Headers, PADDED | PRIORITY, 1, &prefixed),
        frame(Kind::Continuation, 0, 1, &[]),
        frame(Kind::Continuation, END_HEADERS, 1, rest),
        frame(Kind::Data, PADDED, 1, &[&[9][..], b"padded content", &[0; 9]].concat()),
        frame(Kind::Headers, END_HEADERS, 3, b"\x02\x07CONNECT\x41\x03a:1\x40\x04name\x05value"),
        frame(Kind::Headers, END_HEADERS, 5, b"\x02\x07CONNECT\xbf\xbe"),
        headers(7, &[&GET[..], &[("content-length", "10")]].concat(), false),
        data(7, b"0123456789", true),
        window_update(0, 5),
        window_update(3, 5),
        frame(Kind::Ping, 0, 0, b"01234567"),
        frame(Kind::Priority, 0, 5, &[0, 0, 0, 3, 1]),
        frame(Kind::Unknown(0xfa), 0, 5, b"some extension"),
        data(3, b"the end", true),
        reset(5, ErrorCode::CANCEL),
        frame(Kind::Goaway, 0, 0, &[&[0; 8][..], b"text"].concat()),
        data(1, &[5; 300], false),
        frame(Kind::Data, PADDED, 1, &[&[2][..], b"x", &[0; 2]].concat()),
    ]
    .concat()
}

/// Feeds one piece and answers requests.
fn feed(rig: &mut Rig, piece: &[u8]) -> Vec<Seen> {
    let seen = rig.feed_well(piece);
    for event in &seen {
        if let Seen::Request { stream, .. } = event {
            rig.session.set_slot(id(*stream), stream + 100);
            rig.session.respond(id(*stream), 200, &[], false, &mut rig.out);
        }
    }
    seen
}

#[test]
fn at_every_byte_of_everything() {
    let input = everything();
    let mut whole = Rig::new_server(&Settings::server()).cut(1);
    let mut pieces: Vec<Seen> = Vec::new();
    for piece in input.chunks(1) {
        pieces.extend(feed(&mut whole, piece));
    }
    assert!(pieces.len() > 15, "{pieces:?}");

    let mut moved = Rig::new_server(&Settings::server());
    let mut seen = Vec::new();
    for piece in input.chunks(1) {
        moved.hand_over();
        seen.extend(feed(&mut moved, piece));
    }
    assert_eq!(seen, pieces);
    assert_eq!(moved.out, whole.out);
    assert_eq!(written_down(&moved.session), written_down(&whole.session));
}

#[test]
fn slots_and_windows_are_kept() {
    let mut rig = Rig::client();
    let stream = id(rig.connect_and_answer());
    rig.session.set_slot(stream, 77);
    rig.session.send(stream, &[0; 100], &mut rig.out);
    rig.hand_over();
    assert_eq!(rig.session.sendable(stream), 65_435);
    assert_eq!(rig.feed_well(&window_update(1, 1)), [Seen::Window { slot: Some(77) }]);
    assert_eq!(rig.session.connect("a:1", &[], &mut rig.out), Some(id(3)));
}

#[test]
fn a_failed_session_stays_failed() {
    let mut rig = Rig::server();
    assert!(rig.feed(&window_update(0, 0)).1.is_some());
    let read = Session::read_back(&mut Reader::new(&written_down(&rig.session)));
    let mut session = read.unwrap();
    let mut out = Vec::new();
    let error = session.next(&mut &b""[..], &mut out).unwrap_err();
    assert_eq!((error.code, out.len()), (ErrorCode::PROTOCOL_ERROR, 0));
}

#[test]
fn a_damaged_session_is_refused_or_at_least_harmless() {
    let input = everything();
    let mut random = Random::new(3);
    for _ in 0..2_000 {
        let mut rig = Rig::new_server(&Settings::server());
        let cut = random.below(input.len());
        feed(&mut rig, &input[..cut]);
        let mut written = written_down(&rig.session);
        assert!(Session::read_back(&mut Reader::new(&written[..random.below(written.len())])).is_err());
        for _ in 0..1 + random.below(3) {
            let place = random.below(written.len());
            written[place] = random.next() as u8;
        }
        if let Ok(mut session) = Session::read_back(&mut Reader::new(&written)) {
            let mut rest = &input[cut..];
            while let Ok(Some(_)) = session.next(&mut rest, &mut rig.out) {}
        }
    }
}
