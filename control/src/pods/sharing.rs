//! Whether another proxy serves a pod as well.
//!
//! Proxies open their ports so that a successor can open them too. Two that do not know each other, because their pods
//! come from different places, share a pod without a word then: the kernel gives each a part of its connections.

use std::collections::HashSet;
use std::fs::{File, read_dir, read_link};
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::netns::inside;

/// Where tunnels come in: every proxy has it in each of its pods.
const TUNNEL_PORT: u16 = 15_008;

/// The state of a listening socket in the kernel's table (`TCP_LISTEN`).
const LISTENING: &str = "0A";

/// Whether somebody else listens for the tunnels of these pods, which have our listeners already.
///
/// # Errors
///
/// Our own sockets cannot be listed, or for a pod its namespace cannot be looked into: nothing is known then.
pub(super) fn look(pods: Vec<(Arc<str>, OwnedFd)>) -> io::Result<Vec<(Arc<str>, io::Result<bool>)>> {
    let own = own_sockets()?;
    let found = pods.into_iter().map(|(uid, netns)| (uid, is_shared(netns, &own)));
    Ok(found.collect())
}

fn is_shared(netns: impl AsFd + Sync, own: &HashSet<u64>) -> io::Result<bool> {
    let listeners = inside(netns, listeners).map_err(io::Error::other)??;
    Ok(!listeners.is_subset(own))
}

/// Inodes of the sockets that listen on the port in the namespace of this thread.
fn listeners() -> io::Result<HashSet<u64>> {
    let mut found = HashSet::new();
    for table in ["tcp", "tcp6"] {
        let file = match File::open(format!("/proc/thread-self/net/{table}")) {
            Ok(file) => file,
            // A kernel without IPv6.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        // Below a headline the kernel lists those that listen before all connections, which may be many.
        for line in BufReader::new(file).lines().skip(1) {
            let line = line?;
            if state(&line) != Some(LISTENING) {
                break;
            }
            found.extend(listener(&line));
        }
    }
    Ok(found)
}

fn state(line: &str) -> Option<&str> {
    line.split_whitespace().nth(3)
}

/// The inode, if the line is one of a socket that listens on the port.
fn listener(line: &str) -> Option<u64> {
    let fields: Vec<&str> = line.split_whitespace().take(10).collect();
    let &[_, local, _, LISTENING, .., inode] = fields.as_slice() else { return None };
    let (_, port) = local.rsplit_once(':')?;
    (u16::from_str_radix(port, 16) == Ok(TUNNEL_PORT)).then(|| inode.parse().ok())?
}

/// Inodes of the sockets of this process.
fn own_sockets() -> io::Result<HashSet<u64>> {
    let mut found = HashSet::new();
    for fd in read_dir("/proc/self/fd")? {
        match read_link(fd?.path()) {
            Ok(target) => found.extend(inode(&target)),
            // Closed meanwhile.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(found)
}

fn inode(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernels_table() {
        let line = |port: &str, state: &str| {
            format!(
                "   0: 00000000000000000000000000000000:{port} 00000000000000000000000000000000:0000 {state} \
                 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0"
            )
        };
        assert_eq!(listener(&line("3AA0", "0A")), Some(4_711));
        for (port, state) in [("3AA0", "01"), ("3AA1", "0A"), ("0000", "0A")] {
            assert_eq!(listener(&line(port, state)), None, "{port} {state}");
        }
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when"), None);
        assert_eq!(listener(""), None);
    }

    #[test]
    fn sockets_of_this_process_are_its_own() -> io::Result<()> {
        let before = own_sockets()?;
        let _socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        assert!(!own_sockets()?.is_subset(&before));
        Ok(())
    }

    /// What is no network namespace cannot be looked into: that says nothing of the pod.
    #[test]
    fn what_cannot_be_seen_is_no_answer() -> io::Result<()> {
        let nothing = OwnedFd::from(File::open("/proc/self/status")?);
        let found = look(vec![(Arc::from("pod"), nothing)])?;
        assert!(matches!(found.as_slice(), [(_, Err(_))]), "{found:?}");
        Ok(())
    }
}
