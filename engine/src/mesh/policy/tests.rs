#![allow(clippy::unwrap_used)]

use super::super::fixture::{identity, policy, rule};
use super::*;

const CART: &str = "spiffe://td/ns/shop/sa/cart";

/// A connection from 10.0.0.1 to 10.0.0.2:8080.
fn matches(rules: Vec<Rule>, peer: Option<&str>) -> bool {
    let identity = peer.map(identity);
    let mut policy = policy("p", "shop", Scope::Global, Action::Allow);
    policy.rules = rules;
    policy.matches(&Facts {
        identity: identity.as_ref(),
        principal: peer.map(|peer| peer.strip_prefix("spiffe://").unwrap()),
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.0.0.2:8080".parse().unwrap(),
    })
}

fn any_of<T>(values: impl IntoIterator<Item = T>) -> Values<T> {
    Values { any_of: values.into_iter().collect(), none_of: Vec::new() }
}

fn none_of<T>(values: impl IntoIterator<Item = T>) -> Values<T> {
    Values { any_of: Vec::new(), none_of: values.into_iter().collect() }
}

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

fn port(port: u16) -> Match {
    Match { destination_ports: any_of([port]), ..Match::default() }
}

fn clause(matches: impl IntoIterator<Item = Match>) -> Clause {
    Clause { matches: matches.into_iter().collect() }
}

#[test]
fn lists_combine_as_documented() {
    let (yes, no, empty) = (port(8080), port(9090), Match::default());
    let one = |clauses: Vec<Clause>| vec![Rule { clauses }];
    let cases = [
        ("no rules: nothing", vec![], false),
        ("a rule without clauses: everything", one(vec![]), true),
        ("an empty clause: everything", one(vec![clause([])]), true),
        ("only an empty match: nothing", one(vec![clause([empty.clone()])]), false),
        ("an empty match beside one that holds", one(vec![clause([empty.clone(), yes.clone()])]), true),
        ("an empty match beside one that does not", one(vec![clause([empty, no.clone()])]), false),
        ("one match of a clause is enough", one(vec![clause([no.clone(), yes.clone()])]), true),
        ("no match of a clause is not", one(vec![clause([no.clone(), no.clone()])]), false),
        ("all clauses", one(vec![clause([yes.clone()]), clause([yes.clone()])]), true),
        ("not all clauses", one(vec![clause([yes.clone()]), clause([no.clone()])]), false),
        ("one rule is enough", vec![rule(no.clone()), rule(yes)], true),
        ("no rule is not", vec![rule(no.clone()), rule(no)], false),
    ];
    for (says, rules, expected) in cases {
        assert_eq!(matches(rules, None), expected, "{says}");
    }
}

#[test]
fn every_field_of_a_match_has_to_hold() {
    let both = |destination: u16, source: &str| Match {
        destination_ports: any_of([destination]),
        source_ips: any_of([source.parse().unwrap()]),
        ..Match::default()
    };
    assert!(matches(vec![rule(both(8080, "10.0.0.0/8"))], None));
    assert!(!matches(vec![rule(both(8081, "10.0.0.0/8"))], None));
    assert!(!matches(vec![rule(both(8080, "10.0.1.0/24"))], None));
}

#[test]
fn values_are_alternatives_and_negations_exclude() {
    let ports = |any_of: &[u16], none_of: &[u16]| Match {
        destination_ports: Values { any_of: any_of.to_vec(), none_of: none_of.to_vec() },
        ..Match::default()
    };
    let cases: [(&[u16], &[u16], bool); 7] = [
        (&[8080], &[], true),
        (&[9090, 8080], &[], true),
        (&[9090], &[], false),
        (&[], &[9090], true),
        (&[], &[9090, 8080], false),
        (&[8080], &[9090], true),
        (&[8080], &[8080], false),
    ];
    for (positive, negative, expected) in cases {
        assert_eq!(
            matches(vec![rule(ports(positive, negative))], None),
            expected,
            "{positive:?} {negative:?}"
        );
    }
}

/// What is said of it, the condition, whether it holds for the cart's identity, and whether it holds for a plain
/// connection.
type Case = (&'static str, Match, bool, bool);

fn check(cases: Vec<Case>) {
    for (says, condition, with_identity, plain) in cases {
        assert_eq!(matches(vec![rule(condition.clone())], Some(CART)), with_identity, "{says}, the cart");
        assert_eq!(matches(vec![rule(condition)], None), plain, "{says}, plain");
    }
}

#[test]
fn fields_about_the_identity_look_at_it() {
    let account =
        |namespace: &str, name: &str| ServiceAccount { namespace: namespace.into(), name: name.into() };
    let d = Match::default;
    let cases: Vec<Case> = vec![
        ("namespace", Match { namespaces: any_of([exact("shop")]), ..d() }, true, false),
        ("another namespace", Match { namespaces: any_of([exact("bank")]), ..d() }, false, false),
        ("not a namespace", Match { namespaces: none_of([exact("shop")]), ..d() }, false, true),
        ("not another namespace", Match { namespaces: none_of([exact("bank")]), ..d() }, true, true),
        ("any namespace", Match { namespaces: any_of([StringMatch::Presence]), ..d() }, true, false),
        ("no namespace", Match { namespaces: none_of([StringMatch::Presence]), ..d() }, false, true),
        ("principal", Match { principals: any_of([exact("td/ns/shop/sa/cart")]), ..d() }, true, false),
        ("principal with the scheme", Match { principals: any_of([exact(CART)]), ..d() }, false, false),
        ("not a principal", Match { principals: none_of([exact("td/ns/shop/sa/cart")]), ..d() }, false, true),
        (
            "principal by prefix",
            Match { principals: any_of([StringMatch::Prefix("td/".into())]), ..d() },
            true,
            false,
        ),
        ("empty prefix", Match { principals: any_of([StringMatch::Prefix("".into())]), ..d() }, true, false),
        (
            "principal by suffix",
            Match { principals: any_of([StringMatch::Suffix("/sa/cart".into())]), ..d() },
            true,
            false,
        ),
        ("any principal", Match { principals: any_of([StringMatch::Presence]), ..d() }, true, false),
        ("no principal", Match { principals: none_of([StringMatch::Presence]), ..d() }, false, true),
        ("account", Match { service_accounts: any_of([account("shop", "cart")]), ..d() }, true, false),
        (
            "account elsewhere",
            Match { service_accounts: any_of([account("bank", "cart")]), ..d() },
            false,
            false,
        ),
        (
            "another account",
            Match { service_accounts: any_of([account("shop", "web")]), ..d() },
            false,
            false,
        ),
        (
            "not an account",
            Match { service_accounts: none_of([account("shop", "cart")]), ..d() },
            false,
            true,
        ),
    ];
    check(cases);
}

#[test]
fn fields_about_addresses_look_at_them() {
    let block = |text: &str| text.parse::<IpNet>().unwrap();
    let d = Match::default;
    let cases: Vec<Case> = vec![
        ("source", Match { source_ips: any_of([block("10.0.0.1/32")]), ..d() }, true, true),
        (
            "a block around the source",
            Match { source_ips: any_of([block("10.0.0.0/30")]), ..d() },
            true,
            true,
        ),
        (
            "the destination is no source",
            Match { source_ips: any_of([block("10.0.0.2/32")]), ..d() },
            false,
            false,
        ),
        ("another family", Match { source_ips: any_of([block("::/0")]), ..d() }, false, false),
        ("not the source", Match { source_ips: none_of([block("10.0.0.1/32")]), ..d() }, false, false),
        ("destination", Match { destination_ips: any_of([block("10.0.0.2/32")]), ..d() }, true, true),
        (
            "another destination",
            Match { destination_ips: any_of([block("10.0.0.1/32")]), ..d() },
            false,
            false,
        ),
        (
            "not the destination",
            Match { destination_ips: none_of([block("10.0.0.2/32")]), ..d() },
            false,
            false,
        ),
        ("port", port(8080), true, true),
        ("another port", port(8081), false, false),
        ("not the port", Match { destination_ports: none_of([8080]), ..d() }, false, false),
    ];
    check(cases);
}

#[test]
fn strings_match_whole_by_prefix_by_suffix_or_by_being_there() {
    let cases = [
        (exact("foo"), "foo", true),
        (exact("foo"), "food", false),
        (exact("foo"), "", false),
        (exact(""), "", true),
        (StringMatch::Prefix("foo".into()), "foobar", true),
        (StringMatch::Prefix("foo".into()), "barfoo", false),
        (StringMatch::Prefix("foo".into()), "", false),
        (StringMatch::Suffix("foo".into()), "barfoo", true),
        (StringMatch::Suffix("foo".into()), "foobar", false),
        (StringMatch::Suffix("foo".into()), "", false),
        (StringMatch::Presence, "foo", true),
        (StringMatch::Presence, "", false),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(pattern.matches(text), expected, "{pattern:?} {text:?}");
    }
}
