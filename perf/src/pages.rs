//! `ringway-perf page` and `compare`: pages made from what runs wrote down.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::record::file;
use crate::report;

#[derive(Args, Debug)]
pub(crate) struct PageArguments {
    /// What `run --json` wrote.
    run: PathBuf,
    /// Where to write the page for a browser; the tables are printed.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct CompareArguments {
    /// What `run --json` wrote.
    a: PathBuf,
    /// What it wrote another time.
    b: PathBuf,
    /// Where to write the page for a browser; the tables are printed.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn page(arguments: &PageArguments) -> Result<()> {
    let run = file::read(&arguments.run)?;
    write(arguments.html.as_deref(), || report::html(&run))?;
    report::print(&report::markdown(&run))
}

pub(crate) fn compare(arguments: &CompareArguments) -> Result<()> {
    let (a, b) = (file::read(&arguments.a)?, file::read(&arguments.b)?);
    write(arguments.html.as_deref(), || report::compare_html(&a, &b))?;
    report::print(&report::compare_markdown(&a, &b))
}

fn write(file: Option<&Path>, page: impl FnOnce() -> String) -> Result<()> {
    file.map_or(Ok(()), |file| report::write(file, &page()))
}
