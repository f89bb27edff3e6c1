//! What a site is to look like.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Args;
use testkit::netns::Netns;

use super::{Pod, Site};

/// Ethernet's.
const MTU: u32 = 1500;

/// Pairs of pods: addresses are 10.77.PAIR.0/24.
const PAIRS_MAX: usize = 200;

#[derive(Args, Clone, Debug)]
pub(crate) struct Layout {
    /// Client and server of a pair are pods of one node.
    #[arg(long)]
    pub(crate) same_node: bool,
    /// Pairs of pods.
    #[arg(long, default_value_t = 2)]
    pub(crate) pairs: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self { same_node: false, pairs: 2 }
    }
}

impl Layout {
    /// Makes the namespaces and joins them.
    pub(crate) fn build(&self) -> Result<Site> {
        ensure!((1..=PAIRS_MAX).contains(&self.pairs), "there can be 1 to {PAIRS_MAX} pairs of pods");
        let (mut clients, mut servers) = (Vec::new(), Vec::new());
        for pair in 0..self.pairs {
            let (client, server) = (self.pod("client", pair, 1)?, self.pod("server", pair, 2)?);
            join(&client, &server)?;
            clients.push(client);
            servers.push(server);
        }
        Site::new(clients, servers, self.same_node)
    }

    /// In words, for the report.
    pub(crate) fn describe(&self) -> String {
        let place = if self.same_node { "two pods of one node" } else { "one node to another" };
        format!("{place}, {} pairs of pods, joined by veth, MTU {MTU}", self.pairs)
    }

    fn pod(&self, side: &str, pair: usize, last: u8) -> Result<Pod> {
        let name = format!("{side}{pair}");
        let netns = Netns::new(&name)?;
        // Short connections must not run out of ports in a few seconds.
        netns.sysctl("net/ipv4/ip_local_port_range", "10000 65535")?;
        let node = if self.same_node { "node".to_owned() } else { format!("node-of-{side}s") };
        let ip = Ipv4Addr::new(10, 77, pair as u8, last);
        Ok(Pod { name, ip, extra_ips: Vec::new(), node, netns: Arc::new(netns) })
    }
}

fn join(client: &Pod, server: &Pod) -> Result<()> {
    client.netns.ip_batch(&format!(
        "link add eth0 mtu {MTU} type veth peer name eth0 mtu {MTU} netns {}\n",
        server.netns.name()
    ))?;
    for pod in [client, server] {
        pod.netns.ip_batch(&format!("addr add {}/24 dev eth0\nlink set eth0 up\n", pod.ip))?;
    }
    Ok(())
}
