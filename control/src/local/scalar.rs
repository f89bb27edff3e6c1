//! Texts of the file that stand for something: read where they are written, so that an error knows its line.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use engine::mesh::{GatewayDestination, NetworkAddress, ServiceName};
use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

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
