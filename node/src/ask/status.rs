//! A status report for people: what is wrong first, then what there is.

use std::fmt::Write;

use control::reports::{CertificateReport, PlaneReport, PodReport, ShardReport, StatusReport};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

pub(super) fn text(report: &StatusReport) -> String {
    let node = report.node.as_deref().map(|node| format!(" on node {node}")).unwrap_or_default();
    let ready = match report.waiting_for.as_slice() {
        [] => "ready".to_owned(),
        waiting => format!("not ready, waiting for: {}", waiting.join(", ")),
    };
    let mut text = format!("ringway {}{node}: {ready}\n", report.version);
    for problem in &report.problems {
        let _ = writeln!(text, "\nPROBLEM  {}\n  do     {}", problem.what, problem.cure);
    }
    let mesh = &report.mesh;
    let _ = writeln!(
        text,
        "\nmesh: {}, {}, {}; trust domain {}, cluster {}",
        counted(mesh.workloads, "workload", "workloads"),
        counted(mesh.services, "service", "services"),
        counted(mesh.policies, "policy", "policies"),
        mesh.trust_domain,
        mesh.cluster_id
    );
    if let [first, others @ ..] = report.tls_suites.as_slice() {
        let others: String = others.iter().map(|suite| format!(", else {suite}")).collect();
        let _ = writeln!(text, "tunnels: TLS 1.3 with {first}{others}");
    }
    let (files, planes): (Vec<_>, Vec<_>) = report.control_connections.iter().partition(|plane| plane.file);
    section(&mut text, "control connections", &planes, |plane| self::plane(plane));
    section(&mut text, "files", &files, |file| self::file(file));
    section(&mut text, "pods", &report.pods, pod);
    section(&mut text, "certificates", &report.certificates, certificate);
    section(&mut text, "shards", &report.shards, shard);
    text
}

fn section<T>(text: &mut String, title: &str, items: &[T], line: impl Fn(&T) -> String) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:");
    for item in items {
        let _ = writeln!(text, "  {}", line(item));
    }
}

fn plane(plane: &PlaneReport) -> String {
    let PlaneReport { name, address, connected, seconds, .. } = plane;
    let state = if *connected { "connected" } else { "not connected" };
    format!("{name} {address}: {state} for {}", span(i64::try_from(*seconds).unwrap_or(i64::MAX)))
}

fn file(file: &PlaneReport) -> String {
    let PlaneReport { name, address, connected, seconds, .. } = file;
    let span = span(i64::try_from(*seconds).unwrap_or(i64::MAX));
    match connected {
        true => format!("{name} {address}: in force, right for {span}"),
        false => format!("{name} {address}: WRONG for {span}; what it said before is in force"),
    }
}

fn pod(pod: &PodReport) -> String {
    let PodReport { namespace, name, service_account, open, .. } = pod;
    let state = match &pod.pending {
        Some(cause) => format!("not served: {cause}"),
        None => format!(
            "{} outbound, {} inbound; tunnels {} out, {} in",
            open.outbound, open.inbound, open.tunnels_out, open.tunnels_in
        ),
    };
    format!("{namespace}/{name} ({service_account}): {state}")
}

fn certificate(certificate: &CertificateReport) -> String {
    let pod = certificate.pod.as_deref().map(|pod| format!(" for pod {pod}")).unwrap_or_default();
    let state = match certificate.seconds_left {
        None => "none".to_owned(),
        Some(left) if left <= 0 => format!("ended {} ago", span(-left)),
        Some(left) => format!("{} left", span(left)),
    };
    format!("{}{pod}: {state}", certificate.identity)
}

fn shard(shard: &ShardReport) -> String {
    format!(
        "{}: {} in {}, {} outside tunnels; {} buffered; longest turn {} us",
        shard.shard,
        counted(shard.streams, "connection", "connections"),
        counted(shard.tunnels, "tunnel", "tunnels"),
        shard.pairs,
        counted(shard.buffered_bytes, "byte", "bytes"),
        shard.longest_turn_us
    )
}

fn counted(count: u64, one: &str, several: &str) -> String {
    let what = if count == 1 { one } else { several };
    format!("{count} {what}")
}

/// In its two largest units.
fn span(seconds: i64) -> String {
    match seconds {
        s if s >= DAY => format!("{}d{}h", s / DAY, s % DAY / HOUR),
        s if s >= HOUR => format!("{}h{}m", s / HOUR, s % HOUR / MINUTE),
        s if s >= MINUTE => format!("{}m{}s", s / MINUTE, s % MINUTE),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use control::reports::{MeshReport, OpenConnections, Problem};

    use super::*;

    #[test]
    fn what_is_wrong_stands_above_what_there_is() {
        let report = StatusReport {
            version: "0.1.0".to_owned(),
            node: Some("node-1".to_owned()),
            ready: false,
            waiting_for: vec!["workload proxy manager".to_owned()],
            tls_suites: vec!["TLS_AES_128_GCM_SHA256".to_owned(), "TLS_AES_256_GCM_SHA384".to_owned()],
            mesh: MeshReport {
                trust_domain: "cluster.local".to_owned(),
                cluster_id: "Kubernetes".to_owned(),
                workloads: 3,
                services: 1,
                ..MeshReport::default()
            },
            control_connections: vec![PlaneReport {
                name: "zds".to_owned(),
                address: "/run/zds.sock".to_owned(),
                file: false,
                connected: true,
                seconds: 90,
                connections: 1,
                error: None,
            }]
            .into_iter()
            .chain([(true, "mesh"), (false, "pods")].map(|(connected, name)| PlaneReport {
                name: format!("{name} file"),
                address: format!("/{name}.yaml"),
                file: true,
                connected,
                seconds: 30,
                connections: 1,
                error: None,
            }))
            .collect(),
            pods: vec![PodReport {
                uid: "uid-1".to_owned(),
                namespace: "shop".to_owned(),
                name: "cart".to_owned(),
                service_account: "cart".to_owned(),
                pending: None,
                in_mesh: true,
                open: OpenConnections { outbound: 3, inbound: 4, tunnels_out: 1, tunnels_in: 2 },
            }],
            unserved: Vec::new(),
            certificates: vec![
                CertificateReport {
                    identity: "spiffe://cluster.local/ns/shop/sa/cart".to_owned(),
                    pod: None,
                    seconds_left: Some(3_725),
                    failures: 0,
                    error: None,
                },
                CertificateReport {
                    identity: "spiffe://cluster.local/ns/shop/sa/late".to_owned(),
                    pod: Some("uid-2".to_owned()),
                    seconds_left: None,
                    failures: 1,
                    error: Some("denied".to_owned()),
                },
            ],
            shards: vec![ShardReport {
                shard: 0,
                tunnels: 1,
                streams: 7,
                pairs: 0,
                buffered_bytes: 0,
                longest_turn_us: 412,
            }],
            problems: vec![Problem { what: "it rains".to_owned(), cure: "take an umbrella".to_owned() }],
        };
        let expected = "\
ringway 0.1.0 on node node-1: not ready, waiting for: workload proxy manager

PROBLEM  it rains
  do     take an umbrella

mesh: 3 workloads, 1 service, 0 policies; trust domain cluster.local, cluster Kubernetes
tunnels: TLS 1.3 with TLS_AES_128_GCM_SHA256, else TLS_AES_256_GCM_SHA384

control connections:
  zds /run/zds.sock: connected for 1m30s

files:
  mesh file /mesh.yaml: in force, right for 30s
  pods file /pods.yaml: WRONG for 30s; what it said before is in force

pods:
  shop/cart (cart): 3 outbound, 4 inbound; tunnels 1 out, 2 in

certificates:
  spiffe://cluster.local/ns/shop/sa/cart: 1h2m left
  spiffe://cluster.local/ns/shop/sa/late for pod uid-2: none

shards:
  0: 7 connections in 1 tunnel, 0 outside tunnels; 0 bytes buffered; longest turn 412 us
";
        assert_eq!(text(&report), expected);
    }

    #[test]
    fn spans_in_two_units() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m0s"), (3_599, "59m59s"), (86_399, "23h59m"), (90_000, "1d1h")]
        {
            assert_eq!(span(seconds), expected);
        }
    }
}
