//! Everything that is wrong is found, and the text says where it is and what to write instead.

use super::*;

fn error(text: &str) -> String {
    match Contents::parse("mesh.yaml", text, &settings()) {
        Ok(contents) => panic!("{contents:?}\n{text}"),
        Err(error) => error.to_string(),
    }
}

const PORT: &str = "expected a port, which is a number up to 65535";
const BLOCK: &str =
    "is not a block of addresses: write one such as 10.0.0.0/8, or 10.0.0.1/32 for one address";

#[test]
fn around_everything() {
    let nothing = "mesh.yaml: it has nothing in it: write `workloads: []` if there are no workloads";
    let cases = [
        ("", nothing),
        ("# to be written\n", nothing),
        ("null", nothing),
        ("workloads:\n", nothing),
        ("{}", nothing),
        (
            "- a\n",
            "mesh.yaml:1:1: invalid type: sequence, expected a map of workloads, services and policies",
        ),
        (
            "workload: []\n",
            "mesh.yaml:1:1: unknown field `workload`, expected one of `workloads`, `services`, `policies`",
        ),
        (
            "workloads: []\n---\nworkloads: []\n",
            "mesh.yaml: deserializing from YAML containing more than one document is not supported",
        ),
        (
            "workloads:\n- name: \"cart\n",
            "mesh.yaml:3:1: found unexpected end of stream, while scanning a quoted scalar at line 2 column 9",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn in_a_workload() {
    // The line after `namespace: shop`, which is line 4, of a workload called cart.
    let find = |line: &str| error(&format!("workloads:\n- name: cart\n  namespace: shop\n  {line}\n"));
    let cases: [(&str, &str, String); 14] = [
        ("name: again", "2:3: workloads[0]", "duplicate field `name`".into()),
        (
            "protocol: HBON",
            "4:13: workloads[0].protocol",
            "unknown variant `HBON`, expected `TCP` or `HBONE`".into(),
        ),
        (
            "networkMode: host",
            "4:16: workloads[0].networkMode",
            "unknown variant `host`, expected `Standard` or `HostNetwork`".into(),
        ),
        (
            "status: Sick",
            "4:11: workloads[0].status",
            "unknown variant `Sick`, expected `Healthy` or `Unhealthy`".into(),
        ),
        (
            "workloadIps: [10.0.0.300]",
            "4:17: workloads[0].workloadIps[0]",
            "`10.0.0.300` is not an IP address: write one such as 10.0.0.1 or fd00::1".into(),
        ),
        (
            "workloadIps: 10.0.0.3",
            "4:16: workloads[0].workloadIps",
            "invalid type: string \"10.0.0.3\", expected a sequence".into(),
        ),
        (
            "services: {cart: {80: 80}}",
            "4:14: workloads[0].services",
            "`cart` has no `/`: write `namespace/hostname`, such as `shop/cart.shop.svc.cluster.local`"
                .into(),
        ),
        (
            "services: {shop/: {80: 80}}",
            "4:14: workloads[0].services",
            "`shop/` has no hostname: write `namespace/hostname`, such as `shop/cart.shop.svc.cluster.local`"
                .into(),
        ),
        (
            "services: {shop/cart: {http: 80}}",
            "4:26: workloads[0].services.shop/cart",
            format!("invalid type: string \"http\", {PORT}"),
        ),
        (
            "services: {shop/cart: {80: 80800}}",
            "4:30: workloads[0].services.shop/cart.80",
            format!("invalid value: integer `80800`, {PORT}"),
        ),
        (
            "applicationTunnel: {protocol: HTTP}",
            "4:33: workloads[0].applicationTunnel.protocol",
            "unknown variant `HTTP`, expected `NONE` or `PROXY`".into(),
        ),
        (
            "locality: {rack: 3}",
            "4:14: workloads[0].locality",
            "unknown field `rack`, expected one of `region`, `zone`, `subzone`".into(),
        ),
        ("capacity: -1", "4:13: workloads[0].capacity", "invalid type: integer `-1`, expected u32".into()),
        (
            "nativeTunnel: maybe",
            "4:17: workloads[0].nativeTunnel",
            "invalid type: string \"maybe\", expected a boolean".into(),
        ),
    ];
    for (line, place, expected) in cases {
        assert_eq!(find(line), format!("mesh.yaml:{place}: {expected}"), "{line}");
    }
    let unknown = find("foo: 1");
    assert!(unknown.starts_with("mesh.yaml:4:3: workloads[0]: unknown field `foo`, expected one of `uid`, "));
    assert_eq!(error("workloads:\n- name: cart\n"), "mesh.yaml:2:3: workloads[0]: missing field `namespace`");
}

#[test]
fn in_a_gateway() {
    let find = |waypoint: &str| error(&format!("workloads:\n- namespace: shop\n  waypoint: {waypoint}\n"));
    let cases = [
        (
            "/10.0.0.9",
            "3:13: workloads[0].waypoint: invalid type: string \"/10.0.0.9\", expected a map of destination and \
             hboneMtlsPort",
        ),
        (
            "{destination: waypoint, hboneMtlsPort: 15008}",
            "3:27: workloads[0].waypoint.destination: `waypoint` is no gateway: write `network/ip` or \
             `namespace/hostname`",
        ),
        ("{destination: a/b}", "3:13: workloads[0].waypoint: missing field `hboneMtlsPort`"),
        (
            "{destination: a/b, hboneMtlsPort: 1, weight: 1}",
            "3:50: workloads[0].waypoint: unknown field `weight`, expected `destination` or `hboneMtlsPort`",
        ),
    ];
    for (waypoint, expected) in cases {
        assert_eq!(find(waypoint), format!("mesh.yaml:{expected}"), "{waypoint}");
    }
}

#[test]
fn in_a_service() {
    let find = |line: &str| error(&format!("services:\n- hostname: cart\n  namespace: shop\n  {line}\n"));
    let cases: [(&str, &str, String); 6] = [
        (
            "vips: [10.1.0.1]",
            "4:10: services[0].vips[0]",
            "`10.1.0.1` has no `/`: write `network/ip`, or `/ip` for the network without a name".into(),
        ),
        (
            "vips: [west/cart]",
            "4:10: services[0].vips[0]",
            "`west/cart` does not end in an IP address: write `network/ip`, such as `/10.0.0.1` or `west/fd00::1`".into(),
        ),
        (
            "cidrVips: [/10.0.0.0/8]",
            "4:14: services[0].cidrVips[0]",
            "invalid type: string \"/10.0.0.0/8\", expected a map of network and cidr".into(),
        ),
        (
            "cidrVips: [{network: '', cidr: 10.0.0.0}]",
            "4:34: services[0].cidrVips[0].cidr",
            format!("`10.0.0.0` {BLOCK}"),
        ),
        (
            "loadBalancer: {mode: strict}",
            "4:24: services[0].loadBalancer.mode",
            "unknown variant `strict`, expected one of `Standard`, `Strict`, `Failover`, `Passthrough`".into(),
        ),
        (
            "endpoints: {a: {uid: a}}",
            "4:19: services[0].endpoints.a",
            "unknown field `uid`, expected one of `workloadUid`, `port`, `status`".into(),
        ),
    ];
    for (line, place, expected) in cases {
        assert_eq!(find(line), format!("mesh.yaml:{place}: {expected}"), "{line}");
    }
    let unknown = find("foo: 1");
    assert!(unknown.starts_with("mesh.yaml:4:3: services[0]: unknown field `foo`, expected one of `name`, "));
}

fn with_rules(rules: &str) -> String {
    format!("policies:\n- name: p\n  namespace: shop\n  scope: Global\n  action: Deny\n  rules: {rules}\n")
}

/// A condition that was skipped would turn a policy that denies something into one that denies nothing.
#[test]
fn in_a_match_of_a_policy() {
    let kinds = "`Exact: text`, `Prefix: text`, `Suffix: text` or `Presence: []`";
    let variants = "expected one of `Exact`, `Prefix`, `Suffix`, `Presence`";
    let fields = "`namespaces`, `notNamespaces`, `serviceAccounts`, `notServiceAccounts`, `principals`, \
         `notPrincipals`, `sourceIps`, `notSourceIps`, `destinationIps`, `notDestinationIps`, `destinationPorts`, \
         `notDestinationPorts`";
    let cases = [
        ("{paths: [/admin]}", "14", "", format!("unknown field `paths`, expected one of {fields}")),
        (
            "{principals: [a]}",
            "27",
            ".principals[0]",
            format!("invalid type: string \"a\", expected {kinds}"),
        ),
        ("{principals: [!Regex a]}", "27", ".principals[0]", format!("unknown variant `Regex`, {variants}")),
        (
            "{principals: [{exact: a}]}",
            "27",
            ".principals[0]",
            format!("unknown variant `exact`, {variants}"),
        ),
        ("{principals: [{}]}", "27", ".principals[0]", format!("an empty map: write {kinds}")),
        (
            "{principals: [{Exact: a, Prefix: b}]}",
            "27",
            ".principals[0]",
            "both `Exact` and `Prefix`: write them as two entries of the list".to_owned(),
        ),
        ("{sourceIps: [10.0.0.1]}", "26", ".sourceIps[0]", format!("`10.0.0.1` {BLOCK}")),
        (
            "{destinationPorts: [http]}",
            "33",
            ".destinationPorts[0]",
            format!("invalid type: string \"http\", {PORT}"),
        ),
        (
            "{serviceAccounts: [shop/cart]}",
            "32",
            ".serviceAccounts[0]",
            "invalid type: string \"shop/cart\", expected a map of namespace and serviceAccount".to_owned(),
        ),
    ];
    for (condition, column, field, expected) in cases {
        let place = format!("mesh.yaml:6:{column}: policies[0].rules[0][0][0]{field}");
        assert_eq!(
            error(&with_rules(&format!("[[[{condition}]]]"))),
            format!("{place}: {expected}"),
            "{condition}"
        );
    }
}

/// YAML reads a list whose entries were cut off, or not indented, as nothing.
#[test]
fn in_a_list_of_a_policy() {
    let list = "expected a list (write `[]` for an empty one)";
    let cases = [
        ("", "9", "", "unit value"),
        ("[null]", "11", "[0]", "unit value"),
        ("[[null]]", "12", "[0][0]", "unit value"),
        ("[[[{namespaces: }]]]", "26", "[0][0][0].namespaces", "unit value"),
        ("[[{namespaces: []}]]", "12", "[0][0]", "map"),
    ];
    for (rules, column, place, found) in cases {
        let expected =
            format!("mesh.yaml:6:{column}: policies[0].rules{place}: invalid type: {found}, {list}");
        assert_eq!(error(&with_rules(rules)), expected, "{rules}");
    }
}

#[test]
fn in_a_policy() {
    let cases = [
        (
            "{name: p, namespace: shop, scope: Global, action: Deny}",
            "mesh.yaml:1:12: policies[0]: missing field `rules`",
        ),
        (
            "{name: p, namespace: shop, scope: Global, action: Audit, rules: []}",
            "mesh.yaml:1:62: policies[0].action: unknown variant `Audit`, expected `Allow` or `Deny`",
        ),
        (
            "{name: p, namespace: '', scope: Namespace, action: Deny, rules: []}",
            "mesh.yaml: policy p has the scope Namespace but no namespace: name one, or write `scope: Global`",
        ),
        (
            "{name: '', namespace: shop, scope: Global, action: Deny, rules: []}",
            "mesh.yaml: a policy of namespace `shop` has no name: give it one",
        ),
        (
            "{name: p, namespace: shop, scope: Global, action: Deny, \
             rules: [[[{notPrincipals: [Prefix: 'spiffe://a/']}]]]}",
            "mesh.yaml: policy shop/p: the principal `spiffe://a/` can never match: write `a/`, without spiffe://",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(&format!("policies: [{text}]")), expected);
    }
}

#[test]
fn what_is_there_twice_or_missing() {
    let cases = [
        (
            "workloads: [{uid: a, namespace: shop}, {uid: a, namespace: bank}]",
            "workload a is there twice: give one of them another uid",
        ),
        (
            "workloads: [{name: a, namespace: shop}, {name: a, namespace: shop}]",
            "workload east-1//Pod/shop/a is there twice: give one of them another uid",
        ),
        (
            "workloads: [{namespace: shop}]",
            "a workload of namespace `shop` has neither a uid nor a name: give it a uid that no other workload has",
        ),
        (
            "services: [{namespace: a, hostname: b}, {namespace: a, hostname: b}]",
            "service a/b is there twice: write one of them",
        ),
        (
            "policies: [{name: p, namespace: a, scope: Global, action: Deny, rules: []}, \
             {name: p, namespace: a, scope: Namespace, action: Allow, rules: []}]",
            "policy a/p is there twice: give one of them another name",
        ),
        (
            "workloads: [{uid: a, namespace: shop, authorizationPolicies: [p]}]",
            "workload a: its authorizationPolicies name `p`, which is not among the policies: write it as \
             `namespace/name` of one that is",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), format!("mesh.yaml: {expected}"), "{text}");
    }
}

#[test]
fn all_that_makes_no_sense_is_told_at_once() {
    let text = "
workloads:
- {uid: a, name: a, namespace: shop, workloadIps: [10.0.0.1]}
- {uid: a, name: b, namespace: shop, workloadIps: [10.0.0.2], authorizationPolicies: [shop/not-there]}
services:
- {name: a, namespace: shop, hostname: a.shop, vips: [/10.1.0.1], ports: {80: 80}}
- {name: a, namespace: shop, hostname: a.shop, vips: [/10.1.0.1], ports: {80: 80}}
";
    assert_eq!(
        error(text),
        "mesh.yaml: workload a is there twice: give one of them another uid; also service shop/a.shop is there \
         twice: write one of them"
    );
    let many: String =
        (0..20).map(|_| "- {uid: a, name: a, namespace: shop, workloadIps: [10.0.0.1]}\n").collect();
    let told = error(&format!("workloads:\n{many}"));
    assert!(told.ends_with("; and 3 more"), "{told}");
    assert_eq!(told.matches("is there twice").count(), 16, "{told}");
}
