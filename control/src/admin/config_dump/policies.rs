//! Policies, as the dump has them.

use engine::mesh::{Action, Match, Policy, Scope, StringMatch, Values};
use ipnet::IpNet;
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyDump<'p> {
    name: &'p str,
    namespace: &'p str,
    scope: &'static str,
    action: &'static str,
    /// Rules of clauses of matches.
    rules: Vec<Vec<Vec<MatchDump<'p>>>>,
    dry_run: bool,
}

/// Lists that are empty are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MatchDump<'p> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<StringDump<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_namespaces: Vec<StringDump<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    principals: Vec<StringDump<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_principals: Vec<StringDump<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_accounts: Vec<AccountDump<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_service_accounts: Vec<AccountDump<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_ips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_source_ips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    destination_ips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_destination_ips: Vec<String>,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    destination_ports: &'p [u16],
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    not_destination_ports: &'p [u16],
}

#[derive(Debug, Serialize)]
enum StringDump<'p> {
    Exact(&'p str),
    Prefix(&'p str),
    Suffix(&'p str),
    Presence(()),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountDump<'p> {
    namespace: &'p str,
    service_account: &'p str,
}

pub(super) fn policy(policy: &Policy) -> PolicyDump<'_> {
    let rules = policy.rules.iter().map(|rule| {
        let clauses = rule.clauses.iter();
        clauses.map(|clause| clause.matches.iter().map(condition).collect()).collect()
    });
    PolicyDump {
        name: &policy.name,
        namespace: &policy.namespace,
        scope: match policy.scope {
            Scope::Global => "Global",
            Scope::Namespace => "Namespace",
            Scope::WorkloadSelector => "WorkloadSelector",
        },
        action: match policy.action {
            Action::Allow => "Allow",
            Action::Deny => "Deny",
        },
        rules: rules.collect(),
        dry_run: policy.dry_run,
    }
}

fn condition(condition: &Match) -> MatchDump<'_> {
    let (namespaces, not_namespaces) = both(&condition.namespaces, pattern);
    let (principals, not_principals) = both(&condition.principals, pattern);
    let (service_accounts, not_service_accounts) = both(&condition.service_accounts, |account| AccountDump {
        namespace: &account.namespace,
        service_account: &account.name,
    });
    let (source_ips, not_source_ips) = both(&condition.source_ips, IpNet::to_string);
    let (destination_ips, not_destination_ips) = both(&condition.destination_ips, IpNet::to_string);
    MatchDump {
        namespaces,
        not_namespaces,
        principals,
        not_principals,
        service_accounts,
        not_service_accounts,
        source_ips,
        not_source_ips,
        destination_ips,
        not_destination_ips,
        destination_ports: &condition.destination_ports.any_of,
        not_destination_ports: &condition.destination_ports.none_of,
    }
}

/// The values of a field, and its negated ones.
fn both<'v, T, D>(values: &'v Values<T>, dump: impl Fn(&'v T) -> D) -> (Vec<D>, Vec<D>) {
    (values.any_of.iter().map(&dump).collect(), values.none_of.iter().map(&dump).collect())
}

fn pattern(pattern: &StringMatch) -> StringDump<'_> {
    match pattern {
        StringMatch::Exact(text) => StringDump::Exact(text),
        StringMatch::Prefix(text) => StringDump::Prefix(text),
        StringMatch::Suffix(text) => StringDump::Suffix(text),
        StringMatch::Presence => StringDump::Presence(()),
    }
}
