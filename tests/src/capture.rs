//! A running tcpdump, and what it saw.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::lab::{Lab, Node, Pod};
use crate::netns::Netns;
use crate::pcap;
use crate::process::Process;
use crate::run::Run;
use crate::wire::Wire;

/// How long tcpdump may take to begin and to end.
const TCPDUMP_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of each packet that are kept when only headers and openings matter.
pub const HEADERS_BYTES: u32 = 256;

/// A capture on one link. It holds every packet from the moment [`Capture::start`] returned.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// On a link inside `netns`, keeping `bytes` of every packet (0: all).
    pub fn start(netns: &Netns, link: &str, bytes: u32) -> Result<Self> {
        let file = Run::current()?.unique_directory("capture")?.join("pcap");
        let mut command = Command::new("tcpdump");
        // Packets are written as they come (-U, immediate mode), so that the end loses none; -B is in KiB.
        command.args(["-i", link, "-U", "--immediate-mode", "-n", "-Z", "root", "-B", "16384"]);
        command.args(["-s", &bytes.to_string(), "-w"]).arg(&file).arg("tcp");
        let mut process = Process::start("tcpdump", netns, &mut command)?;
        process.wait_for_line(&["listening on"], TCPDUMP_TIMEOUT)?;
        Ok(Self { process, file })
    }

    /// On the node's end of a pod's link: all that comes to the pod and leaves it, whole packets.
    pub fn of_pod(lab: &Lab, pod: &Pod) -> Result<Self> {
        let node = lab.nodes().iter().find(|node| node.name == pod.node_name);
        Self::start(&node.context("a pod of another lab")?.netns, &pod.link, 0)
    }

    /// On a node's uplink: all that goes between it and other nodes, whole packets.
    pub fn of_uplink(node: &Node) -> Result<Self> {
        Self::start(&node.netns, "eth0", 0)
    }

    /// Ends the capture: the file, as tcpdump wrote it. An error when the kernel dropped packets.
    pub fn stop(mut self) -> Result<Vec<u8>> {
        self.process.signal(Signal::SIGINT)?;
        self.process.wait(TCPDUMP_TIMEOUT)?;
        let dropped = self.process.lines_with(&["dropped by kernel"]);
        ensure!(dropped.iter().all(|line| line.starts_with("0 ")), "an incomplete capture: {dropped:?}");
        std::fs::read(&self.file).with_context(|| format!("reading {}", self.file.display()))
    }

    /// Ends the capture: the connections it saw.
    pub fn finish(self) -> Result<Wire> {
        let file = self.stop()?;
        Ok(Wire::new(&pcap::segments(&file)?))
    }
}
