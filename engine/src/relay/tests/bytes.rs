//! Bytes arrive, all of them, once, in order.

use super::fixture::{App, Connection, End, Random, Took, Transfer, World};
use crate::shard::Key;

/// Moves what there is to move, one step of each application.
fn step(
    connection: &mut Connection,
    there: &mut Transfer,
    back: &mut Transfer,
    random: &mut Random,
    most: usize,
) {
    let Connection { near_app, far_app, .. } = connection;
    there.write(near_app, random.size(most));
    back.write(far_app, random.size(most));
    assert_ne!(there.read(far_app, random.size(most)), Took::Reset);
    assert_ne!(back.read(near_app, random.size(most)), Took::Reset);
}

fn carry(world: &mut World<End>, connection: &mut Connection, there: u64, back: u64, seed: u64, most: usize) {
    let mut random = Random::new(seed);
    let (mut there, mut back) = (Transfer::new(seed, there), Transfer::new(seed + 1, back));
    world.until("everything has arrived", |_| {
        step(connection, &mut there, &mut back, &mut random, most);
        there.is_received() && back.is_received()
    });
}

/// Both applications end, and see the other's end.
fn part(world: &mut World<End>, connection: &mut Connection) {
    connection.near_app.end();
    connection.far_app.end();
    for app in [&mut connection.near_app, &mut connection.far_app] {
        world.until("the application sees the end", |_| app.read(1) == Took::End);
    }
}

#[test]
fn of_any_size_in_any_interleaving() {
    for seed in 0..12 {
        let mut world = World::new();
        world.random = Random::new(seed);
        let mut connection = world.connect();
        let most = [100, 5_000, 70_000, 400_000][seed as usize % 4];
        carry(&mut world, &mut connection, 2_000_000, 1_500_000, seed, most);
        part(&mut world, &mut connection);
        world.settle();
        assert_eq!(world.records(), [1, 1]);
        let record = &world.near.records[0];
        assert_eq!((record.traffic.sent, record.traffic.received), (2_000_000, 1_500_000));
        assert_eq!(record.error, None);
        world.end();
    }
}

#[test]
fn of_many_connections_at_once() {
    let mut world = World::new();
    let mut connections: Vec<_> = (0..24).map(|_| world.connect()).collect();
    let mut random = Random::new(7);
    let mut transfers: Vec<_> = (0..connections.len() as u64)
        .map(|seed| (Transfer::new(seed, 1 << (10 + seed % 12)), Transfer::new(seed + 100, 300_000)))
        .collect();
    world.until("everything has arrived", |_| {
        for (connection, (there, back)) in connections.iter_mut().zip(&mut transfers) {
            step(connection, there, back, &mut random, 100_000);
        }
        transfers.iter().all(|(there, back)| there.is_received() && back.is_received())
    });
    for connection in &mut connections {
        part(&mut world, connection);
    }
    world.end();
}

#[test]
fn in_bulk_both_ways_at_once() {
    const BYTES: u64 = 256 << 20;
    let mut world = World::new();
    let mut connection = world.connect();
    let (mut there, mut back) = (Transfer::new(1, BYTES), Transfer::new(2, BYTES));
    let (mut was_bulk, mut bulk_streams) = ([false; 4], [0; 2]);
    world.until("everything has arrived", |world| {
        there.write(&mut connection.near_app, 1 << 20);
        back.write(&mut connection.far_app, 1 << 20);
        there.read(&mut connection.far_app, 1 << 20);
        back.read(&mut connection.near_app, 1 << 20);
        let seen = [
            world.near.relay(connection.near).intake.is_bulk(),
            world.far.relay(connection.far).intake.is_bulk(),
            world.near.tunnel().intake.is_bulk(),
            world.far.tunnel().intake.is_bulk(),
        ];
        for (was, is) in was_bulk.iter_mut().zip(seen) {
            *was |= is;
        }
        for (most, end) in bulk_streams.iter_mut().zip([&mut world.near, &mut world.far]) {
            *most = (*most).max(end.tunnel().bulk_streams);
        }
        there.is_received() && back.is_received()
    });
    assert_eq!(was_bulk, [true; 4], "every receive went into bulk mode");
    assert_eq!(bulk_streams, [1, 1], "the tunnel knew of its transfer");

    // Messages bring the receives back into chatty mode, and the tunnel is no transfer's any more.
    for _ in 0..40 {
        connection.near_app.write_all(b"ping");
        world.until("the message arrives", |_| connection.far_app.read(4) != Took::Nothing);
        connection.far_app.write_all(b"pong");
        world.until("the answer arrives", |_| connection.near_app.read(4) != Took::Nothing);
    }
    let chatty = |end: &End, key: Key| !end.relay(key).intake.is_bulk();
    assert!(chatty(&world.near, connection.near) && chatty(&world.far, connection.far));
    assert!(!world.near.tunnel().intake.is_bulk() && !world.far.tunnel().intake.is_bulk());
    assert_eq!((world.near.tunnel().bulk_streams, world.far.tunnel().bulk_streams), (0, 0));

    part(&mut world, &mut connection);
    world.settle();
    let record = &world.far.records[0];
    assert_eq!((record.traffic.sent, record.traffic.received), (BYTES + 160, BYTES + 160));
    world.end();
}

#[test]
fn right_behind_the_request_before_the_application_is_connected() {
    let mut world = World::new();
    let (mut near_app, near_socket) = App::connected();
    let mut there = Transfer::new(3, 300_000);
    let (near, mut opened) = world.near.open(near_socket);
    // A client of ours waits for the answer. One that does not is a peer by hand: see `endings`.
    there.write(&mut near_app, 300_000);
    world.until("the request arrives", |world| !world.far.requests.is_empty());
    let (mut far_app, far_socket) = App::connected();
    let far = world.far.requests.pop_front().unwrap().relay;
    world.far.tables.attach_app(far, far_socket, &[]);
    assert!(world.answer(&mut opened).is_none());
    world.until("everything has arrived", |_| {
        there.write(&mut near_app, 300_000);
        there.read(&mut far_app, 300_000);
        there.is_received()
    });
    part(&mut world, &mut Connection { near_app, far_app, near, far });
    world.end();
}
