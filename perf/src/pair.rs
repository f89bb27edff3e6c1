//! What every target stands in: two pods, each a network namespace, joined by one veth pair.
//!
//! ```text
//!   client 10.77.0.1  eth0 ────────── eth0  10.77.0.2 server
//! ```
//!
//! No bridge and no router between them: they would cost every target the same and so make all alike. A pair is made
//! fresh for every round, so that nothing of the round before (connection tracking, ports that wait) is left.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;
use testkit::netns::Netns;
use testkit::run::Run;

/// Ethernet's.
const MTU: u32 = 1500;

/// A pod.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: &'static str,
    pub(crate) ip: Ipv4Addr,
    pub(crate) netns: Netns,
}

impl Pod {
    fn new(name: &'static str, last: u8) -> Result<Self> {
        let netns = Netns::new(name)?;
        // Short connections must not run out of ports in a few seconds.
        netns.sysctl("net/ipv4/ip_local_port_range", "10000 65535")?;
        Ok(Self { name, ip: Ipv4Addr::new(10, 77, 0, last), netns })
    }

    /// `ns/name/sa`, as PROXY_WORKLOAD_INFO wants it.
    pub(crate) fn workload_info(&self) -> String {
        format!("default/{0}/{0}", self.name)
    }

    /// The node it is on: each is alone on its own.
    pub(crate) fn node_name(&self) -> String {
        format!("node-of-{}", self.name)
    }

    fn configure(&self) -> Result<()> {
        let address = format!("addr add {}/24 dev eth0\nlink set eth0 up\n", self.ip);
        self.netns.ip_batch(&address)
    }

    /// Its entry in ztunnel's local xDS file.
    fn workload(&self) -> String {
        format!(
            "- uid: \"perf/{0}\"\n  name: {0}\n  namespace: default\n  serviceAccount: {0}\n  \
             workloadIps: [\"{1}\"]\n  protocol: HBONE\n  node: {2}\n  network: \"\"\n  services: {{}}\n",
            self.name,
            self.ip,
            self.node_name(),
        )
    }
}

/// Two joined pods, and a directory for the files of what is put between them.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) client: Pod,
    pub(crate) server: Pod,
    directory: PathBuf,
}

impl Pair {
    pub(crate) fn new() -> Result<Self> {
        let directory = Run::current()?.unique_directory("pair")?;
        let (client, server) = (Pod::new("client", 1)?, Pod::new("server", 2)?);
        client.netns.ip_batch(&format!(
            "link add eth0 mtu {MTU} type veth peer name eth0 mtu {MTU} netns {}\n",
            server.netns.name()
        ))?;
        client.configure()?;
        server.configure()?;
        let pair = Self { client, server, directory };
        fs::write(
            pair.xds_file(),
            format!("workloads:\n{}{}", pair.client.workload(), pair.server.workload()),
        )?;
        fs::create_dir(pair.authority_directory())?;
        Ok(pair)
    }

    pub(crate) fn pods(&self) -> [&Pod; 2] {
        [&self.client, &self.server]
    }

    /// The mesh as the proxies are told it: both pods speak HBONE.
    pub(crate) fn xds_file(&self) -> PathBuf {
        self.directory.join("local.yaml")
    }

    /// Where the proxies of both pods find or make their certificate authority.
    pub(crate) fn authority_directory(&self) -> PathBuf {
        self.directory.join("authority")
    }
}
