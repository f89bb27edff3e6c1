//! The kernel's WireGuard between the pods of each pair: what encryption between nodes costs where no identity is asked
//! for.
//!
//! Its work is done by threads of the kernel that belong to nobody, so no CPU time of a proxy is reported for it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::shell;

use super::{Standing, Target};
use crate::record::{Build, Encryption};
use crate::site::{Pod, Site, device};
use crate::workload::Workload;

const PORT: u16 = 51820;

/// What WireGuard adds to a packet at most: an IPv6 header, UDP's, its own, and a tag. Linux subtracts the same.
const OVERHEAD_BYTES: u32 = 80;

#[derive(Debug)]
pub(super) struct Wireguard;

/// One end of a pair's tunnel.
#[derive(Debug)]
struct End<'s> {
    pod: &'s Pod,
    /// Inside the tunnel.
    ip: Ipv4Addr,
    private_key: String,
    public_key: String,
}

impl<'s> End<'s> {
    fn new(pod: &'s Pod, ip: Ipv4Addr) -> Result<Self> {
        let private_key = shell::run("wg genkey")?;
        let public_key = shell::feed(Command::new("wg").arg("pubkey"), &private_key)?;
        Ok(Self { pod, ip, private_key, public_key: public_key.trim().to_owned() })
    }

    fn up(&self, other: &Self, site: &Site) -> Result<()> {
        let key_file = site.directory().join(format!("wireguard-{}.key", self.pod.name));
        fs::write(&key_file, &self.private_key)?;
        let netns = self.pod.netns()?;
        netns.ip("link add wg0 type wireguard")?;
        let arguments = tunnel(&key_file, &other.public_key, other.ip, other.pod.ip);
        netns.output(Command::new("wg").args(arguments))?;
        netns.ip_batch(&link(self.ip, site.mtu))
    }
}

/// To a peer that is `inside` the tunnel and `outside` of it, as arguments of `wg`.
fn tunnel(key_file: &Path, peer: &str, inside: Ipv4Addr, outside: Ipv4Addr) -> Vec<String> {
    let (key_file, port) = (key_file.display().to_string(), PORT.to_string());
    let (allowed, endpoint) = (format!("{inside}/32"), format!("{outside}:{PORT}"));
    let own = ["set", "wg0", "listen-port", &port, "private-key", &key_file];
    let peer = ["peer", peer, "allowed-ips", &allowed, "endpoint", &endpoint];
    own.into_iter().chain(peer).map(str::to_owned).collect()
}

/// As lines of `ip -batch`.
fn link(ip: Ipv4Addr, mtu: u32) -> String {
    let mtu = mtu.saturating_sub(OVERHEAD_BYTES);
    format!("addr add {ip}/24 dev wg0\nlink set wg0 mtu {mtu} up\n")
}

impl Target for Wireguard {
    fn name(&self) -> &str {
        "wireguard"
    }

    fn encryption(&self) -> Encryption {
        Encryption::Wireguard
    }

    fn unavailable(&self) -> Option<String> {
        if shell::find_program("wg").is_none() {
            return Some("wg is not installed: apt-get install wireguard-tools".to_owned());
        }
        device::unavailable("wireguard", "")
    }

    fn cannot(&self, workload: &Workload) -> Option<String> {
        let looks_for_new_tunnels = ["connect-cold", "first-byte"].contains(&workload.name);
        looks_for_new_tunnels.then(|| "its tunnel is there before the first connection".to_owned())
    }

    fn build(&self) -> Result<Build> {
        let version = format!("Linux {}", shell::run("uname -r")?.trim());
        Ok(Build { version, sha256: String::new(), notes: "ChaCha20-Poly1305, in the kernel".to_owned() })
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        let mut dial = Vec::new();
        for (pair, (client, server)) in site.clients.iter().zip(&site.servers).enumerate() {
            let pair = u8::try_from(pair).context("more pairs than addresses")?;
            let client = End::new(client, Ipv4Addr::new(10, 79, pair, 1))?;
            let server = End::new(server, Ipv4Addr::new(10, 79, pair, 2))?;
            client.up(&server, site)?;
            server.up(&client, site)?;
            dial.push(server.ip);
        }
        Ok(Standing { dial, ..Standing::of_pods(site) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_and_one_address_at_each_end() {
        let (inside, outside) = (Ipv4Addr::new(10, 79, 0, 2), Ipv4Addr::new(10, 77, 0, 2));
        let arguments = tunnel(Path::new("/run/key"), "PEER=", inside, outside).join(" ");
        assert_eq!(
            arguments,
            "set wg0 listen-port 51820 private-key /run/key peer PEER= allowed-ips 10.79.0.2/32 endpoint \
             10.77.0.2:51820"
        );
        assert_eq!(link(inside, 1500), "addr add 10.79.0.2/24 dev wg0\nlink set wg0 mtu 1420 up\n");
    }
}
