//! How connections end, and what each side is told.

use super::fixture::{App, Connection, End, Peer, Took, Transfer, World};
use crate::hbone::{ErrorCode, StreamId};
use crate::pool::Side;

/// Turns until an application sees something else than nothing, and says what.
fn sees<F: super::fixture::Turned>(world: &mut World<F>, app: &mut App) -> Took {
    let mut seen = Took::Nothing;
    world.until("the application sees something", |_| {
        seen = app.read(usize::MAX);
        seen != Took::Nothing
    });
    seen
}

/// Reads and throws away what comes before the end.
fn sees_at_last<F: super::fixture::Turned>(world: &mut World<F>, app: &mut App) -> Took {
    loop {
        match sees(world, app) {
            Took::Bytes(_) => {}
            end => return end,
        }
    }
}

/// Sends a lot one way, and ends that way.
fn one_way(world: &mut World<End>, from: &mut App, into: &mut App, bytes: u64) {
    let mut transfer = Transfer::new(bytes, bytes);
    world.until("one direction ends", |_| {
        if !transfer.is_sent() {
            transfer.write(from, usize::MAX);
            if transfer.is_sent() {
                from.end();
            }
        }
        transfer.read(into, usize::MAX) == Took::End
    });
    assert!(transfer.is_received());
}

#[test]
fn a_half_closed_connection_goes_on_the_other_way() {
    let mut world = World::new();
    let Connection { mut near_app, mut far_app, .. } = world.connect();
    one_way(&mut world, &mut near_app, &mut far_app, 100_000);
    one_way(&mut world, &mut far_app, &mut near_app, 1_000_000);
    let Connection { mut near_app, mut far_app, .. } = world.connect();
    one_way(&mut world, &mut far_app, &mut near_app, 100_000);
    one_way(&mut world, &mut near_app, &mut far_app, 1_000_000);
    world.settle();
    assert_eq!(world.records(), [2, 2]);
    assert!(world.near.records.iter().all(|record| record.error.is_none()));
    world.end();
}

#[test]
fn the_end_comes_after_what_was_queued_before_it() {
    let mut world = World::new();
    let mut connection = world.connect_with(App::connected(), App::narrow(8 * 1024));
    let mut there = Transfer::new(1, 3_000_000);
    world.until("all is sent", |_| {
        there.write(&mut connection.near_app, usize::MAX);
        there.is_sent()
    });
    connection.near_app.end();
    world.until("the far end knows of the end", |world| world.far.relay(connection.far).turn.far_ended);
    let queued = world.far.tunnel().buffered.bytes();
    assert!(queued > 1_000_000, "only {queued} bytes wait for an application that does not read");
    assert!(!world.far.relay(connection.far).turn.shut);
    world.until("the application sees the end", |_| there.read(&mut connection.far_app, 10_000) == Took::End);
    assert!(there.is_received());
    connection.far_app.end();
    assert_eq!(sees(&mut world, &mut connection.near_app), Took::End);
    world.end();
}

#[test]
fn a_reset_is_a_reset_on_the_other_side_and_never_an_end() {
    for (from_near, bytes, reads) in [
        (true, 0, true),
        (false, 0, true),
        (true, 50_000, true),
        (false, 50_000, true),
        (true, 2_000_000, false),
        (false, 2_000_000, false),
    ] {
        let mut world = World::new();
        let Connection { near_app, far_app, .. } = world.connect();
        let (mut from, mut into) = if from_near { (near_app, far_app) } else { (far_app, near_app) };
        let mut transfer = Transfer::new(5, bytes);
        world.until("the bytes are on their way", |_| {
            transfer.write(&mut from, usize::MAX);
            if reads {
                assert_eq!(transfer.read(&mut into, usize::MAX), Took::Nothing);
            }
            transfer.is_sent() && (!reads || transfer.is_received())
        });
        from.reset();
        assert_eq!(sees_at_last(&mut world, &mut into), Took::Reset, "{from_near} {bytes}");
        world.settle();
        assert_eq!(world.records(), [1, 1]);
        for record in world.near.records.iter().chain(&world.far.records) {
            assert!(record.error.as_ref().is_some_and(|cause| cause.contains("reset")), "{record:?}");
        }
        world.end();
    }
}

#[test]
fn a_reset_is_seen_while_nothing_is_received() {
    let mut world = World::new();
    let mut connection = world.connect_with(App::connected(), App::narrow(8 * 1024));
    // More than the window, to an application that does not read.
    let mut there = Transfer::new(1, 1 << 30);
    world.until("the window is used up", |world| {
        there.write(&mut connection.near_app, usize::MAX);
        let stream = world.near.relay(connection.near).stream;
        world.near.tunnel().session.sendable(stream) == 0
    });
    world.quiet();
    let relay = world.near.relay(connection.near);
    assert!(relay.intake.is_at_rest() && relay.guard.is_some(), "nothing but the guard is armed");
    connection.near_app.reset();
    assert_eq!(sees_at_last(&mut world, &mut connection.far_app), Took::Reset);
    world.end();
}

#[test]
fn a_reset_is_seen_after_the_end() {
    for from_near in [true, false] {
        let mut world = World::new();
        let Connection { near_app, far_app, .. } = world.connect();
        let (from, mut into) = if from_near { (near_app, far_app) } else { (far_app, near_app) };
        from.end();
        assert_eq!(sees(&mut world, &mut into), Took::End);
        world.quiet();
        from.reset();
        // FIN has come before; what says RST now is that writing fails.
        world.until("the other side is reset", |_| into.is_reset());
        world.end();
    }
}

#[test]
fn an_application_that_closes_with_unread_bytes_resets() {
    for from_near in [true, false] {
        let mut world = World::new();
        let Connection { near_app, far_app, .. } = world.connect();
        let (mut writer, closer) = if from_near { (near_app, far_app) } else { (far_app, near_app) };
        writer.write_all(b"never read");
        world.until("the bytes are there", |_| closer.peek() != Took::Nothing);
        // Linux answers with RST instead of FIN (RFC 2525 §2.17).
        drop(closer);
        assert_eq!(sees(&mut world, &mut writer), Took::Reset);
        world.end();
    }
}

#[test]
fn a_peer_that_resets_with_no_error_ends_and_any_other_code_resets() {
    for side in [Side::Client, Side::Server] {
        for (code, expected) in [
            (ErrorCode::NO_ERROR, Took::End),
            (ErrorCode::CANCEL, Took::Reset),
            (ErrorCode::CONNECT_ERROR, Took::Reset),
            (ErrorCode(0xdead), Took::Reset),
        ] {
            let mut world = World::with_peer(side);
            let (mut app, _, stream) = match side {
                Side::Client => world.connect_to_peer(),
                Side::Server => world.connect_from_peer(),
            };
            world.far.send(stream, b"the last words");
            world.far.reset(stream, code);
            let mut seen = sees(&mut world, &mut app);
            if seen == Took::Bytes(b"the last words".to_vec()) {
                seen = sees(&mut world, &mut app);
            } else {
                assert_ne!(expected, Took::End, "bytes before an end are delivered");
            }
            assert_eq!(seen, expected, "{side:?} {code}");
            world.until("the relay is gone", |world| world.near.is_settled());
            world.near.check_settled();
            assert_eq!(world.near.records.len(), 1);
            assert_eq!(world.near.records[0].error.is_none(), expected == Took::End);
            world.end();
        }
    }
}

#[test]
fn an_application_that_goes_on_after_the_peer_has_finished_with_it() {
    let mut world = World::with_peer(Side::Client);
    let (mut app, relay, stream) = world.connect_to_peer();
    world.far.send(stream, &[7; 100_000]);
    world.far.reset(stream, ErrorCode::NO_ERROR);
    world.until("the end is known", |world| {
        world.near.tables.relays.get(relay).is_none_or(|relay| relay.turn.far_ended)
    });
    // Nobody wants these bytes, and nobody may keep them.
    for _ in 0..100 {
        let _ = std::io::Write::write(&mut app.socket, &[1; 50_000]);
        world.turn();
    }
    let mut received = 0;
    world.until("the application has everything", |_| {
        match app.read(usize::MAX) {
            Took::Bytes(bytes) => received += bytes.len(),
            Took::End | Took::Reset => return true,
            Took::Nothing => {}
        }
        false
    });
    assert_eq!(received, 100_000);
    drop(app);
    world.until("the relay is gone", |world| world.near.is_settled());
    world.near.check_settled();
    world.end();
}

#[test]
fn a_stream_that_is_refused_gives_the_application_back() {
    // What the peer answers; whether another tunnel may be tried; what the log says.
    type Answer = fn(&mut Peer, StreamId);
    let table: [(Answer, bool, &str); 7] = [
        (|peer, stream| peer.respond(stream, 503, true), false, "503"),
        (|peer, stream| peer.respond(stream, 401, false), false, "401"),
        (|peer, stream| peer.respond(stream, 200, true), false, "502"),
        (|peer, stream| peer.reset(stream, ErrorCode::REFUSED_STREAM), true, "REFUSED_STREAM"),
        (|peer, stream| peer.reset(stream, ErrorCode::NO_ERROR), false, "NO_ERROR"),
        (|peer, stream| peer.reset(stream, ErrorCode::INTERNAL_ERROR), false, "INTERNAL_ERROR"),
        // GOAWAY with `last` = 0: the stream was not processed (RFC 9113 §6.8).
        (|peer, _| peer.raw(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0"), true, "REFUSED_STREAM"),
    ];
    for (answer, unprocessed, cause) in table {
        let mut world = World::with_peer(Side::Client);
        let (mut app, socket) = App::connected();
        let (_, mut opened) = world.near.open(socket);
        let stream = world.wait_for_request();
        answer(&mut world.far, stream);
        let refused = world.answer(&mut opened).expect("it was refused");
        assert_eq!(refused.unprocessed, unprocessed, "{cause}");
        assert!(refused.cause.contains(cause), "{} does not tell of {cause}", refused.cause);
        assert_eq!(app.read(1), Took::Nothing, "the connection of the application stands");
        // The record is written by whoever gets the socket back.
        assert_eq!(world.near.records.len(), 0);
        drop(refused);
        assert_eq!(app.read(1), Took::End);
        world.until("nothing is left", |world| world.near.tables.relays.is_empty());
        world.end();
    }
}

#[test]
fn bytes_right_behind_the_request_wait_for_the_application() {
    let mut world = World::with_peer(Side::Server);
    let stream = world.far.connect();
    let bytes: Vec<u8> = (0..60_000_u32).map(|byte| byte as u8).collect();
    assert_eq!(world.far.send(stream, &bytes), bytes.len());
    world.far.finish(stream);
    world.until("the request arrives", |world| !world.near.requests.is_empty());
    world.until("the bytes arrive", |world| world.near.tunnel().buffered.bytes() == bytes.len());
    let relay = world.near.requests.pop_front().unwrap().relay;
    let (mut app, socket) = App::connected();
    world.near.tables.attach_app(relay, socket, &[]);
    let mut received = Vec::new();
    loop {
        match sees(&mut world, &mut app) {
            Took::Bytes(mut more) => received.append(&mut more),
            end => break assert_eq!(end, Took::End),
        }
    }
    assert!(received == bytes);
    app.end();
    world.until("the peer sees the end", |world| world.far.saw(&super::fixture::Told::End(stream)));
    world.until("the relay is gone", |world| world.near.is_settled());
    world.near.check_settled();
    world.end();
}

/// RFC 9113 §8.1: who asked is told why, and asked to stop only if it goes on.
#[test]
fn a_refused_request_is_answered_and_leaves_nothing() {
    // What the client does with the answer, and which reset it sees then.
    type Then = fn(&mut World<Peer>, StreamId);
    let table: [(Then, Option<ErrorCode>); 5] = [
        (|world, stream| world.far.reset(stream, ErrorCode::CANCEL), None),
        (|world, stream| world.far.finish(stream), None),
        (|world, stream| assert_eq!(world.far.send(stream, b"too late"), 8), Some(ErrorCode::NO_ERROR)),
        // Nothing at all, until the next heartbeat.
        (
            |world, _| {
                let key = world.near.tunnel;
                world.near.tables.tunnel_tick(key);
            },
            Some(ErrorCode::NO_ERROR),
        ),
        // WINDOW_UPDATE of 2^31-1: the rules hold as if nothing had been answered.
        (
            |world, _| world.far.raw(b"\0\0\x04\x08\0\0\0\0\x01\x7f\xff\xff\xff"),
            Some(ErrorCode::FLOW_CONTROL_ERROR),
        ),
    ];
    for (then, expected) in table {
        let mut world = World::with_peer(Side::Server);
        let stream = world.far.connect();
        world.until("the request arrives", |world| !world.near.requests.is_empty());
        let relay = world.near.requests.pop_front().unwrap().relay;
        world.near.tables.refuse_stream(relay, 401, "denied");
        world.until("the answer arrives", |world| world.far.takes_response(stream) == Some(401));
        world.quiet();
        assert_eq!(world.far.takes_reset(stream), None, "it has done nothing wrong yet");
        then(&mut world, stream);
        world.until("the stream is gone", |world| world.near.tunnel().session.open_streams() == 0);
        world.until("the relay is gone", |world| world.near.is_settled());
        world.quiet();
        assert_eq!(world.far.takes_reset(stream), expected);
        world.near.check_settled();
        assert_eq!(world.near.records.len(), 1);
        assert_eq!(world.near.records[0].error.as_deref(), Some("denied"));
        world.end();
    }
}

#[test]
fn bytes_for_a_refused_request_reach_nobody_else() {
    let mut world = World::with_peer(Side::Server);
    let refused = world.far.connect();
    world.until("the request arrives", |world| !world.near.requests.is_empty());
    let relay = world.near.requests.pop_front().unwrap().relay;
    world.near.tables.refuse_stream(relay, 401, "denied");
    world.until("the relay is gone", |world| world.near.is_settled());
    // Takes the slot that the refused one had.
    let (mut app, next, stream) = world.connect_from_peer();
    assert_eq!(next.slot(), relay.slot(), "the slot is used again");
    world.far.send(refused, b"not for you");
    world.far.finish(refused);
    world.far.send(stream, b"for you");
    assert_eq!(sees(&mut world, &mut app), Took::Bytes(b"for you".to_vec()));
    world.quiet();
    assert_eq!(app.read(1), Took::Nothing);
    app.write_all(b"thanks");
    world.until("the answer arrives", |world| world.far.takes_data(stream) == b"thanks");
    world.end();
}

#[test]
fn an_application_that_comes_too_late_is_reset() {
    let mut world = World::with_peer(Side::Server);
    let stream = world.far.connect();
    world.until("the request arrives", |world| !world.near.requests.is_empty());
    let relay = world.near.requests.pop_front().unwrap().relay;
    world.far.reset(stream, ErrorCode::CANCEL);
    world.until("the relay is gone", |world| world.near.is_settled());
    assert_eq!(world.near.records.len(), 1, "the connection was told of");
    let (mut app, socket) = App::connected();
    world.near.tables.attach_app(relay, socket, &[]);
    assert_eq!(sees(&mut world, &mut app), Took::Reset);
    world.near.tables.refuse_stream(relay, 503, "too late as well");
    world.quiet();
    assert_eq!(world.near.records.len(), 1);
    world.end();
}

#[test]
fn a_reset_that_a_send_meets_first_is_a_reset_all_the_same() {
    let mut world = World::new();
    let Connection { mut near_app, mut far_app, near, .. } = world.connect();
    let mut there = Transfer::new(1, 4 << 20);
    world.until("the receive is in bulk mode", |world| {
        there.write(&mut near_app, 200_000);
        there.read(&mut far_app, usize::MAX);
        world.near.relay(near).intake.is_bulk()
    });
    world.until("all of it has arrived", |_| {
        there.read(&mut far_app, usize::MAX);
        there.received == there.sent
    });
    world.quiet();
    // As with pairs: the receive finds bytes and not the RST behind them, the send takes the RST from the socket.
    far_app.write_all(&[2; 50_000]);
    for _ in 0..20 {
        super::fixture::Turned::turn(&mut world.far);
    }
    near_app.write_all(&[1; 5_000]);
    near_app.reset();
    assert_eq!(sees_at_last(&mut world, &mut far_app), Took::Reset);
    world.end();
}
