//! How long a pod waits for its proxy: from the moment in which a node agent says that it has come to its listeners,
//! and to the first connection that is taken there, while bulk streams run between two other pods of the node.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use testkit::iperf::{Iperf, IperfServer};
use testkit::lab::{Lab, Node, Pod, PodSpec};
use testkit::mesh::config::{self, Extra};
use testkit::planes::node_agent::{Announcement, Connection, NodeAgent};
use testkit::process::{Process, wait_until};
use testkit::proxy::ProxyOptions;
use testkit::redirect;
use testkit::run::Run;
use testkit::traffic::latency::Latencies;

use crate::machine::Machine;
use crate::progress::Progress;
use crate::report;
use crate::report::number::counted;
use crate::target::RINGWAY_PATH;

/// Namespaces that the pods take turns in.
const PLACES: usize = 20;

/// How long the bulk streams run before the first pod comes.
const WARM_UP: Duration = Duration::from_secs(1);

/// A proxy that has not called the agent by then never will.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// More show nothing that these do not, in days instead of minutes.
const PODS_MAX: usize = 100_000;

/// iperf3 has no more.
const STREAMS_MAX: u32 = 128;

/// A pause of more is a slip of the finger.
const PAUSE_MS_MAX: u64 = 60_000;

/// iperf3 runs no longer, and the streams run as long as pods come.
const STREAMS_SECONDS_MAX: u64 = 86_400;

/// What a pod itself is allowed for; where pods take longer, the streams begin again.
const POD_MS: u64 = 10;

/// How long the streams run when they have to begin again, and may so outlast the last pod, in seconds.
const STREAMS_AGAIN_SECONDS: u32 = 3;

/// Of fewer pods the p99 is the longest under another name.
const P99_PODS_MIN: usize = 100;

/// How often somebody who reads a log is told how far it is.
const NEWS: usize = 10;

#[derive(Args, Debug)]
pub(crate) struct PodsArguments {
    /// The ringway to measure.
    #[arg(long, value_name = "PATH", default_value = RINGWAY_PATH)]
    ringway: PathBuf,
    /// Pods that come and go, one after the other.
    #[arg(long, default_value_t = 500)]
    pods: usize,
    /// Bulk streams between two other pods meanwhile.
    #[arg(long, default_value_t = 8)]
    streams: u32,
    /// The pause before each pod.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 40)]
    pause: u64,
    /// Worker threads of the proxy.
    #[arg(long, default_value_t = 2)]
    threads: u32,
}

impl PodsArguments {
    /// An error when nothing could come of it, before anything is started for it.
    fn expect_measurable(&self) -> Result<()> {
        let Self { ringway, pods, streams, pause, threads } = self;
        ensure!((1..=PODS_MAX).contains(pods), "nothing to measure with {pods} pods: give 1 to {PODS_MAX}");
        ensure!(*streams <= STREAMS_MAX, "{streams} streams: iperf3 has up to {STREAMS_MAX}");
        ensure!(*pause <= PAUSE_MS_MAX, "a pause of {pause} ms: give up to {PAUSE_MS_MAX}");
        let seconds = self.streams_seconds();
        ensure!(
            *streams == 0 || seconds <= STREAMS_SECONDS_MAX,
            "{pods} pods with a pause of {pause} ms take {seconds} s: iperf3 runs for up to {STREAMS_SECONDS_MAX} s, so give \
             fewer pods, a shorter --pause or --streams 0"
        );
        ensure!(*threads > 0, "a proxy needs a worker thread: --threads 1 or more");
        ensure!(ringway.is_file(), "there is no {}: build it first", ringway.display());
        Ok(())
    }

    /// How long the streams run: until the last pod has gone, if the pods themselves take no longer than is allowed for.
    fn streams_seconds(&self) -> u64 {
        let pauses_ms = self.pause.saturating_mul(self.pods as u64);
        let pods_ms = POD_MS.saturating_mul(self.pods as u64);
        WARM_UP.as_secs() + pauses_ms.saturating_add(pods_ms).div_ceil(1000) + 1
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.pause)
    }
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Results {
    /// From the add to its ack, which is sent when the pod's listeners are open.
    listening: Latencies,
    /// From the add to the first answer of the proxy to a connection to one of them.
    accepted: Latencies,
    /// What the streams carried meanwhile; `None` without any.
    gigabits_per_second: Option<f64>,
}

/// A node with its proxy, and the agent's end of it. Processes end before the namespaces they are in.
struct Site {
    proxy: Process,
    connection: Connection,
    _agent: NodeAgent,
    client: Arc<Pod>,
    server: Arc<Pod>,
    places: Vec<Arc<Pod>>,
    _lab: Lab,
}

pub(crate) fn run(arguments: &PodsArguments) -> Result<()> {
    arguments.expect_measurable()?;
    ensure!(testkit::run::is_root(), "network namespaces need root");
    let machine = Machine::describe()?;
    let results = measure(arguments)?;
    report::print(&results.markdown(&machine, arguments))
}

fn measure(plan: &PodsArguments) -> Result<Results> {
    let mut site = Site::start(plan)?;
    let _server = IperfServer::start(&site.server.netns)?;
    let is_over = AtomicBool::new(false);
    let measured = thread::scope(|scope| {
        let streams = scope.spawn(|| site.bulk(plan, &is_over));
        if plan.streams > 0 {
            thread::sleep(WARM_UP);
        }
        let times = site.come_and_go(plan, || plan.streams > 0 && streams.is_finished());
        is_over.store(true, Ordering::Relaxed);
        let carried = streams.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        anyhow::Ok((times?, carried))
    });
    let ((listening, accepted), gigabits_per_second) = measured?;
    site.proxy.expect_running()?;
    Ok(Results { listening, accepted, gigabits_per_second })
}

impl Site {
    fn start(plan: &PodsArguments) -> Result<Self> {
        let mut lab = Lab::new()?;
        let node = lab.add_node()?;
        let client = lab.add_pod(&node, PodSpec::new("client"))?;
        let server = lab.add_pod(&node, PodSpec::new("server"))?;
        let directory = Run::current()?.unique_directory("pods")?;
        let places = (0..PLACES).map(|at| lab.add_pod(&node, PodSpec::new(&format!("place{at}"))));
        let places = places.collect::<Result<Vec<_>>>()?;
        config::write_xds(&directory.join("local.yaml"), &lab, None, &Extra::default())?;
        let agent = NodeAgent::listen(&directory.join("zds.sock"))?;
        let mut proxy = start_proxy(plan, &node, &directory)?;
        wait_until("ringway to call the agent", CALL_TIMEOUT, || {
            proxy.expect_running()?;
            Ok(agent.is_called()?.then_some(()))
        })?;
        let connection = agent.accept()?;
        for pod in [&client, &server] {
            redirect::install(&pod.netns)?;
        }
        connection.announce(&[Announcement::of(&client)?, Announcement::of(&server)?])?;
        Ok(Self { proxy, connection, _agent: agent, client, server, places, _lab: lab })
    }

    /// The streams, until the last pod has gone: they begin again when the pods took longer than was allowed for. Gb/s.
    fn bulk(&self, plan: &PodsArguments, is_over: &AtomicBool) -> Result<Option<f64>> {
        if plan.streams == 0 {
            return Ok(None);
        }
        let mut iperf =
            Iperf { streams: plan.streams, seconds: u32::try_from(plan.streams_seconds())?, reverse: false };
        let (mut gigabits, mut seconds) = (0.0, 0.0);
        loop {
            let measured = iperf.run(&self.client.netns, self.server.ipv4.into())?;
            ensure!(measured.bytes > 0, "the bulk streams stood still");
            let carried = measured.bytes as f64 * 8.0;
            gigabits += carried / 1e9;
            seconds += carried / measured.bits_per_second;
            if is_over.load(Ordering::Relaxed) {
                return Ok(Some(gigabits / seconds));
            }
            iperf.seconds = STREAMS_AGAIN_SECONDS;
        }
    }

    /// Pods, one after the other: how long each waited for its listeners, and for the first connection. `have_ended` says
    /// whether the streams have, beside which it is measured.
    fn come_and_go(
        &self,
        plan: &PodsArguments,
        have_ended: impl Fn() -> bool,
    ) -> Result<(Latencies, Latencies)> {
        let (mut listening, mut accepted) = (Vec::new(), Vec::new());
        let mut progress = Progress::with_news(plan.pods, NEWS);
        for number in 0..plan.pods {
            ensure!(!have_ended(), "the bulk streams ended after {number} of {} pods", plan.pods);
            let place = &self.places[number % self.places.len()];
            let pod = Announcement::of(place)?;
            thread::sleep(plan.pause());
            let begin = Instant::now();
            self.connection.add(&pod)?.expect_ack()?;
            listening.push(begin.elapsed());
            place.netns.enter(first_connection).context("the first connection")?;
            accepted.push(begin.elapsed());
            self.connection.del(&pod.uid)?.expect_ack()?;
            progress.done("pods came and went");
        }
        progress.finish();
        Ok((Latencies::new(listening), Latencies::new(accepted)))
    }
}

fn start_proxy(plan: &PodsArguments, node: &Node, directory: &std::path::Path) -> Result<Process> {
    let options = ProxyOptions {
        ringway: Some(plan.ringway.clone()),
        worker_threads: plan.threads,
        ..ProxyOptions::default()
    };
    let authority = directory.join("authority");
    let mut command = options.ringway(node, &directory.join("local.yaml"), directory, &authority)?;
    std::fs::create_dir(&authority)?;
    command.env_remove("RINGWAY_PODS_PATH").env("INPOD_UDS", directory.join("zds.sock"));
    Process::start("ringway", &node.netns, &mut command)
}

/// To the port of tunnels, with what is no TLS: the proxy ends it, and has taken it before.
fn first_connection() -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 15008))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    // An alert, the end or a reset: each is an answer.
    let answer = stream.read(&mut [0; 16]);
    let waited_in_vain = answer.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    ensure!(!waited_in_vain, "no answer");
    Ok(())
}

impl Results {
    /// The page.
    pub(crate) fn markdown(&self, machine: &Machine, plan: &PodsArguments) -> String {
        let streams = match self.gigabits_per_second {
            None => "no other traffic".to_owned(),
            Some(gigabits) if plan.streams == 1 => format!("a bulk stream at {gigabits:.1} Gb/s"),
            Some(gigabits) => format!("{} bulk streams at {gigabits:.1} Gb/s together", plan.streams),
        };
        let columns = columns(self.listening.count());
        let row = |what: &str, times: &Latencies| {
            let cell = |(_, percent): &(&str, f64)| {
                format!(" {:.2} |", times.percentile(*percent).as_secs_f64() * 1e3)
            };
            format!("| {what} |{}\n", columns.iter().map(cell).collect::<String>())
        };
        let heads: String = columns.iter().map(|(head, _)| format!(" {head} |")).collect();
        format!(
            "{}, {}, {} cores, {}, load average {} before\n\n{}, one every {} ms, {streams}, {}\n\n\
             | from the add to |{heads}\n|---|{}\n{}{}",
            machine.date,
            machine.cpu,
            machine.cores_used.len(),
            machine.kernel,
            machine.load_average,
            counted(self.listening.count(), "pod"),
            plan.pause,
            counted(plan.threads as usize, "worker thread"),
            "---|".repeat(columns.len()),
            row("listening (the ack)", &self.listening),
            row("the first connection taken", &self.accepted),
        )
    }
}

/// What can be said of so many: one has no median, and few have no p99.
fn columns(pods: usize) -> Vec<(&'static str, f64)> {
    let all =
        [("median ms", 50.0, 2), ("p99 ms", 99.0, P99_PODS_MIN), ("longest ms", 100.0, 2), ("ms", 100.0, 1)];
    let said = all.into_iter().filter(|&(_, _, at_least)| pods >= at_least && (pods == 1) == (at_least == 1));
    said.map(|(head, percent, _)| (head, percent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_iperf3_can_outlast_is_said_before_anything_is_started() {
        let plan = |pods, streams, pause| PodsArguments {
            // Any file.
            ringway: "/proc/self/exe".into(),
            pods,
            streams,
            pause,
            threads: 2,
        };
        assert!(plan(500, 8, 40).expect_measurable().is_ok());
        let error = plan(PODS_MAX, 8, PAUSE_MS_MAX).expect_measurable().map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("iperf3 runs for up to 86400 s")));
        assert!(plan(PODS_MAX, 0, PAUSE_MS_MAX).expect_measurable().is_ok());
    }

    #[test]
    fn no_column_says_what_another_says() {
        let heads = |pods| columns(pods).iter().map(|(head, _)| *head).collect::<Vec<_>>();
        assert_eq!(heads(1), ["ms"]);
        assert_eq!(heads(3), ["median ms", "longest ms"]);
        assert_eq!(heads(100), ["median ms", "p99 ms", "longest ms"]);
    }
}
