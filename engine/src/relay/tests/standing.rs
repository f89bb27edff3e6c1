//! A reader that stands holds its own stream and nothing else (rules of a tunnel, 1), and a transfer delays a message
//! by little (2).

use super::fixture::{App, Connection, End, Random, Took, Transfer, World};
use crate::hbone::frame::HEAD_BYTES;
use crate::hbone::{Settings, StreamId, limits};
use crate::pool::{Side, TUNNEL_UNSENT_BYTES_MAX};
use crate::relay::outgoing::MESSAGE_BYTES;
use crate::shard::Key;
use crate::tls::{RECORD_DATA_MAX_BYTES, RECORD_OVERHEAD_BYTES};

const WINDOW_BYTES: usize = limits::STREAM_WINDOW_BYTES as usize;

fn sendable(end: &mut End, relay: Key) -> usize {
    let stream = end.relay(relay).stream;
    end.tunnel().session.sendable(stream)
}

#[test]
fn eight_standing_readers_hold_up_nobody() {
    let mut world = World::new();
    let mut standing: Vec<_> =
        (0..8).map(|_| world.connect_with(App::connected(), App::narrow(8 * 1024))).collect();
    let mut fed: Vec<_> = (0..8).map(|seed| Transfer::new(seed, 1 << 30)).collect();
    world.until("every window is used up", |world| {
        let mut left = 0;
        for (index, (connection, transfer)) in standing.iter_mut().zip(&mut fed).enumerate() {
            // The first is fed with messages, as fast as the proxy takes them one by one.
            let (times, size) = if index == 0 { (200, 64) } else { (1, usize::MAX) };
            for _ in 0..times {
                transfer.write(&mut connection.near_app, size);
            }
            left += sendable(&mut world.near, connection.near);
        }
        left == 0
    });

    let mut ninth = world.connect();
    let (mut there, mut back) = (Transfer::new(9, 64 << 20), Transfer::new(10, 8 << 20));
    let mut most = 0;
    world.until("the ninth has carried everything", |world| {
        there.write(&mut ninth.near_app, usize::MAX);
        back.write(&mut ninth.far_app, usize::MAX);
        there.read(&mut ninth.far_app, usize::MAX);
        back.read(&mut ninth.near_app, usize::MAX);
        most = most.max(world.far.tunnel().buffered.bytes());
        there.is_received() && back.is_received()
    });
    assert!(most <= 9 * WINDOW_BYTES, "{most} bytes wait for applications");
    assert!(most >= 7 * WINDOW_BYTES, "only {most} bytes wait: the readers do not stand");

    // They were not forgotten: each goes on when its reader does.
    for (connection, transfer) in standing.iter_mut().zip(&mut fed) {
        let before = transfer.received;
        world.until("the reader has read more than the window", |_| {
            transfer.write(&mut connection.near_app, usize::MAX);
            transfer.read(&mut connection.far_app, usize::MAX);
            transfer.received - before > 2 * WINDOW_BYTES as u64
        });
    }
    drop((standing, ninth));
    world.end();
}

#[test]
fn a_tunnel_that_holds_too_much_takes_no_more_streams() {
    let mut world = World::with_peer(Side::Server);
    let limits = [(crate::pool::TUNNEL_BUFFERED_BYTES_MAX, true), (0, false)];
    for (buffered, refuses) in limits {
        world.near.tunnel().buffered += buffered;
        let stream = world.far.connect();
        let mut refused = None;
        world.until("the request is seen", |world| {
            refused = refused.or_else(|| world.far.takes_reset(stream));
            refused.is_some() || !world.near.requests.is_empty()
        });
        world.near.tunnel().buffered -= buffered;
        assert_eq!(refused, refuses.then_some(crate::hbone::ErrorCode::REFUSED_STREAM));
    }
    world.end();
}

/// A peer with small windows that gives no credit back by itself.
fn stingy() -> Settings {
    Settings { stream_window: 65_535, streams_max: 1_000, ..Settings::server() }
}

/// So many connections whose peer does not read, each with something that waits. `size` is that of one write.
fn stand(world: &mut World<super::fixture::Peer>, count: usize, size: usize) -> Vec<(App, Key, StreamId)> {
    let mut standing: Vec<_> = (0..count).map(|_| world.connect_to_peer()).collect();
    let bytes = vec![1; size];
    for _ in 0..(200_000 / size) {
        for (app, ..) in &mut standing {
            app.write(&bytes);
        }
        world.turn();
    }
    world.quiet();
    for (_, relay, _) in &standing {
        let relay = *relay;
        assert_eq!(sendable(&mut world.near, relay), 0, "the window is used up");
        assert!(!world.near.relay(relay).held.is_empty(), "something waits");
    }
    standing
}

#[test]
fn any_number_of_standing_readers_leaves_buffers_for_others() {
    for size in [1_000, 100_000] {
        let mut world = World::with_frugal_peer(Side::Client, None, stingy());
        let standing = stand(&mut world, 160, size);
        let (mut app, _, stream) = world.connect_to_peer();
        let mut sent = 0_usize;
        let mut received = 0;
        let bytes = [7; 50_000];
        world.until("another connection carries everything", |world| {
            if sent < 20_000_000 {
                // Messages, and between them so much at once that it counts as a transfer.
                sent += app.write(if sent.is_multiple_of(3) { &bytes[..64] } else { &bytes });
            }
            let came = world.far.takes_data(stream);
            world.far.release(stream, came.len());
            received += came.len();
            received == sent && sent >= 20_000_000
        });
        drop((standing, app));
        world.end();
    }
}

#[test]
fn what_waits_is_sent_when_the_peer_gives_credit() {
    let mut world = World::with_frugal_peer(Side::Client, None, stingy());
    let mut connections: Vec<_> = (0..100).map(|_| world.connect_to_peer()).collect();
    let mut transfers: Vec<_> = (0..100).map(|seed| Transfer::new(seed, 300_000)).collect();
    let mut random = Random::new(3);
    world.until("all is with the near end, or in its sockets", |_| {
        for ((app, ..), transfer) in connections.iter_mut().zip(&mut transfers) {
            transfer.write(app, random.size(20_000));
        }
        transfers.iter().all(Transfer::is_sent)
    });
    let patterns: Vec<_> = (0..100).map(super::fixture::Pattern::new).collect();
    let mut received = vec![0; 100];
    world.until("all has arrived", |world| {
        for (index, (_, _, stream)) in connections.iter().enumerate() {
            let came = world.far.takes_data(*stream);
            patterns[index].check(received[index], &came);
            received[index] += came.len() as u64;
            world.far.release(*stream, came.len());
        }
        received.iter().all(|bytes| *bytes == 300_000)
    });
    drop(connections);
    world.end();
}

#[test]
fn a_message_waits_behind_little_while_transfers_run() {
    for transfers in [1, 5] {
        let mut world = World::with_socket_buffers(Some(64 * 1024));
        let mut bulk: Vec<_> = (0..transfers)
            .map(|seed| (world.connect(), Transfer::new(seed, 1 << 40), Transfer::new(seed + 50, 1 << 40)))
            .collect();
        let Connection { mut near_app, mut far_app, .. } = world.connect();
        let (mut messages, mut answered) = (0, true);
        let mut most = [0; 2];
        world.until("a hundred messages have been answered", |world| {
            for (connection, there, back) in &mut bulk {
                there.write(&mut connection.near_app, usize::MAX);
                back.write(&mut connection.far_app, usize::MAX);
                there.read(&mut connection.far_app, usize::MAX);
                back.read(&mut connection.near_app, usize::MAX);
            }
            for (most, end) in most.iter_mut().zip([&mut world.near, &mut world.far]) {
                *most = (*most).max(end.tunnel().unsent());
            }
            let runs = bulk.iter().all(|(_, there, back)| there.received.min(back.received) > 8 << 20);
            if answered && runs {
                near_app.write_all(&[5; 64]);
                (messages, answered) = (messages + 1, false);
            }
            if let Took::Bytes(bytes) = far_app.read(64) {
                far_app.write_all(&bytes);
            }
            answered |= near_app.read(64) != Took::Nothing;
            messages == 100 && answered
        });
        let beyond = beyond_budget(transfers as usize);
        for most in most {
            assert!(most > TUNNEL_UNSENT_BYTES_MAX / 2, "only {most} bytes wait: no transfer runs");
            assert!(most < TUNNEL_UNSENT_BYTES_MAX + beyond, "{most} bytes are in front of a message");
        }
        drop((bulk, near_app, far_app));
        world.end();
    }
}

/// What may wait in a tunnel on top of its budget while so many transfers and one dialogue run, sealed.
fn beyond_budget(transfers: usize) -> usize {
    // The frame that a byte of room lets in, cut in two where its end would be a runt.
    let (frames, frame) = (2, limits::DATA_PAYLOAD_BYTES_MAX + limits::DATA_RUNT_BYTES - 1);
    // The end of what each transfer has received counts as a message; the dialogue has one message under way.
    let (ends, message) = (transfers * (MESSAGE_BYTES - 1), 64);
    // Credit that the peer has not read is part of its window, and given back by so much at a time.
    let settings = Settings::client();
    let credits = (transfers + 1) * settings.stream_window.div_ceil(settings.credit_batch) as usize;
    let pieces = frames + transfers + 1 + credits;
    let plain = pieces * HEAD_BYTES + frame + ends + message + 4 * credits;
    // Full records, and at most one that is not full for each piece.
    plain + (plain / RECORD_DATA_MAX_BYTES + pieces) * RECORD_OVERHEAD_BYTES
}

#[test]
fn transfers_in_one_tunnel_share_it_evenly() {
    let mut world = World::with_socket_buffers(Some(64 * 1024));
    let mut bulk: Vec<_> = (0..6).map(|seed| (world.connect(), Transfer::new(seed, 1 << 40))).collect();
    let run = |world: &mut World<End>, bulk: &mut Vec<(Connection, Transfer)>, until: u64| {
        world.until("enough was carried", |_| {
            for (connection, transfer) in bulk.iter_mut() {
                transfer.write(&mut connection.near_app, usize::MAX);
                transfer.read(&mut connection.far_app, usize::MAX);
            }
            bulk.iter().map(|(_, transfer)| transfer.received).sum::<u64>() > until
        });
    };
    run(&mut world, &mut bulk, 24 << 20);
    let before: Vec<_> = bulk.iter().map(|(_, transfer)| transfer.received).collect();
    run(&mut world, &mut bulk, 96 << 20);
    let carried: Vec<_> =
        bulk.iter().zip(before).map(|((_, transfer), before)| (transfer.received - before) >> 10).collect();
    let (least, most) = (carried.iter().min().unwrap(), carried.iter().max().unwrap());
    assert!(least * 2 > *most, "KiB carried by each: {carried:?}");
    drop(bulk);
    world.end();
}
