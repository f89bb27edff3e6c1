//! Whether a workload is the proxy that a connection would be sent through.

use super::{GatewayAddress, GatewayDestination, Snapshot, Workload};

/// Whether the workload is, or is an endpoint of, the gateway. Traffic of a waypoint does not go through it again.
pub(super) fn is_gateway(snapshot: &Snapshot, workload: &Workload, gateway: &GatewayAddress) -> bool {
    match &gateway.destination {
        GatewayDestination::Hostname(name) => {
            workload.services.contains_key(name)
                || (workload.hostname == name.hostname && *workload.namespace() == name.namespace)
        }
        GatewayDestination::Address(address) => match snapshot.workloads.by_address(address) {
            Some(found) => found.uid == workload.uid,
            None => snapshot
                .services
                .by_address(address, workload.namespace())
                .is_some_and(|service| workload.services.contains_key(&service.key)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixture::{endpoint_of, gateway, name, service_at, workload_at};
    use super::*;

    #[test]
    fn a_waypoint_is_known_by_its_address_its_service_or_its_hostname() {
        let mut snapshot = Snapshot::default();
        let waypoint = endpoint_of("waypoint", "10.0.0.9", "shop/waypoint", &[]);
        let mut named = workload_at("named", "10.0.0.8");
        named.hostname = "named.example.com".into();
        let other = workload_at("other", "10.0.0.1");
        for workload in [&waypoint, &named, &other] {
            snapshot.upsert_workload(Arc::new(workload.clone()));
        }
        snapshot.upsert_service(Arc::new(service_at("shop/waypoint", "/10.1.0.9")));
        let by_name = |text| GatewayAddress {
            destination: GatewayDestination::Hostname(name(text)),
            hbone_port: 15008,
        };
        let cases = [
            ("its address", gateway("/10.0.0.9"), &waypoint, true),
            ("its service's address", gateway("/10.1.0.9"), &waypoint, true),
            ("its service", by_name("shop/waypoint"), &waypoint, true),
            ("its hostname", by_name("shop/named.example.com"), &named, true),
            ("its hostname elsewhere", by_name("bank/named.example.com"), &named, false),
            ("somebody else, by address", gateway("/10.0.0.9"), &other, false),
            ("somebody else, by the service's address", gateway("/10.1.0.9"), &other, false),
            ("somebody else, by service", by_name("shop/waypoint"), &other, false),
            ("an address nobody has", gateway("/10.7.7.7"), &waypoint, false),
            ("its address on another network", gateway("west/10.0.0.9"), &waypoint, false),
        ];
        for (says, gateway, workload, expected) in cases {
            assert_eq!(is_gateway(&snapshot, workload, &gateway), expected, "{says}");
        }
    }
}
