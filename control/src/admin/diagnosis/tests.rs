#![allow(clippy::unwrap_used)]

use super::*;
use crate::reports::{FlowDirection, OpenConnections};

fn of_plane(connected: bool, error: Option<&str>) -> StatusReport {
    let plane = PlaneReport {
        name: "xds".to_owned(),
        address: "https://istiod:15012".to_owned(),
        file: false,
        connected,
        seconds: 42,
        connections: 1,
        error: error.map(str::to_owned),
    };
    StatusReport { control_connections: vec![plane], ..StatusReport::default() }
}

fn of_pod(pending: Option<&str>, in_mesh: bool) -> StatusReport {
    let pod = PodReport {
        uid: "uid-1".to_owned(),
        namespace: "shop".to_owned(),
        name: "cart".to_owned(),
        service_account: "cart".to_owned(),
        pending: pending.map(str::to_owned),
        shared: false,
        in_mesh,
        open: OpenConnections::default(),
    };
    StatusReport { pods: vec![pod], ..StatusReport::default() }
}

fn of_shared_pod() -> StatusReport {
    let mut report = of_pod(None, true);
    report.pods[0].shared = true;
    report
}

fn of_failure(flag: &str, of_mesh: bool) -> StatusReport {
    let failure = FailureReport {
        direction: FlowDirection::Outbound,
        source: "shop/cart".to_owned(),
        destination: "shop/bank:80".to_owned(),
        peer_node: Some("node-2".to_owned()),
        of_mesh,
        flag: flag.to_owned(),
        count: 3,
        seconds_ago: 7,
        error: "other root".to_owned(),
    };
    StatusReport { failures: vec![failure], ..StatusReport::default() }
}

fn of_certificate(seconds_left: Option<i64>, failures: u64, error: Option<&str>) -> StatusReport {
    let certificate = CertificateReport {
        identity: "spiffe://td/ns/shop/sa/cart".to_owned(),
        pod: None,
        seconds_left,
        failures,
        error: error.map(str::to_owned),
    };
    StatusReport { certificates: vec![certificate], ..StatusReport::default() }
}

fn waiting(task: &str) -> StatusReport {
    StatusReport { waiting_for: vec![task.to_owned()], ..StatusReport::default() }
}

#[test]
fn each_state_has_its_problem_or_none() {
    for (report, expected) in [
        (StatusReport::default(), None),
        (of_plane(true, None), None),
        (of_plane(true, Some("bad policy")), Some("sent something that was not taken: bad policy")),
        (
            of_plane(false, Some("refused")),
            Some("no connection to the xDS server at https://istiod:15012 for 42 s: refused"),
        ),
        (of_plane(false, None), Some("it has not answered yet")),
        (of_pod(None, true), None),
        (of_pod(Some("no such file"), true), Some("pod shop/cart is not served: no such file")),
        (of_pod(None, false), Some("the mesh has no such workload")),
        (of_shared_pod(), Some("shop/cart is served by another proxy as well")),
        (
            of_failure("TLS_FAILURE", true),
            Some("shop/cart -> shop/bank:80 failed 3 times, 7 s ago for the last time: other root"),
        ),
        (of_failure("TLS_FAILURE", false), None),
        (waiting("workload proxy manager"), Some("has not named all pods")),
        (of_certificate(Some(3_600), 0, None), None),
        (of_certificate(Some(9), 0, None), None),
        (
            of_certificate(Some(3_600), 2, Some("denied")),
            Some("(2 tries); the old one ends in 3600 s: denied"),
        ),
        (of_certificate(Some(9), 0, Some("denied")), Some("ends in 9 s: denied")),
        (of_certificate(Some(-5), 1, Some("denied")), Some("ended 5 s ago, so its connections fail: denied")),
        (
            of_certificate(None, 1, Some("denied")),
            Some("has no certificate, so its connections fail: denied"),
        ),
        (of_certificate(None, 0, None), Some("none has come yet")),
        (
            StatusReport { unserved: vec!["shop/lost".to_owned()], ..StatusReport::default() },
            Some("such as shop/lost"),
        ),
        (waiting("drain"), Some("the proxy is ending")),
        (waiting("state manager"), Some("the mesh is not known yet")),
    ] {
        let problems = diagnose(&report, Origins::default());
        assert_eq!(problems.len(), usize::from(expected.is_some()), "{problems:?}");
        if let (Some(problem), Some(expected)) = (problems.first(), expected) {
            assert!(problem.what.contains(expected), "{} should say {expected}", problem.what);
            assert!(!problem.cure.is_empty());
        }
    }
}

/// Where there is no control plane, nobody is sent to look after one.
#[test]
fn what_is_written_down_here_is_cured_here() {
    let local = Origins { whole_node: true, local_mesh: true, local_pods: true, local_authority: true };
    let mut file = of_plane(false, Some("/mesh.yaml:3:5: unknown field `nmae`"));
    file.control_connections[0].file = true;
    file.control_connections[0].name = "mesh file".to_owned();
    for (report, what, cure) in [
        (
            file,
            "the mesh file has been wrong for 42 s, and what it said before is in force: /mesh",
            "correct it",
        ),
        (of_pod(Some("no such file"), true), "is not served", "`netns` in the pods file"),
        (of_pod(None, false), "no such workload", "add it to the mesh file"),
        (of_certificate(None, 1, Some("expired")), "no certificate", "CA directory"),
        (
            StatusReport { unserved: vec!["shop/lost".to_owned()], ..StatusReport::default() },
            "such as shop/lost",
            "add them to the pods file",
        ),
        (waiting("state manager"), "not known yet", "wait"),
    ] {
        let problems = diagnose(&report, local);
        let [problem] = problems.as_slice() else { unreachable!("{problems:?}") };
        assert!(problem.what.contains(what), "{problem:?} should say {what}");
        assert!(problem.cure.contains(cure), "{problem:?} should say {cure}");
        assert!(!problem.cure.contains("control plane"), "{problem:?}");
    }
}

/// Whoever is on call is sent where it can be put right.
#[test]
fn what_two_proxies_could_not_agree_on_is_looked_for_at_the_other() {
    for (flag, cure) in [
        ("TLS_FAILURE", "`ringway status` says on node node-2"),
        ("H2_HANDSHAKE_FAILURE", "`ringway status` says on node node-2"),
        ("NETWORK_POLICY", "let TCP 15008 through"),
        ("IDENTITY_ERROR", "who signs them"),
        ("CERT_REVOKED", "CRL_PATH"),
    ] {
        let problems = diagnose(&of_failure(flag, true), Origins::default());
        assert!(problems[0].cure.contains(cure), "{flag}: {problems:?}");
    }
}

/// A server that was never there leaves nothing in force; and that nothing is known because of it is said once.
#[test]
fn a_control_plane_that_is_away_is_told_with_what_it_means() {
    let mut away = of_plane(false, Some("refused"));
    away.waiting_for = vec!["state manager".to_owned(), "workload proxy manager".to_owned()];
    for (name, connections, cure) in [
        ("xds", 0, "until it answers no pod is served"),
        ("xds", 1, "the mesh stays what it was"),
        ("zds", 0, "until it answers no pod is served"),
        ("zds", 1, "pods go on as they are"),
        ("certificates", 0, "pods without one get no connections"),
        ("container runtime", 0, "CONTAINER_RUNTIME_SOCK_PATH"),
    ] {
        let plane = &mut away.control_connections[0];
        (plane.name, plane.connections) = (name.to_owned(), connections);
        let problems = diagnose(&away, Origins::default());
        assert!(problems[0].cure.contains(cure), "{name} {connections}: {problems:?}");
        let explained = name == "xds" && connections == 0;
        assert_eq!(problems.len(), if explained { 1 } else { 2 }, "{name} {connections}: {problems:?}");
    }
}
