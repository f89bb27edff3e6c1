//! Where client and server stand: pairs of pods, each a network namespace, each pair joined by one veth.
//!
//! ```text
//!   client0 10.77.0.1  eth0 ────────── eth0  10.77.0.2 server0
//!   client1 10.77.1.1  eth0 ────────── eth0  10.77.1.2 server1
//! ```
//!
//! No bridge and no router between them: they would cost every target the same and so make all alike. A site is made
//! fresh for every target and round, so that nothing of the round before (connection tracking, ports that wait) is left.

pub(crate) mod device;
mod endpoints;
mod fresh;
mod layout;
mod place;
mod rate;

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use testkit::netns::Netns;
use testkit::run::Run;

pub(crate) use endpoints::Endpoints;
pub(crate) use layout::Layout;
pub(crate) use place::Place;

/// A pod.
#[derive(Debug)]
pub(crate) struct Pod {
    /// `client0`, `server1`.
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
    /// Of the first server: more addresses that are its own, for connections that must not find a tunnel.
    pub(crate) extra_ips: Vec<Ipv4Addr>,
    /// The node it is on.
    pub(crate) node: String,
    place: Place,
}

impl Pod {
    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    /// The namespace of a pod of ours: only there can anything be put between client and server.
    pub(crate) fn netns(&self) -> Result<&Netns> {
        match &self.place {
            Place::Netns(netns) => Ok(netns),
            Place::Exec(_) => bail!("{} is the user's: nothing can be set up there", self.place.name()),
        }
    }

    /// `ns/name/sa`, as PROXY_WORKLOAD_INFO wants it.
    pub(crate) fn workload_info(&self) -> String {
        format!("default/{0}/{0}", self.name)
    }

    /// Its entry in ztunnel's local xDS file.
    fn workload(&self) -> String {
        let ips: Vec<String> =
            [self.ip].iter().chain(&self.extra_ips).map(|ip| format!("\"{ip}\"")).collect();
        format!(
            "- uid: \"perf/{0}\"\n  name: {0}\n  namespace: default\n  serviceAccount: {0}\n  \
             workloadIps: [{1}]\n  protocol: HBONE\n  node: {2}\n  network: \"\"\n  services: {{}}\n",
            self.name,
            ips.join(", "),
            self.node,
        )
    }

    /// Its entry in the list of its node's pods.
    fn entry(&self) -> Result<String> {
        Ok(format!(
            "- uid: \"perf/{0}\"\n  name: {0}\n  namespace: default\n  serviceAccount: {0}\n  netns: {1}\n",
            self.name,
            self.netns()?.path().display(),
        ))
    }
}

/// Pairs of joined pods, and a directory for the files of what is put between them.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) clients: Vec<Pod>,
    /// The server of the client at the same place in the list.
    pub(crate) servers: Vec<Pod>,
    /// Where clients and servers are pods of one node: its own namespace.
    pub(crate) node: Option<Netns>,
    /// Of every pod's eth0; 0 where they are not ours.
    pub(crate) mtu: u32,
    directory: PathBuf,
    /// How many of the first server's more addresses somebody has dialled.
    dialled: AtomicUsize,
}

impl Site {
    fn new(clients: Vec<Pod>, mut servers: Vec<Pod>, node: Option<Netns>, mtu: u32) -> Result<Self> {
        if let (Some(client), Some(server)) = (clients.first(), servers.first_mut()) {
            fresh::add(client, server)?;
        }
        let directory = Run::current()?.unique_directory("site")?;
        let site = Self { clients, servers, node, mtu, directory, dialled: AtomicUsize::new(0) };
        let workloads: String = site.pods().map(Pod::workload).collect();
        fs::write(site.xds_file(), format!("workloads:\n{workloads}"))?;
        site.list_pods(|_| true)?;
        fs::create_dir(site.authority_directory())?;
        Ok(site)
    }

    /// Writes the list of its node's pods, with those that are to be in it.
    pub(crate) fn list_pods(&self, is_listed: impl Fn(&Pod) -> bool) -> Result<()> {
        let listed = self.pods().filter(|pod| is_listed(pod));
        let entries: String = listed.map(Pod::entry).collect::<Result<_>>()?;
        // Never half written for who looks.
        let fresh = self.directory.join("pods.yaml.new");
        fs::write(&fresh, format!("pods:\n{entries}"))?;
        fs::rename(fresh, self.pods_file()).context("the list of pods")
    }

    /// Of two places that are not ours: nothing is made there.
    fn of_endpoints(client: Pod, server: Pod) -> Self {
        let (clients, servers) = (vec![client], vec![server]);
        Self { clients, servers, node: None, mtu: 0, directory: PathBuf::new(), dialled: AtomicUsize::new(0) }
    }

    /// Whether its pods are namespaces of ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.pods().all(|pod| pod.netns().is_ok())
    }

    /// All of them, the clients first.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.clients.iter().chain(&self.servers)
    }

    /// Addresses of the first server that nobody has dialled yet. Each is given out once.
    pub(crate) fn fresh_ips(&self, count: usize) -> Result<Vec<Ipv4Addr>> {
        let all = &self.servers[0].extra_ips;
        let from = self.dialled.fetch_add(count, Ordering::Relaxed);
        let fresh = all.get(from..from + count).with_context(|| {
            format!("{} addresses that nobody dialled were asked for, there are {}", from + count, all.len())
        })?;
        Ok(fresh.to_vec())
    }

    /// For the files of what is put between the pods.
    pub(crate) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// The mesh as the proxies are told it: all pods speak HBONE.
    pub(crate) fn xds_file(&self) -> PathBuf {
        self.directory.join("local.yaml")
    }

    /// All pods, as a proxy for their node is told them.
    pub(crate) fn pods_file(&self) -> PathBuf {
        self.directory.join("pods.yaml")
    }

    /// Where the proxies of all pods find or make their certificate authority.
    pub(crate) fn authority_directory(&self) -> PathBuf {
        self.directory.join("authority")
    }
}
