//! The page for a browser: one file, nothing from the network, no script. Charts are SVG with lengths in percent, so that
//! they fit any width while their text keeps its size.

mod about;
pub(crate) mod bars;
mod curves;
mod stacks;
mod summary;
pub(crate) mod tables;

use super::board::{self, Section};
use super::roles::is_ringway;
use crate::record::Run;

const STYLE: &str = include_str!("style.css");
/// The pattern that tells kernel time from user time, for all charts of the page.
const HATCH: &str = "<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>\
    <pattern id=\"hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
    <rect class=\"hatch\" width=\"1.6\" height=\"5\"/></pattern></defs></svg>";

/// The whole page.
pub(crate) fn page(run: &Run) -> String {
    let sections = board::sections(run);
    let mut body = summary::header(run, &sections);
    body += &contents(&sections);
    body += &summary::glance(run, &sections);
    for section in &sections {
        body += &workload(run, section);
    }
    body += &about::section(run, &sections);
    document(&summary::title(run), &body)
}

/// A document of our style around a body.
pub(crate) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{HATCH}\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

fn contents(sections: &[Section<'_>]) -> String {
    let names = sections.iter().map(|section| section.note.name.as_str());
    let link = |name: &str| format!("<a href=\"#{}\">{}</a>", anchor(name), escape(name));
    let links: Vec<String> = names.map(link).collect();
    format!(
        "<nav aria-label=\"Workloads\">{}<a href=\"#about\">machine and method</a></nav>\n",
        links.concat()
    )
}

fn workload(run: &Run, section: &Section<'_>) -> String {
    let note = section.note;
    let command = if note.command.is_empty() {
        String::new()
    } else {
        format!("<p class=\"command\"><code>{}</code></p>\n", escape(&note.command))
    };
    let charts = bars::charts(section) + &stacks::charts(section) + &curves::chart(run, section);
    format!(
        "<section class=\"workload\" id=\"{}\">\n<h2>{}</h2>\n<p class=\"title\">{}</p>\n{command}\
         <div class=\"charts\">\n{charts}</div>\n{}</section>\n",
        anchor(&note.name),
        escape(&note.name),
        escape(&note.title),
        tables::tables(section)
    )
}

/// Where a workload is on the page.
pub(crate) fn anchor(workload: &str) -> String {
    let plain = workload.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    format!("w-{}", plain.collect::<String>())
}

/// What the style sheet calls a target: ours has the colour.
pub(super) fn class(target: &str) -> &'static str {
    match target {
        "ringway" => "ours",
        ours if is_ringway(ours) => "ours variant",
        _ => "peer",
    }
}

/// Text, as it stands in an element or an attribute.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
