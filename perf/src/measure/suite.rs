//! Which cipher suite a target negotiates: read from the ServerHello of its first tunnel, before anything is measured.

use std::io::{Read, Write};
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use testkit::capture::Capture;
use testkit::pcap::{self, Segment};
use testkit::traffic;
use testkit::wire::{HBONE_PORT, Wire};

use crate::agent::Agent;
use crate::protocol::{MESSAGE_BYTES, Port, Request};
use crate::record::Encryption;
use crate::site::{Pod, Site};
use crate::target::Standing;

/// Whole packets: a ServerHello fits into one.
const WHOLE_PACKETS: u32 = 0;
/// Messages each way on it.
const EXCHANGES: usize = 100;

/// Opens the first connection of every pair of a fresh site beside a capture: what the first one negotiated. An error when
/// anything between the two pods is not in a TLS tunnel.
pub(crate) fn of_first_tunnels(
    site: &Site,
    standing: &Standing,
    encryption: Encryption,
) -> Result<Option<String>> {
    if encryption != Encryption::Tunnel {
        return Ok(None);
    }
    let mut suites = Vec::new();
    for ((client, server), dial) in site.clients.iter().zip(&site.servers).zip(&standing.dial) {
        suites.push(of_first_tunnel(client, server, *dial)?);
    }
    Ok(suites.into_iter().next())
}

fn of_first_tunnel(client: &Pod, server: &Pod, dial: Ipv4Addr) -> Result<String> {
    let mut listener = Agent::start(&server.place())?;
    listener.tell(&Request::Listen)?;
    let capture = Capture::start(client.netns()?, "eth0", server.ip.into(), WHOLE_PACKETS)?;
    play(client, dial).context("the first connection")?;
    let file = capture.stop()?;
    let segments = pcap::segments(&file)?;
    let seen = Wire::new(&segments).between(&[client.ip.into()], &[server.ip.into()]);
    ensure!(
        seen.is_encrypted((EXCHANGES * 2 * MESSAGE_BYTES) as u64),
        "not encrypted: on the wire was {seen}"
    );
    let suite = server_hello(&segments).context("no ServerHello in the capture")?;
    Ok(suite_name(suite))
}

fn play(client: &Pod, dial: Ipv4Addr) -> Result<()> {
    let mut stream = traffic::connect(client.netns()?, Port::Echo.of(dial))?;
    for _ in 0..EXCHANGES {
        let mut answer = [0; MESSAGE_BYTES];
        stream.write_all(&[0x5a; MESSAGE_BYTES])?;
        stream.read_exact(&mut answer)?;
    }
    Ok(())
}

/// The suite of the first ServerHello that a server on 15008 sent.
fn server_hello(segments: &[Segment<'_>]) -> Option<u16> {
    let from_server = segments.iter().filter(|segment| segment.source.port() == HBONE_PORT);
    from_server
        .filter(|segment| !segment.payload.is_empty())
        .find_map(|segment| selected_suite(segment.payload))
}

/// RFC 8446 §4.1.3: record header, message header, version, random, echoed session id, suite.
fn selected_suite(record: &[u8]) -> Option<u16> {
    let [22, 3, _, _, _, 2, message @ ..] = record else { return None };
    let after_random = message.get(3 + 2 + 32..)?;
    let session_id_len = usize::from(*after_random.first()?);
    let suite = after_random.get(1 + session_id_len..)?.get(..2)?;
    Some(u16::from_be_bytes([suite[0], suite[1]]))
}

/// RFC 8446 §B.4.
fn suite_name(suite: u16) -> String {
    match suite {
        0x1301 => "TLS_AES_128_GCM_SHA256".to_owned(),
        0x1302 => "TLS_AES_256_GCM_SHA384".to_owned(),
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256".to_owned(),
        other => format!("{other:#06x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_hello_record(session_id: &[u8], suite: u16) -> Vec<u8> {
        let mut record = vec![22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3];
        record.extend([7; 32]);
        record.push(session_id.len() as u8);
        record.extend(session_id);
        record.extend(suite.to_be_bytes());
        record.extend([0, 0, 46]);
        record
    }

    #[test]
    fn the_suite_is_found_behind_a_session_id_of_any_length() {
        for session_id in [&[][..], &[9; 32]] {
            let record = server_hello_record(session_id, 0x1302);
            assert_eq!(selected_suite(&record), Some(0x1302));
            for cut in 0..record.len() - 3 {
                assert_eq!(selected_suite(&record[..cut]), None, "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_server_hello_is_none() {
        let mut client_hello = server_hello_record(&[], 0x1301);
        client_hello[5] = 1;
        assert_eq!(selected_suite(&client_hello), None);
        assert_eq!(selected_suite(b"HTTP/1.1 400 Bad Request"), None);
    }

    #[test]
    fn suites_have_the_names_of_the_registry() {
        assert_eq!(suite_name(0x1301), "TLS_AES_128_GCM_SHA256");
        assert_eq!(suite_name(0xc02f), "0xc02f");
    }
}
