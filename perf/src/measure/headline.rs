//! A sample in a line, for whoever watches.

use crate::record::Sample;

/// What is shown of a sample.
const HEADLINES: [(&str, &str); 8] = [
    ("throughput_gbps", "Gb/s"),
    ("rate_per_s", "/s"),
    ("latency_p50_us", "µs p50"),
    ("cpu_s_per_gb", "CPU s/GB"),
    ("cpu_us_per_op", "CPU µs/op"),
    ("bytes_per_connection", "B/connection"),
    ("syscalls_per_mb", "system calls/MB"),
    ("syscalls_per_op", "system calls/op"),
];

pub(super) fn headline(sample: &Sample) -> String {
    let shown = HEADLINES.iter().filter_map(|(key, unit)| {
        let value = sample.figures.get(*key)?;
        Some(if *value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.2} {unit}") })
    });
    let figures: Vec<String> = shown.collect();
    format!("{} · {} · {}", sample.workload, sample.target, figures.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_told_in_a_line() {
        let figures = [("throughput_gbps", 8.25), ("cpu_s_per_gb", 0.81), ("rss_mb", 20.0)];
        let sample = Sample {
            target: "ringway".to_owned(),
            workload: "bulk".to_owned(),
            figures: figures.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            ..Sample::default()
        };
        assert_eq!(headline(&sample), "bulk · ringway · 8.25 Gb/s, 0.81 CPU s/GB");
    }
}
