//! Anything at any time, from a seed: writes, reads, ends, resets, closes, tunnels that break; and what must hold all the
//! same: bytes arrive in order, an end is never seen before everything was, and at last nothing is left.

use super::fixture::{App, Connection, End, Random, Took, Transfer, World};

const STEPS: usize = 2_500;
const CONNECTIONS_MAX: usize = 12;

/// One application of a connection, and what it knows.
struct Side {
    app: Option<App>,
    ended: bool,
    /// It was reset, or has seen the other's end: nothing more comes.
    done: bool,
}

/// A connection under test: who calls, who is called, and what goes each way.
struct Trial {
    sides: [Side; 2],
    ways: [Transfer; 2],
    /// An abrupt end is no surprise: something of it was broken by us.
    broken: bool,
}

impl Trial {
    fn new(near: App, far: App, seed: u64) -> Self {
        let side = |app| Side { app: Some(app), ended: false, done: false };
        let way = |seed| Transfer::new(seed, u64::MAX);
        Self { sides: [side(near), side(far)], ways: [way(seed), way(seed + 1)], broken: false }
    }

    fn act(&mut self, random: &mut Random) {
        let from = random.below(2);
        let size = random.size(300_000);
        match random.below(100) {
            0..40 => self.write(from, size),
            40..88 => self.read(1 - from, size),
            88..95 => self.end(from),
            95..97 => self.reset(from),
            97..98 => self.close(from),
            _ => {}
        }
    }

    fn write(&mut self, from: usize, size: usize) {
        let Side { app: Some(app), ended: false, .. } = &mut self.sides[from] else { return };
        match app.try_write(self.ways[from].next(size)) {
            Some(taken) => self.ways[from].sent += taken as u64,
            // A socket tells of its reset once; a read after that would show an end.
            None => {
                assert!(self.broken, "an application cannot write on a connection that nobody broke");
                self.sides[from].done = true;
            }
        }
    }

    fn read(&mut self, into: usize, size: usize) {
        let Side { app: Some(app), done: false, .. } = &mut self.sides[into] else { return };
        let way = &mut self.ways[1 - into];
        match way.read(app, size) {
            Took::End => {
                assert!(self.sides[1 - into].ended, "an end that nobody sent");
                let way = &self.ways[1 - into];
                assert_eq!(way.received, way.sent, "an end before everything had come");
                self.sides[into].done = true;
            }
            Took::Reset => {
                assert!(self.broken, "a reset that nobody sent");
                self.sides[into].done = true;
            }
            Took::Bytes(_) | Took::Nothing => {}
        }
        assert!(self.ways[1 - into].received <= self.ways[1 - into].sent);
    }

    fn end(&mut self, from: usize) {
        let Side { app: Some(app), ended, .. } = &mut self.sides[from] else { return };
        if !std::mem::replace(ended, true) {
            app.try_end();
        }
    }

    fn reset(&mut self, from: usize) {
        if let Some(app) = self.sides[from].app.take() {
            self.broken = true;
            app.reset();
        }
    }

    /// Closes without a word: an end, or a reset if something is unread or still comes.
    fn close(&mut self, from: usize) {
        let Side { app, ended, .. } = &mut self.sides[from];
        if app.take().is_some() {
            *ended = true;
            self.broken = true;
        }
    }

    /// Ends and reads everything there is.
    fn finish(&mut self) -> bool {
        for side in 0..2 {
            self.end(side);
            self.read(side, usize::MAX);
        }
        self.sides.iter().all(|side| side.done || side.app.is_none())
    }
}

fn run(seed: u64, join: impl Fn(&mut World<End>) -> (App, App), breaks: impl Fn(&mut World<End>)) {
    let mut world = World::new();
    let mut random = Random::new(seed);
    world.random = Random::new(seed + 1);
    let mut trials: Vec<Trial> = Vec::new();
    let mut opened = 0;
    for step in 0..STEPS as u64 {
        if trials.len() < CONNECTIONS_MAX && random.below(20) == 0 {
            let (near, far) = join(&mut world);
            trials.push(Trial::new(near, far, seed * 1_000 + step));
            opened += 1;
        }
        for _ in 0..random.below(4) {
            if !trials.is_empty() {
                let at = random.below(trials.len());
                trials[at].act(&mut random);
            }
        }
        if random.below(800) == 0 {
            trials.iter_mut().for_each(|trial| trial.broken = true);
            breaks(&mut world);
        }
        for _ in 0..random.below(3) {
            world.turn();
        }
        trials.retain(|trial| trial.sides.iter().any(|side| side.app.is_some() && !side.done));
    }
    assert!(opened > 20, "{opened} connections");
    world.until("every connection has come to its end", |_| {
        trials.iter_mut().map(Trial::finish).fold(true, |all, one| all & one)
    });
    drop(trials);
    world.settle();
    world.check_records(opened);
    world.end();
}

#[test]
fn through_a_tunnel() {
    for seed in 0..12 {
        run(
            seed,
            |world| {
                let Connection { near_app, far_app, .. } = world.connect();
                (near_app, far_app)
            },
            |world| {
                let key = world.near.tunnel;
                if world.random.below(2) == 0 {
                    world.near.tables.close_tunnel(key, "broken");
                } else {
                    world.near.tables.end_tunnel(key, "over");
                }
                world.add_tunnel();
            },
        );
    }
}

#[test]
fn from_socket_to_socket() {
    for seed in 100..108 {
        run(seed, World::join, |_| {});
    }
}
