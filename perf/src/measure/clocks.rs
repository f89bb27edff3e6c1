//! What the proxies, the generators and the rest of the machine used between two moments.

use std::fs;

use anyhow::{Context, Result};
use testkit::process::Process;

use super::cpu;
use crate::record::Noise;
use crate::target::Standing;

/// What one side's processes used so far, or between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// CPU seconds.
    pub(crate) user: f64,
    pub(crate) system: f64,
    pub(crate) switches: f64,
}

impl Usage {
    fn of(processes: &[Process]) -> Result<Self> {
        let mut sum = Self::default();
        for process in processes {
            let (user, system) = cpu::of_process(process.pid())?;
            sum.user += user.as_secs_f64();
            sum.system += system.as_secs_f64();
            sum.switches += switches(process.pid())? as f64;
        }
        Ok(sum)
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
            switches: self.switches - earlier.switches,
        }
    }

    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// All clocks at one moment, or between two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clocks {
    pub(crate) client_side: Usage,
    pub(crate) server_side: Usage,
    /// Of generators that live and of those that ended.
    pub(crate) generators: f64,
    pub(crate) machine: f64,
    pub(crate) stolen: f64,
}

impl Clocks {
    pub(crate) fn read(standing: &Standing, generators: &[u32]) -> Result<Self> {
        let machine = cpu::Machine::read()?;
        // A generator may have ended by itself: then it is among the children that we waited for.
        let living = generators.iter().filter_map(|&pid| cpu::of_process(pid).ok());
        let living: f64 = living.map(|(user, system)| (user + system).as_secs_f64()).sum();
        Ok(Self {
            client_side: Usage::of(&standing.client_side)?,
            server_side: Usage::of(&standing.server_side)?,
            generators: living + cpu::of_ended_children()?.as_secs_f64(),
            machine: machine.processes.as_secs_f64(),
            stolen: machine.stolen.as_secs_f64(),
        })
    }

    pub(crate) fn since(self, earlier: &Self) -> Self {
        Self {
            client_side: self.client_side.since(earlier.client_side),
            server_side: self.server_side.since(earlier.server_side),
            generators: self.generators - earlier.generators,
            machine: self.machine - earlier.machine,
            stolen: self.stolen - earlier.stolen,
        }
    }

    pub(crate) fn noise(&self, seconds: f64) -> Noise {
        let ours = self.generators + self.client_side.cpu() + self.server_side.cpu();
        Noise {
            // A process is also charged for interrupts that came while it ran, which the machine counts apart.
            foreign_cores: ((self.machine - ours) / seconds).max(0.0),
            stolen_cores: (self.stolen / seconds).max(0.0),
        }
    }
}

/// Voluntary and involuntary switches of all threads that a process has.
fn switches(pid: u32) -> Result<u64> {
    let place = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&place).with_context(|| place.clone())?;
    // A thread may end between the listing and the look.
    let statuses =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    Ok(statuses.map(|status| switches_of_thread(&status)).sum())
}

/// proc(5): `voluntary_ctxt_switches: 12`, `nonvoluntary_ctxt_switches: 3`.
fn switches_of_thread(status: &str) -> u64 {
    let lines = status.lines().filter_map(|line| line.split_once("_ctxt_switches:"));
    lines.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_kinds_of_switches_count() {
        let status = "Name:\tx\nThreads:\t3\nvoluntary_ctxt_switches:\t120\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(switches_of_thread(status), 123);
        assert_eq!(switches_of_thread("Name:\tx\n"), 0);
        assert!(switches(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn noise_is_what_nobody_of_ours_used() {
        let side = Usage { user: 1.0, system: 0.5, switches: 0.0 };
        let clocks =
            Clocks { client_side: side, server_side: side, generators: 2.0, machine: 6.0, stolen: 0.5 };
        let noise = clocks.noise(5.0);
        assert!((noise.foreign_cores - 0.2).abs() < 1e-9 && (noise.stolen_cores - 0.1).abs() < 1e-9);
    }
}
