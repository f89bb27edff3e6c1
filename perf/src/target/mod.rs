//! What stands between client and server: one small file each.
//!
//! A target is told to start on a site and gives back what runs. All that the others do (namespaces, load, clocks,
//! counters) is the runner's.

pub(crate) mod builds;
mod capture;
mod certificates;
mod copies;
mod direct;
mod existing;
mod haproxy;
mod hbone;
mod plain;
mod program;
mod ringway;
mod sealed;
mod sweep;
mod wireguard;
mod ztunnel;

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use testkit::process::Process;

use crate::record::{Build, Encryption};
use crate::site::{Endpoints, Site};
use crate::workload::Workload;
pub(crate) use builds::RingwayBuild;
use direct::Direct;
use existing::Existing;
use haproxy::Haproxy;
use plain::Plain;
use ringway::Ringway;
use sealed::Sealed;
use wireguard::Wireguard;
use ztunnel::Ztunnel;

pub(crate) trait Target: fmt::Debug {
    /// What it is called on the command line and in reports.
    fn name(&self) -> &str;

    /// What it promises of the bytes between the pods: the runner proves it in every window.
    fn encryption(&self) -> Encryption;

    /// The cipher suite that it was told to negotiate, by its name in the registry; `None` where that is its own choice.
    fn suite(&self) -> Option<&'static str> {
        None
    }

    /// The same told to negotiate this suite, where it can be told.
    fn with_suite(&self, _suite: &str) -> Option<Box<dyn Target>> {
        None
    }

    /// Why it can't be had on this machine: then it is left out of the report, which says so.
    fn unavailable(&self) -> Option<String> {
        None
    }

    /// Why a workload has no meaning for it.
    fn cannot(&self, workload: &Workload) -> Option<String> {
        workload
            .node_process
            .then(|| "it has no process for a whole node, to which pods come and go".to_owned())
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

/// Where a ringway is looked for when none is named.
pub(crate) const RINGWAY_PATH: &str = "target/release/ringway";

/// Those that need nothing but what this machine has, in the order of reports; those with a binary of their own follow.
const BUILT_IN: [&str; 5] = ["direct", "plain", "sealed", "haproxy", "wireguard"];

/// How targets are started.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) ringways: Vec<RingwayBuild>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) worker_threads: u32,
    /// Which, in which order; all that there are when empty.
    pub(crate) names: Vec<String>,
    /// What counts as all of those that need no path; all of them when empty.
    pub(crate) built_in: &'static [&'static str],
    /// Where nothing of ours can be put between client and server: what is there already.
    pub(crate) endpoints: Option<Endpoints>,
}

impl Choice {
    /// All targets there can be, each in a sentence.
    pub(crate) const KNOWN: [(&str, &str); 7] = [
        ("direct", "Nothing: what kernel and load generators can do."),
        ("plain", "A TCP copy of our own at each end: the cost of being in the path at all."),
        ("sealed", "The same with AES-128-GCM in place, no TLS, no HTTP/2: the bare limit."),
        ("haproxy", "HAProxy at each end, mutual TLS for every connection."),
        ("wireguard", "The kernel's WireGuard between each two pods."),
        ("ztunnel", "ztunnel, one process a pod: --peer ztunnel=PATH."),
        (
            "ringway",
            "ringway, as many builds as you name: --ringway [NAME=]PATH or [NAME=]rev:REV; :aes128, :aes256 choose a suite.",
        ),
    ];

    /// Why one can't be had without more being said, or at all on this machine.
    pub(crate) fn unavailable(name: &str) -> Option<String> {
        match name {
            "haproxy" => Haproxy { worker_threads: 1 }.unavailable(),
            "wireguard" => Wireguard.unavailable(),
            "ztunnel" => Some("this program does not know where it is: --peer ztunnel=PATH".to_owned()),
            "ringway" => {
                let is_missing = !Path::new(RINGWAY_PATH).is_file();
                is_missing
                    .then(|| format!("there is no {RINGWAY_PATH}: build it, or name one with --ringway PATH"))
            }
            _ => None,
        }
    }

    /// The targets; a ringway that is named by its revision is built. One that was asked for by name and is not there is an
    /// error.
    pub(crate) fn targets(&self) -> Result<Vec<Box<dyn Target>>> {
        if let Some(endpoints) = &self.endpoints {
            ensure!(
                self.names.is_empty(),
                "between endpoints of yours stands what you put there: no --targets"
            );
            return Ok(vec![Box::new(Existing::new(endpoints.clone()))]);
        }
        builds::expect_distinct(&self.ringways)?;
        let names = if self.names.is_empty() { self.all_names() } else { self.names.clone() };
        let mut targets = Vec::new();
        for name in &names {
            targets.extend(self.named(name)?);
        }
        Ok(targets)
    }

    fn all_names(&self) -> Vec<String> {
        let peers = self.peers.iter().map(|peer| peer.name.as_str());
        let built_in = if self.built_in.is_empty() { &BUILT_IN[..] } else { self.built_in };
        let mut names: Vec<String> = built_in.iter().copied().chain(peers).map(str::to_owned).collect();
        for build in &self.ringways {
            if build.is_missing() {
                eprintln!("left out: {}, there is no such file", build.target);
            } else {
                names.push(build.target.clone());
            }
        }
        names
    }

    /// One, or all builds of ringway if none of them is called just that. A suite may stand behind ringway's names.
    fn named(&self, name: &str) -> Result<Vec<Box<dyn Target>>> {
        let worker_threads = self.worker_threads;
        let target: Box<dyn Target> = match name {
            "direct" => Box::new(Direct),
            "plain" => Box::new(Plain { worker_threads }),
            "sealed" => Box::new(Sealed::default()),
            "haproxy" => Box::new(Haproxy { worker_threads }),
            "wireguard" => Box::new(Wireguard),
            "ztunnel" => {
                let peer = self.peers.iter().find(|peer| peer.name == name);
                let binary = &peer.context("where is ztunnel? --peer ztunnel=PATH")?.binary;
                Box::new(Ztunnel { binary: existing(binary)?, worker_threads })
            }
            name => return self.ringways(name),
        };
        Ok(vec![target])
    }

    /// Whether builds of ringway are called so, or may be.
    fn is_ringway(&self, name: &str) -> bool {
        name == "ringway" || self.ringways.iter().any(|build| build.target == name)
    }

    fn ringways(&self, name: &str) -> Result<Vec<Box<dyn Target>>> {
        let (name, suite) = ringway::split_suite(name);
        let exact = self.ringways.iter().filter(|build| build.target == name);
        let mut builds: Vec<&RingwayBuild> = exact.collect();
        if builds.is_empty() && name == "ringway" {
            builds = self.ringways.iter().collect();
        }
        if builds.is_empty() {
            let split = name.rsplit_once(':').filter(|(build, _)| self.is_ringway(build));
            if let Some((build, word)) = split {
                let named = self.ringways.iter().map(|build| build.target.as_str());
                let named: Vec<&str> = named.filter(|target| target.contains(':')).collect();
                let builds = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
                bail!(
                    "{word:?} of the target {name} is neither a cipher suite nor a build of {build}: suites are {}; builds \
                     with a name: {builds} (--ringway NAME=PATH)",
                    ringway::spellings()
                );
            }
            let known = BUILT_IN.into_iter().chain(["ztunnel"]);
            let known: Vec<&str> =
                known.chain(self.ringways.iter().map(|build| build.target.as_str())).collect();
            bail!("no target is called {name:?}: there are {}", known.join(", "));
        }
        let ringway = |build: &RingwayBuild| {
            let target = Ringway::new(&build.target, &build.binary()?, self.worker_threads, suite);
            Ok(Box::new(target) as Box<dyn Target>)
        };
        builds.into_iter().map(ringway).collect()
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

    fn choice(names: &[&str], peers: &[&str], ringways: &[&str]) -> Choice {
        Choice {
            ringways: ringways.iter().map(|build| build.parse().unwrap()).collect(),
            peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
            worker_threads: 2,
            names: names.iter().map(|&name| name.to_owned()).collect(),
            endpoints: None,
            built_in: &[],
        }
    }

    fn names(choice: &Choice) -> Result<Vec<String>> {
        Ok(choice.targets()?.iter().map(|target| target.name().to_owned()).collect())
    }

    #[test]
    fn what_is_measured() {
        let (ztunnel, missing) = (["ztunnel=/bin/sh"], ["/nonexistent/ringway"]);
        let builds = ["old=/bin/sh", "new=/bin/sh"];
        assert_eq!(names(&choice(&[], &[], &missing)).unwrap(), BUILT_IN);
        assert_eq!(
            names(&choice(&[], &ztunnel, &builds)).unwrap()[5..],
            ["ztunnel", "ringway:old", "ringway:new"]
        );
        assert_eq!(names(&choice(&["ztunnel", "direct"], &ztunnel, &[])).unwrap(), ["ztunnel", "direct"]);
        assert_eq!(names(&choice(&["ringway"], &[], &builds)).unwrap(), ["ringway:old", "ringway:new"]);
        assert_eq!(names(&choice(&["ringway:new"], &[], &builds)).unwrap(), ["ringway:new"]);
        assert_eq!(names(&choice(&["ringway"], &[], &["/bin/sh", "new=/bin/sh"])).unwrap(), ["ringway"]);
        assert_eq!(names(&choice(&["ringway:aes256"], &[], &["/bin/sh"])).unwrap(), ["ringway:aes256"]);
        assert_eq!(names(&choice(&["ringway:old:aes128"], &[], &builds)).unwrap(), ["ringway:old:aes128"]);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let missing = ["/nonexistent/ringway"];
        for (target, peers, ringways, word) in [
            ("ringway", &[][..], &missing[..], "/nonexistent/ringway"),
            ("ringway:new", &[], &["old=/bin/sh"], "ringway:old"),
            ("direct", &[], &["/bin/sh", "/bin/true"], "two builds"),
            ("ztunnel", &[], &missing, "--peer"),
            ("ztunnel", &["ztunnel=/nonexistent/z"], &missing, "/nonexistent/z"),
            ("nginx", &[], &missing, "nginx"),
            (
                "ringway:aes512",
                &[],
                &missing,
                "\"aes512\" of the target ringway:aes512 is neither a cipher suite",
            ),
            ("ringway:aes512", &[], &missing, "suites are aes128, aes256"),
            ("ringway:old:aes512", &[], &["old=/bin/sh"], "suites are aes128, aes256"),
        ] {
            let error = format!("{:#}", names(&choice(&[target], peers, ringways)).unwrap_err());
            assert!(error.contains(word), "{target}: {error}");
        }
    }

    #[test]
    fn a_suite_is_told_by_the_name_that_the_peer_s_has_in_the_registry() {
        let targets = choice(&["ringway:aes128", "direct"], &[], &["/bin/sh"]).targets().unwrap();
        assert_eq!(targets[0].suite(), Some("TLS_AES_128_GCM_SHA256"));
        let equal = targets[0].with_suite("TLS_AES_256_GCM_SHA384").unwrap();
        assert_eq!((equal.name(), equal.suite()), ("ringway:aes256", Some("TLS_AES_256_GCM_SHA384")));
        assert!(targets[0].with_suite("TLS_CHACHA20_POLY1305_SHA256").is_none());
        assert!(targets[1].with_suite("TLS_AES_128_GCM_SHA256").is_none());
    }

    #[test]
    fn peers_are_named_with_their_path() {
        for broken in ["ztunnel", "unknown=/bin/sh"] {
            assert!(broken.parse::<Peer>().is_err(), "{broken}");
        }
    }
}
