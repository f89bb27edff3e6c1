//! The commands to play with a demo that was left up.

use super::cluster::{Cluster, ECHO_PORT, HTTP_PORT};

pub(crate) fn commands(cluster: &Cluster) -> String {
    let (web, shop) = (&cluster.web, &cluster.shop);
    let node = cluster.mesh.lab.nodes().iter().find(|node| node.name == shop.node_name);
    let node = node.map_or("", |node| node.netns.name());
    format!(
        "left up; to play with:\n\
         \x20 ip netns exec {from} curl -v -o /dev/null http://{to}:{HTTP_PORT}/\n\
         \x20 ip netns exec {from} iperf3 -c {to}\n\
         \x20 ip netns exec {from} curl telnet://{to}:{ECHO_PORT}           (it answers what you type)\n\
         \x20 ip netns exec {from} iptables-save -t nat                   (redirection in a pod)\n\
         \x20 ip netns exec {node} tcpdump -nn -i {link}                  (what comes to {name} and leaves it)\n\
         \x20 ip netns exec {node} curl localhost:15021/healthz/ready\n\
         \x20 cat {xds}\n\
         pods: {pods}\n\
         down again: cargo xtask demo --down",
        from = web.netns.name(),
        to = shop.ipv4,
        link = shop.link,
        name = shop.spec.name,
        xds = cluster.mesh.xds_file().display(),
        pods = names(cluster),
    )
}

/// Every pod with its namespace and address.
fn names(cluster: &Cluster) -> String {
    let Cluster { web, cart, cron, shop, bank, mail, .. } = cluster;
    let all = [web, cart, cron, shop, bank, mail];
    all.map(|pod| format!("{}={}@{}", pod.spec.name, pod.netns.name(), pod.ipv4)).join(" ")
}
