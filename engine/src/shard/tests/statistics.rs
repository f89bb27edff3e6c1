//! The figures of a shard, and what each pod has open.

use std::sync::Arc;

use futures_lite::future::{FutureExt, block_on, poll_once};

use super::super::{Answer, Command};
use super::bench::{Bench, config, shard};
use crate::relay::tests::fixture::{App, Took};

#[test]
fn the_figures_are_those_of_the_tables() {
    let mut bench = Bench::new();
    let (mut caller, mut called) = bench.connect();
    bench.turn();
    let figures = |bench: &Bench| bench.shard.figures().read(0);
    let now = figures(&bench);
    assert_eq!((now.tunnels, now.streams, now.pairs, now.setting_up), (2, 2, 0, 0));
    assert_eq!((now.handshakes, now.handshakes_failed, now.buffered_bytes), (2, 0, 0));
    assert!(now.bytes_in > 5 && now.bytes_out > 5, "{now:?}");
    let turns: u64 = now.turns.counts.iter().sum();
    assert!(turns > 0 && now.turns.sum >= now.turns.longest, "{now:?}");

    bench.until("something waits for the standing reader", |bench| {
        caller.write(&[7; 16_384]);
        figures(bench).buffered_bytes > 0
    });
    bench.until("it is read", |bench| {
        called.read(usize::MAX);
        figures(bench).buffered_bytes == 0
    });

    // Somebody who speaks no TLS.
    let (mut stranger, socket) = App::connected();
    bench.serve("server", crate::net::Port::Hbone, socket);
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n");
    bench.until("the handshake fails", |bench| figures(bench).handshakes_failed == 1);
    bench.until("the stranger is gone", |_| matches!(stranger.read(100), Took::End | Took::Reset));
    bench.end();
}

#[test]
fn a_shard_that_has_ended_lets_nobody_wait_for_an_answer() {
    let shard = shard(config(), Arc::default());
    let ask = || {
        let (answer, wait) = Answer::pair();
        shard.mailboxes[0].send(Command::Census { answer });
        wait
    };
    let before = ask();
    shard.end();
    let after = ask();
    for wait in [before.boxed_local(), after.boxed_local()] {
        assert!(matches!(block_on(poll_once(wait)), Some(None)), "it waits for ever");
    }
}

#[test]
fn each_pod_is_told_what_it_has_open() {
    let mut bench = Bench::new();
    let _connections: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    let mut census = bench.shard.census();
    census.sort_by(|one, other| one.uid.cmp(&other.uid));
    let counts: Vec<_> = census
        .iter()
        .map(|pod| (&*pod.uid, [pod.tunnels_out, pod.tunnels_in, pod.outbound, pod.inbound]))
        .collect();
    assert_eq!(counts, [("client", [1, 0, 3, 0]), ("server", [0, 1, 0, 3])]);
    bench.end();
}
