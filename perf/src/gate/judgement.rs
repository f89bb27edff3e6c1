//! Whether a run of two builds shows a loss: a pure function of what was recorded.
//!
//! A loss fails only when it is sure *and* matters: the whole interval of the ratio lies beyond the figure's threshold.
//! What is sure but small, or large but unsure, is told and passes. What nobody can tell is told as well, and neither passes
//! nor fails.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::record::Run;
use crate::record::figure::{Better, FIGURES, Figure, of};
use crate::report::statistics::{Ratio, series, spread};

/// What is said of one figure of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Judgement {
    /// A sure loss beyond the threshold: the gate fails.
    Lost,
    /// The median is beyond the threshold, the interval is not.
    Unsure,
    /// A sure gain beyond the threshold.
    Gained,
    /// Neither.
    Same,
    /// Too few rounds for any interval.
    TooFewRounds,
    /// Nothing to compare: one build has no such figure, or the base has nothing in a round in which the head has something.
    Unjudged,
}

impl Judgement {
    /// Whether it says anything of the build.
    pub(crate) fn is_told(self) -> bool {
        !matches!(self, Self::TooFewRounds | Self::Unjudged)
    }
}

/// How one figure of one workload moved.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) workload: String,
    pub(crate) figure: &'static Figure,
    /// The median; `None` of a build that has no such figure.
    pub(crate) base: Option<f64>,
    pub(crate) head: Option<f64>,
    /// head ÷ base; `None` where they can't be compared.
    pub(crate) ratio: Option<Ratio>,
    pub(crate) threshold: f64,
    pub(crate) judgement: Judgement,
}

/// Other thresholds than the figures' own, as shares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thresholds(BTreeMap<&'static str, f64>);

/// One of them, as `--threshold KEY=PERCENT` gives it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threshold {
    key: &'static str,
    share: f64,
}

impl FromStr for Threshold {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, percent) = text.split_once('=').context("give it as KEY=PERCENT")?;
        let Some(figure) = of(key) else {
            let keys: Vec<&str> = FIGURES.iter().map(|figure| figure.key).collect();
            bail!("no figure is called {key:?}: there are {}", keys.join(", "));
        };
        let percent: f64 = percent.trim_end_matches('%').parse().context("PERCENT is a number")?;
        ensure!((0.0..100.0).contains(&percent), "a threshold is at least 0 and less than 100 percent");
        Ok(Self { key: figure.key, share: percent / 100.0 })
    }
}

impl FromIterator<Threshold> for Thresholds {
    fn from_iter<Given: IntoIterator<Item = Threshold>>(given: Given) -> Self {
        Self(given.into_iter().map(|threshold| (threshold.key, threshold.share)).collect())
    }
}

impl Thresholds {
    /// `None` of a figure that is not judged.
    fn of(&self, figure: &Figure) -> Option<f64> {
        self.0.get(figure.key).copied().or(figure.gate_threshold)
    }
}

/// Everything that either build has and that has a threshold, in the order of reports.
pub(crate) fn judge(run: &Run, base: &str, head: &str, thresholds: &Thresholds) -> Vec<Change> {
    let judged = FIGURES.iter().filter_map(|figure| Some((figure, thresholds.of(figure)?)));
    let judged: Vec<(&'static Figure, f64)> = judged.collect();
    let of_workload = |workload: &str| -> Vec<Change> {
        let change = |&(figure, threshold): &(&'static Figure, f64)| {
            let of_base = series(run, workload, base, figure);
            let of_head = series(run, workload, head, figure);
            let ratio = Ratio::of(&of_head, &of_base);
            Change {
                workload: workload.to_owned(),
                figure,
                base: spread(&of_base).map(|spread| spread.median),
                head: spread(&of_head).map(|spread| spread.median),
                ratio,
                threshold,
                judgement: ratio
                    .map_or(Judgement::Unjudged, |ratio| judgement(&ratio, figure.better, threshold)),
            }
        };
        let is_there = |change: &Change| change.base.is_some() || change.head.is_some();
        judged.iter().map(change).filter(is_there).collect()
    };
    run.workloads.iter().flat_map(|workload| of_workload(&workload.name)).collect()
}

fn judgement(ratio: &Ratio, better: Better, threshold: f64) -> Judgement {
    // Turned so that more than 1 is a loss.
    let (median, interval) = match better {
        Better::Lower => (ratio.median, ratio.interval),
        Better::Higher => (1.0 / ratio.median, ratio.interval.map(|(low, high)| (1.0 / high, 1.0 / low))),
    };
    let loss = 1.0 / (1.0 - threshold);
    match interval {
        None => Judgement::TooFewRounds,
        Some((low, _)) if low > loss => Judgement::Lost,
        Some((_, high)) if high < 1.0 - threshold => Judgement::Gained,
        Some(_) if median > loss => Judgement::Unsure,
        Some(_) => Judgement::Same,
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Lost => "LOST",
            Self::Unsure => "worse, but not surely",
            Self::Gained => "gained",
            Self::Same => "no loss",
            Self::TooFewRounds => "too few rounds",
            Self::Unjudged => "UNJUDGED",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{Sample, WorkloadNote};

    /// Noise of ±1.5 %, always the same for a seed.
    struct Noise(u64);

    impl Noise {
        fn factor(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            1.0 + ((self.0 >> 33) as f64 / f64::from(u32::MAX >> 1) - 0.5) * 0.03
        }
    }

    /// A recorded run of two builds; `change` is what the head has of each figure.
    fn recorded(rounds: usize, seed: u64, change: &[(&str, f64)]) -> Run {
        let mut noise = Noise(seed);
        let figures = [("throughput_gbps", 8.0), ("cpu_s_per_gb", 0.8), ("latency_p50_us", 110.0)];
        let mut samples = Vec::new();
        for round in 0..rounds {
            // Weather: what both have in common.
            let weather = noise.factor().powi(8);
            for target in ["ringway:base", "ringway:head"] {
                let value = |(key, value): (&str, f64)| {
                    let changed =
                        change.iter().find(|(changed, _)| *changed == key && target.ends_with("head"));
                    (key.to_owned(), value * weather * noise.factor() * changed.map_or(1.0, |(_, by)| *by))
                };
                samples.push(Sample {
                    round,
                    target: target.to_owned(),
                    workload: "bulk".to_owned(),
                    figures: figures.into_iter().map(value).collect(),
                    ..Sample::default()
                });
            }
        }
        let workloads = vec![WorkloadNote { name: "bulk".to_owned(), ..WorkloadNote::default() }];
        Run { samples, workloads, ..crate::report::made_up::empty() }
    }

    fn judged(run: &Run) -> BTreeMap<&'static str, Judgement> {
        let changes = judge(run, "ringway:base", "ringway:head", &Thresholds::default());
        changes.iter().map(|change| (change.figure.key, change.judgement)).collect()
    }

    #[test]
    fn a_build_against_itself_passes_ten_times() {
        for seed in 0..10 {
            let judged = judged(&recorded(11, seed, &[]));
            assert_eq!(judged.len(), 3);
            assert!(judged.values().all(|judgement| *judgement == Judgement::Same), "{seed}: {judged:?}");
        }
    }

    #[test]
    fn a_loss_of_five_percent_fails_and_a_gain_does_not() {
        for seed in 0..10 {
            let lost = judged(&recorded(11, seed, &[("throughput_gbps", 0.95), ("cpu_s_per_gb", 1.05)]));
            assert_eq!(lost["throughput_gbps"], Judgement::Lost, "{seed}");
            assert_eq!(lost["cpu_s_per_gb"], Judgement::Lost, "{seed}");
            assert_eq!(lost["latency_p50_us"], Judgement::Same, "{seed}");
            let gained = judged(&recorded(11, seed, &[("throughput_gbps", 1.07), ("cpu_s_per_gb", 0.93)]));
            assert_eq!(gained["throughput_gbps"], Judgement::Gained, "{seed}");
            assert_eq!(gained["cpu_s_per_gb"], Judgement::Gained, "{seed}");
        }
    }

    #[test]
    fn what_is_unsure_or_small_passes() {
        let interval = |low, high| Ratio { median: f64::midpoint(low, high), interval: Some((low, high)) };
        for (low, high, lower, higher) in [
            (1.04, 1.06, Judgement::Lost, Judgement::Gained),
            (1.01, 1.10, Judgement::Unsure, Judgement::Same),
            (1.01, 1.02, Judgement::Same, Judgement::Same),
            (0.98, 1.02, Judgement::Same, Judgement::Same),
            (0.90, 0.95, Judgement::Gained, Judgement::Lost),
        ] {
            assert_eq!(judgement(&interval(low, high), Better::Lower, 0.03), lower, "{low}..{high}");
            assert_eq!(judgement(&interval(low, high), Better::Higher, 0.03), higher, "{low}..{high}");
        }
        let few = Ratio { median: 2.0, interval: None };
        assert_eq!(judgement(&few, Better::Lower, 0.03), Judgement::TooFewRounds);
    }

    #[test]
    fn what_can_not_be_compared_is_unjudged_and_not_left_out() {
        let stood_still = |target: &str| {
            let mut run = recorded(11, 1, &[]);
            let sample = run.samples.iter_mut().find(|sample| sample.target == target && sample.round == 3);
            sample.unwrap().figures.insert("throughput_gbps".to_owned(), 0.0);
            judged(&run)["throughput_gbps"]
        };
        assert_eq!(stood_still("ringway:base"), Judgement::Unjudged);
        assert_eq!(stood_still("ringway:head"), Judgement::Same);
        // One that only one of them has.
        let mut run = recorded(11, 1, &[]);
        for sample in run.samples.iter_mut().filter(|sample| sample.target == "ringway:head") {
            sample.figures.remove("cpu_s_per_gb");
        }
        assert_eq!(judged(&run)["cpu_s_per_gb"], Judgement::Unjudged);
        assert_eq!(judged(&run)["throughput_gbps"], Judgement::Same);
    }

    #[test]
    fn thresholds_can_be_set_by_figure() {
        let run = recorded(11, 1, &[("throughput_gbps", 0.95)]);
        let wide: Thresholds = ["throughput_gbps=10".parse::<Threshold>().unwrap()].into_iter().collect();
        let changes = judge(&run, "ringway:base", "ringway:head", &wide);
        assert!(changes.iter().all(|change| change.judgement != Judgement::Lost));
        for (broken, word) in [
            ("speed=3", "speed"),
            ("rate_per_s", "KEY"),
            ("rate_per_s=x", "number"),
            ("rate_per_s=100", "less"),
        ] {
            let error = format!("{:#}", broken.parse::<Threshold>().unwrap_err());
            assert!(error.contains(word), "{broken}: {error}");
        }
    }
}
