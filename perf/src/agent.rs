//! The runner's end of a load generator.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use crate::interrupt;
use crate::protocol::{Reply, Request, Tally};
use crate::site::Place;

/// How long whoever wants us to end may wait until it is noticed, in milliseconds.
const POLL_MS: u8 = 100;

/// A running `ringway-perf peer`; killed on drop.
#[derive(Debug)]
pub(crate) struct Agent {
    place: String,
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Agent {
    /// Starts one at `place`.
    pub(crate) fn start(place: &Place) -> Result<Self> {
        Self::start_program(place, &place.own_program()?)
    }

    /// The same where it is known what to start there.
    pub(crate) fn start_program(place: &Place, program: &str) -> Result<Self> {
        let mut command = place.command(program);
        command.arg("peer").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = place.spawn(&mut command)?;
        let requests = child.stdin.take().context("no pipe to a generator")?;
        let replies = BufReader::new(child.stdout.take().context("no pipe from a generator")?);
        Ok(Self { place: place.name(), child, requests, replies })
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

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
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
        self.wait_for_reply()?;
        let mut line = String::new();
        if self.replies.read_line(&mut line)? == 0 {
            bail!("ended: {}", self.child.wait()?);
        }
        serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))
    }

    /// Returns when there is something to read, or when it has ended. A reply comes in one piece.
    fn wait_for_reply(&self) -> Result<()> {
        loop {
            interrupt::check()?;
            let mut pipe = [PollFd::new(self.replies.get_ref().as_fd(), PollFlags::POLLIN)];
            match poll(&mut pipe, POLL_MS) {
                Ok(0) | Err(Errno::EINTR) => {}
                ready => return ready.map(drop).context("waiting"),
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
