//! What a pod's application sends out, from accept to relay.
//!
//! The application's connection is held until the way is known and open: nothing is dropped, and nothing that should
//! be encrypted goes out in plaintext.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::hbone::ErrorCode;
use crate::headers;
use crate::mesh::{self, HboneRoute, Route, Workload};
use crate::net::{Accepted, Port};
use crate::observe::{Connection, Direction, ResponseFlag, Security};
use crate::passthrough;
use crate::pool::PoolKey;
use crate::refused::{Ending, Pending};
use crate::relay::Opened;
use crate::shard::{LocalPod, Shard};

/// How long a CONNECT may go unanswered. The peer itself waits 10 s for its application.
const CONNECT_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Tries of a stream that the peer did not process, each on another tunnel. A peer that is replaced by another process
/// refuses streams while it still listens: the next tunnel may be taken by the old one again, the last is not.
const STREAM_ATTEMPTS_MAX: usize = 4;

/// Takes an accepted connection to where it wants to go.
pub(crate) async fn serve(shard: Rc<Shard>, pod: Rc<LocalPod>, accepted: Accepted) {
    let is_loop = accepted.is_loop();
    let Accepted { socket, source: client, destination, .. } = accepted;
    let record = shard.record(Direction::Outbound, client, destination);
    let mut pending = Pending::new(&shard, socket, record);
    if is_loop {
        return pending.refuse(ResponseFlag::None, "the connection leads back to the proxy itself");
    }
    let Some(source) = shard.own_workload(&pod).await else {
        return pending.refuse(ResponseFlag::None, Ending::UnknownWorkload(&pod));
    };
    pending.describe(|connection| {
        connection.source_workload = Some(Arc::clone(&source));
        connection.source_identity = Some(source.identity.clone());
    });
    let route = mesh::route(&shard.snapshot(), &source, destination, shard.entropy());
    match route {
        Route::Hbone(route) => through_tunnel(shard, pod, pending, client, &source, &route).await,
        Route::Passthrough { target, workload, service } => {
            pending.describe(|connection| {
                connection.destination_workload = workload;
                connection.destination_service = service;
            });
            passthrough::connect(shard, pod, pending, Port::Outbound, target, None).await;
        }
        Route::Refuse(refusal) => pending.refuse(ResponseFlag::None, Ending::Refused(&refusal)),
    }
}

/// Finds or makes a tunnel, asks for a stream to the destination, and leaves both to the relay.
async fn through_tunnel(
    shard: Rc<Shard>,
    pod: Rc<LocalPod>,
    mut pending: Pending,
    client: SocketAddr,
    source: &Workload,
    route: &HboneRoute,
) {
    let key = PoolKey {
        source: source.identity.clone(),
        expected: route.identities.clone(),
        target: route.target,
        pod: Arc::clone(&pod.uid),
    };
    pending.describe(|connection| describe(connection, route));
    let headers = headers::connect(&shard, source, route, client);
    let authority = route.authority.to_string();
    let mut cause = "no tunnel took the stream".to_owned();
    let mut flag = ResponseFlag::Connect;
    let mut refused_by = None;
    for _ in 0..STREAM_ATTEMPTS_MAX {
        let tunnel = match shard.tunnel(&pod, &key, refused_by).await {
            Ok(tunnel) => tunnel,
            Err(cause) => return pending.fail(cause.flag(), cause),
        };
        refused_by = Some(tunnel);
        let Some((app, record)) = pending.lend() else { return };
        let opening =
            shard.tables.borrow_mut().open_stream(tunnel, app, &authority, &headers.borrowed(), record);
        let (relay, opened) = match opening {
            Ok(opening) => opening,
            Err(back) => {
                pending.back(back);
                continue;
            }
        };
        let late = async {
            shard.driver.sleep_until(shard.driver.now() + CONNECT_ANSWER_TIMEOUT).await;
            let cause = "the peer's proxy did not answer the CONNECT within 30 s".to_owned();
            shard.tables.borrow_mut().refuse_opening(relay, ErrorCode::CANCEL, false, cause);
            std::future::pending().await
        };
        match futures_lite::future::or(opened, late).await {
            // The relay has it, or has already written what became of it.
            Some(Opened::Yes) | None => return,
            Some(Opened::No(refused)) => {
                pending.back(refused.app);
                (flag, cause) = (refused.flag, refused.cause);
                if !refused.unprocessed {
                    break;
                }
            }
        }
    }
    pending.fail(flag, cause);
}

fn describe(connection: &mut Connection, route: &HboneRoute) {
    connection.destination = route.target;
    connection.destination_workload = Some(Arc::clone(&route.workload));
    connection.destination_service.clone_from(&route.service);
    connection.destination_identity = Some(route.workload.identity.clone());
    connection.hbone_destination = Some(route.authority);
    connection.security = Security::MutualTls;
}
