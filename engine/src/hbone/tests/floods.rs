//! Peers that keep us busy without getting anything done: each kind ends in ENHANCE_YOUR_CALM, and ordinary traffic
//! of the same frames does not.

use super::super::frame::{ACK, END_HEADERS, Kind, PADDED};
use super::super::limits::*;
use super::super::*;
use super::rig::*;

const CALM: ErrorCode = ErrorCode::ENHANCE_YOUR_CALM;

/// Feeds frames until the session has enough; after how many.
fn flood(rig: &mut Rig, mut frame: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for count in 0..100_000 {
        if let (_, Some(error)) = rig.feed(&frame(count)) {
            assert_eq!(error.code, CALM);
            assert_eq!(rig.written().pop().unwrap().0.kind, Kind::Goaway);
            return count;
        }
        rig.out.clear();
    }
    panic!("never enough");
}

fn odd(count: u32) -> u32 {
    2 * count + 1
}

#[test]
fn cve_2023_44487_rapid_reset() {
    let mut rig = Rig::server();
    let ended = flood(&mut rig, |count| {
        [headers(odd(count), &CONNECT, false), reset(odd(count), ErrorCode::CANCEL)].concat()
    });
    assert_eq!(ended, RESET_BUDGET_FRAMES);
}

#[test]
fn resets_of_answered_streams_are_ordinary() {
    let mut rig = Rig::server();
    for count in 0..10 * RESET_BUDGET_FRAMES {
        rig.open_and_answer(odd(count));
        rig.feed_well(&reset(odd(count), ErrorCode::CANCEL));
    }
}

#[test]
fn keepalives_give_resets_back() {
    let mut rig = Rig::server();
    for count in 0..10 * RESET_BUDGET_FRAMES {
        rig.feed_well(&[headers(odd(count), &CONNECT, false), reset(odd(count), ErrorCode::CANCEL)].concat());
        if count % RESET_REFILL_FRAMES == 0 {
            rig.session.ping(0, &mut rig.out);
        }
    }
}

#[test]
fn cve_2025_8671_making_us_reset() {
    let mut rig = Rig::server();
    let ended = flood(&mut rig, |count| {
        [headers(odd(count), &CONNECT, false), window_update(odd(count), 0)].concat()
    });
    assert_eq!(ended, RESET_BUDGET_FRAMES);
    let mut rig = Rig::server();
    assert_eq!(flood(&mut rig, |count| headers(odd(count), &[("no", "method")], true)), RESET_BUDGET_FRAMES);
}

#[test]
fn streams_above_the_limit() {
    let settings = Settings { streams_max: 1, ..Settings::server() };
    let mut rig = Rig::server_with(&settings);
    let ended = flood(&mut rig, |count| headers(odd(count), &CONNECT, false));
    assert_eq!(ended, RESET_BUDGET_FRAMES + 1, "the first one was taken");
}

#[test]
fn cve_2024_27316_continuation() {
    let mut rig = Rig::server();
    rig.feed_well(&frame(Kind::Headers, 0, 1, &block(&CONNECT)));
    assert_eq!(flood(&mut rig, |_| frame(Kind::Continuation, 0, 1, &[])), CONTINUATIONS_PER_BLOCK_MAX);
}

#[test]
fn rfc9113_10_5_1_a_header_block_is_as_large_as_its_list_may_be() {
    for (settings, max) in [(Settings::server(), 64 << 10), (Settings::client(), 16 << 10)] {
        let mut rig = Rig::server_with(&settings);
        let ended = flood(&mut rig, |count| {
            let kind = if count == 0 { Kind::Headers } else { Kind::Continuation };
            frame(kind, 0, 1, &[0; 4_096])
        });
        assert_eq!(ended, max / 4_096);
    }
}

#[test]
fn rfc9113_10_5_1_a_header_list_above_the_limit_costs_its_stream() {
    let mut rig = Rig::server();
    // One entry of the dynamic table, named again and again: 60 bytes on the wire, 240 KB of fields.
    let value = "v".repeat(4_000);
    let mut block = b"\x40\x01n".to_vec();
    let encoded = encoded(&[("n", &value)]);
    block.extend_from_slice(&encoded[3..]);
    block.extend([0xbe; 60]);
    assert_eq!(rig.feed_well(&frame(Kind::Headers, END_HEADERS, 1, &block)), []);
    assert_eq!(rig.resets(), [(1, CALM)]);
    assert_eq!(rig.feed_well(&headers(3, &CONNECT, false)).len(), 1, "the session goes on");
}

#[test]
fn cve_2019_9515_settings() {
    let mut rig = Rig::server();
    // SETTINGS and the acknowledgement of the rig's beginning count too.
    assert_eq!(flood(&mut rig, |_| settings(&[])), SETTINGS_BUDGET_FRAMES - 2);
    let mut rig = Rig::server();
    assert_eq!(flood(&mut rig, |_| settings_ack()), SETTINGS_BUDGET_FRAMES - 2);
    let mut rig = Rig::server();
    let many = vec![(0x0a0a, 1); SETTINGS_PARAMETERS_MAX as usize + 1];
    rig.feed_well(&settings(&many[1..]));
    assert_eq!(flood(&mut rig, |_| settings(&many)), 0);
}

#[test]
fn cve_2019_9512_ping() {
    let mut rig = Rig::server();
    assert_eq!(flood(&mut rig, |_| frame(Kind::Ping, 0, 0, &[0; 8])), PING_BUDGET_FRAMES);
    let mut rig = Rig::server();
    assert_eq!(flood(&mut rig, |_| frame(Kind::Ping, ACK, 0, &[0; 8])), OTHER_BUDGET_FRAMES);
}

#[test]
fn pings_beside_data_are_ordinary() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    for _ in 0..2 * PING_BUDGET_FRAMES {
        rig.feed_well(&[data(1, b"x", false), frame(Kind::Ping, 0, 0, &[0; 8])].concat());
    }
}

#[test]
fn cve_2019_9518_empty_data() {
    for empty in [data(1, &[], false), frame(Kind::Data, PADDED, 1, &[3, 0, 0, 0])] {
        let mut rig = Rig::server();
        rig.open_and_answer(1);
        assert_eq!(flood(&mut rig, |_| empty.clone()), EMPTY_DATA_BUDGET_FRAMES);
    }
    let mut rig = Rig::server();
    for count in 0..2 * EMPTY_DATA_BUDGET_FRAMES {
        rig.open_and_answer(odd(count));
        rig.feed_well(&data(odd(count), &[], true));
        rig.session.end(id(odd(count)), &mut rig.out);
    }
}

#[test]
fn window_updates() {
    for stream in [0, 1] {
        let mut rig = Rig::server();
        rig.open_and_answer(1);
        assert_eq!(flood(&mut rig, |_| window_update(stream, 1)), WINDOW_UPDATE_BUDGET_FRAMES);
    }
}

#[test]
fn window_updates_for_what_we_send_are_ordinary() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    for _ in 0..2 * WINDOW_UPDATE_BUDGET_FRAMES {
        assert_eq!(rig.session.send(id(1), b"x", &mut rig.out), 1);
        rig.out.clear();
        rig.feed_well(&[window_update(1, 1), window_update(0, 1)].concat());
    }
}

#[test]
fn cve_2019_9513_everything_else() {
    for idle in [
        frame(Kind::Priority, 0, 1, &[0, 0, 0, 0, 1]),
        frame(Kind::Unknown(0xbe), 0, 0, b"any"),
        goaway(0, ErrorCode::NO_ERROR),
    ] {
        let mut rig = Rig::server();
        assert_eq!(flood(&mut rig, |_| idle.clone()), OTHER_BUDGET_FRAMES);
    }
    let mut rig = Rig::client();
    rig.session.connect("a:1", &[], &mut rig.out);
    assert_eq!(flood(&mut rig, |_| headers(1, &[(":status", "103")], false)), OTHER_BUDGET_FRAMES);
}

#[test]
fn late_frames() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.session.reset(id(1), ErrorCode::CANCEL, &mut rig.out);
    assert_eq!(flood(&mut rig, |_| data(1, b"x", false)), OTHER_BUDGET_FRAMES);

    // Large ones are bounded by the window that the stream had.
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.session.reset(id(1), ErrorCode::CANCEL, &mut rig.out);
    for _ in 0..STREAM_WINDOW_BYTES / 256 {
        rig.feed_well(&data(1, &[0; 256], false));
    }
    let (_, error) = rig.feed(&data(1, &[0; 256], false));
    assert_eq!(error.map(|error| error.code), Some(ErrorCode::FLOW_CONTROL_ERROR));
}
