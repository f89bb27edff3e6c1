//! From the kernel's completions to what the shard is told.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::task::Waker;

use super::buffers::Lease;
use super::completion::{Completion, Received, RecvMode};
use super::counters::Count;
use super::driver::{Alarm, Core, Inner};
use super::ops::{Finished, Kind, OpId, Outcome, Owner, State, Target};
use super::ring::Cqe;
use super::submit::Request;

/// A group with at least one buffer in so many free is not short any more, and multishot receives are armed again.
const PLENTY_FRACTION: usize = 2;

/// What is to be done once the driver's state is no longer borrowed.
enum Step {
    Nothing,
    Tell(Completion),
    Wake(Option<Waker>),
    Drop(#[expect(dead_code, reason = "dropped by whoever gets the step")] Outcome),
}

/// How an operation goes on after a completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    /// The kernel will complete it again.
    Armed,
    /// It goes to the kernel once more.
    Again,
    /// It waits for a buffer.
    Starve,
    End,
}

/// What a completion of a receive says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Data,
    Eof,
    Cancelled,
    Failed,
    /// Nothing that concerns the caller.
    Nothing,
}

impl Inner {
    /// Tells the completions that needed no kernel.
    pub(super) fn answer(&self, on: &mut dyn FnMut(Completion)) -> usize {
        let waiting = self.core.borrow().local.len();
        let mut told = 0;
        for _ in 0..waiting {
            let cqe = self.core.borrow_mut().local.pop_front();
            told += cqe.map_or(0, |cqe| self.tell(cqe, on));
        }
        told
    }

    /// Tells what the kernel completed up to now; what overflowed the queue comes with the next turn, which does not
    /// sleep then.
    pub(super) fn reap(&self, on: &mut dyn FnMut(Completion)) -> usize {
        if self.ring.overflown() {
            self.counters.overflows.one();
        }
        let mut told = 0;
        for _ in 0..self.ring.completed() {
            let Some(cqe) = self.ring.pop() else { break };
            self.counters.cqes.one();
            told += self.tell(cqe, on);
        }
        told
    }

    /// Tells the timers that are due.
    pub(super) fn fire(&self, on: &mut dyn FnMut(Completion)) -> usize {
        let due = {
            let timers = &mut self.core.borrow_mut().timers;
            timers.advance(self.clock.tick_of(self.now.get()));
            timers.due()
        };
        let mut fired = 0;
        // Not until there is none left: a handler may set timers that are due at once.
        for _ in 0..due {
            let alarm = self.core.borrow_mut().timers.pop();
            match alarm {
                Some(Alarm::Table(token)) => on(Completion::Timer { token }),
                Some(Alarm::Future(Some(waker))) => waker.wake(),
                Some(Alarm::Future(None)) => {}
                None => break,
            }
            fired += 1;
        }
        self.counters.timers.add(fired as u64);
        fired
    }

    fn tell(&self, cqe: Cqe, on: &mut dyn FnMut(Completion)) -> usize {
        let step = match Target::of(cqe.user_data) {
            Target::Op(id) => self.completed(id, cqe),
            Target::Cancel(id) => {
                self.cancel_failed(id);
                Step::Nothing
            }
            Target::Doorbell => self.rung(cqe),
            Target::Nobody => Step::Nothing,
        };
        match step {
            Step::Nothing | Step::Drop(_) => return 0,
            Step::Tell(completion) => on(completion),
            Step::Wake(Some(waker)) => waker.wake(),
            Step::Wake(None) => {}
        }
        1
    }

    fn completed(&self, id: OpId, cqe: Cqe) -> Step {
        let mut core = self.core.borrow_mut();
        let core = &mut *core;
        let Some(slot) = core.ops.get_mut(id) else {
            debug_assert!(false, "a completion of an operation that is over: {cqe:?}");
            self.counters.stale.one();
            return Step::Nothing;
        };
        if slot.state == State::Kernel && !cqe.more() {
            slot.state = State::Answered;
            core.kernel -= 1;
            if let Some(group) = slot.group() {
                core.receiving[usize::from(group)] -= 1;
            }
        }
        match slot.kind {
            Kind::Accept => self.accepted(core, id, cqe),
            Kind::Recv { .. } => self.received(core, id, cqe),
            Kind::Send { .. } => self.sent(core, id, cqe),
            Kind::Poll { .. } | Kind::Connect { .. } => finish(core, id, Outcome::Polled(value(cqe.result))),
            Kind::Watch { .. } => self.watched(core, id, cqe),
        }
    }

    fn accepted(&self, core: &mut Core, id: OpId, cqe: Cqe) -> Step {
        // SAFETY: a result that is not negative is a new fd, ours alone.
        let result = value(cqe.result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) });
        let cancelled = core.ops.get_mut(id).is_none_or(|slot| slot.cancelled);
        let then = after_accept(cqe.result, cqe.more(), cancelled);
        if result.is_ok() {
            self.counters.accepted.one();
        }
        match (then, result) {
            (Then::End | Then::Starve, result) => finish(core, id, Outcome::Accepted(result)),
            (Then::Armed, result) => tell_more(core, id, Outcome::Accepted(result)),
            (Then::Again, Ok(fd)) => {
                self.again(core, id);
                tell_more(core, id, Outcome::Accepted(Ok(fd)))
            }
            (Then::Again, Err(_)) => {
                self.again(core, id);
                Step::Nothing
            }
        }
    }

    fn received(&self, core: &mut Core, id: OpId, cqe: Cqe) -> Step {
        let Some(slot) = core.ops.get_mut(id) else { return Step::Nothing };
        let Kind::Recv { mode, once, .. } = slot.kind else { return Step::Nothing };
        let group = &self.groups[usize::from(mode.group())];
        let lease = cqe.buffer().map(|buffer| group.lease(buffer, cqe.result.max(0) as u32));
        let (found, then) = after_recv(cqe.result, cqe.more(), slot.cancelled, once);
        let received = match (found, lease) {
            (Found::Data, Some(lease)) => {
                self.count_received(mode, &lease);
                Some(Received::Data(lease))
            }
            (Found::Data, None) => {
                Some(Received::Failed(io::Error::other("bytes came without their buffer")))
            }
            (Found::Failed, _) => Some(Received::Failed(error(cqe.result))),
            (Found::Eof, _) => Some(Received::Eof),
            (Found::Cancelled, _) => Some(Received::Cancelled),
            (Found::Nothing, _) => None,
        };
        match then {
            Then::Armed => {}
            Then::Again => self.receive_again(core, id, mode),
            Then::Starve => self.starve(core, id, mode),
            Then::End => {
                let received = received.unwrap_or(Received::Cancelled);
                return finish(core, id, Outcome::Received(received));
            }
        }
        match received {
            Some(received) => tell_more(core, id, Outcome::Received(received)),
            None => Step::Nothing,
        }
    }

    fn sent(&self, core: &mut Core, id: OpId, cqe: Cqe) -> Step {
        let Some(slot) = core.ops.get_mut(id) else { return Step::Nothing };
        let Kind::Send { buffer, position, end } = &mut slot.kind else { return Step::Nothing };
        let bytes = cqe.result.max(0) as usize;
        *position += bytes;
        debug_assert!(*position <= *end);
        self.counters.bytes_out.add(bytes as u64);
        let left = end.saturating_sub(*position);
        let result = match after_send(cqe.result, left, slot.cancelled) {
            (Then::Again, _) => {
                self.counters.sends_short.one();
                slot.state = State::Queued;
                core.pending.push_back(Request::Start(id));
                return Step::Nothing;
            }
            (_, 0) => Ok(()),
            (_, errno) => Err(io::Error::from_raw_os_error(errno)),
        };
        self.counters.sends.one();
        let (buffer, sent) = (std::mem::take(buffer), *position);
        finish(core, id, Outcome::Sent { buffer, sent, result })
    }

    /// The kernel adds POLLRDHUP to every mask, so a poll that ends with its first event would end with the peer's FIN, and
    /// one armed after it at once. A watch goes on through that, and ends when there is nothing more to watch for.
    fn watched(&self, core: &mut Core, id: OpId, cqe: Cqe) -> Step {
        let Some(slot) = core.ops.get_mut(id) else { return Step::Nothing };
        let Kind::Watch { seen } = &mut slot.kind else { return Step::Nothing };
        let is_over = cqe.result >= 0 && cqe.result & i32::from(libc::POLLERR | libc::POLLHUP) != 0;
        if is_over {
            *seen = Some(seen.unwrap_or(0) | cqe.result as u32);
        }
        match (cqe.more(), *seen) {
            (true, None) => Step::Nothing,
            (true, Some(_)) => {
                if core.cancel(id) {
                    self.counters.cancels.one();
                }
                Step::Nothing
            }
            (false, Some(events)) => finish(core, id, Outcome::Polled(Ok(events))),
            (false, None) if cqe.result >= 0 && !slot.cancelled => {
                self.again(core, id);
                Step::Nothing
            }
            (false, None) => {
                let result =
                    value(cqe.result).and_then(|_| Err(io::Error::from_raw_os_error(libc::ECANCELED)));
                finish(core, id, Outcome::Polled(result))
            }
        }
    }

    fn rung(&self, cqe: Cqe) -> Step {
        if !cqe.more() {
            let mut core = self.core.borrow_mut();
            core.kernel -= 1;
            if !core.closed {
                core.pending.push_back(Request::Doorbell);
            }
        }
        self.bell.answer();
        self.counters.doorbells.one();
        Step::Tell(Completion::Doorbell)
    }

    /// The kernel did not find the operation to cancel: it has just ended, or is between two states. Then once more.
    pub(super) fn cancel_failed(&self, id: OpId) {
        let mut core = self.core.borrow_mut();
        if core.ops.get_mut(id).is_some_and(|slot| slot.state == State::Kernel && slot.cancelled) {
            self.counters.cancels_again.one();
            core.pending.push_back(Request::Cancel(id));
        }
    }

    fn again(&self, core: &mut Core, id: OpId) {
        let Some(slot) = core.ops.get_mut(id) else { return };
        slot.state = State::Queued;
        core.pending.push_back(Request::Start(id));
        self.counters.rearmed.one();
    }

    /// Arms a receive that the kernel ended after data. While its group is short it gets in line behind those that wait,
    /// and takes one buffer at a time; else one flood would empty the group each time before the others' turn.
    fn receive_again(&self, core: &mut Core, id: OpId, mode: RecvMode) {
        let group = usize::from(mode.group());
        let buffers = &self.groups[group];
        let enough = buffers.available() >= usize::from(buffers.config().buffers) / PLENTY_FRACTION;
        let short = !enough || !core.starving[group].is_empty();
        let Some(slot) = core.ops.get_mut(id) else { return };
        let Kind::Recv { scarce, .. } = &mut slot.kind else { return };
        *scarce = short;
        if short {
            slot.state = State::Starving;
            core.starving[group].push_back(id);
        } else {
            self.again(core, id);
        }
    }

    /// A receive found no buffer. Who was fed and found none again keeps its place.
    fn starve(&self, core: &mut Core, id: OpId, mode: RecvMode) {
        self.counters.starved.one();
        let Some(slot) = core.ops.get_mut(id) else { return };
        slot.state = State::Starving;
        let Kind::Recv { scarce, .. } = &mut slot.kind else { return };
        let queue = &mut core.starving[usize::from(mode.group())];
        if std::mem::replace(scarce, true) { queue.push_front(id) } else { queue.push_back(id) }
    }

    fn count_received(&self, mode: RecvMode, lease: &Lease) {
        let (times, bytes) = match mode {
            RecvMode::Chatty => (&self.counters.recvs_chatty, &self.counters.bytes_in_chatty),
            RecvMode::Bulk => (&self.counters.recvs_bulk, &self.counters.bytes_in_bulk),
        };
        times.one();
        bytes.add(lease.len() as u64);
    }
}

fn finish(core: &mut Core, id: OpId, outcome: Outcome) -> Step {
    match core.ops.finish(id, outcome) {
        Finished::Table(completion) => Step::Tell(completion),
        Finished::Future(waker) => Step::Wake(waker),
        Finished::Dropped(outcome) => Step::Drop(outcome),
    }
}

/// Tells a step of an operation that goes on.
fn tell_more(core: &mut Core, id: OpId, outcome: Outcome) -> Step {
    match core.ops.get_mut(id).map(|slot| &slot.owner) {
        Some(Owner::Table(token)) => Step::Tell(outcome.completion(*token, true)),
        // A future's receive ends with its first completion.
        Some(Owner::Future { .. } | Owner::Nobody) | None => Step::Drop(outcome),
    }
}

fn after_recv(result: i32, more: bool, cancelled: bool, once: bool) -> (Found, Then) {
    match (result, cancelled) {
        (1.., _) if more => (Found::Data, Then::Armed),
        (1.., false) if !once => (Found::Data, Then::Again),
        (1.., _) => (Found::Data, Then::End),
        (0, _) => (Found::Eof, Then::End),
        (..0, false) if -result == libc::ENOBUFS => (Found::Nothing, Then::Starve),
        (..0, false) if is_transient(-result) => (Found::Nothing, Then::Again),
        (..0, _) if -result == libc::ECANCELED || -result == libc::ENOBUFS || is_transient(-result) => {
            (Found::Cancelled, Then::End)
        }
        (..0, _) => (Found::Failed, Then::End),
    }
}

fn after_accept(result: i32, more: bool, cancelled: bool) -> Then {
    match result {
        _ if more => Then::Armed,
        0.. if !cancelled => Then::Again,
        ..0 if !cancelled && (is_transient(-result) || concerns_one_connection(-result)) => Then::Again,
        _ => Then::End,
    }
}

/// Also the errno of the end, zero when all is sent.
fn after_send(result: i32, left: usize, cancelled: bool) -> (Then, i32) {
    match result {
        0.. if left == 0 => (Then::End, 0),
        0 => (Then::End, libc::EPIPE),
        1.. if cancelled => (Then::End, libc::ECANCELED),
        1.. => (Then::Again, 0),
        ..0 if is_transient(-result) && !cancelled => (Then::Again, 0),
        ..0 => (Then::End, -result),
    }
}

fn is_transient(errno: i32) -> bool {
    matches!(errno, libc::EAGAIN | libc::EINTR)
}

/// Errors that Linux passes on from the connection that would have been accepted (accept(2), "Error handling").
fn concerns_one_connection(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
    )
}

fn value(result: i32) -> io::Result<u32> {
    if result < 0 { Err(error(result)) } else { Ok(result as u32) }
}

fn error(result: i32) -> io::Error {
    io::Error::from_raw_os_error(-result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receive_goes_on_as_the_kernel_left_it() {
        let (plain, cancelled) = (false, true);
        let (multishot, once) = (false, true);
        let (ended, armed) = (false, true);
        for (result, more, cancelled, once, expected) in [
            (10, armed, plain, multishot, (Found::Data, Then::Armed)),
            (10, armed, cancelled, multishot, (Found::Data, Then::Armed)),
            (10, ended, plain, multishot, (Found::Data, Then::Again)),
            (10, ended, cancelled, multishot, (Found::Data, Then::End)),
            (10, ended, plain, once, (Found::Data, Then::End)),
            (0, ended, plain, multishot, (Found::Eof, Then::End)),
            (0, ended, cancelled, once, (Found::Eof, Then::End)),
            (-libc::ENOBUFS, ended, plain, multishot, (Found::Nothing, Then::Starve)),
            (-libc::ENOBUFS, ended, plain, once, (Found::Nothing, Then::Starve)),
            (-libc::ENOBUFS, ended, cancelled, multishot, (Found::Cancelled, Then::End)),
            (-libc::EAGAIN, ended, plain, multishot, (Found::Nothing, Then::Again)),
            (-libc::EINTR, ended, plain, once, (Found::Nothing, Then::Again)),
            (-libc::EINTR, ended, cancelled, once, (Found::Cancelled, Then::End)),
            (-libc::ECANCELED, ended, cancelled, multishot, (Found::Cancelled, Then::End)),
            (-libc::ECANCELED, ended, plain, multishot, (Found::Cancelled, Then::End)),
            (-libc::ECONNRESET, ended, plain, multishot, (Found::Failed, Then::End)),
            (-libc::ECONNRESET, ended, cancelled, multishot, (Found::Failed, Then::End)),
        ] {
            assert_eq!(
                after_recv(result, more, cancelled, once),
                expected,
                "{result} {more} {cancelled} {once}"
            );
        }
    }

    #[test]
    fn an_accept_ends_only_by_what_concerns_the_listener() {
        for (result, more, cancelled, expected) in [
            (5, true, false, Then::Armed),
            (5, true, true, Then::Armed),
            (5, false, false, Then::Again),
            (5, false, true, Then::End),
            (-libc::ECONNABORTED, false, false, Then::Again),
            (-libc::EAGAIN, false, false, Then::Again),
            (-libc::EPROTO, false, true, Then::End),
            (-libc::EMFILE, false, false, Then::End),
            (-libc::ENFILE, false, false, Then::End),
            (-libc::ENOMEM, false, false, Then::End),
            (-libc::EINVAL, false, false, Then::End),
            (-libc::ECANCELED, false, true, Then::End),
        ] {
            assert_eq!(after_accept(result, more, cancelled), expected, "{result} {more} {cancelled}");
        }
    }

    #[test]
    fn a_send_is_continued_until_all_is_sent() {
        for (result, left, cancelled, expected) in [
            (10, 0, false, (Then::End, 0)),
            (10, 0, true, (Then::End, 0)),
            (0, 0, false, (Then::End, 0)),
            (10, 5, false, (Then::Again, 0)),
            (10, 5, true, (Then::End, libc::ECANCELED)),
            (0, 5, false, (Then::End, libc::EPIPE)),
            (-libc::EAGAIN, 5, false, (Then::Again, 0)),
            (-libc::EINTR, 5, false, (Then::Again, 0)),
            (-libc::EINTR, 5, true, (Then::End, libc::EINTR)),
            (-libc::ECANCELED, 5, true, (Then::End, libc::ECANCELED)),
            (-libc::EPIPE, 5, false, (Then::End, libc::EPIPE)),
        ] {
            assert_eq!(after_send(result, left, cancelled), expected, "{result} {left} {cancelled}");
        }
    }
}
