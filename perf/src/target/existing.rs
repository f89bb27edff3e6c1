//! Whatever stands between two places of the user's: a cluster's own encryption, or none.

use anyhow::{Context, Result};

use super::{Standing, Target};
use crate::record::{Build, Encryption};
use crate::site::{Endpoints, Site};
use crate::workload::Workload;

/// Workloads that dial addresses which only pods of ours have.
const NEED_ADDRESSES: [&str; 2] = ["connect-cold", "first-byte"];

#[derive(Debug)]
pub(super) struct Existing {
    endpoints: Endpoints,
}

impl Existing {
    pub(super) fn new(endpoints: Endpoints) -> Self {
        Self { endpoints }
    }
}

impl Target for Existing {
    fn name(&self) -> &str {
        &self.endpoints.name
    }

    fn encryption(&self) -> Encryption {
        Encryption::Unproven
    }

    fn cannot(&self, workload: &Workload) -> Option<String> {
        if workload.node_process {
            return Some("pods of a cluster can't be made to come and go".to_owned());
        }
        let needs_addresses = NEED_ADDRESSES.contains(&workload.name);
        needs_addresses.then(|| "it takes addresses of the server that nobody has dialled".to_owned())
    }

    /// What both ends run on: what stands between them is for the user to say.
    fn build(&self) -> Result<Build> {
        let mut kernels = Vec::new();
        for (side, place) in [("client", self.endpoints.client()), ("server", self.endpoints.server())] {
            let said = place.output(place.command("uname").arg("-srm"));
            kernels.push(format!("{side}: {}", said.context("asking a place for its kernel")?.trim()));
        }
        Ok(Build { notes: kernels.join(", "), ..Build::default() })
    }

    fn start(&self, site: &Site) -> Result<Standing> {
        Ok(Standing::of_pods(site))
    }
}
