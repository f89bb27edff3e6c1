//! Two runs as a page for a terminal.

use std::fmt::Write;

use super::caveats::caveats;
use super::{Row, workloads};
use crate::record::Run;
use crate::report::markdown::{head, spread, table};
use crate::report::noise;
use crate::report::statistics::Verdict;

pub(crate) fn page(before: &Run, after: &Run) -> String {
    let mut page = format!(
        "A: {}, `{}`\n\nB: {}, `{}`\n\n",
        before.machine.date,
        before.plan.command.join(" "),
        after.machine.date,
        after.plan.command.join(" ")
    );
    for caveat in caveats(before, after) {
        let _ = writeln!(page, "- {caveat}");
    }
    let builds = ["build in A".to_owned(), "build in B".to_owned()];
    let _ = write!(page, "\n{}", table("target", &builds, all_builds(before, after)));
    let workloads = workloads(before, after);
    if workloads.is_empty() {
        return page + "\nThe two have nothing in common.\n";
    }
    let heads = ["A".to_owned(), "B".to_owned(), "change from A to B".to_owned()];
    for workload in &workloads {
        let _ = write!(page, "\n### {}\n\n{}\n\n", workload.note.name, workload.note.title);
        page += &table("", &heads, workload.rows.iter().map(row));
    }
    page + &format!(
        "\nFigures: median (lowest..highest) of the rounds. Changes: of the medians{}\n",
        intervals(before, after)
    )
}

/// What is said of the intervals of changes, of which fewer rounds on either side have none.
fn intervals(before: &Run, after: &Run) -> &'static str {
    if [before, after].iter().all(|run| noise::has_intervals(run.rounds())) {
        return ", with an interval of 95 %.";
    }
    "; unless both have 5 rounds no interval is given and no difference is called one."
}

fn all_builds<'r>(before: &'r Run, after: &'r Run) -> impl Iterator<Item = (String, Vec<String>)> + 'r {
    before.targets.iter().filter_map(|target| {
        let second = after.targets.iter().find(|other| other.name == target.name)?;
        let cells = [target, second].map(|it| format!("{} {}", it.build.version, it.build.sha256));
        Some((target.name.clone(), cells.to_vec()))
    })
}

fn row(row: &Row<'_>) -> (String, Vec<String>) {
    let name = format!("{}: {}", row.target, head(row.figure));
    (name, vec![spread(&row.before), spread(&row.after), change(row)])
}

fn change(row: &Row<'_>) -> String {
    let Some(ratio) = row.ratio else { return "–".to_owned() };
    let (change, interval) = ratio.as_changes();
    let interval = interval.map_or_else(String::new, |interval| format!(" ({interval})"));
    let word = match ratio.verdict(row.figure.better) {
        Verdict::NoDifference => return format!("no difference{interval}"),
        Verdict::TooFewRounds => "",
        Verdict::Better => ", better",
        Verdict::Worse => ", worse",
    };
    format!("{change}{word}{interval}")
}
