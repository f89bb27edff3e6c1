//! Metrics: ztunnel's by their names and labels (contract 1.17), and our own (`ringway_*`).
//!
//! What connections did is counted as it is observed and kept; everything else is looked up when somebody scrapes. The
//! text is made on a thread of its own, since a node with many series has megabytes of it.

mod connections;
mod exposition;
mod figures;
mod labels;
mod state;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State as Extension;
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tracing::warn;

pub(crate) use connections::Connections;
pub use connections::SeriesLimits;

use crate::aside::{AsideError, aside};
use crate::figures::Figures;
use crate::http::encoding::{gzip, wants_gzip};
use crate::readiness::Readiness;
use crate::sources::Known;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the answer depends on beside the path, for caches in between.
const VARIES: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding");

/// What a scrape looks at.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) connections: Connections,
    pub(crate) known: Known,
    pub(crate) readiness: Readiness,
    pub(crate) figures: Figures,
}

/// What is served on the stats port.
pub(crate) fn router(sources: Sources) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/stats/prometheus", get(scrape))
        .with_state(Arc::new(sources))
}

async fn scrape(Extension(sources): Extension<Arc<Sources>>, headers: HeaderMap) -> Response {
    let (open_metrics, compressed) = (wants_open_metrics(&headers), wants_gzip(&headers));
    let registry = sources.registry().await;
    let encoded = aside("metrics", move || encode(&registry, open_metrics, compressed)).await;
    let body = match encoded.map_err(ScrapeError::from).and_then(|encoded| encoded) {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let kind = if open_metrics { OPENMETRICS } else { PLAIN };
    let kind = [(CONTENT_TYPE, HeaderValue::from_static(kind)), (VARY, VARIES)];
    match compressed {
        true => (kind, [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))], body).into_response(),
        false => (kind, body).into_response(),
    }
}

fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("application/openmetrics-text"))
}

fn encode(registry: &Registry, open_metrics: bool, compressed: bool) -> Result<Vec<u8>, ScrapeError> {
    let mut text = String::new();
    match open_metrics {
        true => text::encode(&mut text, registry)?,
        false => prometheus_text::encode(&mut text, registry)?,
    }
    match compressed {
        true => Ok(gzip(text.as_bytes())?),
        false => Ok(text.into_bytes()),
    }
}

/// Why there are no metrics this time. The scraper comes again.
#[derive(Debug, Error)]
enum ScrapeError {
    #[error(transparent)]
    Aside(#[from] AsideError),
    #[error("the metrics could not be written down: {0}")]
    Text(#[from] fmt::Error),
    #[error("the metrics could not be compressed: {0}")]
    Compressed(#[from] io::Error),
}

impl IntoResponse for ScrapeError {
    fn into_response(self) -> Response {
        warn!(error = %self, "no metrics for a scraper");
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}

impl Sources {
    /// Everything as of now.
    async fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        let statistics = self.figures.statistics().await;
        registry.register_collector(Box::new(self.connections.collect(Instant::now())));
        registry.register_collector(Box::new(state::collect(&self.known, &self.readiness)));
        registry.register_collector(Box::new(figures::Shards(statistics)));
        registry.register_collector(Box::new(figures::Process));
        registry
    }
}

#[cfg(test)]
mod tests;
