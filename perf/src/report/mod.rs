//! What is written down of a run: a Markdown page for a terminal or a README, an HTML page for a browser, and two runs
//! beside each other. All of it comes from the record alone, so that a page can be made again from its JSON.

pub(crate) mod board;
mod bootstrap;
mod compare;
mod html;
#[cfg(test)]
pub(crate) mod made_up;
mod markdown;
mod noise;
pub(crate) mod number;
mod roles;
pub(crate) mod statistics;
mod suites;

use crate::record::Run;

/// The page for a terminal or a README.
pub(crate) fn markdown(run: &Run) -> String {
    markdown::page(run)
}

/// The page for a browser: one file that needs nothing else.
pub(crate) fn html(run: &Run) -> String {
    html::page(run)
}

/// Two runs beside each other, for a terminal.
pub(crate) fn compare_markdown(before: &Run, after: &Run) -> String {
    compare::markdown(before, after)
}

/// Two runs beside each other, for a browser.
pub(crate) fn compare_html(before: &Run, after: &Run) -> String {
    compare::html(before, after)
}
