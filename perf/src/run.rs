//! `ringway-perf run`: what the command line asks for, made into an order, measured, and written down.

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::interrupt;
use crate::measure::{self, Order, cpu, syscalls};
use crate::record::Plan;
use crate::report::{self, Files};
use crate::site::Layout;
use crate::target::{Choice, Peer, RINGWAY_PATH, RingwayBuild};
use crate::workload::Workload;

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// A binary to measure beside ringway: ztunnel=PATH, built in release with its feature `testing`.
    #[arg(long, value_name = "NAME=PATH")]
    peer: Vec<Peer>,
    /// A ringway to measure, by path or by revision (rev:REV, which is built); as often as you like, NAME= before it.
    #[arg(long, value_name = "[NAME=]PATH", default_value = RINGWAY_PATH)]
    ringway: Vec<RingwayBuild>,
    /// Which of direct, plain, sealed, haproxy, wireguard, ztunnel, ringway, in the order of the report [default: all that
    /// there are].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    targets: Vec<String>,
    /// Which workloads, in the order of the report [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    workloads: Vec<String>,
    /// A first impression in less than two minutes, a minute or so more with a peer: few workloads, short windows.
    #[arg(long, conflicts_with_all = ["full", "smoke"])]
    quick: bool,
    /// For a table that is published: all workloads, long windows.
    #[arg(long, conflicts_with = "smoke")]
    full: bool,
    /// One short round of everything: that it works, not how fast.
    #[arg(long)]
    smoke: bool,
    /// [default: 5, smoke 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// The measured window of each workload [default: 5, quick 1, full 30, smoke 1].
    #[arg(long)]
    seconds: Option<f64>,
    /// What runs before it and does not count, after each load that starts [default: 1, quick 0.3, full 2, smoke 0.1].
    #[arg(long, value_name = "SECONDS")]
    warm_up: Option<f64>,
    /// Worker threads of each proxy.
    #[arg(long, default_value_t = 2)]
    threads: u32,
    /// The cores everything runs on, as 0,1 [default: all we may use].
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    #[command(flatten)]
    layout: Layout,
    #[command(flatten)]
    files: Files,
}

/// How much is measured where the command line says nothing.
struct Preset {
    rounds: usize,
    seconds: f64,
    warm_up_seconds: f64,
    /// All when empty.
    workloads: &'static [&'static str],
    /// Beside the peers and builds that the command line names; all that this machine has when empty.
    targets: &'static [&'static str],
    syscalls: Counted,
}

/// Of which workloads system calls are counted.
#[derive(Clone, Copy)]
enum Counted {
    All,
    Only(&'static str),
    None,
}

const DEFAULT: Preset = Preset {
    rounds: 5,
    seconds: 5.0,
    warm_up_seconds: 1.0,
    workloads: &[],
    targets: &[],
    syscalls: Counted::All,
};

const QUICK: Preset = Preset {
    rounds: 5,
    seconds: 1.0,
    warm_up_seconds: 0.3,
    workloads: &["bulk", "ping-pong-32-64", "mixed-bulk-first", "connect-warm"],
    targets: &["direct", "haproxy"],
    syscalls: Counted::None,
};

/// The windows of the public comparison.
const FULL: Preset = Preset { seconds: 30.0, warm_up_seconds: 2.0, ..DEFAULT };

/// Where counting system calls works for one workload it works for all.
const SMOKE: Preset = Preset {
    rounds: 1,
    seconds: 1.0,
    warm_up_seconds: 0.1,
    syscalls: Counted::Only("ping-pong-32-64"),
    ..DEFAULT
};

impl Preset {
    fn of(arguments: &RunArguments) -> &'static Self {
        match arguments {
            RunArguments { quick: true, .. } => &QUICK,
            RunArguments { full: true, .. } => &FULL,
            RunArguments { smoke: true, .. } => &SMOKE,
            _ => &DEFAULT,
        }
    }

    /// Those named, else the preset's, else all.
    fn workloads(&self, named: &[String]) -> Result<Vec<&'static Workload>> {
        let chosen: Vec<&str> = if named.is_empty() {
            self.workloads.to_vec()
        } else {
            named.iter().map(String::as_str).collect()
        };
        if chosen.is_empty() {
            return Ok(Workload::all().collect());
        }
        chosen.into_iter().map(str::parse).collect()
    }

    /// Those of the chosen workloads whose system calls are to be counted; none where they can't be.
    fn syscalls_of(&self, chosen: &[&'static Workload]) -> Vec<&'static Workload> {
        let mut counted = chosen.to_vec();
        match self.syscalls {
            Counted::All => {}
            Counted::Only(name) => counted.retain(|workload| workload.name == name),
            Counted::None => counted.clear(),
        }
        if counted.is_empty() || !syscalls_countable() {
            return Vec::new();
        }
        counted
    }
}

pub(crate) fn run(arguments: &RunArguments) -> Result<()> {
    interrupt::watch()?;
    let needs_root = arguments.layout.endpoints.is_none();
    ensure!(!needs_root || testkit::run::is_root(), "network namespaces need root");
    if let Some(reason) = arguments.layout.unavailable() {
        return report::print(&format!("not available here: {reason}\n"));
    }
    arguments.files.expect_directories()?;
    if !arguments.cores.is_empty() {
        cpu::restrict(&arguments.cores)?;
    }
    let mut order = order(arguments)?;
    let run = measure::run(&mut order)?;
    arguments.files.write(&run)?;
    report::print(&report::markdown(&run))?;
    // Last, where it is seen: the page may be long.
    run.cut_short_in_words().map_or(Ok(()), |said| bail!(said))
}

fn order(arguments: &RunArguments) -> Result<Order> {
    let preset = Preset::of(arguments);
    let plan = Plan {
        command: std::env::args().collect(),
        rounds: arguments.rounds.unwrap_or(preset.rounds),
        seconds: arguments.seconds.unwrap_or(preset.seconds),
        warm_up_seconds: arguments.warm_up.unwrap_or(preset.warm_up_seconds),
        threads: arguments.threads,
        site: arguments.layout.describe(),
    };
    plan.expect_measurable()?;
    let choice = Choice {
        ringways: arguments.ringway.clone(),
        peers: arguments.peer.clone(),
        worker_threads: arguments.threads,
        names: arguments.targets.clone(),
        built_in: preset.targets,
        endpoints: arguments.layout.endpoints.clone(),
    };
    let workloads = preset.workloads(&arguments.workloads)?;
    Ok(Order {
        plan,
        layout: arguments.layout.clone(),
        targets: choice.targets()?,
        syscalls_of: preset.syscalls_of(&workloads),
        workloads,
    })
}

/// Says why when they are not.
fn syscalls_countable() -> bool {
    let reason = syscalls::unavailable();
    if let Some(reason) = &reason {
        eprintln!("left out: system calls: {reason}");
    }
    reason.is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn presets_name_workloads_that_there_are() {
        for preset in [&DEFAULT, &QUICK, &FULL, &SMOKE] {
            assert!(!preset.workloads(&[]).unwrap().is_empty());
            assert_eq!(preset.workloads(&["idle".to_owned()]).unwrap()[0].name, "idle");
            assert!(preset.workloads(&["none".to_owned()]).is_err());
            if let Counted::Only(name) = preset.syscalls {
                assert!(name.parse::<&Workload>().is_ok(), "{name}");
            }
        }
    }
}
