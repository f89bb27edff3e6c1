//! One measurement, and the figures that are read from it.

use serde::Serialize;

use crate::protocol::Quantiles;
use crate::wire::Wire;
use crate::workload::Workload;

/// One workload through one target in one round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) target: &'static str,
    pub(crate) workload: Workload,
    pub(crate) seconds: f64,
    /// Bytes of the bulk stream that arrived at its receiver.
    pub(crate) received_bytes: u64,
    /// Messages that went and came back; whole connections in [`Workload::Connect`].
    pub(crate) exchanges: u64,
    pub(crate) latency: Option<Quantiles>,
    /// CPU seconds of the proxies, the client's and the server's.
    pub(crate) proxy_cpu: Option<[f64; 2]>,
    pub(crate) wire: Wire,
    pub(crate) noise: Noise,
}

/// What else the machine did meanwhile.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Noise {
    /// Cores that processes which are neither proxies nor generators kept busy.
    pub(crate) foreign_cores: f64,
    /// Cores the hypervisor gave to somebody else though we would have used them.
    pub(crate) stolen_cores: f64,
}

/// Resident memory of the proxies after the last workload of a round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) round: usize,
    pub(crate) target: &'static str,
    pub(crate) resident_kib: [u64; 2],
}

/// A figure of a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    value: fn(&Sample) -> Option<f64>,
}

impl Metric {
    /// `None` where it has no meaning: the CPU of proxies that are not there, the throughput of a ping-pong.
    pub(crate) fn of(&self, sample: &Sample) -> Option<f64> {
        (self.value)(sample)
    }
}

/// In the order in which reports show them.
pub(crate) const METRICS: [Metric; 12] = [
    Metric { name: "Gb/s", value: |sample| bulk(sample, |gb| gb * 8.0 / sample.seconds) },
    Metric { name: "exchanges /s", value: |sample| exchanges(sample, |count| count / sample.seconds) },
    Metric { name: "p50 µs", value: |sample| Some(sample.latency.as_ref()?.p50_us) },
    Metric { name: "p50 µs by time", value: |sample| Some(sample.latency.as_ref()?.p50_by_time_us) },
    Metric { name: "p99 µs", value: |sample| Some(sample.latency.as_ref()?.p99_us) },
    Metric { name: "p99.9 µs", value: |sample| Some(sample.latency.as_ref()?.p999_us) },
    Metric { name: "CPU s/GB, client's proxy", value: |sample| per_gb(sample, |[client, _]| client) },
    Metric { name: "CPU s/GB, server's proxy", value: |sample| per_gb(sample, |[_, server]| server) },
    Metric { name: "CPU s/GB, both", value: |sample| per_gb(sample, |[client, server]| client + server) },
    Metric {
        name: "CPU µs/exchange, client's proxy",
        value: |sample| per_exchange(sample, |[client, _]| client),
    },
    Metric {
        name: "CPU µs/exchange, server's proxy",
        value: |sample| per_exchange(sample, |[_, server]| server),
    },
    Metric {
        name: "CPU µs/exchange, both",
        value: |sample| per_exchange(sample, |[client, server]| client + server),
    },
];

fn bulk(sample: &Sample, of_gb: impl Fn(f64) -> f64) -> Option<f64> {
    sample.workload.has_bulk().then(|| of_gb(sample.received_bytes as f64 / 1e9))
}

fn exchanges(sample: &Sample, of_count: impl Fn(f64) -> f64) -> Option<f64> {
    sample.workload.has_exchanges().then(|| of_count(sample.exchanges as f64))
}

fn per_gb(sample: &Sample, of_cpu: fn([f64; 2]) -> f64) -> Option<f64> {
    let cpu = of_cpu(sample.proxy_cpu?);
    if is_mixed(sample) { None } else { bulk(sample, |gb| cpu / gb) }
}

fn per_exchange(sample: &Sample, of_cpu: fn([f64; 2]) -> f64) -> Option<f64> {
    let cpu_us = of_cpu(sample.proxy_cpu?) * 1e6;
    if is_mixed(sample) { None } else { exchanges(sample, |count| cpu_us / count) }
}

/// What part of the CPU went to the stream and what to the messages can't be told.
fn is_mixed(sample: &Sample) -> bool {
    sample.workload.has_bulk() && sample.workload.has_exchanges()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 5 s, 5 GB, 10,000 exchanges, 1 and 3 s of CPU.
    pub(crate) fn sample(workload: Workload, target: &'static str, round: usize) -> Sample {
        Sample {
            round,
            target,
            workload,
            seconds: 5.0,
            received_bytes: 5_000_000_000,
            exchanges: 10_000,
            latency: None,
            proxy_cpu: Some([1.0, 3.0]),
            wire: Wire::default(),
            noise: Noise::default(),
        }
    }

    fn figures(sample: &Sample) -> Vec<(&'static str, f64)> {
        METRICS.iter().filter_map(|metric| Some((metric.name, metric.of(sample)?))).collect()
    }

    #[test]
    fn figures_fit_the_workload() {
        let bulk = [
            ("Gb/s", 8.0),
            ("CPU s/GB, client's proxy", 0.2),
            ("CPU s/GB, server's proxy", 0.6),
            ("CPU s/GB, both", 0.8),
        ];
        assert_eq!(figures(&sample(Workload::Bulk, "ringway", 0)), bulk);
        let ping_pong = [
            ("exchanges /s", 2000.0),
            ("CPU µs/exchange, client's proxy", 100.0),
            ("CPU µs/exchange, server's proxy", 300.0),
            ("CPU µs/exchange, both", 400.0),
        ];
        assert_eq!(figures(&sample(Workload::PingPong, "ringway", 0)), ping_pong);
        let mixed = figures(&sample(Workload::MixedBulkFirst, "ringway", 0));
        assert_eq!(mixed, [("Gb/s", 8.0), ("exchanges /s", 2000.0)]);
    }

    #[test]
    fn without_a_proxy_there_is_no_cpu_of_one() {
        let direct = Sample { proxy_cpu: None, ..sample(Workload::Bulk, "direct", 0) };
        assert_eq!(figures(&direct), [("Gb/s", 8.0)]);
    }
}
