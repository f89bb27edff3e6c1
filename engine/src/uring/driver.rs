//! The driver as its shard sees it. Most methods only note what is wanted; [`Driver::turn`] does it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::buffers::{GROUP_BUFFERS_MAX, Group, GroupConfig};
use super::completion::{Completion, RecvMode, Token};
use super::counters::{Count, Counters, Counting};
use super::doorbell::Doorbell;
use super::ops::{BULK, CHATTY, Kind, OpId, Ops, Owner, State};
use super::preflight::{Failure, explain_setup_now};
use super::ring::{Cqe, Ring};
use super::submit::Request;
use super::timers::{Clock, TimerId, Wheel};

/// The kernel's limit for a submission queue.
const ENTRIES_MAX: u32 = 32_768;
/// What one receive of a transfer brings at most: two full segments of a tunnel, so that few records are cut, and well
/// inside the near cache with what they are sealed or opened into (docs/perf/bulk-buffers.md).
const BULK_BYTES: u32 = 128 * 1024;
/// The kernel takes no more slices in one call (UIO_MAXIOV).
const SLICES_MAX: usize = 1_024;
/// How long `shutdown` waits for the kernel to end what it cancelled, before it leaves the memory behind.
const SHUTDOWN_MS_MAX: u64 = 5_000;

/// Sizes of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverConfig {
    /// Entries submitted by one enter; more operations than that are submitted in several.
    pub entries: u32,
    pub chatty: GroupConfig,
    pub bulk: GroupConfig,
}

/// Why a driver could not be made.
#[derive(Debug, Error)]
pub enum DriverError {
    #[error("driver configuration: {0}")]
    Config(&'static str),
    #[error("{0}")]
    Setup(Failure),
    #[error("receive buffers ({buffers} x {size} bytes) could not be given to io_uring: {error}")]
    Buffers { buffers: u16, size: u32, error: io::Error },
    #[error("eventfd of the doorbell: {0}")]
    Doorbell(io::Error),
}

/// All I/O of one shard. Clones are the same driver; it stays on the thread that made it.
#[derive(Clone)]
pub struct Driver {
    pub(super) inner: Rc<Inner>,
}

pub(super) struct Inner {
    /// First: it goes before the memory that its kernel side may know.
    pub(super) ring: Ring,
    pub(super) groups: [Rc<Group>; 2],
    pub(super) core: RefCell<Core>,
    pub(super) counters: Counting,
    pub(super) bell: Doorbell,
    pub(super) now: Cell<Instant>,
    pub(super) clock: Clock,
    turning: Cell<bool>,
}

/// What changes. Never borrowed while code of the caller runs.
pub(super) struct Core {
    pub(super) ops: Ops,
    /// What the next enter submits.
    pub(super) pending: VecDeque<Request>,
    /// Completions that need no kernel.
    pub(super) local: VecDeque<Cqe>,
    /// Receives that wait for a buffer, by group, the longest waiting first.
    pub(super) starving: [VecDeque<OpId>; 2],
    /// Receives the kernel holds, by group.
    pub(super) receiving: [usize; 2],
    /// Operations the kernel holds, the doorbell's included.
    pub(super) kernel: usize,
    pub(super) timers: Wheel<Alarm>,
    pub(super) closed: bool,
}

/// Who is told that a timer fired.
pub(super) enum Alarm {
    Table(Token),
    Future(Option<Waker>),
}

/// Marks that a turn runs; turns do not nest.
struct Turn<'a>(&'a Inner);

// === impl Driver ===

impl Driver {
    /// A driver for this thread. The error says what the system lacks.
    pub fn new(config: &DriverConfig) -> Result<Self, DriverError> {
        config.check()?;
        let ring =
            Ring::new(config.entries).map_err(|error| DriverError::Setup(explain_setup_now(&error)))?;
        let chatty = register(&ring, CHATTY, config.chatty)?;
        let bulk = register(&ring, BULK, config.bulk)?;
        let bell = Doorbell::new().map_err(|errno| DriverError::Doorbell(errno.into()))?;
        let now = Instant::now();
        let mut core = Core::new(config.entries as usize);
        core.pending.push_back(Request::Doorbell);
        let inner = Inner {
            ring,
            groups: [chatty, bulk],
            core: RefCell::new(core),
            counters: Counting::default(),
            bell,
            now: Cell::new(now),
            clock: Clock::new(now),
            turning: Cell::new(false),
        };
        Ok(Self { inner: Rc::new(inner) })
    }

    /// What other threads ring to wake this shard.
    pub fn doorbell(&self) -> Doorbell {
        self.inner.bell.clone()
    }

    /// The time, read once per turn, when the ring has been left. Before it waits for a timer a turn reads the clock again,
    /// and whoever measures turns a third time: 20 ns each, none of them per chunk.
    pub fn now(&self) -> Instant {
        self.inner.now.get()
    }

    /// Accepts until cancelled or failed, non-blocking and close-on-exec. An error that concerns one connection only is
    /// not shown; others (no fds left) end it, and the caller decides when to try again.
    pub fn accept(&self, listener: BorrowedFd<'_>, token: Token) -> OpId {
        self.inner.start(listener.as_raw_fd(), Kind::Accept, Owner::Table(token))
    }

    /// Receives: in chatty mode until it ends or is cancelled, in bulk mode once.
    ///
    /// At most one receive of a socket is under way, and the mode changes only after the final completion. A lack of
    /// buffers is not shown; the receive goes on, in turn with others, when leases come back. The kernel hands out at
    /// most about 32 buffers of one chatty socket per turn.
    pub fn recv(&self, fd: BorrowedFd<'_>, mode: RecvMode, token: Token) -> OpId {
        let kind = Kind::Recv { mode, once: mode == RecvMode::Bulk, scarce: false, most: u32::MAX };
        self.inner.start(fd.as_raw_fd(), kind, Owner::Table(token))
    }

    /// A bulk receive that takes no more than `most` bytes, where what comes of them should have a certain size.
    pub fn recv_up_to(&self, fd: BorrowedFd<'_>, most: u32, token: Token) -> OpId {
        debug_assert!(most > 0);
        let kind = Kind::Recv { mode: RecvMode::Bulk, once: true, scarce: false, most };
        self.inner.start(fd.as_raw_fd(), kind, Owner::Table(token))
    }

    /// Sends a part of `buffer`, all of it; one completion brings the buffer back. At most one send of a socket is under
    /// way.
    pub fn send(&self, fd: BorrowedFd<'_>, buffer: Vec<u8>, part: Range<usize>, token: Token) -> OpId {
        debug_assert!(part.start <= part.end && part.end <= buffer.len());
        let Range { start: position, end } = part;
        self.inner.start(fd.as_raw_fd(), Kind::Send { buffer, position, end }, Owner::Table(token))
    }

    /// Completes once when the socket fails or is closed by both sides; needed while no receive is armed, since
    /// otherwise nobody hears of an RST. The peer's FIN alone does not complete it.
    pub fn watch(&self, fd: BorrowedFd<'_>, token: Token) -> OpId {
        self.inner.start(fd.as_raw_fd(), Kind::Watch { seen: None }, Owner::Table(token))
    }

    /// Completes once when the socket has room to send, or failed.
    pub fn writable(&self, fd: BorrowedFd<'_>, token: Token) -> OpId {
        self.inner.start(fd.as_raw_fd(), Kind::Poll { events: libc::POLLOUT as u32 }, Owner::Table(token))
    }

    /// Ends an operation early. Its final completion is still delivered: cancelled, or what it had.
    pub fn cancel(&self, op: OpId) {
        self.inner.cancel(op);
    }

    /// Sends at once, by a system call of its own, what the socket takes without waiting.
    pub fn try_send(&self, fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let slices = &slices[..slices.len().min(SLICES_MAX)];
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        loop {
            match socket2::SockRef::from(&fd).send_vectored_with_flags(slices, flags) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(bytes) => {
                    self.inner.counters.sends_direct.one();
                    self.inner.counters.bytes_out_direct.add(bytes as u64);
                    return Ok(bytes);
                }
            }
        }
    }

    /// Fires once, at `at` or up to a millisecond later (and at the end of the turn that runs then).
    pub fn timer(&self, at: Instant, token: Token) -> TimerId {
        self.inner.set_timer(at, Alarm::Table(token))
    }

    /// A timer that fired already is left alone.
    pub fn cancel_timer(&self, id: TimerId) {
        let alarm = self.inner.core.borrow_mut().timers.cancel(id);
        drop(alarm);
    }

    /// One turn: submits what was asked for, with `wait` waits until there is something to tell, tells it to `on` and to
    /// the futures. Returns how much was told; with `wait` it is zero only when the kernel is short of memory or the
    /// driver is shut down.
    ///
    /// `on` may call any method but this one. An error means that the ring cannot be used any more.
    pub fn turn(&self, wait: bool, on: &mut dyn FnMut(Completion)) -> io::Result<usize> {
        let inner = &*self.inner;
        let _turn = Turn::begin(inner);
        inner.counters.turns.one();
        loop {
            inner.feed();
            inner.stage()?;
            let refused = inner.enter(wait)?;
            inner.now.set(Instant::now());
            let told = inner.answer(on) + inner.reap(on) + inner.fire(on);
            if told > 0 || !wait || refused || inner.core.borrow().closed {
                return Ok(told);
            }
        }
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.inner.counters.read()
    }

    /// Cancels everything and waits until the kernel holds nothing of ours. What completes meanwhile is dropped: accepted
    /// fds are closed, futures woken, timers forgotten. Operations asked for afterwards are cancelled at once.
    ///
    /// Tasks whose futures wait here hold the driver and are held by it through their wakers: call this to part them.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }

    /// Receive buffers of a mode that no lease holds.
    pub fn buffers_left(&self, mode: RecvMode) -> usize {
        self.inner.groups[usize::from(mode.group())].available()
    }

    /// Operations that are not over.
    pub fn in_flight(&self) -> usize {
        self.inner.core.borrow().ops.live()
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    pub(super) fn start(&self, fd: RawFd, kind: Kind, owner: Owner) -> OpId {
        let mut core = self.core.borrow_mut();
        let id = core.ops.insert(fd, kind, owner);
        if core.closed {
            core.answer(id, libc::ECANCELED);
        } else {
            core.pending.push_back(Request::Start(id));
        }
        id
    }

    pub(super) fn cancel(&self, id: OpId) {
        if self.core.borrow_mut().cancel(id) {
            self.counters.cancels.one();
        }
    }

    pub(super) fn set_timer(&self, at: Instant, alarm: Alarm) -> TimerId {
        self.core.borrow_mut().timers.insert(self.clock.tick_at(at), alarm)
    }

    fn shutdown(&self) {
        let alarms = self.core.borrow_mut().timers.clear();
        for alarm in alarms {
            if let Alarm::Future(Some(waker)) = alarm {
                waker.wake();
            }
        }
        {
            let mut core = self.core.borrow_mut();
            if !std::mem::replace(&mut core.closed, true) {
                core.pending.push_back(Request::StopDoorbell);
            }
            #[cfg(debug_assertions)]
            core.ops.dismiss_witnesses();
            let ids: Vec<OpId> = core.ops.ids().collect();
            for id in ids {
                core.cancel(id);
            }
        }
        let deadline = Instant::now() + Duration::from_millis(SHUTDOWN_MS_MAX);
        while !self.core.borrow().is_idle() && Instant::now() < deadline {
            if self.stage().and_then(|()| self.enter_to_end()).is_err() {
                return;
            }
            self.answer(&mut drop);
            self.reap(&mut drop);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
        let core = self.core.get_mut();
        if core.kernel > 0 {
            // The kernel may still write into these: better lost than reused.
            std::mem::forget(self.groups.clone());
            std::mem::forget(std::mem::replace(&mut core.ops, Ops::with_capacity(0)));
        }
    }
}

// === impl Core ===

impl Core {
    fn new(entries: usize) -> Self {
        Self {
            ops: Ops::with_capacity(entries),
            pending: VecDeque::with_capacity(entries),
            local: VecDeque::with_capacity(entries),
            starving: [VecDeque::with_capacity(entries), VecDeque::with_capacity(entries)],
            receiving: [0; 2],
            kernel: 0,
            timers: Wheel::new(),
            closed: false,
        }
    }

    /// Completes an operation that the kernel does not hold.
    pub(super) fn answer(&mut self, id: OpId, errno: i32) {
        let Some(slot) = self.ops.get_mut(id) else { return };
        slot.state = State::Answered;
        self.local.push_back(Cqe::own(id.user_data(), errno));
    }

    /// Whether there was something to cancel.
    pub(super) fn cancel(&mut self, id: OpId) -> bool {
        let Some(slot) = self.ops.get_mut(id) else { return false };
        if slot.cancelled {
            return false;
        }
        slot.cancelled = true;
        match slot.state {
            // The next staging finds it cancelled.
            State::Queued => {}
            State::Kernel => self.pending.push_back(Request::Cancel(id)),
            State::Starving => {
                for queue in &mut self.starving {
                    queue.retain(|starving| *starving != id);
                }
                self.answer(id, libc::ECANCELED);
            }
            State::Answered | State::Done | State::Free(_) => return false,
        }
        true
    }

    fn is_idle(&self) -> bool {
        self.kernel == 0 && self.ops.live() == 0 && self.pending.is_empty() && self.local.is_empty()
    }
}

// === impl DriverConfig ===

impl Default for DriverConfig {
    /// 2 MiB of small buffers, 8 MiB of large ones and the room before them, none of it touched before it is needed.
    fn default() -> Self {
        Self {
            entries: 512,
            chatty: GroupConfig { buffers: 128, size: 16 * 1024 },
            bulk: GroupConfig { buffers: 64, size: BULK_BYTES },
        }
    }
}

impl DriverConfig {
    fn check(&self) -> Result<(), DriverError> {
        if self.entries == 0 || self.entries > ENTRIES_MAX {
            return Err(DriverError::Config("the number of entries must be between 1 and 32,768"));
        }
        for group in [self.chatty, self.bulk] {
            if !group.buffers.is_power_of_two() || group.buffers > GROUP_BUFFERS_MAX {
                return Err(DriverError::Config("the number of buffers must be a power of two up to 32,768"));
            }
            if group.size == 0 || group.size > i32::MAX as u32 {
                return Err(DriverError::Config("the size of buffers must be between 1 byte and 2 GiB"));
            }
        }
        Ok(())
    }
}

// === impl Turn ===

impl<'a> Turn<'a> {
    fn begin(inner: &'a Inner) -> Self {
        assert!(!inner.turning.replace(true), "Driver::turn was called from within itself");
        Self(inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.turning.set(false);
    }
}

fn register(ring: &Ring, id: u16, config: GroupConfig) -> Result<Rc<Group>, DriverError> {
    let GroupConfig { buffers, size } = config;
    let group = Group::new(id, config).and_then(|group| ring.register(&group).map(|()| group));
    group.map(Rc::new).map_err(|error| DriverError::Buffers { buffers, size, error })
}
