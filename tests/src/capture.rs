//! A running tcpdump, and what it saw.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::lab::{Lab, Node, Pod};
use crate::netns::Netns;
use crate::pcap;
use crate::process::{Process, wait_until};
use crate::run::Run;
use crate::wire::Wire;

/// How long tcpdump may take to begin and to end.
const TCPDUMP_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of each packet that are kept where payload matters. In immediate mode every packet takes a slot of this size in
/// the kernel's ring; a slot of 64 KiB holds all but the end of the largest packet that segmentation offload makes.
pub const PAYLOAD_BYTES: u32 = 65_000;
/// Bytes of each packet that are kept where only headers and openings matter.
pub const HEADERS_BYTES: u32 = 256;

/// Where the datagram goes that marks the end of a capture: nobody listens, no proxy captures UDP.
const MARK_PORT: u16 = 9;
const MARK: &[u8] = b"here the capture ends";
/// Marks sent at most: one is enough unless it was lost.
const MARKS_MAX: u32 = 3;
/// Where the mark is looked for, from the end: behind it come at most a few stragglers.
const TAIL_BYTES: usize = 1 << 20;

/// A capture on one link: every TCP packet from the return of [`Capture::start`] to the call of [`Capture::stop`].
///
/// tcpdump ends at a signal without reading what the kernel still holds for it. So the end is marked by a datagram on
/// the same link, and the signal waits until that has been written.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
    mark: UdpSocket,
}

impl Capture {
    /// On a link inside `netns` by which `beyond` is reached, keeping `bytes` of every packet.
    pub fn start(netns: &Netns, link: &str, beyond: IpAddr, bytes: u32) -> Result<Self> {
        let file = Run::current()?.unique_directory("capture")?.join("pcap");
        let mut command = Command::new("tcpdump");
        // Written packet by packet (-U, immediate mode), as root in our directory (-Z); -B is in KiB.
        command.args(["-i", link, "-U", "--immediate-mode", "-n", "-Z", "root", "-B", "65536"]);
        command.args(["-s", &bytes.to_string(), "-w"]).arg(&file);
        command.arg(format!("tcp or udp port {MARK_PORT}"));
        let mut process = Process::start("tcpdump", netns, &mut command)?;
        process.wait_for_line(&["listening on"], TCPDUMP_TIMEOUT)?;
        let mark = netns.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
        mark.connect((beyond, MARK_PORT))?;
        Ok(Self { process, file, mark })
    }

    /// On the node's end of a pod's link: all that comes to the pod and leaves it, with payload.
    pub fn of_pod(lab: &Lab, pod: &Pod) -> Result<Self> {
        let node = lab.nodes().iter().find(|node| node.name == pod.node_name);
        Self::start(&node.context("a pod of another lab")?.netns, &pod.link, pod.ipv4.into(), PAYLOAD_BYTES)
    }

    /// On a node's uplink: all that goes between it and `other` nodes, with payload.
    pub fn of_uplink(node: &Node, other: &Node) -> Result<Self> {
        Self::start(&node.netns, "eth0", other.ipv4().into(), PAYLOAD_BYTES)
    }

    /// Ends the capture: the file, as tcpdump wrote it. An error when the kernel dropped packets.
    pub fn stop(mut self) -> Result<Vec<u8>> {
        self.wait_for_mark()?;
        self.process.signal(Signal::SIGINT)?;
        self.process.wait(TCPDUMP_TIMEOUT)?;
        let dropped = self.process.lines_with(&["dropped by kernel"]);
        ensure!(dropped.iter().all(|line| line.starts_with("0 ")), "an incomplete capture: {dropped:?}");
        self.read()
    }

    /// Ends the capture: the connections it saw.
    pub fn finish(self) -> Result<Wire> {
        let file = self.stop()?;
        Ok(Wire::new(&pcap::segments(&file)?))
    }

    fn wait_for_mark(&self) -> Result<()> {
        let mut sent = 0;
        wait_until("the mark at the end of a capture", TCPDUMP_TIMEOUT, || {
            // The answer to the first may be that nobody listens, which the next send reports.
            if sent < MARKS_MAX && self.mark.send(MARK).is_ok() {
                sent += 1;
            }
            let file = self.read()?;
            let tail = &file[file.len().saturating_sub(TAIL_BYTES)..];
            Ok(tail.windows(MARK.len()).any(|bytes| bytes == MARK).then_some(()))
        })
    }

    fn read(&self) -> Result<Vec<u8>> {
        std::fs::read(&self.file).with_context(|| format!("reading {}", self.file.display()))
    }
}
