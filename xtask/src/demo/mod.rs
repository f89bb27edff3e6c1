//! `cargo xtask demo`: two nodes on this machine, real applications between their pods, and proof of what was on the wire.

mod cluster;
mod identities;
mod keep;
mod measure;
mod policy;
mod spire;
mod table;

use anyhow::{Result, bail};
use testkit::proxy::ProxyKind;
use testkit::run::{self, Run, is_root};

use crate::progress::Progress;
use crate::tools::{self, Lack};
use crate::workspace;
use cluster::Cluster;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leaves the two nodes up and prints commands to play with them.
    #[arg(long, conflicts_with = "down")]
    keep: bool,
    /// Takes down what --keep left.
    #[arg(long)]
    down: bool,
    /// Certificates from a real SPIRE instead of the embedded authority: `spire-server` and `spire-agent` are taken
    /// from PATH or from the folder RINGWAY_SPIRE_BIN.
    #[arg(long, conflicts_with_all = ["down", "proxy"])]
    spire: bool,
    /// Only names missing system tools instead of installing them.
    #[arg(long)]
    no_install: bool,
    /// The proxy that is shown: for work on the demo itself.
    #[arg(long, hide = true, value_parser = parse_kind, default_value = "ringway")]
    proxy: ProxyKind,
}

fn parse_kind(text: &str) -> Result<ProxyKind, String> {
    match text {
        "ringway" => Ok(ProxyKind::Ringway),
        "ztunnel" => Ok(ProxyKind::Ztunnel),
        _ => Err("ringway or ztunnel".to_owned()),
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!("the demo makes network namespaces: run it as root");
    }
    let removed = run::sweep(true)?;
    if options.down || removed > 0 {
        println!(
            "taken down what an earlier demo left: {}",
            if removed > 0 { "yes" } else { "nothing was up" }
        );
    }
    if options.down {
        return Ok(());
    }
    if options.spire {
        spire::require()?;
    }
    tools::require(tools::SYSTEM, if options.no_install { Lack::Report } else { Lack::Install })?;
    if options.proxy == ProxyKind::Ringway {
        println!("building ringway (release): minutes the first time, seconds later");
        workspace::run_cargo(&["build", "--release", "--package", "node"])?;
    }
    // The applications: from the same parts as this program, so there is next to nothing left to build.
    println!("building the applications of the pods");
    let applications = ["--package", "testkit", "--bin", "testkit-peer", "--no-default-features"];
    workspace::run_cargo(&[&["build"], &applications[..]].concat())?;
    let progress = Progress::new();
    let shown = show(options, &progress);
    progress.done();
    shown?;
    if !options.keep {
        run::clear()?;
        println!("taken down again: both nodes, their pods and all that ran in them");
    }
    Ok(())
}

/// Everything after the build. What was seen is collected first and printed in one piece, on one screen.
fn show(options: &Options, progress: &Progress) -> Result<()> {
    let mut cluster = Cluster::start(options.proxy, options.spire, progress)?;
    let rows = table::observe(&cluster, progress)?;
    let denied = policy::observe(&mut cluster, progress)?;
    let screen = [
        cluster.describe(),
        table::render(&rows) + &policy::render(&denied),
        measure::render(&cluster, progress)?,
        identities::render(&mut cluster)?,
    ];
    progress.done();
    for line in screen.join("\n").lines() {
        println!("{}", line.trim_end());
    }
    let broken = rows.iter().filter(|row| !row.is_as_promised()).count();
    let broken = broken + usize::from(!denied.is_as_promised());
    if broken > 0 {
        bail!("of the rows above {broken} are not as promised");
    }
    println!("\nevery row as promised, {:.0} s", progress.seconds());
    if options.keep {
        println!("\n{}", keep::commands(&cluster));
        Run::current()?.keep()?;
        // Nothing of it is dropped: the processes and namespaces outlive this one.
        std::mem::forget(cluster);
    }
    Ok(())
}
