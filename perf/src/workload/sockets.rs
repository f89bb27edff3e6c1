//! Which TCP sockets there are at a place: how we know that a server listens and that a test has begun, which the
//! programs themselves say too late.

use anyhow::Result;

use crate::site::Place;

/// States as /proc/net/tcp names them.
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// The TCP sockets at a place in one moment.
#[derive(Debug)]
pub(super) struct Sockets(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    /// Its own.
    port: u16,
    state: String,
    /// Bytes that the other end has not acknowledged.
    unsent: u64,
    /// Bytes that nobody has read.
    unread: u64,
}

impl Sockets {
    pub(super) fn look(place: &Place) -> Result<Self> {
        let mut command = place.command("sh");
        // A kernel without IPv6 has only the first.
        command.args(["-c", "cat /proc/net/tcp; test ! -e /proc/net/tcp6 || cat /proc/net/tcp6"]);
        Ok(Self::parse(&place.output(&mut command)?))
    }

    fn parse(table: &str) -> Self {
        Self(table.lines().filter_map(Socket::parse).collect())
    }

    pub(super) fn listens(&self, port: u16) -> bool {
        self.count(port, LISTEN) > 0
    }

    /// Connections that were made to `port`.
    pub(super) fn accepted(&self, port: u16) -> usize {
        self.count(port, ESTABLISHED)
    }

    /// Whether a connection that was made to `port` is full in both directions: each end writes and none reads.
    pub(super) fn is_stuck(&self, port: u16) -> bool {
        self.of(port, ESTABLISHED).any(|socket| socket.unsent > 0 && socket.unread > 0)
    }

    fn count(&self, port: u16, state: &str) -> usize {
        self.of(port, state).count()
    }

    fn of(&self, port: u16, state: &str) -> impl Iterator<Item = &Socket> {
        self.0.iter().filter(move |socket| socket.port == port && socket.state == state)
    }
}

impl Socket {
    /// proc_net_tcp: `0: 0100007F:1451 00000000:0000 0A 00000000:00000000 …`: its number, local and remote address, state,
    /// bytes to be sent and to be read, all in hexadecimal. `None` of a head line.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace().skip(1);
        let (_, port) = fields.next()?.rsplit_once(':')?;
        let state = fields.nth(1)?.to_owned();
        let (unsent, unread) = fields.next()?.split_once(':')?;
        Some(Self {
            port: u16::from_str_radix(port, 16).ok()?,
            state,
            unsent: u64::from_str_radix(unsent, 16).ok()?,
            unread: u64::from_str_radix(unread, 16).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1451 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1451 0100007F:A0B2 01 00000000:00000000 00:00000000 00000000     0        0 2712 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:A0B2 0100007F:1451 01 00000000:00000000 00:00000000 00000000     0        0 2713 1 0000000000000000 20 4 30 10 -1
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1451 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2711 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:1451 0000000000000000FFFF00000100007F:A0B4 01 00000000:00000000 00:00000000 00000000     0        0 2711 1 0000000000000000 100 0 0 10 0
";

    #[test]
    fn both_families_count_and_only_the_servers_end_does() {
        let sockets = Sockets::parse(TABLE);
        assert!(sockets.listens(5201) && !sockets.listens(5202));
        assert_eq!((sockets.accepted(5201), sockets.accepted(5202)), (2, 0));
        assert!(!sockets.is_stuck(5201));
    }

    #[test]
    fn a_connection_is_stuck_when_both_ends_only_write() {
        let with =
            |queues: &str| Sockets::parse(&TABLE.replace("01 00000000:00000000", &format!("01 {queues}")));
        assert!(with("000000A0:0000F000").is_stuck(5201));
        for one_way in ["000000A0:00000000", "00000000:0000F000"] {
            assert!(!with(one_way).is_stuck(5201), "{one_way}");
        }
    }

    #[test]
    fn our_own_sockets_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let sockets = Sockets::look(&Place::Exec(vec!["env".to_owned()])).unwrap();
        assert!(sockets.listens(port));
        assert_eq!(sockets.accepted(port), 1);
    }
}
