#![allow(clippy::unwrap_used)]

use super::*;

fn exact(text: &str) -> message::StringMatch {
    message::StringMatch { match_type: Some(MatchType::Exact(text.to_owned())) }
}

fn with(found: message::Match) -> message::Authorization {
    let clause = message::Clause { matches: vec![found] };
    message::Authorization {
        name: "p".to_owned(),
        namespace: "shop".to_owned(),
        scope: 1,
        action: 1,
        rules: vec![message::Rule { clauses: vec![clause] }],
        dry_run: true,
        ..Default::default()
    }
}

#[test]
fn every_condition_is_taken_over() {
    let block = |first| message::Address { address: vec![first, 0, 0, 0], length: 8 };
    let account = |name: &str| message::ServiceAccountMatch {
        namespace: "shop".to_owned(),
        service_account: name.to_owned(),
    };
    let of = |found| message::StringMatch { match_type: Some(found) };
    let found = message::Match {
        namespaces: vec![of(MatchType::Prefix("sh".to_owned()))],
        not_namespaces: vec![of(MatchType::Suffix("op".to_owned()))],
        principals: vec![of(MatchType::Presence(()))],
        not_principals: vec![exact("td/ns/shop/sa/cart")],
        source_ips: vec![block(1)],
        not_source_ips: vec![block(2)],
        destination_ips: vec![block(3)],
        not_destination_ips: vec![block(4)],
        destination_ports: vec![80],
        not_destination_ports: vec![81],
        service_accounts: vec![account("cart")],
        not_service_accounts: vec![account("web")],
        extensions: Vec::new(),
    };
    let policy = read(with(found)).unwrap();
    assert_eq!((&*policy.key(), policy.scope, policy.action), ("shop/p", Scope::Namespace, Action::Deny));
    assert!(policy.dry_run);
    let cidr = |text: &str| vec![text.parse::<IpNet>().unwrap()];
    let account = |name: &str| vec![ServiceAccount { namespace: "shop".into(), name: name.into() }];
    let expected = Match {
        namespaces: Values {
            any_of: vec![StringMatch::Prefix("sh".into())],
            none_of: vec![StringMatch::Suffix("op".into())],
        },
        principals: Values {
            any_of: vec![StringMatch::Presence],
            none_of: vec![StringMatch::Exact("td/ns/shop/sa/cart".into())],
        },
        service_accounts: Values { any_of: account("cart"), none_of: account("web") },
        source_ips: Values { any_of: cidr("1.0.0.0/8"), none_of: cidr("2.0.0.0/8") },
        destination_ips: Values { any_of: cidr("3.0.0.0/8"), none_of: cidr("4.0.0.0/8") },
        destination_ports: Values { any_of: vec![80], none_of: vec![81] },
    };
    assert_eq!(policy.rules, [Rule { clauses: vec![Clause { matches: vec![expected] }] }]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let none = message::Match::default;
    let extension = || vec![message::Extension { name: "geo".to_owned(), config: None }];
    let wrong = message::Address { address: vec![1, 2], length: 8 };
    let cases = [
        ("has no name", message::Authorization { name: String::new(), ..with(none()) }),
        ("no namespace", message::Authorization { namespace: String::new(), ..with(none()) }),
        ("scope is 3", message::Authorization { scope: 3, ..with(none()) }),
        ("action is 2", message::Authorization { action: 2, ..with(none()) }),
        ("80000 is no port", with(message::Match { destination_ports: vec![80_000], ..none() })),
        ("2 bytes", with(message::Match { not_source_ips: vec![wrong], ..none() })),
        ("do not know", with(message::Match { principals: vec![message::StringMatch::default()], ..none() })),
        ("extension geo", message::Authorization { extensions: extension(), ..with(none()) }),
        ("extension geo", with(message::Match { extensions: extension(), ..none() })),
    ];
    for (problem, policy) in cases {
        let refusal = read(policy).unwrap_err().problem;
        assert!(refusal.contains(problem), "{refusal}");
    }
}

/// ztunnel compares principals without their scheme, whoever wrote them with it (contract 1.11).
#[test]
fn a_principal_is_taken_without_its_scheme() {
    let of = |found| message::StringMatch { match_type: Some(found) };
    let found = message::Match {
        principals: vec![exact("spiffe://td/ns/a/sa/b"), of(MatchType::Prefix("spiffe://td/".to_owned()))],
        not_principals: vec![exact("spiffe://td/ns/a/sa/c"), of(MatchType::Suffix("spiffe://d".to_owned()))],
        ..Default::default()
    };
    let policy = read(with(found)).unwrap();
    let expected = Values {
        any_of: vec![StringMatch::Exact("td/ns/a/sa/b".into()), StringMatch::Prefix("td/".into())],
        none_of: vec![StringMatch::Exact("td/ns/a/sa/c".into()), StringMatch::Suffix("spiffe://d".into())],
    };
    assert_eq!(policy.rules[0].clauses[0].matches[0].principals, expected);
}

/// Nothing gets in where a policy cannot be read: not to have it would let in more than it does.
#[test]
fn what_stands_in_for_a_policy_lets_nobody_in() {
    let unread = |policy: message::Authorization| read(policy).unwrap_err().instead;
    let spoilt = || with(message::Match { destination_ports: vec![80_000], ..Default::default() });
    let everything = || vec![Rule { clauses: Vec::new() }];
    for (policy, scope, action, rules) in [
        (message::Authorization { action: 0, ..spoilt() }, Scope::Namespace, Action::Allow, Vec::new()),
        (
            message::Authorization { action: 9, scope: 0, ..spoilt() },
            Scope::Global,
            Action::Allow,
            Vec::new(),
        ),
        (
            message::Authorization { scope: 2, ..spoilt() },
            Scope::WorkloadSelector,
            Action::Deny,
            everything(),
        ),
        (message::Authorization { scope: 9, ..spoilt() }, Scope::Namespace, Action::Deny, everything()),
    ] {
        let instead = unread(policy).unwrap();
        assert_eq!((&*instead.key(), instead.scope, instead.action), ("shop/p", scope, action));
        assert_eq!((instead.rules, instead.dry_run), (rules, true));
    }
    assert_eq!(unread(message::Authorization { name: String::new(), ..spoilt() }), None);
}
