//! Where a run is written down, as the command line says it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{expect_directory_of, html, write};
use crate::record::Run;

#[derive(Args, Debug)]
pub(crate) struct Files {
    /// Where to write every sample.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to write the report as a page for a browser.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Files {
    /// An error before hours of measuring when one could not be written.
    pub(crate) fn expect_directories(&self) -> Result<()> {
        self.json.iter().chain(&self.html).try_for_each(|file| expect_directory_of(file))
    }

    pub(crate) fn write(&self, run: &Run) -> Result<()> {
        if let Some(file) = &self.json {
            write(file, &(serde_json::to_string_pretty(run)? + "\n"))?;
        }
        if let Some(file) = &self.html {
            write(file, &html(run))?;
        }
        Ok(())
    }
}
