//! `ringway proxy`: everything that can be wrong is looked for first, then the engine starts, then we wait.

use std::process::ExitCode;

use anyhow::Context;
use control::environment::{Environment, Machine};
use control::logging;
use control::thread::{self, Ended};
use tracing::{info, warn};

use crate::preflight;
use crate::signals::EndSignals;

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let signals = EndSignals::block().context("SIGTERM and SIGINT cannot be waited for")?;
    let environment = Environment::of_process(&machine())?;
    // Kept to the end: it writes out the last lines.
    let _log = logging::init(&environment.log)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        shards = environment.engine.shards,
        tls_suites = %environment.suites,
        "starting"
    );
    for warning in &environment.warnings {
        warn!("{warning}");
    }
    refuse(&environment)?;

    let control = thread::start(environment).context("no start")?;
    signals
        .watch(control.shutdown())
        .context("no thread to wait for signals; raise the limit of threads (ulimit -u)")?;
    let ended = control.join();
    info!("ended");
    Ok(match ended {
        Ended::Ordered => ExitCode::SUCCESS,
        Ended::GaveUp => ExitCode::FAILURE,
    })
}

/// Ends the start if it has no chance, with all there is to put right.
fn refuse(environment: &Environment) -> anyhow::Result<()> {
    let mut refusals = preflight::missing(environment);
    let files = thread::refusals(environment).context("no runtime to read the files with")?;
    refusals.extend(files.iter().map(ToString::to_string));
    if refusals.is_empty() {
        return Ok(());
    }
    anyhow::bail!("no start:\n  {}", refusals.join("\n  "))
}

/// The cores of this machine, and those of them that we may use.
pub(crate) fn machine() -> Machine {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    Machine::with_allowed(allowed.into_iter().map(|core| core.id).collect())
}
