//! What stands between client and server: one small file each.
//!
//! A target is told to start on a site and gives back what runs. All that the others do (namespaces, load, clocks,
//! counters) is the runner's.

mod direct;
mod hbone;
mod program;
mod ringway;
mod ztunnel;

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use testkit::process::Process;

use crate::record::{Build, Encryption};
use crate::site::Site;
use crate::workload::Workload;
use direct::Direct;
use ringway::Ringway;
use ztunnel::Ztunnel;

pub(crate) trait Target: fmt::Debug {
    /// What it is called on the command line and in reports.
    fn name(&self) -> &str;

    /// What it promises of the bytes between the pods: the runner proves it in every window.
    fn encryption(&self) -> Encryption;

    /// Why it can't be had on this machine: then it is left out of the report, which says so.
    fn unavailable(&self) -> Option<String> {
        None
    }

    /// Why a workload has no meaning for it.
    fn cannot(&self, _workload: &Workload) -> Option<String> {
        None
    }

    /// What exactly was measured.
    fn build(&self) -> Result<Build>;

    /// Puts it on all pods of a fresh site and returns when it is ready.
    fn start(&self, site: &Site) -> Result<Standing>;
}

/// A target that is up.
#[derive(Debug)]
pub(crate) struct Standing {
    /// What runs for the clients' pods; for both where all are pods of one node.
    pub(crate) client_side: Vec<Process>,
    pub(crate) server_side: Vec<Process>,
    /// Where each client reaches its server: the pod's address, unless the target brings one of its own.
    pub(crate) dial: Vec<Ipv4Addr>,
}

impl Standing {
    /// Nothing runs, and clients dial their servers' pods.
    pub(crate) fn of_pods(site: &Site) -> Self {
        let dial = site.servers.iter().map(|pod| pod.ip).collect();
        Self { client_side: Vec::new(), server_side: Vec::new(), dial }
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.client_side.iter().chain(&self.server_side)
    }

    /// An error with its last words when one has ended.
    pub(crate) fn expect_running(&mut self) -> Result<()> {
        let mut processes = self.client_side.iter_mut().chain(&mut self.server_side);
        processes.try_for_each(Process::expect_running)
    }
}

/// A binary to measure beside ringway, as `--peer NAME=PATH` gives it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    name: String,
    binary: PathBuf,
}

impl FromStr for Peer {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, binary) = text.split_once('=').context("give it as NAME=PATH")?;
        ensure!(name == "ztunnel", "no peer is called {name:?}: there is ztunnel");
        Ok(Self { name: name.to_owned(), binary: binary.into() })
    }
}

/// How targets are started.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) ringway: PathBuf,
    pub(crate) peers: Vec<Peer>,
    pub(crate) worker_threads: u32,
    /// Which, in which order; all that there are when empty.
    pub(crate) names: Vec<String>,
}

impl Choice {
    /// The targets. One that was asked for by name and is not there is an error.
    pub(crate) fn targets(&self) -> Result<Vec<Box<dyn Target>>> {
        if !self.names.is_empty() {
            return self.names.iter().map(|name| self.target(name)).collect();
        }
        let mut names = vec!["direct"];
        names.extend(self.peers.iter().map(|peer| peer.name.as_str()));
        if self.ringway.is_file() {
            names.push("ringway");
        } else {
            eprintln!("left out: ringway, there is no {}", self.ringway.display());
        }
        names.into_iter().map(|name| self.target(name)).collect()
    }

    fn target(&self, name: &str) -> Result<Box<dyn Target>> {
        let worker_threads = self.worker_threads;
        Ok(match name {
            "direct" => Box::new(Direct),
            "ringway" => {
                Box::new(Ringway { name: name.to_owned(), binary: existing(&self.ringway)?, worker_threads })
            }
            "ztunnel" => {
                let peer = self.peers.iter().find(|peer| peer.name == name);
                let binary = &peer.context("where is ztunnel? --peer ztunnel=PATH")?.binary;
                Box::new(Ztunnel { binary: existing(binary)?, worker_threads })
            }
            other => bail!("no target is called {other:?}: there are direct, ztunnel and ringway"),
        })
    }
}

/// An absolute path, since processes are started in other places.
fn existing(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("there is no {}: build it first", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn choice(names: &[&str], peers: &[&str]) -> Choice {
        Choice {
            ringway: "/nonexistent/ringway".into(),
            peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
            worker_threads: 2,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn names(choice: &Choice) -> Result<Vec<String>> {
        Ok(choice.targets()?.iter().map(|target| target.name().to_owned()).collect())
    }

    #[test]
    fn what_is_measured() {
        let ztunnel = ["ztunnel=/bin/sh"];
        assert_eq!(names(&choice(&[], &[])).unwrap(), ["direct"]);
        assert_eq!(names(&choice(&[], &ztunnel)).unwrap(), ["direct", "ztunnel"]);
        assert_eq!(names(&choice(&["ztunnel", "direct"], &ztunnel)).unwrap(), ["ztunnel", "direct"]);
        for (targets, peers, word) in [
            (["ringway"], &[][..], "/nonexistent/ringway"),
            (["ztunnel"], &[][..], "--peer"),
            (["ztunnel"], &["ztunnel=/nonexistent/z"][..], "/nonexistent/z"),
            (["haproxy"], &[][..], "haproxy"),
        ] {
            let error = format!("{:#}", names(&choice(&targets, peers)).unwrap_err());
            assert!(error.contains(word), "{targets:?}: {error}");
        }
    }

    #[test]
    fn peers_are_named_with_their_path() {
        for broken in ["ztunnel", "unknown=/bin/sh"] {
            assert!(broken.parse::<Peer>().is_err(), "{broken}");
        }
    }
}
