//! From samples to what is said of them: medians with their range, and ratios between targets.
//!
//! A ratio is taken within a round, where both targets met the same weather, and the median is taken of the ratios, not
//! the ratio of the medians. Its interval is that of [`bootstrap`].

use std::collections::BTreeMap;

use super::{bootstrap, number};
use crate::record::Run;
use crate::record::figure::{Better, Figure};

/// A median and the range it lies in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let count = values.len();
        Some(Self { median: f64::midpoint(values[(count - 1) / 2], values[count / 2]), min, max })
    }

    /// The range as a share of the median; zero of a median that is.
    pub(crate) fn width(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / self.median.abs() }
    }
}

/// How many times one target has what another has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    /// 95 %; `None` of too few rounds.
    pub(crate) interval: Option<(f64, f64)>,
}

/// What a ratio says, for somebody who prefers the target above the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Better,
    Worse,
    /// The interval spans 1.0.
    NoDifference,
    TooFewRounds,
}

impl Ratio {
    /// Pair by pair; `None` where no round has both, or where one has nothing below the line: what the others say would be
    /// told of all.
    pub(crate) fn of(this: &Series, that: &Series) -> Option<Self> {
        let pairs = this.iter().filter_map(|(round, &this)| Some((this, *that.get(round)?)));
        let ratios = pairs.map(|(this, that)| quotient(this, that)).collect::<Option<Vec<f64>>>()?;
        Some(Self { median: Spread::of(&ratios)?.median, interval: bootstrap::of_median(&ratios) })
    }

    /// Of two that were not measured round by round beside each other: of their medians.
    pub(crate) fn unpaired(this: &Series, that: &Series) -> Option<Self> {
        let values = |series: &Series| -> Vec<f64> { series.values().copied().collect() };
        let (this, that) = (values(this), values(that));
        let median = quotient(Spread::of(&this)?.median, Spread::of(&that)?.median)?;
        Some(Self { median, interval: bootstrap::of_quotient(&this, &that) })
    }

    /// It and its interval as changes, in one notation.
    pub(crate) fn as_changes(&self) -> (String, Option<String>) {
        let Some((low, high)) = self.interval else { return (number::change(self.median), None) };
        let [median, low, high] = number::changes([self.median, low, high]);
        (median, Some(format!("{low} to {high}")))
    }

    pub(crate) fn verdict(&self, better: Better) -> Verdict {
        match (self.interval, better) {
            (None, _) => Verdict::TooFewRounds,
            (Some((low, high)), _) if low <= 1.0 && high >= 1.0 => Verdict::NoDifference,
            (Some((low, _)), Better::Higher) if low > 1.0 => Verdict::Better,
            (Some((_, high)), Better::Lower) if high < 1.0 => Verdict::Better,
            _ => Verdict::Worse,
        }
    }
}

/// Two that are both nothing are alike.
fn quotient(this: f64, that: f64) -> Option<f64> {
    if this == 0.0 && that == 0.0 {
        return Some(1.0);
    }
    Some(this / that).filter(|ratio| ratio.is_finite())
}

/// One figure of one target in one workload, by round.
pub(crate) type Series = BTreeMap<usize, f64>;

/// What a run has of one figure.
pub(crate) fn series(run: &Run, workload: &str, target: &str, figure: &Figure) -> Series {
    let own = run.samples.iter().filter(|sample| sample.workload == workload && sample.target == target);
    let values = own.filter_map(|sample| Some((sample.round, *sample.figures.get(figure.key)?)));
    values.filter(|(_, value)| value.is_finite()).collect()
}

/// The median and range of a series; `None` of an empty one.
pub(crate) fn spread(series: &Series) -> Option<Spread> {
    Spread::of(&series.values().copied().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn by_round(values: &[f64]) -> Series {
        values.iter().copied().enumerate().collect()
    }

    #[test]
    fn medians_of_any_number() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        let four = Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((four.median, four.width()), (2.5, 1.2));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // Both are twice as slow in every other round: that is weather.
        let this = by_round(&[2.0, 1.0, 2.0, 1.0, 2.0, 1.0]);
        let that = by_round(&[1.0, 0.5, 1.0, 0.5, 1.0, 0.5]);
        let ratio = Ratio::of(&this, &that).unwrap();
        assert_eq!(ratio, Ratio { median: 2.0, interval: Some((2.0, 2.0)) });
        let apart = Ratio::unpaired(&this, &that).unwrap();
        assert!(apart.interval.unwrap().0 < 2.0);
    }

    #[test]
    fn rounds_that_only_one_has_do_not_count() {
        let this = by_round(&[4.0, 9.0]);
        let that = Series::from([(0, 2.0), (7, 1.0)]);
        assert_eq!(Ratio::of(&this, &that), Some(Ratio { median: 2.0, interval: None }));
        assert_eq!(Ratio::of(&this, &Series::new()), None);
    }

    #[test]
    fn nothing_against_nothing_is_no_difference() {
        let none = by_round(&[0.0; 5]);
        assert_eq!(Ratio::of(&none, &none).unwrap().verdict(Better::Lower), Verdict::NoDifference);
        assert_eq!(Ratio::of(&by_round(&[1.0; 5]), &none), None);
        // One that stood still in four rounds of five is not fifteen thousand times as slow.
        let hardly_any = by_round(&[0.0, 0.0, 0.000_36, 0.0, 0.0]);
        assert_eq!(Ratio::of(&by_round(&[5.4; 5]), &hardly_any), None);
    }

    #[test]
    fn verdicts_depend_on_which_way_is_better() {
        let ratio = |low, high| Ratio { median: 1.0, interval: Some((low, high)) };
        for (low, high, higher, lower) in [
            (1.1, 1.2, Verdict::Better, Verdict::Worse),
            (0.8, 0.9, Verdict::Worse, Verdict::Better),
            (0.9, 1.1, Verdict::NoDifference, Verdict::NoDifference),
            (1.0, 1.2, Verdict::NoDifference, Verdict::NoDifference),
        ] {
            assert_eq!(ratio(low, high).verdict(Better::Higher), higher);
            assert_eq!(ratio(low, high).verdict(Better::Lower), lower);
        }
        let few = Ratio { median: 2.0, interval: None };
        assert_eq!(few.verdict(Better::Higher), Verdict::TooFewRounds);
    }
}
