//! What comes for a pod through tunnels, from accept to relay.

use std::os::fd::AsFd;
use std::rc::Rc;

use crate::mesh::{self, Authority, Decision, Inbound, Refusal};
use crate::net::{self, Accepted};
use crate::observe::{ConnectionRecord, Direction};
use crate::pool::{self, CONNECT_TIMEOUT, SetupError, Side, TunnelFacts};
use crate::refused::{Ending, Pending};
use crate::shard::{LocalPod, Requested, Shard};
use crate::tls::Handshake;

/// Status codes of the contract (reference: inbound HBONE).
const BAD_REQUEST: u16 = 400;
const UNAUTHORIZED: u16 = 401;
const SERVICE_UNAVAILABLE: u16 = 503;

/// Takes a connection to 15008 through its handshake, and leaves the tunnel to the shard.
pub(crate) async fn serve_tunnel(shard: Rc<Shard>, pod: Rc<LocalPod>, accepted: Accepted) {
    let Accepted { socket, source, destination, .. } = accepted;
    let record = ConnectionRecord::new(Direction::Inbound, source, destination);
    let mut pending = Pending::new(&shard, socket, record);
    let Some(credentials) = shard.own_credentials(&pod).await else {
        return pending.refuse(SetupError::NoCertificate(shard.own_identity(&pod)));
    };
    let hello = match Handshake::server(&credentials) {
        Ok(hello) => hello,
        Err(cause) => return pending.refuse(cause),
    };
    let established = match pool::handshake(&shard.driver, pending.fd(), hello, source).await {
        Ok(established) => established,
        // The alert says why; an RST might destroy it on its way.
        Err(cause) => return pending.close(cause),
    };
    let Some((socket, _)) = pending.lend() else { return };
    let peer = established.peer.clone();
    let facts = TunnelFacts { side: Side::Server, pod, peer, local: destination, remote: source };
    pool::begin(&shard, socket, facts, established);
}

/// Takes one CONNECT of a tunnel to the application.
pub(crate) async fn serve_stream(shard: Rc<Shard>, requested: Requested) {
    let relay = requested.relay;
    match deliver(&shard, &requested).await {
        Ok(()) => {}
        Err((status, cause)) => shard.tables.borrow_mut().refuse_stream(relay, status, &cause),
    }
}

async fn deliver(shard: &Rc<Shard>, requested: &Requested) -> Result<(), (u16, String)> {
    let Requested { relay, tunnel, request, .. } = requested;
    if request.method != "CONNECT" {
        return Err((
            BAD_REQUEST,
            format!("the peer sent {}, and only CONNECT is served here", request.method),
        ));
    }
    let authority: Authority =
        request.authority.parse().map_err(|cause| (BAD_REQUEST, format!("{cause}")))?;
    let Some(workload) = shard.own_workload(&tunnel.pod).await else {
        return Err((SERVICE_UNAVAILABLE, Ending::UnknownWorkload(&tunnel.pod).to_string()));
    };
    let snapshot = shard.snapshot();
    let delivery = mesh::deliver(&snapshot, &workload, tunnel.local.ip(), &authority)
        .map_err(|refusal: Refusal| (refusal.status(), Ending::Refused(&refusal).to_string()))?;
    shard.describe(*relay, |record| {
        record.source_identity = Some(tunnel.peer.clone());
        record.hbone_destination = Some(delivery.target);
        record.destination_identity = Some(workload.identity.clone());
        record.set_destination(Some(&workload), delivery.service.as_deref());
        if let Some(source) = snapshot.workload_by_ip(tunnel.remote.ip()) {
            record.set_source(source);
            record.source_identity = Some(tunnel.peer.clone());
        }
    });
    let inbound = Inbound {
        identity: Some(&tunnel.peer),
        source: tunnel.remote.ip(),
        destination: delivery.target,
        workload: &workload,
    };
    if let Decision::Deny(denial) = mesh::authorise(&snapshot, &inbound).decision {
        return Err((UNAUTHORIZED, format!("denied by policy: {denial}")));
    }
    drop(snapshot);
    let unavailable = |cause: std::io::Error| {
        (SERVICE_UNAVAILABLE, format!("connecting to the application at {} failed: {cause}", delivery.target))
    };
    let source = tunnel.pod.transparent.then(|| tunnel.remote.ip());
    let app = net::to_application(&tunnel.pod.netns, delivery.target, source, &shard.options)
        .map_err(unavailable)?;
    let deadline = shard.driver.now() + CONNECT_TIMEOUT;
    shard.driver.connect(app.as_fd(), delivery.target, deadline).await.map_err(unavailable)?;
    let baggage = shard.config.response_baggage.then(|| workload.baggage());
    let answer = baggage.as_ref().map(|baggage| [("baggage", baggage.as_str())]);
    let answer = answer.as_ref().map_or(&[][..], |headers| &headers[..]);
    shard.tables.borrow_mut().attach_app(*relay, app, answer);
    Ok(())
}

impl Shard {
    /// The pod's certificate, waited for a moment if it has only just been asked for.
    async fn own_credentials(&self, pod: &LocalPod) -> Option<std::sync::Arc<crate::tls::Credentials>> {
        let identity = self.own_identity(pod);
        let deadline = self.driver.now() + crate::refused::SNAPSHOT_WAIT;
        self.await_in_snapshot(deadline, |snapshot| snapshot.credentials(&identity).cloned()).await
    }
}
