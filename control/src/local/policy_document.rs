//! A policy as it is written in the file.
//!
//! Invariant: a policy is read whole or not at all. A condition that is skipped turns a policy that denies one thing
//! into one that denies nothing.

use std::fmt;
use std::sync::Arc;

use engine::mesh::{Action, Clause, Match, Policy, Rule, Scope, ServiceAccount, StringMatch, Values};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, VariantAccess, Visitor};

use super::scalar::{List, Port, Written};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a policy: a map of its fields")]
pub(super) struct PolicyDocument {
    name: String,
    namespace: String,
    scope: ScopeDocument,
    action: ActionDocument,
    /// Rules, of clauses, of matches.
    rules: List<List<List<MatchDocument>>>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum ScopeDocument {
    Global,
    Namespace,
    WorkloadSelector,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum ActionDocument {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a match: a map of conditions")]
struct MatchDocument {
    #[serde(default)]
    namespaces: List<StringMatchDocument>,
    #[serde(default)]
    not_namespaces: List<StringMatchDocument>,
    #[serde(default)]
    service_accounts: List<AccountDocument>,
    #[serde(default)]
    not_service_accounts: List<AccountDocument>,
    #[serde(default)]
    principals: List<StringMatchDocument>,
    #[serde(default)]
    not_principals: List<StringMatchDocument>,
    #[serde(default)]
    source_ips: List<Written<IpNet>>,
    #[serde(default)]
    not_source_ips: List<Written<IpNet>>,
    #[serde(default)]
    destination_ips: List<Written<IpNet>>,
    #[serde(default)]
    not_destination_ips: List<Written<IpNet>>,
    #[serde(default)]
    destination_ports: List<Port>,
    #[serde(default)]
    not_destination_ports: List<Port>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map of namespace and serviceAccount")]
struct AccountDocument {
    namespace: String,
    service_account: String,
}

/// Written `!Exact text`, as ztunnel does, or `Exact: text`.
#[derive(Debug)]
struct StringMatchDocument(StringMatch);

const STRING_MATCHES: &[&str] = &["Exact", "Prefix", "Suffix", "Presence"];

impl PolicyDocument {
    pub(super) fn into_policy(self) -> Result<Policy, String> {
        let clause = |clause: List<MatchDocument>| Clause {
            matches: clause.0.into_iter().map(MatchDocument::into_match).collect(),
        };
        let rule =
            |rule: List<List<MatchDocument>>| Rule { clauses: rule.0.into_iter().map(clause).collect() };
        let policy = Policy {
            rules: self.rules.0.into_iter().map(rule).collect(),
            name: self.name.into(),
            namespace: self.namespace.into(),
            scope: match self.scope {
                ScopeDocument::Global => Scope::Global,
                ScopeDocument::Namespace => Scope::Namespace,
                ScopeDocument::WorkloadSelector => Scope::WorkloadSelector,
            },
            action: match self.action {
                ActionDocument::Allow => Action::Allow,
                ActionDocument::Deny => Action::Deny,
            },
            dry_run: self.dry_run,
        };
        refuse_unsound(&policy)?;
        Ok(policy)
    }
}

/// What no policy may be, whoever describes it.
pub(crate) fn refuse_unsound(policy: &Policy) -> Result<(), String> {
    let Policy { name, namespace, .. } = policy;
    if name.is_empty() {
        return Err(format!("a policy of namespace `{namespace}` has no name: give it one"));
    }
    if policy.scope == Scope::Namespace && namespace.is_empty() {
        return Err(format!(
            "policy {name} has the scope Namespace but no namespace: name one, or write `scope: Global`"
        ));
    }
    let matches = policy.rules.iter().flat_map(|rule| &rule.clauses).flat_map(|clause| &clause.matches);
    for principal in matches.flat_map(|found| found.principals.any_of.iter().chain(&found.principals.none_of))
    {
        refuse_scheme(principal).map_err(|problem| format!("policy {namespace}/{name}: {problem}"))?;
    }
    Ok(())
}

impl MatchDocument {
    fn into_match(self) -> Match {
        let texts = |texts: List<StringMatchDocument>| texts.0.into_iter().map(|text| text.0).collect();
        let blocks = |blocks: List<Written<IpNet>>| blocks.0.into_iter().map(|block| block.0).collect();
        let ports = |ports: List<Port>| ports.0.into_iter().map(|port| port.0).collect();
        let accounts = |accounts: List<AccountDocument>| accounts.0.into_iter().map(Into::into).collect();
        Match {
            namespaces: Values { any_of: texts(self.namespaces), none_of: texts(self.not_namespaces) },
            principals: Values { any_of: texts(self.principals), none_of: texts(self.not_principals) },
            service_accounts: Values {
                any_of: accounts(self.service_accounts),
                none_of: accounts(self.not_service_accounts),
            },
            source_ips: Values { any_of: blocks(self.source_ips), none_of: blocks(self.not_source_ips) },
            destination_ips: Values {
                any_of: blocks(self.destination_ips),
                none_of: blocks(self.not_destination_ips),
            },
            destination_ports: Values {
                any_of: ports(self.destination_ports),
                none_of: ports(self.not_destination_ports),
            },
        }
    }
}

/// Principals are compared without their scheme: one that has it would never match, and nobody would notice.
fn refuse_scheme(principal: &StringMatch) -> Result<(), String> {
    match principal {
        StringMatch::Exact(text) | StringMatch::Prefix(text) => match text.strip_prefix("spiffe://") {
            Some(rest) => {
                Err(format!("the principal `{text}` can never match: write `{rest}`, without spiffe://"))
            }
            None => Ok(()),
        },
        StringMatch::Suffix(_) | StringMatch::Presence => Ok(()),
    }
}

impl From<AccountDocument> for ServiceAccount {
    fn from(document: AccountDocument) -> Self {
        Self { namespace: document.namespace.into(), name: document.service_account.into() }
    }
}

impl<'de> Deserialize<'de> for StringMatchDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringMatchVisitor).map(Self)
    }
}

struct StringMatchVisitor;

impl<'de> Visitor<'de> for StringMatchVisitor {
    type Value = StringMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`Exact: text`, `Prefix: text`, `Suffix: text` or `Presence: []`")
    }

    /// `!Exact text`
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<StringMatch, A::Error> {
        let (kind, value): (String, A::Variant) = access.variant()?;
        if kind == "Presence" {
            value.newtype_variant::<IgnoredAny>()?;
            return Ok(StringMatch::Presence);
        }
        string_match(&kind, value.newtype_variant()?)
    }

    /// `Exact: text`
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<StringMatch, A::Error> {
        let Some(kind) = access.next_key::<String>()? else {
            return Err(A::Error::custom(format_args!("an empty map: write {}", Expected(&self))));
        };
        let found = if kind == "Presence" {
            access.next_value::<IgnoredAny>()?;
            StringMatch::Presence
        } else {
            string_match(&kind, access.next_value()?)?
        };
        match access.next_key::<String>()? {
            None => Ok(found),
            Some(other) => Err(A::Error::custom(format_args!(
                "both `{kind}` and `{other}`: write them as two entries of the list"
            ))),
        }
    }
}

struct Expected<'v>(&'v StringMatchVisitor);

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

fn string_match<E: Error>(kind: &str, text: String) -> Result<StringMatch, E> {
    let text: Arc<str> = text.into();
    match kind {
        "Exact" => Ok(StringMatch::Exact(text)),
        "Prefix" => Ok(StringMatch::Prefix(text)),
        "Suffix" => Ok(StringMatch::Suffix(text)),
        _ => Err(E::unknown_variant(kind, STRING_MATCHES)),
    }
}
