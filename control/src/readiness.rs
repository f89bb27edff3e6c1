//! Readiness: what has to happen before this proxy serves, and `GET /healthz/ready` on port 15021, which tells it.
//!
//! The state outlives the control thread: it is shared by whoever has something to wait for, and the probe is answered
//! by whatever serves at the time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

/// What has to happen before this proxy is ready. Names are ztunnel's where it has one for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// The mesh is known and was given to every shard.
    StateManager,
    /// The shards run.
    Proxy,
    /// Every pod of the node has its listeners.
    WorkloadProxyManager,
    /// We were told to end: no new connection is taken.
    Drain,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::StateManager => "state manager",
            Self::Proxy => "proxy",
            Self::WorkloadProxyManager => "workload proxy manager",
            Self::Drain => "drain",
        }
    }
}

/// What is pending, shared by all who wait for something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<BTreeSet<Task>>>);

impl Readiness {
    /// Not ready: everything a start has to do is pending.
    pub(crate) fn starting() -> Self {
        let readiness = Self::default();
        for task in [Task::StateManager, Task::Proxy, Task::WorkloadProxyManager] {
            readiness.set(task, false);
        }
        readiness
    }

    pub(crate) fn set(&self, task: Task, done: bool) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if done {
            pending.remove(&task);
        } else {
            pending.insert(task);
        }
    }

    /// The names of what is pending; empty when ready.
    pub(crate) fn pending(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|task| task.name()).collect()
    }
}

/// What is served on the readiness port.
pub(crate) fn router(readiness: Readiness) -> Router {
    Router::new().route("/healthz/ready", get(answer)).with_state(readiness)
}

async fn answer(State(readiness): State<Readiness>) -> (StatusCode, String) {
    match readiness.pending().as_slice() {
        [] => (StatusCode::OK, "ready\n".to_owned()),
        pending => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("not ready, pending: {}\n", pending.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::ask;

    #[tokio::test]
    async fn a_probe_is_answered_over_a_socket() {
        let readiness = Readiness::starting();
        readiness.set(Task::StateManager, true);
        let router = router(readiness.clone());
        let pending = "not ready, pending: proxy, workload proxy manager\n".to_owned();
        assert_eq!(ask(&router, "GET", "/healthz/ready").await, (500, pending));
        readiness.set(Task::Proxy, true);
        readiness.set(Task::WorkloadProxyManager, true);
        for (method, target, status, body) in [
            ("GET", "/healthz/ready", 200, "ready\n"),
            ("GET", "/healthz/ready?verbose", 200, "ready\n"),
            ("POST", "/healthz/ready", 405, ""),
            ("GET", "/", 404, ""),
            ("GET", "/healthz/ready/x", 404, ""),
        ] {
            assert_eq!(ask(&router, method, target).await, (status, body.to_owned()), "{method} {target}");
        }
    }

    #[test]
    fn pending_tasks_are_told_in_a_fixed_order() {
        let readiness = Readiness::starting();
        assert_eq!(readiness.pending(), ["state manager", "proxy", "workload proxy manager"]);
        readiness.set(Task::Proxy, true);
        let same = readiness.clone();
        same.set(Task::StateManager, true);
        readiness.set(Task::WorkloadProxyManager, true);
        assert!(same.pending().is_empty());
        readiness.set(Task::Drain, false);
        assert_eq!(readiness.pending(), ["drain"]);
    }
}
