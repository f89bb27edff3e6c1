//! One line per connection, field for field as ztunnel's access log.
//!
//! Target `access`; "connection complete" at INFO, or at ERROR with `error`; "connection failed" at WARN for what was
//! refused before a byte was carried. A field that is not known is left out. Byte counts are seen from the
//! application on this node: an inbound line tells what the server sent and received.

use std::time::Duration;

use engine::observe::{ConnectionRecord, Direction};
use tracing::{Level, event};

/// Writes the record to the log.
pub(crate) fn log(record: &ConnectionRecord) {
    for finding in &record.dry_run {
        event!(
            target: "access",
            Level::DEBUG,
            src.addr = %record.source,
            dst.addr = %record.destination,
            "policy in dry run: {finding}"
        );
    }
    if record.refused { refused(record) } else { ended(record) }
}

fn refused(record: &ConnectionRecord) {
    event!(
        target: "access",
        Level::WARN,
        src.addr = %record.source,
        dst.addr = %record.destination,
        direction = direction(record.direction),
        error = record.error.as_deref(),
        "connection failed"
    );
}

/// The fields are the same at both levels; a level cannot be chosen at run time within one event.
macro_rules! complete {
    ($level:expr, $record:ident $(, $error:expr)?) => {{
        let (bytes_sent, bytes_recv) = bytes($record);
        let source_identity = $record.source_identity.as_ref().map(ToString::to_string);
        let destination_identity = $record.destination_identity.as_ref().map(ToString::to_string);
        let duration = milliseconds($record.duration);
        event!(
            target: "access",
            $level,
            src.addr = %$record.source,
            src.workload = $record.source_workload.as_deref(),
            src.namespace = $record.source_namespace.as_deref(),
            src.identity = source_identity.as_deref(),
            src.cluster = $record.source_cluster.as_deref(),
            dst.addr = %$record.destination,
            dst.hbone_addr = $record.hbone_destination.map(tracing::field::display),
            dst.service = $record.destination_service.as_deref(),
            dst.workload = $record.destination_workload.as_deref(),
            dst.namespace = $record.destination_namespace.as_deref(),
            dst.identity = destination_identity.as_deref(),
            dst.cluster = $record.destination_cluster.as_deref(),
            direction = direction($record.direction),
            bytes_sent,
            bytes_recv,
            duration = duration.as_str(),
            $(error = $error,)?
            "connection complete"
        );
    }};
}

fn ended(record: &ConnectionRecord) {
    match record.error.as_deref() {
        None => complete!(Level::INFO, record),
        Some(reason) => complete!(Level::ERROR, record, reason),
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Outbound => "outbound",
        Direction::Inbound => "inbound",
    }
}

/// What the application on this node sent and received; the record counts from the client's end.
fn bytes(record: &ConnectionRecord) -> (u64, u64) {
    match record.direction {
        Direction::Outbound => (record.bytes_sent, record.bytes_received),
        Direction::Inbound => (record.bytes_received, record.bytes_sent),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::environment::LogFormat;
    use crate::logging::testing::logged;

    fn tunnelled(direction: Direction) -> ConnectionRecord {
        ConnectionRecord {
            direction,
            source: "10.1.0.2:40312".parse().unwrap(),
            source_workload: Some(Arc::from("client-0")),
            source_namespace: Some(Arc::from("shop")),
            source_identity: Some("spiffe://cluster.local/ns/shop/sa/client".parse().unwrap()),
            source_cluster: Some(Arc::from("Kubernetes")),
            destination: "10.2.0.2:15008".parse().unwrap(),
            hbone_destination: Some("10.2.0.2:8080".parse().unwrap()),
            destination_service: Some(Arc::from("echo.shop.svc.cluster.local")),
            destination_workload: Some(Arc::from("echo-0")),
            destination_namespace: Some(Arc::from("shop")),
            destination_identity: Some("spiffe://cluster.local/ns/shop/sa/echo".parse().unwrap()),
            destination_cluster: Some(Arc::from("Kubernetes")),
            bytes_sent: 84,
            bytes_received: 358,
            duration: Duration::from_micros(15_900),
            error: None,
            refused: false,
            dry_run: Vec::new(),
        }
    }

    fn plain(direction: Direction) -> ConnectionRecord {
        ConnectionRecord {
            source: "[fd00::2]:40312".parse().unwrap(),
            source_identity: None,
            source_cluster: None,
            destination: "[fd00::9]:80".parse().unwrap(),
            hbone_destination: None,
            destination_service: None,
            destination_workload: None,
            destination_namespace: None,
            destination_identity: None,
            destination_cluster: None,
            ..tunnelled(direction)
        }
    }

    /// Every kind of line, compared with a file: a changed field shows as a changed line.
    #[test]
    fn golden_lines() {
        let failed = ConnectionRecord {
            error: Some("connection reset\nby \"peer\"".to_owned()),
            ..tunnelled(Direction::Inbound)
        };
        let refused = ConnectionRecord {
            error: Some("TLS handshake: no client certificate".to_owned()),
            refused: true,
            ..tunnelled(Direction::Inbound)
        };
        let records = [
            tunnelled(Direction::Outbound),
            tunnelled(Direction::Inbound),
            plain(Direction::Outbound),
            failed,
            refused,
        ];
        for (format, golden) in [
            (LogFormat::Plain, include_str!("access_log/golden.txt")),
            (LogFormat::Json, include_str!("access_log/golden.json")),
        ] {
            let lines = logged(format, "info", || records.iter().for_each(log));
            assert_eq!(lines, golden, "{format:?}");
        }
    }

    #[test]
    fn json_lines_are_json() {
        let lines = logged(LogFormat::Json, "info", || log(&tunnelled(Direction::Inbound)));
        let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(line["scope"], "access");
        assert_eq!(line["bytes_sent"], 358);
        assert_eq!(line["src.identity"], "spiffe://cluster.local/ns/shop/sa/client");
    }
}
