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
        Ok(explanation) => Json(explanation).into_response(),
        Err(unclear) => (StatusCode::BAD_REQUEST, format!("{unclear}\n")).into_response(),
    }
}
