//! Checking the certificates of open tunnels again when the revocation lists have changed.

use std::sync::Arc;

use super::{Key, Shard, Tables};
use crate::mesh::Snapshot;
use crate::observe::ResponseFlag;
use crate::tls::Revocations;

/// Chains that one turn checks again: each takes a few signatures of 50 to 100 µs.
const CHAINS_PER_TURN_MAX: u32 = 4;

/// What the log says of a connection whose tunnel was closed for it (contract 1.10).
const REVOKED: &str = "connection closed: peer certificate revoked by CRL";

impl Shard {
    /// Has every tunnel checked again if the lists of a new snapshot are not those of the old.
    pub(super) fn verify_after(&self, old: &Snapshot, new: &Snapshot) {
        let same = match (old.revocations(), new.revocations()) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (_, None) => true,
            (None, Some(_)) => false,
        };
        if !same {
            self.tables.borrow_mut().verification.begin();
        }
    }

    /// One turn's part of checking tunnels again. True: there are more to check in the next.
    pub(super) fn verify_again(&self) -> bool {
        let mut tables = self.tables.borrow_mut();
        let tunnels = tables.tunnels.slots();
        let Some(part) = tables.verification.part(tunnels, CHAINS_PER_TURN_MAX) else { return false };
        let snapshot = self.snapshot();
        if let Some(revocations) = snapshot.revocations() {
            for slot in part {
                if let Some(key) = tables.tunnels.at(slot) {
                    tables.verify(key, revocations);
                }
            }
        }
        !tables.verification.is_over()
    }
}

impl Tables {
    /// Nothing more goes to a peer whose certificate was taken back, and nothing of it is read: the tunnel is closed at
    /// once, and its connections are reset.
    fn verify(&mut self, key: Key, revocations: &Revocations) {
        let Some(tunnel) = self.tunnels.get(key) else { return };
        if !tunnel.facts.chain.as_ref().is_some_and(|chain| revocations.revoke(chain)) {
            return;
        }
        for relay in self.relays.keys() {
            let relay = self.relays.get_mut(relay);
            // One that is complete outlives the tunnel, and nothing goes wrong with it.
            if let Some(relay) = relay.filter(|relay| relay.tunnel == key && !relay.is_complete()) {
                relay.record.set_flag(ResponseFlag::CertRevoked);
            }
        }
        self.close_tunnel(key, REVOKED);
    }
}
