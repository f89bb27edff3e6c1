//! Whether another proxy serves a pod as well.
//!
//! Proxies open their ports so that a successor can open them too. Two that do not know each other, because their pods
//! come from different places, share a pod without a word then: the kernel gives each a part of its connections.

use std::collections::HashSet;
use std::fmt::Display;
use std::fs::{read_dir, read_link, read_to_string};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;

use tracing::debug;

use crate::http::is_free;
use crate::netns::inside;

/// Where tunnels come in: every proxy has it in each of its pods.
const TUNNEL_PORT: u16 = 15_008;

/// The state of a listening socket in the kernel's table (`TCP_LISTEN`).
const LISTENING: &str = "0A";

/// Whether somebody else listens for this pod's tunnels.
pub(super) fn is_shared(netns: impl AsFd + Sync) -> bool {
    let others = inside(netns, || -> io::Result<bool> {
        // Mostly: a table of all connections of the pod is long.
        if is_free(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), TUNNEL_PORT)) {
            return Ok(false);
        }
        let listeners = listeners()?;
        Ok(!listeners.is_empty() && !listeners.is_subset(&own_sockets()?))
    });
    match others {
        Ok(Ok(shared)) => shared,
        Ok(Err(cause)) => unknown(&cause),
        // Then it cannot be served either, which is told.
        Err(cause) => unknown(&cause),
    }
}

fn unknown(cause: &dyn Display) -> bool {
    debug!(%cause, "whether another proxy serves this pod is not known");
    false
}

/// Inodes of the sockets that listen on the port in the namespace of this thread.
fn listeners() -> io::Result<HashSet<u64>> {
    let mut found = HashSet::new();
    for table in ["tcp", "tcp6"] {
        match read_to_string(format!("/proc/thread-self/net/{table}")) {
            Ok(text) => found.extend(text.lines().filter_map(listener)),
            // A kernel without IPv6.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(found)
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
    let open = read_dir("/proc/self/fd")?.filter_map(|fd| read_link(fd.ok()?.path()).ok());
    let inode = |target: PathBuf| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    Ok(open.filter_map(inode).collect())
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
}
