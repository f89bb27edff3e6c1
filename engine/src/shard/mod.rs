//! One shard: a thread with a ring, its tables, its pods, its pool. Nothing here is shared with another thread but the
//! mailbox.

mod accept;
mod buffers;
mod census;
mod figures;
mod host;
mod judgement;
mod mailbox;
mod pods;
mod progress;
mod promise;
mod revocation;
mod round;
mod table;
mod tables;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use async_executor::LocalExecutor;

pub(crate) use buffers::Buffers;
pub(crate) use figures::Figures;
pub(crate) use host::{Plan, start};
pub(crate) use mailbox::{Answer, Command, Mailbox, PodSpec, Reports};
#[cfg(test)]
pub(crate) use pods::PodName;
pub(crate) use pods::{Listener, LocalPod};
pub(crate) use promise::{Promise, Promised, promise};
pub(crate) use round::Met;
pub(crate) use table::{Key, Kind, Table};
pub(crate) use tables::{Requested, Tables};

use crate::engine::EngineConfig;
use crate::mesh::Snapshot;
use crate::net::SocketOptions;
use crate::observe::{Direction, Observation, Record};
use crate::pool::Pool;
use crate::uring::Driver;

/// What everything on this thread may reach.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: usize,
    pub(crate) driver: Driver,
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) options: SocketOptions,
    pub(crate) tables: RefCell<Tables>,
    pub(crate) pool: RefCell<Pool>,
    pub(crate) pods: RefCell<HashMap<Arc<str>, Rc<LocalPod>>>,
    executor: LocalExecutor<'static>,
    snapshot: RefCell<Arc<Snapshot>>,
    /// Set-up tasks that wait for the next snapshot.
    waiting_for_snapshot: RefCell<Table<Waker>>,
    mailboxes: Arc<[Arc<Mailbox>]>,
    reports: Arc<Reports>,
    draining: Cell<bool>,
    ending: Cell<bool>,
    /// Connections that are accepted and not yet in a table.
    setting_up: Cell<usize>,
    /// The first turn is over.
    has_turned: Cell<bool>,
    entropy: Cell<u64>,
}

/// A shard hands a connection over when another has so many fewer. One: two transfers shall not share a core while
/// another idles.
const LOAD_MARGIN: usize = 1;

impl Shard {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Asks the snapshot, and each one that follows it until `deadline`, for something that may come late: the control
    /// plane tells of a pod and of its workload by different ways.
    pub(crate) async fn await_in_snapshot<T>(
        &self,
        deadline: Instant,
        find: impl Fn(&Snapshot) -> Option<T>,
    ) -> Option<T> {
        let mut place = Waiting { shard: self, key: None };
        let found = std::future::poll_fn(|context| {
            if let Some(found) = find(&self.snapshot.borrow()) {
                return Poll::Ready(Some(found));
            }
            place.wait(context.waker());
            Poll::Pending
        });
        let late = async {
            self.driver.sleep_until(deadline).await;
            None
        };
        futures_lite::future::or(found, late).await
    }

    /// A new snapshot takes the place of the old one, which goes home to be dropped.
    fn take_snapshot(&self, snapshot: Arc<Snapshot>) {
        let old = self.snapshot.replace(Arc::clone(&snapshot));
        self.judge_after(&old, &snapshot);
        self.verify_after(&old, &snapshot);
        self.reports.retire(old);
        let waiting = self.waiting_for_snapshot.borrow();
        let wakers: Vec<Waker> =
            waiting.keys().into_iter().filter_map(|key| waiting.get(key).cloned()).collect();
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Begins the record of a connection that has come in.
    pub(crate) fn record(&self, direction: Direction, source: SocketAddr, destination: SocketAddr) -> Record {
        self.tables.borrow_mut().record(direction, source, destination)
    }

    /// Tells the control thread of a connection.
    pub(crate) fn report(&self, observation: Observation) {
        self.reports.observed(observation);
    }

    /// The next number of a sequence that nobody can use for more than spreading load and naming traces.
    pub(crate) fn entropy(&self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014): one addition, two multiplications, passes the usual tests.
        let state = self.entropy.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.entropy.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn count_load(&self, tables: &Tables) {
        self.mailboxes[self.id].set_load(tables.load() + self.setting_up.get());
    }

    fn less_loaded(&self) -> Option<&Mailbox> {
        let own = self.mailboxes[self.id].load();
        let other = self.mailboxes.iter().min_by_key(|mailbox| mailbox.load())?;
        (other.load() + LOAD_MARGIN <= own).then_some(other)
    }
}

/// A place among those who wait for a snapshot, given up when the wait ends in whatever way.
struct Waiting<'a> {
    shard: &'a Shard,
    key: Option<Key>,
}

impl Waiting<'_> {
    fn wait(&mut self, waker: &Waker) {
        let mut waiting = self.shard.waiting_for_snapshot.borrow_mut();
        match self.key.and_then(|key| waiting.get_mut(key)) {
            Some(place) => place.clone_from(waker),
            None => self.key = Some(waiting.insert(waker.clone())),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waker = self.key.and_then(|key| self.shard.waiting_for_snapshot.borrow_mut().remove(key));
        drop(waker);
    }
}
