//! What the server has told, by the names it gave, and what is gone when it comes back.
//!
//! A delta stream says what is new and what was removed; a stream that begins anew says everything that is not among
//! the versions we name. Two kinds of servers have to be understood. One knows versions (Istio's): it passes over what
//! has not changed and names what was removed meanwhile. One knows none (Cilium's agent): it says everything again, in
//! any number of responses, and never a word of what was removed meanwhile. So what came without a version, and is not
//! named on the new stream by the time its policies came, is gone; what has a version, and was announced with it, stays
//! until it is removed by name.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use engine::mesh::{Change, ServiceName, Snapshot};

/// Bytes of the names and versions that a request begins with. Servers in Go take 4 MiB in one message; a server that
/// is not told a name says it again.
pub(super) const KNOWN_BYTES_MAX: usize = 3 << 20;

/// What a resource became.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Made {
    Workload(Arc<str>),
    Service(ServiceName),
    Policy(Arc<str>),
}

/// The resources of one type, by name.
#[derive(Debug, Default)]
pub(super) struct Resources {
    by_name: HashMap<Arc<str>, Known>,
    /// Counts the streams.
    stream: u32,
}

#[derive(Debug)]
struct Known {
    version: Box<str>,
    made: Made,
    /// The last stream that named it.
    named_on: u32,
    /// This stream began with its version.
    announced: bool,
}

impl Resources {
    /// A stream begins: what it is to be told of what is known. The names that have a version go first, if there are
    /// too many for a request.
    pub(super) fn begin(&mut self) -> HashMap<String, String> {
        self.stream = self.stream.wrapping_add(1);
        let mut announced = HashMap::new();
        let mut bytes = 0;
        for versioned in [true, false] {
            for (name, known) in &mut self.by_name {
                if known.version.is_empty() == versioned {
                    continue;
                }
                // Tag and length of the entry and of both of its texts.
                bytes += name.len() + known.version.len() + 12;
                let fits = bytes <= KNOWN_BYTES_MAX;
                known.announced = fits && versioned;
                if fits {
                    announced.insert(name.to_string(), known.version.to_string());
                }
            }
        }
        announced
    }

    /// The server says what a resource is now. What it was before is returned, if that was something else: it is gone.
    pub(super) fn upsert(&mut self, name: &str, version: &str, made: Made) -> Option<Change> {
        let stream = self.stream;
        let Some(known) = self.by_name.get_mut(name) else {
            let (name, version) = (name_for(name, &made), Box::from(version));
            self.by_name.insert(name, Known { version, made, named_on: stream, announced: false });
            return None;
        };
        (known.named_on, known.announced) = (stream, false);
        if *known.version != *version {
            known.version = Box::from(version);
        }
        let before = std::mem::replace(&mut known.made, made);
        (before != known.made).then(|| before.removal())
    }

    /// The server says something of a resource that we do not understand: it is there, and stays what it was.
    pub(super) fn keep(&mut self, name: &str) {
        if let Some(known) = self.by_name.get_mut(name) {
            known.named_on = self.stream;
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Change> {
        self.by_name.remove(name).map(|known| known.made.removal())
    }

    /// The server has said all that it has to say at the beginning of this stream.
    pub(super) fn drop_unnamed(&mut self) -> Vec<Change> {
        let stream = self.stream;
        let gone = |known: &Known| known.named_on != stream && !known.announced;
        let gone: Vec<Made> =
            self.by_name.extract_if(|_, known| gone(known)).map(|(_, known)| known.made).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        // What an earlier run made may have another name now.
        let kept: HashSet<&Made> = self.by_name.values().map(|known| &known.made).collect();
        gone.into_iter().filter(|made| !kept.contains(made)).map(Made::removal).collect()
    }

    /// What an earlier run of the control thread made: the server is not known to have named it, nor in which version.
    pub(super) fn inherit(&mut self, name: Arc<str>, made: Made) {
        self.by_name.insert(name, Known { version: Box::default(), made, named_on: 0, announced: false });
    }
}

/// What a snapshot holds, as the resources of addresses and those of policies.
pub(super) fn of_snapshot(snapshot: &Snapshot) -> (Resources, Resources) {
    let (mut addresses, mut policies) = (Resources::default(), Resources::default());
    for workload in snapshot.workloads() {
        addresses.inherit(Arc::clone(&workload.uid), Made::Workload(Arc::clone(&workload.uid)));
    }
    for service in snapshot.services() {
        addresses.inherit(service.key.to_string().into(), Made::Service(service.key.clone()));
    }
    for policy in snapshot.policies() {
        policies.inherit(policy.key(), Made::Policy(policy.key()));
    }
    (addresses, policies)
}

/// The same text is kept once.
fn name_for(name: &str, made: &Made) -> Arc<str> {
    match made {
        Made::Workload(key) | Made::Policy(key) if **key == *name => Arc::clone(key),
        _ => Arc::from(name),
    }
}

// === impl Made ===

impl Made {
    fn removal(self) -> Change {
        match self {
            Self::Workload(uid) => Change::RemoveWorkload(uid),
            Self::Service(key) => Change::RemoveService(key),
            Self::Policy(key) => Change::RemovePolicy(key),
        }
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(key) | Self::Policy(key) => f.write_str(key),
            Self::Service(key) => write!(f, "{key}"),
        }
    }
}

#[cfg(test)]
mod tests;
