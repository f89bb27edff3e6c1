//! Bars with the range of the rounds on them, one chart a figure, one bar a target.

use super::{class, escape};
use crate::report::board::Section;
use crate::report::number::number;
use crate::report::statistics::Spread;

/// What is drawn wherever it is measured.
const ALWAYS: [&str; 4] = ["throughput_gbps", "throughput_back_gbps", "rate_per_s", "bytes_per_connection"];
/// What is drawn of a workload that has none of those.
const OTHERWISE: [&str; 2] = ["latency_p50_us", "latency_p99_us"];

pub(super) fn charts(section: &Section<'_>) -> String {
    let chosen = chosen(|key| section.place(key).is_some());
    chosen.into_iter().filter_map(|key| section.place(key)).map(|at| chart(section, at)).collect()
}

/// What is drawn of a workload that has some figures.
pub(crate) fn chosen(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let of = |keys: &[&'static str]| -> Vec<&'static str> {
        keys.iter().copied().filter(|key| has(key)).collect()
    };
    let always = of(&ALWAYS);
    if always.is_empty() { of(&OTHERWISE) } else { always }
}

fn chart(section: &Section<'_>, at: usize) -> String {
    let figure = section.figures[at];
    let drawn: Vec<(&str, Spread)> = section
        .lines
        .iter()
        .filter_map(|line| Some((line.target.name.as_str(), line.spreads[at]?)))
        .collect();
    let scale = drawn.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    let rows: String = drawn
        .iter()
        .map(|(name, spread)| {
            let value = format!(
                "{}<span class=\"range\">{}–{}</span>",
                number(spread.median),
                number(spread.min),
                number(spread.max)
            );
            row(class(name), name, &bar(spread, scale), &value)
        })
        .collect();
    frame(figure.title, figure.unit, &rows, "")
}

/// A chart with its caption; the note stands below it.
pub(crate) fn frame(title: &str, unit: &str, rows: &str, note: &str) -> String {
    format!(
        "<figure class=\"chart\"><figcaption>{} <span class=\"unit\">{}</span></figcaption>\n{rows}{note}</figure>\n",
        escape(title),
        escape(unit)
    )
}

/// A name, what is drawn, and the value in numbers.
pub(crate) fn row(class: &str, name: &str, drawing: &str, value: &str) -> String {
    format!(
        "<div class=\"row {class}\"><span class=\"name\">{}</span>{drawing}<span class=\"value\">{value}</span></div>\n",
        escape(name)
    )
}

/// A bar as long as the median, with the range on it.
pub(crate) fn bar(spread: &Spread, scale: f64) -> String {
    let percent = |value: f64| 100.0 * value.max(0.0) / scale;
    let (median, min, max) = (percent(spread.median), percent(spread.min), percent(spread.max));
    format!(
        "<svg class=\"bar\" width=\"100%\" height=\"18\" aria-hidden=\"true\">\
         <rect class=\"fill\" x=\"0\" y=\"2\" width=\"{median:.2}%\" height=\"14\" rx=\"2\"/>\
         <g class=\"whisker\"><line x1=\"{min:.2}%\" x2=\"{max:.2}%\" y1=\"9\" y2=\"9\"/>\
         <line x1=\"{min:.2}%\" x2=\"{min:.2}%\" y1=\"6\" y2=\"12\"/>\
         <line x1=\"{max:.2}%\" x2=\"{max:.2}%\" y1=\"6\" y2=\"12\"/></g></svg>"
    )
}
