//! `GET /explain?source=..&destination=..`: what would become of a connection.

use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Admin;
use crate::explain::Replay;
use crate::reports::{FailureReport, Step};

const USAGE: &str = "\
say who connects to whom: /explain?source=shop/cart&destination=shop/bank:80 (each encoded as a URL wants it; \
`ringway explain shop/cart shop/bank:80` does that)
";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
    /// Another number may be another endpoint of a service.
    #[serde(default)]
    entropy: u64,
}

pub(super) async fn answer(
    State(admin): State<Admin>,
    question: Result<Query<Question>, QueryRejection>,
) -> Response {
    let asked = |question: &Question| !question.source.is_empty() && !question.destination.is_empty();
    let Some(Query(question)) = question.ok().filter(|Query(question)| asked(question)) else {
        return (StatusCode::BAD_REQUEST, USAGE).into_response();
    };
    let snapshot = admin.known.latest.get();
    let pods = admin.known.status.read(|state| state.pods.clone());
    let replay = Replay {
        snapshot: &snapshot,
        pods: &pods,
        node: admin.whole_node(),
        now: SystemTime::now(),
        entropy: question.entropy,
    };
    match replay.explain(&question.source, &question.destination) {
        Ok((mut explanation, ends)) => {
            let failed = admin.failures.between(&ends, &snapshot, replay.now);
            explanation.steps.extend(failed.map(lately));
            Json(explanation).into_response()
        }
        Err(unclear) => (StatusCode::BAD_REQUEST, format!("{unclear}\n")).into_response(),
    }
}

/// What the decisions alone do not show: that it has been tried, and did not work.
fn lately(failed: FailureReport) -> Step {
    let FailureReport { count, seconds_ago, error, of_mesh, .. } = failed;
    let cure = "that is what happened, whatever should: ringway status says what to do about it";
    Step {
        step: "lately".to_owned(),
        finding: format!(
            "it was tried, and failed {count} x, {seconds_ago} s ago for the last time: {error}"
        ),
        // What befell an application alone has no cure there.
        cure: of_mesh.then(|| cure.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use engine::observe::{Closed, Connection, Observation, ResponseFlag, Traffic};

    use super::*;
    use crate::failures::Failures;
    use crate::stand_in::{connection, mesh};

    const MESH: &str = "
workloads:
- {uid: a, name: cart, namespace: shop, serviceAccount: cart, workloadIps: [10.0.0.1, \"fd00::1\"], protocol: HBONE}
- uid: b
  name: bank
  namespace: shop
  serviceAccount: bank
  workloadIps: [10.0.0.2, \"fd00::2\"]
  protocol: HBONE
  services: {shop/vault.shop.svc.cluster.local: {80: 8080}}
- {uid: c, name: banker, namespace: shop, serviceAccount: banker, workloadIps: [10.0.0.3], protocol: HBONE}
services:
- {name: vault, namespace: shop, hostname: vault.shop.svc.cluster.local, vips: [/10.1.0.1], ports: {80: 8080}}
";

    async fn told(destination: &str, failed: SocketAddr, flag: ResponseFlag) -> Option<Step> {
        let (snapshot, failures, now) = (mesh(MESH).await, Failures::default(), SystemTime::now());
        let source = if failed.is_ipv4() { "10.0.0.1:7" } else { "[fd00::1]:7" };
        let connection = Connection {
            source: source.parse().unwrap(),
            destination: SocketAddr::new(failed.ip(), 15_008),
            hbone_destination: Some(failed),
            ..connection(1)
        };
        failures.note(
            &Observation::Closed(Box::new(Closed {
                connection: Arc::new(connection),
                stood: false,
                traffic: Traffic::default(),
                unreported: Traffic::default(),
                duration: Duration::ZERO,
                error: Some("other root".to_owned()),
                flag,
                refused: true,
            })),
            now,
        );
        let pods = BTreeMap::new();
        let replay = Replay { snapshot: &snapshot, pods: &pods, node: None, now, entropy: 0 };
        let (_, ends) = replay.explain("shop/cart", destination).unwrap();
        failures.between(&ends, &snapshot, now).map(lately)
    }

    #[tokio::test]
    async fn what_failed_between_the_same_ends_is_told() {
        let (tls, connect) = (ResponseFlag::TlsFailure, ResponseFlag::Connect);
        for (destination, failed, flag, expected) in [
            ("shop/bank:80", "10.0.0.2:80", connect, true),
            ("shop/bank:80", "10.0.0.2:81", connect, false),
            ("shop/bank:80", "10.0.0.2:81", tls, true),
            ("shop/bank:80", "10.0.0.3:80", tls, false),
            ("10.0.0.2:80", "10.0.0.2:80", connect, true),
            ("[fd00::2]:80", "[fd00::2]:80", connect, true),
            ("[fd00::2]:80", "[fd00::2]:81", connect, false),
            ("shop/bank", "[fd00::2]:80", tls, true),
            ("shop/vault", "10.0.0.2:8080", connect, true),
            ("shop/vault", "10.0.0.2:80", connect, false),
            ("vault.shop:80", "[fd00::2]:80", tls, true),
            ("10.1.0.1:80", "10.0.0.2:8080", connect, true),
            ("shop/vault", "10.0.0.3:8080", tls, false),
        ] {
            let step = told(destination, failed.parse().unwrap(), flag).await;
            assert_eq!(step.is_some(), expected, "{destination} {failed} {flag}");
            let Some(step) = step else { continue };
            assert!(step.finding.ends_with("failed 1 x, 0 s ago for the last time: other root"));
            assert_eq!(step.cure.is_some(), flag == tls, "status has nothing on what is not of the mesh");
        }
    }
}
