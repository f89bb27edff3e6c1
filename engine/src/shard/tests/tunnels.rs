//! Who makes a tunnel, who waits for it, and which one a connection gets.

use std::cell::RefCell;
use std::rc::Rc;

use super::bench::{Bench, config};
use crate::engine::EngineConfig;
use crate::mesh::Identity;
use crate::pool::{Buffered, PoolKey, SHARD_BUFFERED_BYTES_MAX, SetupError};
use crate::relay::tests::fixture::{App, Took, Transfer};
use crate::shard::Key;

type Outcomes = Rc<RefCell<Vec<Result<Key, SetupError>>>>;

/// So many tasks that want a tunnel for a key.
fn wanting(bench: &Bench, key: &PoolKey, tasks: usize) -> Outcomes {
    let outcomes = Outcomes::default();
    for _ in 0..tasks {
        let (shard, pod, key) = (Rc::clone(&bench.shard), Rc::clone(&bench.client), key.clone());
        let outcomes = Rc::clone(&outcomes);
        bench.shard.spawn(&bench.client, async move {
            let made = shard.tunnel(&pod, &key, None).await;
            outcomes.borrow_mut().push(made);
        });
    }
    outcomes
}

fn streams(bench: &Bench) -> Vec<usize> {
    let tables = bench.shard.tables.borrow();
    let tunnels = tables.tunnels.keys().into_iter().filter_map(|key| tables.tunnels.get(key));
    let clients = tunnels.filter(|tunnel| tunnel.facts.side == crate::pool::Side::Client);
    let mut streams: Vec<_> = clients.map(|tunnel| tunnel.relays).collect();
    streams.sort_unstable();
    streams
}

#[test]
fn a_connection_goes_all_the_way() {
    let mut bench = Bench::new();
    let (mut caller, mut called) = bench.connect();
    let (mut there, mut back) = (Transfer::new(1, 3_000_000), Transfer::new(2, 2_000_000));
    bench.until("everything has arrived", |_| {
        there.write(&mut caller, usize::MAX);
        back.write(&mut called, usize::MAX);
        there.read(&mut called, usize::MAX);
        back.read(&mut caller, usize::MAX);
        there.is_received() && back.is_received()
    });
    caller.end();
    bench.until("the end arrives", |_| called.read(1) == Took::End);
    called.end();
    bench.until("the end arrives", |_| caller.read(1) == Took::End);
    bench.until("both ends have told of it", |bench| bench.records.len() == 2);
    for record in &bench.records {
        assert_eq!((record.traffic.sent, record.traffic.received), (3_000_005, 2_000_000), "{record:?}");
        assert_eq!((record.refused, &record.error), (false, &None));
    }
    bench.end();
}

#[test]
fn one_makes_the_tunnel_and_the_others_wait_for_it() {
    let mut bench = Bench::new();
    let outcomes = wanting(&bench, &bench.key(), 20);
    bench.until("all have one", |_| outcomes.borrow().len() == 20);
    let outcomes = outcomes.borrow();
    let first = outcomes[0].as_ref().unwrap();
    assert!(outcomes.iter().all(|made| made.as_ref().unwrap() == first));
    assert_eq!((bench.knocked, bench.tunnels()), (1, 2));
    bench.end();
}

#[test]
fn when_it_cannot_be_made_all_are_told_and_nothing_is_remembered() {
    let mut bench = Bench::new();
    let mut key = bench.key();
    key.target.set_port(1); // Nobody listens.
    let outcomes = wanting(&bench, &key, 5);
    bench.until("all are told", |_| outcomes.borrow().len() == 5);
    assert!(outcomes.borrow().iter().all(|made| matches!(made, Err(SetupError::Connect { .. }))));
    assert!(bench.shard.pool.borrow().is_empty(), "a key without a tunnel is remembered");
    bench.end();
}

#[test]
fn a_peer_of_another_identity_is_told_and_not_used() {
    let mut bench = Bench::new();
    let mut key = bench.key();
    key.expected = vec![Identity::new(&key.source.trust_domain, "shop", "somebody")];
    let outcomes = wanting(&bench, &key, 1);
    bench.until("it is refused", |_| outcomes.borrow().len() == 1);
    let outcomes = outcomes.borrow();
    let error = outcomes[0].as_ref().unwrap_err();
    assert!(matches!(error, SetupError::Identity { .. }));
    let text = error.to_string();
    assert!(text.contains("sa/somebody") && text.contains("sa/server"), "{text}");
    assert!(bench.shard.pool.borrow().is_empty());
    bench.until("the other end of it is gone", |bench| bench.is_empty());
    bench.end();
}

#[test]
fn whoever_waits_takes_over_from_a_maker_that_is_cancelled() {
    let mut bench = Bench::new();
    bench.door_is_shut = true;
    let key = bench.key();
    let maker = {
        let (shard, pod, key) = (Rc::clone(&bench.shard), Rc::clone(&bench.client), key.clone());
        bench.shard.executor.spawn(async move { shard.tunnel(&pod, &key, None).await.is_ok() })
    };
    bench.until("the first knocks", |bench| bench.knocked == 1);
    let outcomes = wanting(&bench, &key, 3);
    bench.turns(20);
    assert_eq!(bench.knocked, 1, "the others wait");
    drop(maker);
    bench.until("another one knocks", |bench| bench.knocked == 2);
    bench.at_the_door.remove(0);
    bench.open_door();
    bench.until("all have a tunnel", |_| outcomes.borrow().len() == 3);
    assert!(outcomes.borrow().iter().all(Result::is_ok));
    assert_eq!(bench.knocked, 2);
    bench.end();
}

#[test]
fn a_full_tunnel_is_followed_by_another_and_returns_when_streams_end() {
    let mut bench = Bench::with(EngineConfig { tunnel_streams_max: 3, ..config() });
    let mut connections: Vec<_> = (0..4).map(|_| bench.connect()).collect();
    assert_eq!(streams(&bench), [1, 3]);
    connections.push(bench.connect());
    assert_eq!(streams(&bench), [2, 3]);
    // Two of the three end.
    let settled = |bench: &mut Bench, expected: &[usize]| {
        bench.until("the streams end", |bench| streams(bench) == expected);
    };
    drop(connections.remove(0));
    drop(connections.remove(0));
    settled(&mut bench, &[1, 2]);
    connections.push(bench.connect());
    connections.push(bench.connect());
    assert_eq!(streams(&bench), [2, 3]);
    assert_eq!(bench.knocked, 2);
    drop(connections);
    bench.end();
}

#[test]
fn a_crowd_gets_as_many_tunnels_as_it_needs() {
    let mut bench = Bench::with(EngineConfig { tunnel_streams_max: 4, ..config() });
    let mut callers: Vec<_> = (0..18).map(|_| bench.call()).collect();
    let mut called = Vec::new();
    bench.until("all are connected", |bench| {
        called.extend(bench.accept_app());
        called.len() == 18
    });
    for caller in &mut callers {
        caller.write_all(b"x");
    }
    bench.until("all bytes have arrived", |_| called.iter().all(|app: &App| app.peek() != Took::Nothing));
    assert_eq!(streams(&bench), [2, 4, 4, 4, 4]);
    bench.end();
}

#[test]
fn newcomers_go_round_a_transfer() {
    let mut bench = Bench::new();
    let (mut caller, mut called) = bench.connect();
    let mut bulk = Transfer::new(1, 16 << 20);
    bench.until("the transfer runs", |_| {
        bulk.write(&mut caller, usize::MAX);
        bulk.read(&mut called, usize::MAX);
        bulk.received > 8 << 20
    });
    let other = bench.connect();
    assert_eq!(streams(&bench), [1, 1]);
    let third = bench.connect();
    assert_eq!(streams(&bench), [1, 2], "those that carry none share");
    assert_eq!(bench.knocked, 2);
    drop((caller, called, other, third));
    bench.end();
}

#[test]
fn a_transfer_that_pauses_keeps_nobody_away() {
    let mut bench = Bench::new();
    let (mut caller, mut called) = bench.connect();
    let mut bulk = Transfer::new(1, 8 << 20);
    bench.until("the transfer is over", |_| {
        bulk.write(&mut caller, usize::MAX);
        bulk.read(&mut called, usize::MAX);
        bulk.is_received()
    });
    let long_ago = bench.shard.driver.now().checked_sub(std::time::Duration::from_secs(1)).unwrap();
    let keys = bench.shard.tables.borrow().tunnels.keys();
    for key in keys {
        let mut tables = bench.shard.tables.borrow_mut();
        let tunnel = tables.tunnels.get_mut(key).unwrap();
        assert_eq!(tunnel.bulk_streams, 1, "no message has come since");
        tunnel.paused_since(long_ago);
    }
    let other = bench.connect();
    assert_eq!((streams(&bench), bench.knocked), (vec![2], 1));
    drop((caller, called, other));
    bench.end();
}

#[test]
fn a_peer_whose_handshake_fails_gets_the_alert_and_no_reset() {
    let mut bench = Bench::new();
    let (mut peer, socket) = App::connected();
    bench.serve("server", crate::net::Port::Hbone, socket);
    peer.write_all(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
    let mut received = Vec::new();
    bench.until("the socket is closed", |_| match peer.read(usize::MAX) {
        Took::Bytes(mut more) => {
            received.append(&mut more);
            false
        }
        Took::Nothing => false,
        end => {
            assert_eq!(end, Took::End);
            true
        }
    });
    assert_eq!(received.first(), Some(&21), "a plaintext alert: {received:?}");
    assert_eq!((bench.records.len(), bench.records[0].refused), (1, true));
    bench.end();
}

#[test]
fn a_connection_that_the_peer_refuses_is_reset_and_told_of_once_by_each_end() {
    let mut bench = Bench::new();
    // Nobody listens there: the peer answers 503.
    let mut caller = bench.call_to_port(9);
    bench.until("the application is reset", |_| caller.read(1) == Took::Reset);
    bench.until("both ends have told of it", |bench| bench.records.len() == 2);
    assert!(bench.records.iter().all(|record| record.error.is_some()), "{:?}", bench.records);
    assert!(
        bench.records.iter().any(|record| record.error.as_ref().is_some_and(|text| text.contains("503")))
    );
    bench.turns(20);
    assert_eq!(bench.records.len(), 2);
    bench.end();
}

#[test]
fn a_tunnel_that_breaks_is_replaced() {
    let mut bench = Bench::new();
    let first = bench.connect();
    let key = bench.shard.tables.borrow().tunnels.keys()[0];
    bench.shard.tables.borrow_mut().close_tunnel(key, "broken");
    bench.until("both ends are gone", |bench| bench.tunnels() == 0);
    let second = bench.connect();
    assert_eq!(bench.knocked, 2);
    drop((first, second));
    bench.end();
}

#[test]
fn what_a_full_peer_did_not_process_is_tried_on_another_tunnel() {
    let mut bench = Bench::new();
    let first = bench.connect();
    // The server's end refuses; the one shard serves both, so it goes on when the other tunnel is begun.
    let mut untaken = Buffered::default();
    untaken.join(&bench.shard.tables.borrow().buffered);
    untaken += SHARD_BUFFERED_BYTES_MAX;
    let mut caller = bench.call();
    bench.until("another tunnel is made", |bench| bench.knocked == 2);
    drop(untaken);
    let mut called = bench.called();
    caller.write_all(b"hello");
    bench.until("the greeting arrives", |_| called.read(5) == Took::Bytes(b"hello".to_vec()));
    drop((first, caller, called));
    bench.end();
}
