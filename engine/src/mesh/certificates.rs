//! The certificates of a snapshot, by who may use them.

use std::sync::Arc;

use rpds::HashTrieMapSync;

use super::Identity;
use crate::tls::Credentials;

/// Who may use a certificate: every pod of an identity, or one of them only.
///
/// A certificate authority that takes our word issues one for all pods of a service account. One that looks at each
/// process itself (SPIRE, attesting by process id) vouches for that pod and no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    pub identity: Identity,
    /// The pod's uid; `None` for all of them.
    pub pod: Option<Arc<str>>,
}

#[derive(Clone, Default)]
pub(super) struct Certificates {
    by_identity: HashTrieMapSync<Identity, OfIdentity>,
}

#[derive(Clone, Default)]
struct OfIdentity {
    of_all: Option<Arc<Credentials>>,
    of_pods: HashTrieMapSync<Arc<str>, Arc<Credentials>>,
}

// === impl Holder ===

impl Holder {
    /// All pods of an identity.
    pub fn all_of(identity: Identity) -> Self {
        Self { identity, pod: None }
    }
}

// === impl Certificates ===

impl Certificates {
    /// The pod's own, else that of all pods of the identity.
    pub(super) fn of(&self, identity: &Identity, pod_uid: &str) -> Option<&Arc<Credentials>> {
        let held = self.by_identity.get(identity)?;
        held.of_pods.get(pod_uid).or(held.of_all.as_ref())
    }

    pub(super) fn upsert(&mut self, holder: Holder, credentials: Arc<Credentials>) {
        let mut held = self.by_identity.get(&holder.identity).cloned().unwrap_or_default();
        match holder.pod {
            Some(pod) => held.of_pods.insert_mut(pod, credentials),
            None => held.of_all = Some(credentials),
        }
        self.by_identity.insert_mut(holder.identity, held);
    }

    /// Returns whether there was one.
    pub(super) fn remove(&mut self, holder: &Holder) -> bool {
        let Some(held) = self.by_identity.get_mut(&holder.identity) else { return false };
        let removed = match &holder.pod {
            Some(pod) => held.of_pods.remove_mut(pod),
            None => held.of_all.take().is_some(),
        };
        if held.is_empty() {
            self.by_identity.remove_mut(&holder.identity);
        }
        removed
    }

    /// What exactly this holder was given.
    pub(super) fn get(&self, holder: &Holder) -> Option<&Arc<Credentials>> {
        let held = self.by_identity.get(&holder.identity)?;
        match &holder.pod {
            Some(pod) => held.of_pods.get(pod),
            None => held.of_all.as_ref(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Holder, &Arc<Credentials>)> {
        self.by_identity.iter().flat_map(|(identity, held)| {
            let of_all = held.of_all.iter().map(|credentials| (None, credentials));
            let of_pods = held.of_pods.iter().map(|(pod, credentials)| (Some(Arc::clone(pod)), credentials));
            of_all
                .chain(of_pods)
                .map(|(pod, credentials)| (Holder { identity: identity.clone(), pod }, credentials))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.by_identity.values().map(OfIdentity::len).sum()
    }
}

impl OfIdentity {
    fn len(&self) -> usize {
        self.of_pods.size() + usize::from(self.of_all.is_some())
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::identity;
    use super::*;
    use crate::relay::tests::fixture::credentials;

    const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";
    const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

    #[test]
    fn a_pod_uses_its_own_certificate_else_that_of_all_and_never_that_of_another_pod() {
        let [first, second] = credentials();
        let of = |pod: &str| Holder { identity: identity(CART), pod: Some(pod.into()) };
        let all = Holder::all_of(identity(CART));
        let mut certificates = Certificates::default();
        let gets = |certificates: &Certificates, account: &str, pod: &str| {
            let found = certificates.of(&identity(account), pod)?;
            Some(if Arc::ptr_eq(found, first) { "first" } else { "second" })
        };

        certificates.upsert(of("pod-1"), Arc::clone(first));
        assert_eq!(gets(&certificates, CART, "pod-1"), Some("first"));
        assert_eq!(gets(&certificates, CART, "pod-2"), None, "it was attested for another pod");
        assert_eq!(gets(&certificates, WEB, "pod-1"), None, "it is of another identity");

        let before = certificates.clone();
        certificates.upsert(all.clone(), Arc::clone(second));
        assert_eq!(gets(&certificates, CART, "pod-1"), Some("first"));
        assert_eq!(gets(&certificates, CART, "pod-2"), Some("second"));
        assert_eq!(gets(&before, CART, "pod-2"), None, "a clone is a snapshot");
        assert_eq!(certificates.len(), 2);

        assert!(certificates.remove(&of("pod-1")));
        assert!(!certificates.remove(&of("pod-1")));
        assert_eq!(gets(&certificates, CART, "pod-1"), Some("second"));
        assert!(certificates.remove(&all));
        assert!(!certificates.remove(&all));
        assert!(certificates.by_identity.is_empty(), "nothing is left of who holds nothing");
    }
}
