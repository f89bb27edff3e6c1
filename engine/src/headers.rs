//! What a CONNECT says about the connection it carries: `baggage`, `forwarded`, `traceparent` (contract 1.8).

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::mesh::{HboneRoute, Workload};
use crate::shard::Shard;

#[derive(Debug)]
pub(crate) struct ConnectHeaders {
    baggage: String,
    forwarded: String,
    traceparent: String,
}

impl ConnectHeaders {
    pub(crate) fn borrowed(&self) -> [(&str, &str); 3] {
        [("baggage", &self.baggage), ("forwarded", &self.forwarded), ("traceparent", &self.traceparent)]
    }
}

/// The headers of a CONNECT for `client`, an application of `source`.
pub(crate) fn connect(shard: &Shard, source: &Workload, route: &HboneRoute, client: SocketAddr) -> ConnectHeaders {
    let mut forwarded = format!("for=\"{client}\"");
    if let Some(service) = &route.service {
        let _ = write!(forwarded, ";host={}", service.key.hostname);
    }
    let trace = u128::from(shard.entropy()) << 64 | u128::from(shard.entropy());
    let traceparent = format!("00-{trace:032x}-{:016x}-00", shard.entropy());
    ConnectHeaders { baggage: baggage(source), forwarded, traceparent }
}

/// What is worth knowing of a workload, without what is empty.
pub(crate) fn baggage(workload: &Workload) -> String {
    let by_type = format!("k8s.{}.name", workload.workload_type);
    let entries = [
        ("k8s.cluster.name", &workload.cluster_id),
        ("k8s.namespace.name", &workload.identity.namespace),
        (by_type.as_str(), &workload.workload_name),
        ("service.name", &workload.canonical_name),
        ("service.version", &workload.canonical_revision),
        ("cloud.region", &workload.locality.region),
        ("cloud.availability_zone", &workload.locality.zone),
    ];
    let present = entries.iter().filter(|(_, value)| !value.is_empty());
    present.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
