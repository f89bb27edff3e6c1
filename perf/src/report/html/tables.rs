//! The numbers of a workload: what each target did, how targets compare, and all that explains it.

use super::{class, escape};
use crate::record::figure::Figure;
use crate::report::board::{Comparison, Line, Section};
use crate::report::number::{self, number};
use crate::report::roles::{is_peer, is_ringway};
use crate::report::statistics::{Ratio, Spread, Verdict};
use crate::report::suites;

/// A cell without a figure.
const NOTHING: &str = "<td class=\"none\">–</td>";

pub(super) fn tables(section: &Section<'_>) -> String {
    let columns: Vec<usize> = section.headlines().collect();
    let figures: Vec<&Figure> = columns.iter().map(|&at| section.figures[at]).collect();
    let lines: Vec<String> = section.lines.iter().map(|line| figures_of(line, &columns)).collect();
    let mut tables = table("what each target did", &figures, &lines.concat());
    let (with_peers, with_others): (Vec<_>, Vec<_>) =
        section.comparisons.iter().partition(|comparison| is_between_peers(comparison));
    tables += &ratios(section, "ratios", &with_peers, &columns);
    let others = ratios(section, "ratios to yardsticks", &with_others, &columns);
    if with_peers.is_empty() {
        tables += &others;
    } else if !others.is_empty() {
        tables += &format!("<details><summary>ratios to the yardsticks</summary>\n{others}</details>\n");
    }
    if section.figures.len() > columns.len() {
        tables += &all(section);
    }
    tables
}

/// Ringway beside what one could use in its place, or beside another build of it.
fn is_between_peers(comparison: &Comparison<'_>) -> bool {
    is_ringway(&comparison.this.name) && (is_peer(comparison.that) || is_ringway(&comparison.that.name))
}

/// Comparisons with one target stand together, below a line that names it.
fn ratios(
    section: &Section<'_>,
    caption: &str,
    comparisons: &[&Comparison<'_>],
    columns: &[usize],
) -> String {
    if comparisons.is_empty() {
        return String::new();
    }
    let figures: Vec<&Figure> = columns.iter().map(|&at| section.figures[at]).collect();
    let mut rows = String::new();
    let mut below = "";
    for comparison in comparisons {
        let that = comparison.that.name.as_str();
        if that != below {
            rows += &format!(
                "<tr class=\"group\"><th>÷ {}</th><td colspan=\"{}\"></td></tr>\n",
                escape(that),
                columns.len()
            );
            below = that;
        }
        rows += &ratios_of(section, comparison, columns);
    }
    table(caption, &figures, &rows)
}

/// A table that scrolls by itself where the page is narrow.
pub(crate) fn scrolling(caption: &str, head: &str, rows: &str) -> String {
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><thead><tr><th></th>{head}</tr>\
         </thead>\n<tbody>{rows}</tbody></table></div>\n"
    )
}

fn table(caption: &str, figures: &[&Figure], rows: &str) -> String {
    let head: String = figures.iter().map(|figure| head(figure)).collect();
    scrolling(caption, &head, rows)
}

/// A figure above its column.
fn head(figure: &Figure) -> String {
    format!("<th>{}<small>{}</small></th>", escape(figure.title), escape(figure.unit))
}

fn figures_of(line: &Line<'_>, columns: &[usize]) -> String {
    let cells: String = columns.iter().map(|&at| spread(line.spreads[at].as_ref())).collect();
    let suite = line.target.suite.as_deref().map(suites::short);
    let suite = suite.map_or_else(String::new, |suite| format!("<small>{}</small>", escape(&suite)));
    let name = &line.target.name;
    format!("<tr class=\"{}\"><th>{}{suite}</th>{cells}</tr>\n", class(name), escape(name))
}

/// A median above its range.
pub(crate) fn spread(spread: Option<&Spread>) -> String {
    let Some(spread) = spread else { return NOTHING.to_owned() };
    format!("<td>{}<small>{}–{}</small></td>", number(spread.median), number(spread.min), number(spread.max))
}

fn ratios_of(section: &Section<'_>, comparison: &Comparison<'_>, columns: &[usize]) -> String {
    let is_judged = is_between_peers(comparison);
    let cell = |&at: &usize| {
        let found = comparison.ratios[at].as_ref();
        if is_judged { ratio(found, section.figures[at]) } else { bare_ratio(found) }
    };
    let cells: String = columns.iter().map(cell).collect();
    let (this, that) = (comparison.this, comparison.that);
    let suites = match (suites::differ(this, that), this.suite.is_some() && this.suite == that.suite) {
        (true, _) => "<small>different suites</small>",
        (_, true) => "<small>equal suites</small>",
        _ => "",
    };
    format!("<tr class=\"{}\"><th>{}{suites}</th>{cells}</tr>\n", class(&this.name), escape(&this.name))
}

/// A cell that says what a ratio means.
pub(super) fn ratio(ratio: Option<&Ratio>, figure: &Figure) -> String {
    let Some(ratio) = ratio else { return NOTHING.to_owned() };
    let verdict = ratio.verdict(figure.better);
    let interval = interval(ratio);
    let value = match verdict {
        Verdict::NoDifference => "no difference".to_owned(),
        _ => number::ratio(ratio.median),
    };
    format!("<td class=\"{}\">{}{value}<small>{interval}</small></td>", verdict_class(verdict), mark(verdict))
}

/// The same as a change.
pub(crate) fn change(ratio: Option<&Ratio>, figure: &Figure) -> String {
    let Some(ratio) = ratio else { return NOTHING.to_owned() };
    let verdict = ratio.verdict(figure.better);
    let (change, interval) = ratio.as_changes();
    let interval = interval.unwrap_or_else(|| "too few rounds".to_owned());
    let value = if verdict == Verdict::NoDifference { "no difference".to_owned() } else { change };
    format!("<td class=\"{}\">{}{value}<small>{interval}</small></td>", verdict_class(verdict), mark(verdict))
}

/// The same without a judgement: nobody would use a yardstick instead.
pub(super) fn bare_ratio(ratio: Option<&Ratio>) -> String {
    let Some(ratio) = ratio else { return NOTHING.to_owned() };
    format!("<td>{}<small>{}</small></td>", number::ratio(ratio.median), interval(ratio))
}

fn interval(ratio: &Ratio) -> String {
    ratio.interval.map_or_else(
        || "too few rounds".to_owned(),
        |(low, high)| format!("{}–{}", number::ratio(low), number::ratio(high)),
    )
}

fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NoDifference => "even",
        Verdict::TooFewRounds => "few",
    }
}

/// The verdict for those who do not see the colour.
pub(super) fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "<i class=\"mark\" title=\"better\">▲</i>",
        Verdict::Worse => "<i class=\"mark\" title=\"worse\">▼</i>",
        Verdict::NoDifference | Verdict::TooFewRounds => "",
    }
}

fn all(section: &Section<'_>) -> String {
    let names = section.lines.iter().map(|line| escape(&line.target.name));
    let head: String = names.map(|name| format!("<th>{name}</th>")).collect();
    let row = |(at, figure): (usize, &&Figure)| {
        let medians = section.lines.iter().map(|line| line.median(Some(at)));
        let cells: String = medians
            .map(|median| {
                median.map_or_else(|| NOTHING.to_owned(), |value| format!("<td>{}</td>", number(value)))
            })
            .collect();
        format!("<tr><th>{}<small>{}</small></th>{cells}</tr>\n", escape(figure.title), escape(figure.unit))
    };
    let rows: String = section.figures.iter().enumerate().map(row).collect();
    format!(
        "<details><summary>all figures, in the median</summary>\n{}</details>\n",
        scrolling("all figures", &head, &rows)
    )
}
