//! Two runs as a page for a browser: in each chart the first is grey and the second has the colour.

use super::caveats::caveats;
use super::{Row, Workload, workloads};
use crate::record::Run;
use crate::record::figure::Figure;
use crate::report::html::bars::{self, bar, frame, row};
use crate::report::html::tables::{change, scrolling, spread};
use crate::report::html::{anchor, document, escape};
use crate::report::markdown::head;
use crate::report::number::{counted, number};
use crate::report::statistics::{Spread, Verdict};

pub(crate) fn page(before: &Run, after: &Run) -> String {
    let workloads = workloads(before, after);
    let body = header(before, after, &workloads)
        + &workloads.iter().map(section).collect::<String>()
        + &builds(before, after);
    document("Two runs beside each other", &body)
}

fn header(before: &Run, after: &Run, workloads: &[Workload<'_>]) -> String {
    let notes: String = caveats(before, after)
        .iter()
        .enumerate()
        .map(|(at, caveat)| {
            // The first holds for every pair of runs; the others are reasons to doubt this one.
            let class = if at == 0 { "note" } else { "note doubt" };
            format!("<p class=\"{class}\">{}</p>\n", escape(caveat))
        })
        .collect();
    let links: Vec<String> = workloads
        .iter()
        .map(|workload| {
            format!("<a href=\"#{}\">{}</a>", anchor(&workload.note.name), escape(&workload.note.name))
        })
        .collect();
    format!(
        "<header>\n<p class=\"eyebrow\">A: {} · B: {}</p>\n<h1>Two runs beside each other</h1>\n<p class=\"lead\">{}</p>\n\
         {notes}</header>\n<nav aria-label=\"Workloads\">{}<a href=\"#about\">builds</a></nav>\n",
        escape(&before.machine.date),
        escape(&after.machine.date),
        verdict(workloads),
        links.concat()
    )
}

fn verdict(workloads: &[Workload<'_>]) -> String {
    let rows = || workloads.iter().flat_map(|workload| &workload.rows);
    let count = |verdict: Verdict| {
        rows()
            .filter(|row| row.ratio.is_some_and(|ratio| ratio.verdict(row.figure.better) == verdict))
            .count()
    };
    let all = rows().count();
    if all == 0 {
        return "The two have nothing in common.".to_owned();
    }
    let few = match count(Verdict::TooFewRounds) {
        0 => String::new(),
        few => format!(", {few} of too few rounds to tell"),
    };
    format!(
        "{} that both have: {} better in B, {} worse, {} no different{few}.",
        counted(all, "figure"),
        count(Verdict::Better),
        count(Verdict::Worse),
        count(Verdict::NoDifference)
    )
}

fn section(workload: &Workload<'_>) -> String {
    let rows: String = workload.rows.iter().map(line).collect();
    format!(
        "<section class=\"workload\" id=\"{}\">\n<h2>{}</h2>\n<p class=\"title\">{}</p>\n<div class=\"charts\">\n{}</div>\n{}\
         </section>\n",
        anchor(&workload.note.name),
        escape(&workload.note.name),
        escape(&workload.note.title),
        charts(workload),
        scrolling("both runs", "<th>A</th><th>B</th><th>change from A to B</th>", &rows)
    )
}

fn line(row: &Row<'_>) -> String {
    format!(
        "<tr><th>{}<small>{}</small></th>{}{}{}</tr>\n",
        escape(row.target),
        escape(&head(row.figure)),
        spread(Some(&row.before)),
        spread(Some(&row.after)),
        change(row.ratio.as_ref(), row.figure)
    )
}

fn charts(workload: &Workload<'_>) -> String {
    let has = |key: &str| workload.rows.iter().any(|row| row.figure.key == key);
    let drawn: Vec<&str> = bars::chosen(has);
    let figures = drawn.iter().filter_map(|key| workload.rows.iter().find(|row| row.figure.key == *key));
    figures.map(|row| chart(workload, row.figure)).collect()
}

fn chart(workload: &Workload<'_>, figure: &Figure) -> String {
    let rows = || workload.rows.iter().filter(|row| row.figure.key == figure.key);
    let scale = rows().map(|row| row.before.max.max(row.after.max)).fold(f64::MIN_POSITIVE, f64::max);
    let value = |spread: &Spread| number(spread.median);
    let pair = |pair: &Row<'_>| {
        row("peer", &format!("{}, A", pair.target), &bar(&pair.before, scale), &value(&pair.before))
            + &row("ours", &format!("{}, B", pair.target), &bar(&pair.after, scale), &value(&pair.after))
    };
    frame(figure.title, figure.unit, &rows().map(pair).collect::<String>(), "")
}

fn builds(before: &Run, after: &Run) -> String {
    let rows: String = before
        .targets
        .iter()
        .filter_map(|target| {
            let second = after.targets.iter().find(|other| other.name == target.name)?;
            let cells = [target, second].map(|it| {
                format!(
                    "<td class=\"text\">{}<small>{}</small></td>",
                    escape(&it.build.version),
                    escape(&it.build.sha256)
                )
            });
            Some(format!("<tr><th>{}</th>{}</tr>\n", escape(&target.name), cells.concat()))
        })
        .collect();
    format!(
        "<section id=\"about\">\n<h2>Builds</h2>\n{}</section>\n",
        scrolling("builds", "<th class=\"text\">A</th><th class=\"text\">B</th>", &rows)
    )
}
