//! Readiness, and the little HTTP that tells it: `GET /healthz/ready` on port 15021.
//!
//! The state outlives the control thread: it is shared by whoever has something to wait for, and the probe is answered
//! by whatever serves at the time. The responder reads one request head per connection, within a size and a time, and
//! closes: probes need no more, and everybody on the node's network can reach it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// The longest request head that is read: a probe's is under 200 bytes.
const PROBE_HEAD_BYTES_MAX: usize = 4 * 1024;

/// How long a probe may take from accept to close: kubelet itself gives up after one second.
const PROBE_MS_MAX: u64 = 2_000;

/// Probes answered at a time: more wait in the listener's queue.
const PROBES_MAX: usize = 16;

/// The pause after an accept that failed.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Connections that wait to be accepted.
const PROBE_BACKLOG: i32 = 64;

/// What has to happen before this proxy is ready. Names are ztunnel's where it has one for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// The mesh is known and was given to every shard.
    StateManager,
    /// The shards run.
    Proxy,
    /// Every pod of the node has its listeners.
    WorkloadProxyManager,
    /// We were told to end: no new connection is taken.
    Drain,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::StateManager => "state manager",
            Self::Proxy => "proxy",
            Self::WorkloadProxyManager => "workload proxy manager",
            Self::Drain => "drain",
        }
    }
}

/// What is pending, shared by all who wait for something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<BTreeSet<Task>>>);

impl Readiness {
    /// Not ready: everything a start has to do is pending.
    pub(crate) fn starting() -> Self {
        let readiness = Self::default();
        for task in [Task::StateManager, Task::Proxy, Task::WorkloadProxyManager] {
            readiness.set(task, false);
        }
        readiness
    }

    pub(crate) fn set(&self, task: Task, done: bool) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if done {
            pending.remove(&task);
        } else {
            pending.insert(task);
        }
    }

    /// The names of what is pending; empty when ready.
    pub(crate) fn pending(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|task| task.name()).collect()
    }
}

#[derive(Debug, Error)]
#[error("readiness address {address}: {cause}; end what listens there, or set READINESS_BIND_ADDRESS")]
pub struct BindError {
    address: SocketAddr,
    cause: io::Error,
}

/// Opens the listening socket. With SO_REUSEPORT, since during a rolling update of a host-network DaemonSet the old
/// process still has the port, and the update would wait for ever.
pub(crate) fn listener(address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    let wildcard = address.is_ipv6() && address.ip().is_unspecified();
    open(address)
        .or_else(|error| match error.raw_os_error() {
            // A kernel without IPv6 has no [::] to listen on; the IPv4 wildcard is what was meant there.
            Some(code) if wildcard && code == nix::errno::Errno::EAFNOSUPPORT as i32 => {
                open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
            }
            _ => Err(error),
        })
        .map_err(|cause| BindError { address, cause })
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &false)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(PROBE_BACKLOG)?)?;
    Ok(std::net::TcpListener::from(fd))
}

/// Answers probes, for as long as it is polled.
pub(crate) async fn serve(listener: &TcpListener, readiness: &Readiness) -> Infallible {
    let room = Arc::new(Semaphore::new(PROBES_MAX));
    loop {
        let permit =
            Arc::clone(&room).acquire_owned().await.expect("invariant: the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, mostly: the queue of the listener keeps who comes meanwhile.
            sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            continue;
        };
        let readiness = readiness.clone();
        tokio::spawn(async move {
            // Too slow, or gone: either way the probe failed for who sent it.
            let _ = timeout(Duration::from_millis(PROBE_MS_MAX), answer(stream, &readiness)).await;
            drop(permit);
        });
    }
}

async fn answer(mut stream: TcpStream, readiness: &Readiness) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    stream.write_all(response(head.as_deref(), &readiness.pending()).as_bytes()).await?;
    stream.shutdown().await?;
    // Unread input at close would turn into an RST that can overtake the answer.
    let mut rest = [0; 256];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// The request up to the empty line; `None` if there is none within the limit.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(512);
    loop {
        let mut chunk = [0; 512];
        let read = stream.read(&mut chunk).await?;
        head.extend_from_slice(&chunk[..read]);
        if head.windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(Some(head));
        }
        if read == 0 || head.len() >= PROBE_HEAD_BYTES_MAX {
            return Ok(None);
        }
    }
}

/// The whole answer to a request head.
fn response(head: Option<&[u8]>, pending: &[&str]) -> String {
    let (status, body) = match request_line(head) {
        None => ("400 Bad Request", "bad request\n".to_owned()),
        Some((_, path)) if path != "/healthz/ready" => ("404 Not Found", "not found\n".to_owned()),
        Some((method, _)) if method != "GET" => ("405 Method Not Allowed", "method not allowed\n".to_owned()),
        Some(_) if pending.is_empty() => ("200 OK", "ready\n".to_owned()),
        Some(_) => ("500 Internal Server Error", format!("not ready, pending: {}\n", pending.join(", "))),
    };
    // RFC 9110 §15.5.6: a 405 must name the methods that are allowed.
    let allow = if status.starts_with("405") { "allow: GET\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n{allow}connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Method and path, without the query.
fn request_line(head: Option<&[u8]>) -> Option<(&str, &str)> {
    let line = head?.split(|byte| *byte == b'\r').next()?;
    let mut parts = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let well_formed = !method.is_empty() && version.starts_with("HTTP/1.") && parts.next().is_none();
    well_formed.then(|| (method, target.split('?').next().unwrap_or(target)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_as_a_table() {
        let pending = ["proxy", "workload proxy manager"];
        for (head, pending, status, body) in [
            ("GET /healthz/ready HTTP/1.1\r\nhost: x\r\n\r\n", &[][..], "200 OK", "ready\n"),
            ("GET /healthz/ready?verbose HTTP/1.0\r\n\r\n", &[], "200 OK", "ready\n"),
            (
                "GET /healthz/ready HTTP/1.1\r\n\r\n",
                &pending,
                "500 Internal Server Error",
                "not ready, pending: proxy, workload proxy manager\n",
            ),
            ("POST /healthz/ready HTTP/1.1\r\n\r\n", &[], "405 Method Not Allowed", "method not allowed\n"),
            ("GET / HTTP/1.1\r\n\r\n", &[], "404 Not Found", "not found\n"),
            ("GET /healthz/ready/x HTTP/1.1\r\n\r\n", &[], "404 Not Found", "not found\n"),
            ("GET /healthz/ready\r\n\r\n", &[], "400 Bad Request", "bad request\n"),
            ("GET /healthz/ready HTTP/2.0\r\n\r\n", &[], "400 Bad Request", "bad request\n"),
            ("\r\n\r\n", &[], "400 Bad Request", "bad request\n"),
            ("\u{16}\u{3}\u{1} binary\r\n\r\n", &[], "400 Bad Request", "bad request\n"),
        ] {
            let answer = response(Some(head.as_bytes()), pending);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head:?}: {answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{head:?}: {answer}");
        }
        assert!(response(None, &[]).starts_with("HTTP/1.1 400 "));
    }

    #[test]
    fn pending_tasks_are_told_in_a_fixed_order() {
        let readiness = Readiness::starting();
        assert_eq!(readiness.pending(), ["state manager", "proxy", "workload proxy manager"]);
        readiness.set(Task::Proxy, true);
        let same = readiness.clone();
        same.set(Task::StateManager, true);
        readiness.set(Task::WorkloadProxyManager, true);
        assert!(same.pending().is_empty());
        readiness.set(Task::Drain, false);
        assert_eq!(readiness.pending(), ["drain"]);
    }

    /// Serves on a free port and returns what comes back for `request`.
    async fn ask(request: &[u8]) -> String {
        let listener = listener("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let readiness = Readiness::default();
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::select! {
            answer = client => answer,
            never = serve(&listener, &readiness) => match never {},
        }
    }

    #[tokio::test]
    async fn a_probe_is_answered_over_a_socket() {
        let answer = ask(b"GET /healthz/ready HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.ends_with("\r\n\r\nready\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused_at_the_limit() {
        let answer = ask(&vec![b'x'; PROBE_HEAD_BYTES_MAX]).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed_in_time() {
        assert_eq!(ask(b"GET ").await, "");
    }

    #[test]
    fn two_processes_may_listen_during_an_update() {
        let first = listener("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(listener(first.local_addr().unwrap()).is_ok());
    }
}
