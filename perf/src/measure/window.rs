//! The measured window: everything that is read at its beginning and at its end.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};

use super::attached::Attached;
use super::clocks::{Clocks, Usage};
use crate::target::Standing;
use crate::workload::Volume;

/// Opened by the workload when its load is warm, and closed by it when enough was measured.
#[derive(Debug)]
pub(crate) struct Window<'w> {
    standing: &'w Standing,
    generators: Vec<u32>,
    /// Sees the window and nothing else, in the passes that count system calls or take a profile.
    perf: Option<Attached>,
    opened: Option<(Instant, Clocks)>,
    closed: Option<Measured>,
}

/// What lies between the two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) clocks: Clocks,
    /// `None` also when the first window was abandoned.
    pub(crate) perf_said: Option<String>,
}

impl<'w> Window<'w> {
    pub(super) fn new(standing: &'w Standing, perf: Option<Attached>) -> Self {
        Self { standing, generators: Vec::new(), perf, opened: None, closed: None }
    }

    /// Names processes of the load, so that what they use is not taken for noise.
    pub(crate) fn generators(&mut self, pids: impl IntoIterator<Item = u32>) {
        self.generators.extend(pids);
    }

    pub(crate) fn open(&mut self) -> Result<()> {
        let clocks = Clocks::read(self.standing, &self.generators)?;
        if let Some(perf) = &mut self.perf {
            perf.enable()?;
        }
        self.opened = Some((Instant::now(), clocks));
        Ok(())
    }

    /// It was opened too late to say anything. What perf saw since belongs to no window.
    pub(crate) fn abandon(&mut self) {
        self.opened = None;
        self.perf = None;
    }

    pub(crate) fn close(&mut self) -> Result<()> {
        let (began, clocks) = self.opened.as_ref().context("a window was closed that nobody opened")?;
        let seconds = began.elapsed().as_secs_f64();
        if let Some(perf) = &mut self.perf {
            perf.disable()?;
        }
        let clocks = Clocks::read(self.standing, &self.generators)?.since(clocks);
        let perf_said = self.perf.take().map(Attached::finish).transpose()?;
        self.closed = Some(Measured { seconds, clocks, perf_said });
        Ok(())
    }

    pub(super) fn measured(self) -> Result<Measured> {
        self.closed.context("the workload never closed its window")
    }
}

impl Measured {
    /// CPU and context switches by what was moved, of a target that runs something.
    pub(super) fn figures(&self, volume: Volume) -> BTreeMap<&'static str, f64> {
        let (client, server) = (&self.clocks.client_side, &self.clocks.server_side);
        let switches = client.switches + server.switches;
        match volume {
            Volume::Bytes(bytes) => {
                let mut figures = cpu(client, server, PER_GB, bytes / 1e9);
                figures.insert("switches_per_mb", switches / (bytes / 1e6));
                figures
            }
            Volume::Operations(operations) => {
                let mut figures = cpu(client, server, PER_OPERATION, operations / 1e6);
                figures.insert("switches_per_op", switches / operations);
                figures
            }
            Volume::Unclear => BTreeMap::new(),
        }
    }
}

/// Both, then client's user, client's system, server's user, server's system.
type CpuKeys = [&'static str; 5];

const PER_GB: CpuKeys = [
    "cpu_s_per_gb",
    "cpu_client_user_s_per_gb",
    "cpu_client_system_s_per_gb",
    "cpu_server_user_s_per_gb",
    "cpu_server_system_s_per_gb",
];

const PER_OPERATION: CpuKeys = [
    "cpu_us_per_op",
    "cpu_client_user_us_per_op",
    "cpu_client_system_us_per_op",
    "cpu_server_user_us_per_op",
    "cpu_server_system_us_per_op",
];

fn cpu(client: &Usage, server: &Usage, keys: CpuKeys, by: f64) -> BTreeMap<&'static str, f64> {
    let seconds = [client.cpu() + server.cpu(), client.user, client.system, server.user, server.system];
    keys.into_iter().zip(seconds.map(|seconds| seconds / by)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let side = |user, system| Usage { user, system, switches: 1_000.0 };
        let clocks = Clocks { client_side: side(0.5, 1.5), server_side: side(1.0, 2.0), ..Clocks::default() };
        Measured { seconds: 5.0, clocks, ..Measured::default() }
    }

    #[test]
    fn cpu_is_told_by_what_was_moved() {
        let bulk = measured().figures(Volume::Bytes(10e9));
        assert_eq!((bulk["cpu_s_per_gb"], bulk["cpu_server_system_s_per_gb"]), (0.5, 0.2));
        assert_eq!(bulk["switches_per_mb"], 0.2);
        let messages = measured().figures(Volume::Operations(1_000.0));
        assert_eq!((messages["cpu_us_per_op"], messages["cpu_client_user_us_per_op"]), (5_000.0, 500.0));
        assert_eq!(messages["switches_per_op"], 2.0);
        assert!(measured().figures(Volume::Unclear).is_empty());
    }

    #[test]
    fn every_figure_is_one_that_reports_know() {
        for key in PER_GB.iter().chain(&PER_OPERATION).chain(&["switches_per_mb", "switches_per_op"]) {
            assert!(crate::record::figure::of(key).is_some(), "{key}");
        }
    }
}
