#![allow(clippy::unwrap_used)]

use std::thread;

use futures_lite::future::block_on;

use super::*;
use crate::uring::{Completion, Driver, DriverConfig};

/// An engine whose mailboxes the test reads.
fn with_shards(drivers: &[Driver]) -> Engine {
    let mailbox = |driver: &Driver| Arc::new(Mailbox::new(driver.doorbell()));
    let shards = drivers.iter().map(|driver| ShardHandle { mailbox: mailbox(driver), thread: None });
    Engine { shards: shards.collect(), reports: Arc::default(), pods: Mutex::default() }
}

fn pod() -> Pod {
    let text = || Arc::<str>::from("client");
    Pod { uid: text(), name: text(), namespace: text(), service_account: text(), netns: None }
}

/// Turns until the bell of this shard has been rung.
fn await_ring(driver: &Driver) {
    let mut rung = false;
    while !rung {
        driver.turn(true, &mut |completion| rung |= matches!(completion, Completion::Doorbell)).unwrap();
    }
}

/// Otherwise the first connection could be handed to one that does not know whose it is, and would be reset.
#[test]
fn no_shard_listens_for_a_pod_before_all_have_been_told_of_it() {
    let drivers = [(); 2].map(|()| Driver::new(&DriverConfig::default()).unwrap());
    let engine = with_shards(&drivers);
    let [first, last] = [0, 1].map(|id| Arc::clone(&engine.shards[id].mailbox));
    while last.offer(Command::Drain).is_ok() {}
    await_ring(&drivers[1]);
    let (before, after) = thread::scope(|scope| {
        let added = scope.spawn(|| block_on(engine.add_pod(pod())));
        // It rings again when it finds the mailbox full.
        await_ring(&drivers[1]);
        let before: Vec<_> = std::iter::from_fn(|| first.next()).map(kind).collect();
        // Commands are dropped, and with them the answers it waits for: it gives up.
        let mut after = Vec::new();
        while !added.is_finished() {
            after.extend(first.next().map(kind));
            last.next();
            thread::yield_now();
        }
        (before, after)
    });
    assert_eq!(before, ["AddPod"], "the last one does not know of it yet");
    assert_eq!(after, ["Listen", "RemovePod"]);
}

fn kind(command: Command) -> &'static str {
    match command {
        Command::AddPod { .. } => "AddPod",
        Command::Listen { .. } => "Listen",
        Command::RemovePod { .. } => "RemovePod",
        _ => "another",
    }
}
