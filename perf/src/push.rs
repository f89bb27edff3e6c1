//! What a push of the whole mesh costs those who are talking meanwhile.
//!
//! One ping-pong between two pods for so long, and for as long again while the xDS server names all workloads of a large
//! cluster in one response, as an agent does that was restarted. Both nodes are driven by the server and get the same
//! push. In every other round the push comes first. Turns are those of all shards of both proxies within each of the two
//! times, by their histograms.

mod rounds;
mod turns;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use nix::unistd::gettid;
use testkit::lab::{Node, Pod};
use testkit::mesh::{Mesh, MeshOptions, two_pods};
use testkit::planes::resources::{of_large_cluster, pod};
use testkit::planes::xds_server::XdsServer;
use testkit::process::wait_until;
use testkit::proxy::ProxyOptions;
use testkit::shell;
use testkit::traffic::connect;
use testkit::traffic::latency::{Latencies, ping_pong};
use testkit::traffic::server::{Server, Service};

use self::rounds::{Round, Window};
use self::turns::Turns;
use crate::machine::Machine;

const PORT: u16 = 8080;
const MESSAGE_BYTES: usize = 64;

/// How long the ping-pong runs before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long a push may take to be in force.
const PUSH_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct PushArguments {
    /// The ringway to measure.
    #[arg(long, value_name = "PATH", default_value = "target/release/ringway")]
    ringway: PathBuf,
    #[arg(long, default_value_t = 70_000)]
    workloads: usize,
    /// How long the ping-pong is left alone, and how long it runs beside a push.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Worker threads of each proxy.
    #[arg(long, default_value_t = 2)]
    threads: u32,
}

/// Two pods on two nodes that talk. Processes end before the namespaces they are in.
struct Site {
    mesh: Mesh,
    plane: XdsServer,
    nodes: Vec<Arc<Node>>,
    client: Arc<Pod>,
    server: Arc<Pod>,
    _echo: Server,
}

pub(crate) fn run(arguments: &PushArguments) -> Result<()> {
    ensure!(testkit::run::is_root(), "network namespaces need root");
    let Machine { date, kernel, cpu, cores, load_average, .. } = Machine::describe()?;
    println!("{date}, {cpu}, {cores} cores, {kernel}, load {load_average}\n");
    let rounds = (0..arguments.rounds)
        .map(|number| round(arguments, number).with_context(|| format!("round {number}")))
        .collect::<Result<Vec<_>>>()?;
    print!("{}", rounds::report(&rounds));
    Ok(())
}

fn round(arguments: &PushArguments, number: usize) -> Result<Round> {
    let mut site = Site::start(arguments)?;
    let stream = connect(&site.client.netns, (site.server.ipv4, PORT))?;
    ping_pong(&stream, MESSAGE_BYTES, WARM_UP)?;
    let seconds = Duration::from_secs(arguments.seconds);
    let talk = || Ok(ping_pong(&stream, MESSAGE_BYTES, seconds)?);
    let (alone, beside, took);
    if number.is_multiple_of(2) {
        alone = site.alone(talk)?;
        (beside, took) = site.beside(arguments.workloads, talk)?;
    } else {
        (beside, took) = site.beside(arguments.workloads, talk)?;
        alone = site.alone(talk)?;
    }
    let peak_kib = (0..site.nodes.len()).map(|at| site.mesh.process(at).resident_peak_kib());
    let peak_kib = peak_kib.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default();
    Ok(Round { alone, beside, took, peak_kib })
}

impl Site {
    fn start(arguments: &PushArguments) -> Result<Self> {
        let (lab, client, server) = two_pods()?;
        let plane = stepping_back(XdsServer::start)??;
        plane.upsert(vec![pod(&client), pod(&server)]);
        let proxy = ProxyOptions {
            ringway: Some(arguments.ringway.clone()),
            worker_threads: arguments.threads,
            ..ProxyOptions::default()
        };
        let proxy = plane.drives(proxy);
        let mesh = Mesh::start(lab, MeshOptions { proxy, ..MeshOptions::default() })?;
        let echo = Server::start(&server.netns, PORT, Service::Echo)?;
        let nodes = mesh.lab.nodes().to_vec();
        Ok(Self { mesh, plane, nodes, client, server, _echo: echo })
    }

    /// What `talk` sees with nothing else to do.
    fn alone(&self, talk: impl FnOnce() -> Result<Latencies>) -> Result<Window> {
        let before = Turns::of(&self.nodes)?;
        let latencies = talk()?;
        let turns = Turns::of(&self.nodes)?.since(&before);
        Ok(Window { latencies, turns })
    }

    /// What it sees while the cluster is pushed, with the time from the word to the last proxy that had taken it.
    fn beside(
        &mut self,
        workloads: usize,
        talk: impl FnOnce() -> Result<Latencies> + Send,
    ) -> Result<(Window, Duration)> {
        let cluster = (0..workloads).map(|number| of_large_cluster(&self.server, number)).collect();
        let before = Turns::of(&self.nodes)?;
        let (latencies, took) = thread::scope(|scope| {
            let talking = scope.spawn(talk);
            let begin = Instant::now();
            stepping_back(|| self.plane.upsert(cluster))?;
            self.plane.wait_heard()?;
            let took = begin.elapsed();
            let latencies = talking.join().map_err(|_| anyhow!("the ping-pong panicked"))??;
            anyhow::Ok((latencies, took))
        })?;
        for at in 0..self.nodes.len() {
            wait_until("the push to be in force", PUSH_TIMEOUT, || {
                let known = self.mesh.process(at).lines_with(&["the mesh has changed"]).len();
                Ok((known >= 2).then_some(()))
            })?;
        }
        let turns = Turns::of(&self.nodes)?.since(&before);
        Ok((Window { latencies, turns }, took))
    }
}

/// Does this on time that nobody else wants (SCHED_IDLE), as threads that are started meanwhile do for good. The xDS
/// server of so large a cluster is on another machine: what it takes from two cores is not what is measured.
fn stepping_back<T>(work: impl FnOnce() -> T) -> Result<T> {
    shell::run(&format!("chrt --idle --pid 0 {}", gettid()))?;
    let done = work();
    shell::run(&format!("chrt --other --pid 0 {}", gettid()))?;
    Ok(done)
}
