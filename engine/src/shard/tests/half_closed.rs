//! Connections of which one side has ended, and the other was forgotten.

use std::io::Write;

use super::super::round::Met;
use super::bench::Bench;
use crate::relay::tests::fixture::{App, Took};

/// Looks at every connection once.
fn round(bench: &mut Bench) {
    bench.shard.tables.borrow_mut().progress.begin();
    bench.until("the round is over", |bench| bench.shard.tables.borrow().progress.is_over());
}

/// As if an hour had gone by since the last look.
fn an_hour_later(bench: &Bench) {
    let mut tables = bench.shard.tables.borrow_mut();
    for place in 0..tables.places() {
        match tables.met(place) {
            Some(Met::Relay(key)) => tables.relays.get_mut(key).unwrap().half_closed.backdate(),
            Some(Met::Pair(key)) => tables.pairs.get_mut(key).unwrap().half_closed.backdate(),
            None => {}
        }
    }
}

fn end(bench: &mut Bench, (from, to): &mut (App, App)) {
    from.end();
    bench.until("the other side sees it", |_| to.read(usize::MAX) == Took::End);
}

#[test]
fn what_was_forgotten_is_ended_and_says_why_and_nothing_else_is() {
    let mut bench = Bench::new();
    let mut forgotten = bench.connect();
    let mut plain = bench.connect_plain();
    let mut answered = bench.connect();
    let mut open = bench.connect();
    for half in [&mut forgotten, &mut plain, &mut answered] {
        end(&mut bench, half);
    }
    round(&mut bench);
    assert_eq!(bench.records.len(), 0, "it has just become so");

    an_hour_later(&bench);
    answered.1.write_all(b"here it is");
    bench.until("it arrives", |_| answered.0.read(10) == Took::Bytes(b"here it is".to_vec()));
    round(&mut bench);
    bench.until("both ends of the one, and the pair", |bench| bench.records.len() == 3);
    for closed in &bench.records {
        assert!(closed.error.as_ref().is_some_and(|error| error.contains("an hour ago")), "{closed:?}");
    }
    for (_, side) in [&mut forgotten, &mut plain] {
        // Behind a FIN the kernel shows an RST to who writes alone.
        bench.until("who was waited for learns of it", |_| side.socket.write(b"late").is_err());
    }

    round(&mut bench);
    open.0.write_all(b"still here");
    bench.until("it arrives", |_| open.1.read(10) == Took::Bytes(b"still here".to_vec()));
    answered.1.end();
    bench.until("an end like any other", |bench| bench.records.len() == 5);
    assert!(bench.records[3..].iter().all(|closed| closed.error.is_none()), "{:?}", bench.records);
    bench.end();
}
