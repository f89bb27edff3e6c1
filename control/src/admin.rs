//! The admin port (15000, loopback only): what a person, `istioctl` and Cilium's tests ask of the proxy.
//!
//! Paths, methods and answers are ztunnel's (contract 1.15) as far as it has them; `/status`, `/explain` and `/flows` are
//! ours. Nothing here ever holds a private key.

mod config_dump;
mod diagnosis;
mod explain;
mod flows;
mod index;
mod logging;
mod profiles;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{any, get, post};
use engine::tls::Suites;
use serde_json::Value;
use tracing::info;

pub(crate) use config_dump::config;
pub(crate) use diagnosis::Origins;

use crate::failures::Failures;
use crate::figures::Figures;
use crate::flows::Flows;
use crate::readiness::Readiness;
use crate::sources::Known;
use crate::standing::Standing;
use crate::thread::Shutdown;

/// What the answers are made of.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) known: Known,
    pub(crate) readiness: Readiness,
    pub(crate) figures: Figures,
    pub(crate) flows: Flows,
    pub(crate) standing: Standing,
    pub(crate) failures: Failures,
    pub(crate) shutdown: Shutdown,
    /// `NODE_NAME`
    pub(crate) node: Option<Arc<str>>,
    pub(crate) origins: Origins,
    /// What tunnels may be encrypted with.
    pub(crate) suites: Suites,
    /// What of the environment is shown.
    pub(crate) config: Arc<Value>,
}

/// What is served on the admin port.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(index::page))
        .route("/config_dump", get(config_dump::stream))
        .route("/logging", any(logging::change))
        .route("/quitquitquit", post(quit))
        .route("/debug/pprof/profile", get(profiles::cpu))
        .route("/debug/pprof/heap", get(profiles::heap))
        .route("/debug/pprof/heap/profiling", get(profiles::heap))
        .route("/explain", get(explain::answer))
        .route("/flows", get(flows::stream))
        .route("/status", get(status::report))
        .with_state(admin)
}

// === impl Admin ===

impl Admin {
    /// This node, where all of its pods are to be named to this proxy: not in dedicated mode.
    fn whole_node(&self) -> Option<&str> {
        self.node.as_deref().filter(|_| self.origins.whole_node)
    }
}

async fn quit(State(admin): State<Admin>) -> &'static str {
    info!("ending: somebody asked for it on the admin port");
    admin.shutdown.order();
    "shutdown now\n"
}

#[cfg(test)]
mod tests;
