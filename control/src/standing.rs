//! The connections that stand, for whoever wants to see them one by one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::observe::{Connection, ConnectionId, Observation};

/// Connections listed at most. A list is for people; more are counted, and told of as flows.
const STANDING_MAX: usize = 4_096;

/// Outlives a run of the control thread. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing(Arc<Mutex<HashMap<ConnectionId, Arc<Connection>>>>);

impl Standing {
    pub(crate) fn note(&self, observation: &Observation) {
        let mut standing = self.lock();
        match observation {
            Observation::Opened(connection) if standing.len() < STANDING_MAX => {
                standing.insert(connection.id, Arc::clone(connection));
            }
            Observation::Closed(closed) => _ = standing.remove(&closed.connection.id),
            Observation::Opened(_) | Observation::Progress { .. } => {}
        }
    }

    /// Some observations were lost: nobody knows which of these still stand.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    /// In the order in which each shard accepted them.
    pub(crate) fn list(&self) -> Vec<Arc<Connection>> {
        let mut list: Vec<_> = self.lock().values().cloned().collect();
        list.sort_unstable_by_key(|connection| connection.id);
        list
    }

    /// Every change is a single call: the map is whole even after a panic.
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand_in::{completed, connection};

    fn opened(port: u16) -> Observation {
        Observation::Opened(Arc::new(connection(port)))
    }

    fn ports(standing: &Standing) -> Vec<u16> {
        standing.list().iter().map(|connection| connection.source.port()).collect()
    }

    #[test]
    fn what_was_opened_and_has_not_ended_stands() {
        let standing = Standing::default();
        for port in [3, 1, 2] {
            standing.note(&opened(port));
        }
        standing.note(&completed(2));
        standing.note(&completed(9));
        assert_eq!(ports(&standing), [1, 3]);
        standing.forget();
        assert!(ports(&standing).is_empty());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let standing = Standing::default();
        for port in 0..=STANDING_MAX as u16 {
            standing.note(&opened(port));
        }
        assert_eq!(standing.list().len(), STANDING_MAX);
        standing.note(&completed(0));
        standing.note(&opened(60_000));
        assert_eq!(ports(&standing).last(), Some(&60_000));
    }
}
