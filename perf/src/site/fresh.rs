//! Addresses of a server's pod that nobody has dialled before: proxies keep a tunnel for each, so a connection to one finds
//! none.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::Pod;

/// Apart from all pods' own.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 0);
const PREFIX_BITS: u32 = 20;

/// Gives them to `server`, and lets `client` reach them.
pub(super) fn add(client: &Pod, server: &mut Pod) -> Result<()> {
    // A local route instead of thousands of addresses: the kernel takes what comes to any of them.
    server.netns()?.ip(&format!("route add local {NETWORK}/{PREFIX_BITS} dev lo"))?;
    client.netns()?.ip(&format!("route add {NETWORK}/{PREFIX_BITS} via {}", server.ip))?;
    server.extra_ips = addresses().collect();
    Ok(())
}

fn addresses() -> impl Iterator<Item = Ipv4Addr> {
    let first = u32::from(NETWORK);
    (first + 1..first + (1 << (32 - PREFIX_BITS)) - 1).map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_of_one_network() {
        let all: Vec<_> = addresses().collect();
        assert_eq!(all.len(), 4_094);
        assert_eq!((all[0], all[4_093]), (Ipv4Addr::new(10, 78, 0, 1), Ipv4Addr::new(10, 78, 15, 254)));
    }
}
