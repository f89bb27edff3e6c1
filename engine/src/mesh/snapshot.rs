//! Everything known about the mesh at one moment.
//!
//! A snapshot is a handful of persistent maps: a clone shares all of them, and a change to the clone copies the few
//! nodes on the way to what changed. The control thread keeps one, applies what the control plane says, and publishes
//! clones to the shards, which never see one change.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::certificates::Certificates;
use super::policies::Policies;
use super::services::Services;
use super::workloads::Workloads;
use super::{Holder, Identity, NetworkAddress, Policy, Service, ServiceName, TrustDomain, Workload};
use crate::tls::{Credentials, Revocations};

#[derive(Clone)]
pub struct Snapshot {
    settings: Arc<MeshSettings>,
    pub(super) workloads: Workloads,
    pub(super) services: Services,
    pub(super) policies: Policies,
    certificates: Certificates,
    revocations: Option<Arc<Revocations>>,
}

/// What this proxy was told about the mesh when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    /// The network of this node (`NETWORK`).
    pub network: Arc<str>,
    /// `CLUSTER_ID`
    pub cluster_id: Arc<str>,
    /// Of workloads that name none (`TRUST_DOMAIN`).
    pub trust_domain: TrustDomain,
    /// Where services have their names (`CLUSTER_DOMAIN`).
    pub domain: Arc<str>,
}

/// One step from a snapshot to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    UpsertWorkload(Arc<Workload>),
    /// By uid.
    RemoveWorkload(Arc<str>),
    UpsertService(Arc<Service>),
    RemoveService(ServiceName),
    UpsertPolicy(Arc<Policy>),
    /// By `namespace/name`.
    RemovePolicy(Arc<str>),
}

// === impl Snapshot ===

impl Snapshot {
    pub fn new(settings: MeshSettings) -> Self {
        Self {
            settings: Arc::new(settings),
            workloads: Workloads::default(),
            services: Services::default(),
            policies: Policies::default(),
            certificates: Certificates::default(),
            revocations: None,
        }
    }

    pub fn settings(&self) -> &MeshSettings {
        &self.settings
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::UpsertWorkload(workload) => self.upsert_workload(workload),
            Change::RemoveWorkload(uid) => _ = self.remove_workload(&uid),
            Change::UpsertService(service) => self.upsert_service(service),
            Change::RemoveService(key) => _ = self.remove_service(&key),
            Change::UpsertPolicy(policy) => self.upsert_policy(policy),
            Change::RemovePolicy(key) => _ = self.remove_policy(&key),
        }
    }

    pub fn upsert_workload(&mut self, workload: Arc<Workload>) {
        self.workloads.upsert(workload);
    }

    pub fn remove_workload(&mut self, uid: &str) -> bool {
        self.workloads.remove(uid)
    }

    pub fn workload(&self, uid: &str) -> Option<&Arc<Workload>> {
        self.workloads.by_uid(uid)
    }

    /// The workload with an address in this node's own network: of two that claim it, the one that came later.
    pub fn workload_by_ip(&self, ip: IpAddr) -> Option<&Arc<Workload>> {
        self.workloads.by_address(&NetworkAddress::new(&self.settings.network, ip))
    }

    /// The workload that a pod of this node is.
    pub fn workload_of_pod(&self, name: &str, namespace: &str, account: &str) -> Option<&Arc<Workload>> {
        self.workloads.by_pod(name, namespace, account)
    }

    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.iter()
    }

    pub fn upsert_service(&mut self, service: Arc<Service>) {
        self.services.upsert(service);
    }

    pub fn remove_service(&mut self, key: &ServiceName) -> bool {
        self.services.remove(key)
    }

    pub fn service(&self, key: &ServiceName) -> Option<&Arc<Service>> {
        self.services.by_key(key)
    }

    /// The service that a client in `namespace` means by an address in this node's own network.
    pub fn service_by_ip(&self, ip: IpAddr, namespace: &str) -> Option<&Arc<Service>> {
        self.services.by_address(&NetworkAddress::new(&self.settings.network, ip), namespace)
    }

    /// The service that a client in `namespace` means by a hostname.
    pub fn service_by_hostname(&self, hostname: &str, namespace: &str) -> Option<&Arc<Service>> {
        self.services.by_hostname(hostname, namespace)
    }

    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter()
    }

    /// The workloads that name the service, healthy or not, in the order of their uids.
    pub fn endpoints(&self, service: &ServiceName) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.endpoints(service)
    }

    pub fn upsert_policy(&mut self, policy: Arc<Policy>) {
        self.policies.upsert(policy);
    }

    pub fn remove_policy(&mut self, key: &str) -> bool {
        self.policies.remove(key)
    }

    /// Whether no policy was added, changed or removed between the two: a comparison of pointers.
    pub fn has_the_policies_of(&self, other: &Self) -> bool {
        self.policies.are_those_of(&other.policies)
    }

    /// By `namespace/name`.
    pub fn policy(&self, key: &str) -> Option<&Arc<Policy>> {
        self.policies.by_key(key)
    }

    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.iter()
    }

    pub fn upsert_credentials(&mut self, holder: Holder, credentials: Arc<Credentials>) {
        self.certificates.upsert(holder, credentials);
    }

    pub fn remove_credentials(&mut self, holder: &Holder) -> bool {
        self.certificates.remove(holder)
    }

    /// What a pod of this node proves its identity with: the certificate that is its own, else that of all pods of the
    /// identity.
    pub fn credentials(&self, identity: &Identity, pod_uid: &str) -> Option<&Arc<Credentials>> {
        self.certificates.of(identity, pod_uid)
    }

    /// What exactly this holder was given.
    pub fn credentials_of(&self, holder: &Holder) -> Option<&Arc<Credentials>> {
        self.certificates.get(holder)
    }

    /// Whoever has a certificate, each with it.
    pub fn holders(&self) -> impl Iterator<Item = (Holder, &Arc<Credentials>)> {
        self.certificates.iter()
    }

    /// Whether a change would change nothing. A workload that another one took an address from takes it back when it is
    /// named again.
    pub fn says(&self, change: &Change) -> bool {
        match change {
            Change::UpsertWorkload(workload) => self.workloads.holds(workload),
            Change::RemoveWorkload(uid) => self.workload(uid).is_none(),
            Change::UpsertService(service) => self.service(&service.key) == Some(service),
            Change::RemoveService(key) => self.service(key).is_none(),
            Change::UpsertPolicy(policy) => self.policy(&policy.key()) == Some(policy),
            Change::RemovePolicy(key) => self.policy(key).is_none(),
        }
    }

    /// The lists against which peers are checked from here on, and those of open tunnels again. Where lists are to be
    /// expected and are not there yet, empty ones are set at the start: only then do tunnels keep what is to be checked.
    pub fn set_revocations(&mut self, revocations: Arc<Revocations>) {
        self.revocations = Some(revocations);
    }

    /// None where nothing is ever revoked.
    pub fn revocations(&self) -> Option<&Arc<Revocations>> {
        self.revocations.as_ref()
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::new(MeshSettings::default())
    }
}

/// Counts only: a whole mesh in a log line helps nobody.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("settings", &self.settings)
            .field("workloads", &self.workloads.len())
            .field("services", &self.services.len())
            .field("policies", &self.policies.len())
            .field("credentials", &self.certificates.len())
            .finish()
    }
}

// === impl MeshSettings ===

impl MeshSettings {
    /// The identity of a workload, where an empty trust domain is that of the mesh, and an empty service account
    /// `default`, as in Kubernetes.
    pub fn identity(&self, trust_domain: &str, namespace: &str, service_account: &str) -> Identity {
        let account = if service_account.is_empty() { "default" } else { service_account };
        match trust_domain {
            "" => Identity::new(&self.trust_domain, namespace, account),
            named => Identity::new(&TrustDomain::new(named), namespace, account),
        }
    }
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self {
            network: Arc::from(""),
            cluster_id: Arc::from("Kubernetes"),
            trust_domain: TrustDomain::new("cluster.local"),
            domain: Arc::from("cluster.local"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::fixture::{endpoint_of, name, policy, service};
    use super::super::{Action, Scope};
    use super::*;

    #[test]
    fn what_a_workload_does_not_name_is_the_meshs() {
        let mesh = MeshSettings { trust_domain: TrustDomain::new("spiffe.cilium"), ..Default::default() };
        let cases = [
            (("", "shop", "cart"), "spiffe://spiffe.cilium/ns/shop/sa/cart"),
            (("", "shop", ""), "spiffe://spiffe.cilium/ns/shop/sa/default"),
            (("other.domain", "shop", "cart"), "spiffe://other.domain/ns/shop/sa/cart"),
        ];
        for ((trust_domain, namespace, account), expected) in cases {
            assert_eq!(mesh.identity(trust_domain, namespace, account).to_string(), expected);
        }
    }

    #[test]
    fn each_change_does_what_its_name_says() {
        let mut snapshot = Snapshot::default();
        let allow = policy("allow", "shop", Scope::Namespace, Action::Allow);
        snapshot.apply(Change::UpsertWorkload(Arc::new(endpoint_of("a", "10.0.0.1", "shop/cart", &[]))));
        snapshot.apply(Change::UpsertService(Arc::new(service("shop/cart"))));
        snapshot.apply(Change::UpsertPolicy(Arc::new(allow)));
        assert!(snapshot.workload("a").is_some());
        assert!(snapshot.workload_by_ip("::ffff:10.0.0.1".parse().unwrap()).is_some());
        assert_eq!(snapshot.endpoints(&name("shop/cart")).count(), 1);
        assert!(snapshot.service(&name("shop/cart")).is_some());
        assert!(snapshot.policy("shop/allow").is_some());

        let before = snapshot.clone();
        snapshot.apply(Change::RemoveWorkload("a".into()));
        snapshot.apply(Change::RemoveService(name("shop/cart")));
        snapshot.apply(Change::RemovePolicy("shop/allow".into()));
        assert_eq!((snapshot.workloads().count(), snapshot.services().count()), (0, 0));
        assert_eq!((snapshot.policies().count(), snapshot.endpoints(&name("shop/cart")).count()), (0, 0));
        assert_eq!(
            (before.workloads().count(), before.services().count(), before.policies().count()),
            (1, 1, 1)
        );
    }

    /// The size of a large cluster that sends every workload to every node.
    const WORKLOADS: usize = 70_000;

    #[test]
    fn one_change_among_70_000_workloads_shares_the_rest() {
        let mut snapshot = Snapshot::default();
        for i in 0..WORKLOADS {
            let ip = format!("10.{}.{}.{}", i / 65_536, i / 256 % 256, i % 256);
            let service = format!("shop/service-{}", i % 500);
            snapshot.upsert_workload(Arc::new(endpoint_of(&format!("uid-{i}"), &ip, &service, &[])));
        }
        let before = snapshot.clone();
        snapshot.upsert_workload(Arc::new(endpoint_of("uid-7", "10.9.9.9", "shop/service-7", &[])));
        snapshot.remove_workload("uid-8");

        let mut shared = 0;
        for workload in before.workloads() {
            let now = snapshot.workload(&workload.uid);
            shared += usize::from(now.is_some_and(|now| Arc::ptr_eq(now, workload)));
            let by_ip = snapshot.workload_by_ip(workload.ips[0]);
            let touched = matches!(&*workload.uid, "uid-7" | "uid-8");
            assert_eq!(by_ip.is_some_and(|now| Arc::ptr_eq(now, workload)), !touched);
        }
        assert_eq!(shared, WORKLOADS - 2);
        assert!(before.workload("uid-8").is_some(), "the older snapshot is what it was");
        assert_eq!(before.workload("uid-7").unwrap().ips[0].to_string(), "10.0.0.7");

        // The endpoints of a service that was not touched are the same tree, not an equal one.
        let untouched = name("shop/service-9");
        let (old, new) = (before.workloads.tree(&untouched), snapshot.workloads.tree(&untouched));
        assert!(old.unwrap().ptr_eq(new.unwrap()));
        let touched = name("shop/service-7");
        let (old, new) = (before.workloads.tree(&touched), snapshot.workloads.tree(&touched));
        assert!(!old.unwrap().ptr_eq(new.unwrap()));
    }
}
