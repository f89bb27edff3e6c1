//! What is written down of a run.

use crate::record::Run;

/// The page for a terminal or a README.
/// The page for a browser.
pub(crate) fn html(run: &Run) -> String {
    markdown(run)
}

pub(crate) fn markdown(run: &Run) -> String {
    let mut page = String::new();
    for sample in &run.samples {
        page += &format!("{} {} {} {:?}\n", sample.round, sample.workload, sample.target, sample.figures);
    }
    page
}
