//! What is not tunnelled: connections of a pod to the world outside the mesh, and plain connections to a pod.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use crate::mesh::{self, Decision, Inbound};
use crate::net::{self, Accepted, Port};
use crate::observe::{Direction, ResponseFlag};
use crate::pool::CONNECT_TIMEOUT;
use crate::refused::{Ending, Pending};
use crate::relay::Pair;
use crate::shard::{LocalPod, Met, Shard};

/// Takes a plain connection to the pod (15006) to its application, if the policies let it.
pub(crate) async fn serve_inbound(shard: Rc<Shard>, pod: Rc<LocalPod>, accepted: Accepted) {
    let is_loop = accepted.is_loop();
    let Accepted { socket, source, destination, port } = accepted;
    let record = shard.record(Direction::Inbound, source, destination);
    let mut pending = Pending::new(&shard, socket, record);
    if is_loop {
        return pending.refuse(ResponseFlag::None, "the connection leads back to the proxy itself");
    }
    let Some(workload) = shard.own_workload(&pod).await else {
        return pending.refuse(ResponseFlag::None, Ending::UnknownWorkload(&pod));
    };
    let snapshot = shard.snapshot();
    let inbound = Inbound { identity: None, source: source.ip(), destination, workload: &workload };
    let verdict = mesh::authorise(&snapshot, &inbound);
    pending.describe(|connection| {
        connection.source_workload = snapshot.workload_by_ip(source.ip()).cloned();
        connection.destination_workload = Some(Arc::clone(&workload));
        connection.verdict = Some(verdict.clone());
    });
    if let Decision::Deny(denial) = verdict.decision {
        return pending.fail(ResponseFlag::Deny, format!("denied by policy: {denial}"));
    }
    drop(snapshot);
    let shown = pod.transparent.then(|| source.ip());
    connect(shard, pod, pending, port, destination, shown).await;
}

/// Connects to `target` and joins the two sockets. `shown` is the address the called side shall see.
pub(crate) async fn connect(
    shard: Rc<Shard>,
    pod: Rc<LocalPod>,
    mut pending: Pending,
    port: Port,
    target: SocketAddr,
    shown: Option<IpAddr>,
) {
    // A snapshot that is held for as long as the other side takes to answer may be freed here, on the shard.
    let judged_by = Arc::downgrade(&shard.snapshot());
    pending.describe(|connection| {
        connection.destination = target;
        // Nobody proves anything here: an address names no identity.
        connection.source_identity = None;
    });
    let made = match port {
        Port::Outbound => net::to_network(&pod.netns, target, &shard.options, false),
        Port::Plain | Port::Hbone => net::to_application(&pod.netns, target, shown, &shard.options),
    };
    let called = match made {
        Ok(called) => called,
        Err(cause) => return pending.fail(ResponseFlag::Connect, format!("no socket: {cause}")),
    };
    let deadline = shard.driver.now() + CONNECT_TIMEOUT;
    if let Err(cause) = shard.driver.connect(called.as_fd(), target, deadline).await {
        return pending.fail(ResponseFlag::Connect, format!("connecting to {target} failed: {cause}"));
    }
    let Some((caller, record)) = pending.lend() else { return };
    let pair = shard.tables.borrow_mut().join(Pair::new(pod, caller, called, record));
    shard.judge_anew(Met::Pair(pair), &judged_by);
}
