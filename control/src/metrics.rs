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
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State as Extension;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

pub(crate) use connections::Connections;
pub use connections::SeriesLimits;

use crate::figures::Figures;
use crate::readiness::Readiness;
use crate::sources::Known;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

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
    let open_metrics = wants_open_metrics(&headers);
    let registry = sources.registry().await;
    let encoded = tokio::task::spawn_blocking(move || encode(&registry, open_metrics)).await;
    let Ok(Ok(text)) = encoded else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written down\n")
            .into_response();
    };
    let kind = if open_metrics { OPENMETRICS } else { PLAIN };
    ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("application/openmetrics-text"))
}

fn encode(registry: &Registry, open_metrics: bool) -> Result<String, fmt::Error> {
    let mut text = String::new();
    if open_metrics {
        text::encode(&mut text, registry)?;
    } else {
        prometheus_text::encode(&mut text, registry)?;
    }
    Ok(text)
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
