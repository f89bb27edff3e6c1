//! A status report for people: what is wrong first, then what there is.

use std::fmt::Write;

use control::reports::{
    CertificateReport, FailureReport, FlowDirection, PlaneReport, PodReport, ShardReport, StatusReport,
};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

pub(super) fn text(report: &StatusReport) -> String {
    let node = report.node.as_deref().map(|node| format!(" on node {node}")).unwrap_or_default();
    let mut text = format!("ringway {}{node}: {}\n", report.version, verdict(report));
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
    // What is between two proxies is a problem, and was told above.
    let failures: Vec<_> = report.failures.iter().filter(|failure| !failure.of_mesh).collect();
    section(&mut text, "control connections", &planes, |plane| self::plane(plane));
    section(&mut text, "files", &files, |file| self::file(file));
    section(&mut text, "pods", &report.pods, pod);
    section(&mut text, "certificates", &report.certificates, certificate);
    section(&mut text, "connections that failed in the last ten minutes", &failures, |failed| {
        failure(failed)
    });
    section(&mut text, "shards", &report.shards, shard);
    text
}

fn verdict(report: &StatusReport) -> String {
    let waiting: Vec<&str> = report.waiting_for.iter().map(|task| awaited(task)).collect();
    match (waiting.as_slice(), report.problems.len() as u64) {
        ([], 0) => "ready, and nothing is wrong".to_owned(),
        ([], problems) => format!("ready, with {}", counted(problems, "problem", "problems")),
        (waiting, _) => format!("NOT READY: {}", waiting.join("; ")),
    }
}

/// What the readiness probe says in the words of ztunnel.
fn awaited(task: &str) -> &str {
    match task {
        "state manager" => "the mesh is not known",
        "proxy" => "the shards do not run",
        "workload proxy manager" => "not all pods are served",
        "drain" => "it is ending",
        other => other,
    }
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
    let state = if plane.connected { "connected" } else { "NOT CONNECTED" };
    format!("{} {}: {state} for {}", plane.role(), plane.address, unsigned(plane.seconds))
}

fn file(file: &PlaneReport) -> String {
    let PlaneReport { name, address, connected, seconds, .. } = file;
    let span = unsigned(*seconds);
    match connected {
        true => format!("{name} {address}: in force, without a mistake for {span}"),
        false => format!("{name} {address}: WRONG for {span}; what it said before is in force"),
    }
}

fn pod(pod: &PodReport) -> String {
    let PodReport { namespace, name, service_account, open, .. } = pod;
    let mut state = match &pod.pending {
        Some(cause) => format!("NOT SERVED: {cause}"),
        None => format!(
            "{} out, {} in; {} out, {} in",
            counted(open.outbound, "connection", "connections"),
            open.inbound,
            counted(open.tunnels_out, "tunnel", "tunnels"),
            open.tunnels_in
        ),
    };
    if pod.pending.is_none() && !pod.in_mesh {
        state += "; NOT IN THE MESH";
    }
    if pod.shared {
        state += "; SERVED BY ANOTHER PROXY TOO";
    }
    format!("{namespace}/{name} (service account {service_account}): {state}")
}

fn certificate(certificate: &CertificateReport) -> String {
    let pod = certificate.pod.as_deref().map(|pod| format!(" for pod {pod}")).unwrap_or_default();
    let state = match certificate.seconds_left {
        None => "NONE".to_owned(),
        Some(left) if left <= 0 => format!("ENDED {} ago", span(-left)),
        Some(left) => format!("{} left", span(left)),
    };
    let failures = match certificate.failures {
        0 => String::new(),
        failures => format!("; {} in a row to get a new one failed", counted(failures, "try", "tries")),
    };
    format!("{}{pod}: {state}{failures}", certificate.identity)
}

fn failure(failure: &FailureReport) -> String {
    let FailureReport { source, destination, count, seconds_ago, error, .. } = failure;
    let direction = match failure.direction {
        FlowDirection::Outbound => "outbound",
        FlowDirection::Inbound => "inbound",
    };
    let times = counted(*count, "time", "times");
    format!("{direction} {source} -> {destination}: {times}, last {} ago: {error}", unsigned(*seconds_ago))
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

fn unsigned(seconds: u64) -> String {
    span(i64::try_from(seconds).unwrap_or(i64::MAX))
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
                shared: false,
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
            failures: [(false, "connection refused"), (true, "expired")]
                .map(|(of_mesh, error)| FailureReport {
                    direction: FlowDirection::Outbound,
                    source: "shop/cart".to_owned(),
                    destination: "shop/bank:80".to_owned(),
                    peer_node: None,
                    of_mesh,
                    flag: "CONNECT".to_owned(),
                    count: 2,
                    seconds_ago: 65,
                    error: error.to_owned(),
                })
                .into(),
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
ringway 0.1.0 on node node-1: NOT READY: not all pods are served

PROBLEM  it rains
  do     take an umbrella

mesh: 3 workloads, 1 service, 0 policies; trust domain cluster.local, cluster Kubernetes
tunnels: TLS 1.3 with TLS_AES_128_GCM_SHA256, else TLS_AES_256_GCM_SHA384

control connections:
  node agent (zds) /run/zds.sock: connected for 1m30s

files:
  mesh file /mesh.yaml: in force, without a mistake for 30s
  pods file /pods.yaml: WRONG for 30s; what it said before is in force

pods:
  shop/cart (service account cart): 3 connections out, 4 in; 1 tunnel out, 2 in

certificates:
  spiffe://cluster.local/ns/shop/sa/cart: 1h2m left
  spiffe://cluster.local/ns/shop/sa/late for pod uid-2: NONE; 1 try in a row to get a new one failed

connections that failed in the last ten minutes:
  outbound shop/cart -> shop/bank:80: 2 times, last 1m5s ago: connection refused

shards:
  0: 7 connections in 1 tunnel, 0 outside tunnels; 0 bytes buffered; longest turn 412 us
";
        assert_eq!(text(&report), expected);
    }

    #[test]
    fn the_first_line_says_whether_to_read_on() {
        let problem = Problem { what: "it rains".to_owned(), cure: "take an umbrella".to_owned() };
        for (waiting_for, problems, expected) in [
            (&[][..], vec![], "ringway 1: ready, and nothing is wrong\n"),
            (&[], vec![problem.clone()], "ringway 1: ready, with 1 problem\n"),
            (
                &["state manager", "workload proxy manager"],
                vec![problem],
                "ringway 1: NOT READY: the mesh is not known; not all pods are served\n",
            ),
        ] {
            let waiting_for = waiting_for.iter().map(|task| (*task).to_owned()).collect();
            let version = "1".to_owned();
            let report = StatusReport { version, waiting_for, problems, ..StatusReport::default() };
            assert!(text(&report).starts_with(expected), "{}", text(&report));
        }
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
