//! `cargo xtask instructions`: how many instructions each case of `benches` takes, against what it took before.
//!
//! Callgrind counts, so other work on the machine does not matter, nor how quick it is. What does matter (compiler, C
//! library, what valgrind offers of the processor) is written down beside the counts, and where it differs nothing is
//! judged.

mod baseline;
mod callgrind;
mod comparison;
mod environment;
mod profile;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::tools::{self, Lack};
use crate::workspace::{self, Profile};
use baseline::Baseline;
use comparison::Comparison;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the cases whose name contains this.
    #[arg(conflicts_with = "refresh")]
    filter: Option<String>,
    /// Writes the counts down, for others to be compared with, instead of comparing them.
    #[arg(long)]
    refresh: bool,
    /// Compares with this file, or writes it, instead of the committed one of this architecture.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Only names valgrind where it is missing instead of installing it.
    #[arg(long)]
    no_install: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let lack = if options.no_install { Lack::Report } else { Lack::Install };
    tools::require(tools::COUNTING, lack)?;
    let program = build()?;
    let environment = environment::look(&program)?;
    let filter = options.filter.as_deref().unwrap_or_default();
    let counts = callgrind::count(&program, filter)?;
    if counts.is_empty() {
        bail!("no case has {filter:?} in its name");
    }
    let measured = Baseline::new(environment, &counts);
    let path = options.baseline.clone().unwrap_or_else(committed);
    if options.refresh {
        measured.write(&path)?;
        println!("{} cases written to {}", counts.len(), path.display());
        return Ok(());
    }
    let before = Baseline::read(&path).with_context(|| {
        format!("{}; `cargo xtask instructions --refresh` writes one for this machine", path.display())
    })?;
    let comparison = Comparison::new(&before, &measured, filter);
    println!("{comparison}");
    // A case that was added or taken away with its base in another file is none of that file's business.
    let is_committed = options.baseline.is_none();
    comparison.judge(is_committed)
}

/// Where the counts lie that this architecture is held to.
fn committed() -> PathBuf {
    workspace::root().join(format!("benches/baseline/{}.toml", std::env::consts::ARCH))
}

/// The program that runs the cases, as it would be released, without the libraries it is compared with elsewhere.
fn build() -> Result<PathBuf> {
    workspace::run_cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "benches",
        "--no-default-features",
        "--bin",
        "instructions",
    ])?;
    workspace::binary(Profile::Release, "instructions")
}
