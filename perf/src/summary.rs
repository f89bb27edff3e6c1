//! From samples to what is said of them: medians with their range, and ratios between targets.
//!
//! A ratio is taken within a round, where both targets met the same weather, and the median is taken of the ratios, not
//! the ratio of the medians.

use serde::Serialize;

use crate::sample::{METRICS, Metric, Sample};
use crate::workload::Workload;

/// A median and the range it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

/// One figure of one workload for all targets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) metric: &'static str,
    /// In the order of the targets; `None` where the figure has no meaning.
    pub(crate) spreads: Vec<Option<Spread>>,
    /// In the order of [`pairs`].
    pub(crate) ratios: Vec<Option<Spread>>,
}

/// Every target against every one before it: `(this, that)` stands for this ÷ that.
pub(crate) fn pairs(targets: usize) -> Vec<(usize, usize)> {
    (0..targets).flat_map(|this| (0..this).map(move |that| (this, that))).collect()
}

/// All rows that have a value, workload by workload.
pub(crate) fn rows(targets: &[&str], workloads: &[Workload], samples: &[Sample]) -> Vec<Row> {
    let combinations =
        workloads.iter().flat_map(|&workload| METRICS.iter().map(move |metric| (workload, metric)));
    let rows = combinations.map(|(workload, metric)| row(targets, workload, metric, samples));
    rows.filter(|row| row.spreads.iter().any(Option::is_some)).collect()
}

fn row(targets: &[&str], workload: Workload, metric: &Metric, samples: &[Sample]) -> Row {
    // By target, (round, value).
    let values: Vec<Vec<(usize, f64)>> = targets
        .iter()
        .map(|&target| {
            let own = samples.iter().filter(|sample| sample.workload == workload && sample.target == target);
            own.filter_map(|sample| Some((sample.round, metric.of(sample)?))).collect()
        })
        .collect();
    let spreads = values.iter().map(|own| Spread::of(own.iter().map(|(_, value)| *value).collect()));
    let ratios =
        pairs(targets.len()).into_iter().map(|(this, that)| Spread::of(ratios(&values[this], &values[that])));
    Row { workload, metric: metric.name, spreads: spreads.collect(), ratios: ratios.collect() }
}

/// Round by round.
fn ratios(this: &[(usize, f64)], that: &[(usize, f64)]) -> Vec<f64> {
    let of_round = |round: usize| that.iter().find(|(other, _)| *other == round).map(|(_, value)| *value);
    let ratios = this.iter().filter_map(|&(round, value)| Some(value / of_round(round)?));
    ratios.filter(|ratio| ratio.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sample::tests::sample;

    #[test]
    fn medians_of_odd_and_even_counts() {
        let table = [
            (vec![3.0, 1.0, 2.0], Some((2.0, 1.0, 3.0))),
            (vec![4.0, 1.0, 2.0, 3.0], Some((2.5, 1.0, 4.0))),
            (vec![7.0], Some((7.0, 7.0, 7.0))),
            (vec![], None),
        ];
        for (values, expected) in table {
            let expected = expected.map(|(median, min, max)| Spread { median, min, max });
            assert_eq!(Spread::of(values.clone()), expected, "{values:?}");
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine is ten times slower in the second round: the ratio does not see it.
        let mut samples = Vec::new();
        for (round, speed) in [(0, 100), (1, 10), (2, 100)] {
            for (target, factor) in [("ztunnel", 1), ("ringway", 3)] {
                let received_bytes = 1_000_000 * speed * factor;
                samples.push(Sample { received_bytes, ..sample(Workload::Bulk, target, round) });
            }
        }
        let rows = rows(&["ztunnel", "ringway"], &[Workload::Bulk, Workload::Connect], &samples);
        let speed = rows.iter().find(|row| row.metric == "Gb/s").unwrap();
        let ratio = speed.ratios[0].unwrap();
        assert!((ratio.min - 3.0).abs() < 1e-9 && (ratio.max - 3.0).abs() < 1e-9, "{ratio:?}");
        assert!(speed.spreads[0].unwrap().min < speed.spreads[0].unwrap().max);
        assert!(rows.iter().all(|row| row.workload == Workload::Bulk), "nothing was measured of connect");
    }

    #[test]
    fn a_round_that_one_lacks_gives_no_ratio() {
        let samples = [sample(Workload::Bulk, "ztunnel", 0), sample(Workload::Bulk, "ringway", 1)];
        let rows = rows(&["ztunnel", "ringway"], &[Workload::Bulk], &samples);
        assert_eq!(rows[0].ratios, [None]);
    }

    #[test]
    fn every_pair_is_compared_once_later_by_earlier() {
        assert_eq!(pairs(3), [(1, 0), (2, 0), (2, 1)]);
        assert_eq!(pairs(1), []);
    }
}
