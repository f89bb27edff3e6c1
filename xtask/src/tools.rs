//! The system tools that the demo, the system tests and the measurements use, and their Debian packages.

mod non_free;

use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use testkit::run::is_root;
use testkit::shell::find_program;

/// A program and the package it is in.
type Tool = (&'static str, &'static str);

/// What demo and tests need.
pub(crate) const SYSTEM: &[Tool] = &[
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
    ("tcpdump", "tcpdump"),
    ("iperf3", "iperf3"),
    ("curl", "curl"),
    ("setpriv", "util-linux"),
];

/// What the harness can't do without.
pub(crate) const MEASURING: &[Tool] = &[
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
    ("tcpdump", "tcpdump"),
    ("iperf3", "iperf3"),
];

/// What it leaves out where it is not there. netperf is in Debian's non-free component: see [`non_free`].
const MEASURING_MORE: &[Tool] = &[("haproxy", "haproxy"), ("perf", "linux-perf"), ("netperf", "netperf")];

/// What counts instructions.
pub(crate) const COUNTING: &[Tool] = &[("valgrind", "valgrind")];

/// What to do about a tool that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    Install,
    /// Only name them.
    Report,
}

/// Returns when all of `tools` are there.
pub(crate) fn require(tools: &[Tool], lack: Lack) -> Result<()> {
    let missing = missing(tools, |tool| find_program(tool).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if lack == Lack::Report {
        bail!("tools are missing; install them with\n    {line}");
    }
    if find_program("apt-get").is_none() || !is_root() {
        bail!(
            "tools are missing, and this is not root on a Debian-like machine; there it would be\n    {line}"
        );
    }
    println!("installing missing tools: {line}");
    apt(&["update", "-qq"])?;
    install(&missing)
}

/// Installs what the harness would otherwise leave out, as far as it can be had; what can't is told and is no error.
pub(crate) fn offer(lack: Lack) {
    let missing = missing(MEASURING_MORE, |tool| find_program(tool).is_some());
    if missing.is_empty() {
        return;
    }
    let can_install = lack == Lack::Install && find_program("apt-get").is_some() && is_root();
    for package in missing {
        let installed = if can_install { install_one(package) } else { Err(anyhow!("nobody installed it")) };
        match installed {
            Ok(()) => println!("installed {package}"),
            Err(error) => println!("{package} is missing, what needs it is left out: {error:#}"),
        }
    }
}

/// One package by itself, so that one that can't be had costs no other.
fn install_one(package: &str) -> Result<()> {
    if package != "netperf" {
        apt(&["update", "-qq"])?;
        return install(&[package]);
    }
    non_free::add_source()?;
    let installed = apt(&["update", "-qq"]).and_then(|()| install(&[package]));
    if installed.is_err() {
        non_free::remove_source()?;
    }
    installed
}

fn install(packages: &[&str]) -> Result<()> {
    let options = ["install", "-y", "-qq", "--no-install-recommends"];
    apt(&[&options[..], packages].concat())
}

/// The packages of the tools that are not there, each once.
fn missing(tools: &[Tool], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        tools.iter().filter(|(tool, _)| !is_there(tool)).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    // iperf3 would ask whether to run as a daemon.
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let status = command.status().context("starting apt-get")?;
    if !status.success() {
        bail!("apt-get {}: {status}", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_package_is_named_once() {
        assert_eq!(missing(SYSTEM, |_| true), [""; 0]);
        assert_eq!(missing(SYSTEM, |tool| !tool.contains("tables") && tool != "curl"), ["iptables", "curl"]);
        assert_eq!(missing(MEASURING_MORE, |tool| tool != "netperf"), ["netperf"]);
    }
}
