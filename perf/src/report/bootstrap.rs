//! How sure a median is: a percentile bootstrap.
//!
//! The rounds are drawn again and again with replacement, as if the run had been repeated, and the interval is where the
//! middle 95 % of the medians lie. It says nothing about the form of the noise, and one wild round does not widen it.
//!
//! What few rounds can mean: of 5 rounds the interval is the whole range, so a difference is only called one when all
//! five agree; if there were none, that would still happen in one of 16 comparisons. Of 10 rounds two may disagree. Fewer
//! than [`ROUNDS_MIN`] say nothing at all.

/// Fewer rounds than these give no interval.
pub(crate) const ROUNDS_MIN: usize = 5;

/// Repetitions; the ends of the interval move by less than a rank with more.
const RESAMPLES: usize = 2_000;
/// What lies below the interval, and above it.
const TAIL: f64 = 0.025;
/// Any number will do, but always the same: one file gives one page.
const SEED: u64 = 0x72_69_6e_67_77_61_79;

/// The 95 % interval of the median of these; `None` of fewer than [`ROUNDS_MIN`].
pub(crate) fn of_median(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < ROUNDS_MIN {
        return None;
    }
    let mut draw = Draw::new(values);
    Some(middle((0..RESAMPLES).map(|_| draw.median()).collect()))
}

/// The 95 % interval of the quotient of two medians that were not measured beside each other.
pub(crate) fn of_quotient(above: &[f64], below: &[f64]) -> Option<(f64, f64)> {
    if above.len().min(below.len()) < ROUNDS_MIN {
        return None;
    }
    let (mut above, mut below) = (Draw::new(above), Draw::new(below));
    // Each draws from a sequence of its own, or equal ranks would always meet.
    below.random.state ^= u64::MAX;
    let quotients: Vec<f64> = (0..RESAMPLES).map(|_| above.median() / below.median()).collect();
    quotients.iter().all(|quotient| quotient.is_finite()).then(|| middle(quotients))
}

fn middle(mut medians: Vec<f64>) -> (f64, f64) {
    medians.sort_by(f64::total_cmp);
    let rank = |share: f64| (share * (medians.len() - 1) as f64).round() as usize;
    (medians[rank(TAIL)], medians[rank(1.0 - TAIL)])
}

/// Draws as many values as there are, with replacement.
struct Draw {
    sorted: Vec<f64>,
    /// How often each was drawn.
    counts: Vec<usize>,
    random: Random,
}

impl Draw {
    fn new(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self { counts: vec![0; sorted.len()], sorted, random: Random { state: SEED } }
    }

    fn median(&mut self) -> f64 {
        self.counts.fill(0);
        for _ in 0..self.sorted.len() {
            let rank = self.random.below(self.sorted.len());
            self.counts[rank] += 1;
        }
        let count = self.sorted.len();
        f64::midpoint(self.drawn((count - 1) / 2), self.drawn(count / 2))
    }

    /// The value at this rank of what was drawn.
    fn drawn(&self, rank: usize) -> f64 {
        let mut seen = 0;
        let of_rank = self.counts.iter().position(|count| {
            seen += count;
            seen > rank
        });
        self.sorted[of_rank.expect("invariant: as many were drawn as there are ranks")]
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to draw with.
struct Random {
    state: u64,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to this, evenly: the product's high half (Lemire 2019), whose bias is below 2^-50 for our few rounds.
    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn few_values_have_no_interval() {
        assert_eq!(of_median(&[1.0; ROUNDS_MIN - 1]), None);
        assert_eq!(of_quotient(&[1.0; ROUNDS_MIN], &[1.0; ROUNDS_MIN - 1]), None);
    }

    #[test]
    fn five_rounds_have_their_range_as_interval() {
        assert_eq!(of_median(&[3.0, 1.0, 2.0, 5.0, 4.0]), Some((1.0, 5.0)));
    }

    #[test]
    fn one_wild_round_of_ten_is_outside() {
        let mut values: Vec<f64> = (0..9).map(|at| 1.0 + f64::from(at) / 100.0).collect();
        values.push(50.0);
        let (low, high) = of_median(&values).unwrap();
        assert!((1.0..1.05).contains(&low) && (1.03..1.09).contains(&high), "{low} {high}");
    }

    #[test]
    fn the_same_values_give_the_same_interval_in_any_order() {
        let values = [1.2, 0.9, 1.1, 1.0, 1.3, 0.8, 1.05];
        let mut turned = values;
        turned.reverse();
        assert_eq!(of_median(&values), of_median(&turned));
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        let mut random = Random { state: 1 };
        let mut uniform = || random.next() as f64 / u64::MAX as f64;
        let held = (0..400).filter(|_| {
            let rounds: Vec<f64> = (0..10).map(|_| uniform() + uniform() + uniform()).collect();
            let (low, high) = of_median(&rounds).unwrap();
            (low..=high).contains(&1.5)
        });
        let held = held.count();
        assert!((360..=400).contains(&held), "{held} of 400");
    }

    #[test]
    fn a_quotient_of_two_runs_spans_what_both_leave_open() {
        let (slow, fast) = ([1.0, 1.1, 0.9, 1.05, 0.95], [2.0, 2.2, 1.8, 2.1, 1.9]);
        let (low, high) = of_quotient(&fast, &slow).unwrap();
        assert!(low < 2.0 && high > 2.0 && low > 1.6 && high < 2.5, "{low} {high}");
        assert_eq!(of_quotient(&fast, &[0.0; 5]), None);
    }
}
