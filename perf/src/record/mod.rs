//! A run as it is written down: what was measured, on what, and every sample. The JSON of a report is this and nothing
//! else; tables, charts, comparisons and the gate are made from it. docs/perf/schema.md describes it for others.

pub(crate) mod figure;
pub(crate) mod file;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::report::number::counted;

/// No window and no warm-up is longer, in seconds: an hour shows nothing that ten minutes did not, and what is longer is
/// a slip of the finger that would be noticed late.
const WINDOW_SECONDS_MAX: f64 = 3600.0;

/// No run has more rounds: an interval shrinks with their square root, so what a hundred times as many would show more
/// surely is not worth the days.
pub(crate) const ROUNDS_MAX: usize = 1_000;

/// Raised when an older reader would misunderstand a newer file.
pub(crate) const SCHEMA: u32 = 1;

/// Everything of one run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) schema: u32,
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    /// Set where it was ended from outside before all of the plan was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cut_short: Option<CutShort>,
    /// In the order of the report.
    pub(crate) targets: Vec<Subject>,
    /// In the order of the report.
    pub(crate) workloads: Vec<WorkloadNote>,
    /// In the order in which they were measured.
    pub(crate) samples: Vec<Sample>,
    /// What was asked for and is not in the report.
    pub(crate) left_out: Vec<LeftOut>,
}

/// What there is of a run that was ended before its time. Nothing of a round that is not whole is in it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct CutShort {
    /// All of the plan's where only what comes after them is missing.
    pub(crate) whole_rounds: usize,
}

impl Run {
    /// How many rounds there are, whatever was planned.
    pub(crate) fn rounds(&self) -> usize {
        self.cut_short.map_or(self.plan.rounds, |cut| cut.whole_rounds)
    }

    /// How much was measured.
    pub(crate) fn in_words(&self) -> String {
        let Plan { seconds, warm_up_seconds, threads, .. } = self.plan;
        format!(
            "{} of {seconds} s after {warm_up_seconds} s of warm-up, {} in each proxy",
            self.rounds_in_words(),
            counted(threads as usize, "worker thread")
        )
    }

    /// `9 rounds`, or `3 of 9 rounds`.
    pub(crate) fn rounds_in_words(&self) -> String {
        let planned = counted(self.plan.rounds, "round");
        if self.rounds() == self.plan.rounds { planned } else { format!("{} of {planned}", self.rounds()) }
    }

    /// A sentence for whoever takes it for a whole one; `None` of one that is.
    pub(crate) fn cut_short_in_words(&self) -> Option<String> {
        let cut = self.cut_short?;
        Some(if cut.whole_rounds < self.plan.rounds {
            format!("This run was cut short: {} were measured.", self.rounds_in_words())
        } else {
            "This run was cut short: all rounds were measured, and nothing after them.".to_owned()
        })
    }
}

/// How it was measured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Plan {
    /// The command line, so that it can be repeated.
    pub(crate) command: Vec<String>,
    pub(crate) rounds: usize,
    /// The measured window of each workload that has no length of its own.
    pub(crate) seconds: f64,
    /// What runs before it and does not count.
    pub(crate) warm_up_seconds: f64,
    /// Worker threads of each proxy.
    pub(crate) threads: u32,
    /// Where client and server stand, in words: `one node to another, vxlan, MTU 1450`.
    pub(crate) site: String,
}

impl Plan {
    /// An error when nothing could come of it, before anything is built or started for it.
    pub(crate) fn expect_measurable(&self) -> Result<()> {
        expect_rounds(self.rounds)?;
        ensure!(self.threads > 0, "a proxy needs a worker thread: --threads 1 or more");
        ensure!(
            self.seconds > 0.0 && self.seconds <= WINDOW_SECONDS_MAX,
            "nothing to measure in {} seconds: give more than 0 and up to {WINDOW_SECONDS_MAX}",
            self.seconds
        );
        ensure!(
            (0.0..=WINDOW_SECONDS_MAX).contains(&self.warm_up_seconds),
            "a warm-up of {} seconds: give 0 to {WINDOW_SECONDS_MAX}",
            self.warm_up_seconds
        );
        Ok(())
    }
}

/// An error when there are none, or more than anybody waits for.
pub(crate) fn expect_rounds(rounds: usize) -> Result<()> {
    ensure!(rounds > 0, "nothing to measure in 0 rounds");
    ensure!(rounds <= ROUNDS_MAX, "{rounds} rounds: give up to {ROUNDS_MAX}");
    Ok(())
}

/// A target as it was measured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) build: Build,
    pub(crate) encryption: Encryption,
    /// What its first connection negotiated; `None` for a target that does not encrypt, or not by TLS.
    pub(crate) suite: Option<String>,
}

/// The program behind a target.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Build {
    /// What it says of itself.
    pub(crate) version: String,
    /// The beginning of the binary's SHA-256; empty where there is no binary.
    pub(crate) sha256: String,
    /// How it was built or is set up, where that is known.
    pub(crate) notes: String,
}

/// What a target promises of the bytes between the pods.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Encryption {
    /// Nothing.
    #[default]
    None,
    /// All TCP between them is in TLS connections to port 15008.
    Tunnel,
    /// The same, and it is not TLS: what is in them is for their own test to prove.
    Sealed,
    /// All of it is in UDP packets to port 51820.
    Wireguard,
    /// Both ends are the user's, and nobody can look at the wire between them.
    Unproven,
}

/// A workload as the report names it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct WorkloadNote {
    pub(crate) name: String,
    /// One sentence.
    pub(crate) title: String,
    /// What was run, as one could type it.
    pub(crate) command: String,
}

/// One workload through one target in one round.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) target: String,
    pub(crate) workload: String,
    /// How long the measured window was.
    pub(crate) seconds: f64,
    /// By the keys of [`figure::FIGURES`]; only what has a meaning in this workload.
    pub(crate) figures: BTreeMap<String, f64>,
    /// The latency's curve from the smallest quantile up; empty without one.
    pub(crate) curve: Vec<Point>,
    pub(crate) wire: Wire,
    pub(crate) noise: Noise,
}

/// One point of a latency curve.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Point {
    /// From 0 to 1.
    pub(crate) quantile: f64,
    pub(crate) us: f64,
}

/// What crossed the client's link in packets that carry data, headers included, from before the load to after it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Wire {
    /// In TCP connections to port 15008, or UDP to port 51820.
    pub(crate) tunnel_bytes: u64,
    /// In other TCP connections.
    pub(crate) plain_bytes: u64,
}

/// What else the machine did meanwhile.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Noise {
    /// Cores that processes which are neither proxies nor generators kept busy.
    pub(crate) foreign_cores: f64,
    /// Cores the hypervisor gave to somebody else though we would have used them.
    pub(crate) stolen_cores: f64,
}

/// What was asked for and could not be measured here.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct LeftOut {
    /// A target, or `workload through target`.
    pub(crate) what: String,
    pub(crate) reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    #[test]
    fn a_plan_is_told_in_words() {
        let plan = Plan { rounds: 1, seconds: 2.0, warm_up_seconds: 0.5, threads: 1, ..Plan::default() };
        let run = Run { plan, ..made_up::empty() };
        assert_eq!(run.in_words(), "1 round of 2 s after 0.5 s of warm-up, 1 worker thread in each proxy");
        assert_eq!(run.cut_short_in_words(), None);
    }

    #[test]
    fn a_run_that_was_cut_short_says_so() {
        let plan = Plan { rounds: 9, ..Plan::default() };
        let cut = |whole_rounds| Run {
            plan: plan.clone(),
            cut_short: Some(CutShort { whole_rounds }),
            ..made_up::empty()
        };
        assert!(cut(3).in_words().starts_with("3 of 9 rounds of "), "{}", cut(3).in_words());
        assert!(cut(3).cut_short_in_words().is_some_and(|said| said.contains("3 of 9 rounds were measured")));
        assert!(cut(9).cut_short_in_words().is_some_and(|said| said.contains("all rounds were measured")));
    }

    #[test]
    fn a_plan_of_which_nothing_could_come_is_an_error() {
        let plan = Plan { rounds: 1, seconds: 1.0, warm_up_seconds: 0.0, threads: 1, ..Plan::default() };
        assert!(plan.expect_measurable().is_ok());
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert!(Plan { seconds, ..plan.clone() }.expect_measurable().is_err(), "{seconds}");
        }
        for warm_up_seconds in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(
                Plan { warm_up_seconds, ..plan.clone() }.expect_measurable().is_err(),
                "{warm_up_seconds}"
            );
        }
        for rounds in [0, ROUNDS_MAX + 1] {
            assert!(Plan { rounds, ..plan.clone() }.expect_measurable().is_err(), "{rounds}");
        }
        assert!(Plan { threads: 0, ..plan }.expect_measurable().is_err());
    }
}
