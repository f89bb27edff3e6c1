//! Authorization policies, and what it means that one matches a connection.
//!
//! A policy is a list of rules, a rule a list of clauses, a clause a list of matches. One rule is enough, and it needs
//! all of its clauses; a clause needs one of its matches, and a match all of its fields; a field needs one of its
//! values and none of its negated ones. A list that is empty is no condition, with two exceptions that keep a policy
//! from matching everything by accident: a policy without rules matches nothing, and a match without a single value is
//! not there at all.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::Identity;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub scope: Scope,
    pub action: Action,
    pub rules: Vec<Rule>,
    /// Report what it would have decided, and decide nothing.
    pub dry_run: bool,
}

/// Which workloads a policy applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Global,
    /// Those of its own namespace.
    Namespace,
    /// Those that name it in their `authorization_policies`.
    WorkloadSelector,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Allow,
    Deny,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub clauses: Vec<Clause>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clause {
    pub matches: Vec<Match>,
}

/// Conditions on one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Of the peer's identity.
    pub namespaces: Values<StringMatch>,
    /// The peer's identity, without `spiffe://`.
    pub principals: Values<StringMatch>,
    pub service_accounts: Values<ServiceAccount>,
    pub source_ips: Values<IpNet>,
    pub destination_ips: Values<IpNet>,
    pub destination_ports: Values<u16>,
}

/// The values of one field, and its negated ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values<T> {
    pub any_of: Vec<T>,
    pub none_of: Vec<T>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    Exact(Arc<str>),
    Prefix(Arc<str>),
    Suffix(Arc<str>),
    /// Anything but nothing.
    Presence,
}

/// A service account of any trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// What is known of a connection when policies are asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// The peer's verified identity; none where the connection is plain.
    pub(super) identity: Option<&'a Identity>,
    /// The same as text, without `spiffe://`.
    pub(super) principal: Option<&'a str>,
    pub(super) source: IpAddr,
    pub(super) destination: SocketAddr,
}

// === impl Policy ===

impl Policy {
    /// `namespace/name`
    pub fn key(&self) -> Arc<str> {
        Arc::from(format!("{}/{}", self.namespace, self.name))
    }

    pub(super) fn matches(&self, facts: &Facts<'_>) -> bool {
        self.rules.iter().any(|rule| rule.clauses.iter().all(|clause| clause.holds(facts)))
    }
}

// === impl Clause ===

impl Clause {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        self.matches.is_empty() || self.matches.iter().any(|condition| condition.holds(facts))
    }
}

// === impl Match ===

impl Match {
    /// Without a single value it does not hold, for it is not there.
    fn holds(&self, facts: &Facts<'_>) -> bool {
        let Facts { identity, principal, source, destination } = *facts;
        // A plain connection has the empty namespace, and no principal at all.
        let namespace = identity.map_or("", |identity| &identity.namespace);
        !self.is_empty()
            && self.destination_ips.hold(|block| block.contains(&destination.ip()))
            && self.source_ips.hold(|block| block.contains(&source))
            && self.destination_ports.hold(|port| *port == destination.port())
            && self.service_accounts.hold(|account| identity.is_some_and(|peer| account.is_of(peer)))
            && self.principals.hold(|pattern| principal.is_some_and(|peer| pattern.matches(peer)))
            && self.namespaces.hold(|pattern| pattern.matches(namespace))
    }

    fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
            && self.principals.is_empty()
            && self.service_accounts.is_empty()
            && self.source_ips.is_empty()
            && self.destination_ips.is_empty()
            && self.destination_ports.is_empty()
    }
}

// === impl Values ===

impl<T> Values<T> {
    fn hold(&self, is: impl Fn(&T) -> bool) -> bool {
        (self.any_of.is_empty() || self.any_of.iter().any(&is)) && !self.none_of.iter().any(&is)
    }

    fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.none_of.is_empty()
    }
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self { any_of: Vec::new(), none_of: Vec::new() }
    }
}

// === impl StringMatch ===

impl StringMatch {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == &**exact,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Presence => !text.is_empty(),
        }
    }
}

// === impl ServiceAccount ===

impl ServiceAccount {
    fn is_of(&self, identity: &Identity) -> bool {
        self.namespace == identity.namespace && self.name == identity.service_account
    }
}

#[cfg(test)]
mod tests;
