//! What the control thread knows about itself, as metrics.

use std::fmt;
use std::time::SystemTime;

use engine::mesh::Holder;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::Exposition;
use crate::readiness::Readiness;
use crate::sources::Known;
use crate::status::{CertificateStatus, Plane, State, seconds_left};

/// A copy of it.
#[derive(Debug)]
pub(super) struct Figures {
    ready: bool,
    active: u64,
    pending: u64,
    started: u64,
    stopped: u64,
    planes: Vec<(Plane, bool, u64)>,
    /// Seconds until each certificate ends; negative if it has.
    certificates: Vec<(Holder, i64)>,
    /// Tries in a row that failed, for each that is wanted.
    failures: Vec<(Holder, u64)>,
    obtained: Vec<(Holder, u64)>,
    /// Lists of revoked certificates; none where there is no file of them.
    revocation_lists: Option<u64>,
    xds_messages: Vec<(String, (u64, u64))>,
    xds_terminations: Vec<(&'static str, u64)>,
}

pub(super) fn collect(known: &Known, readiness: &Readiness) -> Figures {
    let now = SystemTime::now();
    let snapshot = known.latest.get();
    let certificates =
        snapshot.holders().map(|(holder, credentials)| (holder, seconds_left(credentials.not_after, now)));
    let certificates = certificates.collect();
    known.status.read(|state| Figures {
        ready: readiness.pending().is_empty(),
        active: state.pods.values().filter(|pod| pod.pending.is_none()).count() as u64,
        pending: state.pods.values().filter(|pod| pod.pending.is_some()).count() as u64,
        started: state.pods_started,
        stopped: state.pods_stopped,
        planes: planes(state),
        certificates,
        failures: of_each(state, |status| status.failures),
        obtained: of_each(state, |status| status.obtained),
        revocation_lists: snapshot.revocations().map(|lists| lists.len() as u64),
        xds_messages: state.xds_messages.iter().map(|(url, counts)| (url.clone(), *counts)).collect(),
        xds_terminations: state.xds_terminations.iter().map(|(reason, count)| (*reason, *count)).collect(),
    })
}

fn of_each(state: &State, value: impl Fn(&CertificateStatus) -> u64) -> Vec<(Holder, u64)> {
    state.certificates.iter().map(|(holder, status)| (holder.clone(), value(status))).collect()
}

fn planes(state: &State) -> Vec<(Plane, bool, u64)> {
    state.planes.iter().map(|(plane, status)| (*plane, status.connected, status.connections)).collect()
}

fn of(holder: &Holder) -> [(&'static str, String); 2] {
    let pod = holder.pod.as_deref().unwrap_or_default().to_owned();
    [("identity", holder.identity.to_string()), ("pod", pod)]
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(encoder);
        let build = [("component", "ztunnel"), ("tag", env!("CARGO_PKG_VERSION"))];
        exposition.gauges("istio_build", "The proxy and its version", [(build, 1_u64)])?;
        exposition.gauge("ringway_ready", "Whether the proxy is ready", u64::from(self.ready))?;
        self.pods(&mut exposition)?;
        self.planes(&mut exposition)?;
        self.certificates(&mut exposition)
    }
}

impl Figures {
    fn pods(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        exposition.gauge("workload_manager_active_proxy_count", "Pods that are served", self.active)?;
        exposition.gauge(
            "workload_manager_pending_proxy_count",
            "Pods that should be served and are not yet",
            self.pending,
        )?;
        exposition.counter("workload_manager_proxies_started", "Pods ever added", self.started)?;
        exposition.counter("workload_manager_proxies_stopped", "Pods ever removed", self.stopped)
    }

    fn planes(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        let planes = || self.planes.iter();
        exposition.gauges(
            "ringway_control_connection_up",
            "Whether the connection to a control plane stands",
            planes().map(|(plane, up, _)| ([("plane", plane.name())], u64::from(*up))),
        )?;
        exposition.counters(
            "ringway_control_connections",
            "Connections to a control plane that ever stood",
            planes().map(|(plane, _, connections)| ([("plane", plane.name())], *connections)),
        )?;
        exposition.counters(
            "istio_xds_message",
            "xDS messages received",
            self.xds_messages.iter().map(|(url, (count, _))| ([("url", url.as_str())], *count)),
        )?;
        exposition.counters(
            "istio_xds_message_bytes",
            "Bytes of xDS messages received",
            self.xds_messages.iter().map(|(url, (_, bytes))| ([("url", url.as_str())], *bytes)),
        )?;
        exposition.counters(
            "istio_xds_connection_terminations",
            "xDS streams that ended, by reason",
            self.xds_terminations.iter().map(|(reason, count)| ([("reason", *reason)], *count)),
        )
    }

    fn certificates(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        exposition.gauges(
            "ringway_certificate_seconds_left",
            "Seconds until a certificate in use ends, negative once it has",
            self.certificates.iter().map(|(holder, left)| (of(holder), *left)),
        )?;
        exposition.gauges(
            "ringway_certificate_failures",
            "Tries in a row to get a certificate that failed",
            self.failures.iter().map(|(holder, failures)| (of(holder), *failures)),
        )?;
        exposition.counters(
            "ringway_certificates_obtained",
            "Certificates obtained",
            self.obtained.iter().map(|(holder, obtained)| (of(holder), *obtained)),
        )?;
        match self.revocation_lists {
            Some(lists) => {
                exposition.gauge("ringway_crl_lists", "Lists of revoked certificates in force", lists)
            }
            None => Ok(()),
        }
    }
}
