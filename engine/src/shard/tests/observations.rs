//! What is told of a connection while it lives.

use std::collections::HashMap;

use super::bench::Bench;
use crate::observe::{ConnectionId, Direction, Observation, Security, Traffic};
use crate::relay::tests::fixture::{App, Took};

/// Goes round once, and returns what was told.
fn round(bench: &mut Bench) -> HashMap<ConnectionId, Traffic> {
    bench.observed.clear();
    bench.shard.tables.borrow_mut().progress.begin();
    bench.until("the round is over", |bench| bench.shard.tables.borrow().progress.is_over());
    let told = bench.observed.drain(..).map(|observation| match observation {
        Observation::Progress { connection, traffic } => (connection.id, traffic),
        other => panic!("{other:?}"),
    });
    told.collect()
}

fn exchange(bench: &mut Bench, from: &mut App, to: &mut App, bytes: usize) {
    from.write_all(&vec![7; bytes]);
    let mut came = 0;
    bench.until("it arrives", |_| {
        if let Took::Bytes(bytes) = to.read(usize::MAX) {
            came += bytes.len();
        }
        came == bytes
    });
}

#[test]
fn a_connection_is_told_of_when_it_stands_while_it_lives_and_when_it_ends() {
    let mut bench = Bench::new();
    let mut connections: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    let opened: Vec<_> = bench.observed.iter().map(Observation::connection).cloned().collect();
    assert_eq!(opened.len(), 6, "both ends of each: {opened:#?}");
    for connection in &opened {
        let inbound = connection.direction == Direction::Inbound;
        assert_eq!(connection.security, Security::MutualTls);
        // On loopback the tunnel comes from an address that is no workload's.
        let source = connection.source_workload.as_ref().map(|workload| &*workload.name);
        assert_eq!(source, (!inbound).then_some("client"));
        assert_eq!(connection.destination_workload.as_ref().map(|workload| &*workload.name), Some("server"));
        assert!(connection.source_identity.is_some() && connection.destination_identity.is_some());
        assert_eq!(connection.verdict.is_some(), inbound, "{connection:?}");
    }

    let greeted = Traffic { sent: 5, received: 0 };
    let told = round(&mut bench);
    assert_eq!(told.len(), 6, "in turns of two");
    assert!(told.values().all(|traffic| *traffic == greeted), "{told:?}");
    assert!(round(&mut bench).is_empty(), "nothing was carried since");

    let (caller, called) = &mut connections[1];
    exchange(&mut bench, caller, called, 1_000);
    exchange(&mut bench, called, caller, 20);
    let told = round(&mut bench);
    assert_eq!(told.len(), 2);
    assert!(told.values().all(|traffic| *traffic == Traffic { sent: 1_000, received: 20 }), "{told:?}");

    for (caller, called) in &mut connections {
        exchange(&mut bench, caller, called, 1);
        caller.end();
        called.end();
    }
    bench.until("all is told", |bench| bench.records.len() == 6);
    let busy: Vec<_> = bench.records.iter().filter(|closed| closed.traffic.sent == 1_006).collect();
    assert_eq!(busy.len(), 2);
    for closed in &bench.records {
        assert!(closed.stood && opened.iter().any(|connection| connection.id == closed.connection.id));
        assert_eq!(closed.unreported, Traffic { sent: 1, received: 0 });
    }
    bench.end();
}
