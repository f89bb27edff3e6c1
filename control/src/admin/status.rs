//! `GET /status`: everything that the control thread knows about itself, and a diagnosis.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use engine::mesh::{Holder, Protocol, Snapshot};
use engine::observe::{PodConnections, ShardStatistics};

use super::Admin;
use super::diagnosis::diagnose;
use crate::reports::{
    CertificateReport, MeshReport, OpenConnections, PlaneReport, PodReport, ShardReport, StatusReport,
};
use crate::status::{self, CertificateStatus, PlaneStatus, PodStatus};

pub(super) async fn report(state: State<Admin>) -> Json<StatusReport> {
    let State(admin) = state;
    let open = admin.figures.connections_of_pods().await;
    let shards = admin.figures.statistics().await.shards;
    Json(admin.status(&open, &shards, SystemTime::now()))
}

impl Admin {
    pub(super) fn status(
        &self,
        open: &[PodConnections],
        shards: &[ShardStatistics],
        now: SystemTime,
    ) -> StatusReport {
        let snapshot = self.known.latest.get();
        let waiting_for: Vec<String> = self.readiness.pending().into_iter().map(str::to_owned).collect();
        let mut report = self.known.status.read(|state| StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.as_deref().map(str::to_owned),
            ready: waiting_for.is_empty(),
            waiting_for,
            tls_suites: self.suites.in_order().map(|suite| suite.to_string()).collect(),
            mesh: mesh(&snapshot),
            control_connections: state
                .planes
                .iter()
                .map(|(name, plane)| self::plane(*name, plane, now))
                .collect(),
            pods: state.pods.iter().map(|(uid, pod)| self::pod(uid, pod, open, &snapshot)).collect(),
            unserved: unserved(&state.pods, &snapshot, self.whole_node()),
            certificates: certificates(&state.certificates, &snapshot, now),
            failures: self.failures.report(&snapshot, now),
            shards: shards.iter().map(shard).collect(),
            problems: Vec::new(),
        });
        report.problems = diagnose(&report, self.origins);
        report
    }
}

fn mesh(snapshot: &Snapshot) -> MeshReport {
    let settings = snapshot.settings();
    MeshReport {
        trust_domain: settings.trust_domain.to_string(),
        cluster_id: settings.cluster_id.to_string(),
        network: settings.network.to_string(),
        workloads: snapshot.workloads().count() as u64,
        services: snapshot.services().count() as u64,
        policies: snapshot.policies().count() as u64,
    }
}

fn plane(name: status::Plane, plane: &PlaneStatus, now: SystemTime) -> PlaneReport {
    PlaneReport {
        name: name.name().to_owned(),
        address: plane.address.clone(),
        file: name.is_file(),
        connected: plane.connected,
        seconds: now.duration_since(plane.since).unwrap_or(Duration::ZERO).as_secs(),
        connections: plane.connections,
        error: plane.error.clone(),
    }
}

fn pod(uid: &str, pod: &PodStatus, open: &[PodConnections], snapshot: &Snapshot) -> PodReport {
    let open = open.iter().find(|open| *open.uid == *uid);
    PodReport {
        uid: uid.to_owned(),
        namespace: pod.namespace.to_string(),
        name: pod.name.to_string(),
        service_account: pod.service_account.to_string(),
        pending: pod.pending.clone(),
        shared: pod.shared,
        in_mesh: snapshot.workload_of_pod(&pod.name, &pod.namespace, &pod.service_account).is_some(),
        open: open.map(connections).unwrap_or_default(),
    }
}

/// Told of at most: the first few say where to look.
const UNSERVED_MAX: usize = 10;

/// Workloads on this node (`NODE_NAME`) whose connections should come through a proxy, and do not come through this one.
fn unserved(pods: &BTreeMap<Arc<str>, PodStatus>, snapshot: &Snapshot, node: Option<&str>) -> Vec<String> {
    let Some(node) = node else { return Vec::new() };
    let served: HashSet<(&str, &str)> = pods.values().map(|pod| (&*pod.namespace, &*pod.name)).collect();
    let here = snapshot.workloads().filter(|workload| *workload.node == *node);
    let wanting = here.filter(|workload| workload.protocol == Protocol::Hbone && !workload.native_tunnel);
    let missing = wanting.filter(|workload| !served.contains(&(&**workload.namespace(), &*workload.name)));
    missing.map(|workload| format!("{}/{}", workload.namespace(), workload.name)).take(UNSERVED_MAX).collect()
}

fn connections(open: &PodConnections) -> OpenConnections {
    OpenConnections {
        outbound: open.outbound as u64,
        inbound: open.inbound as u64,
        tunnels_out: open.tunnels_out as u64,
        tunnels_in: open.tunnels_in as u64,
    }
}

/// Those that are used, and those that are wanted and not there.
fn certificates(
    wanted: &BTreeMap<Holder, CertificateStatus>,
    snapshot: &Snapshot,
    now: SystemTime,
) -> Vec<CertificateReport> {
    let held = snapshot.holders().map(|(holder, credentials)| (holder, Some(credentials.not_after)));
    let mut all: BTreeMap<Holder, Option<SystemTime>> =
        wanted.keys().map(|holder| (holder.clone(), None)).collect();
    all.extend(held);
    let report = |(holder, end): (Holder, Option<SystemTime>)| {
        let status = wanted.get(&holder);
        CertificateReport {
            identity: holder.identity.to_string(),
            pod: holder.pod.as_deref().map(str::to_owned),
            seconds_left: end.map(|end| status::seconds_left(end, now)),
            failures: status.map_or(0, |status| status.failures),
            error: status.and_then(|status| status.error.clone()),
        }
    };
    all.into_iter().map(report).collect()
}

fn shard(figures: &ShardStatistics) -> ShardReport {
    ShardReport {
        shard: figures.shard as u64,
        tunnels: figures.tunnels,
        streams: figures.streams,
        pairs: figures.pairs,
        buffered_bytes: figures.buffered_bytes,
        longest_turn_us: u64::try_from(figures.turns.longest.as_micros()).unwrap_or(u64::MAX),
    }
}
