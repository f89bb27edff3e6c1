//! Connections that never come to a relay: closed with an RST, and told of.

use std::fmt::{self, Display};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::mesh::{Refusal, Workload};
use crate::net;
use crate::observe::ConnectionRecord;
use crate::shard::{Key, LocalPod, Shard};

/// How long a connection waits for the control plane to tell of its own workload or its certificate (contract 1.8).
pub(crate) const SNAPSHOT_WAIT: Duration = Duration::from_secs(5);

/// Why, with what to do about it.
pub(crate) enum Ending<'a> {
    UnknownWorkload(&'a LocalPod),
    Refused(&'a Refusal),
}

/// Closes a connection that is not for us to carry, so that the application sees an error and not an orderly end, and
/// reports why.
pub(crate) fn refuse(shard: &Shard, socket: OwnedFd, mut record: ConnectionRecord, why: impl Display) {
    record.refused = true;
    fail(shard, socket, record, why);
}

/// The same for a connection that was ours to carry and could not be: a policy forbids it, or nobody answers.
pub(crate) fn fail(shard: &Shard, socket: OwnedFd, mut record: ConnectionRecord, why: impl Display) {
    net::abort_on_close(socket.as_fd());
    drop(socket);
    record.error = Some(why.to_string());
    shard.report(record);
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
        let name = &pod.workload;
        let deadline = self.driver.now() + SNAPSHOT_WAIT;
        self.await_in_snapshot(deadline, |snapshot| {
            snapshot.workload_of_pod(&name.name, &name.namespace, &name.service_account).cloned()
        })
        .await
    }

    /// Adds to the record of a connection that is being set up.
    pub(crate) fn describe(&self, relay: Key, add: impl FnOnce(&mut ConnectionRecord)) {
        if let Some(relay) = self.tables.borrow_mut().relays.get_mut(relay) {
            add(&mut relay.record);
        }
    }
}
