//! What a series of connections is told apart by: the labels of Istio's standard metrics, as ztunnel fills them in.

use std::fmt;
use std::sync::Arc;

use engine::mesh::{Identity, Service, Workload};
use engine::observe::{Connection, Direction, ResponseFlag, Security};
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};

/// The value of a label that nobody knows.
const UNKNOWN: &str = "unknown";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Labels {
    reporter: Direction,
    flag: ResponseFlag,
    security: Security,
    source: End,
    destination: End,
    service: Option<Named>,
}

/// One end of a connection. Empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct End {
    workload: Arc<str>,
    canonical: Arc<str>,
    revision: Arc<str>,
    namespace: Arc<str>,
    principal: Arc<str>,
    cluster: Arc<str>,
    region: Arc<str>,
    zone: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Named {
    hostname: Arc<str>,
    namespace: Arc<str>,
    name: Arc<str>,
}

/// Who tells of a connection: the proxy of the client or that of the server.
pub(super) fn reporter(direction: Direction) -> &'static str {
    match direction {
        Direction::Outbound => "source",
        Direction::Inbound => "destination",
    }
}

// === impl Labels ===

impl Labels {
    /// Of a connection that stands, or did.
    pub(super) fn of(connection: &Connection, flag: ResponseFlag) -> Self {
        Self {
            reporter: connection.direction,
            flag,
            security: connection.security,
            source: End::new(connection.source_workload.as_deref(), connection.source_identity.as_ref()),
            destination: End::new(
                connection.destination_workload.as_deref(),
                connection.destination_identity.as_ref(),
            ),
            service: connection.destination_service.as_deref().map(Named::new),
        }
    }

    /// The series of all that have no series of their own.
    pub(super) fn without_names(&self) -> Self {
        Self { source: End::default(), destination: End::default(), service: None, ..*self }
    }

    fn pairs(&self) -> [(&'static str, &str); 27] {
        let Self { source, destination, .. } = self;
        let service = self.service.as_ref();
        [
            ("reporter", reporter(self.reporter)),
            ("source_workload", known(&source.workload)),
            ("source_canonical_service", known(&source.canonical)),
            ("source_canonical_revision", known(&source.revision)),
            ("source_workload_namespace", known(&source.namespace)),
            ("source_principal", known(&source.principal)),
            ("source_app", known(&source.canonical)),
            ("source_version", known(&source.revision)),
            ("source_cluster", known(&source.cluster)),
            ("destination_service", known(service.map_or("", |service| &service.hostname))),
            ("destination_service_namespace", known(service.map_or("", |service| &service.namespace))),
            ("destination_service_name", known(service.map_or("", |service| &service.name))),
            ("destination_workload", known(&destination.workload)),
            ("destination_canonical_service", known(&destination.canonical)),
            ("destination_canonical_revision", known(&destination.revision)),
            ("destination_workload_namespace", known(&destination.namespace)),
            ("destination_principal", known(&destination.principal)),
            ("destination_app", known(&destination.canonical)),
            ("destination_version", known(&destination.revision)),
            ("destination_cluster", known(&destination.cluster)),
            ("request_protocol", "tcp"),
            ("response_flags", self.flag.as_str()),
            ("connection_security_policy", security(self.security)),
            ("source_region", known(&source.region)),
            ("source_zone", known(&source.zone)),
            ("destination_region", known(&destination.region)),
            ("destination_zone", known(&destination.zone)),
        ]
    }
}

fn known(value: &str) -> &str {
    if value.is_empty() { UNKNOWN } else { value }
}

fn security(security: Security) -> &'static str {
    match security {
        Security::MutualTls => "mutual_tls",
        Security::Plain => UNKNOWN,
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.pairs().iter().try_for_each(|pair| pair.encode(encoder.encode_label()))
    }
}

// === impl End ===

impl End {
    /// The principal is what was proved, never what an address suggests.
    fn new(workload: Option<&Workload>, identity: Option<&Identity>) -> Self {
        let principal = identity.map(|identity| Arc::from(identity.to_string())).unwrap_or_default();
        let Some(workload) = workload else {
            let namespace = identity.map(|identity| Arc::clone(&identity.namespace)).unwrap_or_default();
            return Self { namespace, principal, ..Self::default() };
        };
        Self {
            workload: Arc::clone(&workload.workload_name),
            canonical: Arc::clone(&workload.canonical_name),
            revision: Arc::clone(&workload.canonical_revision),
            namespace: Arc::clone(workload.namespace()),
            principal,
            cluster: Arc::clone(&workload.cluster_id),
            region: Arc::clone(&workload.locality.region),
            zone: Arc::clone(&workload.locality.zone),
        }
    }
}

// === impl Named ===

impl Named {
    fn new(service: &Service) -> Self {
        Self {
            hostname: Arc::clone(&service.key.hostname),
            namespace: Arc::clone(&service.key.namespace),
            name: Arc::clone(&service.name),
        }
    }
}
