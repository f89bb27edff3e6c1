//! The runner's end of a load generator.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testkit::netns::Netns;

use crate::cpu;
use crate::protocol::{Reply, Request, Tally};

/// A running `ringway-perf peer`; killed on drop.
#[derive(Debug)]
pub(crate) struct Agent {
    place: String,
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Agent {
    /// Starts one inside `netns`.
    pub(crate) fn start(netns: &Netns) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command.arg("peer").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = netns.spawn_process(&mut command)?;
        let requests = child.stdin.take().context("no pipe to a generator")?;
        let replies = BufReader::new(child.stdout.take().context("no pipe from a generator")?);
        Ok(Self { place: netns.name().to_owned(), child, requests, replies })
    }

    /// Asks for something that has no answer but that it is done.
    pub(crate) fn tell(&mut self, request: &Request) -> Result<()> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => bail!("{request:?} was answered with {other:?}"),
        }
    }

    /// The end of the measured window.
    pub(crate) fn end(&mut self) -> Result<Tally> {
        match self.ask(&Request::End)? {
            Reply::Tally(tally) => Ok(tally),
            other => bail!("the end was answered with {other:?}"),
        }
    }

    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        cpu::of_process(self.child.id())
    }

    fn ask(&mut self, request: &Request) -> Result<Reply> {
        let reply = self.exchange(request).with_context(|| format!("the generator in {}", self.place))?;
        match reply {
            Reply::Failed(message) => bail!("the generator in {}: {message}", self.place),
            reply => Ok(reply),
        }
    }

    fn exchange(&mut self, request: &Request) -> Result<Reply> {
        writeln!(self.requests, "{}", serde_json::to_string(request)?)?;
        let mut line = String::new();
        if self.replies.read_line(&mut line)? == 0 {
            bail!("ended: {}", self.child.wait()?);
        }
        serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
