//! Certificates that are taken back: of peers that come, and of those whose tunnels are open.

use std::sync::Arc;

use super::bench::Bench;
use crate::mesh::Snapshot;
use crate::observe::{Direction, ResponseFlag};
use crate::relay::tests::fixture::{Took, credentials, revocations};
use crate::tls::Revocations;

fn publish(bench: &Bench, lists: Arc<Revocations>) {
    let mut snapshot = Snapshot::clone(&bench.shard.snapshot());
    snapshot.set_revocations(lists);
    bench.shard.take_snapshot(Arc::new(snapshot));
}

fn is_verifying(bench: &Bench) -> bool {
    !bench.shard.tables.borrow().verification.is_over()
}

#[test]
fn an_open_tunnel_is_closed_when_either_end_is_revoked_and_no_new_one_is_made() {
    for revoked in [&credentials()[0], &credentials()[1]] {
        let mut bench = Bench::new();
        publish(&bench, Arc::default());
        let (mut caller, mut called) = bench.connect();
        publish(&bench, revocations(&[]));
        assert!(is_verifying(&bench));
        bench.until("all are checked", |bench| !is_verifying(bench));
        caller.write_all(b"still");
        bench.until("the bytes arrive", |_| called.read(5) == Took::Bytes(b"still".to_vec()));

        publish(&bench, revocations(&[revoked]));
        bench.until("both ends are reset", |_| caller.is_reset());
        bench.until("both ends are reset", |_| called.is_reset());
        bench.until("both ends have told of it", |bench| bench.records.len() == 2);
        let told = bench.records.iter().find(|closed| closed.flag == ResponseFlag::CertRevoked).unwrap();
        assert_eq!(told.error.as_deref(), Some("connection closed: peer certificate revoked by CRL"));
        bench.until("the tunnel is gone", |bench| bench.tunnels() == 0);

        bench.records.clear();
        let refused = bench.call();
        bench.until("it is reset", |_| refused.is_reset());
        let of_handshake = |bench: &Bench| {
            bench.records.iter().any(|closed| {
                closed.flag == ResponseFlag::CertRevoked
                    && closed.error.as_ref().is_some_and(|error| error.contains("revoked by CRL"))
            })
        };
        bench.until("the refusal is told of", |bench| of_handshake(bench));
        bench.end();
    }
}

#[test]
fn a_connection_whose_stream_is_only_asked_for_has_the_same_reason() {
    let mut bench = Bench::new();
    publish(&bench, Arc::default());
    let (_caller, _called) = bench.connect();
    let waiting = bench.call();
    bench.until("the stream is asked for", |bench| {
        bench.shard.tables.borrow().relays.values().any(crate::relay::Relay::is_opening)
    });
    publish(&bench, revocations(&[&credentials()[1]]));
    while bench.shard.verify_again() {}
    bench.until("it is reset", |_| waiting.is_reset());
    let outbound = |closed: &&crate::observe::Closed| closed.connection.direction == Direction::Outbound;
    bench.until("both are told of", |bench| bench.records.iter().filter(outbound).count() == 2);
    for closed in bench.records.iter().filter(outbound) {
        assert_eq!(closed.flag, ResponseFlag::CertRevoked, "{closed:?}");
    }
    bench.end();
}

#[test]
fn lists_that_name_nobody_here_or_do_not_change_close_nothing() {
    let mut bench = Bench::new();
    let lists = revocations(&[]);
    publish(&bench, Arc::clone(&lists));
    bench.until("all are checked", |bench| !is_verifying(bench));
    publish(&bench, lists);
    assert!(!is_verifying(&bench), "the same lists again");
    let (_caller, _called) = bench.connect();
    assert_eq!(bench.tunnels(), 2);
    bench.end();
}

#[test]
fn without_lists_to_come_no_chain_is_kept() {
    let mut bench = Bench::new();
    let (_caller, _called) = bench.connect();
    let keeps = |bench: &Bench| {
        bench.shard.tables.borrow().tunnels.values().any(|tunnel| tunnel.facts.chain.is_some())
    };
    assert!(!keeps(&bench));
    bench.end();
}
