//! Connections on their way to a relay, and those that never come to one: closed with an RST, and told of.

use std::fmt::{self, Display};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::mesh::{Refusal, Workload};
use crate::net;
use crate::observe::{Connection, Record, ResponseFlag, Traffic};
use crate::shard::{Key, LocalPod, Shard};

/// How long a connection waits for the control plane to tell of its own workload or its certificate (contract 1.8).
pub(crate) const SNAPSHOT_WAIT: Duration = Duration::from_secs(5);

/// Why, with what to do about it.
pub(crate) enum Ending<'a> {
    UnknownWorkload(&'a LocalPod),
    Refused(&'a Refusal),
}

/// An accepted connection that is being set up: its socket, and what will be told of it.
///
/// Exactly one thing becomes of it: a relay or a pair takes both, or it is refused. Dropped, because its pod left in the
/// middle of the set-up, it is refused as well.
#[derive(Debug)]
pub(crate) struct Pending {
    /// `None` while a relay has it.
    socket: Option<OwnedFd>,
    record: Record,
    shard: Rc<Shard>,
}

// === impl Pending ===

impl Pending {
    pub(crate) fn new(shard: &Rc<Shard>, socket: OwnedFd, record: Record) -> Self {
        Self { socket: Some(socket), record, shard: Rc::clone(shard) }
    }

    /// Adds to what will be told.
    pub(crate) fn describe(&mut self, add: impl FnOnce(&mut Connection)) {
        self.record.describe(add);
    }

    /// What a relay needs to take the connection over. It may come [`back`](Self::back).
    pub(crate) fn lend(&mut self) -> Option<(OwnedFd, Record)> {
        self.socket.take().map(|socket| (socket, self.record.clone()))
    }

    pub(crate) fn back(&mut self, socket: OwnedFd) {
        debug_assert!(self.socket.is_none());
        self.socket = Some(socket);
    }

    /// The socket, for the time of a handshake.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket
            .as_ref()
            .expect("invariant: nobody was lent the socket of a tunnel in its handshake")
            .as_fd()
    }

    /// Closes a connection that is not for us to carry, so that the application sees an error and not an orderly end,
    /// and reports why.
    pub(crate) fn refuse(mut self, flag: ResponseFlag, why: impl Display) {
        self.record.set_refused();
        self.record.set_flag(flag);
        self.abort(&why);
    }

    /// The same for a connection that was ours to carry and could not be: a policy forbids it, or nobody answers.
    pub(crate) fn fail(mut self, flag: ResponseFlag, why: impl Display) {
        self.record.set_flag(flag);
        self.abort(&why);
    }

    /// Reports why, and closes in good order: the peer was told in its own words.
    pub(crate) fn close(mut self, flag: ResponseFlag, why: impl Display) {
        drop(self.socket.take());
        self.record.set_refused();
        self.record.set_flag(flag);
        self.report(&why);
    }

    fn abort(&mut self, why: &dyn Display) {
        if let Some(socket) = self.socket.take() {
            net::abort_on_close(socket.as_fd());
            drop(socket);
            self.report(why);
        }
    }

    fn report(&self, why: &dyn Display) {
        let now = self.shard.driver.now();
        self.shard.report(self.record.closed(Traffic::default(), now, Some(why.to_string())));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.abort(&"the pod left while the connection was being set up");
    }
}

impl Display for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownWorkload(pod) => write!(
                f,
                "failed to fetch information about local workload {}/{} (service account {}): neither \
                 the mesh file nor a control plane announced it within 5 s",
                pod.workload.namespace, pod.workload.name, pod.workload.service_account
            ),
            Self::Refused(refusal) => write!(f, "{refusal}; {}", refusal.cure()),
        }
    }
}

impl Shard {
    /// The workload of a pod of ours, waited for a moment: pods and workloads are announced by different ways.
    pub(crate) async fn own_workload(self: &Rc<Self>, pod: &LocalPod) -> Option<Arc<Workload>> {
        let deadline = self.driver.now() + SNAPSHOT_WAIT;
        self.await_in_snapshot(deadline, |snapshot| pod.workload_in(snapshot).cloned()).await
    }

    /// Adds to the record of a connection that is being set up.
    pub(crate) fn describe(&self, relay: Key, add: impl FnOnce(&mut Connection)) {
        if let Some(relay) = self.tables.borrow_mut().relays.get_mut(relay) {
            relay.record.describe(add);
        }
    }

    /// What will be said of a stream that is refused; `early` if it was not for us to carry at all.
    pub(crate) fn note_denial(&self, relay: Key, flag: ResponseFlag, early: bool) {
        if let Some(relay) = self.tables.borrow_mut().relays.get_mut(relay) {
            relay.record.set_flag(flag);
            if early {
                relay.record.set_refused();
            }
        }
    }
}
