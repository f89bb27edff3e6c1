//! The three ports that are asked: admin (15000), stats (15020), readiness (15021).
//!
//! The sockets are opened once, before anything else, and outlive a run of the control thread: who asks while it begins
//! anew waits in their queues.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::panic::resume_unwind;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::environment::Environment;
use crate::http::{self, BindError, Endpoint, Reach, listener};

#[derive(Debug)]
pub(crate) struct Endpoints {
    /// Of both families.
    admin: Vec<std::net::TcpListener>,
    stats: std::net::TcpListener,
    readiness: std::net::TcpListener,
}

/// What is answered at each.
#[derive(Debug)]
pub(crate) struct Routers {
    pub(crate) admin: Router,
    pub(crate) stats: Router,
    pub(crate) readiness: Router,
}

impl Endpoints {
    pub(crate) fn open(environment: &Environment) -> Result<Self, BindError> {
        Ok(Self {
            admin: admin(environment.admin_address)?,
            stats: listener(Endpoint::Stats, environment.stats_address)?,
            readiness: listener(Endpoint::Readiness, environment.readiness_address)?,
        })
    }

    /// Of admin, stats, readiness.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        [&self.admin[0], &self.stats, &self.readiness]
            .map(|socket| socket.local_addr().expect("invariant: it listens"))
    }

    /// Answers on all of them, for as long as it is polled.
    pub(crate) async fn serve(&self, routers: Routers) -> io::Result<Infallible> {
        let mut serving = JoinSet::new();
        for socket in &self.admin {
            serving.spawn(http::serve(own(socket)?, Reach::Loopback, routers.admin.clone()));
        }
        serving.spawn(http::serve(own(&self.stats)?, Reach::Network, routers.stats));
        serving.spawn(http::serve(own(&self.readiness)?, Reach::Network, routers.readiness));
        loop {
            match serving.join_next().await {
                Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
                Some(Ok(never)) => match never {},
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// On 127.0.0.1 and, where the machine has it, on ::1.
fn admin(address: SocketAddr) -> Result<Vec<std::net::TcpListener>, BindError> {
    let first = listener(Endpoint::Admin, address)?;
    // A port of our choosing has no twin.
    if address.port() == 0 || address.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST) {
        return Ok(vec![first]);
    }
    match listener(Endpoint::Admin, SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port())) {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if error.is_absent() => Ok(vec![first]),
        Err(error) => Err(error),
    }
}

/// The same socket for another run of the thread.
fn own(socket: &std::net::TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(socket.try_clone()?)
}
