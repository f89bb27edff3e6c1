//! What takes the engine's place in tests: it writes down what it is asked.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use engine::engine::{EngineError, Pod};
use engine::mesh::{Identity, Snapshot};
use engine::observe::{ConnectionRecord, Direction};
use tokio::sync::Notify;

use crate::plane::DataPlane;

#[derive(Default)]
pub(crate) struct StandIn {
    /// `publish`, `add UID`, `remove UID`, in the order they came.
    pub(crate) asked: RefCell<Vec<String>>,
    pub(crate) snapshot: RefCell<Option<Arc<Snapshot>>>,
    /// Rung at every publish.
    pub(crate) published: Notify,
    /// Pods that cannot be added, by uid.
    pub(crate) broken: RefCell<Vec<String>>,
    pub(crate) records: RefCell<VecDeque<ConnectionRecord>>,
    pub(crate) lost: Cell<u64>,
    /// Connections never end.
    pub(crate) stuck: Cell<bool>,
}

impl StandIn {
    /// What was asked since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        self.asked.take()
    }

    pub(crate) fn has_credentials(&self, identity: &str) -> bool {
        let identity: Identity = identity.parse().unwrap();
        self.snapshot.borrow().as_ref().is_some_and(|snapshot| snapshot.credentials(&identity).is_some())
    }

    fn note(&self, text: String) {
        self.asked.borrow_mut().push(text);
    }
}

impl DataPlane for StandIn {
    fn publish(&self, snapshot: Arc<Snapshot>) {
        self.note("publish".to_owned());
        *self.snapshot.borrow_mut() = Some(snapshot);
        self.published.notify_one();
    }

    async fn add_pod(&self, pod: Pod) -> Result<(), EngineError> {
        self.note(format!("add {}", pod.uid));
        if self.broken.borrow().iter().any(|uid| **uid == *pod.uid) {
            return Err(EngineError::Pod { uid: pod.uid, cause: "broken".to_owned() });
        }
        Ok(())
    }

    async fn remove_pod(&self, uid: &str) -> Result<(), EngineError> {
        self.note(format!("remove {uid}"));
        Ok(())
    }

    async fn next_record(&self) -> ConnectionRecord {
        let next = self.records.borrow_mut().pop_front();
        match next {
            Some(record) => record,
            None => std::future::pending().await,
        }
    }

    fn lost_records(&self) -> u64 {
        self.lost.get()
    }

    async fn cut(&self) {
        self.note("cut".to_owned());
    }

    async fn drain(&self) {
        self.note("drain".to_owned());
        if self.stuck.get() {
            std::future::pending::<()>().await;
        }
    }
}

/// A connection that ended well, from this port.
pub(crate) fn record(port: u16) -> ConnectionRecord {
    ConnectionRecord {
        direction: Direction::Outbound,
        source: ([10, 0, 0, 1], port).into(),
        source_workload: None,
        source_namespace: None,
        source_identity: None,
        source_cluster: None,
        destination: ([10, 0, 0, 2], 80).into(),
        hbone_destination: None,
        destination_service: None,
        destination_workload: None,
        destination_namespace: None,
        destination_identity: None,
        destination_cluster: None,
        bytes_sent: 1,
        bytes_received: 2,
        duration: std::time::Duration::ZERO,
        error: None,
        refused: false,
        dry_run: Vec::new(),
    }
}
