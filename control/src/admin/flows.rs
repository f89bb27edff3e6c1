//! `GET /flows`: the last connections, and with `follow=true` those that come, one JSON object a line.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::Admin;
use crate::flows::Seen;
use crate::http::Endless;
use crate::http::stream::{self, Parts};
use crate::reports::Lost;

const JSON_LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

const USAGE: &str = "ask for /flows, or for /flows?follow=true to see those that come as well\n";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    #[serde(default)]
    follow: bool,
}

pub(super) async fn stream(
    State(admin): State<Admin>,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Response {
    let Ok(Query(wish)) = wish else { return (StatusCode::BAD_REQUEST, USAGE).into_response() };
    if wish.follow {
        let (parts, body) = stream::body_that_holds(admin.flows.end());
        tokio::spawn(follow(admin.flows.watch(), admin.flows.end(), parts));
        return (Extension(Endless), [(CONTENT_TYPE, JSON_LINES)], body).into_response();
    }
    let lines: Vec<String> = admin.flows.last().iter().map(|seen| line(&seen.flow())).collect();
    ([(CONTENT_TYPE, JSON_LINES)], lines.concat()).into_response()
}

/// Ends when the reader goes, or with the process, once all was told.
async fn follow(mut flows: Receiver<Arc<Seen>>, mut end: watch::Receiver<bool>, parts: Parts) {
    loop {
        let next = tokio::select! {
            biased;
            next = flows.recv() => next,
            () = parts.gone() => return,
            _ = end.wait_for(|ended| *ended) => return,
        };
        let line = match next {
            Ok(seen) => line(&seen.flow()),
            Err(RecvError::Lagged(lost)) => line(&Lost { lost }),
            Err(RecvError::Closed) => return,
        };
        if parts.send(line).await.is_err() {
            return;
        }
    }
}

fn line(value: &impl Serialize) -> String {
    // Strings and numbers alone: there is nothing that JSON could not write.
    serde_json::to_string(value).map(|text| text + "\n").unwrap_or_default()
}
