//! What is driven: all workloads, and how each is told to the runner.

mod bulk;
mod churn;
mod connections;
mod ends;
mod idle;
mod iperf;
mod mixed;
mod netperf;
mod ping_pong;
mod sockets;
mod timed;
mod tool;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::measure::Window;
use crate::record::Point;
use crate::site::{Pod, Site};
use crate::target::Standing;

/// One line of measurements.
#[derive(Clone, Copy)]
pub(crate) struct Workload {
    /// On the command line and in reports.
    pub(crate) name: &'static str,
    /// One sentence.
    pub(crate) title: &'static str,
    /// What is run, as one could type it.
    pub(crate) command: &'static str,
    /// Pairs of pods that it needs.
    pub(crate) pairs: usize,
    /// Pods come and go in it, which takes a process for the whole node.
    pub(crate) node_process: bool,
    /// Why it can't be driven here: a missing tool.
    pub(crate) unavailable: fn() -> Option<String>,
    /// Drives it through one target once.
    pub(crate) drive: fn(&Stage<'_>, &mut Window<'_>) -> Result<Outcome>,
}

/// Where a workload is driven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage<'s> {
    pub(crate) site: &'s Site,
    /// By pair: where the client reaches its server.
    pub(crate) dial: &'s [Ipv4Addr],
    pub(crate) standing: &'s Standing,
    /// The measured window.
    pub(crate) seconds: f64,
    /// What runs before it and does not count.
    pub(crate) warm_up_seconds: f64,
}

/// What came of a window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// What moved: what CPU, switches and system calls are divided by.
    pub(crate) volume: Volume,
    /// Of the payload between the pods, both directions: the least that tunnels have to have carried since the load began.
    pub(crate) payload_bytes: u64,
    /// By the keys of [`crate::record::figure::FIGURES`].
    pub(crate) figures: BTreeMap<&'static str, f64>,
    pub(crate) curve: Vec<Point>,
}

/// What a workload moved.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Volume {
    Bytes(f64),
    Operations(f64),
    /// Both at once, and nobody can tell what was used for which; or nothing.
    #[default]
    Unclear,
}

impl Workload {
    /// Driven between one pair, by what is always there.
    const fn of_a_pair(
        name: &'static str,
        title: &'static str,
        command: &'static str,
        drive: fn(&Stage<'_>, &mut Window<'_>) -> Result<Outcome>,
    ) -> Self {
        Self { name, title, command, pairs: 1, node_process: false, unavailable: always, drive }
    }

    /// The same by what may be missing.
    const fn needing(self, unavailable: fn() -> Option<String>) -> Self {
        Self { unavailable, ..self }
    }

    /// All of them, in the order of reports.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        let families = [
            iperf::WORKLOADS,
            netperf::WORKLOADS,
            bulk::BULK,
            ping_pong::WORKLOADS,
            mixed::WORKLOADS,
            bulk::SLOW_READER,
            connections::WARM,
            // Before what leaves many tunnels behind it, so that little but connections adds to its memory.
            idle::WORKLOADS,
            connections::COLD,
            churn::WORKLOADS,
        ];
        families.into_iter().flatten()
    }
}

impl Stage<'_> {
    /// The first client, and where it reaches its server.
    pub(crate) fn pair(&self, at: usize) -> (&Pod, &Pod, Ipv4Addr) {
        (&self.site.clients[at], &self.site.servers[at], self.dial[at])
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)
    }
}

/// From the command line.
impl FromStr for &'static Workload {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        if let Some(found) = Workload::all().find(|workload| workload.name == name) {
            return Ok(found);
        }
        let names: Vec<&str> = Workload::all().map(|workload| workload.name).collect();
        bail!("no workload is called {name:?}: there are {}", names.join(", "))
    }
}

/// Needs nothing that may be missing.
fn always() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_told_apart_and_found() {
        for workload in Workload::all() {
            assert_eq!(Workload::all().filter(|other| other.name == workload.name).count(), 1);
            assert_eq!(workload.name.parse::<&Workload>().unwrap().title, workload.title);
            assert!(workload.pairs >= 1 && workload.title.ends_with('.'), "{workload:?}");
        }
        let error = "bulky".parse::<&Workload>().unwrap_err().to_string();
        assert!(error.contains("bulky") && error.contains("bulk-reverse"), "{error}");
    }
}
