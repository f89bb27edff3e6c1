//! What is said of the rounds: each of them, then their medians with the range.

use std::fmt::Write as _;
use std::time::Duration;

use super::turns::Turns;

/// The bar of a turn, in seconds: the bucket that ends next to a millisecond.
const TURN_SECONDS_BAR: f64 = 0.001_024;

/// What was seen of a ping-pong and of the shards that carried it.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) p50_us: f64,
    /// `None` where the ping-pong was too slow to tell of one exchange in a thousand.
    pub(super) p99_9_us: Option<f64>,
    pub(super) turns: Turns,
}

/// One round: without a push, with one.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) alone: Window,
    pub(super) beside: Window,
    pub(super) took: Duration,
    /// The larger one of the proxies'.
    pub(super) peak_kib: u64,
}

impl Round {
    /// In a line, for whoever watches.
    pub(super) fn headline(&self) -> String {
        format!(
            "p99.9 {} µs alone, {} µs beside a push of {} ms",
            cell(self.alone.p99_9_us),
            cell(self.beside.p99_9_us),
            text(self.took.as_secs_f64() * 1e3)
        )
    }
}

/// A figure of a round, if it has one.
type Figure = (&'static str, fn(&Round) -> Option<f64>);

const FIGURES: [Figure; 11] = [
    ("p50 alone, µs", |round| Some(round.alone.p50_us)),
    ("p50 beside, µs", |round| Some(round.beside.p50_us)),
    ("p99.9 alone, µs", |round| round.alone.p99_9_us),
    ("p99.9 beside, µs", |round| round.beside.p99_9_us),
    ("p99.9, beside ÷ alone", |round| Some(round.beside.p99_9_us? / round.alone.p99_9_us?)),
    ("longest turn alone, µs, at most", |round| Some(round.alone.turns.longest() * 1e6)),
    ("longest turn beside, µs, at most", |round| Some(round.beside.turns.longest() * 1e6)),
    ("turns over 1,024 µs, alone", |round| Some(round.alone.turns.longer_than(TURN_SECONDS_BAR) as f64)),
    ("turns over 1,024 µs, beside", |round| Some(round.beside.turns.longer_than(TURN_SECONDS_BAR) as f64)),
    ("push, ms", |round| Some(round.took.as_secs_f64() * 1e3)),
    ("peak RSS, MB", |round| Some(round.peak_kib as f64 * 1024.0 / 1e6)),
];

/// A table with a row for each figure; of one round that is all there is to say.
pub(super) fn report(rounds: &[Round]) -> String {
    if let [only] = rounds {
        let row = |(name, figure): Figure| format!("| {name} | {} |\n", cell(figure(only)));
        return "| | one round |\n|---|---|\n".to_owned() + &FIGURES.map(row).concat();
    }
    let numbers: Vec<String> = (1..=rounds.len()).map(|number| number.to_string()).collect();
    let mut table = format!(
        "| | median (min..max) | {} |\n|---|---|{}\n",
        numbers.join(" | "),
        "---|".repeat(rounds.len())
    );
    for (name, figure) in FIGURES {
        let values: Vec<Option<f64>> = rounds.iter().map(figure).collect();
        let cells: Vec<String> = values.iter().copied().map(cell).collect();
        let mut values: Vec<f64> = values.into_iter().flatten().collect();
        values.sort_by(f64::total_cmp);
        let spread = match values[..] {
            [min, .., max] => format!("{} ({}..{})", text(median(&values)), text(min), text(max)),
            _ => cell(values.first().copied()),
        };
        // Writing to a text does not fail.
        let _ = writeln!(table, "| {name} | {spread} | {} |", cells.join(" | "));
    }
    table
}

/// Of values in their order.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// A figure, or that there is none.
fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), text)
}

/// Two digits after the point for a ratio, none for what is large.
fn text(value: f64) -> String {
    if value.fract() == 0.0 || value >= 10.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(micros: f64) -> Window {
        Window { p50_us: micros, p99_9_us: Some(micros), turns: Turns::default() }
    }

    fn round(alone: f64, beside: f64) -> Round {
        let (alone, beside) = (window(alone), window(beside));
        Round { alone, beside, took: Duration::from_millis(1_250), peak_kib: 100_000 }
    }

    #[test]
    fn one_round_is_one_column() {
        let report = report(&[round(100.0, 150.0)]);
        assert!(report.starts_with("| | one round |\n|---|---|\n| p50 alone, µs | 100 |\n"), "{report}");
    }

    #[test]
    fn a_ratio_is_one_of_a_round() {
        let report = report(&[round(100.0, 150.0), round(1_000.0, 1_250.0), round(10.0, 40.0)]);
        assert!(report.contains("| p99.9, beside ÷ alone | 1.50 (1.25..4) | 1.50 | 1.25 | 4 |"), "{report}");
        assert!(report.contains("| p50 alone, µs | 100 (10..1000) | 100 | 1000 | 10 |"), "{report}");
        assert!(report.contains("| push, ms | 1250 (1250..1250) |"), "{report}");
        assert!(report.contains("| peak RSS, MB | 102 (102..102) |"), "{report}");
    }

    /// On a busy machine a ping-pong may come to less than a thousand exchanges: the other figures are as good as ever.
    #[test]
    fn what_a_slow_round_cannot_tell_is_left_out() {
        let mut slow = round(1_000.0, 2_000.0);
        slow.alone.p99_9_us = None;
        let report = report(&[round(100.0, 150.0), slow]);
        assert!(report.contains("| p99.9 alone, µs | 100 | 100 | – |"), "{report}");
        assert!(report.contains("| p99.9 beside, µs | 1075 (150..2000) | 150 | 2000 |"), "{report}");
        assert!(report.contains("| p99.9, beside ÷ alone | 1.50 | 1.50 | – |"), "{report}");
        assert!(report.contains("| p50 alone, µs | 550 (100..1000) | 100 | 1000 |"), "{report}");
    }
}
