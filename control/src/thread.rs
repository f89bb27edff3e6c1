//! The control thread: it drives the engine, tells of its connections, answers who asks, and ends the process in order.
//!
//! A tokio runtime of its own, on a thread of its own, away from the shards' cores where there is a core left. The
//! engine outlives it: a panic in here is caught and the thread's work begins anew while the shards serve what they
//! know; the third within ten minutes ends the process by draining it.

use std::any::Any;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::absolute;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::engine::{Engine, EngineError};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use rustix::process::setpriority_process;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::admin::{self, Admin, Origins};
use crate::endpoints::{Endpoints, Routers};
use crate::environment::{Environment, Mode, PodSource};
use crate::figures::{self, Figures};
use crate::metrics;
use crate::plane::DataPlane;
use crate::readiness::{self, Readiness, Task};
use crate::sources::{self, Known};
use crate::succession::Succession;
use crate::telemetry::Telemetry;

pub use crate::channel::HeaderError;
pub use crate::http::{BindError, Endpoint};
pub use crate::sources::SourceError;

/// The nice value of the control thread: a ninth of a shard's share of a contended core.
const CONTROL_NICE: i32 = 10;

/// Panics within the time below that end the process: one may be a bad input, a series is a broken program.
const PANICS_MAX: usize = 3;

const PANIC_MEMORY_SECONDS: u64 = 600;

/// The pause before work that could not begin is tried again: what the system lacks, descriptors mostly, comes back with
/// those who give it back.
const RETRY_PAUSE_MS: u64 = 1_000;

/// The pause before sources that cannot be opened after a panic are tried again.
const REOPEN_SECONDS: u64 = 5;

#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Endpoint(#[from] BindError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "the control thread does not start: {0}; raise the limits of threads and open files (ulimit -u, -n)"
    )]
    Thread(#[from] io::Error),
}

/// How the process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Ordered,
    /// The control thread panicked too often.
    GaveUp,
}

/// The order to drain and end. Clones give the same order.
#[derive(Clone, Debug)]
pub struct Shutdown(pub(crate) watch::Sender<bool>);

/// The running proxy.
#[derive(Debug)]
pub struct ControlThread {
    thread: JoinHandle<Ended>,
    shutdown: Shutdown,
}

/// Everything that is wrong with the files that the environment names. Nothing is made, and nobody is connected to.
pub fn refusals(environment: &Environment) -> io::Result<Vec<SourceError>> {
    Ok(runtime()?.block_on(sources::refusals(environment)))
}

/// Starts everything and returns when the shards run. For files that have no [`refusals`].
pub fn start(environment: Environment) -> Result<ControlThread, StartError> {
    let mut known = Known::new(&environment);
    known.succession = match &environment.mode {
        Mode::Shared { pods: PodSource::Zds(agent) } => Succession::enter(agent)?,
        Mode::Shared { pods: PodSource::File(list) } => Succession::enter(&absolute(list)?)?,
        Mode::Dedicated { .. } => Succession::default(),
    };
    let endpoints = Endpoints::open(&environment, known.succession.has_predecessor())?;
    let engine = Engine::start(environment.engine.clone(), known.latest.get())?;
    // What is made stays: so it comes after all that can fail.
    sources::make(&environment)?;

    let readiness = Readiness::starting();
    readiness.set(Task::Proxy, true);
    let shutdown = Shutdown(watch::Sender::new(false));
    let telemetry = Telemetry::new(&environment);
    let work =
        Work { engine, environment, known, readiness, endpoints, telemetry, shutdown: shutdown.clone() };
    let thread = thread::Builder::new().name("control".to_owned()).spawn(move || work.supervise())?;
    Ok(ControlThread { thread, shutdown })
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

// === impl ControlThread ===

impl ControlThread {
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Waits for the end of the process's work.
    pub fn join(self) -> Ended {
        self.thread.join().unwrap_or(Ended::GaveUp)
    }
}

// === impl Shutdown ===

impl Shutdown {
    pub fn order(&self) {
        self.0.send_replace(true);
    }

    async fn ordered(&self) {
        let mut receiver = self.0.subscribe();
        // The sender is `self`: it cannot be gone.
        let _ = receiver.wait_for(|ordered| *ordered).await;
    }
}

/// All that outlives one run of the thread's work.
struct Work<P> {
    engine: P,
    environment: Environment,
    known: Known,
    readiness: Readiness,
    endpoints: Endpoints,
    telemetry: Telemetry,
    shutdown: Shutdown,
}

impl<P: DataPlane> Work<P> {
    fn supervise(self) -> Ended {
        pin(self.environment.control_core);
        step_back();
        let ended = until_ended(Restarts::default(), || self.may_retry(), || self.run());
        if ended == Ended::GaveUp {
            let drained = catch_unwind(AssertUnwindSafe(|| self.drain_alone()));
            if !matches!(drained, Ok(Ok(()))) {
                error!("the drain was cut short");
            }
        }
        ended
    }

    /// Works until the order to end, and then drains.
    fn run(&self) -> io::Result<()> {
        runtime()?.block_on(async {
            let mut attending = pin!(self.attend());
            tokio::select! {
                never = self.follow() => match never {},
                failed = &mut attending => match failed? {},
                () = self.shutdown.ordered() => {}
            }
            self.drain(attending).await
        })
    }

    /// Drains after a run that cannot.
    fn drain_alone(&self) -> io::Result<()> {
        runtime()?.block_on(self.drain(pin!(self.attend())))
    }

    /// After a pause; not where the end was ordered meanwhile.
    fn may_retry(&self) -> bool {
        if !*self.shutdown.0.borrow() {
            thread::sleep(Duration::from_millis(RETRY_PAUSE_MS));
        }
        !*self.shutdown.0.borrow()
    }

    /// Tells of connections and answers who asks: from the beginning to the end of the drain.
    async fn attend(&self) -> io::Result<Infallible> {
        let (figures, mut questions) = figures::channel();
        tokio::select! {
            never = self.telemetry.follow(&self.engine) => match never {},
            never = questions.answer(&self.engine) => match never {},
            never = self.endpoints.serve(self.routers(figures), self.known.succession.succeeded()) => match never? {},
        }
    }

    /// Follows the sources. Until they can be opened, which after a panic may take a while, the shards serve what they
    /// have.
    async fn follow(&self) -> Infallible {
        let mut told = String::new();
        loop {
            match sources::open(&self.environment, &self.known).await {
                Ok((reconciler, mut clients)) => tokio::select! {
                    never = reconciler.run(&self.engine, &self.readiness) => match never {},
                    never = clients.watch() => match never {},
                },
                Err(error) if error.to_string() != told => {
                    told = error.to_string();
                    warn!(error = told, "the shards go on with what they know");
                }
                Err(_) => {}
            }
            sleep(Duration::from_secs(REOPEN_SECONDS)).await;
        }
    }

    /// Lets connections finish, while what they leave behind is told and who asks hears that we are going.
    async fn drain(
        &self,
        mut attending: Pin<&mut impl Future<Output = io::Result<Infallible>>>,
    ) -> io::Result<()> {
        // The clients of the run have to be gone before anybody is told so.
        tokio::task::yield_now().await;
        self.known.succession.resign();
        info!("draining, for {:?} at most", self.environment.drain_deadline);
        self.readiness.set(Task::Drain, false);
        let drained = timeout(self.environment.drain_deadline, self.engine.drain());
        tokio::select! {
            drained = drained => if drained.is_err() {
                warn!("connections that are still open are cut");
            },
            failed = &mut attending => match failed? {},
        }
        self.engine.cut().await;
        while let Ok(observation) = timeout(Duration::ZERO, self.engine.next_observation()).await {
            self.telemetry.note(&observation);
        }
        // Whoever follows them is to see an end, and not a connection that broke off.
        tokio::select! {
            () = self.telemetry.flows.finish() => {}
            failed = attending => match failed? {},
        }
        Ok(())
    }

    /// What is answered to who asks.
    fn routers(&self, figures: Figures) -> Routers {
        let Telemetry { connections, flows, standing, failures, .. } = self.telemetry.clone();
        let (known, readiness) = (self.known.clone(), self.readiness.clone());
        Routers {
            readiness: readiness::router(readiness.clone()),
            stats: metrics::router(metrics::Sources {
                connections,
                known: known.clone(),
                readiness: readiness.clone(),
                figures: figures.clone(),
            }),
            admin: admin::router(Admin {
                known,
                readiness,
                figures,
                flows,
                standing,
                failures,
                shutdown: self.shutdown.clone(),
                node: self.environment.node_name.as_deref().map(Arc::from),
                origins: Origins::of(&self.environment),
                suites: self.environment.suites,
                config: Arc::new(admin::config(&self.environment)),
            }),
        }
    }
}

/// Runs the work until it is done or panics too often. Work that cannot begin is no panic: it is tried again, unless
/// `may_retry`, asked each time, says that there is no use.
fn until_ended(
    mut restarts: Restarts,
    mut may_retry: impl FnMut() -> bool,
    mut work: impl FnMut() -> io::Result<()>,
) -> Ended {
    loop {
        // Whatever the work leaves behind after a panic is read with that in mind: see `Running` and `Readiness`.
        match catch_unwind(AssertUnwindSafe(&mut work)) {
            Ok(Ok(())) => return Ended::Ordered,
            Ok(Err(cause)) => {
                error!(%cause, "the control thread cannot work");
                if may_retry() {
                    continue;
                }
                return Ended::GaveUp;
            }
            Err(panic) => {
                error!(panic = panic_text(&*panic), "the control thread panicked; please report it")
            }
        }
        if !restarts.may_go_on(Instant::now()) {
            error!("the control thread panicked {PANICS_MAX} times in ten minutes; ending");
            return Ended::GaveUp;
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}

/// The panics of the last ten minutes.
#[derive(Debug, Default)]
struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Notes a panic; false if it was one too many.
    fn may_go_on(&mut self, now: Instant) -> bool {
        self.0.retain(|panic| now.duration_since(*panic) < Duration::from_secs(PANIC_MEMORY_SECONDS));
        self.0.push_back(now);
        self.0.len() < PANICS_MAX
    }
}

/// Keeps the calling thread on a core. Not being able to is no reason not to run.
fn pin(core: Option<usize>) {
    let Some(core) = core else { return };
    let mut mask = CpuSet::new();
    let pinned = mask.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &mask));
    if let Err(error) = pinned {
        warn!(core, %error, "the control thread is not pinned");
    }
}

/// Lets the shards go first where there are not enough cores: a large push would hold them up for slices of the
/// scheduler otherwise (docs/perf/control-plane.md).
fn step_back() {
    // Linux takes "this process" for the calling thread.
    if let Err(error) = setpriority_process(None, CONTROL_NICE) {
        warn!(%error, "the control thread keeps the priority of the shards");
    }
}

#[cfg(test)]
mod tests;
