//! The tunnels of a shard, by who speaks to whom; and where a new stream goes.

mod buffered;
mod establish;
mod life;
mod segment;
mod tunnel;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use buffered::{Buffered, ShardBuffered};
pub(crate) use establish::{CONNECT_TIMEOUT, SetupError, begin, handshake, unrevoked};
pub(crate) use tunnel::{
    Heartbeat, Phase, SHARD_BUFFERED_BYTES_MAX, Seal, Side, TUNNEL_BUFFERED_BYTES_MAX,
    TUNNEL_UNSENT_BYTES_MAX, Tunnel, TunnelFacts,
};

use crate::mesh::Identity;
use crate::shard::{Key, LocalPod, Promise, Promised, Shard, Table, promise};

/// Tunnels of one key that are made to keep newcomers away from transfers. More would only multiply handshakes: by then
/// every core of both nodes has several.
const TUNNELS_ASIDE_MAX: usize = 64;

/// Tunnels of one key in all. A pod has 64,512 ports towards one destination; with 100 streams in each tunnel that many
/// connections take 646.
const TUNNELS_PER_KEY_MAX: usize = 1_024;

/// A tunnel is shared by streams of one pod to one peer under one pair of identities (contract 1.9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) source: Identity,
    /// Whom the peer may prove to be.
    pub(crate) expected: Vec<Identity>,
    pub(crate) target: SocketAddr,
    pub(crate) pod: Arc<str>,
}

#[derive(Debug, Default)]
pub(crate) struct Pool {
    entries: HashMap<PoolKey, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    tunnels: Vec<Key>,
    creating: bool,
    waiters: Vec<Promise<Result<(), SetupError>>>,
}

/// Where a stream may go now.
enum Place {
    Tunnel(Key),
    /// Somebody else is making a tunnel for this key.
    Wait(Promised<Result<(), SetupError>>),
    /// The caller makes one.
    Create,
    /// There are as many as there may be.
    Full,
}

impl Shard {
    /// A tunnel with room for one more stream, made if there is none; another than the one that has just refused a
    /// stream. Callers open their stream before they await anything else.
    pub(crate) async fn tunnel(
        self: &Rc<Self>,
        pod: &Rc<LocalPod>,
        key: &PoolKey,
        refused_by: Option<Key>,
    ) -> Result<Key, SetupError> {
        loop {
            let now = self.driver.now();
            let place = self.pool.borrow_mut().place(key, &self.tables.borrow().tunnels, refused_by, now);
            match place {
                Place::Tunnel(tunnel) => return Ok(tunnel),
                Place::Full => {
                    return Err(SetupError::Full { target: key.target, limit: TUNNELS_PER_KEY_MAX });
                }
                Place::Wait(made) => made.await.unwrap_or(Ok(()))?,
                Place::Create => {
                    let creator = Creator { shard: self, key };
                    let made = establish::client_tunnel(self, pod, key).await;
                    creator.done(made.as_ref());
                    return made;
                }
            }
        }
    }
}

// === impl Pool ===

impl Pool {
    fn place(
        &mut self,
        key: &PoolKey,
        tunnels: &Table<Tunnel>,
        refused_by: Option<Key>,
        now: Instant,
    ) -> Place {
        if !self.entries.contains_key(key) {
            self.entries.insert(key.clone(), Entry::default());
        }
        let Some(entry) = self.entries.get_mut(key) else { return Place::Create };
        entry.tunnels.retain(|tunnel| tunnels.get(*tunnel).is_some_and(Tunnel::is_live));
        let open = entry.tunnels.iter().filter_map(|key| Some((*key, tunnels.get(*key)?)));
        let open = open.filter(|(key, tunnel)| tunnel.takes_streams() && Some(*key) != refused_by);
        // Transfers and newcomers do not share a tunnel while there can be another.
        let best = open.min_by_key(|(_, tunnel)| (tunnel.is_bulk(now), tunnel.bulk_streams, tunnel.relays));
        match best {
            Some((key, tunnel)) if !tunnel.is_bulk(now) => Place::Tunnel(key),
            Some((key, _)) if entry.tunnels.len() >= TUNNELS_ASIDE_MAX => Place::Tunnel(key),
            _ if entry.tunnels.len() >= TUNNELS_PER_KEY_MAX => Place::Full,
            _ if entry.creating => {
                let (made, wait) = promise();
                entry.waiters.push(made);
                Place::Wait(wait)
            }
            _ => {
                entry.creating = true;
                Place::Create
            }
        }
    }

    fn created(&mut self, key: &PoolKey, made: Result<&Key, &SetupError>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.creating = false;
        if let Ok(tunnel) = made {
            entry.tunnels.push(*tunnel);
        }
        for waiter in entry.waiters.drain(..) {
            waiter.fulfil(made.map(|_| ()).map_err(SetupError::clone));
        }
        self.forget_if_unused(key);
    }

    /// The maker was cancelled: one of those who wait makes it instead.
    fn abandoned(&mut self, key: &PoolKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.creating = false;
            entry.waiters.clear();
        }
        self.forget_if_unused(key);
    }

    fn forget_if_unused(&mut self, key: &PoolKey) {
        if self.entries.get(key).is_some_and(Entry::is_unused) {
            self.entries.remove(key);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn forget_pod(&mut self, pod: &LocalPod) {
        self.entries.retain(|key, _| key.pod != pod.uid);
    }

    /// Forgets keys that have neither a tunnel nor anyone who wants one.
    pub(crate) fn forget_unused(&mut self, tunnels: &Table<Tunnel>) {
        self.entries.retain(|_, entry| {
            entry.tunnels.retain(|tunnel| tunnels.get(*tunnel).is_some_and(Tunnel::is_live));
            !entry.is_unused()
        });
    }
}

impl Entry {
    fn is_unused(&self) -> bool {
        !self.creating && self.tunnels.is_empty()
    }
}

/// Whoever makes a tunnel; if it is cancelled on the way, those who wait are told.
struct Creator<'a> {
    shard: &'a Shard,
    key: &'a PoolKey,
}

impl Creator<'_> {
    fn done(self, made: Result<&Key, &SetupError>) {
        self.shard.pool.borrow_mut().created(self.key, made);
        std::mem::forget(self);
    }
}

impl Drop for Creator<'_> {
    fn drop(&mut self) {
        self.shard.pool.borrow_mut().abandoned(self.key);
    }
}
