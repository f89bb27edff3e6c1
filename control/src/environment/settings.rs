//! Everything of the environment beside the engine's part, and how the parts depend on each other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ::engine::mesh::{MeshSettings, TrustDomain};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::value::{address, boolean, duration, positive_duration, suites, whole};
use super::variables::Variables;
use super::{
    Environment, LogFormat, LogSettings, Machine, MeshSource, Mode, SeriesLimits, WorkloadName, engine,
    planes, refusals,
};

/// The port of the admin endpoint, which istioctl and Cilium's tests ask.
const ADMIN_PORT: u16 = 15000;

/// The port that metrics are scraped from.
const STATS_PORT: u16 = 15020;

/// The readiness port that every chart probes.
const READINESS_PORT: u16 = 15021;

/// How long connections may go on when neither a deadline nor a grace period is set.
const DRAIN_SECONDS_DEFAULT: u64 = 5;

/// Series of connections in the metrics: some megabytes of a scrape.
const METRICS_SERIES_DEFAULT: u32 = 2_000;

/// More series than that no scrape takes in.
const METRICS_SERIES_MAX: u32 = 100_000;

/// How long a series stays that does not change: many scrapes, and short against the life of a cluster.
const METRICS_IDLE_SECONDS_DEFAULT: u64 = 600;

/// The longest grace period that is not a typing error.
const GRACE_SECONDS_MAX: u32 = 7 * 86_400;

/// Reads everything. `None` where a problem was noted that leaves no whole environment.
pub(super) fn read(variables: &mut Variables, machine: &Machine) -> Option<Environment> {
    refusals::check(variables);
    let proxy_config = proxy_config(variables);
    let mesh_source = planes::mesh_source(variables, proxy_config.discovery_address.as_deref());
    let dedicated = dedicated(variables);
    let certificates = planes::certificates(variables, dedicated == Some(true));
    let suites = variables.parsed("RINGWAY_TLS_SUITES", suites).unwrap_or_default();
    let mode = mode(variables, dedicated, mesh_source.as_ref());
    let engine = engine::read(variables, mode.as_ref(), proxy_config.concurrency, machine);
    let mesh = mesh(variables);
    let drain_deadline = drain_deadline(variables);
    let series = series(variables);
    let log = log(variables);
    let ipv6 = engine.as_ref().is_none_or(|engine| engine.ipv6);
    let wildcard: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let readiness_address = variables.parsed("READINESS_BIND_ADDRESS", |text| address(text, READINESS_PORT));
    check_unused(variables);

    let engine = engine?;
    Some(Environment {
        control_core: engine::control_core(&engine, machine),
        mode: mode?,
        engine,
        mesh,
        node_name: variables.text("NODE_NAME"),
        mesh_source: mesh_source?,
        certificates: certificates?,
        suites,
        revocations: variables.text("CRL_PATH").map(Into::into),
        drain_deadline,
        admin_address: (Ipv4Addr::LOCALHOST, proxy_config.proxy_admin_port.unwrap_or(ADMIN_PORT)).into(),
        stats_address: (wildcard, proxy_config.stats_port.unwrap_or(STATS_PORT)).into(),
        readiness_address: readiness_address.unwrap_or_else(|| (wildcard, READINESS_PORT).into()),
        series,
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
    proxy_admin_port: Option<u16>,
    stats_port: Option<u16>,
    /// Only its names: nothing of it is used.
    proxy_metadata: Option<BTreeMap<String, IgnoredAny>>,
}

fn proxy_config(variables: &mut Variables) -> ProxyConfig {
    let config: ProxyConfig = variables
        .parsed("PROXY_CONFIG", |text| {
            serde_norway::from_str(text).map_err(|error| format!("must be a proxy config in YAML: {error}"))
        })
        .unwrap_or_default();
    let names: Vec<&str> = config.proxy_metadata.iter().flatten().map(|(name, _)| name.as_str()).collect();
    if !names.is_empty() {
        variables.warn(format!(
            "PROXY_CONFIG: its proxyMetadata ({}) has no effect: neither is it taken as environment nor told to the xDS \
             server; set ISTIO_META_* variables of this container instead",
            names.join(", ")
        ));
    }
    config
}

/// Whether this is dedicated mode; `None` if `PROXY_MODE` cannot be read.
fn dedicated(variables: &mut Variables) -> Option<bool> {
    if variables.text("PROXY_MODE").is_none() {
        return Some(false);
    }
    variables.parsed("PROXY_MODE", |text| match text {
        "shared" => Ok(false),
        "dedicated" => Ok(true),
        _ => Err("must be shared (every pod of the node) or dedicated (one pod)"),
    })
}

fn mode(variables: &mut Variables, dedicated: Option<bool>, mesh: Option<&MeshSource>) -> Option<Mode> {
    if !dedicated? {
        return planes::pod_source(variables, mesh).map(|pods| Mode::Shared { pods });
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

fn mesh(variables: &mut Variables) -> MeshSettings {
    let cluster_id = variables
        .text("ISTIO_META_CLUSTER_ID")
        .unwrap_or_else(|| variables.text_or("CLUSTER_ID", "Kubernetes"));
    let trust_domain = variables.parsed("TRUST_DOMAIN", planes::trust_domain);
    MeshSettings {
        network: variables.text_or("NETWORK", "").into(),
        cluster_id: cluster_id.into(),
        trust_domain: trust_domain.unwrap_or_else(|| TrustDomain::new("cluster.local")),
        domain: variables.text_or("CLUSTER_DOMAIN", "cluster.local").into(),
    }
}

/// The deadline set, or one that ends before Kubernetes sends SIGKILL: whoever is cut off by us gets a clean end.
fn drain_deadline(variables: &mut Variables) -> Duration {
    let deadline = variables.parsed("CONNECTION_TERMINATION_DEADLINE", duration);
    let grace =
        variables.parsed("TERMINATION_GRACE_PERIOD_SECONDS", |text| whole(text, 0, GRACE_SECONDS_MAX));
    let seconds = grace.map_or(DRAIN_SECONDS_DEFAULT, |grace| {
        let margin = if grace > 10 { 5 } else { 1 };
        u64::from(grace.saturating_sub(margin).max(1))
    });
    deadline.unwrap_or_else(|| Duration::from_secs(seconds))
}

fn series(variables: &mut Variables) -> SeriesLimits {
    let series = variables.parsed("RINGWAY_METRICS_SERIES_MAX", |text| whole(text, 1, METRICS_SERIES_MAX));
    let idle = variables.parsed("RINGWAY_METRICS_SERIES_IDLE", positive_duration);
    SeriesLimits {
        series: series.unwrap_or(METRICS_SERIES_DEFAULT) as usize,
        idle: idle.unwrap_or(Duration::from_secs(METRICS_IDLE_SECONDS_DEFAULT)),
    }
}

fn log(variables: &mut Variables) -> LogSettings {
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
fn check_unused(variables: &mut Variables) {
    variables.parsed("LOCALHOST_APP_TUNNEL", boolean);
}
