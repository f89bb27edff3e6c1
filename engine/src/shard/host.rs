//! The thread of a shard: glommio hosts and places it, our ring is what it sleeps in.
//!
//! One glommio task per shard runs this loop. Set-up tasks run on a local executor whose queue the loop can see, so it
//! never blocks in the ring while something is runnable (rules of the driver, 1). glommio's own sockets, timers and
//! channels are not used.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use async_executor::LocalExecutor;
use glommio::{LocalExecutorBuilder, Placement};

use super::{Command, Mailbox, Reports, Shard, Tables};
use crate::engine::EngineConfig;
use crate::mesh::Snapshot;
use crate::net::{Migration, SocketOptions};
use crate::pool::Pool;
use crate::uring::{Completion, Doorbell, Driver, DriverConfig};

/// glommio registers this much memory in each of its rings; the least it takes, since it does no I/O here.
const GLOMMIO_IO_MEMORY_BYTES: usize = 64 * 1024;

/// Set-up tasks that run before the loop looks at its connections again, so that a storm of new connections does not
/// hold up those that move bytes.
const TASKS_PER_TURN_MAX: usize = 64;

/// What a shard needs to begin.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: usize,
    pub(crate) core: Option<usize>,
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) entropy: u64,
}

/// Gives each shard the way to all of them, once all are there.
type Neighbours = mpsc::Receiver<Arc<[Arc<Mailbox>]>>;

/// Starts the thread of a shard. It answers with its doorbell, or with why it could not start, and then waits for the
/// mailboxes of all shards.
pub(crate) fn start(
    plan: Plan,
    ready: mpsc::Sender<(usize, Result<Doorbell, String>)>,
    neighbours: Neighbours,
) -> Result<JoinHandle<()>, String> {
    let id = plan.id;
    std::thread::Builder::new()
        .name(format!("ringway-{id}"))
        .spawn(move || {
            let _fuse = Fuse;
            let placement = plan.core.map_or(Placement::Unbound, Placement::Fixed);
            let executor = LocalExecutorBuilder::new(placement)
                .io_memory(GLOMMIO_IO_MEMORY_BYTES)
                .name(&format!("ringway-{id}"))
                .make();
            match executor {
                Ok(executor) => executor.run(live(plan, ready, neighbours)),
                Err(cause) => {
                    let cause =
                        format!("glommio refused: {cause}; it needs 512 KiB of locked memory (ulimit -l)");
                    let _ = ready.send((id, Err(cause)));
                }
            }
        })
        .map_err(|cause| format!("no thread for shard {id}: {cause}"))
}

/// The pods of a shard that panicked would have nobody: the process ends, and is started again.
struct Fuse;

impl Drop for Fuse {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// The life of a shard.
async fn live(plan: Plan, ready: mpsc::Sender<(usize, Result<Doorbell, String>)>, neighbours: Neighbours) {
    let driver = match Driver::new(&DriverConfig::default()) {
        Ok(driver) => driver,
        Err(cause) => {
            let _ = ready.send((plan.id, Err(cause.to_string())));
            return;
        }
    };
    let _ = ready.send((plan.id, Ok(driver.doorbell())));
    drop(ready);
    // Another shard failed: the engine does not start.
    let Ok(mailboxes) = neighbours.recv() else { return };
    let shard = Rc::new(Shard {
        id: plan.id,
        options: SocketOptions { mark: plan.config.packet_mark, keepalive: plan.config.keepalive },
        tables: RefCell::new(Tables::new(driver.clone(), plan.id as u32)),
        pool: RefCell::new(Pool::default()),
        pods: RefCell::default(),
        executor: LocalExecutor::new(),
        snapshot: RefCell::new(plan.snapshot),
        waiting_for_snapshot: RefCell::default(),
        mailboxes,
        reports: plan.reports,
        draining: Cell::new(false),
        ending: Cell::new(false),
        setting_up: Cell::new(0),
        has_turned: Cell::new(false),
        entropy: Cell::new(plan.entropy),
        config: plan.config,
        driver,
    });
    while !shard.ending.get() {
        if let Err(cause) = shard.turn() {
            // The ring itself is broken; nothing on this shard can go on.
            eprintln!("ringway: shard {}: the ring failed: {cause}", shard.id);
            std::process::abort();
        }
        futures_lite::future::yield_now().await;
    }
    shard.end();
}

impl Shard {
    /// One turn: set-up tasks, then one send per socket that has something, then the ring, then what it brought.
    pub(super) fn turn(self: &Rc<Self>) -> io::Result<()> {
        let idle = self.run_tasks();
        // Before the flush: whom these cut is told so by it.
        let more = self.judge_again() | self.verify_again();
        self.tables.borrow_mut().flush();
        // Before the ring is slept in: what tasks and the flush ended wants to be told of, and may have woken a task.
        self.follow_up();
        let more = self.report_progress() || more;
        let idle = idle && !more && !self.executor.try_tick();
        self.show_figures(&self.tables.borrow());
        self.turned();
        self.driver.turn(idle, &mut |completion| match completion {
            Completion::Accepted { token, result, more } => self.accepted(token, result, more),
            Completion::Doorbell => self.read_mail(),
            moved => self.tables.borrow_mut().dispatch(moved),
        })?;
        self.follow_up();
        Ok(())
    }

    /// Runs what is runnable; true if nothing is left to run.
    fn run_tasks(&self) -> bool {
        for _ in 0..TASKS_PER_TURN_MAX {
            if !self.executor.try_tick() {
                return true;
            }
        }
        false
    }

    /// What completions asked for that needs the whole shard: streams that peers requested, records, the load.
    fn follow_up(self: &Rc<Self>) {
        let mut tables = self.tables.borrow_mut();
        self.count_load(&tables);
        if std::mem::take(&mut tables.tunnels_left) {
            self.pool.borrow_mut().forget_unused(&tables.tunnels);
        }
        let mut requested = std::mem::take(&mut tables.requested);
        let mut observed = std::mem::take(&mut tables.observed);
        drop(tables);
        for observation in observed.drain(..) {
            self.report(observation);
        }
        for request in requested.drain(..) {
            let pod = Rc::clone(&request.tunnel.pod);
            self.spawn(&pod, crate::inbound::serve_stream(Rc::clone(self), request));
        }
        let mut tables = self.tables.borrow_mut();
        tables.requested = requested;
        tables.observed = observed;
        // A listener that closes still serves who was connected before.
        let empty = tables.is_empty() && tables.listeners.is_empty() && self.setting_up.get() == 0;
        drop(tables);
        let mailbox = &self.mailboxes[self.id];
        if empty && !mailbox.is_idle() && self.nothing_comes() {
            mailbox.set_idle();
            self.reports.shard_drained();
        }
    }

    /// We accept nothing more, and no shard that still does has handed something over: what came before it told that it
    /// drains is in the mailbox by then.
    fn nothing_comes(&self) -> bool {
        self.draining.get()
            && self.mailboxes.iter().all(|mailbox| mailbox.is_draining())
            && self.mailboxes[self.id].is_read()
    }

    fn read_mail(self: &Rc<Self>) {
        while let Some(command) = self.mailboxes[self.id].next() {
            match command {
                Command::Publish(snapshot) => self.take_snapshot(snapshot),
                Command::AddPod { pod, answer } => answer.give(self.add_pod(pod)),
                Command::Listen { uid, answer } => answer.give(self.listen(&uid)),
                Command::RemovePod { uid, answer } => {
                    self.remove_pod(&uid);
                    answer.give(Ok(()));
                }
                Command::Adopt { pod, port, socket } => {
                    let pod = self.pods.borrow().get(&pod).map(Rc::clone);
                    if let Some(pod) = pod {
                        self.serve(&pod, port, socket);
                    }
                }
                Command::Census { answer } => answer.give(self.census()),
                Command::Drain => self.drain(),
                Command::End => self.ending.set(true),
            }
        }
    }

    /// Accepts nothing more, tells every peer, and lets what runs come to its end.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.mailboxes[self.id].set_draining();
        // One that has drained before us waits for this.
        self.mailboxes.iter().for_each(|mailbox| mailbox.ring());
        let pods: Vec<_> = self.pods.borrow().values().map(Rc::clone).collect();
        // Where it can't be had, the listeners close all the same.
        let migration = self.config.port_reuse.then(Migration::open).and_then(Result::ok);
        for pod in pods {
            if let Some(migration) = &migration {
                let _ = migration.allow(&pod.netns);
            }
            self.close_listeners(&pod);
        }
        let mut tables = self.tables.borrow_mut();
        tables.draining = true;
        for key in tables.tunnels.keys() {
            tables.drain_tunnel(key);
        }
    }

    /// Closes everything that is left, and the ring.
    pub(super) fn end(&self) {
        let uids: Vec<_> = self.pods.borrow().keys().map(Arc::clone).collect();
        for uid in uids {
            self.cut_pod(&uid, "connection closed due to connection drain");
        }
        // Tasks that are cancelled hold the shard until they are dropped here.
        while self.executor.try_tick() {}
        let observed = std::mem::take(&mut self.tables.borrow_mut().observed);
        self.reports.observed_at_last(observed.into_iter());
        self.driver.shutdown();
        self.mailboxes[self.id].set_ended();
        self.reports.shard_drained();
    }
}
