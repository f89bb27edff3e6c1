//! The way of a byte allocates nothing, once a connection runs.

use super::fixture::{App, Connection, End, Turned, World};
use crate::counting::allocations;

/// Turns of an end, counting what they allocate and nothing else.
struct Meter {
    allocated: u64,
    turns: u64,
}

impl Meter {
    fn turn(&mut self, end: &mut End) {
        let before = allocations();
        end.turn();
        self.allocated += allocations() - before;
        self.turns += 1;
    }
}

/// Bytes of an application, without the fixture's own allocations.
struct Tap {
    app: App,
    moved: u64,
}

impl Tap {
    fn new(app: App) -> Self {
        Self { app, moved: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = std::io::Write::write(&mut self.app.socket, bytes).unwrap_or(0);
        self.moved += taken as u64;
        taken
    }

    fn read(&mut self, space: &mut [u8]) -> usize {
        std::io::Read::read(&mut self.app.socket, space).unwrap_or(0)
    }
}

/// Runs both ends until `until` bytes have been carried each way.
fn bulk(ends: &mut [&mut End], near: &mut Tap, far: &mut Tap, until: u64) -> Meter {
    let mut meter = Meter { allocated: 0, turns: 0 };
    let bytes = vec![1; 512 * 1024];
    let mut space = vec![0; 512 * 1024];
    let (mut there, mut back) = (0, 0);
    while there < until || back < until {
        near.write(&bytes);
        far.write(&bytes);
        for end in ends.iter_mut() {
            meter.turn(end);
        }
        there += far.read(&mut space) as u64;
        back += near.read(&mut space) as u64;
    }
    meter
}

/// So many exchanges of 64 bytes.
fn ping_pong(ends: &mut [&mut End], near: &mut Tap, far: &mut Tap, exchanges: usize) -> Meter {
    let mut meter = Meter { allocated: 0, turns: 0 };
    let mut space = [0; 64];
    for _ in 0..exchanges {
        assert_eq!(near.write(&[7; 64]), 64);
        while far.read(&mut space) == 0 {
            ends.iter_mut().for_each(|end| meter.turn(end));
        }
        assert_eq!(far.write(&space), 64);
        while near.read(&mut space) == 0 {
            ends.iter_mut().for_each(|end| meter.turn(end));
        }
    }
    meter
}

/// Empties what bulk has left on its way, so that messages meet a quiet connection.
fn empty(ends: &mut [&mut End], near: &mut Tap, far: &mut Tap) {
    let mut space = vec![0; 512 * 1024];
    let mut idle = 0;
    while idle < 1_000 {
        for end in ends.iter_mut() {
            end.turn();
        }
        let moved = near.read(&mut space) + far.read(&mut space);
        idle = if moved == 0 { idle + 1 } else { 0 };
    }
}

/// Lists grow to the most that was ever in them, and then no more: so many rounds may pass until nothing grows. What
/// allocates for each chunk would do so in every round.
const ROUNDS_MAX: usize = 12;

fn measure(ends: &mut [&mut End], near: App, far: App) {
    let (mut near, mut far) = (Tap::new(near), Tap::new(far));
    steady("bulk", || bulk(ends, &mut near, &mut far, 32 << 20));
    empty(ends, &mut near, &mut far);
    steady("64-byte messages", || ping_pong(ends, &mut near, &mut far, 1_000));
}

fn steady(what: &str, mut carry: impl FnMut() -> Meter) {
    let allocated: Vec<_> = (0..ROUNDS_MAX)
        .map(|_| carry())
        .map(|Meter { allocated, turns }| {
            assert!(turns > 100, "{turns} turns prove nothing");
            allocated
        })
        .collect();
    // One round without any proves that no chunk needs one; a list may still grow in another.
    assert!(allocated.contains(&0), "allocations of {what}, round by round: {allocated:?}");
    assert!(allocated[1..].iter().all(|allocated| *allocated < 20), "allocations of {what}: {allocated:?}");
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations() - before, 1);
}

#[test]
fn a_tunnel_allocates_nothing_for_what_it_carries() {
    let mut world = World::new();
    let Connection { near_app, far_app, .. } = world.connect();
    measure(&mut [&mut world.near, &mut world.far], near_app, far_app);
    world.end();
}

#[test]
fn a_pair_allocates_nothing_for_what_it_carries() {
    let mut world = World::new();
    let (caller, called) = world.join();
    measure(&mut [&mut world.near], caller, called);
    world.end();
}
