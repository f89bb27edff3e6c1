#![allow(clippy::unwrap_used)]

use engine::mesh::Snapshot;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::figures::{Questions, channel};
use crate::http::testing::ask;
use crate::http::{self, Endpoint, Reach};
use crate::reconciler::Latest;
use crate::reports::{FlowLine, StatusReport};
use crate::stand_in::{StandIn, completed, environment, workload};

pub(super) fn admin() -> (Admin, Questions) {
    let (figures, questions) = channel();
    let admin = Admin {
        known: Known::new(&environment(&[])),
        readiness: Readiness::starting(),
        figures,
        flows: Flows::new(),
        standing: Standing::default(),
        failures: Failures::default(),
        shutdown: Shutdown(watch::Sender::new(false)),
        node: Some("node-1".into()),
        origins: Origins::of(&environment(&[])),
        suites: environment(&[]).suites,
        config: Arc::new(config(&environment(&[]))),
    };
    (admin, questions)
}

#[tokio::test]
async fn paths_and_methods_as_a_table() {
    let (admin, _questions) = admin();
    let router = router(admin.clone());
    for (method, target, status, text) in [
        ("GET", "/", 200, "<a href=\"config_dump\">"),
        ("POST", "/", 405, ""),
        ("GET", "/nowhere", 404, ""),
        ("GET", "/quitquitquit", 405, ""),
        ("GET", "/logging", 503, "this process does not log"),
        (
            "GET",
            "/debug/pprof/profile?seconds=0",
            400,
            "seconds=S&frequency=HZ, with nothing else: 1 to 300 seconds, 1 to 1000 ",
        ),
        ("GET", "/debug/pprof/profile?seconds=301", 400, "1 to 300 seconds"),
        ("GET", "/debug/pprof/profile?frequency=1001", 400, "1 to 300 seconds"),
        ("GET", "/debug/pprof/profile?frequency=often", 400, "1 to 300 seconds"),
        ("GET", "/debug/pprof/profile?second=1", 400, "with nothing else"),
        ("GET", "/debug/pprof/profile?seconds=1&hz=1", 400, "with nothing else"),
        ("POST", "/logging?lvel=debug", 400, "usage: POST /logging"),
        ("GET", "/flows?folow=true", 400, "/flows?follow=true"),
        ("GET", "/explain?source=10.0.0.1&destination=10.0.0.2&port=80", 400, "say who connects to whom"),
        ("POST", "/debug/pprof/profile", 405, ""),
        ("GET", "/debug/pprof/heap", 501, "allocator"),
        ("GET", "/debug/pprof/heap/profiling?activate=true", 501, "allocator"),
        ("GET", "/flows", 200, ""),
        ("GET", "/explain", 400, "say who connects to whom: /explain?source="),
        ("GET", "/explain?source=a", 400, "say who connects to whom"),
        ("GET", "/explain?source=a&destination=b&entropy=c", 400, "say who connects to whom"),
        ("GET", "/explain?source=a&destination=b", 400, "the mesh has no pod `a`"),
        ("GET", "/flows?follow=perhaps", 400, "/flows?follow=true"),
        ("GET", "/explain?source=10.0.0.1&destination=10.0.0.2", 200, "\"outcome\":\"plaintext\""),
        ("POST", "/config_dump", 405, ""),
        ("POST", "/flows", 405, ""),
        ("POST", "/status", 405, ""),
    ] {
        let (answered, body) = ask(&router, method, target).await;
        assert_eq!(answered, status, "{method} {target}: {body}");
        assert!(body.contains(text), "{method} {target}: {body}");
    }
    assert!(!*admin.shutdown.0.borrow(), "nothing of that was an order to end");
    assert_eq!(ask(&router, "POST", "/quitquitquit").await, (200, "shutdown now\n".to_owned()));
    assert!(*admin.shutdown.0.borrow());
}

#[tokio::test]
async fn the_status_tells_what_the_control_thread_knows() {
    let (mut admin, mut questions) = admin();
    admin.known.status.disconnected(crate::status::Plane::Zds, "/run/zds.sock", "no such file".to_owned());
    let pod = crate::status::PodStatus {
        name: "cart".into(),
        namespace: "shop".into(),
        service_account: "cart".into(),
        pending: None,
        shared: false,
    };
    admin.known.status.update(|state| _ = state.pods.insert("uid-1".into(), pod));
    let mut snapshot = Snapshot::default();
    for (name, node) in [("lost", "node-1"), ("elsewhere", "node-2")] {
        let mut workload = workload(name, "Kubernetes");
        workload.node = node.into();
        snapshot.upsert_workload(Arc::new(workload));
    }
    admin.known.latest = Latest::new(Arc::new(snapshot));
    let dedicated = environment(&[("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "shop/cart/cart")]);
    let alone = Admin { origins: Origins::of(&dedicated), ..admin.clone() };
    let told = alone.status(&[], &[], std::time::SystemTime::now());
    assert!(told.unserved.is_empty(), "others serve the pods beside the one of dedicated mode: {told:?}");
    let router = router(admin);
    let plane = StandIn::default();
    let (status, body) = tokio::select! {
        answer = ask(&router, "GET", "/status") => answer,
        never = questions.answer(&plane) => match never {},
    };
    assert_eq!(status, 200, "{body}");
    let report: StatusReport = serde_json::from_str(&body).unwrap();
    assert_eq!((report.node.as_deref(), report.ready), (Some("node-1"), false));
    assert_eq!(report.tls_suites, ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]);
    assert_eq!(report.control_connections[0].name, "zds");
    let open = report.pods[0].open;
    assert_eq!((open.outbound, open.inbound, open.tunnels_out, open.tunnels_in), (3, 4, 1, 2));
    assert!(!report.pods[0].in_mesh);
    assert_eq!((report.mesh.workloads, report.unserved), (2, vec!["shop/lost".to_owned()]));
    assert_eq!(report.problems.len(), 4, "{:?}", report.problems);
}

#[tokio::test]
async fn flows_are_followed_until_the_reader_goes() {
    let (admin, _questions) = admin();
    let flows = admin.flows.clone();
    flows.note(&completed(1), std::time::SystemTime::now());
    let router = router(admin);
    let last = ask(&router, "GET", "/flows").await.1;
    assert_eq!(last.lines().count(), 1, "{last}");

    let listener = http::listener(Endpoint::Admin, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(http::serve(listener, Reach::Loopback, router));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /flows?follow=true HTTP/1.0\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    while !lines.next_line().await.unwrap().unwrap().is_empty() {}
    for port in [2, 3] {
        flows.note(&completed(port), std::time::SystemTime::now());
        let line = lines.next_line().await.unwrap().unwrap();
        let FlowLine::Flow(flow) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        assert_eq!(flow.connection, format!("0-{port}"));
    }
}
