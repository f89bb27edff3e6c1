//! What stands between client and server: one small file each.
//!
//! A target is told to start on both pods of a pair and gives back its processes, the client's side first. All that the
//! others do (namespaces, load, clocks, counters) is the runner's.

mod direct;
mod hbone;
mod ringway;
mod ztunnel;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use testkit::process::Process;
use testkit::shell;

use crate::pair::Pair;
use direct::Direct;
use ringway::Ringway;
use ztunnel::Ztunnel;

pub(crate) trait Target: fmt::Debug {
    /// What it is called on the command line and in reports.
    fn name(&self) -> &'static str;

    /// True when every byte between the pods has to be in a tunnel: the runner then proves that it was.
    fn is_encrypted(&self) -> bool;

    /// What exactly was measured.
    fn build(&self) -> Result<Build>;

    /// Puts it on both pods and returns when it is ready.
    fn start(&self, pair: &Pair) -> Result<Vec<Process>>;
}

/// The program behind a target.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Build {
    /// What it says of itself.
    pub(crate) version: String,
    /// The beginning of the binary's SHA-256.
    pub(crate) sha256: String,
}

impl Build {
    /// Asks a binary that knows the subcommand `version`.
    fn of(binary: &Path) -> Result<Self> {
        let version = shell::output(std::process::Command::new(binary).arg("version"))?;
        let sum = shell::output(std::process::Command::new("sha256sum").arg(binary))?;
        Ok(Self { version: short(&version), sha256: sum.chars().take(12).collect() })
    }
}

/// A version in a few words: of Istio's `BuildInfo{Version:"…", …}` only that.
fn short(version: &str) -> String {
    let istio = version.split_once("{Version:\"").and_then(|(_, rest)| rest.split_once('"'));
    let version = istio.map_or(version, |(version, _)| version);
    version.split_whitespace().collect::<Vec<_>>().join(" ")
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
            "ringway" => Box::new(Ringway { binary: existing(&self.ringway)?, worker_threads }),
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

    fn names(choice: &Choice) -> Result<Vec<&'static str>> {
        Ok(choice.targets()?.iter().map(|target| target.name()).collect())
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
    fn versions_are_cut_to_what_names_the_build() {
        for (said, expected) in [
            ("ringway 0.1.0\ncommit abc\n", "ringway 0.1.0 commit abc"),
            ("version.BuildInfo{Version:\"62d826-dirty\", GitRevision:\"62d\"}\n", "62d826-dirty"),
        ] {
            assert_eq!(short(said), expected);
        }
    }

    #[test]
    fn peers_are_named_with_their_path() {
        for broken in ["ztunnel", "unknown=/bin/sh"] {
            assert!(broken.parse::<Peer>().is_err(), "{broken}");
        }
    }
}
