//! ringway. The first of a site makes the certificate authority in a directory that all share.
//!
//! Between nodes it runs in dedicated mode, one process for each pod, so that it is compared with a ztunnel that runs no
//! other way without a control plane. Where all pods are of one node it is one process for all, as in production.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Standing, Target, hbone, program};
use crate::record::{Build, Encryption};
use crate::site::Site;
use crate::workload::Workload;

/// The cipher suites that it can be told to negotiate: how `RINGWAY_TLS_SUITES` and the names of targets spell them, and
/// their names in the registry.
const SUITES: [(&str, &str); 2] =
    [("aes128", "TLS_AES_128_GCM_SHA256"), ("aes256", "TLS_AES_256_GCM_SHA384")];

#[derive(Debug)]
pub(super) struct Ringway {
    /// `BUILD`, or `BUILD:SUITE` where it was told one.
    name: String,
    /// `ringway`, or `ringway:NAME` of several builds.
    build: String,
    binary: PathBuf,
    worker_threads: u32,
    /// As `RINGWAY_TLS_SUITES` spells it; its own choice when `None`.
    suite: Option<&'static str>,
}

/// A target's name without the suite that it ends with, and that suite.
pub(super) fn split_suite(name: &str) -> (&str, Option<&'static str>) {
    let split = name.rsplit_once(':').and_then(|(build, word)| Some((build, suite(word)?)));
    split.map_or((name, None), |(build, suite)| (build, Some(suite)))
}

/// How the suites are spelled, for whoever misspelled one.
pub(super) fn spellings() -> String {
    SUITES.map(|(spelling, _)| spelling).join(", ")
}

/// The suite of this spelling, if it is one.
pub(super) fn suite(word: &str) -> Option<&'static str> {
    SUITES.iter().map(|(spelling, _)| *spelling).find(|spelling| *spelling == word)
}

impl Ringway {
    pub(super) fn new(build: &str, binary: &Path, worker_threads: u32, suite: Option<&'static str>) -> Self {
        let name = suite.map_or_else(|| build.to_owned(), |suite| format!("{build}:{suite}"));
        Self { name, build: build.to_owned(), binary: binary.to_owned(), worker_threads, suite }
    }
}

impl Target for Ringway {
    fn name(&self) -> &str {
        &self.name
    }

    fn encryption(&self) -> Encryption {
        Encryption::Tunnel
    }

    fn cannot(&self, _workload: &Workload) -> Option<String> {
        None
    }

    fn suite(&self) -> Option<&'static str> {
        let told = SUITES.iter().find(|(spelling, _)| Some(*spelling) == self.suite);
        told.map(|(_, name)| *name)
    }

    fn with_suite(&self, suite: &str) -> Option<Box<dyn Target>> {
        let (spelling, _) = SUITES.iter().find(|(_, name)| *name == suite)?;
        Some(Box::new(Self::new(&self.build, &self.binary, self.worker_threads, Some(spelling))))
    }

    fn build(&self) -> Result<Build> {
        program::describe(&self.binary)
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        let setting = self.suite.map(|suite| ("RINGWAY_TLS_SUITES", suite));
        if let Some(node) = &site.node {
            let mut command = hbone::command(&self.binary, site, "node", self.worker_threads);
            command
                .env("RINGWAY_PODS_PATH", site.pods_file())
                .env("RINGWAY_CA_DIR", site.authority_directory())
                .envs(setting);
            return hbone::start_node(&self.name, site, node, &mut command);
        }
        hbone::start(&self.name, site, |pod| {
            let mut command = hbone::dedicated(&self.binary, site, pod, self.worker_threads);
            command.env("RINGWAY_CA_DIR", site.authority_directory()).envs(setting);
            command
        })
    }
}
