//! How things of the mesh are addressed: by an IP address within a network, or by namespace and hostname.
//!
//! A network is a set of addresses that reach each other directly; its name is empty where there is only one. The same
//! IP address in two networks is two addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use thiserror::Error;

/// An IP address within a network, written `network/ip`. IPv4 addresses are never held in their IPv6-mapped form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkAddress {
    pub network: Arc<str>,
    pub ip: IpAddr,
}

/// A block of addresses within a network, written `network/ip/length`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkCidr {
    pub network: Arc<str>,
    pub cidr: IpNet,
}

/// A service by its key, written `namespace/hostname`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    pub namespace: Arc<str>,
    pub hostname: Arc<str>,
}

/// Why a text is none of these.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("`{0}` has no `/`: write `network/ip`, or `/ip` for the network without a name")]
    NoNetwork(String),
    #[error("`{0}` does not end in an IP address: write `network/ip`, such as `/10.0.0.1` or `west/fd00::1`")]
    NotAnIp(String),
    #[error("`{0}` has no `/`: write `namespace/hostname`, such as `shop/cart.shop.svc.cluster.local`")]
    NoNamespace(String),
    #[error("`{0}` has no hostname: write `namespace/hostname`, such as `shop/cart.shop.svc.cluster.local`")]
    NoHostname(String),
}

// === impl NetworkAddress ===

impl NetworkAddress {
    pub fn new(network: &Arc<str>, ip: IpAddr) -> Self {
        Self { network: Arc::clone(network), ip: ip.to_canonical() }
    }
}

impl fmt::Display for NetworkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.ip)
    }
}

impl FromStr for NetworkAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (network, ip) = text.split_once('/').ok_or_else(|| AddressError::NoNetwork(text.to_owned()))?;
        let ip = ip.parse().map_err(|_| AddressError::NotAnIp(text.to_owned()))?;
        Ok(Self::new(&Arc::from(network), ip))
    }
}

// === impl NetworkCidr ===

impl NetworkCidr {
    pub fn contains(&self, network: &str, ip: IpAddr) -> bool {
        *self.network == *network && self.cidr.contains(&ip)
    }
}

impl fmt::Display for NetworkCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.cidr)
    }
}

// === impl ServiceName ===

impl ServiceName {
    pub fn new(namespace: &str, hostname: &str) -> Self {
        Self { namespace: Arc::from(namespace), hostname: Arc::from(hostname) }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}

impl FromStr for ServiceName {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, hostname) =
            text.split_once('/').ok_or_else(|| AddressError::NoNamespace(text.to_owned()))?;
        if hostname.is_empty() {
            return Err(AddressError::NoHostname(text.to_owned()));
        }
        Ok(Self::new(namespace, hostname))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_printed() {
        for text in ["/10.0.0.1", "west/10.0.0.1", "west/fd00::1"] {
            assert_eq!(text.parse::<NetworkAddress>().map(|a| a.to_string()), Ok(text.to_owned()));
        }
        for text in ["/example.com", "shop/cart.shop.svc.cluster.local"] {
            assert_eq!(text.parse::<ServiceName>().map(|a| a.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn mapped_addresses_are_plain_ones() {
        assert_eq!("/::ffff:10.0.0.1".parse::<NetworkAddress>(), "/10.0.0.1".parse());
    }

    #[test]
    fn the_rest_is_refused_with_what_to_write() {
        let address = |text: &str| text.parse::<NetworkAddress>();
        assert_eq!(address("10.0.0.1"), Err(AddressError::NoNetwork("10.0.0.1".to_owned())));
        assert_eq!(address("west/10.0.0"), Err(AddressError::NotAnIp("west/10.0.0".to_owned())));
        assert_eq!(address("west/"), Err(AddressError::NotAnIp("west/".to_owned())));
        let name = |text: &str| text.parse::<ServiceName>();
        assert_eq!(name("cart"), Err(AddressError::NoNamespace("cart".to_owned())));
        assert_eq!(name("shop/"), Err(AddressError::NoHostname("shop/".to_owned())));
    }
}
