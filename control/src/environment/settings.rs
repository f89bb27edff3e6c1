//! Everything of the environment beside the engine's part, and how the parts depend on each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ::engine::mesh::{MeshSettings, TrustDomain};
use serde::Deserialize;

use super::refusals::Present;
use super::value::{address, boolean, duration, positive_duration, whole};
use super::variables::Variables;
use super::{
    CaSettings, Environment, LocalMesh, LogFormat, LogSettings, Machine, Mode, WorkloadName, engine, refusals,
};

/// The readiness port that every chart probes.
const READINESS_PORT: u16 = 15021;

/// A certificate that lives shorter is renewed more often than a busy CA can be asked.
const CA_TTL_SECONDS_MIN: u64 = 10;

/// A TTL beyond this makes "short-lived" a lie; the embedded CA has no revocation.
const CA_TTL_SECONDS_MAX: u64 = 90 * 86_400;

/// How long connections may go on when neither a deadline nor a grace period is set.
const DRAIN_SECONDS_DEFAULT: u64 = 5;

/// The longest grace period that is not a typing error.
const GRACE_SECONDS_MAX: u32 = 7 * 86_400;

/// Reads everything. `None` where a problem was noted that leaves no whole environment.
pub(super) fn read(variables: &mut Variables<'_>, machine: &Machine) -> Option<Environment> {
    refusals::check(variables);
    let proxy_config = proxy_config(variables);
    let dedicated = dedicated(variables);
    let local_mesh = local_mesh(variables);
    let ca = ca(variables);
    let pods = variables.text("RINGWAY_PODS_PATH").map(PathBuf::from);
    let present = Present {
        local_mesh: local_mesh.is_some(),
        ca: ca.is_some(),
        pods: pods.is_some() || dedicated == Some(true),
    };
    refusals::check_control_planes(variables, &present);
    require_sources(variables, &present);

    let mode = mode(variables, dedicated, pods);
    let engine = engine::read(variables, mode.as_ref(), proxy_config.concurrency, machine);
    let mesh = mesh(variables);
    let drain_deadline = drain_deadline(variables);
    let log = log(variables);
    let ipv6 = engine.as_ref().is_none_or(|engine| engine.ipv6);
    let readiness_address = readiness_address(variables, ipv6);
    check_unused(variables);

    let engine = engine?;
    Some(Environment {
        control_core: engine::control_core(&engine, machine),
        mode: mode?,
        engine,
        mesh,
        node_name: variables.text("NODE_NAME"),
        local_mesh: local_mesh?,
        ca: ca?,
        drain_deadline,
        readiness_address,
        log,
        warnings: std::mem::take(&mut variables.warnings),
    })
}

/// The part of ztunnel's `PROXY_CONFIG` that means something here. Its other fields are for other proxies.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ProxyConfig {
    concurrency: Option<u32>,
    discovery_address: Option<String>,
}

fn proxy_config(variables: &mut Variables<'_>) -> ProxyConfig {
    let config: ProxyConfig = variables
        .parsed("PROXY_CONFIG", |text| {
            serde_norway::from_str(text).map_err(|error| format!("must be a proxy config in YAML: {error}"))
        })
        .unwrap_or_default();
    if let Some(address) = &config.discovery_address {
        variables.warn(format!(
            "PROXY_CONFIG: discoveryAddress {address} has no effect: there is no xDS client in this version"
        ));
    }
    config
}

/// Whether this is dedicated mode; `None` if `PROXY_MODE` cannot be read.
fn dedicated(variables: &mut Variables<'_>) -> Option<bool> {
    if variables.text("PROXY_MODE").is_none() {
        return Some(false);
    }
    variables.parsed("PROXY_MODE", |text| match text {
        "shared" => Ok(false),
        "dedicated" => Ok(true),
        _ => Err("must be shared (every pod of the node) or dedicated (one pod)"),
    })
}

fn mode(variables: &mut Variables<'_>, dedicated: Option<bool>, pods: Option<PathBuf>) -> Option<Mode> {
    if !dedicated? {
        return pods.map(|pods| Mode::Shared { pods });
    }
    if variables.text("PROXY_WORKLOAD_INFO").is_none() {
        variables.refuse(
            "PROXY_WORKLOAD_INFO",
            None,
            "PROXY_MODE=dedicated needs it, as namespace/name/service-account",
        );
    }
    let workload = variables.parsed("PROXY_WORKLOAD_INFO", workload_name)?;
    Some(Mode::Dedicated { workload })
}

fn workload_name(text: &str) -> Result<WorkloadName, &'static str> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [namespace, name, service_account] if parts.iter().all(|part| !part.is_empty()) => Ok(WorkloadName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            service_account: service_account.to_owned(),
        }),
        _ => Err("must be namespace/name/service-account"),
    }
}

fn local_mesh(variables: &mut Variables<'_>) -> Option<LocalMesh> {
    match (variables.text("LOCAL_XDS_PATH"), variables.text("LOCAL_XDS")) {
        (Some(path), Some(_)) => {
            variables.refuse(
                "LOCAL_XDS_PATH",
                Some(path.clone()),
                "LOCAL_XDS is set as well; set only one of them",
            );
            Some(LocalMesh::File(path.into()))
        }
        (Some(path), None) => Some(LocalMesh::File(path.into())),
        (None, Some(text)) => Some(LocalMesh::Inline(text)),
        (None, None) => None,
    }
}

fn ca(variables: &mut Variables<'_>) -> Option<CaSettings> {
    let ttl = variables.parsed("RINGWAY_CA_TTL", |text| {
        duration(text).and_then(|ttl| {
            let accepted = CA_TTL_SECONDS_MIN..=CA_TTL_SECONDS_MAX;
            if accepted.contains(&ttl.as_secs()) {
                Ok(ttl)
            } else {
                Err("must be from 10s to 90d".to_owned())
            }
        })
    });
    let dir = variables.text("RINGWAY_CA_DIR")?;
    Some(CaSettings { dir: dir.into(), ttl: ttl.unwrap_or(Duration::from_secs(3_600)) })
}

/// Notes a problem for each local source that is missing and whose control plane is not named either: where that is
/// named, the complaint is already about it.
fn require_sources(variables: &mut Variables<'_>, present: &Present) {
    let needed: [(&'static str, bool, &str, &str); 3] = [
        ("LOCAL_XDS_PATH", present.local_mesh, "XDS_ADDRESS", "must name a file that describes the mesh"),
        (
            "RINGWAY_CA_DIR",
            present.ca,
            "CA_ADDRESS",
            "must name the directory of the embedded CA, made on first start",
        ),
        (
            "RINGWAY_PODS_PATH",
            present.pods,
            "INPOD_UDS",
            "must name a file that lists the pods, or set PROXY_MODE=dedicated",
        ),
    ];
    for (name, there, plane, accepted) in needed {
        if !there && variables.text(plane).is_none() {
            variables.refuse(name, None, accepted);
        }
    }
}

fn mesh(variables: &mut Variables<'_>) -> MeshSettings {
    let cluster_id = variables
        .text("ISTIO_META_CLUSTER_ID")
        .unwrap_or_else(|| variables.text_or("CLUSTER_ID", "Kubernetes"));
    let trust_domain = variables.parsed("TRUST_DOMAIN", |text| {
        // SPIFFE ID §2.1: letters in lower case, digits, dots, dashes and underscores.
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        if text.chars().all(allowed) {
            Ok(TrustDomain::new(text))
        } else {
            Err("must be a SPIFFE trust domain without scheme, such as cluster.local")
        }
    });
    MeshSettings {
        network: variables.text_or("NETWORK", "").into(),
        cluster_id: cluster_id.into(),
        trust_domain: trust_domain.unwrap_or_else(|| TrustDomain::new("cluster.local")),
        domain: variables.text_or("CLUSTER_DOMAIN", "cluster.local").into(),
    }
}

/// The deadline set, or one that ends before Kubernetes sends SIGKILL: whoever is cut off by us gets a clean end.
fn drain_deadline(variables: &mut Variables<'_>) -> Duration {
    let deadline = variables.parsed("CONNECTION_TERMINATION_DEADLINE", duration);
    let grace =
        variables.parsed("TERMINATION_GRACE_PERIOD_SECONDS", |text| whole(text, 0, GRACE_SECONDS_MAX));
    let seconds = grace.map_or(DRAIN_SECONDS_DEFAULT, |grace| {
        let margin = if grace > 10 { 5 } else { 1 };
        u64::from(grace.saturating_sub(margin).max(1))
    });
    deadline.unwrap_or_else(|| Duration::from_secs(seconds))
}

fn readiness_address(variables: &mut Variables<'_>, ipv6: bool) -> SocketAddr {
    let wildcard: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    variables
        .parsed("READINESS_BIND_ADDRESS", |text| address(text, READINESS_PORT))
        .unwrap_or_else(|| SocketAddr::new(wildcard, READINESS_PORT))
}

fn log(variables: &mut Variables<'_>) -> LogSettings {
    let filter =
        variables.parsed("RUST_LOG", |text| crate::logging::check_filter(text).map(|()| text.to_owned()));
    let format = variables.parsed("LOG_FORMAT", |text| match text {
        "plain" => Ok(LogFormat::Plain),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be plain or json"),
    });
    LogSettings {
        filter: filter.unwrap_or_else(|| crate::logging::FILTER_DEFAULT.to_owned()),
        format: format.unwrap_or_default(),
        findings_at_info: variables.parsed("AUTHZ_POLICY_INFO_LOGGING", boolean).unwrap_or(false),
    }
}

/// Variables whose part is not there yet: their values are still checked, so that a mistake does not wait for it.
fn check_unused(variables: &mut Variables<'_>) {
    variables.parsed("SECRET_TTL", positive_duration);
    variables.parsed("LOCALHOST_APP_TUNNEL", boolean);
}
