//! The small values of messages: addresses, ports, numbers that stand for something.

use std::collections::BTreeMap;
use std::net::IpAddr;

use engine::mesh::{GatewayAddress, GatewayDestination, HBONE_PORT, NetworkAddress};
use ipnet::IpNet;
use prost::UnknownEnumValue;
use proto::workload::gateway_address::Destination;
use proto::workload::{self as message};

use super::interned::Interned;

/// 4 or 16 raw bytes; a mapped IPv4 address is the IPv4 address.
pub(super) fn ip(bytes: &[u8]) -> Result<IpAddr, String> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let ip = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    ip.map(|ip| ip.to_canonical())
        .map_err(|_| format!("an address has {} bytes, and not 4 or 16", bytes.len()))
}

/// An address and the length of its prefix.
pub(super) fn block(bytes: &[u8], length: u32) -> Result<IpNet, String> {
    let ip = ip(bytes)?;
    let mapped = if ip.is_ipv4() && bytes.len() == 16 { 96 } else { 0 };
    let prefix = length.checked_sub(mapped).and_then(|length| u8::try_from(length).ok());
    let block = prefix.and_then(|prefix| IpNet::new(ip, prefix).ok());
    block.ok_or_else(|| format!("the block {ip}/{length} has no such prefix"))
}

pub(super) fn port(number: u32) -> Result<u16, String> {
    u16::try_from(number).map_err(|_| format!("{number} is no port"))
}

/// Service port to target port.
pub(super) fn ports(list: &[message::Port]) -> Result<BTreeMap<u16, u16>, String> {
    list.iter().map(|entry| Ok((port(entry.service_port)?, port(entry.target_port)?))).collect()
}

/// The value of an enumeration that we know.
pub(super) fn known<T: TryFrom<i32, Error = UnknownEnumValue>>(
    field: &str,
    number: i32,
) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("its {field} is {number}, which is nothing we know"))
}

pub(super) fn gateway(
    gateway: &message::GatewayAddress,
    interned: &mut Interned,
) -> Result<GatewayAddress, String> {
    let destination = match &gateway.destination {
        Some(Destination::Hostname(name)) => {
            GatewayDestination::Hostname(interned.service(&name.namespace, &name.hostname))
        }
        Some(Destination::Address(address)) => {
            let network = interned.text(&address.network);
            GatewayDestination::Address(NetworkAddress::new(&network, ip(&address.address)?))
        }
        None => return Err("its gateway has no destination".to_owned()),
    };
    let hbone_port = match gateway.hbone_mtls_port {
        0 => HBONE_PORT,
        number => port(number)?,
    };
    Ok(GatewayAddress { destination, hbone_port })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_have_4_or_16_bytes() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
        let cases: [(&[u8], Option<&str>); 7] = [
            (&[10, 0, 0, 1], Some("10.0.0.1")),
            (&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], Some("fd00::1")),
            (&mapped, Some("10.0.0.1")),
            (&[], None),
            (&[10, 0, 0], None),
            (&[10, 0, 0, 1, 2], None),
            (&[0; 17], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(ip(bytes).ok(), expected.map(|text| text.parse().unwrap()), "{bytes:?}");
        }
    }

    #[test]
    fn blocks_have_a_prefix_of_their_family() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0];
        let cases: [(&[u8], u32, Option<&str>); 7] = [
            (&[10, 0, 0, 0], 8, Some("10.0.0.0/8")),
            (&[10, 0, 0, 0], 0, Some("10.0.0.0/0")),
            (&[10, 0, 0, 0], 33, None),
            (&[10, 0, 0, 0], 300, None),
            (&[0; 16], 128, Some("::/128")),
            (&mapped, 104, Some("10.0.0.0/8")),
            (&mapped, 8, None),
        ];
        for (bytes, length, expected) in cases {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(block(bytes, length).ok(), expected, "{bytes:?}/{length}");
        }
    }

    #[test]
    fn ports_are_16_bits() {
        for (number, expected) in [(0, Some(0)), (80, Some(80)), (65_535, Some(65_535)), (65_536, None)] {
            assert_eq!(port(number).ok(), expected);
        }
    }
}
