//! `cargo xtask perf`: builds what is measured and the harness that measures it, and hands over to it.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools::{self, Lack};
use crate::workspace::{self, Profile};

/// Where the short way puts its report, below the target directory.
const REPORT_DIRECTORY: &str = "target/perf";

/// The exit status when it came to no measurement, as ringway-perf's gate has it.
pub(crate) const EXIT_NOT_MEASURED: u8 = 2;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Every workload for a second on every target that this machine has, unoptimised: that it works, not how fast.
    #[arg(long)]
    smoke: bool,
    /// Only names missing system tools instead of installing them.
    #[arg(long)]
    no_install: bool,
    /// What `ringway-perf` is told [default: run --quick, with a page and its JSON in target/perf].
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Returns only when something is wrong before anything is measured.
pub(crate) fn run(options: &Options) -> Result<Infallible> {
    let lack = if options.no_install { Lack::Report } else { Lack::Install };
    tools::require(tools::MEASURING, lack)?;
    tools::offer(lack);
    let profile = if options.smoke { Profile::Dev } else { Profile::Release };
    build(profile)?;
    let mut harness = Command::new(workspace::binary(profile, "ringway-perf")?);
    harness.args(arguments(options)?).current_dir(workspace::root());
    // In place of this process: its exit status is the command's, and a signal reaches nobody else.
    Err(harness.exec()).context("starting ringway-perf")
}

fn build(profile: Profile) -> Result<()> {
    if profile == Profile::Release {
        println!("building ringway and its harness (release)");
        // One after the other: built together, the proxy would get the features of libraries that only the harness needs,
        // and not be the one that is shipped.
        workspace::run_cargo(&["build", "--locked", "--release", "-p", "node"])?;
        return workspace::run_cargo(&["build", "--locked", "--release", "-p", "ringway-perf"]);
    }
    // As the tests are built: after them nothing is left to build.
    workspace::run_cargo(&["build", "--locked", "--workspace", "--lib", "--bins", "--tests"])
}

fn arguments(options: &Options) -> Result<Vec<String>> {
    let given = options.arguments.iter().cloned();
    if options.smoke {
        let ringway = workspace::binary(Profile::Dev, "ringway")?.display().to_string();
        return Ok(["run", "--smoke", "--ringway", &ringway]
            .map(str::to_owned)
            .into_iter()
            .chain(given)
            .collect());
    }
    if !options.arguments.is_empty() {
        return Ok(given.collect());
    }
    let directory = PathBuf::from(REPORT_DIRECTORY);
    std::fs::create_dir_all(workspace::root().join(&directory)).context("making a place for the report")?;
    let file = |name: &str| directory.join(name).display().to_string();
    println!("the report: {}", file("report.html"));
    Ok(["run", "--quick", "--html", &file("report.html"), "--json", &file("report.json")]
        .map(str::to_owned)
        .to_vec())
}
