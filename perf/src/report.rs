//! What is written down: a Markdown page for people, JSON for machines.

use std::fmt::Write;

use serde::Serialize;

use crate::machine::{LOAD_AVERAGE_QUIET, Machine};
use crate::runner::{Plan, Results, Subject};
use crate::sample::Memory;
use crate::summary::{self, Row, Spread};

/// A share of a core that others may take before the page says so.
const NOISE_CORES_QUIET: f64 = 0.05;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    plan: Plan,
    #[serde(flatten)]
    results: Results,
    summary: Vec<Row>,
}

impl Report {
    pub(crate) fn new(machine: Machine, plan: Plan, results: Results) -> Self {
        let names = names(&results.subjects);
        let summary = summary::rows(&names, &plan.workloads, &results.samples);
        Self { machine, plan, results, summary }
    }

    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    pub(crate) fn markdown(&self) -> String {
        let mut page = machine(&self.machine, &self.plan);
        page += &subjects(&self.results);
        for &workload in &self.plan.workloads {
            let rows: Vec<&Row> = self.summary.iter().filter(|row| row.workload == workload).collect();
            page += &format!("\n### {}\n\n", workload.name());
            page += &table(&names(&self.results.subjects), &rows);
        }
        page + &noise(&self.machine, &self.results)
    }
}

fn names(subjects: &[Subject]) -> Vec<&'static str> {
    subjects.iter().map(|subject| subject.name).collect()
}

fn machine(machine: &Machine, plan: &Plan) -> String {
    let mitigations: Vec<String> =
        machine.mitigations.iter().map(|(flaw, state)| format!("{flaw}: {state}")).collect();
    format!(
        "{} · {} · {} ({}) · cores {:?} of {} · {} · governor {} · clock {}\n\n\
         Mitigations: {}.\n\n\
         {} rounds of {} s after {} s of warm-up. Figures: median (min..max) of the rounds; ratios: taken within each \
         round, then median (min..max).\n",
        machine.date,
        machine.kernel,
        machine.cpu,
        machine.cpu_flags.join(" "),
        machine.cores_used,
        machine.cores,
        machine.memory,
        machine.governor.as_deref().unwrap_or("none"),
        machine.clock_source.as_deref().unwrap_or("unknown"),
        if mitigations.is_empty() { "none".to_owned() } else { mitigations.join("; ") },
        plan.rounds,
        plan.seconds,
        plan.warm_up_seconds,
    )
}

fn subjects(results: &Results) -> String {
    let mut table = "\n| target | cipher suite | RSS MB, client's and server's proxy | build | SHA-256 |\n|---|---|---|---|---|\n"
        .to_owned();
    for subject in &results.subjects {
        let resident = |side: usize| resident(&results.memory, subject.name, side);
        let (suite, build) = (subject.suite.as_deref().unwrap_or("–"), &subject.build);
        let memory = match (resident(0), resident(1)) {
            (Some(client), Some(server)) => format!("{}, {}", figures(&client), figures(&server)),
            _ => "–".to_owned(),
        };
        let _ = writeln!(
            table,
            "| {} | {suite} | {memory} | {} | {} |",
            subject.name,
            build.version.replace('|', "\\|"),
            build.sha256
        );
    }
    table
}

fn resident(memory: &[Memory], target: &str, side: usize) -> Option<Spread> {
    let own = memory.iter().filter(|memory| memory.target == target);
    Spread::of(own.map(|memory| memory.resident_kib[side] as f64 * 1024.0 / 1e6).collect())
}

/// One row a figure, one column a target, then one a pair.
fn table(targets: &[&str], rows: &[&Row]) -> String {
    let pairs = summary::pairs(targets.len());
    let mut head: Vec<String> = targets.iter().map(|&target| target.to_owned()).collect();
    head.extend(pairs.iter().map(|&(this, that)| format!("{} ÷ {}", targets[this], targets[that])));
    let mut table = format!("| | {} |\n|---|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells = row.spreads.iter().chain(&row.ratios);
        let cells: Vec<String> =
            cells.map(|cell| cell.as_ref().map_or_else(|| "–".to_owned(), figures)).collect();
        let _ = writeln!(table, "| {} | {} |", row.metric, cells.join(" | "));
    }
    table
}

fn figures(spread: &Spread) -> String {
    let Spread { median, min, max } = *spread;
    format!("{} ({}..{})", figure(median), figure(min), figure(max))
}

/// Three digits that count, and no fraction of a large number.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What makes the figures doubtful; nothing on a quiet machine.
fn noise(machine: &Machine, results: &Results) -> String {
    let worst = |of: fn(&crate::sample::Noise) -> f64| {
        results.samples.iter().map(|sample| of(&sample.noise)).fold(0.0, f64::max)
    };
    let (foreign, stolen) = (worst(|noise| noise.foreign_cores), worst(|noise| noise.stolen_cores));
    let mut doubts = Vec::new();
    if machine.load_average > LOAD_AVERAGE_QUIET {
        doubts.push(format!("load average {} before the run", machine.load_average));
    }
    if foreign > NOISE_CORES_QUIET {
        doubts.push(format!("other processes took up to {foreign:.2} cores"));
    }
    if stolen > NOISE_CORES_QUIET {
        doubts.push(format!("the hypervisor took up to {stolen:.2} cores"));
    }
    if doubts.is_empty() {
        return "\nThe machine was quiet.\n".to_owned();
    }
    format!("\n**The machine was not quiet: a trial, not a measurement** ({}).\n", doubts.join("; "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sample::tests::sample;
    use crate::sample::{Noise, Sample};
    use crate::target::Build;
    use crate::workload::Workload;

    fn quiet() -> Machine {
        Machine { load_average: 0.0, ..Machine::describe().unwrap() }
    }

    fn report(noise: Noise) -> Report {
        let plan = Plan { rounds: 1, seconds: 5.0, warm_up_seconds: 1.0, workloads: vec![Workload::Bulk] };
        let subject = |name, suite: Option<&str>| Subject {
            name,
            build: Build::default(),
            suite: suite.map(str::to_owned),
        };
        let direct = Sample { proxy_cpu: None, ..sample(Workload::Bulk, "direct", 0) };
        let ringway = Sample { received_bytes: 2_500_000_000, noise, ..sample(Workload::Bulk, "ringway", 0) };
        let results = Results {
            subjects: vec![subject("direct", None), subject("ringway", Some("TLS_AES_128_GCM_SHA256"))],
            samples: vec![direct, ringway],
            memory: vec![Memory { round: 0, target: "ringway", resident_kib: [10_000, 20_000] }],
        };
        Report::new(quiet(), plan, results)
    }

    #[test]
    fn the_page_holds_figures_ratios_suites_and_memory() {
        let page = report(Noise::default()).markdown();
        for part in [
            "| | direct | ringway | ringway ÷ direct |",
            "| Gb/s | 8.00 (8.00..8.00) | 4.00 (4.00..4.00) | 0.50 (0.50..0.50) |",
            "| CPU s/GB, both | – | 1.60 (1.60..1.60) | – |",
            "| ringway | TLS_AES_128_GCM_SHA256 | 10.2 (10.2..10.2), 20.5 (20.5..20.5) |",
            "The machine was quiet.",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }

    #[test]
    fn a_busy_machine_is_named() {
        let page = report(Noise { foreign_cores: 0.5, stolen_cores: 0.0 }).markdown();
        assert!(page.contains("not quiet") && page.contains("0.50 cores"), "{page}");
    }

    #[test]
    fn json_holds_every_sample_and_the_summary() {
        let json: serde_json::Value =
            serde_json::from_str(&report(Noise::default()).json().unwrap()).unwrap();
        assert_eq!(json["samples"].as_array().unwrap().len(), 2);
        assert_eq!(json["samples"][1]["received_bytes"], 2_500_000_000_u64);
        assert_eq!(json["summary"][0]["ratios"][0]["median"], 0.5);
        assert_eq!(json["plan"]["workloads"][0], "bulk");
    }

    #[test]
    fn figures_have_the_digits_that_count() {
        for (value, expected) in [(0.123, "0.12"), (9.876, "9.88"), (12.34, "12.3"), (12_345.6, "12346")] {
            assert_eq!(figure(value), expected);
        }
    }
}
