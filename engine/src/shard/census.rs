//! Who has what open, counted when a person asks.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shard;
use crate::observe::{Direction, PodConnections};
use crate::pool::Side;

impl Shard {
    /// What each pod has open on this shard. Looks at every connection.
    pub(super) fn census(&self) -> Vec<PodConnections> {
        let pods = self.pods.borrow();
        let none = |uid: &Arc<str>| PodConnections {
            uid: Arc::clone(uid),
            tunnels_out: 0,
            tunnels_in: 0,
            outbound: 0,
            inbound: 0,
        };
        let mut counts: HashMap<&str, PodConnections> = pods.keys().map(|uid| (&**uid, none(uid))).collect();
        let tables = self.tables.borrow();
        for tunnel in tables.tunnels.values().filter(|tunnel| tunnel.is_live()) {
            let Some(pod) = counts.get_mut(&*tunnel.facts.pod.uid) else { continue };
            match tunnel.facts.side {
                Side::Client => pod.tunnels_out += 1,
                Side::Server => pod.tunnels_in += 1,
            }
        }
        let relays = tables.relays.values().filter(|relay| relay.is_open());
        let pairs = tables.pairs.values().filter(|pair| pair.is_open());
        let relays = relays.map(|relay| (&relay.pod, &relay.record));
        for (owner, record) in relays.chain(pairs.map(|pair| (pair.pod(), &pair.record))) {
            let Some(pod) = counts.get_mut(&*owner.uid) else { continue };
            match record.connection().direction {
                Direction::Outbound => pod.outbound += 1,
                Direction::Inbound => pod.inbound += 1,
            }
        }
        counts.into_values().collect()
    }
}
