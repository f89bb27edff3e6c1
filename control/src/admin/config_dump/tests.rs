#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::mesh::{Holder, Snapshot};
use engine::observe::{Connection, Direction, Observation, Security};
use engine::tls::Suites;
use tempfile::TempDir;

use super::super::tests::admin;
use super::*;
use crate::admin::router;
use crate::ca::Authority;
use crate::http::testing::ask;
use crate::reconciler::Latest;
use crate::stand_in::{connection, mesh, workload};
use crate::status::{CertificateStatus, PodStatus};

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

/// The dump of this snapshot.
async fn dumped(admin: Admin) -> Value {
    let (status, body) = ask(&router(admin), "GET", "/config_dump").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn with(snapshot: Snapshot) -> Admin {
    let (mut admin, _questions) = admin();
    admin.known.latest = Latest::new(Arc::new(snapshot));
    admin
}

/// Workload, service and policy as istioctl and Cilium's test read them.
#[tokio::test]
async fn golden_mesh() {
    let dump = dumped(with(mesh(include_str!("golden.yaml")).await)).await;
    for list in ["workloads", "services", "policies"] {
        let golden: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
        assert_eq!(dump[list], golden[list], "{list}: {:#}", dump[list]);
    }
}

#[tokio::test]
async fn an_empty_mesh_has_every_key() {
    let dump = dumped(with(Snapshot::default())).await;
    for (key, expected) in [
        ("workloads", json!([])),
        ("services", json!([])),
        ("policies", json!([])),
        ("certificates", json!([])),
        ("workloadState", json!({})),
        ("stagedServices", json!({})),
        ("staticConfig", json!({})),
    ] {
        assert_eq!(dump[key], expected, "{key}");
    }
    assert_eq!(dump["version"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(dump["config"]["localNode"], "node-1");
    assert_eq!(dump["config"]["clusterDomain"], "cluster.local");
    assert_eq!(dump["config"]["tlsSuites"], json!(["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]));
}

#[tokio::test]
async fn pods_are_up_or_pending_and_have_their_connections() {
    let admin = with(Snapshot::default());
    for (uid, name, pending) in [("uid-1", "cart", None), ("uid-2", "late", Some("no such file".to_owned()))]
    {
        let pod = PodStatus {
            name: name.into(),
            namespace: "shop".into(),
            service_account: "cart".into(),
            pending,
            shared: false,
        };
        admin.known.status.update(|state| _ = state.pods.insert(uid.into(), pod));
    }
    let opened = |direction, source, destination: &str| {
        let workload = |name| Some(Arc::new(workload(name, "Kubernetes")));
        let connection = Connection {
            direction,
            source_workload: workload(source),
            destination_workload: workload(destination),
            hbone_destination: Some("10.0.0.2:8080".parse().unwrap()),
            security: Security::MutualTls,
            ..connection(40_000 + u16::from(direction == Direction::Inbound))
        };
        Observation::Opened(Arc::new(connection))
    };
    admin.standing.note(&opened(Direction::Outbound, "cart", "far"));
    admin.standing.note(&opened(Direction::Inbound, "far", "other"));
    let dump = dumped(admin).await;
    let mut info = json!({
        "name": "", "namespace": "shop", "serviceAccount": "cart", "trustDomain": "cluster.local",
    });
    let connection = json!({
        "src": "10.0.0.1:40000", "originalDst": "10.0.0.2:8080", "actualDst": "10.0.0.2:80", "protocol": "HBONE",
    });
    for (uid, name, state, outbound) in
        [("uid-1", "cart", "Up", json!([connection])), ("uid-2", "late", "Pending", json!([]))]
    {
        let pod = &dump["workloadState"][uid];
        info["name"] = name.into();
        assert_eq!((pod["state"].as_str(), &pod["info"]), (Some(state), &info));
        assert_eq!(pod["connections"], json!({ "inbound": [], "outbound": outbound }));
    }
}

#[tokio::test]
async fn certificates_are_shown_and_keys_are_not() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::open(directory.path()).unwrap();
    let identity: engine::mesh::Identity = CART.parse().unwrap();
    let credentials = authority.issue(&identity, Duration::from_secs(3_600), Suites::default()).unwrap();
    let mut snapshot = Snapshot::default();
    snapshot.upsert_credentials(Holder::all_of(identity), Arc::new(credentials));
    let admin = with(snapshot);
    let late = Holder::all_of("spiffe://cluster.local/ns/shop/sa/late".parse().unwrap());
    let denied = CertificateStatus { error: Some("denied".to_owned()), ..CertificateStatus::default() };
    admin.known.status.update(|state| _ = state.certificates.insert(late, denied));

    let dump = dumped(admin).await;
    let holders = dump["certificates"].as_array().unwrap();
    assert_eq!(
        (holders[0]["identity"].as_str(), holders[0]["state"].as_str()),
        (Some(CART), Some("Available"))
    );
    assert_eq!(holders[1]["state"], "Unavailable: denied");
    assert_eq!(holders[1]["certChain"], json!([]));
    for list in ["certChain", "rootCerts"] {
        let certificate = &holders[0][list][0];
        let pem = STANDARD.decode(certificate["pem"].as_str().unwrap()).unwrap();
        let pem = String::from_utf8(pem).unwrap();
        assert!(
            pem.starts_with("-----BEGIN CERTIFICATE-----\n") && pem.ends_with("-----END CERTIFICATE-----\n")
        );
        assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
        let serial = certificate["serialNumber"].as_str().unwrap();
        assert!(!serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_digit()), "{serial}");
        for time in ["validFrom", "expirationTime"] {
            let time = certificate[time].as_str().unwrap();
            assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        }
    }
    let text = dump.to_string();
    assert!(!text.contains("PRIVATE") && !text.contains(&STANDARD.encode("-----BEGIN PRIVATE")[..20]));
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_not_available() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::open(directory.path()).unwrap();
    let identity: engine::mesh::Identity = CART.parse().unwrap();
    let credentials = authority.issue(&identity, Duration::from_secs(3_600), Suites::default()).unwrap();
    let (holder, end) = (Holder::all_of(identity), credentials.not_after);
    let mut snapshot = Snapshot::default();
    snapshot.upsert_credentials(holder.clone(), Arc::new(credentials));
    let admin = with(Snapshot::default());
    let minute = Duration::from_secs(60);
    let state = |now| {
        let dump = serde_json::to_value(certificates::all(&admin, &snapshot, now)).unwrap();
        assert_eq!(dump[0]["certChain"].as_array().unwrap().len(), 1);
        dump[0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(end - minute), "Available");
    assert_eq!(state(end + minute), "Unavailable: expired 60 s ago: no newer one has come");
    let denied = CertificateStatus { error: Some("denied".to_owned()), ..CertificateStatus::default() };
    admin.known.status.update(|state| _ = state.certificates.insert(holder, denied));
    assert_eq!(state(end + minute), "Unavailable: expired 60 s ago: denied");
}

/// Some thirty pieces.
const WORKLOADS: usize = 5_000;

#[tokio::test]
async fn a_large_mesh_is_dumped_whole_while_the_thread_does_other_work() {
    let mut snapshot = Snapshot::default();
    for i in 0..WORKLOADS {
        let mut workload = workload("cart", "Kubernetes");
        workload.uid = format!("uid-{i}").into();
        snapshot.upsert_workload(Arc::new(workload));
    }
    let turns = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let dump = dumped(with(snapshot)).await;
    assert_eq!(dump["workloads"].as_array().unwrap().len(), WORKLOADS);
    let pieces = dump.to_string().len() / PIECE_BYTES;
    let turns = turns.load(Ordering::Relaxed);
    assert!(pieces > 10 && turns >= pieces as u64, "{turns} turns, {pieces} pieces");
}
