//! `ringway-perf gate`: is this build slower than that one?
//!
//! Both are measured interleaved in one run, and only a loss that is sure and beyond its figure's threshold fails. What
//! moved is printed with the functions where the time went.

mod judgement;
mod page;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::interrupt;
use crate::limits;
use crate::measure::{self, Order, profile};
use crate::record::{Plan, Run, file};
use crate::report::{self, Files, noise};
use crate::site::Layout;
use crate::target::{Choice, RingwayBuild, builds};
use crate::workload::Workload;
use judgement::{Change, Judgement, Threshold, Thresholds, judge};

const BASE: &str = "ringway:base";
const HEAD: &str = "ringway:head";

/// Enough that three bad rounds do not decide.
const ROUNDS: usize = 11;
/// An interval of fewer says nothing: see the bootstrap.
const ROUNDS_MIN: usize = 5;

/// One of each kind: bytes, messages, both at once, connections.
const WORKLOADS: [&str; 5] = ["bulk", "bulk-reverse", "ping-pong-32-64", "mixed-bulk-first", "connect-warm"];

/// Profiles are taken of so many lost workloads.
const PROFILES_MAX: usize = 2;

#[derive(Args, Debug)]
#[command(after_help = EXIT_STATUSES)]
pub(crate) struct GateArguments {
    /// The revision to compare with; it is built.
    #[arg(long, value_name = "REV", required_unless_present_any = ["recorded", "base_binary"])]
    base: Option<String>,
    /// A binary to compare with, in place of a revision.
    #[arg(long, value_name = "PATH", conflicts_with = "base")]
    base_binary: Option<PathBuf>,
    /// The build that is judged [default: the working tree, which is built].
    #[arg(long, value_name = "PATH")]
    head: Option<PathBuf>,
    /// Judges a run that was recorded (`gate --json`), and measures nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["base", "base_binary", "head"])]
    recorded: Option<PathBuf>,
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// The measured window of each workload.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// What runs before it and does not count.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    warm_up: f64,
    /// Worker threads of each proxy.
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// Which workloads.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = WORKLOADS)]
    workloads: Vec<String>,
    /// A loss up to so many percent passes, instead of the figure's own threshold; as often as you like.
    #[arg(long, value_name = "KEY=PERCENT")]
    threshold: Vec<Threshold>,
    #[command(flatten)]
    layout: Layout,
    #[command(flatten)]
    files: Files,
}

/// Whether the build passed. That it could not be told is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Lost,
}

/// What a script reads: an exit status of its own for each way in which the gate can end.
pub(crate) const EXIT_STATUSES: &str = "Exit status:
    0  no loss
    1  a loss that is sure and matters
    2  it could not be told: wrong arguments, a build or a measurement that failed, too few rounds,
       a figure that can't be compared
  130  ended by a signal: no verdict";

const EXIT_LOST: u8 = 1;
const EXIT_UNTOLD: u8 = 2;

/// Runs it and says how it ended.
pub(crate) fn status(arguments: &GateArguments) -> ExitCode {
    match limits::raise_open_files().and_then(|()| run(arguments)) {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Lost) => ExitCode::from(EXIT_LOST),
        Err(error) => {
            eprintln!("ringway-perf: {error:#}");
            if interrupt::is_asked() { interrupt::exit_code() } else { ExitCode::from(EXIT_UNTOLD) }
        }
    }
}

fn run(arguments: &GateArguments) -> Result<Outcome> {
    let thresholds: Thresholds = arguments.threshold.iter().copied().collect();
    if let Some(recorded) = &arguments.recorded {
        return conclude(&file::read(recorded)?, &thresholds, None);
    }
    interrupt::watch()?;
    ensure!(testkit::run::is_root(), "network namespaces need root");
    ensure!(
        arguments.layout.endpoints.is_none(),
        "between endpoints of yours stands one build: there is no gate"
    );
    ensure!(arguments.rounds >= ROUNDS_MIN, "fewer than {ROUNDS_MIN} rounds can't show a loss");
    arguments.files.expect_directories()?;
    let mut order = order(arguments)?;
    let run = measure::run(&mut order)?;
    arguments.files.write(&run)?;
    conclude(&run, &thresholds, Some(&order))
}

fn order(arguments: &GateArguments) -> Result<Order> {
    let plan = Plan {
        command: std::env::args().collect(),
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        warm_up_seconds: arguments.warm_up,
        threads: arguments.threads,
        site: arguments.layout.describe(),
    };
    // What is wrong is said before anything is built.
    plan.expect_measurable()?;
    let workloads: Vec<&'static Workload> =
        arguments.workloads.iter().map(|name| name.parse()).collect::<Result<_>>()?;
    let base = match (&arguments.base, &arguments.base_binary) {
        (Some(revision), _) => {
            builds::expect_revision(revision)?;
            format!("base=rev:{revision}")
        }
        (None, Some(binary)) => format!("base={}", binary.display()),
        (None, None) => bail!("compare with what? --base REV"),
    };
    let head = match &arguments.head {
        Some(binary) => format!("head={}", binary.display()),
        None => format!("head={}", builds::of_working_tree()?.display()),
    };
    let ringways: Vec<RingwayBuild> =
        [base, head].iter().map(|build| build.parse()).collect::<Result<_>>()?;
    let choice = Choice {
        ringways,
        peers: Vec::new(),
        worker_threads: arguments.threads,
        names: vec![BASE.to_owned(), HEAD.to_owned()],
        built_in: &[],
        endpoints: None,
    };
    Ok(Order {
        plan,
        layout: arguments.layout.clone(),
        targets: choice.targets()?,
        workloads,
        syscalls_of: Vec::new(),
    })
}

/// Says what moved, and where the time of a loss goes if there is something to measure it with.
fn conclude(run: &Run, thresholds: &Thresholds, order: Option<&Order>) -> Result<Outcome> {
    for name in [BASE, HEAD] {
        ensure!(
            run.targets.iter().any(|target| target.name == name),
            "this run has no target {name}: give one that the gate recorded (gate --json)"
        );
    }
    let changes = judge(run, BASE, HEAD, thresholds);
    ensure!(!changes.is_empty(), "this run has no figure that the gate judges");
    report::print(&page::table(run, &changes))?;
    let is_live = order.is_some();
    if let Some(said) = run.cut_short_in_words().filter(|_| is_live) {
        bail!("no verdict: {said}");
    }
    let lost: BTreeSet<&str> = lost(&changes).map(|change| change.workload.as_str()).collect();
    if lost.is_empty() {
        expect_told(run, &changes)?;
    }
    if let Some(order) = order {
        for name in lost.iter().take(PROFILES_MAX) {
            report::print(&where_it_went(order, name, &changes))?;
        }
    }
    report::print(&format!("\n{}\n", page::verdict(&changes)))?;
    Ok(if lost.is_empty() { Outcome::Passed } else { Outcome::Lost })
}

/// An error unless every figure was judged: what passes has lost nothing that the gate looks at.
fn expect_told(run: &Run, changes: &[Change]) -> Result<()> {
    ensure!(
        noise::has_intervals(run.rounds()),
        "no verdict: {} can't show a loss, {ROUNDS_MIN} are the least",
        run.rounds_in_words()
    );
    let untold: Vec<String> = changes
        .iter()
        .filter(|change| !change.judgement.is_told())
        .map(|change| format!("{} of {} ({})", change.figure.title, change.workload, change.judgement))
        .collect();
    ensure!(
        untold.is_empty(),
        "no verdict: {} of {} figures can't be judged, though none of the others is a sure loss: {}; a round with \
         nothing in it can't be compared: see what stood still in the run (--json), and measure again",
        untold.len(),
        changes.len(),
        untold.join(", ")
    );
    Ok(())
}

fn lost(changes: &[Change]) -> impl Iterator<Item = &Change> {
    changes.iter().filter(|change| change.judgement == Judgement::Lost)
}

/// The functions whose share changed most. A profile that can't be taken changes no verdict.
fn where_it_went(order: &Order, workload: &str, changes: &[Change]) -> String {
    let profiles = workload.parse().and_then(|workload: &Workload| profile::of(order, workload));
    match profiles {
        Ok(profiles) => page::profile(workload, &profiles[BASE], &profiles[HEAD], changes),
        Err(error) => format!("\nno profile of {workload}: {error:#}\n"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::made_up;

    fn concluded(run: &Run) -> Result<Outcome> {
        conclude(run, &Thresholds::default(), None)
    }

    #[test]
    fn nothing_passes_while_one_figure_is_unjudged() {
        let mut run = made_up::run(&[BASE, HEAD], &["bulk"], 11);
        assert_eq!(concluded(&run).unwrap(), Outcome::Passed);
        // The base stood still once: nobody can say how many times as much the head moved.
        run.samples.first_mut().unwrap().figures.insert("throughput_gbps".to_owned(), 0.0);
        let error = format!("{:#}", concluded(&run).unwrap_err());
        assert!(
            error.contains("no verdict: 1 of 2 figures") && error.contains("throughput of bulk"),
            "{error}"
        );
        // A loss beside it is one all the same.
        for sample in run.samples.iter_mut().filter(|sample| sample.target == HEAD) {
            sample.figures.entry("cpu_s_per_gb".to_owned()).and_modify(|cpu| *cpu *= 2.0);
        }
        assert_eq!(concluded(&run).unwrap(), Outcome::Lost);
    }

    #[test]
    fn nothing_passes_while_one_figure_has_too_few_rounds() {
        let mut run = made_up::run(&[BASE, HEAD], &["bulk"], 11);
        for sample in run.samples.iter_mut().filter(|sample| sample.round > 1) {
            sample.figures.remove("cpu_s_per_gb");
        }
        let error = format!("{:#}", concluded(&run).unwrap_err());
        assert!(error.contains("CPU of bulk (too few rounds)"), "{error}");
    }
}
