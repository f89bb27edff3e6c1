//! What is written down of a run: a Markdown page for a terminal or a README, an HTML page for a browser, and two runs
//! beside each other. All of it comes from the record alone, so that a page can be made again from its JSON.

pub(crate) mod board;
mod bootstrap;
mod compare;
mod files;
mod html;
#[cfg(test)]
pub(crate) mod made_up;
mod markdown;
pub(crate) mod noise;
pub(crate) mod number;
pub(crate) mod roles;
pub(crate) mod statistics;
mod suites;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::record::Run;
pub(crate) use files::Files;

/// Prints a page. An error when nobody reads it, as behind `| head`.
pub(crate) fn print(page: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(page.as_bytes()).and_then(|()| out.flush()).context("printing the report")
}

/// Writes a page, or what pages are made from.
pub(crate) fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

/// An error when a file could not be written to for want of its directory: better now than after hours of measuring.
pub(crate) fn expect_directory_of(file: &Path) -> Result<()> {
    ensure!(!file.is_dir(), "{} is a directory: name a file in it", file.display());
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    let is_there = directory.is_none_or(Path::is_dir);
    ensure!(is_there, "there is no directory to write {} to: make it first", file.display());
    Ok(())
}

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
