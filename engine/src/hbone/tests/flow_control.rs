//! Windows: RFC 9113 §5.2 and §6.9, padding, credit, and what is sent when.

use super::super::frame::{Kind, PADDED};
use super::super::limits::{CONNECTION_WINDOW_BYTES, DATA_PAYLOAD_BYTES_MAX};
use super::super::*;
use super::rig::*;

/// Lengths of the DATA frames that were written.
fn data_frames(rig: &mut Rig) -> Vec<u32> {
    rig.written().iter().filter(|(head, _)| head.kind == Kind::Data).map(|(head, _)| head.length).collect()
}

#[test]
fn rfc9113_6_9_1_sending_stops_at_the_smaller_window() {
    let mut rig = Rig::client();
    let stream = id(rig.connect_and_answer());
    let bytes = vec![1; 200_000];
    assert_eq!(rig.session.sendable(stream), 65_535);
    assert_eq!(rig.session.send(stream, &bytes, &mut rig.out), 65_535);
    assert_eq!(rig.session.send(stream, &bytes, &mut rig.out), 0);
    assert_eq!(data_frames(&mut rig), [16_384, 16_384, 16_384, 16_383], "the peer's frame size");

    // The connection's window alone changes nothing, nor does the stream's.
    assert_eq!(rig.feed_well(&window_update(0, 10)), [Seen::Window { slot: None }]);
    assert_eq!(rig.session.sendable(stream), 0);
    assert_eq!(rig.feed_well(&window_update(1, 7)), [Seen::Window { slot: Some(1) }]);
    assert_eq!(rig.session.send(stream, &bytes, &mut rig.out), 7);
    assert_eq!(rig.session.send(stream, &bytes, &mut rig.out), 0);
}

#[test]
fn windows_nobody_waits_for_are_no_events() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    assert_eq!(rig.feed_well(&window_update(1, 1)), [], "the stream has no slot");
    rig.session.set_slot(id(1), 0);
    assert_eq!(rig.feed_well(&window_update(1, 1)), [Seen::Window { slot: Some(0) }]);
    rig.session.end(id(1), &mut rig.out);
    assert_eq!(rig.feed_well(&window_update(1, 1)), [], "we have ended");
}

#[test]
fn frames_are_at_most_four_records_long_whatever_the_peer_allows() {
    let mut rig = Rig::client();
    let stream = id(rig.connect_and_answer());
    rig.feed_well(&[settings(&[(4, 1 << 30), (5, 1 << 20)]), window_update(0, 1 << 30)].concat());
    rig.out.clear();
    let bytes = vec![1; 3 * DATA_PAYLOAD_BYTES_MAX];
    assert_eq!(rig.session.send(stream, &bytes, &mut rig.out), bytes.len());
    assert_eq!(rig.out.len(), 3 * 4 * 16_384);
    assert_eq!(data_frames(&mut rig), [65_527; 3]);
}

#[test]
fn rfc9113_6_9_2_windows_follow_initial_window_size_below_zero() {
    let mut rig = Rig::client();
    let (first, second) = (id(rig.connect_and_answer()), id(rig.connect_and_answer()));
    assert_eq!(rig.session.send(first, &[0; 1_000], &mut rig.out), 1_000);
    assert_eq!(rig.feed_well(&settings(&[(4, 400)])), [Seen::Settings]);
    assert_eq!((rig.session.sendable(first), rig.session.sendable(second)), (0, 400));
    rig.hand_over();
    // -600 now: 600 of credit bring it to 0.
    rig.feed_well(&window_update(1, 600));
    assert_eq!(rig.session.sendable(first), 0);
    rig.feed_well(&window_update(1, 1));
    assert_eq!(rig.session.sendable(first), 1);
    rig.feed_well(&settings(&[(4, 500)]));
    assert_eq!((rig.session.sendable(first), rig.session.sendable(second)), (101, 500));
    assert_eq!(id(rig.connect_and_answer()), id(5));
    assert_eq!(rig.session.sendable(id(5)), 500, "new streams begin with it");
}

#[test]
fn rfc9113_6_9_2_only_the_last_value_of_a_frame_counts_and_none_touches_the_connection() {
    let mut rig = Rig::client();
    let stream = id(rig.connect_and_answer());
    rig.feed_well(&settings(&[(4, 1), (4, 0), (4, 100_000)]));
    assert_eq!(rig.session.sendable(stream), 65_535, "the connection's window is not changed by SETTINGS");
    rig.feed_well(&window_update(0, 1 << 20));
    assert_eq!(rig.session.sendable(stream), 100_000);
}

#[test]
fn credit_goes_back_when_the_application_took_the_bytes() {
    let settings = Settings { stream_window: 100_000, credit_batch: 25_000, ..Settings::server() };
    let mut rig = Rig::server_with(&settings);
    rig.open_and_answer(1);
    rig.feed_well(&data(1, &[0; 100_000], false));
    assert_eq!(rig.credits(), [], "nothing is given back for bytes nobody took");
    rig.session.release(id(1), 24_999, &mut rig.out);
    assert_eq!(rig.credits(), []);
    rig.session.release(id(1), 1, &mut rig.out);
    assert_eq!(rig.credits(), [(1, 25_000)]);
    rig.session.release(id(1), 75_000, &mut rig.out);
    assert_eq!(rig.credits(), [(1, 75_000)]);
    // The peer may use all of it again, and not a byte more.
    rig.feed_well(&data(1, &[0; 100_000], false));
    assert_eq!(rig.feed_well(&data(1, &[0; 1], false)).len(), 1);
    assert_eq!(rig.resets(), [(1, ErrorCode::FLOW_CONTROL_ERROR)]);
}

#[test]
fn no_credit_after_the_end() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.feed_well(&data(1, &[0; 100], true));
    rig.session.release(id(1), 100, &mut rig.out);
    assert!(rig.out.is_empty());
}

#[test]
fn rfc9113_6_9_1_a_stream_above_its_window_is_reset_and_its_bytes_are_thrown_away() {
    let settings = Settings { stream_window: 70_000, ..Settings::server() };
    for cut in CUTS {
        let mut rig = Rig::server_with(&settings).cut(cut);
        rig.open_and_answer(1);
        rig.open_and_answer(3);
        let seen = rig.feed_well(&[data(1, &[0; 70_001], false), data(3, b"fine", false)].concat());
        let code = ErrorCode::FLOW_CONTROL_ERROR;
        assert_eq!(
            seen,
            [
                Seen::Reset { stream: 1, code, refused: false, by_peer: false },
                Seen::Data { stream: 3, bytes: b"fine".to_vec() }
            ]
        );
        assert_eq!(rig.resets(), [(1, code)]);
    }
}

#[test]
fn rfc9113_6_9_3_a_small_window_holds_once_the_peer_knows_it() {
    let settings = Settings { stream_window: 10_000, ..Settings::server() };
    let mut rig = Rig::new_server(&settings);
    rig.feed_well(&[&frame::PREFACE[..], &self::settings(&[])].concat());
    rig.open_and_answer(1);
    rig.open_and_answer(3);
    // The client has not read our SETTINGS: 65,535 are allowed.
    rig.feed_well(&data(1, &[0; 50_000], false));
    rig.feed_well(&settings_ack());
    // From now on 10,000: stream 1 is 40,000 above it, stream 3 has never used any.
    rig.session.release(id(1), 50_000, &mut rig.out);
    assert_eq!(rig.credits(), [(1, 50_000)]);
    for stream in [1, 3] {
        rig.feed_well(&data(stream, &[0; 10_000], false));
        rig.feed_well(&data(stream, &[0; 1], false));
        assert_eq!(rig.resets(), [(stream, ErrorCode::FLOW_CONTROL_ERROR)]);
    }
}

#[test]
fn rfc9113_6_9_1_padding_counts_and_is_given_back() {
    let settings = Settings { stream_window: 1_000, credit_batch: 1, ..Settings::server() };
    for cut in CUTS {
        let mut rig = Rig::server_with(&settings).cut(cut);
        rig.open_and_answer(1);
        let payload = [&[200][..], b"content", &[0; 200]].concat();
        for _ in 0..100 {
            let seen = rig.feed_well(&frame(Kind::Data, PADDED, 1, &payload));
            assert_eq!(seen, [Seen::Data { stream: 1, bytes: b"content".to_vec() }]);
            rig.session.release(id(1), 7, &mut rig.out);
            assert_eq!(rig.credits(), [(1, 201), (1, 7)]);
        }
    }
}

#[test]
fn standing_readers_leave_the_connection_alone() {
    let mut rig = Rig::server();
    // 200 readers that take nothing: 800 MiB, then some.
    let window = limits::STREAM_WINDOW_BYTES as usize;
    let chunk = vec![0; 1 << 20];
    for stream in (1..400).step_by(2) {
        rig.feed_well(&headers(stream, &CONNECT, false));
        rig.session.respond(id(stream), 200, &[], false, &mut rig.out);
        let credits: Vec<_> = (0..window / chunk.len())
            .flat_map(|_| {
                rig.feed_well(&data(stream, &chunk, false));
                rig.credits()
            })
            .collect();
        assert!(credits.iter().all(|(stream, _)| *stream == 0), "no stream credit");
    }
    rig.session.reset(id(1), ErrorCode::CANCEL, &mut rig.out);
    let seen = rig.feed_well(&[headers(401, &CONNECT, false), data(401, b"healthy", false)].concat());
    assert_eq!(seen[1], Seen::Data { stream: 401, bytes: b"healthy".to_vec() });
}

#[test]
fn the_connections_credit_goes_back_as_data_passes() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    let chunk = vec![0; 1 << 20];
    let mut credited = 0;
    // More than the whole window, thrice.
    for _ in 0..3 * 2_048 + 1 {
        rig.feed_well(&data(1, &chunk, false));
        rig.session.release(id(1), chunk.len(), &mut rig.out);
        let all = rig.credits();
        credited +=
            all.iter().filter(|(stream, _)| *stream == 0).map(|(_, bytes)| u64::from(*bytes)).sum::<u64>();
    }
    assert!(credited > 2 * u64::from(CONNECTION_WINDOW_BYTES));
}

#[test]
fn rfc9113_6_9_1_the_connections_window_is_checked() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.session.receive = flow::ReceiveWindow::new(10);
    let (_, error) = rig.feed(&data(1, &[0; 11], false));
    assert_eq!(error.map(|error| error.code), Some(ErrorCode::FLOW_CONTROL_ERROR));
}

#[test]
fn settings_out_of_bounds_are_brought_back() {
    let wild = Settings { stream_window: u32::MAX, frame_size: 1, credit_batch: 0, ..Settings::server() };
    let mut out = Vec::new();
    let session = Session::server(&wild, &mut out);
    let written = frames(&out).remove(0);
    let expected = settings(&[(3, 200), (4, (1 << 31) - 1), (5, 16_384), (6, 64 << 10)]);
    assert_eq!(written, frames(&expected)[0]);
    assert_eq!(session.settings.credit_batch, 1);
}
