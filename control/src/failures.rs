//! Connections that failed lately, put together: who could not reach whom, how often, and why it was the last time.
//!
//! A mesh whose proxies do not accept each other shows nowhere else at a glance: both ends have their control planes, their
//! pods and their certificates.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use engine::mesh::{Protocol, Snapshot, Workload};
use engine::observe::{Connection, Direction, Observation, ResponseFlag};

use crate::explain::Ends;
use crate::reports::{FailureReport, FlowDirection};

/// Kinds of failures that are remembered of tunnels, and as many of what is not: beyond it the one of them that is longest
/// ago is forgotten. Whoever tries one port after the other displaces nothing that the proxies have to say.
const FAILURES_MAX: usize = 64;

/// For how long. What has not failed for so long is over.
const FAILURE_MEMORY_SECONDS: u64 = 600;

/// Outlives a run of the control thread. Clones are the same memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures(Arc<Mutex<HashMap<Kind, Failed>>>);

/// Failures that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    direction: Direction,
    source: IpAddr,
    destination: IpAddr,
    /// Of the application; none where it was the tunnel to it that failed, whatever for.
    port: Option<u16>,
    flag: ResponseFlag,
}

#[derive(Clone, Debug)]
struct Failed {
    count: u64,
    last: SystemTime,
    connection: Arc<Connection>,
    error: String,
}

impl Failures {
    /// Only what never came to stand is a failure of the mesh; what was cut later has its lines in the log. What works
    /// again is none any more.
    pub(crate) fn note(&self, observation: &Observation, now: SystemTime) {
        match observation {
            Observation::Opened(connection) => self.forget(connection),
            Observation::Closed(closed) if !closed.stood => {
                if let Some(error) = &closed.error {
                    self.remember(&closed.connection, closed.flag, error, now);
                }
            }
            Observation::Closed(_) | Observation::Progress { .. } => {}
        }
    }

    fn remember(&self, connection: &Arc<Connection>, flag: ResponseFlag, error: &str, now: SystemTime) {
        let kind = Kind::of(connection, flag);
        let mut failures = self.lock();
        failures.retain(|_, failed| is_recent(failed.last, now));
        let count = failures.get(&kind).map_or(0, |failed| failed.count) + 1;
        let connection = Arc::clone(connection);
        failures.insert(kind, Failed { count, last: now, connection, error: error.to_owned() });
        let alike = || failures.iter().filter(|(other, _)| other.port.is_some() == kind.port.is_some());
        if alike().count() > FAILURES_MAX
            && let Some((&oldest, _)) = alike().min_by_key(|(_, failed)| failed.last)
        {
            failures.remove(&oldest);
        }
    }

    fn forget(&self, connection: &Connection) {
        let mut failures = self.lock();
        if failures.is_empty() {
            return;
        }
        let works = Kind::of(connection, ResponseFlag::None);
        failures.retain(|kind, _| {
            let pair = (kind.direction, kind.source, kind.destination);
            pair != (works.direction, works.source, works.destination)
                || kind.port.is_some_and(|port| Some(port) != works.port)
        });
    }

    /// The latest first.
    pub(crate) fn report(&self, snapshot: &Snapshot, now: SystemTime) -> Vec<FailureReport> {
        let recent = self.recent(now).into_iter();
        recent.map(|(kind, failed)| failed.report(kind, snapshot, now)).collect()
    }

    /// The latest between these two.
    pub(crate) fn between(&self, ends: &Ends, snapshot: &Snapshot, now: SystemTime) -> Option<FailureReport> {
        let is_between = |(kind, failed): &(Kind, Failed)| failed.is_between(kind, ends, snapshot);
        let (kind, failed) = self.recent(now).into_iter().find(is_between)?;
        Some(failed.report(kind, snapshot, now))
    }

    fn recent(&self, now: SystemTime) -> Vec<(Kind, Failed)> {
        let mut recent: Vec<(Kind, Failed)> = self
            .lock()
            .iter()
            .filter(|(_, failed)| is_recent(failed.last, now))
            .map(|(kind, failed)| (*kind, failed.clone()))
            .collect();
        recent.sort_by_key(|(_, failed)| Reverse(failed.last));
        recent
    }

    /// Every change is a single call: the map is whole even after a panic.
    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Failed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that was set back makes it one of the future, which is as far away.
fn is_recent(last: SystemTime, now: SystemTime) -> bool {
    let apart = now.duration_since(last).unwrap_or_else(|set_back| set_back.duration());
    apart < Duration::from_secs(FAILURE_MEMORY_SECONDS)
}

// === impl Kind ===

impl Kind {
    fn of(connection: &Connection, flag: ResponseFlag) -> Self {
        let target = connection.hbone_destination.unwrap_or(connection.destination);
        Self {
            direction: connection.direction,
            source: connection.source.ip(),
            destination: connection.destination.ip(),
            port: (!is_of_tunnels(flag)).then(|| target.port()),
            flag,
        }
    }
}

/// It befalls whatever goes between the two ends.
fn is_of_tunnels(flag: ResponseFlag) -> bool {
    match flag {
        ResponseFlag::TlsFailure
        | ResponseFlag::H2HandshakeFailure
        | ResponseFlag::NetworkPolicy
        | ResponseFlag::IdentityError
        | ResponseFlag::CertRevoked => true,
        ResponseFlag::None | ResponseFlag::Deny | ResponseFlag::Connect => false,
    }
}

// === impl Failed ===

impl Failed {
    /// The application's address, where it is known.
    fn target(&self) -> SocketAddr {
        self.connection.hbone_destination.unwrap_or(self.connection.destination)
    }

    /// An address that has another workload by now says nothing of that one.
    fn is_between(&self, kind: &Kind, ends: &Ends, snapshot: &Snapshot) -> bool {
        let Connection { source_workload, destination_workload, .. } = &*self.connection;
        let target = self.target();
        let is_target = |end: &SocketAddr| {
            end.ip() == target.ip() && (kind.port.is_none() || end.port() == target.port())
        };
        ends.source.contains(&kind.source)
            && ends.destination.iter().any(is_target)
            && is_still(source_workload.as_ref(), snapshot)
            && is_still(destination_workload.as_ref(), snapshot)
    }

    fn report(self, kind: Kind, snapshot: &Snapshot, now: SystemTime) -> FailureReport {
        let Connection { source_workload, destination_workload, hbone_destination, .. } = &*self.connection;
        let target = self.target();
        // A handshake that failed proved nobody: the mesh says who has the address.
        let source = source_workload.as_ref().or_else(|| snapshot.workload_by_ip(kind.source));
        let to = destination_workload.as_ref().or_else(|| snapshot.workload_by_ip(target.ip()));
        let port = match kind.direction {
            // Of a tunnel that never stood nobody said what for.
            Direction::Inbound if kind.port.is_none() && hbone_destination.is_none() => None,
            _ => Some(target.port()),
        };
        let in_mesh = |end: Option<&Arc<Workload>>| {
            end.is_some_and(|end| end.protocol == Protocol::Hbone) && is_still(end, snapshot)
        };
        FailureReport {
            direction: match kind.direction {
                Direction::Outbound => FlowDirection::Outbound,
                Direction::Inbound => FlowDirection::Inbound,
            },
            source: name(source, kind.source),
            destination: match (port, to) {
                (Some(port), Some(_)) => format!("{}:{port}", name(to, target.ip())),
                (Some(_), None) => target.to_string(),
                (None, _) => name(to, target.ip()),
            },
            peer_node: match kind.direction {
                Direction::Outbound => to,
                Direction::Inbound => source,
            }
            .map(|peer| peer.node.to_string())
            .filter(|node| !node.is_empty()),
            of_mesh: is_of_tunnels(kind.flag) && in_mesh(source) && in_mesh(to),
            flag: kind.flag.to_string(),
            count: self.count,
            seconds_ago: now.duration_since(self.last).unwrap_or_default().as_secs(),
            error: self.error,
        }
    }
}

/// Whether who had the address then has it now; nobody is whoever has it now.
fn is_still(then: Option<&Arc<Workload>>, snapshot: &Snapshot) -> bool {
    then.is_none_or(|then| snapshot.workload(&then.uid).is_some_and(|now| now.ips == then.ips))
}

fn name(workload: Option<&Arc<Workload>>, ip: IpAddr) -> String {
    workload.map_or_else(|| ip.to_string(), |workload| format!("{}/{}", workload.namespace(), workload.name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use engine::observe::{Closed, Traffic};

    use super::*;
    use crate::stand_in::{completed, connection, mesh};

    const MESH: &str = "\
workloads:
- {uid: a, name: cart, namespace: shop, serviceAccount: cart, workloadIps: [10.0.0.1], protocol: HBONE, node: node-1}
- {uid: b, name: bank, namespace: shop, serviceAccount: bank, workloadIps: [10.0.0.2], protocol: HBONE, node: node-2}
";

    fn failed(connection: Connection, flag: ResponseFlag, error: &str) -> Observation {
        Observation::Closed(Box::new(Closed {
            connection: Arc::new(connection),
            stood: false,
            traffic: Traffic::default(),
            unreported: Traffic::default(),
            duration: Duration::ZERO,
            error: Some(error.to_owned()),
            flag,
            refused: true,
        }))
    }

    #[tokio::test]
    async fn what_is_alike_is_one_failure_with_the_last_cause() {
        let (failures, start) = (Failures::default(), SystemTime::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let out = |port| Connection {
            destination: "10.0.0.2:15008".parse().unwrap(),
            hbone_destination: Some("10.0.0.2:8080".parse().unwrap()),
            ..connection(port)
        };
        failures.note(&failed(out(1), ResponseFlag::TlsFailure, "expired"), at(0));
        failures.note(&failed(out(2), ResponseFlag::TlsFailure, "other root"), at(2));
        let stranger = Connection {
            direction: Direction::Inbound,
            source: "192.0.2.9:7".parse().unwrap(),
            destination: "10.0.0.1:15008".parse().unwrap(),
            ..connection(3)
        };
        failures.note(&failed(stranger, ResponseFlag::TlsFailure, "no TLS"), at(1));
        failures.note(&completed(4), at(3));

        let snapshot = mesh(MESH).await;
        let reports = failures.report(&snapshot, at(5));
        let [pair, stranger] = reports.as_slice() else { panic!("{reports:?}") };
        assert_eq!((pair.source.as_str(), pair.destination.as_str()), ("shop/cart", "shop/bank:8080"));
        assert_eq!((pair.count, pair.seconds_ago, pair.error.as_str()), (2, 3, "other root"));
        assert_eq!((pair.flag.as_str(), pair.peer_node.as_deref()), ("TLS_FAILURE", Some("node-2")));
        assert_eq!((stranger.source.as_str(), stranger.destination.as_str()), ("192.0.2.9", "shop/cart"));
        assert!(pair.of_mesh && !stranger.of_mesh, "nobody's proxy");
        failures.note(&Observation::Opened(Arc::new(out(5))), at(6));
        let left = failures.report(&snapshot, at(6));
        assert_eq!(left.iter().map(|report| report.source.as_str()).collect::<Vec<_>>(), ["192.0.2.9"]);
        let later = at(1 + FAILURE_MEMORY_SECONDS);
        assert!(failures.report(&snapshot, later).is_empty(), "it is over");
    }

    #[test]
    fn the_oldest_makes_room() {
        let (failures, start) = (Failures::default(), SystemTime::now());
        for at in 0..=FAILURES_MAX as u16 {
            let from = Connection { source: ([10, 1, 0, at as u8], 1).into(), ..connection(1) };
            let now = start + Duration::from_secs(at.into());
            failures.note(&failed(from, ResponseFlag::Connect, "refused"), now);
        }
        let reports = failures.report(&Snapshot::default(), start + Duration::from_secs(100));
        assert_eq!(reports.len(), FAILURES_MAX);
        assert!(reports.iter().all(|report| report.source != "10.1.0.0"));
    }

    #[test]
    fn who_tries_every_port_displaces_nothing_of_the_mesh() {
        let (failures, now) = (Failures::default(), SystemTime::now());
        failures.note(&failed(connection(1), ResponseFlag::TlsFailure, "expired"), now);
        for port in 1..=2 * FAILURES_MAX as u16 {
            let scanned = Connection { destination: ([10, 0, 0, 2], port).into(), ..connection(1) };
            let later = now + Duration::from_secs(1);
            failures.note(&failed(scanned, ResponseFlag::Connect, "refused"), later);
        }
        let reports = failures.report(&Snapshot::default(), now);
        assert_eq!(reports.len(), FAILURES_MAX + 1);
        assert!(reports.iter().any(|report| report.error == "expired"));
    }

    /// Both ends were known when it failed: one is gone, has come again elsewhere, or is not what it was.
    #[tokio::test]
    async fn who_left_the_mesh_is_no_problem_of_it() {
        let then = mesh(MESH).await;
        let out = Connection {
            source_workload: then.workload("a").cloned(),
            destination_workload: then.workload("b").cloned(),
            ..connection(1)
        };
        let (failures, now) = (Failures::default(), SystemTime::now());
        failures.note(&failed(out, ResponseFlag::TlsFailure, "expired"), now);
        let moved = MESH.replace("10.0.0.2", "10.0.0.9");
        let replaced = MESH.replace("uid: b", "uid: c");
        let left = MESH.lines().take(2).collect::<Vec<_>>().join("\n");
        for (text, of_mesh) in [(MESH, true), (&left, false), (&moved, false), (&replaced, false)] {
            let reports = failures.report(&mesh(text).await, now);
            assert_eq!(reports[0].of_mesh, of_mesh, "{text}");
            assert_eq!(reports[0].destination, "shop/bank:80", "as it was called then");
        }
    }

    /// No tunnel leads to it, and what it asked for is known all the same.
    #[test]
    fn plaintext_that_is_denied_has_its_port_and_is_found_by_it() {
        let (failures, now) = (Failures::default(), SystemTime::now());
        let plain = Connection {
            direction: Direction::Inbound,
            source: "10.0.0.1:7".parse().unwrap(),
            destination: "10.0.0.2:8080".parse().unwrap(),
            ..connection(1)
        };
        failures.note(&failed(plain, ResponseFlag::Deny, "denied by policy"), now);
        assert_eq!(failures.report(&Snapshot::default(), now)[0].destination, "10.0.0.2:8080");
        for (port, found) in [(8080, true), (8081, false)] {
            let ends = Ends {
                source: vec!["10.0.0.1".parse().unwrap()],
                destination: vec![([10, 0, 0, 2], port).into()],
            };
            assert_eq!(failures.between(&ends, &Snapshot::default(), now).is_some(), found, "{port}");
        }
    }

    #[test]
    fn an_address_without_a_name_has_its_port_behind_brackets() {
        let (failures, now) = (Failures::default(), SystemTime::now());
        let to = Connection { destination: "[fd00::1]:80".parse().unwrap(), ..connection(1) };
        failures.note(&failed(to, ResponseFlag::Connect, "refused"), now);
        assert_eq!(failures.report(&Snapshot::default(), now)[0].destination, "[fd00::1]:80");
    }
}
