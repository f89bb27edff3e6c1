//! One copy of what thousands of workloads have in common.
//!
//! Namespaces, nodes, service accounts, networks: a cluster of 70,000 workloads has a few thousand different ones, and
//! most of a workload's texts are empty. What no snapshot holds any more is forgotten when there is much of it.

use std::collections::HashSet;
use std::sync::Arc;

use engine::mesh::{Identity, MeshSettings, ServiceName};

/// Copies kept before it is looked which of them are still in use.
const LOOK_AFTER_TEXTS: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Interned {
    settings: MeshSettings,
    texts: HashSet<Arc<str>>,
    look_at: usize,
}

impl Interned {
    pub(crate) fn new(settings: MeshSettings) -> Self {
        let texts = HashSet::from([Arc::clone(&settings.cluster_id), Arc::clone(&settings.network)]);
        Self { settings, texts, look_at: LOOK_AFTER_TEXTS }
    }

    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        new
    }

    /// The text, or if it is empty the cluster of this node.
    pub(super) fn cluster(&mut self, text: &str) -> Arc<str> {
        match text {
            "" => Arc::clone(&self.settings.cluster_id),
            named => self.text(named),
        }
    }

    /// What is left out is the mesh's.
    pub(super) fn identity(&mut self, trust_domain: &str, namespace: &str, account: &str) -> Identity {
        let own = self.settings.trust_domain.clone();
        let mut identity = self.settings.identity(trust_domain, namespace, account);
        if identity.trust_domain == own {
            identity.trust_domain = own;
        }
        identity.namespace = self.text(namespace);
        identity.service_account = self.text(&identity.service_account);
        identity
    }

    pub(super) fn service(&mut self, namespace: &str, hostname: &str) -> ServiceName {
        ServiceName { namespace: self.text(namespace), hostname: self.text(hostname) }
    }

    /// To be called now and then.
    pub(super) fn forget_unused(&mut self) {
        if self.texts.len() >= self.look_at {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.look_at = LOOK_AFTER_TEXTS.max(2 * self.texts.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let mut interned = Interned::new(MeshSettings::default());
        assert!(Arc::ptr_eq(&interned.text("shop"), &interned.text("shop")));
        let (one, two) = (interned.identity("", "shop", ""), interned.identity("", "shop", "default"));
        assert_eq!(one.to_string(), "spiffe://cluster.local/ns/shop/sa/default");
        assert!(Arc::ptr_eq(&one.namespace, &two.namespace));
        assert!(Arc::ptr_eq(&one.service_account, &two.service_account));
        assert!(Arc::ptr_eq(&one.namespace, &interned.service("shop", "cart").namespace));
        assert_eq!(&*interned.cluster(""), "Kubernetes");
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let mut interned = Interned::new(MeshSettings::default());
        let held = interned.text("held");
        for number in 0..2 * LOOK_AFTER_TEXTS {
            interned.identity("", &format!("namespace-{number}"), "default");
            interned.service("shop", &format!("host-{number}"));
        }
        interned.forget_unused();
        assert!(interned.texts.len() < 10, "{}", interned.texts.len());
        assert!(Arc::ptr_eq(&held, &interned.text("held")));
    }
}
