//! A gRPC channel over a unix socket.

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// Connects when it is first used, and again whenever the connection is gone. It sends no HTTP/2 pings: a gRPC server
/// in Go takes more than one in five minutes for an attack and hangs up.
pub(super) fn unix(socket: &Path, timeout: Duration) -> Channel {
    let socket = socket.to_owned();
    let connector = service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The name is what servers on unix sockets are called; nobody looks it up.
    Endpoint::from_static("http://localhost").connect_timeout(timeout).connect_with_connector_lazy(connector)
}
