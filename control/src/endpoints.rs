//! The three ports that are asked: admin (15000), stats (15020), readiness (15021).
//!
//! The sockets are opened before anything else and outlive a run of the control thread: who asks while it begins anew
//! waits in their queues. They are given up to a proxy that comes to replace this one, for as long as that one lives.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::environment::{Environment, Mode};
use crate::http::{self, BindError, Endpoint, Reach, is_shared, listener};
use crate::waits::watch_over;

/// The pause before ports that cannot be taken are tried again.
const REOPEN_PAUSE_MS: u64 = 1_000;

#[derive(Debug)]
pub(crate) struct Endpoints {
    admin: SocketAddr,
    stats: SocketAddr,
    readiness: SocketAddr,
    /// None while a proxy that is to replace this one has the ports.
    sockets: RefCell<Option<Sockets>>,
}

#[derive(Debug)]
struct Sockets {
    /// Of both families.
    admin: Vec<StdListener>,
    stats: StdListener,
    readiness: StdListener,
}

/// What is answered at each.
#[derive(Clone, Debug)]
pub(crate) struct Routers {
    pub(crate) admin: Router,
    pub(crate) stats: Router,
    pub(crate) readiness: Router,
}

impl Endpoints {
    /// A predecessor gives its ports up. Anybody else who has them too answers in our place now and then, which is told.
    ///
    /// The proxy of a node serves its pods also without these ports: one that takes the place of a ztunnel starts beside
    /// it, and that one shares them with nobody for as long as it lives. [`serve`](Self::serve) takes them when they are
    /// free; until then nobody is told by us that we are ready.
    pub(crate) fn open(environment: &Environment, has_predecessor: bool) -> Result<Self, BindError> {
        let endpoints = Self {
            admin: environment.admin_address,
            stats: environment.stats_address,
            readiness: environment.readiness_address,
            sockets: RefCell::default(),
        };
        if !has_predecessor {
            endpoints.tell_of_others();
        }
        match endpoints.reopen() {
            Err(error) if error.is_taken() && matches!(environment.mode, Mode::Shared { .. }) => {
                warn!(
                    %error,
                    "another program has a port of ours; if it is the ztunnel that this proxy replaces, this passes when that \
                     one ends. Until then admin, stats and readiness are not answered here"
                );
            }
            opened => opened?,
        }
        Ok(endpoints)
    }

    fn tell_of_others(&self) {
        let all = [
            (Endpoint::Admin, self.admin),
            (Endpoint::Stats, self.stats),
            (Endpoint::Readiness, self.readiness),
        ];
        for (endpoint, address) in all.into_iter().filter(|(_, address)| is_shared(*address)) {
            warn!(
                "{endpoint} address {address}: another proxy listens there too, and some of those who ask get its answers; \
                 end it, or {}",
                endpoint.cure()
            );
        }
    }

    /// Of admin, stats, readiness.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        let sockets = self.sockets.borrow();
        let Sockets { admin, stats, readiness } =
            sockets.as_ref().expect("invariant: nobody replaces a test");
        [&admin[0], stats, readiness].map(|socket| socket.local_addr().expect("invariant: it listens"))
    }

    /// Answers on all of them, for as long as it is polled and nobody comes to replace us: a probe that is meant for
    /// that one must not be answered by this.
    pub(crate) async fn serve(
        &self,
        routers: Routers,
        mut succeeded: watch::Receiver<bool>,
    ) -> io::Result<Infallible> {
        loop {
            // A run that ended by a panic may have given them up already, or another program has had them from the start.
            if self.sockets.borrow().is_none() {
                until(&mut succeeded, false).await;
                tokio::select! {
                    () = self.take_back() => {}
                    () = until(&mut succeeded, true) => continue,
                }
            }
            let mut serving = self.spawn(&routers)?;
            tokio::select! {
                never = watch_over(&mut serving) => match never {},
                () = until(&mut succeeded, true) => {}
            }
            serving.shutdown().await;
            self.sockets.replace(None);
        }
    }

    async fn take_back(&self) {
        let mut told = String::new();
        while let Err(error) = self.reopen() {
            let error = error.to_string();
            if told != error {
                warn!(error, "trying again until it is free");
                told = error;
            }
            sleep(Duration::from_millis(REOPEN_PAUSE_MS)).await;
        }
        info!("admin, stats and readiness are answered");
    }

    fn reopen(&self) -> Result<(), BindError> {
        let sockets = Sockets {
            admin: admin(self.admin)?,
            stats: listener(Endpoint::Stats, self.stats)?,
            readiness: listener(Endpoint::Readiness, self.readiness)?,
        };
        self.sockets.replace(Some(sockets));
        Ok(())
    }

    /// Nothing, where the ports have been given up.
    fn spawn(&self, routers: &Routers) -> io::Result<JoinSet<Infallible>> {
        let mut serving = JoinSet::new();
        let sockets = self.sockets.borrow();
        let Some(sockets) = &*sockets else { return Ok(serving) };
        for socket in &sockets.admin {
            serving.spawn(http::serve(own(socket)?, Reach::Loopback, routers.admin.clone()));
        }
        serving.spawn(http::serve(own(&sockets.stats)?, Reach::Network, routers.stats.clone()));
        serving.spawn(http::serve(own(&sockets.readiness)?, Reach::Network, routers.readiness.clone()));
        Ok(serving)
    }
}

/// Waits for the value; for ever if it cannot come any more.
async fn until(succeeded: &mut watch::Receiver<bool>, expected: bool) {
    if succeeded.wait_for(|succeeded| *succeeded == expected).await.is_err() {
        pending().await
    }
}

/// On 127.0.0.1 and, where the machine has it, on ::1.
fn admin(address: SocketAddr) -> Result<Vec<StdListener>, BindError> {
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
fn own(socket: &StdListener) -> io::Result<TcpListener> {
    TcpListener::from_std(socket.try_clone()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::stand_in::environment;

    /// As a ztunnel does that this proxy is to replace: it lets nobody in beside it.
    #[tokio::test(start_paused = true)]
    async fn ports_that_another_program_has_are_taken_when_it_ends() {
        let other = StdListener::bind("127.0.0.1:0").unwrap();
        let mut environment = environment(&[]);
        environment.readiness_address = other.local_addr().unwrap();
        let endpoints = Endpoints::open(&environment, false).unwrap();
        assert!(endpoints.sockets.borrow().is_none(), "nobody is told that we are ready");
        let (_successor, succeeded) = watch::channel(false);
        let routers = Routers { admin: Router::new(), stats: Router::new(), readiness: Router::new() };
        let taken = async {
            sleep(Duration::from_millis(3 * REOPEN_PAUSE_MS)).await;
            assert!(endpoints.sockets.borrow().is_none(), "it is still there");
            drop(other);
            while endpoints.sockets.borrow().is_none() {
                sleep(Duration::from_millis(REOPEN_PAUSE_MS)).await;
            }
        };
        tokio::select! {
            never = endpoints.serve(routers, succeeded) => match never.unwrap() {},
            () = taken => {}
        }
        assert_eq!(endpoints.addresses()[2], environment.readiness_address);
    }

    #[test]
    fn a_port_that_another_program_has_ends_the_start_of_who_serves_one_pod() {
        let other = StdListener::bind("127.0.0.1:0").unwrap();
        let dedicated = [("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "shop/cart/cart")];
        let mut environment = environment(&dedicated);
        environment.stats_address = other.local_addr().unwrap();
        let error = Endpoints::open(&environment, false).unwrap_err().to_string();
        assert!(error.contains("end what listens there"), "{error}");
    }

    #[test]
    fn an_address_that_the_machine_does_not_have_is_waited_for_by_nobody() {
        let mut environment = environment(&[]);
        environment.readiness_address = "192.0.2.1:0".parse().unwrap();
        assert!(Endpoints::open(&environment, false).is_err());
    }

    #[tokio::test]
    async fn ports_that_a_run_gave_up_before_it_panicked_are_taken_back() {
        let endpoints = Endpoints::open(&environment(&[]), false).unwrap();
        endpoints.sockets.replace(None);
        let (successor, succeeded) = watch::channel(true);
        let routers = Routers { admin: Router::new(), stats: Router::new(), readiness: Router::new() };
        let taken_back = async {
            tokio::task::yield_now().await;
            assert!(endpoints.sockets.borrow().is_none(), "the successor lives");
            successor.send_replace(false);
            while endpoints.sockets.borrow().is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            never = endpoints.serve(routers, succeeded) => match never.unwrap() {},
            taken = tokio::time::timeout(Duration::from_secs(20), taken_back) => taken.unwrap(),
        }
    }
}
