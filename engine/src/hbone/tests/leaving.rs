//! GOAWAY, ours and the peer's (RFC 9113 §6.8).

use super::super::frame::{ACK, Kind};
use super::super::*;
use super::rig::*;

const NO_ERROR: ErrorCode = ErrorCode::NO_ERROR;

/// The `last` and code of each GOAWAY that was written.
fn goaways(written: &[(frame::Head, Vec<u8>)]) -> Vec<(u32, ErrorCode)> {
    written
        .iter()
        .filter(|(head, _)| head.kind == Kind::Goaway)
        .map(|(_, payload)| (number(payload), ErrorCode(number(&payload[4..]))))
        .collect()
}

#[test]
fn a_server_takes_streams_that_are_on_their_way_and_then_no_more() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.session.goaway(NO_ERROR, &mut rig.out);
    assert!(rig.session.is_draining());
    let written = rig.written();
    assert_eq!(goaways(&written), [(0x7fff_ffff, NO_ERROR)]);
    let (ping, payload) = &written[1];
    assert_eq!((ping.kind, ping.flags), (Kind::Ping, 0));

    rig.hand_over();
    assert_eq!(rig.feed_well(&headers(3, &CONNECT, false)).len(), 1, "it was on its way");
    assert!(rig.session.takes_latecomers());
    assert_eq!(rig.feed_well(&frame(Kind::Ping, ACK, 0, payload)).len(), 1, "our own ping");
    assert!(!rig.session.takes_latecomers());
    assert_eq!(goaways(&rig.written()), [(3, NO_ERROR)]);
    rig.hand_over();

    let late = [headers(5, &CONNECT, false), data(5, b"x", false), reset(5, ErrorCode::CANCEL)].concat();
    assert_eq!(rig.feed_well(&late), [], "RFC 9113 §6.8: ignored");
    assert!(rig.out.is_empty());
    assert_eq!(rig.feed_well(&data(1, b"goes on", true)).len(), 2);
    assert_eq!(rig.session.open_streams(), 2);
    rig.session.goaway(NO_ERROR, &mut rig.out);
    assert!(rig.out.is_empty(), "said already");

    // What comes after an error does not take streams back in.
    let (_, error) = rig.feed(&window_update(0, 0));
    assert!(error.is_some());
    assert_eq!(goaways(&rig.written()), [(3, ErrorCode::PROTOCOL_ERROR)]);
}

#[test]
fn a_second_call_ends_the_round_trip() {
    let mut rig = Rig::server();
    rig.open_and_answer(7);
    rig.session.goaway(NO_ERROR, &mut rig.out);
    rig.session.goaway(NO_ERROR, &mut rig.out);
    assert_eq!(goaways(&rig.written()), [(0x7fff_ffff, NO_ERROR), (7, NO_ERROR)]);
}

#[test]
fn a_server_that_leaves_now_announces_nothing() {
    let mut rig = Rig::server();
    rig.open_and_answer(7);
    rig.session.leave_now(&mut rig.out);
    let written = rig.written();
    assert_eq!((goaways(&written), written.len()), (vec![(7, NO_ERROR)], 1));
    assert_eq!((rig.session.is_draining(), rig.session.takes_latecomers()), (true, false));
    rig.session.leave_now(&mut rig.out);
    assert!(rig.written().is_empty(), "said already");
}

#[test]
fn with_an_error_code_nothing_is_taken_any_more() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.session.goaway(ErrorCode::ENHANCE_YOUR_CALM, &mut rig.out);
    assert_eq!(goaways(&rig.written()), [(1, ErrorCode::ENHANCE_YOUR_CALM)]);
    assert_eq!(rig.feed_well(&headers(3, &CONNECT, false)), []);
}

#[test]
fn a_client_that_leaves_opens_nothing() {
    let mut rig = Rig::client();
    let stream = rig.connect_and_answer();
    rig.session.goaway(NO_ERROR, &mut rig.out);
    assert_eq!(goaways(&rig.written()), [(0, NO_ERROR)]);
    assert_eq!((rig.session.capacity(), rig.session.is_draining()), (0, true));
    assert_eq!(rig.session.connect("a:1", &[], &mut rig.out), None);
    assert_eq!(rig.feed_well(&data(stream, b"x", false)).len(), 1);
}

#[test]
fn the_servers_goaway_gives_back_what_it_did_not_process() {
    for cut in CUTS {
        let mut rig = Rig::client().cut(cut);
        for _ in 0..4 {
            rig.connect_and_answer();
        }
        let frame = frame(Kind::Goaway, 0, 0, &[&3u32.to_be_bytes()[..], &[0; 4], b"restarting"].concat());
        let refused =
            |stream| Seen::Reset { stream, code: ErrorCode::REFUSED_STREAM, refused: true, by_peer: true };
        let seen = rig.feed_well(&[frame, data(3, b"x", false)].concat());
        assert_eq!(
            seen,
            [
                Seen::GoAway { last: 3, code: NO_ERROR },
                refused(7),
                refused(5),
                Seen::Data { stream: 3, bytes: b"x".to_vec() }
            ]
        );
        assert!(rig.out.is_empty());
        assert_eq!((rig.session.open_streams(), rig.session.is_draining()), (2, true));
        // A server that goes on all the same is told that the stream is gone.
        assert_eq!(rig.feed_well(&data(5, b"x", false)), []);
        assert_eq!(rig.resets(), [(5, ErrorCode::STREAM_CLOSED)]);
        assert_eq!(rig.session.connect("a:1", &[], &mut rig.out), None);
    }
}

#[test]
fn the_refused_streams_come_out_one_by_one_and_the_session_can_be_used_between() {
    let mut rig = Rig::client();
    for _ in 0..3 {
        rig.connect_and_answer();
    }
    let bytes = goaway(0, NO_ERROR);
    let mut input = &bytes[..];
    let event = rig.session.next(&mut input, &mut rig.out).unwrap();
    assert_eq!(event, Some(Event::GoAway { last: id(0), code: NO_ERROR }));
    rig.session.reset(id(3), ErrorCode::CANCEL, &mut rig.out);
    for stream in [5, 1] {
        rig.hand_over();
        let event = rig.session.next(&mut input, &mut rig.out).unwrap();
        assert!(matches!(event, Some(Event::Reset { stream: given, slot, refused: true, .. })
                if given == id(stream) && slot == stream));
    }
    assert_eq!(rig.session.next(&mut input, &mut rig.out), Ok(None));
}

#[test]
fn two_goaways_the_graceful_way() {
    let mut rig = Rig::client();
    for _ in 0..2 {
        rig.connect_and_answer();
    }
    assert_eq!(
        rig.feed_well(&goaway(0x7fff_ffff, NO_ERROR)),
        [Seen::GoAway { last: 0x7fff_ffff, code: NO_ERROR }]
    );
    assert_eq!(rig.feed_well(&goaway(1, NO_ERROR)).len(), 2);
    // RFC 9113 §6.8: it must not grow, so what grows is not believed.
    assert_eq!(rig.feed_well(&goaway(9, NO_ERROR)), [Seen::GoAway { last: 1, code: NO_ERROR }]);
}
