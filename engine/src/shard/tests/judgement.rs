//! What becomes of open connections when policies change.

use std::sync::Arc;

use super::bench::{APP_PORT, Bench};
use crate::mesh::fixture::{policy, rule};
use crate::mesh::{Action, Change, Decision, Denial, Match, Policy, Scope, Values, Workload};
use crate::observe::{Direction, ResponseFlag};
use crate::pool::Side;
use crate::relay::tests::fixture::{App, Took};

/// Denies what goes to a port of the server.
fn deny(port: u16) -> Policy {
    let condition =
        Match { destination_ports: Values { any_of: vec![port], ..Values::default() }, ..Match::default() };
    let base = policy("d", "shop", Scope::Namespace, Action::Deny);
    Policy { rules: vec![rule(condition)], ..base }
}

fn publish(bench: &Bench, change: Change) {
    let mut snapshot = crate::mesh::Snapshot::clone(&bench.shard.snapshot());
    snapshot.apply(change);
    bench.shard.take_snapshot(Arc::new(snapshot));
}

/// A connection that still carries bytes.
fn works(bench: &mut Bench, caller: &mut App, called: &mut App) {
    caller.write_all(b"still");
    bench.until("the bytes arrive", |_| called.read(5) == Took::Bytes(b"still".to_vec()));
}

fn are_reset(bench: &mut Bench, caller: &App, called: &App) {
    for app in [caller, called] {
        bench.until("both ends are reset", |_| app.is_reset());
    }
}

fn is_judging(bench: &Bench) -> bool {
    !bench.shard.tables.borrow().judgement.is_over()
}

#[test]
fn those_that_a_new_policy_denies_are_cut_and_the_others_are_left() {
    let mut bench = Bench::new();
    let mut connections: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    let (plain_caller, plain_called) = bench.connect_plain();
    publish(&bench, Change::UpsertPolicy(Arc::new(deny(APP_PORT + 1))));
    bench.until("all are judged", |bench| !is_judging(bench));
    for (caller, called) in &mut connections {
        works(&mut bench, caller, called);
    }

    publish(&bench, Change::UpsertPolicy(Arc::new(deny(APP_PORT))));
    connections.push((plain_caller, plain_called));
    for (caller, called) in &connections {
        are_reset(&mut bench, caller, called);
    }
    bench.until("all are told of", |bench| bench.records.len() == 7);
    for closed in &bench.records {
        let judged = closed.connection.direction == Direction::Inbound;
        let error = closed.error.as_deref().unwrap();
        assert_eq!(error == "connection closed due to policy change", judged, "{error}");
        assert_eq!(closed.flag, if judged { ResponseFlag::Deny } else { ResponseFlag::None });
        let decision = closed.connection.verdict.as_ref().map(|verdict| verdict.decision.clone());
        let denied = Decision::Deny(Denial::Denied { policy: "shop/d".into() });
        assert_eq!(decision, judged.then_some(denied), "{closed:?}");
    }
    assert_eq!(bench.tunnels(), 2, "the tunnel lives");
    bench.end();
}

#[test]
fn a_snapshot_with_the_same_policies_judges_nobody() {
    let mut bench = Bench::new();
    publish(&bench, Change::UpsertPolicy(Arc::new(deny(1))));
    bench.until("all are judged", |bench| !is_judging(bench));
    publish(&bench, Change::UpsertPolicy(Arc::new(deny(1))));
    assert!(!is_judging(&bench));
    let other = crate::mesh::fixture::workload("other");
    publish(&bench, Change::UpsertWorkload(Arc::new(other)));
    assert!(!is_judging(&bench), "a workload of another node");
    bench.end();
}

#[test]
fn a_policy_that_begins_to_select_the_workload_judges_and_one_that_has_not_come_cuts_nothing() {
    let mut bench = Bench::new();
    let (mut caller, mut called) = bench.connect();
    let server = Arc::clone(bench.server.workload_in(&bench.shard.snapshot()).unwrap());
    let selected = Workload { authorization_policies: vec!["shop/d".into()], ..Workload::clone(&server) };
    publish(&bench, Change::UpsertWorkload(Arc::new(selected)));
    assert!(is_judging(&bench));
    bench.until("all are judged", |bench| !is_judging(bench));
    works(&mut bench, &mut caller, &mut called);

    let policy = Policy { scope: Scope::WorkloadSelector, ..deny(APP_PORT) };
    publish(&bench, Change::UpsertPolicy(Arc::new(policy)));
    are_reset(&mut bench, &caller, &called);
    bench.end();
}

#[test]
fn a_policy_that_has_not_come_shields_nobody_from_one_that_has() {
    let allow = |port| Policy { action: Action::Allow, ..deny(port) };
    for (known, cuts) in [(allow(APP_PORT), false), (allow(APP_PORT + 1), true), (deny(APP_PORT), true)] {
        let mut bench = Bench::new();
        let (mut caller, mut called) = bench.connect();
        let server = Arc::clone(bench.server.workload_in(&bench.shard.snapshot()).unwrap());
        let selected =
            Workload { authorization_policies: vec!["shop/late".into()], ..Workload::clone(&server) };
        publish(&bench, Change::UpsertWorkload(Arc::new(selected)));
        publish(&bench, Change::UpsertPolicy(Arc::new(known)));
        bench.until("all are judged", |bench| !is_judging(bench));
        if cuts {
            are_reset(&mut bench, &caller, &called);
        } else {
            works(&mut bench, &mut caller, &mut called);
        }
        bench.end();
    }
}

#[test]
fn who_is_cut_is_told_in_the_same_turn() {
    let mut bench = Bench::new();
    let (caller, called) = bench.connect();
    publish(&bench, Change::UpsertPolicy(Arc::new(deny(APP_PORT))));
    // Nothing wakes the shard after this one.
    bench.turn();
    assert!(!is_judging(&bench));
    let unsaid = |bench: &Bench| {
        let tables = bench.shard.tables.borrow();
        tables.tunnels.values().any(|tunnel| tunnel.facts.side == Side::Server && tunnel.dirty)
    };
    assert!(!unsaid(&bench), "the reset waits for whatever comes next");
    are_reset(&mut bench, &caller, &called);
    bench.end();
}

#[test]
fn a_connection_that_comes_to_stand_after_the_change_is_judged_by_it() {
    let mut bench = Bench::new();
    let (first, second) = bench.connect();
    let caller = bench.call();
    bench.until("the application is connected to", |bench| {
        let tables = bench.shard.tables.borrow();
        let connecting = |relay: &crate::relay::Relay| {
            relay.is_connecting() && relay.record.connection().verdict.is_some()
        };
        tables.relays.values().any(connecting)
    });
    let old = Arc::downgrade(&bench.shard.snapshot());
    publish(&bench, Change::UpsertPolicy(Arc::new(deny(APP_PORT))));
    bench.shard.reports.drop_retired();
    assert!(old.upgrade().is_none(), "who waits for an application would free it on the shard");
    // The whole round, before the connection stands.
    while bench.shard.judge_again() {}
    bench.until("it is reset", |_| caller.is_reset());
    are_reset(&mut bench, &first, &second);
    bench.end();
}
