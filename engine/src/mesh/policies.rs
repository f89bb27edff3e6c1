//! The policies of a snapshot, by what they apply to.

use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::{Policy, Scope, Workload};

/// By key. Ordered, so that the same connection always names the same policy.
type Ordered = RedBlackTreeMapSync<Arc<str>, Arc<Policy>>;

#[derive(Clone, Default)]
pub(super) struct Policies {
    by_key: HashTrieMapSync<Arc<str>, Arc<Policy>>,
    global: Ordered,
    by_namespace: HashTrieMapSync<Arc<str>, Ordered>,
    /// Another one after each change; clones share it.
    edition: Arc<()>,
}

impl Policies {
    pub(super) fn by_key(&self, key: &str) -> Option<&Arc<Policy>> {
        self.by_key.get(key)
    }

    /// The policies of the workload's namespace, the global ones, and those that select it by name; `Err` holds the
    /// key of one that selects it but is not known.
    pub(super) fn that_apply_to<'p>(
        &'p self,
        workload: &'p Workload,
    ) -> impl Iterator<Item = Result<&'p Arc<Policy>, &'p Arc<str>>> {
        let of_namespace = self.by_namespace.get(workload.namespace());
        let selected = workload.authorization_policies.iter().map(|key| self.by_key.get(key).ok_or(key));
        of_namespace.into_iter().flat_map(Ordered::values).chain(self.global.values()).map(Ok).chain(selected)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.by_key.values()
    }

    /// Nothing was changed between the two.
    pub(super) fn are_those_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.edition, &other.edition)
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.size()
    }

    /// Adds the policy, in place of the one with the same key.
    pub(super) fn upsert(&mut self, policy: Arc<Policy>) {
        let key = policy.key();
        if self.by_key.get(&key) == Some(&policy) {
            return;
        }
        self.remove(&key);
        self.edition = Arc::default();
        match policy.scope {
            Scope::Global => self.global.insert_mut(Arc::clone(&key), Arc::clone(&policy)),
            Scope::Namespace => match self.by_namespace.get_mut(&policy.namespace) {
                Some(policies) => policies.insert_mut(Arc::clone(&key), Arc::clone(&policy)),
                None => self.by_namespace.insert_mut(
                    Arc::clone(&policy.namespace),
                    Ordered::default().insert(Arc::clone(&key), Arc::clone(&policy)),
                ),
            },
            Scope::WorkloadSelector => {}
        }
        self.by_key.insert_mut(key, policy);
    }

    /// Returns whether there was such a policy.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let Some(policy) = self.by_key.get(key).map(Arc::clone) else { return false };
        self.edition = Arc::default();
        self.by_key.remove_mut(key);
        self.global.remove_mut(key);
        if let Some(policies) = self.by_namespace.get_mut(&policy.namespace) {
            policies.remove_mut(key);
            if policies.is_empty() {
                self.by_namespace.remove_mut(&policy.namespace);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{policy, workload};
    use super::super::{Action, Scope};
    use super::*;

    fn of(policies: &Policies, workload: &Workload) -> Vec<String> {
        policies
            .that_apply_to(workload)
            .map(|found| match found {
                Ok(policy) => policy.key().to_string(),
                Err(key) => format!("unknown {key}"),
            })
            .collect()
    }

    #[test]
    fn a_policy_applies_by_its_scope() {
        let mut policies = Policies::default();
        for (name, namespace, scope) in [
            ("global", "istio-system", Scope::Global),
            ("mine", "shop", Scope::Namespace),
            ("theirs", "bank", Scope::Namespace),
            ("selected", "shop", Scope::WorkloadSelector),
            ("unselected", "shop", Scope::WorkloadSelector),
        ] {
            policies.upsert(Arc::new(policy(name, namespace, scope, Action::Allow)));
        }
        let mut pod = workload("cart-1");
        pod.authorization_policies = vec!["shop/selected".into(), "shop/late".into()];
        assert_eq!(
            of(&policies, &pod),
            ["shop/mine", "istio-system/global", "shop/selected", "unknown shop/late"]
        );
    }

    #[test]
    fn every_change_is_seen_and_a_repetition_is_none() {
        let mut policies = Policies::default();
        let allow = || Arc::new(policy("p", "shop", Scope::Namespace, Action::Allow));
        let mut before = policies.clone();
        let mut changed = |policies: &Policies| {
            let changed = !policies.are_those_of(&before);
            before = policies.clone();
            changed
        };
        assert!(!changed(&policies));
        policies.upsert(allow());
        assert!(changed(&policies));
        policies.upsert(allow());
        assert!(!changed(&policies), "the same again");
        policies.upsert(Arc::new(policy("p", "shop", Scope::Namespace, Action::Deny)));
        assert!(changed(&policies));
        policies.remove("shop/other");
        assert!(!changed(&policies));
        policies.remove("shop/p");
        assert!(changed(&policies));
    }

    #[test]
    fn an_update_may_change_the_scope() {
        let mut policies = Policies::default();
        let pod = workload("cart-1");
        policies.upsert(Arc::new(policy("p", "shop", Scope::Namespace, Action::Allow)));
        assert_eq!(of(&policies, &pod), ["shop/p"]);
        policies.upsert(Arc::new(policy("p", "shop", Scope::WorkloadSelector, Action::Allow)));
        assert!(of(&policies, &pod).is_empty());
        policies.upsert(Arc::new(policy("p", "shop", Scope::Global, Action::Allow)));
        assert_eq!(of(&policies, &pod), ["shop/p"]);
        assert_eq!(policies.len(), 1);

        assert!(policies.remove("shop/p"));
        assert!(!policies.remove("shop/p"));
        assert!(of(&policies, &pod).is_empty());
        assert!(policies.by_namespace.is_empty(), "a namespace without policies takes no room");
    }
}
