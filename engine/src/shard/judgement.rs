//! Judging open connections again when the policies have changed.
//!
//! Only inbound connections are judged: a policy protects the workload it applies to. Those it now denies are cut on both
//! sides, with a reset, and told of with the reason.
//!
//! A policy that is named and has not arrived denies new connections ([`mesh::authorise`]), but cuts no open one, nor does
//! it shield one from those that have: a control plane tells of the workload that names it and of the policy itself in two
//! messages, and the second brings the next judgement.

use std::sync::{Arc, Weak};

use super::round::Met;
use super::{LocalPod, Shard, Tables};
use crate::hbone::ErrorCode;
use crate::mesh::{self, Decision, Inbound, Snapshot, Verdict};
use crate::observe::{Connection, Direction, ResponseFlag};

/// Connections that one turn judges again. A judgement is a microsecond with a few policies. Few in tests, so that it takes
/// several turns there.
const JUDGEMENTS_PER_TURN_MAX: u32 = if cfg!(test) { 2 } else { 64 };

/// What the log says of a connection that policies allowed and then denied (contract 1.10).
const POLICY_CHANGED: &str = "connection closed due to policy change";

impl Shard {
    /// Has every connection judged again if a new snapshot may judge one otherwise than the old.
    pub(super) fn judge_after(&self, old: &Snapshot, new: &Snapshot) {
        let differs = |pod: &LocalPod| {
            match (pod.workload_in(old), pod.workload_in(new)) {
                (Some(old), Some(new)) => !Arc::ptr_eq(old, new) && !old.is_judged_like(new),
                (None, Some(_)) => true,
                // Of a workload that is no more known nothing can be said.
                (_, None) => false,
            }
        };
        if !new.has_the_policies_of(old) || self.pods.borrow().values().any(|pod| differs(pod)) {
            self.tables.borrow_mut().judgement.begin();
        }
    }

    /// One turn's part of judging connections again. True: there are more to judge in the next.
    pub(super) fn judge_again(&self) -> bool {
        let mut tables = self.tables.borrow_mut();
        let places = tables.places();
        let Some(part) = tables.judgement.part(places, JUDGEMENTS_PER_TURN_MAX) else { return false };
        let snapshot = self.snapshot();
        for place in part {
            if let Some(met) = tables.met(place) {
                tables.judge(met, &snapshot);
            }
        }
        !tables.judgement.is_over()
    }

    /// Judges a connection that has only just come to stand, if what allowed it is no more what counts: a round does not
    /// meet those that are being set up.
    pub(crate) fn judge_anew(&self, met: Met, judged_by: &Weak<Snapshot>) {
        let snapshot = self.snapshot();
        if !Weak::ptr_eq(&Arc::downgrade(&snapshot), judged_by) {
            self.tables.borrow_mut().judge(met, &snapshot);
        }
    }
}

impl Tables {
    fn judge(&mut self, met: Met, snapshot: &Snapshot) {
        match met {
            Met::Relay(key) => {
                let Some(relay) = self.relays.get_mut(key).filter(|relay| relay.is_open()) else { return };
                let verdict = forbidden(snapshot, &relay.pod, relay.record.connection());
                let Some(verdict) = verdict else { return };
                relay.record.describe(|connection| connection.verdict = Some(verdict));
                relay.record.set_flag(ResponseFlag::Deny);
                self.abort_relay(key, ErrorCode::CONNECT_ERROR, Some(POLICY_CHANGED.to_owned()));
            }
            Met::Pair(key) => {
                let Some(pair) = self.pairs.get_mut(key).filter(|pair| pair.is_open()) else { return };
                let verdict = forbidden(snapshot, pair.pod(), pair.record.connection());
                let Some(verdict) = verdict else { return };
                pair.record.describe(|connection| connection.verdict = Some(verdict));
                pair.record.set_flag(ResponseFlag::Deny);
                self.drop_pair(key, POLICY_CHANGED);
            }
        }
    }
}

/// The verdict on an inbound connection of a pod, if it is one that ends it.
fn forbidden(snapshot: &Snapshot, pod: &LocalPod, connection: &Connection) -> Option<Verdict> {
    if connection.direction == Direction::Outbound {
        return None;
    }
    let workload = pod.workload_in(snapshot)?;
    let inbound = Inbound {
        identity: connection.source_identity.as_ref(),
        source: connection.source.ip(),
        destination: connection.hbone_destination.unwrap_or(connection.destination),
        workload,
    };
    let verdict = mesh::authorise_by_known(snapshot, &inbound);
    matches!(verdict.decision, Decision::Deny(_)).then_some(verdict)
}
