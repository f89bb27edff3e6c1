//! `GET /explain?source=..&destination=..`: what would become of a connection.

use std::time::SystemTime;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Admin;
use crate::explain::Replay;

#[derive(Debug, Deserialize)]
pub(super) struct Question {
    source: String,
    destination: String,
    /// Another number may be another endpoint of a service.
    #[serde(default)]
    entropy: u64,
}

pub(super) async fn answer(State(admin): State<Admin>, Query(question): Query<Question>) -> Response {
    let snapshot = admin.known.latest.get();
    let pods = admin.known.status.read(|state| state.pods.clone());
    let replay =
        Replay { snapshot: &snapshot, pods: &pods, now: SystemTime::now(), entropy: question.entropy };
    match replay.explain(&question.source, &question.destination) {
        Ok(explanation) => Json(explanation).into_response(),
        Err(unclear) => (StatusCode::BAD_REQUEST, format!("{unclear}\n")).into_response(),
    }
}
