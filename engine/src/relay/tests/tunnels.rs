//! What happens to connections when something happens to their tunnel.

use std::time::Duration;

use futures_lite::future::{block_on, poll_once};

use super::fixture::{App, Connection, Peer, Told, Took, Transfer, Turned, World, established, tcp_pair};
use crate::hbone::{ErrorCode, Request, StreamId};
use crate::observe::ResponseFlag;
use crate::pool::Side;
use crate::relay::Opened;
use crate::relay::tests::fixture::End;
use crate::uring::DriverConfig;

fn sees<F: Turned>(world: &mut World<F>, app: &mut App) -> Took {
    let mut seen = Took::Nothing;
    world.until("the application sees something", |_| {
        seen = app.read(usize::MAX);
        seen != Took::Nothing
    });
    seen
}

/// Connections in every state: idle, in the middle of bulk, half closed, standing.
fn connections(world: &mut World<End>) -> Vec<Connection> {
    let mut connections: Vec<_> = (0..3).map(|_| world.connect()).collect();
    connections.push(world.connect_with(App::connected(), App::narrow(8 * 1024)));
    let mut bulk = Transfer::new(1, 1 << 30);
    let mut standing = Transfer::new(2, 1 << 30);
    connections[1].near_app.end();
    for _ in 0..200 {
        bulk.write(&mut connections[2].near_app, usize::MAX);
        bulk.read(&mut connections[2].far_app, usize::MAX);
        standing.write(&mut connections[3].near_app, usize::MAX);
        world.turn();
    }
    assert!(bulk.received > 0);
    assert!(world.far.tunnel().buffered.bytes() > 0, "something waits for the standing reader");
    connections
}

/// Both applications of every connection are reset, whatever they see before.
fn all_are_reset(world: &mut World<End>, connections: &mut [Connection], half_closed: usize) {
    for (index, connection) in connections.iter_mut().enumerate() {
        for (side, app) in [&mut connection.near_app, &mut connection.far_app].into_iter().enumerate() {
            let mut last = Took::Nothing;
            world.until("the application is reset", |_| {
                match app.read(usize::MAX) {
                    Took::Nothing => {}
                    Took::End if index == half_closed && side == 1 => return app.is_reset(),
                    Took::Bytes(_) => {}
                    end => last = end,
                }
                last != Took::Nothing || app.is_reset()
            });
            assert_ne!(last, Took::End, "connection {index}, side {side}: truncated without a word");
        }
    }
}

#[test]
fn when_a_tunnel_breaks_everything_is_reset_and_nothing_is_left() {
    let mut world = World::new();
    let mut connections = connections(&mut world);
    let socket = world.near.tunnel().fd().try_clone_to_owned().unwrap();
    crate::net::abort_on_close(std::os::fd::AsFd::as_fd(&socket));
    // As if the network had broken it: `connect` to nowhere in particular sends RST.
    socket2::SockRef::from(&socket).shutdown(std::net::Shutdown::Both).unwrap();
    all_are_reset(&mut world, &mut connections, 1);
    assert_eq!(world.records(), [4, 4]);
    assert!(world.near.records.iter().chain(&world.far.records).all(|record| record.error.is_some()));
    drop(connections);
    world.end_without_tunnels();
}

#[test]
fn when_the_near_end_closes_its_tunnel_at_once_everything_is_reset() {
    let mut world = World::new();
    let mut connections = connections(&mut world);
    let key = world.near.tunnel;
    world.near.tables.close_tunnel(key, "the pod left");
    all_are_reset(&mut world, &mut connections, 1);
    assert_eq!(world.records(), [4, 4]);
    world.end_without_tunnels();
}

#[test]
fn close_notify_ends_the_tunnel_and_is_answered() {
    let mut world = World::with_peer(Side::Client);
    let (mut app, _, stream) = world.connect_to_peer();
    world.far.send(stream, b"half of the story");
    world.far.close_notify();
    // The bytes may be lost with the tunnel, but then not in silence.
    let seen = sees(&mut world, &mut app);
    if seen != Took::Reset {
        assert_eq!(seen, Took::Bytes(b"half of the story".to_vec()));
        assert_eq!(sees(&mut world, &mut app), Took::Reset);
    }
    world.until("our close_notify comes", |world| world.far.saw(&Told::Closed));
    world.until("our FIN comes", |world| world.far.saw(&Told::Eof));
    world.far.shut_down();
    world.until("everything is gone", |world| world.near.is_empty());
    assert_eq!(world.near.records.len(), 1);
    world.end();
}

#[test]
fn a_tunnel_that_ends_without_close_notify_resets_its_streams() {
    let mut world = World::with_peer(Side::Client);
    let (mut app, _, _) = world.connect_to_peer();
    world.far.shut_down();
    assert_eq!(sees(&mut world, &mut app), Took::Reset);
    world.until("our FIN comes", |world| world.far.saw(&Told::Eof));
    world.until("everything is gone", |world| world.near.is_empty());
    world.end();
}

#[test]
fn a_peer_that_does_not_end_with_us_is_not_waited_for_long() {
    let mut world = World::with_peer(Side::Client);
    let key = world.near.tunnel;
    world.near.tables.end_tunnel(key, "over");
    world.near.stop_clock();
    world.until("our FIN comes", |world| world.far.saw(&Told::Eof));
    assert_eq!(world.near.tables.tunnels.len(), 1, "it waits for the peer");
    world.near.tables.tunnel_tick(key);
    world.until("everything is gone", |world| world.near.is_empty());
    world.end();
}

#[test]
fn goaway_lets_running_streams_finish_and_takes_no_more() {
    let mut world = World::with_peer(Side::Client);
    let (mut app, _, stream) = world.connect_to_peer();
    world.far.goaway(ErrorCode::NO_ERROR);
    world.until("we know", |world| !world.near.tunnel().takes_streams());
    let (mut refused, socket) = App::connected();
    let record = super::fixture::record();
    let key = world.near.tunnel;
    let back = world.near.tables.open_stream(key, socket, "10.0.0.2:80", &[], record);
    drop(back.expect_err("no stream on a tunnel that leaves"));
    assert_eq!(refused.read(1), Took::End);

    world.far.send(stream, b"still here");
    assert_eq!(sees(&mut world, &mut app), Took::Bytes(b"still here".to_vec()));
    app.write_all(b"me too");
    world.until("the bytes arrive", |world| world.far.takes_data(stream) == b"me too");
    world.far.finish(stream);
    assert_eq!(sees(&mut world, &mut app), Took::End);
    assert!(world.near.tunnel().is_live());
    app.end();
    world.until("the tunnel ends with its last stream", |world| world.far.saw(&Told::Closed));
    world.far.shut_down();
    world.until("everything is gone", |world| world.near.is_empty());
    assert_eq!(world.near.records.len(), 1);
    assert_eq!(world.near.records[0].error, None);
    world.end();
}

#[test]
fn goaway_without_streams_ends_the_tunnel() {
    for side in [Side::Client, Side::Server] {
        let mut world = World::with_peer(side);
        world.far.goaway(ErrorCode::NO_ERROR);
        world.until("the tunnel ends", |world| world.far.saw(&Told::Closed));
        assert!(!world.far.saw(&Told::Announced), "nobody is waited for");
        world.far.shut_down();
        world.until("everything is gone", |world| world.near.is_empty());
        world.end();
    }
}

#[test]
fn a_peer_that_does_not_answer_holds_a_drain_up_for_a_moment_only() {
    let mut world = World::with_peer(Side::Server);
    let key = world.near.tunnel;
    let heartbeat = world.near.tunnel().heartbeat.timer;
    world.near.tables.draining = true;
    world.near.tables.drain_tunnel(key);
    assert!(world.near.tunnel().is_live(), "streams may be on their way");
    assert_ne!(world.near.tunnel().heartbeat.timer, heartbeat, "it would be long");
    // The time is over; the peer has heard nothing yet.
    world.near.tables.tunnel_tick(key);
    assert!(!world.near.tunnel().is_live());
    world.until("the tunnel ends", |world| world.far.saw(&Told::Closed));
    assert!(world.far.saw(&Told::GoAway(ErrorCode::NO_ERROR)));
    world.end();
}

#[test]
fn one_with_a_stream_takes_no_latecomers_after_that_moment() {
    let mut world = World::with_peer(Side::Server);
    let (mut app, _, stream) = world.connect_from_peer();
    let key = world.near.tunnel;
    world.near.tables.drain_tunnel(key);
    world.near.tables.tunnel_tick(key);
    assert!(world.near.tunnel().is_live());
    assert!(!world.near.tunnel().session.takes_latecomers());
    assert!(world.near.tunnel().heartbeat.timer.is_some(), "its heart goes on beating");
    world.far.send(stream, b"go on");
    assert_eq!(sees(&mut world, &mut app), Took::Bytes(b"go on".to_vec()));
    drop(app);
    world.end();
}

#[test]
fn a_tunnel_that_ends_takes_no_request_that_came_with_its_end() {
    let mut world = World::with_peer(Side::Server);
    let key = world.near.tunnel;
    world.near.tables.end_tunnel(key, "over");
    let (method, authority) = ("CONNECT".into(), "10.0.0.1:80".into());
    let request = Request { method, authority, ..Request::default() };
    world.near.tables.stream_requested(key, StreamId::from_bits(1), Box::new(request), false);
    assert!(world.near.tables.relays.is_empty());
    assert!(world.near.tables.requested.is_empty());
    world.end();
}

#[test]
fn a_peer_that_never_speaks_http_is_told_from_one_that_refuses() {
    let (client, _) = established();
    let (near, far) = tcp_pair(None);
    let mut end = End::alone(&DriverConfig::default());
    end.add_tunnel(Side::Client, client, near);
    let (_app, socket) = App::connected();
    let (_, mut opened) = end.open(socket);
    end.turn();
    drop(far);
    let refused = loop {
        match block_on(poll_once(&mut opened)) {
            Some(answer) => break answer,
            None => _ = end.turn(),
        }
    };
    let Some(Opened::No(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.flag, ResponseFlag::H2HandshakeFailure);

    let mut world = World::with_peer(Side::Client);
    let (_app, socket) = App::connected();
    let (_, mut opened) = world.near.open(socket);
    world.far.goaway(ErrorCode::NO_ERROR);
    world.far.shut_down();
    let refused = world.answer(&mut opened).unwrap();
    assert_eq!(refused.flag, ResponseFlag::Connect);
}

#[test]
fn a_connection_that_is_complete_outlives_its_tunnel() {
    for by_close_notify in [true, false] {
        let mut world = World::with_peer(Side::Client);
        let (mut app, socket) = App::narrow(8 * 1024);
        let (relay, mut opened) = world.near.open(socket);
        let stream = world.wait_for_request();
        world.far.respond(stream, 200, false);
        assert!(world.answer(&mut opened).is_none());
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|byte| byte as u8).collect();
        assert_eq!(world.far.send(stream, &bytes), bytes.len());
        world.far.finish(stream);
        app.end();
        world.until("the peer has seen the end", |world| world.far.saw(&Told::End(stream)));
        world.until("all of it is with the near end", |world| world.near.relay(relay).turn.far_ended);
        assert!(world.near.tunnel().buffered.bytes() > 100_000, "the application has not read it");
        // The peer has nothing more to do with this tunnel.
        if by_close_notify {
            world.far.close_notify();
        } else {
            world.far.abort();
        }
        world.until("the tunnel ends", |world| {
            world.near.tables.tunnels.get(world.near.tunnel).is_none_or(|tunnel| !tunnel.is_live())
        });
        let mut received = Vec::new();
        loop {
            match sees(&mut world, &mut app) {
                Took::Bytes(mut more) => received.append(&mut more),
                end => break assert_eq!(end, Took::End, "{} bytes came", received.len()),
            }
        }
        assert!(received == bytes);
        world.end_with_record(|record| {
            assert_eq!((record.traffic.received, &record.error), (1_000_000, &None))
        });
    }
}

#[test]
fn a_drained_server_finishes_what_runs_and_takes_what_was_on_its_way() {
    let mut world = World::with_peer(Side::Server);
    let (mut app, _, stream) = world.connect_from_peer();
    let key = world.near.tunnel;
    world.near.tables.draining = true;
    world.near.tables.drain_tunnel(key);
    world.near.stop_clock();
    // Sent before the peer can know.
    let (mut late_app, _, late) = world.connect_from_peer();
    world.until("the peer knows", |world| world.far.saw(&Told::Announced));
    for (stream, app) in [(stream, &mut app), (late, &mut late_app)] {
        world.far.send(stream, b"go on");
        assert_eq!(sees(&mut world, app), Took::Bytes(b"go on".to_vec()));
        world.far.finish(stream);
        assert_eq!(sees(&mut world, app), Took::End);
        app.end();
    }
    world.until("the tunnel ends with its last stream", |world| world.far.saw(&Told::Closed));
    world.far.shut_down();
    world.until("everything is gone", |world| world.near.is_empty());
    world.end();
}

#[test]
fn a_drained_server_without_streams_waits_for_one_that_is_on_its_way() {
    let mut world = World::with_peer(Side::Server);
    let key = world.near.tunnel;
    world.near.tables.draining = true;
    world.near.tables.drain_tunnel(key);
    world.near.stop_clock();
    let (mut app, _, stream) = world.connect_from_peer();
    world.far.send(stream, b"served");
    assert_eq!(sees(&mut world, &mut app), Took::Bytes(b"served".to_vec()));
    world.far.finish(stream);
    assert_eq!(sees(&mut world, &mut app), Took::End);
    app.end();
    world.until("the tunnel ends with its last stream", |world| world.far.saw(&Told::Closed));
    world.end();
}

#[test]
fn a_drained_server_that_nobody_wants_anything_of_ends_after_a_round_trip() {
    let mut world = World::with_peer(Side::Server);
    let key = world.near.tunnel;
    world.near.tables.draining = true;
    world.near.tables.drain_tunnel(key);
    world.near.stop_clock();
    world.until("the tunnel ends", |world| world.far.saw(&Told::Closed));
    world.end();
}

#[test]
fn a_tunnel_made_while_draining_ends_with_its_last_stream() {
    let mut world = World::with_peer(Side::Client);
    world.near.tables.draining = true;
    let (mut app, _, stream) = world.connect_to_peer();
    app.end();
    world.far.finish(stream);
    assert_eq!(sees(&mut world, &mut app), Took::End);
    world.until("the tunnel ends with its last stream", |world| world.far.saw(&Told::Closed));
    world.end();
}

#[test]
fn records_may_arrive_byte_by_byte() {
    let mut world = World::with_peer(Side::Server);
    world.far.writes_max = 1;
    let (mut app, _, stream) = world.connect_from_peer();
    let bytes: Vec<u8> = (0..3_000_u32).map(|byte| byte as u8).collect();
    assert_eq!(world.far.send(stream, &bytes[..1_000]), 1_000);
    assert_eq!(world.far.send(stream, &bytes[1_000..]), 2_000);
    world.far.finish(stream);
    let mut received = Vec::new();
    loop {
        match sees(&mut world, &mut app) {
            Took::Bytes(mut more) => received.append(&mut more),
            end => break assert_eq!(end, Took::End),
        }
    }
    assert!(received == bytes);
    app.end();
    world.until("the relay is gone", |world| world.near.is_settled());
    world.near.check_settled();
    world.end();
}

#[test]
fn records_may_be_cut_anywhere() {
    for cut in [2, 3, 5, 7, 1_000, 16_383, 16_384, 16_405, 16_406, 16_407, 50_000] {
        let mut world = World::with_peer(Side::Server);
        let (mut app, _, stream) = world.connect_from_peer();
        world.far.writes_max = cut;
        let bytes: Vec<u8> = (0..cut.max(100) as u32 * 20).map(|byte| (byte / 3) as u8).collect();
        let bytes = &bytes[..bytes.len().min(400_000)];
        let mut sent = 0;
        let mut received = Vec::new();
        world.until("everything has arrived", |world| {
            if sent < bytes.len() && world.far.out.is_empty() {
                sent += world.far.send(stream, &bytes[sent..bytes.len().min(sent + 33_333)]);
            }
            if let Took::Bytes(mut more) = app.read(usize::MAX) {
                received.append(&mut more);
            }
            received.len() == bytes.len()
        });
        assert!(received == bytes, "cut at {cut}");
        world.end();
    }
}

#[test]
fn garbage_ends_the_tunnel_with_an_alert() {
    type Nonsense = fn(&mut Peer);
    let table: [(&str, Nonsense, &str); 4] = [
        ("plaintext", |peer| peer.out.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n"), "unexpected_message"),
        (
            "a changed record",
            |peer| {
                peer.raw(b"\0\0\x08\x06\0\0\0\0\0pingping");
                *peer.out.last_mut().unwrap() ^= 1;
            },
            "bad_record_mac",
        ),
        ("a record too long", |peer| peer.out.extend_from_slice(&[23, 3, 3, 255, 255]), "record_overflow"),
        ("no HTTP/2", |peer| peer.raw(&[0xff; 64]), ""),
    ];
    for (what, nonsense, alert) in table {
        let mut world = World::with_peer(Side::Client);
        let (mut app, _, _) = world.connect_to_peer();
        nonsense(&mut world.far);
        assert_eq!(sees(&mut world, &mut app), Took::Reset, "{what}");
        world.until("the peer is told", |world| {
            world.far.told.iter().any(|told| match told {
                Told::Broken(cause) => !alert.is_empty() && cause.contains(alert),
                Told::Closed => alert.is_empty(),
                _ => false,
            })
        });
        assert!(
            !alert.is_empty()
                || world
                    .far
                    .told
                    .iter()
                    .any(|told| matches!(told, Told::GoAway(code) if *code != ErrorCode::NO_ERROR))
        );
        world.until("everything is gone", |world| {
            world.far.shut_down();
            world.near.is_empty()
        });
        world.end();
    }
}

#[test]
fn a_heartbeat_is_answered_and_its_absence_ends_the_tunnel() {
    let mut world = World::with_peer(Side::Client);
    let (mut app, _, _) = world.connect_to_peer();
    let key = world.near.tunnel;
    world.near.tables.tunnel_tick(key);
    assert!(world.near.tunnel().heartbeat.unanswered_since.is_some());
    world.until("the answer comes", |world| world.near.tunnel().heartbeat.unanswered_since.is_none());

    world.far.is_deaf = true;
    world.near.tables.tunnel_tick(key);
    world.near.tables.tunnel_tick(key);
    assert!(world.near.tunnel().is_live(), "one interval is not too long");
    let long_ago = world.near.driver.now().checked_sub(Duration::from_secs(20)).unwrap();
    world.near.tunnel().heartbeat.unanswered_since = Some(long_ago);
    world.near.tables.tunnel_tick(key);
    assert_eq!(sees(&mut world, &mut app), Took::Reset);
    world.until("everything is gone", |world| world.near.is_empty());
    assert!(world.near.records[0].error.as_ref().is_some_and(|cause| cause.contains("PING")));
    world.end();
}

#[test]
fn a_client_releases_a_tunnel_that_is_not_used_and_a_server_does_not() {
    for side in [Side::Client, Side::Server] {
        let mut world = World::with_peer(side);
        let key = world.near.tunnel;
        world.near.tables.tunnel_tick(key);
        assert!(world.near.tunnel().is_live());
        let release = world.near.tunnel().heartbeat.unused_release;
        world.near.tunnel().heartbeat.unused_release = Duration::ZERO;
        let (app, ..) = match side {
            Side::Client => world.connect_to_peer(),
            Side::Server => world.connect_from_peer(),
        };
        world.near.tables.tunnel_tick(key);
        assert!(world.near.tunnel().is_live(), "a tunnel with a stream is used");
        drop(app);
        world.near.tunnel().heartbeat.unused_release = release;
        world.far.finish_all();
        world.until("the relay is gone", |world| world.near.is_settled());
        world.near.tables.tunnel_tick(key);
        assert!(world.near.tunnel().is_live());
        world.near.tunnel().heartbeat.unused_release = Duration::ZERO;
        world.near.tables.tunnel_tick(key);
        assert_eq!(world.near.tunnel().is_live(), side == Side::Server);
        world.end();
    }
}

#[test]
fn a_peer_that_does_not_read_our_answers_is_not_read_from() {
    const PINGS: usize = 150_000;
    let mut world = World::with_narrow_peer(Side::Server, Some(8 * 1024));
    let (mut app, _, stream) = world.connect_from_peer();
    world.far.is_deaf = true;
    // Each PING wants an answer, and each byte of DATA gives back what a PING took from the budget against floods.
    let mut frames = b"\0\0\x08\x06\0\0\0\0\0pingping\0\0\x01\0\0".to_vec();
    frames.extend_from_slice(&stream.value().to_be_bytes());
    frames.push(b'!');
    let frames = frames.repeat(100);
    let (mut sent, mut most, mut received) = (0, 0, 0);
    let mut idle = 0;
    while sent < PINGS && idle < 200 {
        idle += 1;
        if world.far.out.is_empty() {
            world.far.raw(&frames);
            sent += 100;
            idle = 0;
        }
        world.turn();
        most = most.max(world.near.tunnel().unsent());
        if let Took::Bytes(bytes) = app.read(usize::MAX) {
            received += bytes.len();
        }
    }
    assert!(sent < PINGS, "a peer that does not read is read from all the same");
    assert!(most > 1024 * 1024 && most < 1536 * 1024, "{most} bytes of answers pile up");
    // It reads again, and everything goes on.
    world.far.is_blind = true;
    world.far.is_deaf = false;
    world.until("all of it arrives", |_| {
        if let Took::Bytes(bytes) = app.read(usize::MAX) {
            received += bytes.len();
        }
        received == sent
    });
    world.end();
}
