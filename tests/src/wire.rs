//! What a capture proves: its connections, and whether what went between two pods was encrypted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::pcap::{FIN, RST, SYN, Segment};

/// The port of HBONE.
pub const HBONE_PORT: u16 = 15008;

/// How many payload bytes of each direction are kept to see what a connection speaks.
const OPENING_BYTES_MAX: usize = 64;

/// One direction of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// Payload bytes, each counted once however often it was sent.
    pub bytes: u64,
    /// The first payload bytes.
    pub opening: Vec<u8>,
    pub fin: bool,
    pub rst: bool,
    first_sequence: Option<u32>,
}

impl Half {
    fn add(&mut self, segment: &Segment<'_>) {
        self.fin |= segment.flags & FIN != 0;
        self.rst |= segment.flags & RST != 0;
        if segment.payload_len == 0 && segment.flags & SYN == 0 {
            return;
        }
        // The SYN occupies one sequence number; a capture that began later starts at its first payload.
        let syn = u32::from(segment.flags & SYN != 0);
        let first = *self.first_sequence.get_or_insert_with(|| segment.sequence.wrapping_add(syn));
        let end = segment.sequence.wrapping_add(segment.payload_len as u32).wrapping_sub(first);
        // Sequence numbers wrap every 4 GiB: the distance to what was seen before tells how often they did.
        let ahead = end.wrapping_sub(self.bytes as u32);
        if segment.flags & SYN == 0 && ahead < 1 << 31 {
            if self.opening.len() < OPENING_BYTES_MAX
                && (end as usize).wrapping_sub(segment.payload_len) == self.opening.len()
            {
                let room = OPENING_BYTES_MAX - self.opening.len();
                self.opening.extend(&segment.payload[..segment.payload.len().min(room)]);
            }
            self.bytes += u64::from(ahead);
        }
    }
}

/// A connection, seen from the side that opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub sent: Half,
    pub received: Half,
}

impl Flow {
    /// True for a connection to 15008 whose first bytes are a TLS ClientHello and whose answer is TLS too. A PROXY header
    /// before it tells where the connection was meant to go, and carries nothing of an application.
    pub fn is_tunnel(&self) -> bool {
        self.server.port() == HBONE_PORT
            && is_client_hello(after_proxy_header(&self.sent.opening))
            && (self.received.opening.is_empty() || is_tls_record(&self.received.opening))
    }

    fn bytes(&self) -> u64 {
        self.sent.bytes + self.received.bytes
    }
}

/// What follows the binary header of the PROXY protocol (its specification §2.2: signature, version and command, family,
/// length), all if there is none.
fn after_proxy_header(opening: &[u8]) -> &[u8] {
    let Some([_, _, high, low, rest @ ..]) = opening.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n") else {
        return opening;
    };
    rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default()
}

/// RFC 8446 §5.1: a handshake record (22) of TLS 1.0 to 1.2 on the wire, holding a ClientHello (1).
fn is_client_hello(bytes: &[u8]) -> bool {
    is_tls_record(bytes) && bytes[0] == 22 && bytes.get(5) == Some(&1)
}

/// A change_cipher_spec, alert, handshake or application data record with a length TLS allows.
fn is_tls_record(bytes: &[u8]) -> bool {
    let [kind, 3, minor, high, low, ..] = *bytes else { return false };
    (20..=23).contains(&kind) && minor <= 4 && u16::from_be_bytes([high, low]) <= 16_384 + 256
}

/// All connections of a capture.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    pub flows: Vec<Flow>,
}

impl Wire {
    /// Sorts segments into connections. Who sent the first SYN is the client; without one, whoever was seen first.
    pub fn new(segments: &[Segment<'_>]) -> Self {
        let mut flows: Vec<Flow> = Vec::new();
        let mut open: BTreeMap<(SocketAddr, SocketAddr), usize> = BTreeMap::new();
        for segment in segments {
            let ends = (segment.source, segment.destination);
            let is_opening = segment.flags & (SYN | crate::pcap::ACK) == SYN;
            let known = open.get(&ends).or_else(|| open.get(&(ends.1, ends.0))).copied();
            // A SYN on an address pair that has carried bytes is a new connection of a reused port.
            let at = match known {
                Some(at) if !(is_opening && flows[at].bytes() > 0) => at,
                _ => {
                    let (sent, received) = Default::default();
                    flows.push(Flow { client: ends.0, server: ends.1, sent, received });
                    open.remove(&(ends.1, ends.0));
                    open.insert(ends, flows.len() - 1);
                    flows.len() - 1
                }
            };
            let flow = &mut flows[at];
            if flow.client == segment.source { &mut flow.sent } else { &mut flow.received }.add(segment);
        }
        Self { flows }
    }

    /// What went between two sets of addresses, in either direction.
    pub fn between(&self, these: &[IpAddr], those: &[IpAddr]) -> Sighting {
        let mut sighting = Sighting::default();
        for flow in &self.flows {
            let (client, server) = (flow.client.ip(), flow.server.ip());
            let is_between = these.contains(&client) && those.contains(&server)
                || those.contains(&client) && these.contains(&server);
            if is_between {
                sighting.add(flow);
            }
        }
        sighting
    }
}

/// What went between two pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Connections to 15008 that open with a ClientHello.
    pub tunnels: usize,
    pub tunnel_bytes: u64,
    /// Connections that are no tunnel and carried payload.
    pub plain: usize,
    pub plain_bytes: u64,
    /// Their ports, each once.
    pub plain_ports: Vec<u16>,
}

impl Sighting {
    fn add(&mut self, flow: &Flow) {
        if flow.is_tunnel() {
            self.tunnels += 1;
            self.tunnel_bytes += flow.bytes();
        } else if flow.bytes() > 0 {
            self.plain += 1;
            self.plain_bytes += flow.bytes();
            if !self.plain_ports.contains(&flow.server.port()) {
                self.plain_ports.push(flow.server.port());
            }
        }
    }

    /// Every payload byte was in a tunnel, and there were at least as many as the applications exchanged.
    pub fn is_encrypted(&self, application_bytes: u64) -> bool {
        self.plain == 0 && self.tunnels > 0 && self.tunnel_bytes >= application_bytes
    }

    /// Every payload byte was on plain connections to `port`, and there were at least `application_bytes`.
    pub fn is_plain(&self, port: u16, application_bytes: u64) -> bool {
        self.tunnels == 0 && self.plain_ports == [port] && self.plain_bytes >= application_bytes
    }
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports: Vec<String> = self.plain_ports.iter().map(u16::to_string).collect();
        let ports = ports.join(", ");
        match (self.tunnels, self.plain) {
            (0, 0) => write!(f, "nothing"),
            (tunnels, 0) => {
                write!(f, "TLS on {HBONE_PORT}, {} B in {}", self.tunnel_bytes, counted(tunnels, "tunnel"))
            }
            (0, plain) => {
                write!(f, "plaintext on {ports}, {} B in {}", self.plain_bytes, counted(plain, "connection"))
            }
            _ => write!(f, "both: TLS {} B, plaintext on {ports} {} B", self.tunnel_bytes, self.plain_bytes),
        }
    }
}

/// `1 tunnel`, `2 tunnels`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pcap::tests::file;
    use crate::pcap::{ACK, segments};

    const HELLO: &[u8] = &[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    const RECORD: &[u8] = &[23, 3, 3, 0, 30, 9, 9, 9];

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn wire(packets: &[(SocketAddr, SocketAddr, u32, u8, &[u8])]) -> Wire {
        Wire::new(&segments(&file(packets)).unwrap())
    }

    fn sighting(wire: &Wire) -> Sighting {
        wire.between(&[address("10.1.0.2:0").ip()], &[address("10.2.0.2:0").ip()])
    }

    #[test]
    fn what_counts_as_encrypted() {
        let client = address("10.1.0.2:40000");
        type Case = (&'static str, u16, &'static [u8], &'static [u8], bool);
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\0\x02\x0a\x02\0\x02\x9c\x40\x1f\x90";
        let announced: &[u8] = [&header[..], HELLO].concat().leak();
        let in_vain: &[u8] = [&header[..], b"GET / HTTP/1.1\r\n"].concat().leak();
        let table: [Case; 9] = [
            ("a tunnel", 15008, HELLO, RECORD, true),
            ("a tunnel behind a PROXY header", 15008, announced, RECORD, true),
            ("plaintext behind a PROXY header", 15008, in_vain, RECORD, false),
            ("a PROXY header alone", 15008, header, RECORD, false),
            ("TLS on another port", 8443, HELLO, RECORD, false),
            ("plaintext", 8080, b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK", false),
            ("plaintext on 15008", 15008, b"PRI * HTTP/2.0\r\n", b"", false),
            ("a plain answer on 15008", 15008, HELLO, b"HTTP/1.1 200 OK", false),
            ("data before a handshake", 15008, RECORD, RECORD, false),
        ];
        for (name, port, request, response, encrypted) in table {
            let server = SocketAddr::new(address("10.2.0.2:0").ip(), port);
            let wire = wire(&[
                (client, server, 99, SYN, b""),
                (server, client, 499, SYN | ACK, b""),
                (client, server, 100, ACK, request),
                (server, client, 500, ACK, response),
            ]);
            let seen = sighting(&wire);
            assert_eq!(seen.is_encrypted(10), encrypted, "{name}: {seen}");
            assert_eq!(seen.is_plain(port, 10), !encrypted, "{name}: {seen}");
            assert!(!seen.is_encrypted(1000), "{name}: carried less than that");
        }
    }

    #[test]
    fn one_plain_byte_beside_a_tunnel_is_not_encrypted() {
        let (a, b) = (address("10.1.0.2:40000"), address("10.2.0.2:15008"));
        let (c, d) = (address("10.2.0.2:40001"), address("10.1.0.2:8080"));
        let wire = wire(&[(a, b, 1, ACK, HELLO), (c, d, 1, ACK, b"x")]);
        assert!(!sighting(&wire).is_encrypted(0));
        assert_eq!(sighting(&wire).plain_bytes, 1);
    }

    #[test]
    fn other_pairs_do_not_count() {
        let wire = wire(&[(address("10.1.0.2:40000"), address("10.2.0.9:80"), 1, ACK, b"other")]);
        assert_eq!(sighting(&wire), Sighting::default());
    }

    #[test]
    fn retransmissions_count_once_and_the_count_survives_a_sequence_wrap() {
        let (a, b) = (address("10.1.0.2:40000"), address("10.2.0.2:80"));
        let first = u32::MAX - 4;
        let wire = wire(&[
            (a, b, first.wrapping_sub(1), SYN, b""),
            (a, b, first, ACK, b"0123"),
            (a, b, first, ACK, b"0123456789"),
            (a, b, first.wrapping_add(4), ACK, b"456789"),
            (a, b, first.wrapping_add(10), ACK | FIN, b"ab"),
        ]);
        assert_eq!(wire.flows.len(), 1);
        assert_eq!(wire.flows[0].sent.bytes, 12);
        assert_eq!(&wire.flows[0].sent.opening[..4], b"0123");
        assert!(wire.flows[0].sent.fin && !wire.flows[0].sent.rst);
    }

    #[test]
    fn a_reused_port_is_a_new_connection() {
        let (a, b) = (address("10.1.0.2:40000"), address("10.2.0.2:15008"));
        let wire = wire(&[
            (a, b, 0, SYN, b""),
            (a, b, 1, ACK, HELLO),
            (b, a, 0, RST, b""),
            (a, b, 1000, SYN, b""),
            (a, b, 1001, ACK, b"GET / HTTP/1.1\r\n"),
        ]);
        assert_eq!(wire.flows.len(), 2);
        assert!(wire.flows[0].is_tunnel() && !wire.flows[1].is_tunnel());
    }
}
