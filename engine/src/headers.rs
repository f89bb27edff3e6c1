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
pub(crate) fn connect(
    shard: &Shard,
    source: &Workload,
    route: &HboneRoute,
    client: SocketAddr,
) -> ConnectHeaders {
    let mut forwarded = format!("for=\"{client}\"");
    if let Some(service) = &route.service {
        let _ = write!(forwarded, ";host={}", service.key.hostname);
    }
    let trace = u128::from(shard.entropy()) << 64 | u128::from(shard.entropy());
    let traceparent = format!("00-{trace:032x}-{:016x}-00", shard.entropy());
    ConnectHeaders { baggage: source.baggage(), forwarded, traceparent }
}
