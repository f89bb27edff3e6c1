//! The bare limit: blocking threads, AES-128-GCM sealed in place, no TLS, no h2. What is slower than this has reasons
//! other than encryption.
//!
//! Which buffer is the best differs from machine to machine by 40 %, so a run begins with a sweep.

use std::fs;
use std::sync::OnceLock;

use anyhow::{Result, anyhow};

use super::sweep::{self, Trial};
use super::{Standing, Target, capture, copies};
use crate::record::{Build, Encryption};
use crate::site::Site;
use crate::workload::Workload;

/// Workloads of so many connections that two threads for each are no design.
const TOO_MANY_CONNECTIONS: [&str; 2] = ["idle", "storm"];
/// More than a key needs.
const SECRET_LEN: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Sealed {
    /// What the sweep found, the best first; once in a run.
    swept: OnceLock<Vec<Trial>>,
}

impl Sealed {
    fn trials(&self, site: &Site, secret: &str) -> Result<&[Trial]> {
        if self.swept.get().is_none() {
            let trials = sweep::run(site, |size| vec![secret.to_owned(), size])?;
            return Ok(self.swept.get_or_init(|| trials));
        }
        Ok(self.swept.get().map_or(&[], Vec::as_slice))
    }
}

impl Target for Sealed {
    fn name(&self) -> &str {
        "sealed"
    }

    fn encryption(&self) -> Encryption {
        Encryption::Sealed
    }

    fn cannot(&self, workload: &Workload) -> Option<String> {
        let too_many = TOO_MANY_CONNECTIONS.contains(&workload.name);
        too_many.then(|| "two blocking threads for each of its connections are too many".to_owned())
    }

    fn build(&self) -> Result<Build> {
        let trials = self.swept.get().map_or(&[][..], Vec::as_slice);
        copies::build(format!("AES-128-GCM, blocking threads, {}", sweep::describe(trials)))
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        capture::install(site)?;
        let mut secret = [0; SECRET_LEN];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow!("no random bytes"))?;
        let file = site.directory().join("secret");
        fs::write(&file, secret)?;
        let secret = format!("--secret={}", file.display());
        let best = self.trials(site, &secret)?.first().map(|trial| sweep::argument(trial.buffer_kib));
        copies::start(self.name(), site, &[secret].into_iter().chain(best).collect::<Vec<_>>())
    }
}
