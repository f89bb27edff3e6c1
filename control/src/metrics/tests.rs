#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::time::Duration;

use engine::observe::{Connection, Direction, Observation, Security};

use flate2::read::GzDecoder;

use super::*;
use crate::figures::channel;
use crate::http::Reach;
use crate::http::testing::{ask, send_for_bytes};
use crate::stand_in::{StandIn, completed, connection, environment, service, workload};
use crate::status::Plane;

fn sources(figures: Figures) -> Sources {
    let limits = SeriesLimits { series: 10, idle: Duration::from_secs(600) };
    let known = Known::new(&environment(&[]));
    Sources { connections: Connections::new(limits), known, readiness: Readiness::starting(), figures }
}

/// What a scrape with this request says.
async fn scraped(fill: impl FnOnce(&Sources), request: &str) -> String {
    String::from_utf8(scraped_bytes(fill, request).await).unwrap()
}

async fn scraped_bytes(fill: impl FnOnce(&Sources), request: &str) -> Vec<u8> {
    let (figures, mut questions) = channel();
    let plane = StandIn::default();
    let sources = sources(figures);
    fill(&sources);
    let router = router(sources);
    tokio::select! {
        answer = send_for_bytes(&router, Reach::Network, request.as_bytes()) => answer,
        never = questions.answer(&plane) => match never {},
    }
}

fn client_and_server() -> Connection {
    let workload = |name: &str, locality: &str| {
        let mut workload = workload(name, "Kubernetes");
        workload.workload_name = format!("{name}-deployment").into();
        workload.canonical_name = name.into();
        workload.canonical_revision = "v1".into();
        workload.locality.region = locality.into();
        Some(Arc::new(workload))
    };
    Connection {
        direction: Direction::Inbound,
        source_workload: workload("client", "eu"),
        source_identity: Some("spiffe://cluster.local/ns/shop/sa/client".parse().unwrap()),
        destination_workload: workload("echo", ""),
        destination_identity: Some("spiffe://cluster.local/ns/shop/sa/echo".parse().unwrap()),
        destination_service: Some(Arc::new(service("echo"))),
        security: Security::MutualTls,
        ..connection(40_312)
    }
}

/// Names and labels of the contract, in its order.
#[tokio::test]
async fn golden_series() {
    let fill = |sources: &Sources| {
        let opened = Observation::Opened(Arc::new(client_and_server()));
        sources.connections.count(&opened, Instant::now());
        sources.connections.count(&completed(40_313), Instant::now());
    };
    let answer = scraped(fill, "GET /metrics HTTP/1.0\r\n\r\n").await;
    let mut series: Vec<&str> = answer.lines().filter(|line| line.starts_with("istio_tcp_")).collect();
    series.sort_unstable();
    assert_eq!(series.join("\n") + "\n", include_str!("golden.txt"));
}

#[tokio::test]
async fn what_the_control_thread_and_the_shards_know_is_told() {
    let fill = |sources: &Sources| {
        sources.known.status.connected(Plane::Xds, "https://istiod:15012");
        sources.known.status.disconnected(Plane::Zds, "/run/zds.sock", "no such file".to_owned());
        sources.known.status.update(|state| {
            state.pods_started = 3;
            state.xds_messages.insert("type.googleapis.com/a".to_owned(), (2, 300));
            state.xds_terminations.insert("Reconnect", 1);
        });
    };
    let answer = scraped(fill, "GET /stats/prometheus HTTP/1.0\r\n\r\n").await;
    for line in [
        "istio_build{component=\"ztunnel\",tag=\"0.1.0\"} 1",
        "workload_manager_active_proxy_count 0",
        "workload_manager_pending_proxy_count 0",
        "workload_manager_proxies_started_total 3",
        "workload_manager_proxies_stopped_total 0",
        "istio_xds_message_total{url=\"type.googleapis.com/a\"} 2",
        "istio_xds_message_bytes_total{url=\"type.googleapis.com/a\"} 300",
        "istio_xds_connection_terminations_total{reason=\"Reconnect\"} 1",
        "ringway_ready 0",
        "ringway_control_connection_up{plane=\"xds\"} 1",
        "ringway_control_connection_up{plane=\"zds\"} 0",
        "ringway_shard_accepted_total{shard=\"0\"} 7",
        "ringway_shard_turn_seconds_bucket{shard=\"0\",le=\"+Inf\"} 0",
        "ringway_access_log_lost_total 0",
    ] {
        assert!(answer.lines().any(|found| found == line), "no {line} in\n{answer}");
    }
    assert!(answer.contains("\nprocess_open_fds ") && answer.contains("\nprocess_max_fds "), "{answer}");
}

#[tokio::test]
async fn the_format_is_what_the_client_accepts() {
    let with = |accept: &str| format!("GET /metrics HTTP/1.0\r\n{accept}\r\n");
    for (accept, kind, ends) in [
        ("", PLAIN, false),
        ("accept: text/plain\r\n", PLAIN, false),
        ("accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n", OPENMETRICS, true),
    ] {
        let answer = scraped(|_| {}, &with(accept)).await;
        assert!(answer.contains(&format!("content-type: {kind}\r\n")), "{accept}: {answer}");
        assert_eq!(answer.ends_with("# EOF\n"), ends, "{accept}");
    }
}

#[tokio::test]
async fn who_accepts_gzip_gets_it() {
    let plain = scraped(|_| {}, "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(!plain.contains("content-encoding"), "{plain}");
    // A cache in between must not give one answer for the other.
    let varies = "vary: Accept, Accept-Encoding\r\n";
    assert!(plain.contains(varies), "{plain}");
    let request = "GET /metrics HTTP/1.0\r\naccept-encoding: deflate, gzip;q=0.8\r\n\r\n";
    let answer = scraped_bytes(|_| {}, request).await;
    let head_bytes = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let head = str::from_utf8(&answer[..head_bytes]).unwrap();
    assert!(head.contains("content-encoding: gzip\r\n") && head.contains(varies), "{head}");
    assert!(head.contains(&format!("content-type: {PLAIN}\r\n")), "{head}");
    let mut text = String::new();
    GzDecoder::new(&answer[head_bytes..]).read_to_string(&mut text).unwrap();
    assert!(text.contains("\nringway_ready 0\n"), "{text}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let router = router(sources(channel().0));
    assert_eq!(ask(&router, "GET", "/").await.0, 404);
    assert_eq!(ask(&router, "POST", "/metrics").await.0, 405);
}
