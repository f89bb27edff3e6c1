//! System calls of the proxies, counted by `perf stat` in a pass of its own: counting costs time at every call, so nothing
//! else is taken from this pass.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::shell;

use super::progress::Progress;
use super::{Order, Stand, drive, reason_against, start_all};
use crate::record::{Plan, Sample};
use crate::target::Standing;
use crate::workload::{Volume, Workload};

/// A count needs no long window.
const WINDOW_SECONDS: f64 = 1.0;

const EVENT: &str = "raw_syscalls:sys_enter";

/// Why they can't be counted here.
pub(crate) fn unavailable() -> Option<String> {
    if shell::find_program("perf").is_none() {
        return Some("perf is not installed (Debian: linux-perf)".to_owned());
    }
    let mut trial = Command::new("perf");
    let trial =
        trial.args(["stat", "-x,", "-e", EVENT, "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let counts = trial.is_ok_and(|status| status.success());
    (!counts).then(|| format!("perf can't count {EVENT} here"))
}

/// Every workload once through every target that runs something.
pub(super) fn pass(order: &Order, progress: &mut Progress) -> Result<Vec<Sample>> {
    let plan = Plan { seconds: WINDOW_SECONDS.min(order.plan.seconds), ..order.plan.clone() };
    let mut stands = start_all(order, 0)?;
    let mut samples = Vec::new();
    for &workload in &order.workloads {
        for stand in &mut stands {
            let runs = stand.standing.processes().next().is_some();
            if !runs || reason_against(stand.target, workload).is_some() {
                progress.skip();
                continue;
            }
            let place = || format!("system calls of {} through {}", workload.name, stand.target.name());
            let sample = count(&plan, stand, workload).with_context(place)?;
            progress.measured(&sample);
            // Where bytes and messages move at once, nobody can tell whose calls they were.
            samples.extend(Some(sample).filter(|sample| !sample.figures.is_empty()));
        }
    }
    Ok(samples)
}

fn count(plan: &Plan, stand: &Stand<'_>, workload: &Workload) -> Result<Sample> {
    let counter = Counter::attach(&stand.standing)?;
    let (outcome, measured) = drive(plan, stand, workload, Some(counter))?;
    let mut sample = Sample {
        // Behind the rounds.
        round: plan.rounds,
        target: stand.target.name().to_owned(),
        workload: workload.name.to_owned(),
        seconds: measured.seconds,
        ..Sample::default()
    };
    let by = match outcome.volume {
        Volume::Bytes(bytes) => Some(("syscalls_per_mb", bytes / 1e6)),
        Volume::Operations(operations) => Some(("syscalls_per_op", operations)),
        Volume::Unclear => None,
    };
    if let Some(((key, by), calls)) = by.zip(measured.syscalls) {
        sample.figures.insert(key.to_owned(), calls / by);
    }
    Ok(sample)
}

/// `perf stat` beside the processes of a target, told over its standard input when to count.
#[derive(Debug)]
pub(super) struct Counter {
    perf: Child,
    commands: ChildStdin,
    acknowledged: BufReader<ChildStdout>,
}

impl Counter {
    fn attach(standing: &Standing) -> Result<Self> {
        let pids: Vec<String> = standing.processes().map(|process| process.pid().to_string()).collect();
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x,", "-e", EVENT, "-p", &pids.join(","), "--delay=-1", "--control=fd:0,1"]);
        perf.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut perf = perf.spawn().context("starting perf")?;
        let commands = perf.stdin.take().context("no pipe to perf")?;
        let acknowledged = BufReader::new(perf.stdout.take().context("no pipe from perf")?);
        Ok(Self { perf, commands, acknowledged })
    }

    pub(super) fn enable(&mut self) -> Result<()> {
        self.tell("enable")
    }

    pub(super) fn disable(&mut self) -> Result<()> {
        self.tell("disable")
    }

    /// Ends it: what it counted.
    pub(super) fn total(mut self) -> Result<f64> {
        kill(Pid::from_raw(i32::try_from(self.perf.id())?), Signal::SIGINT)?;
        let mut said = String::new();
        self.perf.stderr.take().context("no pipe from perf")?.read_to_string(&mut said)?;
        self.perf.wait()?;
        parse(&said)
    }

    fn tell(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands, "{command}").context("speaking to perf")?;
        let mut answer = String::new();
        self.acknowledged.read_line(&mut answer).context("listening to perf")?;
        ensure!(answer.contains("ack"), "perf answered {command} with {answer:?}");
        Ok(())
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}

/// A line like `12345,,raw_syscalls:sys_enter,1000000,100.00,,`.
fn parse(said: &str) -> Result<f64> {
    let line = said.lines().find(|line| line.contains(EVENT));
    let Some((count, _)) = line.and_then(|line| line.split_once(',')) else { bail!("perf said {said:?}") };
    count.parse().with_context(|| format!("perf said {said:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_perf_says() {
        assert_eq!(parse("12345,,raw_syscalls:sys_enter,1000000,100.00,,\n").unwrap(), 12_345.0);
        assert!(parse("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n").is_err());
        assert!(parse("Error: no permission\n").is_err());
    }
}
