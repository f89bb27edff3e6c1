//! Texts of the file that stand for something: read where they are written, so that an error knows its line.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use engine::mesh::{GatewayDestination, NetworkAddress, ServiceName};
use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

/// A value that is written as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Written<T>(pub(super) T);

/// How such a text is read.
pub(super) trait Read: Sized {
    /// What is expected, for the error when something else than text is found.
    const EXPECTED: &'static str;

    /// The error says what to write instead.
    fn read(text: &str) -> Result<Self, String>;
}

impl<'de, T: Read> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<T>(PhantomData<T>);

        impl<T: Read> Visitor<'_> for TextVisitor<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
                T::read(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TextVisitor(PhantomData)).map(Self)
    }
}

/// A port; 0 where it stands for one whose number others know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port(pub(super) u16);

/// From service ports to target ports.
pub(super) type PortMap = BTreeMap<Port, Port>;

pub(super) fn plain(ports: PortMap) -> BTreeMap<u16, u16> {
    ports.into_iter().map(|(service, target)| (service.0, target.0)).collect()
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;

        impl Visitor<'_> for PortVisitor {
            type Value = Port;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, which is a number up to 65535")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Port, E> {
                let port = u16::try_from(number);
                port.map(Port).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }
        }

        deserializer.deserialize_u16(PortVisitor)
    }
}

/// A list that has to be written. YAML takes a list whose entries are missing, because they are not indented, or were
/// cut off, for an empty one; where that turns a condition into none, it is refused.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list (write `[]` for an empty one)")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = access.next_element()? {
                    list.push(entry);
                }
                Ok(list)
            }
        }

        // Not `deserialize_seq`, to which nothing is an empty list.
        deserializer.deserialize_any(ListVisitor(PhantomData)).map(Self)
    }
}

impl Read for IpAddr {
    const EXPECTED: &'static str = "an IP address such as 10.0.0.1 or fd00::1";

    fn read(text: &str) -> Result<Self, String> {
        let ip: Self = text
            .parse()
            .map_err(|_| format!("`{text}` is not an IP address: write one such as 10.0.0.1 or fd00::1"))?;
        Ok(ip.to_canonical())
    }
}

impl Read for IpNet {
    const EXPECTED: &'static str = "a block of addresses such as 10.0.0.0/8";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("`{text}` is not a block of addresses: write one such as 10.0.0.0/8, or 10.0.0.1/32 for one address")
        })
    }
}

impl Read for NetworkAddress {
    const EXPECTED: &'static str = "`network/ip`, or `/ip` for the network without a name";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }
}

impl Read for ServiceName {
    const EXPECTED: &'static str = "`namespace/hostname`";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }
}

/// An address if it can be one, else a hostname.
impl Read for GatewayDestination {
    const EXPECTED: &'static str = "`network/ip` or `namespace/hostname`";

    fn read(text: &str) -> Result<Self, String> {
        let hostname = || text.parse().map(Self::Hostname);
        text.parse()
            .map(Self::Address)
            .or_else(|_| hostname())
            .map_err(|_| format!("`{text}` is no gateway: write `network/ip` or `namespace/hostname`"))
    }
}
