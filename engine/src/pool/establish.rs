//! Making a tunnel: connect, handshake, session.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use thiserror::Error;

use super::{Heartbeat, PoolKey, Side, Tunnel, TunnelFacts};
use crate::engine::EngineConfig;
use crate::hbone::Settings;
use crate::mesh::Identity;
use crate::net;
use crate::observe::ResponseFlag;
use crate::shard::{Key, LocalPod, Shard};
use crate::tls::{Alert, Established, Handshake, PeerChain, Progress, RecordSealer, TlsError};
use crate::uring::Driver;

/// Connecting to a peer node or an application (contract 1.3).
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// From the connected socket to the finished handshake. Slow peers are not waited for longer: they hold a socket and
/// the work of a handshake.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Header bytes of an answer that we read; the contract's value for clients.
const CLIENT_HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// Stream credit goes back each time this part of the window came together: often enough that a sender never waits for
/// it, and seldom enough that it costs nothing.
const CREDIT_BATCHES: u32 = 4;

/// Why there is no tunnel.
#[derive(Clone, Debug, Error)]
pub(crate) enum SetupError {
    #[error(
        "connecting to the peer's proxy at {target} failed: {cause}; is port 15008 open between the nodes?"
    )]
    Connect { target: SocketAddr, cause: String, silent: bool },
    #[error(
        "the peer's proxy at {target} did not finish the handshake within 10 s; is it overloaded, or not a proxy?"
    )]
    Slow { target: SocketAddr },
    #[error("the TLS handshake with {target} failed: {cause}")]
    Tls { target: SocketAddr, cause: String },
    #[error(
        "identity mismatch: {target} proved to be {found}, expected {expected}; has the address passed to another pod, \
         or is the mesh's view of it old?"
    )]
    Identity { target: SocketAddr, found: Identity, expected: String },
    #[error(
        "the peer certificate of {peer} at {target} is revoked by CRL: it must not be believed any more; if that is a \
         mistake, see who issues the list of CRL_PATH"
    )]
    Revoked { target: SocketAddr, peer: Identity },
    #[error("all {limit} tunnels to {target} are full; more are not made")]
    Full { target: SocketAddr, limit: usize },
    #[error("no certificate for {0}: the certificate source has not issued one yet")]
    NoCertificate(Identity),
}

// === impl SetupError ===

impl SetupError {
    /// What the metrics call it (contract 1.17).
    pub(crate) fn flag(&self) -> ResponseFlag {
        match self {
            // Who refuses a connection is there; what a network policy forbids is silently dropped.
            Self::Connect { silent: true, .. } => ResponseFlag::NetworkPolicy,
            Self::Connect { .. } | Self::Full { .. } => ResponseFlag::Connect,
            Self::Slow { .. } | Self::Tls { .. } | Self::Identity { .. } => ResponseFlag::TlsFailure,
            Self::NoCertificate(_) => ResponseFlag::IdentityError,
            Self::Revoked { .. } => ResponseFlag::CertRevoked,
        }
    }
}

/// Makes a tunnel to a peer node, from inside the pod's namespace.
pub(super) async fn client_tunnel(
    shard: &Rc<Shard>,
    pod: &Rc<LocalPod>,
    key: &PoolKey,
) -> Result<Key, SetupError> {
    let target = key.target;
    let failed = |cause: io::Error| SetupError::Connect {
        target,
        silent: cause.kind() == io::ErrorKind::TimedOut,
        cause: cause.to_string(),
    };
    let credentials = shard.own_credentials(pod, &key.source).await;
    let credentials = credentials.ok_or_else(|| SetupError::NoCertificate(key.source.clone()))?;
    let socket = net::to_network(&pod.netns, target, &shard.options, true).map_err(failed)?;
    let deadline = shard.driver.now() + CONNECT_TIMEOUT;
    shard.driver.connect(socket.as_fd(), target, deadline).await.map_err(failed)?;

    let hello = Handshake::client(&credentials).map_err(|cause| tls(target, &cause))?;
    let mut established = handshake(shard, socket.as_fd(), hello, target).await?;
    if !key.expected.contains(&established.peer) {
        refuse(&shard.driver, socket.as_fd(), &mut established.sealer, Alert::BAD_CERTIFICATE).await;
        let expected = key.expected.iter().map(Identity::to_string).collect::<Vec<_>>().join(" or ");
        return Err(SetupError::Identity { target, found: established.peer, expected });
    }
    let local = net::local_address(socket.as_fd()).map_err(failed)?;
    let chain = unrevoked(shard, socket.as_fd(), &mut established, target, |certificates| {
        PeerChain::of_server(&credentials, certificates)
    })
    .await?;
    let facts = TunnelFacts {
        side: Side::Client,
        pod: Rc::clone(pod),
        peer: established.peer.clone(),
        chain,
        local,
        remote: target,
    };
    Ok(begin(shard, socket, facts, established))
}

/// Puts an established connection into the table, as client or as server.
pub(crate) fn begin(shard: &Shard, socket: OwnedFd, facts: TunnelFacts, established: Established) -> Key {
    let mut tables = shard.tables.borrow_mut();
    let settings = settings(&shard.config, facts.side);
    let heartbeat = Heartbeat::new(shard.driver.now(), shard.config.tunnel_unused_release);
    let (tunnel, mut rest) =
        Tunnel::new(socket, facts, established, &settings, heartbeat, &mut tables.buffers);
    tables.begin_tunnel(tunnel, &mut rest)
}

/// Runs a handshake over a connected socket, in either role, within its time.
pub(crate) async fn handshake(
    shard: &Shard,
    socket: BorrowedFd<'_>,
    handshake: Handshake,
    peer: SocketAddr,
) -> Result<Established, SetupError> {
    let driver = &shard.driver;
    let late = async {
        driver.sleep_until(driver.now() + HANDSHAKE_TIMEOUT).await;
        Err(SetupError::Slow { target: peer })
    };
    let outcome = futures_lite::future::or(exchange(driver, socket, handshake, peer), late).await;
    let figures = shard.figures();
    let counted = if outcome.is_ok() { &figures.handshakes } else { &figures.handshakes_failed };
    counted.add(1);
    outcome
}

async fn exchange(
    driver: &Driver,
    socket: BorrowedFd<'_>,
    mut handshake: Handshake,
    peer: SocketAddr,
) -> Result<Established, SetupError> {
    let broken = |cause: io::Error| SetupError::Tls { target: peer, cause: cause.to_string() };
    let mut out = Vec::new();
    let mut progress = handshake.advance(&[], &mut out);
    loop {
        if !out.is_empty() {
            // Also after a failure: then it is the alert that tells the peer why.
            let sent = driver.send_all(socket, std::mem::take(&mut out)).await;
            if progress.is_ok() {
                sent.map_err(broken)?;
            }
        }
        match progress.map_err(|cause| tls(peer, &cause))? {
            Progress::Done(established) => return Ok(*established),
            Progress::More => {}
        }
        let Some(received) = driver.recv_some(socket).await.map_err(broken)? else {
            return Err(SetupError::Tls {
                target: peer,
                cause: "the peer closed the connection in the middle of the handshake; its log says why"
                    .to_owned(),
            });
        };
        progress = handshake.advance(&received, &mut out);
    }
}

/// The chain of a peer after its handshake, if it has to be kept because it may be revoked later. One that is revoked
/// already is told so.
pub(crate) async fn unrevoked(
    shard: &Shard,
    socket: BorrowedFd<'_>,
    established: &mut Established,
    peer: SocketAddr,
    chain: impl FnOnce(&[CertificateDer<'static>]) -> PeerChain,
) -> Result<Option<PeerChain>, SetupError> {
    let certificates = std::mem::take(&mut established.chain);
    let Some(revocations) = shard.snapshot().revocations().cloned() else { return Ok(None) };
    let chain = chain(&certificates);
    if revocations.revoke(&chain) {
        refuse(&shard.driver, socket, &mut established.sealer, Alert::CERTIFICATE_REVOKED).await;
        return Err(SetupError::Revoked { target: peer, peer: established.peer.clone() });
    }
    Ok(Some(chain))
}

/// Tells a peer why its certificate is not taken (RFC 8446 §6.2), after its handshake.
async fn refuse(driver: &Driver, socket: BorrowedFd<'_>, sealer: &mut RecordSealer, alert: Alert) {
    let mut out = Vec::new();
    sealer.alert(&mut out, alert);
    let _ = driver.send_all(socket, out).await;
}

fn settings(config: &EngineConfig, side: Side) -> Settings {
    let mut settings = if side == Side::Client { Settings::client() } else { Settings::server() };
    settings.stream_window = config.stream_window;
    settings.frame_size = config.frame_size;
    settings.credit_batch = config.stream_window / CREDIT_BATCHES;
    if side == Side::Client {
        settings.streams_max = config.tunnel_streams_max;
        settings.header_list_max = CLIENT_HEADER_LIST_BYTES_MAX;
    }
    settings
}

fn tls(target: SocketAddr, cause: &TlsError) -> SetupError {
    SetupError::Tls { target, cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::shard::tests::bench;

    #[test]
    fn every_cause_has_the_flag_of_the_contract() {
        let target = SocketAddr::from(([10, 0, 0, 2], 15_008));
        let peer: Identity = "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap();
        let connect = |silent| SetupError::Connect { target, cause: String::new(), silent };
        for (cause, flag) in [
            (connect(true), "NETWORK_POLICY"),
            (connect(false), "CONNECT"),
            (SetupError::Full { target, limit: 1 }, "CONNECT"),
            (SetupError::Slow { target }, "TLS_FAILURE"),
            (SetupError::Tls { target, cause: String::new() }, "TLS_FAILURE"),
            (SetupError::Identity { target, found: peer.clone(), expected: String::new() }, "TLS_FAILURE"),
            (SetupError::NoCertificate(peer.clone()), "IDENTITY_ERROR"),
            (SetupError::Revoked { target, peer }, "CERT_REVOKED"),
        ] {
            assert_eq!(cause.flag().as_str(), flag, "{cause}");
        }
    }

    #[test]
    fn settings_follow_the_configuration() {
        let config = EngineConfig { stream_window: 65_536, tunnel_streams_max: 7, ..bench::config() };
        let client = settings(&config, Side::Client);
        assert_eq!((client.stream_window, client.credit_batch), (65_536, 16_384));
        assert_eq!((client.streams_max, client.header_list_max), (7, 16 * 1024));
        let server = settings(&config, Side::Server);
        assert_eq!((server.stream_window, server.credit_batch), (65_536, 16_384));
        assert_eq!(server.streams_max, Settings::server().streams_max);
    }
}
