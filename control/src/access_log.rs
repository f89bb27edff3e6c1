//! Lines per connection, field for field as ztunnel's access log.
//!
//! Target `access`; "connection opened" at DEBUG, "connection complete" at INFO, or at ERROR with `error`; "connection
//! failed" at WARN for what was refused before a byte was carried. A field that is not known is left out. Byte counts are
//! seen from the application on this node: an inbound line tells what the server sent and received.

use std::time::Duration;

use engine::observe::{Closed, Connection, Direction, Observation, Traffic};
use tracing::{Level, event};

/// A level cannot be chosen at run time within one event; neither can the fields below.
macro_rules! finding {
    ($level:expr, $connection:ident, $finding:ident) => {
        event!(
            target: "access",
            $level,
            src.addr = %$connection.source,
            dst.addr = %$connection.destination,
            "policy in dry run: {}", $finding
        )
    };
}
/// Writes what is observed to the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccessLog {
    /// What policies in dry run find is told at INFO and not at DEBUG (`AUTHZ_POLICY_INFO_LOGGING`).
    pub(crate) findings_at_info: bool,
}

impl AccessLog {
    pub(crate) fn write(self, observation: &Observation) {
        match observation {
            Observation::Opened(connection) => {
                self.findings(connection);
                opened(connection);
            }
            Observation::Progress { .. } => {}
            Observation::Closed(closed) => {
                if !closed.stood {
                    self.findings(&closed.connection);
                }
                if closed.refused { refused(closed) } else { ended(closed) }
            }
        }
    }

    /// What policies in dry run would have done.
    fn findings(self, connection: &Connection) {
        for finding in connection.verdict.iter().flat_map(|verdict| &verdict.dry_run) {
            if self.findings_at_info {
                finding!(Level::INFO, connection, finding);
            } else {
                finding!(Level::DEBUG, connection, finding);
            }
        }
    }
}

/// What is known of the two ends, and what follows it.
macro_rules! line {
    ($level:expr, $connection:ident, $message:literal $(, $name:ident = $value:expr)*) => {{
        let source_identity = $connection.source_identity.as_ref().map(ToString::to_string);
        let destination_identity = $connection.destination_identity.as_ref().map(ToString::to_string);
        let source = $connection.source_workload.as_deref();
        let destination = $connection.destination_workload.as_deref();
        event!(
            target: "access",
            $level,
            src.addr = %$connection.source,
            src.workload = source.map(|workload| &*workload.name),
            src.namespace = source.map(|workload| &**workload.namespace()),
            src.identity = source_identity.as_deref(),
            src.cluster = source.map(|workload| &*workload.cluster_id).filter(|cluster| !cluster.is_empty()),
            dst.addr = %$connection.destination,
            dst.hbone_addr = $connection.hbone_destination.map(tracing::field::display),
            dst.service = $connection.destination_service.as_deref().map(|service| &*service.key.hostname),
            dst.workload = destination.map(|workload| &*workload.name),
            dst.namespace = destination.map(|workload| &**workload.namespace()),
            dst.identity = destination_identity.as_deref(),
            dst.cluster =
                destination.map(|workload| &*workload.cluster_id).filter(|cluster| !cluster.is_empty()),
            direction = direction($connection.direction),
            $($name = $value,)*
            $message
        );
    }};
}

fn opened(connection: &Connection) {
    line!(Level::DEBUG, connection, "connection opened");
}

fn refused(closed: &Closed) {
    event!(
        target: "access",
        Level::WARN,
        src.addr = %closed.connection.source,
        dst.addr = %closed.connection.destination,
        direction = direction(closed.connection.direction),
        error = closed.error.as_deref(),
        "connection failed"
    );
}

fn ended(closed: &Closed) {
    let connection = &*closed.connection;
    let (sent, received) = bytes(connection.direction, closed.traffic);
    let duration = milliseconds(closed.duration);
    let duration = duration.as_str();
    match closed.error.as_deref() {
        None => line!(
            Level::INFO,
            connection,
            "connection complete",
            bytes_sent = sent,
            bytes_recv = received,
            duration = duration
        ),
        Some(reason) => line!(
            Level::ERROR,
            connection,
            "connection complete",
            bytes_sent = sent,
            bytes_recv = received,
            duration = duration,
            error = reason
        ),
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Outbound => "outbound",
        Direction::Inbound => "inbound",
    }
}

/// What the application on this node sent and received; the traffic is counted from the client's end.
fn bytes(direction: Direction, traffic: Traffic) -> (u64, u64) {
    match direction {
        Direction::Outbound => (traffic.sent, traffic.received),
        Direction::Inbound => (traffic.received, traffic.sent),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use engine::mesh::{Decision, DryRun, Verdict};
    use engine::observe::ResponseFlag;

    use super::*;
    use crate::environment::LogFormat;
    use crate::logging::testing::logged;
    use crate::stand_in::{connection, service, workload};

    fn log(observation: &Observation) {
        AccessLog { findings_at_info: false }.write(observation);
    }

    fn tunnelled(direction: Direction) -> Connection {
        Connection {
            direction,
            source: "10.1.0.2:40312".parse().unwrap(),
            source_workload: Some(Arc::new(workload("client-0", "Kubernetes"))),
            source_identity: Some("spiffe://cluster.local/ns/shop/sa/client".parse().unwrap()),
            destination: "10.2.0.2:15008".parse().unwrap(),
            hbone_destination: Some("10.2.0.2:8080".parse().unwrap()),
            destination_service: Some(Arc::new(service("echo"))),
            destination_workload: Some(Arc::new(workload("echo-0", "Kubernetes"))),
            destination_identity: Some("spiffe://cluster.local/ns/shop/sa/echo".parse().unwrap()),
            ..connection(40_312)
        }
    }

    fn plain(direction: Direction) -> Connection {
        Connection {
            direction,
            source: "[fd00::2]:40312".parse().unwrap(),
            source_workload: Some(Arc::new(workload("client-0", ""))),
            destination: "[fd00::9]:80".parse().unwrap(),
            ..connection(40_312)
        }
    }

    fn closed(connection: Connection, error: Option<&str>, refused: bool) -> Observation {
        let traffic = Traffic { sent: 84, received: 358 };
        Observation::Closed(Box::new(Closed {
            connection: Arc::new(connection),
            stood: !refused,
            traffic,
            unreported: traffic,
            duration: Duration::from_micros(15_900),
            error: error.map(str::to_owned),
            flag: ResponseFlag::None,
            refused,
        }))
    }

    /// Every kind of line, compared with a file: a changed field shows as a changed line.
    #[test]
    fn golden_lines() {
        let observations = [
            closed(tunnelled(Direction::Outbound), None, false),
            closed(tunnelled(Direction::Inbound), None, false),
            closed(plain(Direction::Outbound), None, false),
            closed(tunnelled(Direction::Inbound), Some("connection reset\nby \"peer\""), false),
            closed(tunnelled(Direction::Inbound), Some("TLS handshake: no client certificate"), true),
        ];
        for (format, golden) in [
            (LogFormat::Plain, include_str!("access_log/golden.txt")),
            (LogFormat::Json, include_str!("access_log/golden.json")),
        ] {
            let lines = logged(format, "info", || observations.iter().for_each(log));
            assert_eq!(lines, golden, "{format:?}");
        }
    }

    #[test]
    fn json_lines_are_json() {
        let complete = closed(tunnelled(Direction::Inbound), None, false);
        let lines = logged(LogFormat::Json, "info", || log(&complete));
        let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(line["scope"], "access");
        assert_eq!(line["bytes_sent"], 358);
        assert_eq!(line["src.identity"], "spiffe://cluster.local/ns/shop/sa/client");
    }

    #[test]
    fn an_opened_connection_is_told_of_at_debug_with_the_fields_that_are_known() {
        let opened = Observation::Opened(Arc::new(tunnelled(Direction::Outbound)));
        assert_eq!(logged(LogFormat::Plain, "info", || log(&opened)), "");
        let line = logged(LogFormat::Plain, "debug", || log(&opened));
        let complete = include_str!("access_log/golden.txt").lines().next().unwrap();
        let known = complete.split(" bytes_sent=").next().unwrap();
        let expected = known.replacen("info", "debug", 1).replacen("complete", "opened", 1);
        assert_eq!(line, format!("{expected}\n"));
    }

    #[test]
    fn findings_of_policies_in_dry_run_are_told_once_and_at_info_if_wanted() {
        let decision = Decision::Allow { policy: None };
        let dry_run = vec![DryRun::WouldDeny { policy: "shop/strict".into() }];
        let judged = || Connection {
            verdict: Some(Verdict { decision: decision.clone(), dry_run: dry_run.clone() }),
            ..tunnelled(Direction::Inbound)
        };
        let life = [Observation::Opened(Arc::new(judged())), closed(judged(), None, false)];
        let finding = "policy in dry run: policy shop/strict would deny it";
        for (findings_at_info, level, expected) in
            [(false, "info", 0), (false, "debug", 1), (true, "info", 1)]
        {
            let log = AccessLog { findings_at_info };
            let lines = logged(LogFormat::Plain, level, || life.iter().for_each(|step| log.write(step)));
            assert_eq!(lines.matches(finding).count(), expected, "{level}: {lines}");
        }
    }
}
