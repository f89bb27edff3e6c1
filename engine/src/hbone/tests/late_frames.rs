//! Frames that come late, on a stream that this end has reset: RFC 9113 §5.1, "closed".

use super::super::*;
use super::rig::*;
use super::server_rules::Outcome::{Connection, Fine, Stream};
use super::server_rules::{CLOSED, Case, FLOW, PROTOCOL, outcome, priority};

#[test]
fn rfc9113_5_1_late_frames_on_a_stream_we_reset() {
    for cut in CUTS {
        let mut rig = Rig::server().cut(cut);
        rig.open_and_answer(1);
        rig.session.reset(id(1), ErrorCode::CONNECT_ERROR, &mut rig.out);
        assert_eq!(rig.resets(), [(1, ErrorCode::CONNECT_ERROR)]);
        let late = [
            data(1, &[7; 1_000], false),
            window_update(1, 9),
            headers(1, &[("late", "trailer")], true),
            reset(1, ErrorCode::CANCEL),
        ];
        assert_eq!(rig.feed_well(&late.concat()), []);
        assert!(rig.out.is_empty(), "late frames are not answered");
    }
}

/// RFC 9113 §5.1, "closed": what was on its way before our RST_STREAM arrived is ignored; what a peer may not send, whatever
/// it knows, is not.
#[test]
fn rfc9113_5_1_what_no_peer_may_send_on_a_stream_we_reset() {
    let (reset_1, end) = (reset(1, ErrorCode::CANCEL), data(1, b"x", true));
    let trailers = headers(1, &[("late", "trailer")], true);
    let cases: [Case<'_>; 9] = [
        ("DATA after RST_STREAM", &[reset_1.clone(), data(1, b"x", false)], Stream(1, CLOSED)),
        ("HEADERS after RST_STREAM", &[reset_1.clone(), trailers.clone()], Stream(1, CLOSED)),
        ("RST_STREAM twice", &[reset_1.clone(), reset_1.clone(), window_update(1, 5), priority(1, 0)], Fine),
        ("DATA after the end", &[end.clone(), data(1, b"x", false)], Stream(1, CLOSED)),
        ("HEADERS after the end", &[end.clone(), trailers.clone()], Connection(CLOSED)),
        ("the small frames after the end", &[end, window_update(1, 5), priority(1, 3), reset_1], Fine),
        ("DATA after trailers", &[trailers, data(1, b"x", false)], Stream(1, CLOSED)),
        ("trailers that end nothing", &[headers(1, &[("a", "b")], false)], Stream(1, PROTOCOL)),
        ("trailers with a pseudo-header", &[headers(1, &[(":method", "GET")], true)], Stream(1, PROTOCOL)),
    ];
    for (rule, frames, expected) in cases {
        for (cut, hands_over) in [(usize::MAX, false), (1, false), (3, true)] {
            let mut rig = Rig::server().cut(cut);
            rig.open_and_answer(1);
            rig.session.reset(id(1), ErrorCode::CONNECT_ERROR, &mut rig.out);
            rig.out.clear();
            let (last, before) = frames.split_last().unwrap();
            rig.feed_well(&before.concat());
            if hands_over {
                rig.hand_over();
            }
            assert_eq!(outcome(&mut rig, std::slice::from_ref(last)), expected, "{rule}, cut at {cut}");
        }
    }
}

#[test]
fn a_frame_that_is_an_error_gives_a_stream_we_reset_no_new_window() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.feed_well(&data(1, &[0; 1_000], false));
    rig.session.reset(id(1), ErrorCode::CANCEL, &mut rig.out);
    rig.feed_well(&headers(1, &[("a", "b")], false));
    for _ in 0..3 {
        rig.feed_well(&data(1, &vec![0; 1 << 20], false));
    }
    rig.feed_well(&data(1, &vec![0; (1 << 20) - 1_000], false));
    assert_eq!(rig.feed(&data(1, &[0; 1], false)).1.map(|error| error.code), Some(FLOW));
}

#[test]
fn late_data_on_a_stream_we_reset_keeps_within_its_window() {
    let settings = Settings { stream_window: 100_000, ..Settings::server() };
    let mut rig = Rig::server_with(&settings);
    rig.open_and_answer(1);
    rig.feed_well(&data(1, &[0; 40_000], false));
    rig.session.reset(id(1), ErrorCode::CANCEL, &mut rig.out);
    rig.feed_well(&data(1, &[0; 60_000], false));
    assert_eq!(rig.feed(&data(1, &[0; 1], false)).1.map(|error| error.code), Some(FLOW));
}

#[test]
fn a_stream_may_be_reset_in_the_middle_of_a_frame() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.open_and_answer(3);
    let frame = data(1, &[1; 100], true);
    let seen = rig.feed_well(&frame[..50]);
    assert_eq!(seen, [Seen::Data { stream: 1, bytes: vec![1; 41] }]);
    rig.session.reset(id(1), ErrorCode::CANCEL, &mut rig.out);
    assert_eq!(rig.feed_well(&frame[50..]), []);
    assert_eq!(rig.feed_well(&data(3, b"x", false)), [Seen::Data { stream: 3, bytes: b"x".to_vec() }]);
}
