//! The stream of flows: what became of each connection, for whoever watches.
//!
//! Observations are kept as they come, a few hundred of them; they become text only for those who read. A reader that is
//! slower than the connections loses some, and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use engine::mesh::{Decision, DryRun, Identity, Verdict as Judgement, Workload};
use engine::observe::{Closed, Connection, Direction, Observation, ResponseFlag, Security};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use crate::reports::{AuthType, End, Event, Flow, FlowDirection, Verdict};

/// Flows that a reader may lag behind before it loses some: a second of a busy node.
const FLOWS_BEHIND_MAX: usize = 4_096;

/// Flows kept for whoever asks what happened last.
const FLOWS_KEPT_MAX: usize = 256;

/// How long the end of the process waits for those who read flows.
const LAST_FLOWS_MS_MAX: u64 = 1_000;

/// An observation, and when it was read.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    time: SystemTime,
    observation: Observation,
}

/// Where flows go through. Clones are the same stream; it outlives a run of the control thread.
#[derive(Clone, Debug)]
pub(crate) struct Flows {
    live: broadcast::Sender<Arc<Seen>>,
    last: Arc<Mutex<VecDeque<Arc<Seen>>>>,
    /// The process is about to end.
    ended: watch::Sender<bool>,
}

impl Flows {
    pub(crate) fn new() -> Self {
        let live = broadcast::Sender::new(FLOWS_BEHIND_MAX);
        Self { live, last: Arc::default(), ended: watch::Sender::new(false) }
    }

    /// What lives and has carried bytes is no news here.
    pub(crate) fn note(&self, observation: &Observation, time: SystemTime) {
        if matches!(observation, Observation::Progress { .. }) {
            return;
        }
        let seen = Arc::new(Seen { time, observation: observation.clone() });
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= FLOWS_KEPT_MAX {
            last.pop_front();
        }
        last.push_back(Arc::clone(&seen));
        drop(last);
        // Nobody watches, mostly.
        let _ = self.live.send(seen);
    }

    /// What comes from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Arc<Seen>> {
        self.live.subscribe()
    }

    /// Changes at the end of all flows. Who follows them holds it until everything has been read.
    pub(crate) fn end(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// Nothing comes any more: returns when all who follow have read it, or wait for one that does not read.
    pub(crate) async fn finish(&self) {
        self.ended.send_replace(true);
        let limit = Duration::from_millis(LAST_FLOWS_MS_MAX);
        // Who stands is cut off.
        let _ = timeout(limit, self.ended.closed()).await;
    }

    /// What came last, oldest first.
    pub(crate) fn last(&self) -> Vec<Arc<Seen>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

// === impl Seen ===

impl Seen {
    pub(crate) fn flow(&self) -> Flow {
        let connection = &**self.observation.connection();
        let flow = flow(connection, self.time);
        match &self.observation {
            Observation::Closed(closed) => ended(flow, closed),
            Observation::Opened(_) | Observation::Progress { .. } => flow,
        }
    }
}

/// As it was opened.
fn flow(connection: &Connection, time: SystemTime) -> Flow {
    let (verdict, policy, reason) = judged(connection.verdict.as_ref());
    let destination = connection.hbone_destination.unwrap_or(connection.destination);
    Flow {
        event: Event::Opened,
        time: rfc3339(time),
        connection: connection.id.to_string(),
        direction: match connection.direction {
            Direction::Outbound => FlowDirection::Outbound,
            Direction::Inbound => FlowDirection::Inbound,
        },
        source: end(
            connection.source.to_string(),
            connection.source_workload.as_deref(),
            connection.source_identity.as_ref(),
        ),
        destination: end(
            destination.to_string(),
            connection.destination_workload.as_deref(),
            connection.destination_identity.as_ref(),
        ),
        service: connection.destination_service.as_ref().map(|service| service.key.to_string()),
        auth_type: match connection.security {
            Security::MutualTls => AuthType::Spiffe,
            Security::Plain => AuthType::None,
        },
        verdict,
        policy,
        reason,
        bytes_sent: 0,
        bytes_received: 0,
        duration_ms: None,
        failed: false,
        error: None,
    }
}

fn ended(mut flow: Flow, closed: &Closed) -> Flow {
    flow.event = Event::Closed;
    flow.bytes_sent = closed.traffic.sent;
    flow.bytes_received = closed.traffic.received;
    flow.duration_ms = Some(u64::try_from(closed.duration.as_millis()).unwrap_or(u64::MAX));
    flow.error.clone_from(&closed.error);
    flow.failed = !closed.stood && closed.flag != ResponseFlag::Deny;
    if !closed.stood && is_unproved(closed.flag) {
        flow.auth_type = AuthType::None;
    }
    if closed.flag == ResponseFlag::Deny && flow.verdict != Verdict::Denied {
        // The policies changed while it lived.
        (flow.verdict, flow.reason) = (Verdict::Denied, closed.error.clone());
    }
    flow
}

/// The tunnel failed before both ends had proved who they are.
fn is_unproved(flag: ResponseFlag) -> bool {
    match flag {
        ResponseFlag::TlsFailure
        | ResponseFlag::NetworkPolicy
        | ResponseFlag::IdentityError
        | ResponseFlag::CertRevoked => true,
        ResponseFlag::None
        | ResponseFlag::Deny
        | ResponseFlag::Connect
        | ResponseFlag::H2HandshakeFailure => false,
    }
}

/// What the policies of this node said, which of them, and why.
fn judged(judgement: Option<&Judgement>) -> (Verdict, Option<String>, Option<String>) {
    let Some(judgement) = judgement else { return (Verdict::Allowed, None, None) };
    match (&judgement.decision, judgement.dry_run.first()) {
        (Decision::Deny(denial), _) => {
            (Verdict::Denied, denial.policy().map(|policy| policy.to_string()), Some(denial.to_string()))
        }
        (Decision::Allow { .. }, Some(found)) => {
            let policy = match found {
                DryRun::WouldDeny { policy } | DryRun::WouldAllow { policy } => Some(policy.to_string()),
                DryRun::NoneWouldAllow => None,
            };
            (Verdict::Audited, policy, Some(found.to_string()))
        }
        (Decision::Allow { policy }, None) => {
            (Verdict::Allowed, policy.as_ref().map(|policy| policy.to_string()), None)
        }
    }
}

fn end(address: String, workload: Option<&Workload>, identity: Option<&Identity>) -> End {
    End {
        address,
        workload: workload.map(|workload| workload.name.to_string()),
        namespace: workload
            .map(|workload| workload.namespace())
            .or_else(|| identity.map(|identity| &identity.namespace))
            .map(|namespace| namespace.to_string()),
        identity: identity.map(Identity::to_string),
    }
}

/// RFC 3339 in UTC, to the millisecond: as wide as any other.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

fn rfc3339(time: SystemTime) -> String {
    // Years have four digits: whatever comes later has no name.
    OffsetDateTime::from(time).format(TIME).unwrap_or_default()
}

#[cfg(test)]
mod tests;
