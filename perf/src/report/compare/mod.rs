//! Two runs beside each other. They were not measured in one run, so the quotient is that of their medians, and whatever
//! changed between them is in it: the page says what that may be.

mod caveats;
mod html;
mod markdown;

use super::board::is_headline;
use super::statistics::{self, Ratio, Spread};
use crate::record::figure::{FIGURES, Figure};
use crate::record::{Run, WorkloadNote};

pub(crate) use html::page as html;
pub(crate) use markdown::page as markdown;

/// What both runs have of one workload.
#[derive(Debug)]
struct Workload<'r> {
    note: &'r WorkloadNote,
    rows: Vec<Row<'r>>,
}

/// One figure of one target in both.
#[derive(Debug)]
struct Row<'r> {
    target: &'r str,
    figure: &'static Figure,
    before: Spread,
    after: Spread,
    /// What came second as a multiple of what came first.
    ratio: Option<Ratio>,
}

fn workloads<'r>(before: &'r Run, after: &'r Run) -> Vec<Workload<'r>> {
    let in_both = before.workloads.iter().map(|note| Workload { note, rows: rows(before, after, note) });
    in_both.filter(|workload| !workload.rows.is_empty()).collect()
}

fn rows<'r>(before: &'r Run, after: &Run, note: &WorkloadNote) -> Vec<Row<'r>> {
    let headlines = || FIGURES.iter().filter(|figure| is_headline(figure));
    let places = headlines().flat_map(|figure| before.targets.iter().map(move |target| (figure, target)));
    places
        .filter_map(|(figure, target)| {
            let name = target.name.as_str();
            let first = statistics::series(before, &note.name, name, figure);
            let second = statistics::series(after, &note.name, name, figure);
            Some(Row {
                target: name,
                figure,
                before: statistics::spread(&first)?,
                after: statistics::spread(&second)?,
                ratio: Ratio::unpaired(&second, &first),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    fn slower() -> Run {
        let mut run = made_up::noisy(&["direct", "ringway"], &["bulk", "idle"], 5, 0.02, 7);
        for sample in run.samples.iter_mut().filter(|sample| sample.target == "ringway") {
            if let Some(throughput) = sample.figures.get_mut("throughput_gbps") {
                *throughput *= 0.8;
            }
        }
        run
    }

    #[test]
    fn both_pages_show_both_and_the_change() {
        let before = made_up::run(&["direct", "ztunnel", "ringway"], &["bulk", "ping-pong"], 5);
        let after = slower();
        let page = markdown(&before, &after);
        for part in [
            "### bulk",
            "| ringway: throughput, Gb/s | 5.",
            "−2",
            "not measured beside each other",
            "only in A",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(page.contains("| direct: throughput, Gb/s |") && page.contains("no difference"), "{page}");
        assert!(!page.contains("| ztunnel:") && !page.contains("### ping-pong"), "{page}");
        let page = html(&before, &after);
        for part in ["id=\"w-bulk\"", "▼", "not measured beside each other", "<svg class=\"bar\""] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains("http"), "{page}");
    }

    #[test]
    fn a_run_beside_itself_is_no_different() {
        let run = made_up::run(&["direct", "ringway"], &["bulk", "ping-pong", "idle"], 5);
        let all = workloads(&run, &run);
        let verdicts =
            all.iter().flat_map(|workload| &workload.rows).filter_map(|row| Some((row, row.ratio?)));
        let mut count = 0;
        for (row, ratio) in verdicts {
            assert_eq!(ratio.verdict(row.figure.better), statistics::Verdict::NoDifference, "{row:?}");
            count += 1;
        }
        assert!(count > 10, "{count}");
    }

    #[test]
    fn only_where_both_have_five_rounds_an_interval_is_promised() {
        let rounds = |rounds| made_up::run(&["direct", "ringway"], &["bulk"], rounds);
        assert!(markdown(&rounds(5), &rounds(5)).ends_with("with an interval of 95 %.\n"));
        for (before, after) in [(5, 3), (3, 5), (1, 1)] {
            let page = markdown(&rounds(before), &rounds(after));
            assert!(page.contains("no interval is given") && !page.contains("95 %"), "{page}");
        }
    }

    #[test]
    fn runs_that_share_nothing_say_so() {
        let (bulk, idle) =
            (made_up::run(&["direct"], &["bulk"], 5), made_up::run(&["ringway"], &["idle"], 5));
        assert!(markdown(&bulk, &idle).contains("nothing in common"));
        assert!(html(&bulk, &idle).contains("nothing in common"));
    }
}
