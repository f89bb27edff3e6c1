//! `GET /config_dump`: the mesh, the pods and the certificates as this proxy knows them.
//!
//! The keys are ztunnel's, since istioctl (`ztunnel-config`) and Cilium's connectivity test read them. A mesh of 70,000
//! workloads is tens of megabytes: it is written piece by piece, at the pace of who reads it, and the thread does other
//! work in between. No key of a certificate is in it, since no [`Credentials`](engine::tls::Credentials) gives one away.

mod certificates;
mod pods;
mod policies;
mod services;
mod workloads;

use std::time::SystemTime;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::Admin;
use crate::environment::{Endpoint, Environment, MeshSource};
use crate::http::stream::{self, Gone, Parts};

/// Written before it is handed on: a third of a millisecond of work.
const PIECE_BYTES: usize = 64 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) async fn stream(State(admin): State<Admin>) -> Response {
    let (parts, body) = stream::body();
    tokio::spawn(async move {
        // The reader may go: then nobody wants the rest.
        let _ = Writer::new(parts).dump(&admin).await;
    });
    ([(CONTENT_TYPE, JSON)], body).into_response()
}

/// Writes one JSON object, piece by piece.
struct Writer {
    parts: Parts,
    piece: Vec<u8>,
    /// The object has a member.
    begun: bool,
}

impl Writer {
    fn new(parts: Parts) -> Self {
        Self { parts, piece: Vec::with_capacity(PIECE_BYTES), begun: false }
    }

    async fn dump(mut self, admin: &Admin) -> Result<(), Gone> {
        let snapshot = admin.known.latest.get();
        self.piece.push(b'{');
        self.value("version", &version());
        self.value("config", &*admin.config);
        self.value("workloadState", &pods::all(admin, &snapshot));
        self.value("certificates", &certificates::all(admin, &snapshot, SystemTime::now()));
        self.value("stagedServices", &json!({}));
        self.value("staticConfig", &json!({}));
        self.list("policies", snapshot.policies().map(|policy| policies::policy(policy))).await?;
        self.list("services", snapshot.services().map(|service| services::service(&snapshot, service)))
            .await?;
        self.list("workloads", snapshot.workloads().map(|workload| workloads::workload(workload))).await?;
        self.piece.extend_from_slice(b"}\n");
        self.hand_on().await
    }

    /// A member of the object.
    fn value(&mut self, name: &str, value: &impl Serialize) {
        self.name(name);
        self.item(value);
    }

    /// A member that is a list, however long.
    async fn list(&mut self, name: &str, items: impl Iterator<Item = impl Serialize>) -> Result<(), Gone> {
        self.name(name);
        self.piece.push(b'[');
        for (at, item) in items.enumerate() {
            if at > 0 {
                self.piece.push(b',');
            }
            self.item(&item);
            if self.piece.len() >= PIECE_BYTES {
                self.hand_on().await?;
                tokio::task::yield_now().await;
            }
        }
        self.piece.push(b']');
        Ok(())
    }

    fn name(&mut self, name: &str) {
        if std::mem::replace(&mut self.begun, true) {
            self.piece.push(b',');
        }
        self.piece.extend_from_slice(format!("\"{name}\":").as_bytes());
    }

    fn item(&mut self, value: &impl Serialize) {
        // Names and numbers alone: there is nothing that JSON could not write, and memory does not fail.
        let _ = serde_json::to_writer(&mut self.piece, value);
    }

    async fn hand_on(&mut self) -> Result<(), Gone> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.parts.send(piece).await
    }
}

fn version() -> Value {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    json!({ "version": env!("CARGO_PKG_VERSION"), "buildProfile": profile, "product": "ringway" })
}

/// What of the environment decides how the proxy behaves; nothing that is secret.
pub(crate) fn config(environment: &Environment) -> Value {
    let xds = match &environment.mesh_source {
        MeshSource::Xds(settings) => Some(address(&settings.channel.endpoint)),
        MeshSource::File(_) | MeshSource::Inline(_) => None,
    };
    json!({
        "localNode": environment.node_name,
        "network": &*environment.mesh.network,
        "clusterId": &*environment.mesh.cluster_id,
        "clusterDomain": &*environment.mesh.domain,
        "trustDomain": environment.mesh.trust_domain.as_str(),
        "xdsAddress": xds,
        "adminAddr": environment.admin_address,
        "statsAddr": environment.stats_address,
        "readinessAddr": environment.readiness_address,
        "numWorkerThreads": environment.engine.shards,
        "poolMaxStreamsPerConn": environment.engine.tunnel_streams_max,
        "packetMark": environment.engine.packet_mark,
        "tlsSuites": environment.suites.in_order().map(|suite| suite.to_string()).collect::<Vec<_>>(),
        "selfTerminationDeadline": format!("{:?}", environment.drain_deadline),
    })
}

fn address(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tls { host, port } => format!("https://{host}:{port}"),
        Endpoint::Plain { host, port } => format!("http://{host}:{port}"),
        Endpoint::Unix(path) => format!("unix://{}", path.display()),
    }
}

#[cfg(test)]
mod tests;
