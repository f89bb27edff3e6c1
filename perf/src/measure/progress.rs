//! How far a run is: a bar with the time left on a terminal, a line a measurement elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::record::Sample;

const BAR_CELLS: usize = 24;

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

#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    done: usize,
    all: usize,
    on_terminal: bool,
}

impl Progress {
    pub(super) fn new(all: usize) -> Self {
        Self { begun: Instant::now(), done: 0, all, on_terminal: io::stderr().is_terminal() }
    }

    pub(super) fn measured(&mut self, sample: &Sample) {
        self.done += 1;
        self.show(&headline(sample));
    }

    pub(super) fn finish(&self) {
        if self.on_terminal {
            let _ = writeln!(io::stderr());
        }
    }

    fn show(&self, what: &str) {
        // Whoever closed the standard error does not want to see it.
        let _ = if self.on_terminal {
            write!(io::stderr(), "\r\x1b[K{} {what}", self.bar())
        } else {
            writeln!(io::stderr(), "{}/{} {what}", self.done, self.all)
        };
    }

    fn bar(&self) -> String {
        let filled = BAR_CELLS * self.done / self.all.max(1);
        let bar = "█".repeat(filled) + &"░".repeat(BAR_CELLS - filled);
        format!("{bar} {} left ", clock(left(self.begun.elapsed(), self.done, self.all)))
    }
}

fn left(passed: Duration, done: usize, all: usize) -> Duration {
    passed.mul_f64((all - done) as f64 / done.max(1) as f64)
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn headline(sample: &Sample) -> String {
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
    fn the_time_left_is_what_the_rest_takes_at_the_same_pace() {
        assert_eq!(left(Duration::from_secs(60), 3, 12), Duration::from_secs(180));
        assert_eq!(left(Duration::from_secs(60), 12, 12), Duration::ZERO);
        assert_eq!(clock(Duration::from_secs(187)), "3:07");
    }

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
