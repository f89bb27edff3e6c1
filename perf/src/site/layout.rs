//! What a site is to look like.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use clap::{Args, ValueEnum};
use testkit::netns::Netns;

use super::endpoints::Endpoints;
use super::rate::Rate;
use super::{Place, Pod, Site, device};
use crate::report::number::counted;

/// Ethernet's.
const MTU: u32 = 1500;
/// The least that IPv4 asks for with room for every underlay's headers, and the most that veth takes.
const MTU_MIN: u32 = 576;
const MTU_MAX: u32 = 65_535;

/// Pairs of pods: addresses are 10.77.PAIR.0/24.
const PAIRS_MAX: usize = 200;

/// As the command line names it.
fn pairs(text: &str) -> Result<usize, String> {
    let pairs = text.parse().ok().filter(|pairs| (1..=PAIRS_MAX).contains(pairs));
    pairs.ok_or_else(|| format!("give 1 to {PAIRS_MAX} pairs of pods"))
}

/// What carries a pod's packets to another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Underlay {
    /// Nothing: they are routed as they are.
    #[default]
    Native,
    /// VXLAN, as Cilium has it by default.
    Vxlan,
    /// Geneve.
    Geneve,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Layout {
    /// Client and server of a pair are pods of one node.
    #[arg(long)]
    pub(crate) same_node: bool,
    /// Pairs of pods.
    #[arg(long, default_value_t = 2, value_parser = pairs)]
    pub(crate) pairs: usize,
    /// What carries a pod's packets to another node.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) underlay: Underlay,
    /// Of the wire; pods have less by what the underlay adds.
    #[arg(long, default_value_t = MTU, value_parser = clap::value_parser!(u32).range(i64::from(MTU_MIN)..=i64::from(MTU_MAX)))]
    pub(crate) mtu: u32,
    /// How much the wire carries each way, as 10gbit or 500mbit [default: what it can].
    #[arg(long)]
    pub(crate) rate: Option<Rate>,
    /// Instead of all that: between two places of the user's.
    #[command(flatten)]
    pub(crate) endpoints: Option<Endpoints>,
}

impl Default for Layout {
    fn default() -> Self {
        Self { same_node: false, pairs: 2, underlay: Underlay::Native, mtu: MTU, rate: None, endpoints: None }
    }
}

impl Underlay {
    /// What `ip link` calls its devices.
    fn kind(self) -> Option<&'static str> {
        match self {
            Self::Native => None,
            Self::Vxlan => Some("vxlan"),
            Self::Geneve => Some("geneve"),
        }
    }

    /// What it puts around a packet: IPv4, UDP, its own header, Ethernet.
    fn overhead(self) -> u32 {
        match self {
            Self::Native => 0,
            Self::Vxlan | Self::Geneve => 20 + 8 + 8 + 14,
        }
    }

    /// What `ip link` needs to make one of its devices that leads from `local` to `remote`.
    fn arguments(self, local: Ipv4Addr, remote: Ipv4Addr) -> String {
        match self {
            Self::Native => String::new(),
            Self::Vxlan => format!("id 77 local {local} remote {remote} dstport 4789"),
            Self::Geneve => format!("id 77 remote {remote}"),
        }
    }
}

impl Layout {
    /// Makes the namespaces and joins them.
    pub(crate) fn build(&self) -> Result<Site> {
        if let Some(endpoints) = &self.endpoints {
            return endpoints.site();
        }
        let (mut clients, mut servers) = (Vec::new(), Vec::new());
        for pair in 0..self.pairs {
            let (client, server) = (self.pod("client", pair, 1)?, self.pod("server", pair, 2)?);
            self.join(pair as u8, &client, &server)?;
            clients.push(client);
            servers.push(server);
        }
        let node = self.same_node.then(|| Netns::new("node")).transpose()?;
        Site::new(clients, servers, node, self.mtu - self.underlay.overhead())
    }

    /// How many pairs there will be.
    pub(crate) fn pairs(&self) -> usize {
        if self.endpoints.is_some() { 1 } else { self.pairs }
    }

    /// In words, for the report.
    pub(crate) fn describe(&self) -> String {
        if let Some(endpoints) = &self.endpoints {
            return endpoints.describe();
        }
        let place = if self.same_node { "two pods of one node" } else { "one node to another" };
        let underlay = self.underlay.kind().map_or_else(String::new, |kind| format!(", {kind}"));
        let rate = self.rate.as_ref().map_or_else(String::new, |rate| format!(", {rate}"));
        let pairs = counted(self.pairs, "pair");
        format!("{place}, {pairs} of pods, joined by veth{underlay}, MTU {}{rate}", self.mtu)
    }

    /// Why this kernel can't have it.
    pub(crate) fn unavailable(&self) -> Option<String> {
        if self.endpoints.is_some() {
            return None;
        }
        let arguments = self.underlay.arguments(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        let without_device = self.underlay.kind().and_then(|kind| device::unavailable(kind, &arguments));
        without_device.or_else(|| device::queue_unavailable("tbf", &self.rate?.as_tbf()))
    }

    fn pod(&self, side: &str, pair: usize, last: u8) -> Result<Pod> {
        let name = format!("{side}{pair}");
        let netns = Netns::new(&name)?;
        // Short connections must not run out of ports in a few seconds.
        netns.sysctl("net/ipv4/ip_local_port_range", "10000 65535")?;
        let node = if self.same_node { "node".to_owned() } else { format!("node-of-{side}s") };
        let ip = Ipv4Addr::new(10, 77, pair as u8, last);
        Ok(Pod { name, ip, extra_ips: Vec::new(), node, place: Place::Netns(Arc::new(netns)) })
    }

    /// A wire between two pods, and eth0 at each end: the wire itself, or the underlay's device above it.
    fn join(&self, pair: u8, client: &Pod, server: &Pod) -> Result<()> {
        let wire = if self.underlay == Underlay::Native { "eth0" } else { "eth1" };
        let (mtu, far) = (self.mtu, server.netns()?.name());
        client.netns()?.ip_batch(&format!(
            "link add {wire} mtu {mtu} type veth peer name {wire} mtu {mtu} netns {far}\n"
        ))?;
        let ends = [Ipv4Addr::new(172, 30, pair, 1), Ipv4Addr::new(172, 30, pair, 2)];
        for (pod, [local, remote]) in [(client, ends), (server, [ends[1], ends[0]])] {
            let netns = pod.netns()?;
            netns.ip_batch(&self.underlay_lines(local, remote))?;
            netns.ip_batch(&format!("addr add {}/24 dev eth0\nlink set eth0 up\n", pod.ip))?;
            if let Some(rate) = &self.rate {
                netns.run(&format!("tc qdisc add dev {wire} root tbf {}", rate.as_tbf()))?;
            }
        }
        Ok(())
    }

    /// What is below eth0, as lines of `ip -batch`.
    fn underlay_lines(&self, local: Ipv4Addr, remote: Ipv4Addr) -> String {
        let Some(kind) = self.underlay.kind() else { return String::new() };
        let (mtu, arguments) = (self.mtu - self.underlay.overhead(), self.underlay.arguments(local, remote));
        format!(
            "addr add {local}/24 dev eth1\nlink set eth1 up\n\
             link add eth0 mtu {mtu} type {kind} {arguments}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(underlay: Underlay) -> Layout {
        Layout { underlay, mtu: 1500, rate: Some("10gbit".parse().unwrap()), ..Layout::default() }
    }

    #[test]
    fn the_report_says_where_it_was() {
        assert_eq!(
            Layout::default().describe(),
            "one node to another, 2 pairs of pods, joined by veth, MTU 1500"
        );
        let one = Layout { pairs: 1, ..Layout::default() };
        assert!(one.describe().contains("1 pair of pods"), "{}", one.describe());
        let same_node = Layout { same_node: true, ..with(Underlay::Vxlan) };
        assert_eq!(
            same_node.describe(),
            "two pods of one node, 2 pairs of pods, joined by veth, vxlan, MTU 1500, 10gbit"
        );
    }

    #[test]
    fn pairs_have_bounds() {
        assert_eq!(pairs("1"), Ok(1));
        for text in ["0", "201", "-1", "two"] {
            assert_eq!(pairs(text), Err("give 1 to 200 pairs of pods".to_owned()), "{text}");
        }
    }

    #[test]
    fn an_underlay_is_a_device_above_the_wire() {
        let (local, remote) = (Ipv4Addr::new(172, 30, 0, 1), Ipv4Addr::new(172, 30, 0, 2));
        let lines = |underlay| with(underlay).underlay_lines(local, remote);
        assert_eq!(lines(Underlay::Native), "");
        let vxlan = lines(Underlay::Vxlan);
        let expected = "mtu 1450 type vxlan id 77 local 172.30.0.1 remote 172.30.0.2 dstport 4789\n";
        assert!(vxlan.ends_with(expected), "{vxlan}");
        assert!(lines(Underlay::Geneve).ends_with("mtu 1450 type geneve id 77 remote 172.30.0.2\n"));
    }
}
