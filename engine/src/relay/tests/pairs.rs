//! Socket to socket: the same promises without a tunnel.

use super::fixture::{App, End, Random, Took, Transfer, World};

fn sees(world: &mut World<End>, app: &mut App) -> Took {
    let mut seen = Took::Nothing;
    world.until("the application sees something", |_| {
        seen = app.read(usize::MAX);
        seen != Took::Nothing
    });
    seen
}

fn carry(world: &mut World<End>, caller: &mut App, called: &mut App, bytes: u64, seed: u64, most: usize) {
    let mut random = Random::new(seed);
    let (mut there, mut back) = (Transfer::new(seed, bytes), Transfer::new(seed + 1, bytes));
    world.until("everything has arrived", |_| {
        there.write(caller, random.size(most));
        back.write(called, random.size(most));
        assert_ne!(there.read(called, random.size(most)), Took::Reset);
        assert_ne!(back.read(caller, random.size(most)), Took::Reset);
        there.is_received() && back.is_received()
    });
}

#[test]
fn bytes_of_any_size_arrive_in_any_interleaving() {
    for seed in 0..8 {
        let mut world = World::new();
        let (mut caller, mut called) = world.join();
        let most = [100, 5_000, 70_000, 400_000][seed as usize % 4];
        carry(&mut world, &mut caller, &mut called, 1_500_000, seed, most);
        caller.end();
        assert_eq!(sees(&mut world, &mut called), Took::End);
        called.end();
        assert_eq!(sees(&mut world, &mut caller), Took::End);
        world.settle();
        let record = &world.near.records[0];
        assert_eq!((record.traffic.sent, record.traffic.received), (1_500_000, 1_500_000));
        assert_eq!((world.records(), &record.error), ([1, 0], &None));
        world.end();
    }
}

#[test]
fn bulk_goes_both_ways_at_once() {
    let mut world = World::new();
    let ((mut caller, mut called), key) = world.join_with(App::connected(), App::connected());
    let (mut there, mut back) = (Transfer::new(1, 256 << 20), Transfer::new(2, 256 << 20));
    let mut was_bulk = [false; 2];
    world.until("everything has arrived", |world| {
        there.write(&mut caller, 1 << 20);
        back.write(&mut called, 1 << 20);
        there.read(&mut called, 1 << 20);
        back.read(&mut caller, 1 << 20);
        let modes = world.near.tables.pairs.get(key).unwrap().modes();
        was_bulk = [was_bulk[0] | modes[0], was_bulk[1] | modes[1]];
        there.is_received() && back.is_received()
    });
    assert_eq!(was_bulk, [true; 2]);
    for _ in 0..40 {
        caller.write_all(b"ping");
        world.until("the message arrives", |_| called.read(4) != Took::Nothing);
        called.write_all(b"pong");
        world.until("the answer arrives", |_| caller.read(4) != Took::Nothing);
    }
    assert_eq!(world.near.tables.pairs.get(key).unwrap().modes(), [false; 2]);
    drop((caller, called));
    world.end();
}

#[test]
fn a_half_closed_pair_goes_on_the_other_way() {
    for from_caller in [true, false] {
        let mut world = World::new();
        let (caller, called) = world.join();
        let (mut first, mut second) = if from_caller { (caller, called) } else { (called, caller) };
        first.end();
        assert_eq!(sees(&mut world, &mut second), Took::End);
        let mut back = Transfer::new(3, 2_000_000);
        world.until("the other direction ends", |_| {
            if !back.is_sent() {
                back.write(&mut second, usize::MAX);
                if back.is_sent() {
                    second.end();
                }
            }
            back.read(&mut first, usize::MAX) == Took::End
        });
        assert!(back.is_received());
        world.end();
    }
}

#[test]
fn the_end_comes_after_what_was_queued_before_it() {
    let mut world = World::new();
    let ((mut caller, mut called), _) = world.join_with(App::connected(), App::narrow(8 * 1024));
    let mut there = Transfer::new(1, 3_000_000);
    world.until("the end is sent, and everything before it received", |_| {
        if !there.is_sent() {
            there.write(&mut caller, usize::MAX);
            if there.is_sent() {
                caller.end();
            }
        }
        there.read(&mut called, 20_000) == Took::End
    });
    assert!(there.is_received());
    drop((caller, called));
    world.end();
}

#[test]
fn a_reset_is_a_reset_on_the_other_side() {
    // Bytes before it, whether they are read, whether the other side has ended.
    for (bytes, reads, ended) in
        [(0, true, false), (50_000, true, false), (4_000_000, false, false), (0, true, true)]
    {
        for from_caller in [true, false] {
            let mut world = World::new();
            let (caller, called) = world.join();
            let (mut from, mut into) = if from_caller { (caller, called) } else { (called, caller) };
            if ended {
                into.end();
                assert_eq!(sees(&mut world, &mut from), Took::End);
            }
            let mut transfer = Transfer::new(4, bytes);
            for _ in 0..300 {
                transfer.write(&mut from, usize::MAX);
                if reads {
                    assert_ne!(transfer.read(&mut into, usize::MAX), Took::Reset);
                }
                world.turn();
            }
            from.reset();
            loop {
                match sees(&mut world, &mut into) {
                    Took::Bytes(_) => {}
                    end => break assert_eq!(end, Took::Reset),
                }
            }
            world.settle();
            assert_eq!(world.records(), [1, 0]);
            assert!(world.near.records[0].error.is_some());
            world.end();
        }
    }
}

#[test]
fn a_reset_is_seen_while_nothing_is_received_and_after_an_end() {
    for after_end in [false, true] {
        let mut world = World::new();
        let ((mut caller, mut called), _) = world.join_with(App::connected(), App::narrow(8 * 1024));
        if after_end {
            caller.end();
            assert_eq!(sees(&mut world, &mut called), Took::End);
        } else {
            let mut there = Transfer::new(1, 1 << 30);
            let mut idle = 0;
            while idle < 300 {
                let moved = there.write(&mut caller, usize::MAX);
                world.turn();
                idle = if moved == 0 { idle + 1 } else { 0 };
            }
        }
        world.quiet();
        caller.reset();
        world.until("the other side is reset", |_| {
            // Behind an end it shows as the socket's error only.
            called.is_reset() || called.read(usize::MAX) == Took::Reset
        });
        world.end();
    }
}

#[test]
fn an_application_that_closes_with_unread_bytes_resets() {
    let mut world = World::new();
    let (mut caller, called) = world.join();
    caller.write_all(b"never read");
    world.until("the bytes are there", |_| called.peek() != Took::Nothing);
    drop(called);
    assert_eq!(sees(&mut world, &mut caller), Took::Reset);
    world.end();
}

#[test]
fn a_reader_that_stands_holds_its_sender_and_little_memory() {
    let mut world = World::new();
    let ((mut caller, mut called), key) = world.join_with(App::connected(), App::narrow(8 * 1024));
    let mut there = Transfer::new(1, 64 << 20);
    let (mut most, mut idle) = (0, 0);
    while idle < 300 {
        let moved = there.write(&mut caller, usize::MAX);
        world.turn();
        most = most.max(world.near.tables.pairs.get(key).unwrap().held());
        idle = if moved == 0 { idle + 1 } else { 0 };
    }
    assert!(!there.is_sent(), "the sender is held");
    // The lane's bound, and what a standing receive brings before it is called back.
    assert!(most < 3 << 20, "{most} bytes are held");
    world.until("it goes on where it stood", |_| {
        there.write(&mut caller, usize::MAX);
        there.read(&mut called, usize::MAX);
        there.is_received()
    });
    drop((caller, called));
    world.end();
}

#[test]
fn a_pod_that_leaves_resets_both() {
    let mut world = World::new();
    let ((mut caller, mut called), key) = world.join_with(App::connected(), App::connected());
    caller.write_all(b"on its way");
    world.turn();
    world.near.tables.drop_pair(key, "the pod left");
    for app in [&mut caller, &mut called] {
        world.until("the application is reset", |_| app.read(100) == Took::Reset);
    }
    assert_eq!(world.records(), [1, 0]);
    world.end();
}

#[test]
fn a_reset_that_a_send_meets_first_is_a_reset_all_the_same() {
    let mut world = World::new();
    let ((mut caller, mut called), key) = world.join_with(App::connected(), App::connected());
    let mut there = Transfer::new(1, 4 << 20);
    world.until("the receive is in bulk mode", |world| {
        there.write(&mut caller, 200_000);
        there.read(&mut called, usize::MAX);
        world.near.tables.pairs.get(key).unwrap().modes()[0]
    });
    world.until("all of it has arrived", |_| {
        there.read(&mut called, usize::MAX);
        there.received == there.sent
    });
    world.quiet();
    // The receive finds bytes and not the RST behind them; the send of what comes back meets that, and takes it from the
    // socket: the next receive finds an end.
    caller.write_all(&[1; 5_000]);
    caller.reset();
    called.write_all(&[2; 50_000]);
    loop {
        match sees(&mut world, &mut called) {
            Took::Bytes(_) => {}
            end => break assert_eq!(end, Took::Reset),
        }
    }
    world.end();
}
