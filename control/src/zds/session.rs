//! What an agent may say when, and what it means: one connection as a machine without I/O.
//!
//! Until the snapshot has been sent, every pod that is named belongs to it; then those that were not named are gone.
//! After that there are single changes only. A message that breaks this can never be right, whoever tries it again, so
//! it is refused, and the connection is made anew.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use prost::Message;
use proto::zds::workload_request::Payload;
use proto::zds::{Ack, AddWorkload, Version, WorkloadRequest, WorkloadResponse, ZdsHello, workload_response};
use thiserror::Error;

use super::packet::{PACKET_BYTES_MAX, Packet};
use super::{AnnouncedPod, PodChange};

/// Pods that an agent may name and not take back on one connection, in its snapshot and after it: far above what a node
/// can run, and with names of the length below no more than 4 MiB of them.
const PODS_NAMED_MAX: usize = 16_384;

/// The longest uid of a pod: those of Kubernetes have 36 bytes.
const POD_UID_BYTES_MAX: usize = 256;

/// What the fields around an error take of a packet, in bytes: two tags and two lengths of two bytes each.
const ACK_BYTES: usize = 6;

/// Why a message cannot be followed.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("not a workload request: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("a workload request without a payload that this version knows")]
    NoPayload,
    #[error("{what} came with {count} descriptors instead of {expected}")]
    Descriptors { what: &'static str, count: usize, expected: usize },
    #[error("{0} without a uid")]
    NoUid(&'static str),
    #[error("pod {0} came without workload_info")]
    NoInfo(String),
    #[error("the descriptor of pod {uid} is not of a network namespace: {cause}")]
    NotANamespace { uid: String, cause: io::Error },
    #[error("{0} came after the snapshot had been sent")]
    AfterSnapshot(&'static str),
    #[error("more than {PODS_NAMED_MAX} pods; no node runs so many")]
    TooMany,
    #[error("{what} with a uid of {bytes} bytes, of which {POD_UID_BYTES_MAX} would be allowed")]
    LongUid { what: &'static str, bytes: usize },
}

/// One connection, from the hello on.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The pods that have been named and not been taken back.
    named: BTreeSet<Arc<str>>,
    /// Taken back on the connection before this one, too late for the snapshot of this one: it names them still.
    gone: BTreeSet<Arc<str>>,
    complete: bool,
}

/// The pods that came and went on a connection when the snapshot of the next may have been made already.
#[derive(Debug, Default)]
pub(crate) struct Late {
    come: BTreeSet<Arc<str>>,
    gone: BTreeSet<Arc<str>>,
}

// === impl Late ===

impl Late {
    pub(crate) fn come(&mut self, uid: &Arc<str>) {
        self.gone.remove(uid);
        self.come.insert(Arc::clone(uid));
    }

    pub(crate) fn gone(&mut self, uid: &Arc<str>) {
        self.come.remove(uid);
        self.gone.insert(Arc::clone(uid));
    }
}

// === impl Session ===

impl Session {
    /// One after another with the same agent.
    pub(crate) fn after(late: Late) -> Self {
        Self { named: late.come, gone: late.gone, complete: false }
    }

    /// All pods of the node have been named on this connection.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// What a packet changes; nothing, where it only says what is to stay.
    pub(crate) fn take(&mut self, packet: Packet) -> Result<Option<PodChange>, Refusal> {
        let request = WorkloadRequest::decode(&*packet.message)?;
        let payload = request.payload.ok_or(Refusal::NoPayload)?;
        let expected = usize::from(matches!(payload, Payload::Add(_)));
        let count = packet.descriptors.len();
        if count != expected {
            return Err(Refusal::Descriptors { what: name(&payload), count, expected });
        }
        match payload {
            Payload::Add(add) => self.add(add, packet.descriptors),
            Payload::Keep(keep) => self.keep(keep.uid),
            Payload::Del(del) => self.remove(del.uid),
            Payload::SnapshotSent(_) => self.finish(),
        }
    }

    fn add(&mut self, add: AddWorkload, netns: Vec<OwnedFd>) -> Result<Option<PodChange>, Refusal> {
        let uid = uid(add.uid, "add")?;
        let info = add.workload_info.ok_or_else(|| Refusal::NoInfo(uid.to_string()))?;
        let netns = netns.into_iter().next().expect("invariant: counted by the caller");
        let pod = AnnouncedPod::new(Arc::clone(&uid), info, netns)
            .map_err(|cause| Refusal::NotANamespace { uid: uid.to_string(), cause })?;
        if self.gone.contains(&uid) {
            // What the agent says of it behind its snapshot counts again.
            return Ok(None);
        }
        self.name(uid)?;
        Ok(Some(PodChange::Come(pod)))
    }

    fn keep(&mut self, kept: String) -> Result<Option<PodChange>, Refusal> {
        if self.complete {
            return Err(Refusal::AfterSnapshot("keep"));
        }
        let uid = uid(kept, "keep")?;
        if !self.gone.contains(&uid) {
            self.name(uid)?;
        }
        Ok(None)
    }

    fn remove(&mut self, gone: String) -> Result<Option<PodChange>, Refusal> {
        let uid = uid(gone, "del")?;
        self.named.remove(&uid);
        Ok(Some(PodChange::Gone(uid)))
    }

    fn finish(&mut self) -> Result<Option<PodChange>, Refusal> {
        if self.complete {
            return Err(Refusal::AfterSnapshot("snapshot_sent"));
        }
        self.complete = true;
        self.gone.clear();
        Ok(Some(PodChange::All(self.named.clone())))
    }

    fn name(&mut self, uid: Arc<str>) -> Result<(), Refusal> {
        self.named.insert(uid);
        if self.named.len() > PODS_NAMED_MAX { Err(Refusal::TooMany) } else { Ok(()) }
    }
}

fn uid(uid: String, what: &'static str) -> Result<Arc<str>, Refusal> {
    match uid.len() {
        0 => Err(Refusal::NoUid(what)),
        1..=POD_UID_BYTES_MAX => Ok(uid.into()),
        bytes => Err(Refusal::LongUid { what, bytes }),
    }
}

fn name(payload: &Payload) -> &'static str {
    match payload {
        Payload::Add(_) => "add",
        Payload::Keep(_) => "keep",
        Payload::Del(_) => "del",
        Payload::SnapshotSent(_) => "snapshot_sent",
    }
}

/// The first packet of a connection, and the only one that was not asked for.
pub(crate) fn hello() -> Vec<u8> {
    ZdsHello { version: Version::V1.into() }.encode_to_vec()
}

/// The answer to a request; an error is cut to what fits into a packet.
pub(crate) fn answer(error: &str) -> Vec<u8> {
    let mut end = error.len().min(PACKET_BYTES_MAX - ACK_BYTES);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    let ack = Ack { error: error[..end].to_owned() };
    // Never empty, which an agent would take for the end: even an ack without error is a field of two bytes.
    WorkloadResponse { payload: Some(workload_response::Payload::Ack(ack)) }.encode_to_vec()
}

#[cfg(test)]
mod tests;
