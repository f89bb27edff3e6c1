//! A policy as a control plane sends it.
//!
//! Invariant: a policy is read whole or not at all. A condition that is skipped turns a policy that denies one thing
//! into one that denies nothing, and a policy that is left out lets in everybody: one that lets in nobody stands in for
//! it.

use std::sync::Arc;

use engine::mesh::{Action, Clause, Match, Policy, Rule, Scope, ServiceAccount, StringMatch, Values};
use ipnet::IpNet;
use proto::security::string_match::MatchType;
use proto::security::{self as message};
use tracing::warn;

use super::unread::Unread;
use super::values::{block, known, port};
use crate::local::refuse_unsound;

pub(super) fn read(policy: message::Authorization) -> Result<Policy, Unread<Policy>> {
    let instead = stand_in(&policy).map(Box::new);
    whole(policy).map_err(|problem| Unread { problem, instead })
}

fn whole(policy: message::Authorization) -> Result<Policy, String> {
    refuse_extensions(&policy.extensions)?;
    let policy = Policy {
        name: Arc::from(policy.name),
        namespace: Arc::from(policy.namespace),
        scope: match known("scope", policy.scope)? {
            message::Scope::Global => Scope::Global,
            message::Scope::Namespace => Scope::Namespace,
            message::Scope::WorkloadSelector => Scope::WorkloadSelector,
        },
        action: match known("action", policy.action)? {
            message::Action::Allow => Action::Allow,
            message::Action::Deny => Action::Deny,
        },
        rules: each(policy.rules, |rule| {
            Ok(Rule {
                clauses: each(rule.clauses, |clause| {
                    Ok(Clause { matches: each(clause.matches, condition)? })
                })?,
            })
        })?,
        dry_run: policy.dry_run,
    };
    refuse_unsound(&policy)?;
    Ok(policy)
}

/// Lets nobody in whom the policy may be about: allows nothing, or denies everything.
fn stand_in(policy: &message::Authorization) -> Option<Policy> {
    let scope = match message::Scope::try_from(policy.scope) {
        Ok(message::Scope::Global) => Scope::Global,
        Ok(message::Scope::WorkloadSelector) => Scope::WorkloadSelector,
        // Who it may be meant for are those of its namespace, all of them at most.
        Ok(message::Scope::Namespace) | Err(_) => Scope::Namespace,
    };
    let (action, rules) = match message::Action::try_from(policy.action) {
        Ok(message::Action::Deny) => (Action::Deny, vec![Rule { clauses: Vec::new() }]),
        Ok(message::Action::Allow) | Err(_) => (Action::Allow, Vec::new()),
    };
    let (name, namespace) = (Arc::from(&*policy.name), Arc::from(&*policy.namespace));
    let policy = Policy { name, namespace, scope, action, rules, dry_run: policy.dry_run };
    refuse_unsound(&policy).is_ok().then_some(policy)
}

fn condition(found: message::Match) -> Result<Match, String> {
    refuse_extensions(&found.extensions)?;
    Ok(Match {
        namespaces: values(found.namespaces, found.not_namespaces, text)?,
        principals: values(found.principals, found.not_principals, principal)?,
        service_accounts: values(found.service_accounts, found.not_service_accounts, account)?,
        source_ips: values(found.source_ips, found.not_source_ips, addresses)?,
        destination_ips: values(found.destination_ips, found.not_destination_ips, addresses)?,
        destination_ports: values(found.destination_ports, found.not_destination_ports, port)?,
    })
}

fn values<M, T>(
    any_of: Vec<M>,
    none_of: Vec<M>,
    read: impl Fn(M) -> Result<T, String> + Copy,
) -> Result<Values<T>, String> {
    Ok(Values { any_of: each(any_of, read)?, none_of: each(none_of, read)? })
}

fn each<M, T>(messages: Vec<M>, read: impl FnMut(M) -> Result<T, String>) -> Result<Vec<T>, String> {
    messages.into_iter().map(read).collect()
}

fn text(found: message::StringMatch) -> Result<StringMatch, String> {
    match found.match_type {
        Some(MatchType::Exact(text)) => Ok(StringMatch::Exact(text.into())),
        Some(MatchType::Prefix(text)) => Ok(StringMatch::Prefix(text.into())),
        Some(MatchType::Suffix(text)) => Ok(StringMatch::Suffix(text.into())),
        Some(MatchType::Presence(_)) => Ok(StringMatch::Presence),
        None => Err("a text is compared in a way we do not know".to_owned()),
    }
}

/// Principals are compared without their scheme: ztunnel's is a text that somebody may have written with it.
fn principal(found: message::StringMatch) -> Result<StringMatch, String> {
    let bare = |text: Arc<str>| match text.strip_prefix("spiffe://") {
        Some(rest) => {
            warn!(principal = &*text, "a policy names a principal with its scheme; it is taken without");
            Arc::from(rest)
        }
        None => text,
    };
    Ok(match text(found)? {
        StringMatch::Exact(text) => StringMatch::Exact(bare(text)),
        StringMatch::Prefix(text) => StringMatch::Prefix(bare(text)),
        other => other,
    })
}

/// Each is a condition that nobody here can judge.
fn refuse_extensions(extensions: &[message::Extension]) -> Result<(), String> {
    match extensions.first() {
        Some(extension) => {
            Err(format!("it needs the extension {}, which this proxy does not have", extension.name))
        }
        None => Ok(()),
    }
}

fn addresses(found: message::Address) -> Result<IpNet, String> {
    block(&found.address, found.length)
}

fn account(found: message::ServiceAccountMatch) -> Result<ServiceAccount, String> {
    Ok(ServiceAccount { namespace: found.namespace.into(), name: found.service_account.into() })
}

#[cfg(test)]
mod tests;
