//! Everything that can be written is read.

use engine::mesh::{
    ApplicationTunnel, GatewayAddress, GatewayDestination, Identity, IpFamilies, Locality, LocalityScope,
    Mode, NetworkMode, Protocol, ServiceAccount, StringMatch, TunnelHeader, Visibility,
};

use super::*;

const WORKLOAD: &str = r#"
workloads:
- uid: uid-1
  name: cart-1
  namespace: shop
  serviceAccount: cart
  trustDomain: other.test
  workloadIps: [10.0.0.1, "::ffff:10.0.0.2"]
  protocol: HBONE
  networkMode: HostNetwork
  node: node-1
  network: west
  hostname: cart.example.com
  clusterId: west-1
  canonicalName: cart
  canonicalRevision: v2
  workloadName: cart-deployment
  workloadType: job
  waypoint: {destination: west/10.0.0.9, hboneMtlsPort: 15008}
  networkGateway: {destination: istio-gateways/gateway.example.com, hboneMtlsPort: 15009}
  nativeTunnel: true
  applicationTunnel: {protocol: PROXY, port: 15088}
  authorizationPolicies: [shop/p]
  status: Unhealthy
  locality: {region: eu, zone: eu-1, subzone: rack-3}
  capacity: 7
  services: {shop/cart: {80: 8080, 81: 8081}, /other: {}}
policies:
- {name: p, namespace: shop, scope: WorkloadSelector, action: Deny, rules: []}
"#;

#[test]
fn every_field_of_a_workload() {
    let gateway = |destination, hbone_port| Some(GatewayAddress { destination, hbone_port });
    let expected = Workload {
        uid: "uid-1".into(),
        name: "cart-1".into(),
        identity: "spiffe://other.test/ns/shop/sa/cart".parse().unwrap(),
        network: "west".into(),
        ips: ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap()).to_vec(),
        hostname: "cart.example.com".into(),
        protocol: Protocol::Hbone,
        network_mode: NetworkMode::HostNetwork,
        node: "node-1".into(),
        cluster_id: "west-1".into(),
        locality: Locality { region: "eu".into(), zone: "eu-1".into(), subzone: "rack-3".into() },
        workload_name: "cart-deployment".into(),
        workload_type: "job".into(),
        canonical_name: "cart".into(),
        canonical_revision: "v2".into(),
        waypoint: gateway(GatewayDestination::Address("west/10.0.0.9".parse().unwrap()), 15008),
        network_gateway: gateway(
            GatewayDestination::Hostname("istio-gateways/gateway.example.com".parse().unwrap()),
            15009,
        ),
        application_tunnel: Some(ApplicationTunnel { header: TunnelHeader::Proxy, port: Some(15088) }),
        native_tunnel: true,
        unreadable: None,
        authorization_policies: vec!["shop/p".into()],
        healthy: false,
        capacity: 7,
        services: BTreeMap::from([
            ("shop/cart".parse().unwrap(), BTreeMap::from([(80, 8080), (81, 8081)])),
            ("/other".parse().unwrap(), BTreeMap::new()),
        ]),
    };
    assert_eq!(*read(WORKLOAD).workloads[0], expected);
}

#[test]
fn what_a_workload_leaves_out_has_a_default() {
    let contents = read("workloads: [{name: cart, namespace: shop}]");
    let workload = &contents.workloads[0];
    assert_eq!(&*workload.uid, "east-1//Pod/shop/cart");
    assert_eq!(workload.identity.to_string(), "spiffe://mesh.test/ns/shop/sa/default");
    assert_eq!((&*workload.cluster_id, &*workload.workload_type), ("east-1", "deployment"));
    assert_eq!((&*workload.network, &*workload.hostname), ("", ""));
    assert_eq!((workload.protocol, workload.network_mode), (Protocol::Tcp, NetworkMode::Standard));
    assert_eq!((workload.healthy, workload.capacity, workload.native_tunnel), (true, 1, false));
    assert!(workload.ips.is_empty() && workload.services.is_empty() && workload.waypoint.is_none());

    let tunnel = read("workloads: [{name: a, namespace: b, applicationTunnel: {protocol: NONE}}]");
    let expected = ApplicationTunnel { header: TunnelHeader::None, port: None };
    assert_eq!(tunnel.workloads[0].application_tunnel, Some(expected));
}

const SERVICES: &str = r#"
services:
- name: cart
  namespace: shop
  hostname: cart.example.com
  vips: [/10.1.0.1, west/fd00::1]
  cidrVips: [{network: west, cidr: 10.2.3.4/16}]
  ports: {80: 8080, 81: 0}
  endpoints: {}
  subjectAltNames: ["spiffe://mesh.test/ns/shop/sa/cart"]
  waypoint: {destination: shop/waypoint, hboneMtlsPort: 15008}
  weightedWaypoints:
  - {destination: {destination: /10.0.0.9, hboneMtlsPort: 15008}, weight: 3}
  loadBalancer:
    routingPreferences: [Network, Region, Zone, Subzone, Node, Cluster]
    mode: Failover
    healthPolicy: AllowAll
  ipFamilies: IPv6
  canonical: true
  visibility: Namespace
- {namespace: shop, hostname: plain, ipFamilies: Dual, loadBalancer: {mode: Passthrough}}
"#;

#[test]
fn every_field_of_a_service() {
    let contents = read(SERVICES);
    let service = &contents.services[&"shop/cart.example.com".parse().unwrap()];
    assert_eq!(&*service.name, "cart");
    let vips: Vec<String> = service.vips.iter().map(ToString::to_string).collect();
    assert_eq!(vips, ["/10.1.0.1", "west/fd00::1"]);
    assert_eq!(service.cidr_vips[0].to_string(), "west/10.2.0.0/16");
    assert_eq!(service.ports, BTreeMap::from([(80, 8080), (81, 0)]));
    assert_eq!(
        service.subject_alt_names,
        ["spiffe://mesh.test/ns/shop/sa/cart".parse::<Identity>().unwrap()]
    );
    assert_eq!(service.waypoint.as_ref().unwrap().to_string(), "shop/waypoint port 15008");
    let weighted = &service.weighted_waypoints[0];
    assert_eq!((weighted.gateway.to_string().as_str(), weighted.weight), ("/10.0.0.9 port 15008", 3));
    let balancing = &service.load_balancing;
    assert_eq!((balancing.mode, balancing.allow_unhealthy), (Mode::Failover, true));
    use LocalityScope::{Cluster, Network, Node, Region, Subzone, Zone};
    assert_eq!(balancing.preferences, [Network, Region, Zone, Subzone, Node, Cluster]);
    assert_eq!((service.ip_families, service.canonical), (IpFamilies::V6, true));
    assert_eq!(service.visibility, Visibility::Namespace);

    let plain = &contents.services[&"shop/plain".parse().unwrap()];
    assert_eq!((plain.ip_families, plain.canonical), (IpFamilies::Any, false));
    assert_eq!(plain.visibility, Visibility::Public);
    assert_eq!((plain.load_balancing.mode, plain.load_balancing.allow_unhealthy), (Mode::Passthrough, false));
}

const POLICY: &str = r#"
policies:
- name: p
  namespace: shop
  scope: Global
  action: Deny
  dryRun: true
  rules:
  - - - namespaces: [!Exact shop, Prefix: team-, !Suffix "-prod", !Presence [], {Presence: []}]
        notNamespaces: [{Exact: bank}]
        principals: [!Exact mesh.test/ns/shop/sa/cart]
        notPrincipals: [Suffix: /sa/root]
        serviceAccounts: [{namespace: shop, serviceAccount: cart}]
        notServiceAccounts: [{namespace: shop, serviceAccount: web}]
        sourceIps: [10.0.0.0/8]
        notSourceIps: [10.1.0.0/16]
        destinationIps: [fd00::/8]
        notDestinationIps: [fd00::1/128]
        destinationPorts: [80, 443]
        notDestinationPorts: [8080]
      - {}
    - []
  - []
"#;

#[test]
fn every_field_of_a_policy() {
    let contents = read(POLICY);
    let policy = &contents.policies["shop/p"];
    assert_eq!((policy.scope, policy.action, policy.dry_run), (Scope::Global, Action::Deny, true));
    assert_eq!(policy.rules.len(), 2);
    assert!(policy.rules[1].clauses.is_empty());
    assert_eq!(policy.rules[0].clauses.len(), 2);
    assert!(policy.rules[0].clauses[1].matches.is_empty());
    let [condition, empty] = policy.rules[0].clauses[0].matches.as_slice() else { panic!("two matches") };
    assert_eq!(*empty, Default::default());
    use StringMatch::{Exact, Prefix, Presence, Suffix};
    let text = |text: &str| text.into();
    assert_eq!(
        condition.namespaces.any_of,
        [Exact(text("shop")), Prefix(text("team-")), Suffix(text("-prod")), Presence, Presence]
    );
    assert_eq!(condition.namespaces.none_of, [Exact(text("bank"))]);
    assert_eq!(condition.principals.any_of, [Exact(text("mesh.test/ns/shop/sa/cart"))]);
    assert_eq!(condition.principals.none_of, [Suffix(text("/sa/root"))]);
    let account = |name: &str| ServiceAccount { namespace: "shop".into(), name: name.into() };
    assert_eq!(condition.service_accounts.any_of, [account("cart")]);
    assert_eq!(condition.service_accounts.none_of, [account("web")]);
    assert_eq!(condition.source_ips.any_of, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(condition.source_ips.none_of, ["10.1.0.0/16".parse().unwrap()]);
    assert_eq!(condition.destination_ips.any_of, ["fd00::/8".parse().unwrap()]);
    assert_eq!(condition.destination_ips.none_of, ["fd00::1/128".parse().unwrap()]);
    assert_eq!(condition.destination_ports.any_of, [80, 443]);
    assert_eq!(condition.destination_ports.none_of, [8080]);
}
