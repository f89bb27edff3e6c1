//! The engine as the control thread sees it: start, publish, pods, drain.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;

use crate::mesh::Snapshot;
use crate::observe::{Observation, PodConnections, ShardStatistics};
use crate::shard::{self, Answer, Command, Mailbox, Plan, PodSpec, Reports};
use crate::uring::Doorbell;

/// How the shards are pinned to cores (`RINGWAY_PIN`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinning {
    Off,
    /// One core after the other of those this process may use.
    Spread,
    List(Vec<usize>),
}

/// Whether the application sees the client's address (`ENABLE_ORIG_SRC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginalSource {
    Never,
    /// Where the capability is there.
    Try,
    /// Refuse to start without it.
    Require,
}

/// TCP keepalive of the sockets the proxy makes (`KEEPALIVE_*`, `USER_TIMEOUT_ENABLED`).
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    pub time: Duration,
    pub interval: Duration,
    pub retries: u32,
    pub user_timeout: bool,
}

#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub shards: usize,
    pub pinning: Pinning,
    /// SO_MARK on every socket of ours (`PACKET_MARK`); none in dedicated mode unless set.
    pub packet_mark: Option<u32>,
    pub original_source: OriginalSource,
    pub ipv6: bool,
    /// SO_REUSEPORT on the listeners (`INPOD_PORT_REUSE`).
    pub port_reuse: bool,
    pub keepalive: Option<Keepalive>,
    /// Streams per tunnel (`POOL_MAX_STREAMS_PER_CONNECTION`).
    pub tunnel_streams_max: u32,
    /// A tunnel that carried nothing for so long is closed (`POOL_UNUSED_RELEASE_TIMEOUT`).
    pub tunnel_unused_release: Duration,
    /// Our stream window in bytes (`HTTP2_STREAM_WINDOW_SIZE`).
    pub stream_window: u32,
    /// The largest frame we accept (`HTTP2_FRAME_SIZE`).
    pub frame_size: u32,
    /// `ENABLE_RESPONSE_BAGGAGE`.
    pub response_baggage: bool,
}

/// A pod whose sockets the engine owns.
#[derive(Debug)]
pub struct Pod {
    pub uid: Arc<str>,
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
    /// Its network namespace; `None` is the one this process lives in (dedicated mode).
    pub netns: Option<OwnedFd>,
}

#[derive(Debug, Error)]
pub enum EngineError {
    #[error("shard {shard} did not start: {cause}")]
    Start { shard: usize, cause: String },
    #[error("pod {uid}: {cause}")]
    Pod { uid: Arc<str>, cause: String },
    #[error("the engine has ended")]
    Ended,
}

/// The running shards. Dropping it ends them at once; [`Engine::drain`] first lets connections finish.
#[derive(Debug)]
pub struct Engine {
    shards: Vec<ShardHandle>,
    reports: Arc<Reports>,
    /// Pods that were added, each with the identity of its namespace.
    pods: Mutex<HashMap<Arc<str>, Option<NamespaceId>>>,
}

#[derive(Debug)]
struct ShardHandle {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

/// Which namespace a descriptor stands for: device and inode.
type NamespaceId = (u64, u64);

/// Shards that accept for one pod. More listeners cost kernel memory for every pod; an accepted connection moves to
/// the least loaded shard anyway.
const LISTENERS_PER_PORT_MAX: usize = 2;

/// Shards that one process can have, far above the cores of any node.
const SHARDS_MAX: usize = 256;

// === impl Engine ===

impl Engine {
    /// Starts the shards and returns when every one of them reported ready.
    pub fn start(config: EngineConfig, snapshot: Arc<Snapshot>) -> Result<Self, EngineError> {
        let cores = config.pinning.cores()?;
        let count = config.shards.clamp(1, SHARDS_MAX);
        let reports = Arc::new(Reports::default());
        let config = Arc::new(config);
        let (ready, readiness) = mpsc::channel();
        let mut threads = Vec::new();
        let mut introductions = Vec::new();
        for id in 0..count {
            let plan = Plan {
                id,
                core: cores.as_ref().and_then(|cores| cores.get(id % cores.len().max(1)).copied()),
                config: Arc::clone(&config),
                snapshot: Arc::clone(&snapshot),
                reports: Arc::clone(&reports),
                entropy: seed(id),
            };
            let (introduce, neighbours) = mpsc::channel();
            introductions.push(introduce);
            let thread = shard::start(plan, ready.clone(), neighbours);
            threads.push(thread.map_err(|cause| EngineError::Start { shard: id, cause })?);
        }
        drop(ready);
        let mailboxes = await_all(&readiness, count)?;
        for introduce in introductions {
            let _ = introduce.send(Arc::clone(&mailboxes));
        }
        let shards = mailboxes.iter().zip(threads);
        let shards = shards
            .map(|(mailbox, thread)| ShardHandle { mailbox: Arc::clone(mailbox), thread: Some(thread) });
        Ok(Self { shards: shards.collect(), reports, pods: Mutex::default() })
    }

    /// Hands a new snapshot to every shard. Old ones come back and are dropped on the calling thread.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.reports.drop_retired();
        for shard in &self.shards {
            shard.mailbox.send(Command::Publish(Arc::clone(&snapshot)));
        }
    }

    /// Opens the pod's listeners. The same uid in the same namespace again changes nothing; in another namespace the
    /// old pod is closed first.
    pub async fn add_pod(&self, pod: Pod) -> Result<(), EngineError> {
        let uid = Arc::clone(&pod.uid);
        let failed = |cause: String| EngineError::Pod { uid: Arc::clone(&uid), cause };
        let namespace = pod
            .netns
            .as_ref()
            .map(namespace_id)
            .transpose()
            .map_err(|cause| failed(format!("its network namespace cannot be looked at: {cause}")))?;
        let known = self.pods().get(&uid).copied();
        match known {
            Some(known) if known == namespace => return Ok(()),
            Some(_) => self.remove_pod(&uid).await?,
            None => {}
        }
        // All of them before the first is told: half of the shards shall not know it.
        let netns = || pod.netns.as_ref().map(OwnedFd::try_clone).transpose();
        let namespaces: io::Result<Vec<_>> = self.shards.iter().map(|_| netns()).collect();
        let namespaces =
            namespaces.map_err(|cause| failed(format!("no descriptor for its namespace: {cause}")))?;
        let mut answers = Vec::new();
        for (shard, netns) in self.shards.iter().zip(namespaces) {
            let spec = PodSpec {
                uid: Arc::clone(&pod.uid),
                name: Arc::clone(&pod.name),
                namespace: Arc::clone(&pod.namespace),
                service_account: Arc::clone(&pod.service_account),
                netns,
            };
            let (answer, wait) = Answer::pair();
            shard.mailbox.send(Command::AddPod { pod: spec, answer });
            answers.push(wait);
        }
        // Only now: the first connection may be handed to any shard, which has to know whose it is.
        for shard in self.listening(&uid) {
            let (answer, wait) = Answer::pair();
            shard.mailbox.send(Command::Listen { uid: Arc::clone(&uid), answer });
            answers.push(wait);
        }
        let mut outcome = Ok(());
        for answer in answers {
            let answered = answer.await.unwrap_or_else(|| Err("the shard ended".to_owned()));
            outcome = outcome.and(answered);
        }
        if let Err(cause) = outcome {
            self.remove_everywhere(&uid).await;
            return Err(failed(cause));
        }
        self.pods().insert(uid, namespace);
        Ok(())
    }

    /// The shards that accept for a pod.
    fn listening(&self, uid: &str) -> impl Iterator<Item = &ShardHandle> {
        let first = hash(uid) as usize % self.shards.len();
        self.shards.iter().cycle().skip(first).take(LISTENERS_PER_PORT_MAX.min(self.shards.len()))
    }

    /// Closes every socket in the pod's namespace, at once.
    pub async fn remove_pod(&self, uid: &str) -> Result<(), EngineError> {
        self.pods().remove(uid);
        self.remove_everywhere(uid).await;
        Ok(())
    }

    /// What happened next to a connection; waits for it. For one caller at a time.
    pub async fn next_observation(&self) -> Observation {
        self.reports.next_observation().await
    }

    /// Observations that were overwritten because nobody read them in time.
    pub fn lost_observations(&self) -> u64 {
        self.reports.lost()
    }

    /// The figures of every shard, as of its last turn. Costs the shards nothing.
    pub fn statistics(&self) -> Vec<ShardStatistics> {
        let shards = self.shards.iter().enumerate();
        shards.map(|(id, shard)| shard.mailbox.figures().read(id)).collect()
    }

    /// Forgets the longest turn of each shard: [`Engine::statistics`] tells of the longest since then.
    pub fn reset_longest_turns(&self) {
        for shard in &self.shards {
            shard.mailbox.figures().reset_longest();
        }
    }

    /// What each pod has open, all shards together, in the order of their uids. Every shard looks at all of its
    /// connections for it: for a person who asks, not for a scrape.
    pub async fn connections_of_pods(&self) -> Vec<PodConnections> {
        let mut answers = Vec::new();
        for shard in &self.shards {
            let (answer, wait) = Answer::pair();
            shard.mailbox.send(Command::Census { answer });
            answers.push(wait);
        }
        let mut pods: BTreeMap<Arc<str>, PodConnections> = BTreeMap::new();
        for answer in answers {
            for counted in answer.await.unwrap_or_default() {
                match pods.get_mut(&counted.uid) {
                    Some(pod) => pod.add(&counted),
                    None => _ = pods.insert(Arc::clone(&counted.uid), counted),
                }
            }
        }
        pods.into_values().collect()
    }

    /// Stops accepting, sends GOAWAY, and returns when the last connection has ended. Whoever waits for it bounds the
    /// wait; what is left when the engine is dropped is cut.
    pub async fn drain(&self) {
        for shard in &self.shards {
            shard.mailbox.send(Command::Drain);
        }
        self.reports.until(|| self.shards.iter().all(|shard| shard.mailbox.is_idle())).await;
    }

    /// Cuts what is left and ends the shards. When it returns, every connection was told of, if somebody took the
    /// observations meanwhile: a shard that ends waits a second for room.
    pub async fn cut(&self) {
        for shard in &self.shards {
            shard.mailbox.send(Command::End);
        }
        self.reports.until(|| self.shards.iter().all(|shard| shard.mailbox.has_ended())).await;
    }

    async fn remove_everywhere(&self, uid: &str) {
        let uid: Arc<str> = Arc::from(uid);
        let mut answers = Vec::new();
        for shard in &self.shards {
            let (answer, wait) = Answer::pair();
            shard.mailbox.send(Command::RemovePod { uid: Arc::clone(&uid), answer });
            answers.push(wait);
        }
        for answer in answers {
            let _ = answer.await;
        }
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<Arc<str>, Option<NamespaceId>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for shard in self.shards.iter().filter(|shard| !shard.mailbox.has_ended()) {
            shard.mailbox.send(Command::End);
        }
        for shard in &mut self.shards {
            if let Some(thread) = shard.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

// === impl Pinning ===

impl Pinning {
    /// The cores to pin to, one shard after the other; `None` leaves it to the scheduler.
    fn cores(&self) -> Result<Option<Vec<usize>>, EngineError> {
        let allowed = usable_cores();
        match self {
            Self::Off => Ok(None),
            Self::Spread => Ok(Some(allowed)),
            Self::List(wanted) => {
                if let Some(core) = wanted.iter().find(|core| !allowed.contains(core)) {
                    let cause =
                        format!("core {core} of RINGWAY_PIN is not among those we may use: {allowed:?}");
                    return Err(EngineError::Start { shard: 0, cause });
                }
                Ok(Some(wanted.clone()))
            }
        }
    }
}

/// The cores of the affinity mask of this process.
pub fn usable_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Waits for every shard, and returns their mailboxes in order; the first that failed decides.
fn await_all(
    readiness: &mpsc::Receiver<(usize, Result<Doorbell, String>)>,
    count: usize,
) -> Result<Arc<[Arc<Mailbox>]>, EngineError> {
    let mut mailboxes: Vec<Option<Arc<Mailbox>>> = vec![None; count];
    for _ in 0..count {
        let Ok((shard, answer)) = readiness.recv() else { return Err(EngineError::Ended) };
        let doorbell = answer.map_err(|cause| EngineError::Start { shard, cause })?;
        mailboxes[shard] = Some(Arc::new(Mailbox::new(doorbell)));
    }
    mailboxes.into_iter().collect::<Option<Vec<_>>>().map(Arc::from).ok_or(EngineError::Ended)
}

fn namespace_id(netns: &OwnedFd) -> io::Result<NamespaceId> {
    let stat = nix::sys::stat::fstat(netns)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// A different sequence for every shard of every process: the standard library's own random seed.
fn seed(shard: usize) -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_usize(shard);
    hasher.finish()
}

fn hash(uid: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
