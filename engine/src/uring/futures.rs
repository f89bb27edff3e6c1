//! Operations as futures, for the set-up of a connection. What is established works with completions instead.
//!
//! A future holds no memory that the kernel knows: its operation has a slot of its own, which ends by itself when the
//! future is dropped. What a dropped future had received or sent is lost, so its connection has to be closed.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use socket2::SockAddr;

use super::buffers::Lease;
use super::completion::{Received, RecvMode};
use super::driver::{Alarm, Driver};
use super::ops::{Kind, OpId, Outcome, Owner};
use super::timers::TimerId;

impl Driver {
    /// Connects; `TimedOut` when it was not done by the deadline.
    pub async fn connect(&self, fd: BorrowedFd<'_>, to: SocketAddr, deadline: Instant) -> io::Result<()> {
        let address = Box::new(SockAddr::from(to));
        let mut operation = pin!(Operation::start(self, fd.as_raw_fd(), Kind::Connect { address }));
        let mut alarm = pin!(self.sleep_until(deadline));
        let mut expired = false;
        let outcome = poll_fn(|context| {
            if let Poll::Ready(outcome) = operation.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            if !expired && alarm.as_mut().poll(context).is_ready() {
                expired = true;
                // Its end is still waited for: it may have connected in this very moment.
                self.cancel(operation.id);
            }
            Poll::Pending
        })
        .await;
        match outcome {
            Outcome::Polled(Err(_)) if expired => Err(io::ErrorKind::TimedOut.into()),
            Outcome::Polled(result) => result.map(drop),
            _ => Err(unexpected()),
        }
    }

    /// Receives once, into a small buffer that is taken when bytes arrive. `None` is the end of the stream.
    pub async fn recv_some(&self, fd: BorrowedFd<'_>) -> io::Result<Option<Lease>> {
        let kind = Kind::Recv { mode: RecvMode::Chatty, once: true, scarce: false, most: u32::MAX };
        match Operation::start(self, fd.as_raw_fd(), kind).await {
            Outcome::Received(Received::Data(lease)) => Ok(Some(lease)),
            Outcome::Received(Received::Eof) => Ok(None),
            Outcome::Received(Received::Cancelled) => Err(io::Error::from_raw_os_error(libc::ECANCELED)),
            Outcome::Received(Received::Failed(error)) => Err(error),
            _ => Err(unexpected()),
        }
    }

    /// Sends all of it and gives the buffer back.
    pub async fn send_all(&self, fd: BorrowedFd<'_>, buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        let end = buffer.len();
        match Operation::start(self, fd.as_raw_fd(), Kind::Send { buffer, position: 0, end }).await {
            Outcome::Sent { buffer, result, .. } => result.map(|()| buffer),
            _ => Err(unexpected()),
        }
    }

    pub async fn sleep_until(&self, at: Instant) {
        Sleep { driver: self.clone(), at, timer: None }.await;
    }
}

/// Waits for the outcome of an operation; dropped, it cancels it.
struct Operation {
    driver: Driver,
    id: OpId,
}

struct Sleep {
    driver: Driver,
    at: Instant,
    timer: Option<TimerId>,
}

// === impl Operation ===

impl Operation {
    fn start(driver: &Driver, fd: RawFd, kind: Kind) -> Self {
        let id = driver.inner.start(fd, kind, Owner::Future { waker: None, outcome: None });
        Self { driver: driver.clone(), id }
    }
}

impl Future for Operation {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let waker = context.waker();
        let mut core = self.driver.inner.core.borrow_mut();
        if let Some(outcome) = core.ops.take(self.id) {
            return Poll::Ready(outcome);
        }
        let Some(slot) = core.ops.get_mut(self.id) else { return Poll::Pending };
        let Owner::Future { waker: place, .. } = &mut slot.owner else { return Poll::Pending };
        if place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return Poll::Pending;
        }
        let before = place.replace(waker.clone());
        // Dropping a waker may drop its task, whose futures come here.
        drop(core);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let (outcome, waker) = {
            let mut core = self.driver.inner.core.borrow_mut();
            (core.ops.take(self.id), core.ops.abandon(self.id))
        };
        drop((outcome, waker));
        self.driver.inner.cancel(self.id);
    }
}

// === impl Sleep ===

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(timer) = self.timer else {
            if self.at <= self.driver.now() {
                return Poll::Ready(());
            }
            let alarm = Alarm::Future(Some(context.waker().clone()));
            self.timer = Some(self.driver.inner.set_timer(self.at, alarm));
            return Poll::Pending;
        };
        let mut core = self.driver.inner.core.borrow_mut();
        let Some(Alarm::Future(waker)) = core.timers.get_mut(timer) else { return Poll::Ready(()) };
        if waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let before = waker.replace(context.waker().clone());
        drop(core);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.driver.cancel_timer(timer);
        }
    }
}

fn unexpected() -> io::Error {
    io::Error::other("an operation ended as another kind of operation")
}
