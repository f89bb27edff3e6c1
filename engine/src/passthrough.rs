//! What is not tunnelled: connections of a pod to the world outside the mesh, and plain connections to a pod.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;

use crate::mesh::{self, Decision, Inbound};
use crate::net::{self, Accepted, Port};
use crate::observe::{ConnectionRecord, Direction};
use crate::pool::CONNECT_TIMEOUT;
use crate::refused::{Ending, fail, refuse};
use crate::relay::Pair;
use crate::shard::{LocalPod, Shard};

/// Takes a plain connection to the pod (15006) to its application, if the policies let it.
pub(crate) async fn serve_inbound(shard: Rc<Shard>, pod: Rc<LocalPod>, accepted: Accepted) {
    let (source, destination) = (accepted.source, accepted.destination);
    let record = ConnectionRecord::new(Direction::Inbound, source, destination);
    if accepted.is_loop() {
        return refuse(&shard, accepted.socket, record, "the connection leads back to the proxy itself");
    }
    let Some(workload) = shard.own_workload(&pod).await else {
        return refuse(&shard, accepted.socket, record, Ending::UnknownWorkload(&pod));
    };
    let snapshot = shard.snapshot();
    let mut record = record.with_destination(Some(&workload));
    if let Some(source) = snapshot.workload_by_ip(source.ip()) {
        record = record.with_source(source);
    }
    let inbound = Inbound { identity: None, source: source.ip(), destination, workload: &workload };
    let verdict = mesh::authorise(&snapshot, &inbound);
    record.dry_run = verdict.dry_run.iter().map(ToString::to_string).collect();
    if let Decision::Deny(denial) = verdict.decision {
        return fail(&shard, accepted.socket, record, format!("denied by policy: {denial}"));
    }
    drop(snapshot);
    let shown = pod.transparent.then(|| source.ip());
    connect(shard, pod, accepted, destination, shown, record).await;
}

/// Connects to `target` and joins the two sockets. `shown` is the address the called side shall see.
pub(crate) async fn connect(
    shard: Rc<Shard>,
    pod: Rc<LocalPod>,
    accepted: Accepted,
    target: SocketAddr,
    shown: Option<IpAddr>,
    mut record: ConnectionRecord,
) {
    let started = shard.driver.now();
    record.destination = target;
    // Nobody proves anything here: an address names no identity.
    record.source_identity = None;
    let made = match accepted.port {
        Port::Outbound => net::to_network(&pod.netns, target, &shard.options, false),
        Port::Plain | Port::Hbone => net::to_application(&pod.netns, target, shown, &shard.options),
    };
    let called = match made {
        Ok(called) => called,
        Err(cause) => return fail(&shard, accepted.socket, record, format!("no socket: {cause}")),
    };
    let deadline = started + CONNECT_TIMEOUT;
    if let Err(cause) = shard.driver.connect(called.as_fd(), target, deadline).await {
        return fail(&shard, accepted.socket, record, format!("connecting to {target} failed: {cause}"));
    }
    shard.tables.borrow_mut().join(Pair::new(pod, accepted.socket, called, record, started));
}
