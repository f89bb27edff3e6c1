//! The services of a snapshot, and the ways to find one.

use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::claims::Claims;
use super::{NetworkAddress, Service, ServiceName};

#[derive(Clone, Default)]
pub(super) struct Services {
    by_key: HashTrieMapSync<ServiceName, Arc<Service>>,
    by_hostname: Claims<Arc<str>, Service>,
    by_vip: Claims<NetworkAddress, Service>,
    /// Those that have any: few, so that they are looked through one by one.
    with_cidr_vips: RedBlackTreeMapSync<ServiceName, Arc<Service>>,
}

impl Services {
    pub(super) fn by_key(&self, key: &ServiceName) -> Option<&Arc<Service>> {
        self.by_key.get(key)
    }

    /// The service that a client in `namespace` means by a hostname.
    pub(super) fn by_hostname(&self, hostname: &str, namespace: &str) -> Option<&Arc<Service>> {
        Service::preferred(self.by_hostname.of(&Arc::from(hostname)).iter(), namespace)
    }

    /// The service that a client in `namespace` means by an address: one with exactly this address, else one with a
    /// block that holds it.
    pub(super) fn by_address(&self, address: &NetworkAddress, namespace: &str) -> Option<&Arc<Service>> {
        Service::preferred(self.by_vip.of(address).iter(), namespace)
            .or_else(|| self.by_block(address, namespace))
    }

    /// The own namespace counts more than a longer prefix, and that more than being canonical.
    fn by_block(&self, address: &NetworkAddress, namespace: &str) -> Option<&Arc<Service>> {
        let mut best = None;
        for service in self.with_cidr_vips.values().filter(|service| service.visible_to(namespace)) {
            let blocks = service.cidr_vips.iter().filter(|b| b.contains(&address.network, address.ip));
            let Some(length) = blocks.map(|block| block.cidr.prefix_len()).max() else { continue };
            let rank = (*service.key.namespace == *namespace, length, service.canonical);
            if best.is_none_or(|(best_rank, _)| rank > best_rank) {
                best = Some((rank, service));
            }
        }
        best.map(|(_, service)| service)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_key.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.size()
    }

    /// Adds the service, in place of the one with the same key.
    pub(super) fn upsert(&mut self, service: Arc<Service>) {
        self.remove(&service.key);
        self.by_hostname.claim(Arc::clone(&service.key.hostname), &service);
        for vip in &service.vips {
            self.by_vip.claim(vip.clone(), &service);
        }
        if !service.cidr_vips.is_empty() {
            self.with_cidr_vips.insert_mut(service.key.clone(), Arc::clone(&service));
        }
        self.by_key.insert_mut(service.key.clone(), service);
    }

    /// Returns whether there was such a service.
    pub(super) fn remove(&mut self, key: &ServiceName) -> bool {
        let Some(service) = self.by_key.get(key).map(Arc::clone) else { return false };
        self.by_key.remove_mut(key);
        self.by_hostname.release(&service.key.hostname, &service);
        for vip in &service.vips {
            self.by_vip.release(vip, &service);
        }
        self.with_cidr_vips.remove_mut(key);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::fixture::{name, service};
    use super::super::{NetworkCidr, Visibility};
    use super::*;

    fn with(key: &str, vips: &[&str], blocks: &[&str]) -> Service {
        let mut service = service(key);
        service.vips = vips.iter().map(|vip| vip.parse().unwrap()).collect();
        service.cidr_vips = blocks
            .iter()
            .map(|block| NetworkCidr { network: "".into(), cidr: block.parse().unwrap() })
            .collect();
        service
    }

    fn key(found: Option<&Arc<Service>>) -> Option<String> {
        found.map(|service| service.key.to_string())
    }

    #[test]
    fn the_service_of_an_address() {
        let hidden = |mut service: Service| {
            service.visibility = Visibility::Namespace;
            service
        };
        let canonical = |mut service: Service| {
            service.canonical = true;
            service
        };
        let mut services = Services::default();
        for service in [
            with("a/one", &["/10.1.0.1"], &[]),
            with("b/one", &["/10.1.0.1"], &[]),
            canonical(with("c/one", &["/10.1.0.1"], &[])),
            hidden(with("d/secret", &["/10.1.0.2"], &[])),
            with("a/wide", &[], &["10.2.0.0/16"]),
            with("b/narrow", &[], &["10.2.3.0/24", "10.2.0.0/16"]),
            canonical(with("c/narrow", &[], &["10.2.3.0/24"])),
            hidden(with("d/narrowest", &[], &["10.2.3.4/32"])),
            with("e/everything", &[], &["10.1.0.0/16"]),
        ] {
            services.upsert(Arc::new(service));
        }
        struct Case(&'static str, &'static str, &'static str, Option<&'static str>);
        let cases = [
            Case("the client's own", "/10.1.0.1", "b", Some("b/one")),
            Case("else the canonical one", "/10.1.0.1", "z", Some("c/one")),
            Case("hidden, for its own namespace", "/10.1.0.2", "d", Some("d/secret")),
            Case("hidden, so a block is next", "/10.1.0.2", "z", Some("e/everything")),
            Case("another network", "west/10.1.0.1", "b", None),
            Case("the longest prefix, canonical", "/10.2.3.4", "z", Some("c/narrow")),
            Case("the own namespace before a longer prefix", "/10.2.3.4", "a", Some("a/wide")),
            Case("a hidden block, for its own namespace", "/10.2.3.4", "d", Some("d/narrowest")),
            Case("the same length twice: the first key", "/10.2.9.9", "z", Some("a/wide")),
            Case("no block", "/10.3.0.1", "a", None),
            Case("another family", "/::1", "a", None),
        ];
        for Case(says, address, namespace, expected) in cases {
            let found = key(services.by_address(&address.parse().unwrap(), namespace));
            assert_eq!(found.as_deref(), expected, "{says}");
        }
    }

    #[test]
    fn an_update_moves_every_index() {
        let mut services = Services::default();
        services.upsert(Arc::new(with("a/one", &["/10.1.0.1"], &["10.2.0.0/16"])));
        let at = |services: &Services, ip: &str| key(services.by_address(&ip.parse().unwrap(), "a"));
        assert_eq!(at(&services, "/10.1.0.1").as_deref(), Some("a/one"));

        services.upsert(Arc::new(with("a/one", &["/10.1.0.9"], &[])));
        assert_eq!(at(&services, "/10.1.0.1"), None);
        assert_eq!(at(&services, "/10.2.0.1"), None);
        assert_eq!(at(&services, "/10.1.0.9").as_deref(), Some("a/one"));
        assert_eq!(key(services.by_hostname("one", "z")).as_deref(), Some("a/one"));
        assert_eq!(services.len(), 1);

        assert!(services.remove(&name("a/one")));
        assert!(!services.remove(&name("a/one")));
        assert_eq!(at(&services, "/10.1.0.9"), None);
        assert_eq!(key(services.by_hostname("one", "a")), None);
    }

    #[test]
    fn a_hostname_in_two_namespaces_is_two_services() {
        let mut services = Services::default();
        services.upsert(Arc::new(service("a/api.example.com")));
        services.upsert(Arc::new(service("b/api.example.com")));
        let of = |namespace| key(services.by_hostname("api.example.com", namespace));
        assert_eq!(of("b").as_deref(), Some("b/api.example.com"));
        assert_eq!(of("z").as_deref(), Some("a/api.example.com"));
        assert!(services.by_key(&name("a/api.example.com")).is_some());
    }
}
