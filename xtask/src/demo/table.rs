//! The rows of the enrolment table, each tried and watched on the wire.

use std::sync::Arc;

use anyhow::{Context, Result};
use testkit::capture::Capture;
use testkit::lab::Pod;
use testkit::traffic::{connect, transfer};
use testkit::wire::Sighting;

use super::cluster::{Cluster, EXCHANGE_PORT};
use crate::progress::Progress;

/// What the application sends and receives in every row.
const EACH_WAY_BYTES: u64 = 1 << 20;

/// One pair of pods, what went between them, and what was promised.
pub(crate) struct Row {
    source: Arc<Pod>,
    destination: Arc<Pod>,
    seen: Sighting,
}

impl Row {
    fn is_promised_encrypted(&self) -> bool {
        self.source.spec.enrolled && self.destination.spec.enrolled
    }

    pub(crate) fn is_as_promised(&self) -> bool {
        if self.is_promised_encrypted() {
            self.seen.is_encrypted(2 * EACH_WAY_BYTES)
        } else {
            self.seen.is_plain(EXCHANGE_PORT, 2 * EACH_WAY_BYTES)
        }
    }
}

/// Sends pattern bytes both ways between the pods of every row, checks them, and reads what a capture beside the
/// destination saw.
pub(crate) fn observe(cluster: &Cluster, progress: &Progress) -> Result<Vec<Row>> {
    let Cluster { web, cart, cron, shop, mail, .. } = cluster;
    let pairs =
        [(web, cart), (web, shop), (web, cron), (web, mail), (cron, cart), (cron, shop), (cron, mail)];
    let mut rows = Vec::new();
    for (source, destination) in pairs {
        let pair = format!("{} -> {}", source.spec.name, destination.spec.name);
        progress.step(&format!("watching the wire: {pair}"));
        let capture = Capture::of_pod(&cluster.mesh.lab, destination)?;
        let stream = connect(&source.netns, (destination.ipv4, EXCHANGE_PORT))?;
        transfer::exchange(&stream, EACH_WAY_BYTES).with_context(|| pair.clone())?;
        drop(stream);
        let wire = capture.finish().with_context(|| pair.clone())?;
        let seen = wire.between(&source.addresses(), &destination.addresses());
        rows.push(Row { source: Arc::clone(source), destination: Arc::clone(destination), seen });
    }
    Ok(rows)
}

pub(crate) fn render(rows: &[Row]) -> String {
    let mib = (2 * EACH_WAY_BYTES) >> 20;
    let mut text = format!("who is encrypted ({mib} MiB of application data a row, parsed from a capture)\n");
    for row in rows {
        let name = |pod: &Pod| {
            let enrolled = if pod.spec.enrolled { "enrolled" } else { "not enrolled" };
            format!("{} ({enrolled})", pod.spec.name)
        };
        let place = if row.source.node_name == row.destination.node_name { "same node" } else { "across" };
        text += &format!(
            "  {:<20} -> {:<20} {place:<9}  {:<9}  {}{}\n",
            name(&row.source),
            name(&row.destination),
            if row.is_promised_encrypted() { "mTLS" } else { "plaintext" },
            row.seen,
            if row.is_as_promised() { "" } else { "   NOT AS PROMISED" },
        );
    }
    text
}
