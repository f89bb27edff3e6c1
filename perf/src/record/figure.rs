//! The figures that a sample may have: their keys in the JSON, and what is said of them in a report.

/// Which way a figure should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One kind of figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// In the JSON.
    pub(crate) key: &'static str,
    /// In tables.
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// A loss of more than this share of it is one that the gate looks at; `None` for what only explains others.
    pub(crate) gate_threshold: Option<f64>,
}

const fn figure(
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    better: Better,
    gate_threshold: Option<f64>,
) -> Figure {
    Figure { key, title, unit, better, gate_threshold }
}

use Better::{Higher, Lower};

/// All of them, in the order of reports.
///
/// Sides: `client` is what runs for the client's pod, `server` what runs for the server's.
pub(crate) const FIGURES: &[Figure] = &[
    figure("throughput_gbps", "throughput", "Gb/s", Higher, Some(0.03)),
    figure("throughput_back_gbps", "throughput, server to client", "Gb/s", Higher, Some(0.05)),
    figure("rate_per_s", "rate", "/s", Higher, Some(0.03)),
    figure("latency_mean_us", "latency, mean", "µs", Lower, None),
    figure("latency_min_us", "latency, shortest", "µs", Lower, None),
    figure("latency_p50_us", "latency, p50", "µs", Lower, Some(0.05)),
    figure("latency_p90_us", "latency, p90", "µs", Lower, None),
    figure("latency_p99_us", "latency, p99", "µs", Lower, Some(0.15)),
    figure("latency_p99_9_us", "latency, p99.9", "µs", Lower, None),
    figure("latency_p99_99_us", "latency, p99.99", "µs", Lower, None),
    figure("latency_max_us", "latency, longest", "µs", Lower, None),
    figure("latency_stddev_us", "latency, standard deviation", "µs", Lower, None),
    figure("latency_p50_by_time_us", "latency, p50 by time", "µs", Lower, None),
    figure("cpu_s_per_gb", "CPU", "s/GB", Lower, Some(0.03)),
    figure("cpu_client_user_s_per_gb", "CPU, client's side, user", "s/GB", Lower, None),
    figure("cpu_client_system_s_per_gb", "CPU, client's side, system", "s/GB", Lower, None),
    figure("cpu_server_user_s_per_gb", "CPU, server's side, user", "s/GB", Lower, None),
    figure("cpu_server_system_s_per_gb", "CPU, server's side, system", "s/GB", Lower, None),
    figure("cpu_us_per_op", "CPU", "µs/operation", Lower, Some(0.03)),
    figure("cpu_client_user_us_per_op", "CPU, client's side, user", "µs/operation", Lower, None),
    figure("cpu_client_system_us_per_op", "CPU, client's side, system", "µs/operation", Lower, None),
    figure("cpu_server_user_us_per_op", "CPU, server's side, user", "µs/operation", Lower, None),
    figure("cpu_server_system_us_per_op", "CPU, server's side, system", "µs/operation", Lower, None),
    figure("switches_per_op", "context switches", "/operation", Lower, None),
    figure("switches_per_mb", "context switches", "/MB", Lower, None),
    figure("syscalls_per_op", "system calls", "/operation", Lower, None),
    figure("syscalls_per_mb", "system calls", "/MB", Lower, None),
    figure("bytes_per_connection", "memory per idle connection, both sides", "B", Lower, Some(0.05)),
    figure("rss_mb", "resident memory, both sides", "MB", Lower, Some(0.10)),
    figure("rss_peak_mb", "its peak, both sides", "MB", Lower, None),
    figure("failures", "failed operations", "", Lower, None),
];

/// The kind of figure with this key.
pub(crate) fn of(key: &str) -> Option<&'static Figure> {
    FIGURES.iter().find(|figure| figure.key == key)
}
