//! `perf` beside the processes of a target, told over its standard input when to look.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::target::Standing;

/// A `perf` that sees nothing until it is enabled; ended on drop.
#[derive(Debug)]
pub(super) struct Attached {
    perf: Child,
    commands: ChildStdin,
    acknowledged: BufReader<ChildStdout>,
}

impl Attached {
    /// `perf` with these arguments, on all processes of `standing`.
    pub(super) fn start(standing: &Standing, arguments: &[&str]) -> Result<Self> {
        let pids: Vec<String> = standing.processes().map(|process| process.pid().to_string()).collect();
        let mut perf = Command::new("perf");
        perf.args(arguments).args(["-p", &pids.join(","), "--delay=-1", "--control=fd:0,1"]);
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

    /// Ends it: what it said.
    pub(super) fn finish(mut self) -> Result<String> {
        kill(Pid::from_raw(i32::try_from(self.perf.id())?), Signal::SIGINT)?;
        let mut said = String::new();
        self.perf.stderr.take().context("no pipe from perf")?.read_to_string(&mut said)?;
        self.perf.wait()?;
        Ok(said)
    }

    fn tell(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands, "{command}").context("speaking to perf")?;
        let mut answer = String::new();
        self.acknowledged.read_line(&mut answer).context("listening to perf")?;
        ensure!(answer.contains("ack"), "perf answered {command} with {answer:?}");
        Ok(())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}
