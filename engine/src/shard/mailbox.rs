//! What crosses threads: commands down to a shard, records and old snapshots up, accepted sockets sideways.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;

use super::Figures;
use crate::mesh::Snapshot;
use crate::net::Port;
use crate::observe::{Observation, PodConnections};
use crate::uring::Doorbell;

/// Commands that wait for a shard. A control thread that is further ahead waits; a shard that hands a connection over
/// keeps it instead.
const COMMANDS_MAX: usize = 1024;

/// Observations that the control thread has not taken yet; beyond it the oldest are counted as lost, since a log must not
/// slow the traffic down. Two or more for each connection.
const OBSERVATIONS_MAX: usize = 32 * 1024;

/// Of these, how many may wait before what can be told later is kept back: a round of progress over many connections
/// must not push out what is told once.
const OFFERS_MAX: usize = OBSERVATIONS_MAX / 2;

/// How long a shard that ends waits, all in all, for whoever takes its observations. Nobody takes them any more when the
/// engine is dropped without having been cut.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two looks whether there is room for the last words: long enough for a reader to take thousands.
const LAST_WORDS_PAUSE: Duration = Duration::from_millis(1);

/// Old snapshots on their way back to be dropped.
const SNAPSHOTS_MAX: usize = 64;

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum Command {
    Publish(Arc<Snapshot>),
    AddPod {
        pod: PodSpec,
        answer: Answer<Result<(), String>>,
    },
    /// Open the listeners of a pod; sent when every shard has been told of it.
    Listen {
        uid: Arc<str>,
        answer: Answer<Result<(), String>>,
    },
    RemovePod {
        uid: Arc<str>,
        answer: Answer<Result<(), String>>,
    },
    /// A connection that another shard accepted.
    Adopt {
        pod: Arc<str>,
        port: Port,
        socket: OwnedFd,
    },
    /// Count what each pod has open.
    Census {
        answer: Answer<Vec<PodConnections>>,
    },
    /// Accept nothing more; let what runs come to its end.
    Drain,
    /// End now.
    End,
}

/// A pod, as each shard gets it.
#[derive(Debug)]
pub(crate) struct PodSpec {
    pub(crate) uid: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) service_account: Arc<str>,
    pub(crate) netns: Option<OwnedFd>,
}

/// The way to one shard.
#[derive(Debug)]
pub(crate) struct Mailbox {
    commands: ArrayQueue<Command>,
    doorbell: Doorbell,
    figures: Figures,
    /// Live connections of the shard, as of its last turn.
    load: AtomicUsize,
    /// The shard hands no connection over any more.
    draining: AtomicBool,
    /// The shard has drained: nothing is left of its connections.
    idle: AtomicBool,
    /// The shard has ended and told of every connection it had.
    ended: AtomicBool,
}

/// What shards have for the control thread.
#[derive(Debug)]
pub(crate) struct Reports {
    observations: ArrayQueue<Observation>,
    lost: AtomicU64,
    snapshots: ArrayQueue<Arc<Snapshot>>,
    waker: AtomicWaker,
    drained: AtomicWaker,
}

/// One answer to one command, awaited by the control thread.
#[derive(Debug)]
pub(crate) struct Answer<T>(Arc<Mutex<AnswerState<T>>>);

#[derive(Debug)]
struct AnswerState<T> {
    value: Option<T>,
    waker: Option<Waker>,
    gone: bool,
}

// === impl Mailbox ===

impl Mailbox {
    pub(crate) fn new(doorbell: Doorbell) -> Self {
        Self {
            commands: ArrayQueue::new(COMMANDS_MAX),
            doorbell,
            figures: Figures::default(),
            load: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// From the control thread: waits while the shard is behind. A shard that has ended drops the command, and with it the
    /// answer that somebody may wait for.
    pub(crate) fn send(&self, mut command: Command) {
        while let Err(back) = self.commands.push(command) {
            if self.has_ended() {
                return;
            }
            command = back;
            self.doorbell.ring();
            std::thread::yield_now();
        }
        self.doorbell.ring();
        // Either the shard that ends sees the command, or this sees that it has ended.
        fence(Ordering::SeqCst);
        if self.has_ended() {
            self.drop_commands();
        }
    }

    /// From another shard, which must not wait: a full mailbox gives the command back.
    pub(crate) fn offer(&self, command: Command) -> Result<(), Command> {
        self.commands.push(command)?;
        // Counted at once: a burst of connections shall not all see the same idle shard.
        self.load.fetch_add(1, Ordering::Relaxed);
        self.doorbell.ring();
        Ok(())
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    pub(crate) fn next(&self) -> Option<Command> {
        self.commands.pop()
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(crate) fn set_load(&self, load: usize) {
        self.load.store(load, Ordering::Relaxed);
    }

    /// Nothing waits to be read.
    pub(crate) fn is_read(&self) -> bool {
        self.commands.is_empty()
    }

    /// Rings the shard to look around, with nothing to tell it.
    pub(crate) fn ring(&self) {
        self.doorbell.ring();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Nobody reads commands from now on: those that wait are dropped.
    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.drop_commands();
    }

    fn drop_commands(&self) {
        while self.commands.pop().is_some() {}
    }

    pub(crate) fn set_idle(&self) {
        self.idle.store(true, Ordering::Release);
    }
}

// === impl Reports ===

impl Default for Reports {
    fn default() -> Self {
        Self {
            observations: ArrayQueue::new(OBSERVATIONS_MAX),
            lost: AtomicU64::new(0),
            snapshots: ArrayQueue::new(SNAPSHOTS_MAX),
            waker: AtomicWaker::new(),
            drained: AtomicWaker::new(),
        }
    }
}

impl Reports {
    pub(crate) fn observed(&self, observation: Observation) {
        if self.observations.force_push(observation).is_some() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.waker.wake();
    }

    /// The same for what can be told later as well: false if too much waits now.
    pub(crate) fn offer(&self, observation: Observation) -> bool {
        if self.observations.len() >= OFFERS_MAX {
            return false;
        }
        let taken = self.observations.push(observation).is_ok();
        self.waker.wake();
        taken
    }

    /// The same for the last words of a shard, which has nothing else to do: waits for room, for a while.
    pub(crate) fn observed_at_last(&self, observations: impl Iterator<Item = Observation>) {
        self.observed_until(Instant::now() + LAST_WORDS_TIMEOUT, observations);
    }

    fn observed_until(&self, deadline: Instant, observations: impl Iterator<Item = Observation>) {
        for observation in observations {
            while self.observations.is_full() && Instant::now() < deadline {
                self.waker.wake();
                std::thread::sleep(LAST_WORDS_PAUSE);
            }
            self.observed(observation);
        }
    }

    pub(crate) async fn next_observation(&self) -> Observation {
        std::future::poll_fn(|context| {
            if let Some(observation) = self.observations.pop() {
                return Poll::Ready(observation);
            }
            self.waker.register(context.waker());
            self.observations.pop().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Observations that were never read because the reader fell behind.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sends an old snapshot home; a shard drops it itself only where the way home is full.
    pub(crate) fn retire(&self, snapshot: Arc<Snapshot>) {
        let _ = self.snapshots.push(snapshot);
    }

    /// Drops, on the calling thread, the snapshots that came home.
    pub(crate) fn drop_retired(&self) {
        while self.snapshots.pop().is_some() {}
    }

    pub(crate) fn shard_drained(&self) {
        self.drained.wake();
    }

    /// Waits until `done` says so, asked each time a shard has drained.
    pub(crate) async fn until(&self, done: impl Fn() -> bool) {
        std::future::poll_fn(|context| {
            self.drained.register(context.waker());
            if done() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

// === impl Answer ===

impl<T> Answer<T> {
    /// The two ends: one for the command, one to wait on.
    pub(crate) fn pair() -> (Self, impl Future<Output = Option<T>>) {
        let state = Arc::new(Mutex::new(AnswerState { value: None, waker: None, gone: false }));
        let asked = Arc::clone(&state);
        let wait = std::future::poll_fn(move |context| {
            let mut state = asked.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(value) = state.value.take() {
                return Poll::Ready(Some(value));
            }
            if state.gone {
                return Poll::Ready(None);
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        });
        (Self(state), wait)
    }

    pub(crate) fn give(self, value: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).value = Some(value);
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.gone = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::SocketAddr;

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::observe::{Connection, ConnectionId, Direction, Record, Traffic};

    fn record() -> Record {
        let id = ConnectionId { shard: 0, sequence: 1 };
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        Record::new(Connection::new(id, Direction::Inbound, address, address), Instant::now())
    }

    fn closed() -> Observation {
        record().closed(Traffic::default(), Instant::now(), None)
    }

    fn next(reports: &Reports) -> Option<Observation> {
        block_on(poll_once(reports.next_observation()))
    }

    #[test]
    fn what_can_be_told_later_leaves_room_for_what_is_told_once() {
        let reports = Reports::default();
        let offered = (0..OBSERVATIONS_MAX).filter(|_| reports.offer(closed())).count();
        assert_eq!(offered, OBSERVATIONS_MAX / 2);
        (0..OBSERVATIONS_MAX / 2).for_each(|_| reports.observed(closed()));
        assert_eq!(reports.lost(), 0);
        reports.observed(closed());
        assert_eq!(reports.lost(), 1);
        assert!(!reports.offer(closed()));
    }

    #[test]
    fn the_last_words_wait_for_whoever_takes_them() {
        let reports = Arc::new(Reports::default());
        let shard = {
            let reports = Arc::clone(&reports);
            let words = (0..OBSERVATIONS_MAX + 100).map(|_| closed());
            // However late the two threads are: that is not what the test is about.
            let deadline = Instant::now() + Duration::from_secs(600);
            std::thread::spawn(move || reports.observed_until(deadline, words))
        };
        let mut heard = 0;
        while heard < OBSERVATIONS_MAX + 100 {
            match next(&reports) {
                Some(_) => heard += 1,
                None => std::thread::yield_now(),
            }
            assert_eq!(reports.lost(), 0);
        }
        shard.join().unwrap();
    }
}
