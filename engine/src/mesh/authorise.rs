//! Whether a connection to a workload may be made.
//!
//! A policy that denies it decides; else, where no policy allows anything, it is allowed; else one that allows it is
//! needed. A policy in dry run decides nothing: what it would have done is reported beside the verdict.
//!
//! Invariant: a policy that selects the workload but is not known denies a connection that wants to be made. The control plane may be about to send it,
//! or may have sent one that was refused; either way nobody can say what it forbids.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use thiserror::Error;

use super::policy::Facts;
use super::{Action, Identity, Policy, Snapshot, Workload};

/// A connection that has come in.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// The peer's verified identity; none where the connection is plain.
    pub identity: Option<&'a Identity>,
    pub source: IpAddr,
    /// Where the application would get it: not the proxy's own port.
    pub destination: SocketAddr,
    /// The workload it is for.
    pub workload: &'a Workload,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub decision: Decision,
    /// What policies in dry run would have done. Empty where there are none.
    pub dry_run: Vec<DryRun>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow {
        /// The policy that allows it, `namespace/name`; none where no policy was needed.
        policy: Option<Arc<str>>,
    },
    Deny(Denial),
}

/// Why a connection is denied. Policies are named `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denial {
    #[error("policy {policy} denies it")]
    Denied { policy: Arc<str> },
    #[error("there are policies that allow connections to this workload, and none of them allows this one")]
    NotAllowed,
    #[error("policy {policy} selects this workload but has not arrived, or was refused when it did")]
    UnknownPolicy { policy: Arc<str> },
}

/// What a policy in dry run would have done. Policies are named `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DryRun {
    #[error("policy {policy} would deny it")]
    WouldDeny { policy: Arc<str> },
    #[error("policy {policy} would allow it")]
    WouldAllow { policy: Arc<str> },
    #[error("it would be denied, because none of the policies in dry run allows it")]
    NoneWouldAllow,
}

/// A policy that applies to a workload, and what it says of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `namespace/name`
    pub policy: Arc<str>,
    /// None where the workload names the policy and it is not known.
    pub known: Option<Found>,
}

/// What a policy that is known says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub action: Action,
    pub dry_run: bool,
    /// One of its rules describes the connection.
    pub matches: bool,
}

/// Every policy that has a say in a connection, in the order in which [`authorise`] asks them, for whoever wants to know
/// why it decides as it does.
pub fn examine(snapshot: &Snapshot, inbound: &Inbound<'_>) -> Vec<Finding> {
    let principal = inbound.identity.map(ToString::to_string);
    let facts = inbound.facts(principal.as_deref());
    let finding = |found: Result<&Arc<Policy>, &Arc<str>>| match found {
        Ok(policy) => {
            let Policy { action, dry_run, .. } = **policy;
            let known = Some(Found { action, dry_run, matches: policy.matches(&facts) });
            Finding { policy: policy.key(), known }
        }
        Err(key) => Finding { policy: Arc::clone(key), known: None },
    };
    snapshot.policies.that_apply_to(inbound.workload).map(finding).collect()
}

/// Decides about a connection that wants to be made.
pub fn authorise(snapshot: &Snapshot, inbound: &Inbound<'_>) -> Verdict {
    decide(snapshot, inbound, true)
}

/// Decides about one that exists, when the policies have changed: those that are not known have no say.
pub fn authorise_by_known(snapshot: &Snapshot, inbound: &Inbound<'_>) -> Verdict {
    decide(snapshot, inbound, false)
}

fn decide(snapshot: &Snapshot, inbound: &Inbound<'_>, unknown_denies: bool) -> Verdict {
    let principal = inbound.identity.map(ToString::to_string);
    let facts = inbound.facts(principal.as_deref());

    let mut dry_run = Vec::new();
    let mut denied_by = None;
    let mut unknown = None;
    let mut allow = Asked::default();
    let mut allow_in_dry_run = Asked::default();
    for found in snapshot.policies.that_apply_to(inbound.workload) {
        let policy = match found {
            Ok(policy) => policy,
            Err(key) if unknown_denies => {
                unknown.get_or_insert(key);
                continue;
            }
            Err(_) => continue,
        };
        let matches = policy.matches(&facts);
        match (policy.action, policy.dry_run) {
            (Action::Deny, false) if matches => _ = denied_by.get_or_insert(policy),
            (Action::Deny, true) if matches => dry_run.push(DryRun::WouldDeny { policy: policy.key() }),
            (Action::Deny, _) => {}
            (Action::Allow, false) => allow.note(matches.then_some(policy)),
            (Action::Allow, true) => {
                allow_in_dry_run.note(matches.then_some(policy));
                if matches {
                    dry_run.push(DryRun::WouldAllow { policy: policy.key() });
                }
            }
        }
    }
    if !allow.any && allow_in_dry_run.any && allow_in_dry_run.first.is_none() {
        dry_run.push(DryRun::NoneWouldAllow);
    }

    let decision = match (denied_by, unknown) {
        (Some(policy), _) => Decision::Deny(Denial::Denied { policy: policy.key() }),
        (None, Some(key)) => Decision::Deny(Denial::UnknownPolicy { policy: Arc::clone(key) }),
        (None, None) if allow.any && allow.first.is_none() => Decision::Deny(Denial::NotAllowed),
        (None, None) => Decision::Allow { policy: allow.first.map(|policy| policy.key()) },
    };
    Verdict { decision, dry_run }
}

// === impl Denial ===

impl Denial {
    /// The policy that decided; none where all of them together did.
    pub fn policy(&self) -> Option<&Arc<str>> {
        match self {
            Self::Denied { policy } | Self::UnknownPolicy { policy } => Some(policy),
            Self::NotAllowed => None,
        }
    }
}

// === impl Inbound ===

impl<'a> Inbound<'a> {
    /// What policies look at. `principal` is the identity as text.
    fn facts(&self, principal: Option<&'a str>) -> Facts<'a> {
        Facts {
            identity: self.identity,
            principal: principal.and_then(|text| text.strip_prefix("spiffe://")),
            source: self.source.to_canonical(),
            destination: SocketAddr::new(self.destination.ip().to_canonical(), self.destination.port()),
        }
    }
}

/// Whether there were policies of a kind, and the first that matched.
#[derive(Default)]
struct Asked<'p> {
    any: bool,
    first: Option<&'p Policy>,
}

impl<'p> Asked<'p> {
    fn note(&mut self, matched: Option<&'p Arc<Policy>>) {
        self.any = true;
        self.first = self.first.or_else(|| matched.map(Arc::as_ref));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::fixture::{identity, policy, rule, workload};
    use super::super::{Match, Rule, Scope, Values};
    use super::*;

    const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

    /// A policy of the workload's namespace that matches, or does not.
    fn of(name: &str, action: Action, matches: bool, dry_run: bool) -> Policy {
        let rules = if matches { vec![Rule::default()] } else { Vec::new() };
        Policy { rules, dry_run, ..policy(name, "shop", Scope::Namespace, action) }
    }

    fn ask(policies: Vec<Policy>, selected: &[&str]) -> Verdict {
        let mut snapshot = Snapshot::default();
        for policy in policies {
            snapshot.upsert_policy(Arc::new(policy));
        }
        let mut pod = workload("cart-1");
        pod.authorization_policies = selected.iter().map(|key| Arc::from(*key)).collect();
        authorise(
            &snapshot,
            &Inbound {
                identity: Some(&identity(CART)),
                source: "10.0.0.1".parse().unwrap(),
                destination: "10.0.0.2:8080".parse().unwrap(),
                workload: &pod,
            },
        )
    }

    #[test]
    fn deny_comes_first_and_allow_is_needed_once_there_is_one() {
        use Action::{Allow, Deny};
        let denied = |policy: &str| Decision::Deny(Denial::Denied { policy: policy.into() });
        let unknown = |policy: &str| Decision::Deny(Denial::UnknownPolicy { policy: policy.into() });
        let not_allowed = || Decision::Deny(Denial::NotAllowed);
        let allowed = |policy: Option<&str>| Decision::Allow { policy: policy.map(Arc::from) };
        let cases: Vec<(&str, Vec<Policy>, &[&str], Decision)> = vec![
            ("no policy at all", vec![], &[], allowed(None)),
            ("one denies", vec![of("d", Deny, true, false)], &[], denied("shop/d")),
            ("one would deny another", vec![of("d", Deny, false, false)], &[], allowed(None)),
            ("one allows", vec![of("a", Allow, true, false)], &[], allowed(Some("shop/a"))),
            ("one allows another", vec![of("a", Allow, false, false)], &[], not_allowed()),
            (
                "one of two allows",
                vec![of("a", Allow, false, false), of("b", Allow, true, false)],
                &[],
                allowed(Some("shop/b")),
            ),
            (
                "deny before allow",
                vec![of("a", Allow, true, false), of("d", Deny, true, false)],
                &[],
                denied("shop/d"),
            ),
            (
                "the first of two that deny",
                vec![of("e", Deny, true, false), of("d", Deny, true, false)],
                &[],
                denied("shop/d"),
            ),
            ("a deny in dry run decides nothing", vec![of("d", Deny, true, true)], &[], allowed(None)),
            ("an allow in dry run is not one", vec![of("a", Allow, false, true)], &[], allowed(None)),
            (
                "nor does it allow",
                vec![of("a", Allow, false, false), of("b", Allow, true, true)],
                &[],
                not_allowed(),
            ),
            ("a selected one that is missing", vec![], &["shop/x", "shop/y"], unknown("shop/x")),
            ("although another allows", vec![of("a", Allow, true, false)], &["shop/x"], unknown("shop/x")),
            (
                "unless one that is there denies",
                vec![of("d", Deny, true, false)],
                &["shop/x"],
                denied("shop/d"),
            ),
        ];
        for (says, policies, selected, expected) in cases {
            assert_eq!(ask(policies, selected).decision, expected, "{says}");
        }
    }

    #[test]
    fn a_policy_reaches_the_workloads_of_its_scope_only() {
        let deny = |scope, namespace| Policy {
            rules: vec![Rule::default()],
            ..policy("d", namespace, scope, Action::Deny)
        };
        let denied =
            |policy, selected: &[&str]| matches!(ask(vec![policy], selected).decision, Decision::Deny(_));
        assert!(denied(deny(Scope::Global, "istio-system"), &[]));
        assert!(denied(deny(Scope::Namespace, "shop"), &[]));
        assert!(!denied(deny(Scope::Namespace, "bank"), &[]));
        assert!(denied(deny(Scope::WorkloadSelector, "shop"), &["shop/d"]));
        assert!(!denied(deny(Scope::WorkloadSelector, "shop"), &[]));
    }

    #[test]
    fn dry_runs_are_reported() {
        use Action::{Allow, Deny};
        let deny = || DryRun::WouldDeny { policy: "shop/d".into() };
        let allow = || DryRun::WouldAllow { policy: "shop/b".into() };
        let cases: Vec<(&str, Vec<Policy>, Vec<DryRun>)> = vec![
            ("none", vec![of("a", Allow, false, false)], vec![]),
            ("one would deny", vec![of("d", Deny, true, true)], vec![deny()]),
            ("one would not", vec![of("d", Deny, false, true)], vec![]),
            ("one would allow", vec![of("b", Allow, true, true)], vec![allow()]),
            ("the only one would not", vec![of("b", Allow, false, true)], vec![DryRun::NoneWouldAllow]),
            (
                "one would not, but an enforced one allows",
                vec![of("a", Allow, true, false), of("b", Allow, false, true)],
                vec![],
            ),
            (
                "even if the verdict is no",
                vec![of("c", Deny, true, false), of("d", Deny, true, true), of("b", Allow, true, true)],
                vec![allow(), deny()],
            ),
        ];
        for (says, policies, expected) in cases {
            assert_eq!(ask(policies, &[]).dry_run, expected, "{says}");
        }
    }

    #[test]
    fn every_policy_that_has_a_say_is_named_with_what_it_says() {
        use Action::{Allow, Deny};
        let known = |name: &str, action, matches, dry_run| Finding {
            policy: format!("shop/{name}").into(),
            known: Some(Found { action, dry_run, matches }),
        };
        let policies =
            || vec![of("a", Allow, false, false), of("b", Allow, true, true), of("d", Deny, true, false)];
        let mut snapshot = Snapshot::default();
        for policy in policies() {
            snapshot.upsert_policy(Arc::new(policy));
        }
        snapshot.upsert_policy(Arc::new(policy("other", "bank", Scope::Namespace, Deny)));
        let mut pod = workload("cart-1");
        pod.authorization_policies = vec!["shop/late".into()];
        let inbound = Inbound {
            identity: Some(&identity(CART)),
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2:8080".parse().unwrap(),
            workload: &pod,
        };
        let expected = [
            known("a", Allow, false, false),
            known("b", Allow, true, true),
            known("d", Deny, true, false),
            Finding { policy: "shop/late".into(), known: None },
        ];
        assert_eq!(examine(&snapshot, &inbound), expected);
    }

    #[test]
    fn mapped_addresses_are_matched_as_what_they_are() {
        let mut snapshot = Snapshot::default();
        let sources = Values { any_of: vec!["10.0.0.0/24".parse().unwrap()], ..Values::default() };
        let destinations = Values { any_of: vec!["10.0.1.0/24".parse().unwrap()], ..Values::default() };
        let condition = Match { source_ips: sources, destination_ips: destinations, ..Match::default() };
        let deny = policy("d", "shop", Scope::Namespace, Action::Deny);
        snapshot.upsert_policy(Arc::new(Policy { rules: vec![rule(condition)], ..deny }));
        let verdict = authorise(
            &snapshot,
            &Inbound {
                identity: None,
                source: "::ffff:10.0.0.1".parse().unwrap(),
                destination: "[::ffff:10.0.1.2]:8080".parse().unwrap(),
                workload: &workload("cart-1"),
            },
        );
        assert_eq!(verdict.decision, Decision::Deny(Denial::Denied { policy: "shop/d".into() }));
    }
}
