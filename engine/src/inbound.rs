//! What comes for a pod through tunnels, from accept to relay.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use crate::mesh::{self, Authority, Decision, Identity, Inbound, Workload};
use crate::net::{self, Accepted};
use crate::observe::{Direction, ResponseFlag, Security};
use crate::pool::{self, CONNECT_TIMEOUT, SetupError, Side, TunnelFacts};
use crate::refused::{Ending, Pending, SNAPSHOT_WAIT};
use crate::shard::{LocalPod, Met, Requested, Shard};
use crate::tls::{Credentials, Handshake, PeerChain};

/// Status codes of the contract (reference: inbound HBONE).
const BAD_REQUEST: u16 = 400;
const UNAUTHORIZED: u16 = 401;
const SERVICE_UNAVAILABLE: u16 = 503;

/// Takes a connection to 15008 through its handshake, and leaves the tunnel to the shard.
pub(crate) async fn serve_tunnel(shard: Rc<Shard>, pod: Rc<LocalPod>, accepted: Accepted) {
    let Accepted { socket, source, destination, .. } = accepted;
    let mut record = shard.record(Direction::Inbound, source, destination);
    record.describe(|connection| connection.security = Security::MutualTls);
    let mut pending = Pending::new(&shard, socket, record);
    let Some(workload) = shard.own_workload(&pod).await else {
        return pending.refuse(ResponseFlag::None, Ending::UnknownWorkload(&pod));
    };
    let Some(credentials) = shard.own_credentials(&pod, &workload.identity).await else {
        let cause = SetupError::NoCertificate(workload.identity.clone());
        return pending.refuse(cause.flag(), cause);
    };
    let hello = match Handshake::server(&credentials) {
        Ok(hello) => hello,
        Err(cause) => return pending.refuse(ResponseFlag::TlsFailure, cause),
    };
    let mut established = match pool::handshake(&shard, pending.fd(), hello, source).await {
        Ok(established) => established,
        // The alert says why; an RST might destroy it on its way.
        Err(cause) => return pending.close(cause.flag(), cause),
    };
    let kept = pool::unrevoked(&shard, pending.fd(), &mut established, source, |certificates| {
        PeerChain::of_client(&credentials, certificates)
    });
    let chain = match kept.await {
        Ok(chain) => chain,
        Err(cause) => return pending.close(cause.flag(), cause),
    };
    let Some((socket, _)) = pending.lend() else { return };
    let peer = established.peer.clone();
    let facts = TunnelFacts { side: Side::Server, pod, peer, chain, local: destination, remote: source };
    pool::begin(&shard, socket, facts, established);
}

/// Why a CONNECT goes nowhere, and what the peer is told.
struct Denied {
    status: u16,
    cause: String,
    flag: ResponseFlag,
    /// Nothing about it was right enough to call it a connection.
    early: bool,
}

/// Takes one CONNECT of a tunnel to the application.
pub(crate) async fn serve_stream(shard: Rc<Shard>, requested: Requested) {
    let relay = requested.relay;
    let admitted = admit(&shard, &requested).await;
    // A snapshot that is held for as long as an application takes to answer may be freed here, on the shard.
    let judged_by = Arc::downgrade(&shard.snapshot());
    let reached = match admitted {
        Ok((workload, target)) => reach(&shard, &requested, target).await.map(|app| (workload, app)),
        Err(denied) => Err(denied),
    };
    if let Err(denied) = &reached {
        shard.note_denial(relay, denied.flag, denied.early);
    }
    let mut tables = shard.tables.borrow_mut();
    match reached {
        Ok((workload, app)) => {
            let baggage = shard.config.response_baggage.then(|| workload.baggage());
            let header = baggage.as_ref().map(|baggage| ("baggage", baggage.as_str()));
            tables.attach_app(relay, app, header.as_slice());
            drop(tables);
            shard.judge_anew(Met::Relay(relay), &judged_by);
        }
        Err(Denied { status, cause, .. }) => tables.refuse_stream(relay, status, &cause),
    }
}

/// Decides whether the peer may have what it asks for, and what that is.
async fn admit(shard: &Rc<Shard>, requested: &Requested) -> Result<(Arc<Workload>, SocketAddr), Denied> {
    let Requested { relay, tunnel, request } = requested;
    let early = |status: u16, cause: String| Denied { status, cause, flag: ResponseFlag::None, early: true };
    if request.method != "CONNECT" {
        let cause = format!("the peer sent {}, and only CONNECT is served here", request.method);
        return Err(early(BAD_REQUEST, cause));
    }
    let authority = request.authority.parse::<Authority>();
    let authority = authority.map_err(|cause| early(BAD_REQUEST, cause.to_string()))?;
    let Some(workload) = shard.own_workload(&tunnel.pod).await else {
        return Err(early(SERVICE_UNAVAILABLE, Ending::UnknownWorkload(&tunnel.pod).to_string()));
    };
    let snapshot = shard.snapshot();
    let delivery = mesh::deliver(&snapshot, &workload, tunnel.local.ip(), &authority)
        .map_err(|refusal| early(refusal.status(), Ending::Refused(&refusal).to_string()))?;
    let inbound = Inbound {
        identity: Some(&tunnel.peer),
        source: tunnel.remote.ip(),
        destination: delivery.target,
        workload: &workload,
    };
    let verdict = mesh::authorise(&snapshot, &inbound);
    shard.describe(*relay, |connection| {
        connection.source_workload = snapshot.workload_by_ip(tunnel.remote.ip()).cloned();
        connection.source_identity = Some(tunnel.peer.clone());
        connection.destination_workload = Some(Arc::clone(&workload));
        connection.destination_service = delivery.service;
        connection.destination_identity = Some(workload.identity.clone());
        connection.hbone_destination = Some(delivery.target);
        connection.verdict = Some(verdict.clone());
    });
    match verdict.decision {
        Decision::Allow { .. } => Ok((workload, delivery.target)),
        Decision::Deny(denial) => {
            let cause = format!("denied by policy: {denial}");
            Err(Denied { status: UNAUTHORIZED, cause, flag: ResponseFlag::Deny, early: false })
        }
    }
}

/// Connects to the application, which sees the client's address where the kernel lets it.
async fn reach(shard: &Shard, requested: &Requested, target: SocketAddr) -> Result<OwnedFd, Denied> {
    let TunnelFacts { pod, remote, .. } = &*requested.tunnel;
    let unavailable = |cause: io::Error| Denied {
        status: SERVICE_UNAVAILABLE,
        cause: format!("connecting to the application at {target} failed: {cause}; does it listen there?"),
        flag: ResponseFlag::Connect,
        early: false,
    };
    let source = pod.transparent.then(|| remote.ip());
    let app = net::to_application(&pod.netns, target, source, &shard.options).map_err(unavailable)?;
    let deadline = shard.driver.now() + CONNECT_TIMEOUT;
    shard.driver.connect(app.as_fd(), target, deadline).await.map_err(unavailable)?;
    Ok(app)
}

impl Shard {
    /// The certificate for the identity of a pod of ours, waited for a moment if it has only just been asked for.
    pub(crate) async fn own_credentials(
        &self,
        pod: &LocalPod,
        identity: &Identity,
    ) -> Option<Arc<Credentials>> {
        let deadline = self.driver.now() + SNAPSHOT_WAIT;
        self.await_in_snapshot(deadline, |snapshot| snapshot.credentials(identity, &pod.uid).cloned()).await
    }
}
