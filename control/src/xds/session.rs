//! The client's side of delta xDS without I/O: which requests open a stream, what a response changes, what answers it.

use std::sync::Arc;

use engine::mesh::{Change, MeshSettings, Policy, Service, Snapshot, Workload};
use prost::Message;
use prost::bytes::Bytes;
use prost_types::Any;
use proto::discovery::{DeltaDiscoveryRequest, Node, Resource, Status};
use proto::workload::address;
use proto::{security, type_url, workload};
use tracing::debug;

use super::interned::Interned;
use super::resources::{Made, Resources, of_snapshot};
use super::unread::Unread;
use super::{policy, service, workload as workloads};

/// The refusals that one answer spells out; the rest is counted. A server takes 4 MiB in one message.
const REFUSALS_NAMED_MAX: usize = 256;

/// How long the text of one of them may be.
const REFUSAL_CHARS_MAX: usize = 512;

/// The types that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    Authorization,
}

/// What was said, across streams.
#[derive(Debug)]
pub(super) struct Session {
    addresses: Resources,
    policies: Resources,
    interned: Interned,
    /// What this stream has had a response for.
    heard: Heard,
    /// What any stream has had one for.
    ever_heard: Heard,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    addresses: bool,
    policies: bool,
}

/// The resources of a response that were refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    named: Vec<String>,
    more: usize,
}

impl Session {
    /// Goes on from a snapshot that an earlier run of the control thread built.
    pub(super) fn new(settings: MeshSettings, snapshot: &Snapshot) -> Self {
        let (addresses, policies) = of_snapshot(snapshot);
        let heard = Heard::default();
        Self { addresses, policies, interned: Interned::new(settings), heard, ever_heard: heard }
    }

    /// The requests that open a stream. Addresses first: servers answer in order, so that what is not among the
    /// addresses when the policies come is not there.
    pub(super) fn begin(&mut self, node: &Node) -> [DeltaDiscoveryRequest; 2] {
        self.heard = Heard::default();
        let first = |kind: Kind, resources: &mut Resources| DeltaDiscoveryRequest {
            node: Some(node.clone()),
            type_url: kind.type_url().to_owned(),
            initial_resource_versions: resources.begin(),
            ..DeltaDiscoveryRequest::default()
        };
        [first(Kind::Address, &mut self.addresses), first(Kind::Authorization, &mut self.policies)]
    }

    /// A resource of a response.
    pub(super) fn upsert(
        &mut self,
        kind: Kind,
        resource: Resource,
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let Resource { name, version, resource, .. } = resource;
        let read = match kind {
            Kind::Address => read_address(resource, &mut self.interned),
            Kind::Authorization => read_policy(resource),
        };
        let resources = self.resources(kind);
        // Cilium's agent before its PR 43128: neither name nor uid (contract 9.5).
        let named = |made: &Made| if name.is_empty() { made.to_string() } else { name.clone() };
        match read {
            Ok((made, change)) => {
                changes.extend(resources.upsert(&named(&made), &version, made));
                changes.push(change);
                Ok(())
            }
            Err(Unread { problem, instead: Some(instead) }) if !resources.has_good(&name, &instead.0) => {
                let (made, change) = *instead;
                let name = named(&made);
                changes.extend(resources.stand_in(&name, made));
                changes.push(change);
                Err(format!("{name}: {problem}"))
            }
            Err(Unread { problem, .. }) => {
                resources.keep(&name);
                Err(format!("{name}: {problem}"))
            }
        }
    }

    /// A name of `removed_resources`.
    pub(super) fn remove(&mut self, kind: Kind, name: &str, changes: &mut Vec<Change>) {
        if name.is_empty() {
            // Cilium's agent before its PR 43128: it does not say which.
            debug!(?kind, "a removal without a name changes nothing until the next stream");
            return;
        }
        changes.extend(self.resources(kind).remove(name));
    }

    /// The end of a response: what has turned out to be gone, and whether all of the mesh has been told.
    pub(super) fn answered(&mut self, kind: Kind, changes: &mut Vec<Change>) -> bool {
        let before = self.heard;
        self.heard.hear(kind);
        self.ever_heard.hear(kind);
        if self.heard.policies && !before.policies {
            changes.extend(self.policies.drop_unnamed());
        }
        if self.heard.all() && !before.all() {
            changes.extend(self.addresses.drop_unnamed());
        }
        self.interned.forget_unused();
        self.ever_heard.all()
    }

    fn resources(&mut self, kind: Kind) -> &mut Resources {
        match kind {
            Kind::Address => &mut self.addresses,
            Kind::Authorization => &mut self.policies,
        }
    }
}

/// What a resource is, and the change that it makes.
type Read = Result<(Made, Change), Unread<(Made, Change)>>;

fn read_address(body: Option<Any>, interned: &mut Interned) -> Read {
    let address: workload::Address = decode(body, Kind::Address)?;
    match address.r#type {
        Some(address::Type::Workload(message)) => {
            let made = |workload: Workload| {
                (Made::Workload(Arc::clone(&workload.uid)), Change::UpsertWorkload(Arc::new(workload)))
            };
            workloads::read(message, interned).map(made).map_err(|unread| unread.map(made))
        }
        Some(address::Type::Service(message)) => {
            let made = |service: Service| {
                (Made::Service(service.key.clone()), Change::UpsertService(Arc::new(service)))
            };
            service::read(message, interned).map(made).map_err(|unread| unread.map(made))
        }
        None => Err("it is neither a workload nor a service".to_owned().into()),
    }
}

fn read_policy(body: Option<Any>) -> Read {
    let message: security::Authorization = decode(body, Kind::Authorization)?;
    let made = |policy: Policy| (Made::Policy(policy.key()), Change::UpsertPolicy(Arc::new(policy)));
    policy::read(message).map(made).map_err(|unread| unread.map(made))
}

fn decode<M: Message + Default>(body: Option<Any>, kind: Kind) -> Result<M, String> {
    let body = body.ok_or("there is nothing in it")?;
    if body.type_url != kind.type_url() {
        return Err(format!("a {} is in it", body.type_url));
    }
    M::decode(Bytes::from(body.value)).map_err(|error| error.to_string())
}

/// Takes a response, or refuses it.
pub(super) fn answer(type_url: String, nonce: String, refusals: &Refusals) -> DeltaDiscoveryRequest {
    let detail = refusals.text();
    DeltaDiscoveryRequest {
        type_url,
        response_nonce: nonce,
        // The reference proxy leaves the code 0 as well (contract 2.3).
        error_detail: detail.map(|message| Status { message, ..Status::default() }),
        ..DeltaDiscoveryRequest::default()
    }
}

// === impl Kind ===

impl Kind {
    pub(super) fn of(type_url: &str) -> Option<Self> {
        [Self::Address, Self::Authorization].into_iter().find(|kind| kind.type_url() == type_url)
    }

    pub(super) fn type_url(self) -> &'static str {
        match self {
            Self::Address => type_url::ADDRESS,
            Self::Authorization => type_url::AUTHORIZATION,
        }
    }
}

// === impl Heard ===

impl Heard {
    fn hear(&mut self, kind: Kind) {
        match kind {
            Kind::Address => self.addresses = true,
            Kind::Authorization => self.policies = true,
        }
    }

    fn all(self) -> bool {
        self.addresses && self.policies
    }
}

// === impl Refusals ===

impl Refusals {
    pub(super) fn add(&mut self, refusal: String) {
        if self.named.len() < REFUSALS_NAMED_MAX {
            self.named.push(refusal.chars().take(REFUSAL_CHARS_MAX).collect());
        } else {
            self.more += 1;
        }
    }

    /// None if nothing was refused.
    pub(super) fn text(&self) -> Option<String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        let all: Vec<&str> = self.named.iter().chain(&more).map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

#[cfg(test)]
mod tests;
