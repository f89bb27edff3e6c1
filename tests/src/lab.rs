//! Nodes and pods without Kubernetes: the network that the proxies are put on.
//!
//! ```text
//!   pod eth0 ── p2 ┐                                        ┌ p2 ── eth0 pod
//!   pod eth0 ── p3 ┤ cni0  node 1  eth0 ── n1 ┐  ┌ n2 ── eth0  node 2  cni0 ├ p3 ── eth0 pod
//!                  └ 10.1.0.1     172.30.0.1  └br0┘  172.30.0.2    10.2.0.1 ┘
//! ```
//!
//! Every box is a network namespace, every line a veth pair. Pods of one node meet on its bridge, nodes meet on the
//! bridge of the fabric and route between each other; nothing is translated, as in a cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Result, ensure};

use crate::netns::Netns;

/// The MTU of every link unless told otherwise: Ethernet's.
pub const MTU_DEFAULT: u32 = 1500;

/// Pods ever added to a node: their further addresses have to fit into its /16.
const PODS_MAX: u8 = 60;

/// Further addresses of one pod.
const ADDRESSES_MAX: u32 = 1024;

/// A pod: its namespace and what it is called in the mesh.
#[derive(Debug)]
pub struct Pod {
    pub netns: Netns,
    /// The name of its node, as in `Workload.node`.
    pub node_name: String,
    /// The link to it, in the node's namespace.
    pub link: String,
    pub uid: String,
    pub spec: PodSpec,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
    /// Further IPv4 addresses ([`PodSpec::more_addresses`]).
    pub more: Vec<Ipv4Addr>,
}

impl Pod {
    /// `ns/name/sa`, as PROXY_WORKLOAD_INFO wants it.
    pub fn workload_info(&self) -> String {
        format!("{}/{}/{}", self.spec.namespace, self.spec.name, self.spec.service_account)
    }

    /// Its SPIFFE identity in the default trust domain.
    pub fn identity(&self) -> String {
        format!("spiffe://cluster.local/ns/{}/sa/{}", self.spec.namespace, self.spec.service_account)
    }

    /// All its addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let first = [IpAddr::V4(self.ipv4), IpAddr::V6(self.ipv6)];
        first.into_iter().chain(self.more.iter().copied().map(IpAddr::V4)).collect()
    }
}

/// What a pod is called and whether the mesh knows it.
#[derive(Clone, Debug)]
pub struct PodSpec {
    pub name: String,
    pub namespace: String,
    pub service_account: String,
    /// Captured by its node's proxy, and known to all as a workload that speaks HBONE.
    pub enrolled: bool,
    /// Known to all as a workload that speaks HBONE, though no proxy of ours serves it: what answers on 15008 there
    /// is the test's.
    pub impostor: bool,
    /// How many IPv4 addresses it has beside the first.
    pub more_addresses: u16,
}

impl PodSpec {
    /// An enrolled pod in the namespace `default` whose service account is called as the pod.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            service_account: name.to_owned(),
            enrolled: true,
            impostor: false,
            more_addresses: 0,
        }
    }

    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    pub fn not_enrolled(mut self) -> Self {
        self.enrolled = false;
        self
    }

    pub fn impostor(mut self) -> Self {
        self.enrolled = false;
        self.impostor = true;
        self
    }

    pub fn more_addresses(mut self, count: u16) -> Self {
        self.more_addresses = count;
        self
    }
}

/// A machine of the cluster: its root namespace, the bridge its pods meet on, the uplink `eth0`.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub netns: Netns,
    number: u8,
    /// The last byte of the next pod's address: none is used twice, even after a pod has gone.
    next_host: AtomicU8,
}

impl Node {
    /// Its address on the fabric.
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, 0, self.number)
    }

    fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, u16::from(self.number))
    }

    fn gateway_ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 1)
    }

    fn gateway_ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd10, u16::from(self.number), 0, 0, 0, 0, 0, 1)
    }

    /// The routes to the pods of `other`.
    fn add_routes_to(&self, other: &Self) -> Result<()> {
        self.netns.ip_batch(&format!(
            "route add 10.{n}.0.0/16 via {}\nroute add fd10:{n:x}::/64 via {}\n",
            other.ipv4(),
            other.ipv6(),
            n = other.number,
        ))
    }
}

/// The network: the fabric, the nodes on it, their pods.
#[derive(Debug)]
pub struct Lab {
    fabric: Netns,
    mtu: u32,
    nodes: Vec<Arc<Node>>,
    pods: Vec<Arc<Pod>>,
}

impl Lab {
    pub fn new() -> Result<Self> {
        Self::with_mtu(MTU_DEFAULT)
    }

    pub fn with_mtu(mtu: u32) -> Result<Self> {
        let fabric = Netns::new("fabric")?;
        fabric
            .ip_batch(&format!("link add br0 mtu {mtu} type bridge mcast_snooping 0\nlink set br0 up\n"))?;
        Ok(Self { fabric, mtu, nodes: Vec::new(), pods: Vec::new() })
    }

    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    pub fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }

    pub fn pods_of<'l>(&'l self, node: &'l Node) -> impl Iterator<Item = &'l Arc<Pod>> {
        self.pods.iter().filter(|pod| pod.node_name == node.name)
    }

    /// Adds a node and the routes between it and the others.
    pub fn add_node(&mut self) -> Result<Arc<Node>> {
        let number = u8::try_from(self.nodes.len() + 1)?;
        let netns = Netns::new(&format!("node{number}"))?;
        let node = Node { name: format!("node{number}"), netns, number, next_host: AtomicU8::new(2) };
        let (mtu, name) = (self.mtu, node.netns.name());
        self.fabric.ip_batch(&format!(
            "link add n{number} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {name}\n\
             link set n{number} master br0\nlink set n{number} up\n",
        ))?;
        // The bridge has an address of its own: one borrowed from its ports would change when pods are added.
        node.netns.ip_batch(&format!(
            "addr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\nlink set eth0 up\n\
             link add cni0 address 02:00:00:00:{number:02x}:01 mtu {mtu} type bridge mcast_snooping 0\n\
             addr add {}/16 dev cni0\naddr add {}/64 dev cni0 nodad\nlink set cni0 up\n",
            node.ipv4(),
            node.ipv6(),
            node.gateway_ipv4(),
            node.gateway_ipv6(),
        ))?;
        node.netns.sysctl("net/ipv4/ip_forward", "1")?;
        node.netns.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        for other in &self.nodes {
            node.add_routes_to(other)?;
            other.add_routes_to(&node)?;
        }
        let node = Arc::new(node);
        self.nodes.push(Arc::clone(&node));
        Ok(node)
    }

    /// Adds a pod to a node.
    pub fn add_pod(&mut self, node: &Node, spec: PodSpec) -> Result<Arc<Pod>> {
        let host = node.next_host.fetch_add(1, Ordering::Relaxed);
        ensure!(u32::from(spec.more_addresses) <= ADDRESSES_MAX, "at most {ADDRESSES_MAX} more addresses");
        ensure!(host < PODS_MAX + 2, "at most {PODS_MAX} pods on a node");
        let number = node.number;
        let pod = Pod {
            netns: Netns::new(&spec.name)?,
            node_name: node.name.clone(),
            link: format!("p{host}"),
            uid: format!("00000000-0000-4000-8000-{number:06x}{host:06x}"),
            ipv4: Ipv4Addr::new(10, number, 0, host),
            ipv6: Ipv6Addr::new(0xfd10, u16::from(number), 0, 0, 0, 0, 0, u16::from(host)),
            more: more_addresses(number, host, spec.more_addresses),
            spec,
        };
        let (mtu, name, link) = (self.mtu, pod.netns.name(), &pod.link);
        node.netns.ip_batch(&format!(
            "link add {link} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {name}\n\
             link set {link} master cni0\nlink set {link} up\n",
        ))?;
        let more: String = pod.more.iter().map(|ip| format!("addr add {ip}/32 dev eth0\n")).collect();
        pod.netns.ip_batch(&format!(
            "addr add {}/16 dev eth0\naddr add {}/64 dev eth0 nodad\n{more}link set eth0 up\n\
             route add default via {}\nroute add default via {}\n",
            pod.ipv4,
            pod.ipv6,
            node.gateway_ipv4(),
            node.gateway_ipv6(),
        ))?;
        let pod = Arc::new(pod);
        self.pods.push(Arc::clone(&pod));
        Ok(pod)
    }

    /// Forgets a pod; its namespace goes with the last who holds it.
    pub fn remove_pod(&mut self, pod: &Pod) {
        self.pods.retain(|other| other.uid != pod.uid);
    }
}

/// Addresses of the node's network that no first address uses: each pod has its own stretch.
fn more_addresses(node: u8, host: u8, count: u16) -> Vec<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(10, node, 4, 0)) + (u32::from(host) - 2) * ADDRESSES_MAX;
    (0..u32::from(count)).map(|offset| Ipv4Addr::from(first + offset)).collect()
}
