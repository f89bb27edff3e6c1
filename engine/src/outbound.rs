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
use crate::net::Accepted;
use crate::observe::{ConnectionRecord, Direction};
use crate::passthrough;
use crate::pool::PoolKey;
use crate::refused::{Ending, fail, refuse};
use crate::relay::Opened;
use crate::shard::{LocalPod, Shard};

/// How long a CONNECT may go unanswered. The peer itself waits 10 s for its application.
const CONNECT_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A stream that the peer did not process is tried once more, on another tunnel.
const STREAM_ATTEMPTS_MAX: usize = 2;

/// Takes an accepted connection to where it wants to go.
pub(crate) async fn serve(shard: Rc<Shard>, pod: Rc<LocalPod>, accepted: Accepted) {
    let record = ConnectionRecord::new(Direction::Outbound, accepted.source, accepted.destination);
    if accepted.is_loop() {
        return refuse(&shard, accepted.socket, record, "the connection leads back to the proxy itself");
    }
    let Some(source) = shard.own_workload(&pod).await else {
        return refuse(&shard, accepted.socket, record, Ending::UnknownWorkload(&pod));
    };
    let record = record.with_source(&source);
    match mesh::route(&shard.snapshot(), &source, accepted.destination, shard.entropy()) {
        Route::Hbone(route) => through_tunnel(shard, pod, accepted, &source, &route, record).await,
        Route::Passthrough { target, workload, service } => {
            let record = record.with_destination(workload.as_deref()).with_service(service.as_deref());
            passthrough::connect(shard, pod, accepted, target, None, record).await;
        }
        Route::Refuse(refusal) => refuse(&shard, accepted.socket, record, Ending::Refused(&refusal)),
    }
}

/// Finds or makes a tunnel, asks for a stream to the destination, and leaves both to the relay.
async fn through_tunnel(
    shard: Rc<Shard>,
    pod: Rc<LocalPod>,
    accepted: Accepted,
    source: &Workload,
    route: &HboneRoute,
    record: ConnectionRecord,
) {
    let started = shard.driver.now();
    let Accepted { socket: mut app, source: client, .. } = accepted;
    let key = PoolKey {
        source: source.identity.clone(),
        expected: route.identities.clone(),
        target: route.target,
        pod: Arc::clone(&pod.uid),
    };
    let record = described(record, route);
    let headers = headers::connect(&shard, source, route, client);
    let authority = route.authority.to_string();
    let mut cause = String::new();
    for _ in 0..STREAM_ATTEMPTS_MAX {
        let tunnel = match shard.tunnel(&pod, &key).await {
            Ok(tunnel) => tunnel,
            Err(cause) => return fail(&shard, app, record, cause),
        };
        let opening = shard.tables.borrow_mut().open_stream(
            tunnel,
            app,
            &authority,
            &headers.borrowed(),
            record.clone(),
            started,
        );
        let (relay, opened) = match opening {
            Ok(opening) => opening,
            Err(back) => {
                app = back;
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
                app = refused.app;
                cause = refused.cause;
                if !refused.unprocessed {
                    break;
                }
            }
        }
    }
    fail(&shard, app, record, cause);
}

fn described(record: ConnectionRecord, route: &HboneRoute) -> ConnectionRecord {
    let mut record = record.with_destination(Some(&route.workload)).with_service(route.service.as_deref());
    record.destination = route.target;
    record.hbone_destination = Some(SocketAddr::clone(&route.authority));
    record.destination_identity = Some(route.workload.identity.clone());
    record
}
