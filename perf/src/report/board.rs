//! All that is said of a run, worked out once: for each workload the figures of each target, and how targets compare.

use super::roles::is_ringway;
use super::statistics::{self, Ratio, Series, Spread};
use crate::record::figure::{FIGURES, Figure};
use crate::record::{Run, Subject, WorkloadNote};

/// Shown beside what the gate judges: they tell a tunnel that stalls from one that does not.
const ALSO_SHOWN: [&str; 2] = ["latency_p99_9_us", "latency_p50_by_time_us"];

/// One workload through all targets.
#[derive(Debug)]
pub(crate) struct Section<'r> {
    pub(crate) note: &'r WorkloadNote,
    /// Those that it has, in the order of reports.
    pub(crate) figures: Vec<&'static Figure>,
    /// Of the targets that it was measured through.
    pub(crate) lines: Vec<Line<'r>>,
    pub(crate) comparisons: Vec<Comparison<'r>>,
}

/// One target in a workload.
#[derive(Debug)]
pub(crate) struct Line<'r> {
    pub(crate) target: &'r Subject,
    /// By the section's figures.
    pub(crate) spreads: Vec<Option<Spread>>,
    series: Vec<Series>,
}

/// One target as a multiple of another.
#[derive(Debug)]
pub(crate) struct Comparison<'r> {
    pub(crate) this: &'r Subject,
    pub(crate) that: &'r Subject,
    /// By the section's figures; only of the headlines.
    pub(crate) ratios: Vec<Option<Ratio>>,
}

/// What stands in the tables; the rest explains it.
pub(crate) fn is_headline(figure: &Figure) -> bool {
    figure.gate_threshold.is_some() || ALSO_SHOWN.contains(&figure.key)
}

/// All workloads that were measured, in the order of the report.
pub(crate) fn sections(run: &Run) -> Vec<Section<'_>> {
    let sections = run.workloads.iter().map(|note| section(run, note));
    sections.filter(|section| !section.lines.is_empty()).collect()
}

fn section<'r>(run: &'r Run, note: &'r WorkloadNote) -> Section<'r> {
    let line = |target: &'r Subject| {
        let all = FIGURES.iter().map(|figure| statistics::series(run, &note.name, &target.name, figure));
        (target, all.collect::<Vec<_>>())
    };
    let all: Vec<_> = run.targets.iter().map(line).collect();
    let is_there =
        |at: &usize| all.iter().any(|(_, series)| series[*at].values().any(|&value| is_worth(*at, value)));
    let there: Vec<usize> = (0..FIGURES.len()).filter(is_there).collect();
    let lines: Vec<Line<'r>> = all
        .into_iter()
        .map(|(target, series)| {
            let series: Vec<Series> = there.iter().map(|&at| series[at].clone()).collect();
            Line { target, spreads: series.iter().map(statistics::spread).collect(), series }
        })
        .filter(|line| line.spreads.iter().any(Option::is_some))
        .collect();
    let figures: Vec<&Figure> = there.iter().map(|&at| &FIGURES[at]).collect();
    let comparisons = comparisons(&lines, &figures);
    Section { note, figures, lines, comparisons }
}

/// Failures are there when something failed.
fn is_worth(figure: usize, value: f64) -> bool {
    FIGURES[figure].key != "failures" || value > 0.0
}

fn comparisons<'r>(lines: &[Line<'r>], figures: &[&'static Figure]) -> Vec<Comparison<'r>> {
    let ratios = |this: &Line<'r>, that: &Line<'r>| {
        let series = figures.iter().zip(this.series.iter().zip(&that.series));
        series.map(|(figure, (this, that))| Ratio::of(this, that).filter(|_| is_headline(figure))).collect()
    };
    let names: Vec<&str> = lines.iter().map(|line| line.target.name.as_str()).collect();
    let pairs = pairs(&names).into_iter().map(|(this, that)| (&lines[this], &lines[that]));
    let compared = pairs.map(|(this, that)| Comparison {
        this: this.target,
        that: that.target,
        ratios: ratios(this, that),
    });
    compared.filter(|comparison| comparison.ratios.iter().any(Option::is_some)).collect()
}

/// Which targets are set against which: every ringway against every peer, variants of ringway against ringway, and all
/// against the first.
fn pairs(names: &[&str]) -> Vec<(usize, usize)> {
    let all = || 0..names.len();
    let ours = || all().filter(|&at| is_ringway(names[at]));
    let peers = all().skip(1).filter(|&at| !is_ringway(names[at]));
    let mut pairs: Vec<(usize, usize)> =
        peers.flat_map(|peer| ours().map(move |ringway| (ringway, peer))).collect();
    let own = ours().next().into_iter().flat_map(|first| ours().skip(1).map(move |other| (other, first)));
    pairs.extend(own);
    for at in all().skip(1) {
        if !pairs.contains(&(at, 0)) && !pairs.contains(&(0, at)) {
            pairs.push((at, 0));
        }
    }
    pairs
}

impl Section<'_> {
    /// The places of what stands in the tables.
    pub(crate) fn headlines(&self) -> impl Iterator<Item = usize> {
        (0..self.figures.len())
            .filter(|&at| is_headline(self.figures[at]) || self.figures[at].key == "failures")
    }

    /// The place of a figure.
    pub(crate) fn place(&self, key: &str) -> Option<usize> {
        self.figures.iter().position(|figure| figure.key == key)
    }

    /// The figure that this workload is about: the first in the order of reports.
    pub(crate) fn subject(&self) -> Option<usize> {
        self.headlines().next()
    }

    pub(crate) fn comparison(&self, this: &str, that: &str) -> Option<&Comparison<'_>> {
        self.comparisons
            .iter()
            .find(|comparison| comparison.this.name == this && comparison.that.name == that)
    }
}

impl Line<'_> {
    /// The median of the figure at a place.
    pub(crate) fn median(&self, place: Option<usize>) -> Option<f64> {
        Some(self.spreads[place?]?.median)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::made_up;

    #[test]
    fn who_is_compared_with_whom() {
        for (names, expected) in [
            (&["direct"][..], vec![]),
            (&["direct", "ringway"], vec![(1, 0)]),
            (&["direct", "ztunnel", "ringway"], vec![(2, 1), (1, 0), (2, 0)]),
            (
                &["direct", "ztunnel", "ringway", "ringway:aes256"],
                vec![(2, 1), (3, 1), (3, 2), (1, 0), (2, 0), (3, 0)],
            ),
            (&["ringway", "ztunnel"], vec![(0, 1)]),
            (&["ringway", "ringway:old"], vec![(1, 0)]),
        ] {
            assert_eq!(pairs(names), expected, "{names:?}");
        }
    }

    #[test]
    fn a_section_has_only_what_was_measured() {
        let mut run = made_up::run(&["direct", "ringway"], &["bulk", "storm"], 5);
        run.samples.retain(|sample| sample.workload == "bulk");
        let sections = sections(&run);
        assert_eq!(sections.len(), 1);
        let bulk = &sections[0];
        assert_eq!(bulk.figures[0].key, "throughput_gbps");
        assert_eq!(bulk.place("bytes_per_connection"), None);
        assert_eq!(bulk.lines[0].median(bulk.place("cpu_s_per_gb")), None, "direct has no proxy");
        assert!(bulk.lines[1].median(bulk.place("cpu_s_per_gb")).is_some());
        let ratio = bulk.comparison("ringway", "direct").unwrap().ratios[0].unwrap();
        assert!(ratio.median < 1.0, "{ratio:?}");
    }

    #[test]
    fn failures_are_shown_when_something_failed() {
        let mut run = made_up::run(&["ringway"], &["storm"], 5);
        for sample in &mut run.samples {
            sample.figures.insert("failures".to_owned(), 0.0);
        }
        assert_eq!(sections(&run)[0].place("failures"), None);
        run.samples[2].figures.insert("failures".to_owned(), 3.0);
        let sections = sections(&run);
        let place = sections[0].place("failures").unwrap();
        assert!(sections[0].headlines().any(|at| at == place));
    }
}
