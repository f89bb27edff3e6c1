//! The rounds. In each, every target is started afresh on a site of its own; then workload by workload all targets are
//! measured one after the other, so that what is compared lies seconds apart, and who comes first changes by round.

mod attached;
mod clocks;
pub(crate) mod cpu;
mod equal;
mod headline;
pub(crate) mod profile;
mod suite;
pub(crate) mod syscalls;
mod window;
mod wire;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::interrupt::{self, Interrupted};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::record::{CutShort, LeftOut, Plan, Run, SCHEMA, Sample, Subject, Wire, WorkloadNote};
use crate::site::{Layout, Site};
use crate::target::{Standing, Target};
use crate::workload::{Outcome, Stage, Workload};
use attached::Attached;
use headline::headline;
use window::Measured;
pub(crate) use window::Window;

/// How often one measurement is begun before its failure ends the run.
const ATTEMPTS_MAX: usize = 3;

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) plan: Plan,
    pub(crate) layout: Layout,
    pub(crate) targets: Vec<Box<dyn Target>>,
    pub(crate) workloads: Vec<&'static Workload>,
    /// Of which of them system calls are counted, in a pass of its own after the rounds: counting slows what is counted.
    pub(crate) syscalls_of: Vec<&'static Workload>,
}

/// A target that is up on its site. Its processes end before the namespaces they are in.
struct Stand<'t> {
    target: &'t dyn Target,
    standing: Standing,
    site: Site,
    suite: Option<String>,
}

/// A workload that was driven, and what crossed the wire meanwhile.
struct Driven {
    outcome: Outcome,
    measured: Measured,
    wire: Wire,
}

/// Measures it all. The first thing that fails ends it; what this machine does not have is left out, and noted. Where it is
/// cut short, the rounds that are whole are what was measured; it is an error when none is.
pub(crate) fn run(order: &mut Order) -> Result<Run> {
    let mut left_out = Vec::new();
    leave_out(order, &mut left_out);
    equal::stand_beside(order, &mut left_out)?;
    let order = &*order;
    expect_something_left(order, &left_out)?;
    let mut run = Run {
        schema: SCHEMA,
        machine: Machine::describe()?,
        plan: order.plan.clone(),
        cut_short: None,
        targets: Vec::new(),
        workloads: order.workloads.iter().map(|workload| note(workload)).collect(),
        samples: Vec::new(),
        left_out,
    };
    let mut progress = None;
    for number in 0..order.plan.rounds {
        let whole = (run.samples.len(), run.left_out.len());
        let measured = round(order, number, &mut run, &mut progress);
        if interrupt::is_asked() && measured.is_err() {
            run.samples.truncate(whole.0);
            run.left_out.truncate(whole.1);
            return cut_short(order, run, number);
        }
        measured?;
    }
    let Some(mut progress) = progress else { return Ok(run) };
    let counted = syscalls::pass(order, &mut progress);
    progress.finish();
    if interrupt::is_asked() && counted.is_err() {
        return cut_short(order, run, order.plan.rounds);
    }
    run.samples.extend(counted?);
    Ok(run)
}

/// What is whole of a run that was ended from outside, if anything is.
fn cut_short(order: &Order, mut run: Run, whole_rounds: usize) -> Result<Run> {
    ensure!(whole_rounds > 0, "{Interrupted} before a round was whole: nothing is written");
    if !order.syscalls_of.is_empty() {
        let reason = "the run was ended before they were counted".to_owned();
        run.left_out.push(LeftOut { what: "system calls".to_owned(), reason });
    }
    run.cut_short = Some(CutShort { whole_rounds });
    Ok(run)
}

/// Everything once.
fn round(order: &Order, number: usize, run: &mut Run, progress: &mut Option<Progress>) -> Result<()> {
    let mut stands = start_all(order, number)?;
    if number == 0 {
        run.targets = subjects(order, &stands)?;
    }
    let progress = progress.get_or_insert_with(|| Progress::new(measurements(order, &stands)));
    for &workload in &order.workloads {
        for stand in &mut stands {
            if let Some(reason) = stand.target.cannot(workload) {
                note_once(&mut run.left_out, stand.target, workload, reason);
                continue;
            }
            let driven = drive_again(order, stand, workload, &mut run.left_out)?;
            let sample = sample(number, stand, workload, driven)?;
            progress.done(&headline(&sample));
            run.samples.push(sample);
        }
    }
    Ok(())
}

/// An error that says why there is nothing.
fn expect_something_left(order: &Order, left_out: &[LeftOut]) -> Result<()> {
    let reasons: Vec<String> =
        left_out.iter().map(|left| format!("{}: {}", left.what, left.reason)).collect();
    ensure!(
        !order.targets.is_empty() && !order.workloads.is_empty(),
        "nothing is left to measure ({})",
        reasons.join("; ")
    );
    Ok(())
}

/// How many there will be, all rounds and the pass of system calls together.
fn measurements(order: &Order, stands: &[Stand<'_>]) -> usize {
    let of_a_stand = |stand: &Stand<'_>| {
        let driven = order.workloads.iter().filter(|workload| stand.target.cannot(workload).is_none());
        let counted = order.syscalls_of.iter().filter(|workload| syscalls::is_counted(stand, workload));
        order.plan.rounds * driven.count() + counted.count()
    };
    stands.iter().map(of_a_stand).sum()
}

/// Takes out what this machine does not have.
fn leave_out(order: &mut Order, left_out: &mut Vec<LeftOut>) {
    order.targets.retain(|target| {
        let reason = target.unavailable();
        left_out.extend(reason.clone().map(|reason| LeftOut { what: target.name().to_owned(), reason }));
        reason.is_none()
    });
    let pairs = order.layout.pairs();
    order.workloads.retain(|workload| {
        let too_few =
            (workload.pairs > pairs).then(|| format!("it needs {} pairs of pods: --pairs", workload.pairs));
        let no_node = (workload.node_process && !order.layout.same_node)
            .then(|| "it needs one process for all pods of a node: --same-node".to_owned());
        let reason = (workload.unavailable)().or(too_few).or(no_node);
        left_out.extend(reason.clone().map(|reason| LeftOut { what: workload.name.to_owned(), reason }));
        reason.is_none()
    });
    let kept: Vec<&str> = order.workloads.iter().map(|workload| workload.name).collect();
    order.syscalls_of.retain(|workload| kept.contains(&workload.name));
}

fn note_once(left_out: &mut Vec<LeftOut>, target: &dyn Target, workload: &Workload, reason: String) {
    let what = format!("{} through {}", workload.name, target.name());
    if !left_out.iter().any(|known| known.what == what) {
        left_out.push(LeftOut { what, reason });
    }
}

fn note(workload: &Workload) -> WorkloadNote {
    WorkloadNote {
        name: workload.name.to_owned(),
        title: workload.title.to_owned(),
        command: workload.command.to_owned(),
    }
}

/// All targets, each on a fresh site; the first of this round begins.
fn start_all(order: &Order, round: usize) -> Result<Vec<Stand<'_>>> {
    let count = order.targets.len();
    let in_turn = (0..count).map(|at| order.targets[(round + at) % count].as_ref());
    in_turn.map(|target| start(&order.layout, target).with_context(|| target.name().to_owned())).collect()
}

/// Puts a target on a fresh site and opens its first tunnels.
fn start<'t>(layout: &Layout, target: &'t dyn Target) -> Result<Stand<'t>> {
    interrupt::check()?;
    let site = layout.build()?;
    let standing = target.start(&site)?;
    let suite = suite::of_first_tunnels(&site, &standing, target.encryption())?;
    if let (Some(told), Some(taken)) = (target.suite(), &suite) {
        ensure!(
            told == taken,
            "told to negotiate {told} it takes {taken}: this build does not let one choose"
        );
    }
    wire::watch(&site)?;
    Ok(Stand { target, standing, site, suite })
}

/// In the order in which the targets were asked for.
fn subjects(order: &Order, stands: &[Stand<'_>]) -> Result<Vec<Subject>> {
    let subject = |target: &dyn Target| {
        let stand = stands.iter().find(|stand| stand.target.name() == target.name());
        Ok(Subject {
            name: target.name().to_owned(),
            build: target.build()?,
            encryption: target.encryption(),
            suite: stand.and_then(|stand| stand.suite.clone()),
        })
    };
    order.targets.iter().map(|target| subject(target.as_ref())).collect()
}

/// Drives one workload through one target. Load generators of others fail now and then; then the target is started afresh
/// and it is tried again, and the report says so.
fn drive_again(
    order: &Order,
    stand: &mut Stand<'_>,
    workload: &Workload,
    left_out: &mut Vec<LeftOut>,
) -> Result<Driven> {
    let place = format!("{} through {}", workload.name, stand.target.name());
    for _ in 1..ATTEMPTS_MAX {
        match drive_watched(&order.plan, stand, workload) {
            Ok(driven) => return Ok(driven),
            Err(error) => {
                interrupt::check()?;
                // A proxy that ended is no bad luck of the load generator.
                stand.standing.expect_running().with_context(|| format!("{place}: {error:#}"))?;
                eprintln!("{place}: {error:#}; once more, with everything started afresh");
                let error = format!("{error:#}");
                let reason = format!("tried again after: {}", error.lines().next().unwrap_or_default());
                left_out.push(LeftOut { what: format!("one measurement of {place}"), reason });
                *stand = start(&order.layout, stand.target)?;
            }
        }
    }
    drive_watched(&order.plan, stand, workload).with_context(|| place)
}

/// With the wire read before and after, so that all of the load is seen.
fn drive_watched(plan: &Plan, stand: &Stand<'_>, workload: &Workload) -> Result<Driven> {
    let before = Wire::read(&stand.site)?;
    let (outcome, measured) = drive(plan, stand, workload, None)?;
    Ok(Driven { outcome, measured, wire: Wire::read(&stand.site)?.since(before) })
}

/// What came of it. An error when bytes went in plaintext that should not have, at once: that is nobody's bad luck.
fn sample(round: usize, stand: &mut Stand<'_>, workload: &Workload, driven: Driven) -> Result<Sample> {
    let Driven { outcome, measured, wire } = driven;
    let place = || format!("{} through {}", workload.name, stand.target.name());
    wire.prove(stand.target.encryption(), outcome.payload_bytes).with_context(place)?;
    // Whose processes ended has no memory to ask for.
    stand.standing.expect_running()?;
    let mut figures: BTreeMap<String, f64> =
        outcome.figures.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
    if stand.standing.processes().next().is_some() {
        let used = measured.figures(outcome.volume).into_iter();
        figures.extend(used.chain(memory(&stand.standing)?).map(|(key, value)| (key.to_owned(), value)));
    }
    Ok(Sample {
        round,
        target: stand.target.name().to_owned(),
        workload: workload.name.to_owned(),
        seconds: measured.seconds,
        figures,
        curve: outcome.curve,
        wire,
        noise: measured.clocks.noise(measured.seconds),
    })
}

fn drive(
    plan: &Plan,
    stand: &Stand<'_>,
    workload: &Workload,
    perf: Option<Attached>,
) -> Result<(Outcome, Measured)> {
    let stage = Stage {
        site: &stand.site,
        dial: &stand.standing.dial,
        standing: &stand.standing,
        seconds: plan.seconds,
        warm_up_seconds: plan.warm_up_seconds,
    };
    let mut window = Window::new(&stand.standing, perf);
    let outcome = (workload.drive)(&stage, &mut window)?;
    Ok((outcome, window.measured()?))
}

/// Resident memory of all its processes now, and at most so far.
fn memory(standing: &Standing) -> Result<[(&'static str, f64); 2]> {
    let (mut now, mut peak) = (0, 0);
    for process in standing.processes() {
        now += process.resident_kib()?;
        peak += process.resident_peak_kib()?;
    }
    let megabytes = |kib: u64| kib as f64 * 1024.0 / 1e6;
    Ok([("rss_mb", megabytes(now)), ("rss_peak_mb", megabytes(peak))])
}
