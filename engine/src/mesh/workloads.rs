//! The workloads of a snapshot, and the ways to find one.
//!
//! Invariant: every index holds the same `Arc` that `by_uid` holds, and nothing else.

use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::claims::Claims;
use super::{NetworkAddress, ServiceName, Workload};

/// By uid. Ordered, so that the choice among endpoints depends on nothing but the entropy it is given.
pub(super) type Endpoints = RedBlackTreeMapSync<Arc<str>, Arc<Workload>>;

#[derive(Clone, Default)]
pub(super) struct Workloads {
    by_uid: HashTrieMapSync<Arc<str>, Arc<Workload>>,
    by_address: Claims<NetworkAddress, Workload>,
    by_pod: Claims<PodKey, Workload>,
    endpoints: HashTrieMapSync<ServiceName, Endpoints>,
}

/// What a pod is known by on its own node.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PodKey {
    name: Arc<str>,
    namespace: Arc<str>,
    service_account: Arc<str>,
}

impl Workloads {
    pub(super) fn by_uid(&self, uid: &str) -> Option<&Arc<Workload>> {
        self.by_uid.get(uid)
    }

    /// The workload that claimed the address last.
    pub(super) fn by_address(&self, address: &NetworkAddress) -> Option<&Arc<Workload>> {
        self.by_address.latest(address)
    }

    pub(super) fn by_pod(
        &self,
        name: &str,
        namespace: &str,
        service_account: &str,
    ) -> Option<&Arc<Workload>> {
        self.by_pod.latest(&PodKey {
            name: Arc::from(name),
            namespace: Arc::from(namespace),
            service_account: Arc::from(service_account),
        })
    }

    /// Whether the workload is there as it is, and is the one that its addresses and its names mean.
    pub(super) fn holds(&self, workload: &Workload) -> bool {
        let is_it = |found: Option<&Arc<Workload>>| found.is_some_and(|found| found.uid == workload.uid);
        self.by_uid(&workload.uid).is_some_and(|known| **known == *workload)
            && workload.own_addresses().all(|address| is_it(self.by_address(&address)))
            && is_it(self.by_pod.latest(&PodKey::of(workload)))
    }

    pub(super) fn endpoints(&self, service: &ServiceName) -> impl Iterator<Item = &Arc<Workload>> {
        self.endpoints.get(service).into_iter().flat_map(RedBlackTreeMapSync::values)
    }

    #[cfg(test)]
    pub(super) fn tree(&self, service: &ServiceName) -> Option<&Endpoints> {
        self.endpoints.get(service)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.by_uid.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_uid.size()
    }

    /// Adds the workload, in place of the one with the same uid.
    pub(super) fn upsert(&mut self, workload: Arc<Workload>) {
        self.remove(&workload.uid);
        for address in workload.own_addresses() {
            self.by_address.claim(address, &workload);
        }
        self.by_pod.claim(PodKey::of(&workload), &workload);
        for service in workload.services.keys() {
            let uid = Arc::clone(&workload.uid);
            match self.endpoints.get_mut(service) {
                Some(endpoints) => endpoints.insert_mut(uid, Arc::clone(&workload)),
                None => {
                    let endpoints = Endpoints::default().insert(uid, Arc::clone(&workload));
                    self.endpoints.insert_mut(service.clone(), endpoints);
                }
            }
        }
        self.by_uid.insert_mut(Arc::clone(&workload.uid), workload);
    }

    /// Returns whether there was such a workload.
    pub(super) fn remove(&mut self, uid: &str) -> bool {
        let Some(workload) = self.by_uid.get(uid).map(Arc::clone) else { return false };
        self.by_uid.remove_mut(uid);
        for address in workload.own_addresses() {
            self.by_address.release(&address, &workload);
        }
        self.by_pod.release(&PodKey::of(&workload), &workload);
        for service in workload.services.keys() {
            let Some(endpoints) = self.endpoints.get_mut(service) else { continue };
            endpoints.remove_mut(uid);
            if endpoints.is_empty() {
                self.endpoints.remove_mut(service);
            }
        }
        true
    }
}

impl PodKey {
    fn of(workload: &Workload) -> Self {
        Self {
            name: Arc::clone(&workload.name),
            namespace: Arc::clone(workload.namespace()),
            service_account: Arc::clone(workload.service_account()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::fixture::{endpoint_of, name, workload};
    use super::super::{NetworkMode, Workload};
    use super::*;

    fn at(ip: &str) -> NetworkAddress {
        ip.parse().unwrap()
    }

    fn uid(found: Option<&Arc<Workload>>) -> Option<&str> {
        found.map(|workload| &*workload.uid)
    }

    fn with_ips(uid: &str, ips: &[&str]) -> Arc<Workload> {
        let mut workload = workload(uid);
        workload.ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(workload)
    }

    #[test]
    fn of_two_workloads_with_one_address_the_later_upsert_wins() {
        let mut workloads = Workloads::default();
        workloads.upsert(with_ips("a", &["10.0.0.1", "10.0.0.2"]));
        workloads.upsert(with_ips("b", &["10.0.0.1"]));
        assert_eq!(uid(workloads.by_address(&at("/10.0.0.1"))), Some("b"));
        assert_eq!(uid(workloads.by_address(&at("/10.0.0.2"))), Some("a"));

        workloads.upsert(with_ips("a", &["10.0.0.1"]));
        assert_eq!(uid(workloads.by_address(&at("/10.0.0.1"))), Some("a"), "its update came later");
        assert_eq!(uid(workloads.by_address(&at("/10.0.0.2"))), None, "an address it gave up");

        assert!(workloads.remove("a"));
        assert_eq!(uid(workloads.by_address(&at("/10.0.0.1"))), Some("b"), "the other one still has it");
        assert!(workloads.remove("b"));
        assert!(!workloads.remove("b"));
        assert_eq!(uid(workloads.by_address(&at("/10.0.0.1"))), None);
        assert_eq!(workloads.len(), 0);
    }

    #[test]
    fn a_workload_that_lost_an_address_is_not_held() {
        let mut workloads = Workloads::default();
        let (first, second) = (with_ips("a", &["10.0.0.1"]), with_ips("b", &["10.0.0.1"]));
        workloads.upsert(Arc::clone(&first));
        assert!(workloads.holds(&first));
        assert!(!workloads.holds(&with_ips("a", &["10.0.0.2"])), "another version of it");
        workloads.upsert(Arc::clone(&second));
        assert!(workloads.holds(&second));
        assert!(!workloads.holds(&first), "its address is another's");
        workloads.upsert(Arc::clone(&first));
        assert!(workloads.holds(&first));
    }

    #[test]
    fn an_address_is_one_of_a_network_and_of_one_workload() {
        let mut workloads = Workloads::default();
        let mut remote = workload("remote");
        remote.network = "west".into();
        remote.ips = vec!["10.0.0.1".parse().unwrap()];
        workloads.upsert(Arc::new(remote));
        let mut agent = workload("agent");
        agent.network_mode = NetworkMode::HostNetwork;
        agent.ips = vec!["10.0.0.3".parse().unwrap()];
        workloads.upsert(Arc::new(agent));

        assert_eq!(uid(workloads.by_address(&at("west/10.0.0.1"))), Some("remote"));
        assert_eq!(uid(workloads.by_address(&at("/10.0.0.1"))), None);
        assert_eq!(uid(workloads.by_address(&at("/10.0.0.3"))), None, "the node's address is nobody's");
        assert_eq!(uid(workloads.by_uid("agent")), Some("agent"));
    }

    #[test]
    fn a_pod_is_found_by_name_namespace_and_service_account() {
        let mut workloads = Workloads::default();
        workloads.upsert(Arc::new(workload("uid-1")));
        let pod = workload("uid-1");
        let (name, account) = (&*pod.name, &**pod.service_account());
        assert_eq!(uid(workloads.by_pod(name, "shop", account)), Some("uid-1"));
        assert_eq!(uid(workloads.by_pod("other", "shop", account)), None);
        assert_eq!(uid(workloads.by_pod(name, "other", account)), None);
        assert_eq!(uid(workloads.by_pod(name, "shop", "other")), None);

        let mut reborn = workload("uid-2");
        reborn.name = Arc::clone(&pod.name);
        workloads.upsert(Arc::new(reborn));
        assert_eq!(
            uid(workloads.by_pod(name, "shop", account)),
            Some("uid-2"),
            "the newer one of a stateful set"
        );
        workloads.remove("uid-2");
        assert_eq!(uid(workloads.by_pod(name, "shop", account)), Some("uid-1"), "which has gone");
        workloads.remove("uid-1");
        assert_eq!(uid(workloads.by_pod(name, "shop", account)), None);
    }

    #[test]
    fn endpoints_are_the_workloads_that_name_the_service() {
        let mut workloads = Workloads::default();
        let cart = name("shop/cart");
        let of = |workloads: &Workloads| -> Vec<String> {
            workloads.endpoints(&cart).map(|endpoint| endpoint.uid.to_string()).collect()
        };
        assert!(of(&workloads).is_empty());
        workloads.upsert(Arc::new(endpoint_of("b", "10.0.0.2", "shop/cart", &[])));
        workloads.upsert(Arc::new(endpoint_of("a", "10.0.0.1", "shop/cart", &[])));
        workloads.upsert(Arc::new(endpoint_of("c", "10.0.0.3", "shop/other", &[])));
        assert_eq!(of(&workloads), ["a", "b"], "in the order of their uids");

        workloads.upsert(Arc::new(workload("a")));
        assert_eq!(of(&workloads), ["b"], "an update that no longer names it");
        workloads.remove("b");
        assert!(of(&workloads).is_empty());
        assert_eq!(workloads.endpoints.size(), 1, "a service without endpoints takes no room");
    }
}
