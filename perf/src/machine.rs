//! What was measured on: without it a number says nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use testkit::shell;

use crate::measure::cpu;

/// Instructions that decide what encryption costs.
const FLAGS_OF_INTEREST: [&str; 7] = ["aes", "vaes", "vpclmulqdq", "avx2", "avx512f", "sha_ni", "hypervisor"];

/// A run on a machine busier than this is a trial, not a measurement.
pub(crate) const LOAD_AVERAGE_QUIET: f64 = 0.3;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cpu_flags: Vec<String>,
    pub(crate) cores: usize,
    /// Those that everything ran on.
    pub(crate) cores_used: Vec<usize>,
    pub(crate) memory: String,
    /// What the kernel does against each flaw of the CPU.
    pub(crate) mitigations: BTreeMap<String, String>,
    /// Of the first core; `None` where the machine has none to choose, as most virtual ones.
    pub(crate) governor: Option<String>,
    pub(crate) clock_source: Option<String>,
    /// What the programs that take part say of their version.
    #[serde(default)]
    pub(crate) tools: BTreeMap<String, String>,
    /// Of the last minute before the run.
    pub(crate) load_average: f64,
}

impl Machine {
    pub(crate) fn describe() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let flags = field(&cpuinfo, "flags").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            date: shell::run("date --utc --iso-8601=seconds")?.trim().to_owned(),
            kernel: shell::run("uname -srvm")?.trim().to_owned(),
            cpu: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cpu_flags: flags_of_interest(flags),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            cores_used: cpu::allowed()?,
            memory: field(&meminfo, "MemTotal").and_then(gibibytes).unwrap_or_else(|| "unknown".to_owned()),
            mitigations: mitigations(Path::new("/sys/devices/system/cpu/vulnerabilities")),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            tools: tools(),
            load_average: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
        })
    }
}

impl Machine {
    /// `0, 1 of 2`.
    pub(crate) fn cores_in_words(&self) -> String {
        let used: Vec<String> = self.cores_used.iter().map(ToString::to_string).collect();
        format!("{} of {}", used.join(", "), self.cores)
    }
}

/// Those that are installed.
fn tools() -> BTreeMap<String, String> {
    let ask = |(name, question): (&str, &str)| {
        let answer = shell::run(&format!("{name} {question}")).ok()?;
        Some((name.to_owned(), answer.lines().next()?.trim().to_owned()))
    };
    [("iperf3", "--version"), ("netperf", "-V"), ("haproxy", "-v")].into_iter().filter_map(ask).collect()
}

/// The value of `name : value` in the first line that has it.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim())
}

fn flags_of_interest(flags: &str) -> Vec<String> {
    let present = flags.split_whitespace().filter(|flag| FLAGS_OF_INTEREST.contains(flag));
    present.map(str::to_owned).collect()
}

/// The kernel's `24684096 kB`, which are KiB, as people say it.
fn gibibytes(kib: &str) -> Option<String> {
    let kib: f64 = kib.strip_suffix(" kB")?.parse().ok()?;
    Some(format!("{:.1} GiB", kib / f64::from(1 << 20)))
}

/// Flaws the CPU does not have are left out.
fn mitigations(directory: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let states = files.filter_map(|file| {
        let state = fs::read_to_string(file.path()).ok()?;
        Some((file.file_name().to_string_lossy().into_owned(), state.trim().to_owned()))
    });
    states.filter(|(_, state)| state != "Not affected").collect()
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_of_the_first_core_are_read() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu aes vaes sse\n\nmodel name\t: other\n";
        assert_eq!(field(cpuinfo, "model name"), Some("AMD EPYC"));
        assert_eq!(flags_of_interest(field(cpuinfo, "flags").unwrap()), ["aes", "vaes"]);
        assert_eq!(field(cpuinfo, "bogomips"), None);
    }

    #[test]
    fn memory_is_told_as_people_say_it() {
        assert_eq!(gibibytes("24684096 kB").as_deref(), Some("23.5 GiB"));
        assert_eq!(gibibytes("much"), None);
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::describe().unwrap();
        assert!(machine.cores >= machine.cores_used.len() && !machine.cores_used.is_empty());
        assert!(machine.kernel.starts_with("Linux"));
    }
}
