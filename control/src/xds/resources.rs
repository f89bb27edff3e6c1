//! What the server has told, by the names it gave, and what is gone when it comes back.
//!
//! A delta stream says what is new and what was removed; a stream that begins anew says everything that is not among
//! the versions we name. Two kinds of servers have to be understood. One knows versions (Istio's): it passes over what
//! has not changed and names what was removed meanwhile. One knows none (Cilium's agent): it says everything again, in
//! any number of responses, and never a word of what was removed meanwhile. So what came without a version, and is not
//! named on the new stream by the time its policies came, is gone; what has a version, and was announced with it, stays
//! until it is removed by name.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use engine::mesh::{Change, ServiceName, Snapshot};

use crate::turns::Turns;

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
    /// A tree, for it grows by one name at a time: a table of 70,000 is made anew in milliseconds that nobody else gets.
    by_name: BTreeMap<Arc<str>, Known>,
    /// What goes by other names than its own, and by how many.
    aliases: HashMap<Made, u32>,
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
    /// It was read as a whole, and is not what stands in for one that was not.
    good: bool,
}

impl Resources {
    /// A stream begins: what it is to be told of what is known. The names that have a version go first, if there are
    /// too many for a request.
    pub(super) fn begin(&mut self) -> HashMap<String, String> {
        self.stream = self.stream.wrapping_add(1);
        let mut announced = HashMap::new();
        let (mut bytes, mut turns) = (0, Turns::begin());
        for versioned in [true, false] {
            for (name, known) in &mut self.by_name {
                turns.give();
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
        self.set(name, version, made, true)
    }

    /// The same of a resource that could not be read, and has something else in its place. The server is to say it
    /// again to a stream that begins.
    pub(super) fn stand_in(&mut self, name: &str, made: Made) -> Option<Change> {
        self.set(name, "", made, false)
    }

    fn set(&mut self, name: &str, version: &str, made: Made, good: bool) -> Option<Change> {
        let stream = self.stream;
        if let Some(known) = self.by_name.get_mut(name).filter(|known| known.made == made) {
            (known.named_on, known.announced, known.good) = (stream, false, good);
            if *known.version != *version {
                known.version = Box::from(version);
            }
            return None;
        }
        if !made.goes_by(name) {
            *self.aliases.entry(made.clone()).or_default() += 1;
        }
        let (key, version) = (name_for(name, &made), Box::from(version));
        let known = Known { version, made, named_on: stream, announced: false, good };
        let before = self.by_name.insert(key, known)?;
        self.unnamed(name, before.made)
    }

    /// Whether what this name or any other stands for was read as a whole.
    pub(super) fn has_good(&self, name: &str, made: &Made) -> bool {
        let own = self.by_name.get(&*made.to_string()).filter(|known| known.made == *made);
        let named = self.by_name.get(name);
        own.into_iter().chain(named).any(|known| known.good)
    }

    /// The server says something of a resource that we do not understand: it is there, and stays what it was.
    pub(super) fn keep(&mut self, name: &str) {
        if let Some(known) = self.by_name.get_mut(name) {
            known.named_on = self.stream;
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Change> {
        let known = self.by_name.remove(name)?;
        self.unnamed(name, known.made)
    }

    /// The server has said all that it has to say at the beginning of this stream.
    pub(super) fn drop_unnamed(&mut self) -> Vec<Change> {
        let (stream, mut turns) = (self.stream, Turns::begin());
        let gone = self.by_name.iter().filter(|(_, known)| {
            turns.give();
            known.named_on != stream && !known.announced
        });
        let gone: Vec<Arc<str>> = gone.map(|(name, _)| Arc::clone(name)).collect();
        let removed = |name: Arc<str>| {
            turns.give();
            self.remove(&name)
        };
        gone.into_iter().filter_map(removed).collect()
    }

    /// It has one name less; without any it is gone. What an earlier run made may have another name now.
    fn unnamed(&mut self, name: &str, made: Made) -> Option<Change> {
        if !made.goes_by(name)
            && let Entry::Occupied(mut names) = self.aliases.entry(made.clone())
        {
            *names.get_mut() -= 1;
            if *names.get() == 0 {
                names.remove();
            }
        }
        let own = || self.by_name.get(&*made.to_string()).is_some_and(|known| known.made == made);
        (!self.aliases.contains_key(&made) && !own()).then(|| made.removal())
    }

    /// What an earlier run of the control thread made: the server is not known to have named it, nor in which version.
    pub(super) fn inherit(&mut self, name: Arc<str>, made: Made) {
        let version = Box::default();
        self.by_name.insert(name, Known { version, made, named_on: 0, announced: false, good: true });
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
    /// Whether the name is its own.
    fn goes_by(&self, name: &str) -> bool {
        match self {
            Self::Workload(key) | Self::Policy(key) => **key == *name,
            Self::Service(key) => name.split_once('/') == Some((&*key.namespace, &*key.hostname)),
        }
    }

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
