//! What a push of the whole mesh costs those who are talking meanwhile.
//!
//! One ping-pong between two pods, watched for so long, and for as long again while the xDS server names all workloads of
//! a large cluster in one response, as an agent does that was restarted. Both nodes are driven by the server and get the
//! same push. In every other round the push comes first. Turns are those of all shards of both proxies within each of the
//! two times, by their histograms.

mod rounds;
mod turns;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::unistd::gettid;
use testkit::lab::{Node, Pod};
use testkit::mesh::{Mesh, MeshOptions, two_pods};
use testkit::planes::resources::{of_large_cluster, pod};
use testkit::planes::xds_server::XdsServer;
use testkit::proxy::ProxyOptions;
use testkit::shell;

use self::rounds::{Round, Window};
use self::turns::Turns;
use crate::agent::Agent;
use crate::interrupt::{self, Interrupted, wait_until};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::protocol::{Latency, Load, MESSAGE_BYTES, Request};
use crate::record::expect_rounds;
use crate::report;
use crate::report::number::counted;
use crate::site::Place;
use crate::target::RINGWAY_PATH;

/// How long the ping-pong runs before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long a push may take to be in force.
const PUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// What a push costs is seen within seconds; longer is a slip of the finger.
const SECONDS_MAX: u64 = 600;

/// The addresses that the server has for them: one of 11.0.0.0/8 each; and far more than any cluster has.
const WORKLOADS_MAX: usize = 1_000_000;

#[derive(Args, Debug)]
pub(crate) struct PushArguments {
    /// The ringway to measure.
    #[arg(long, value_name = "PATH", default_value = RINGWAY_PATH)]
    ringway: PathBuf,
    /// How many the server names at once.
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

impl PushArguments {
    /// An error when nothing could come of it, before anything is started for it.
    fn expect_measurable(&self) -> Result<()> {
        let Self { ringway, workloads, seconds, rounds, threads } = self;
        expect_rounds(*rounds)?;
        ensure!(
            (1..=WORKLOADS_MAX).contains(workloads),
            "nothing to push with {workloads} workloads: give 1 to {WORKLOADS_MAX}"
        );
        ensure!(
            (1..=SECONDS_MAX).contains(seconds),
            "nothing to measure in {seconds} seconds: give 1 to {SECONDS_MAX}"
        );
        ensure!(*threads > 0, "a proxy needs a worker thread: --threads 1 or more");
        ensure!(ringway.is_file(), "there is no {}: build it first", ringway.display());
        Ok(())
    }
}

/// Two pods on two nodes that talk. Processes end before the namespaces they are in.
struct Site {
    mesh: Mesh,
    plane: XdsServer,
    nodes: Vec<Arc<Node>>,
    server: Arc<Pod>,
    /// The ping-pong's two ends, which run all the time, in processes of their own: what the server of the push does with
    /// memory holds up nobody else.
    talker: Agent,
    _echo: Agent,
}

pub(crate) fn run(arguments: &PushArguments) -> Result<()> {
    interrupt::watch()?;
    arguments.expect_measurable()?;
    ensure!(testkit::run::is_root(), "network namespaces need root");
    let Machine { date, kernel, cpu, cores, load_average, .. } = Machine::describe()?;
    report::print(&format!("{date}, {cpu}, {cores} cores, {kernel}, load {load_average}\n\n"))?;
    let mut progress = Progress::new(arguments.rounds);
    let mut rounds = Vec::new();
    while rounds.len() < arguments.rounds && !interrupt::is_asked() {
        let number = rounds.len();
        match round(arguments, number).with_context(|| format!("round {}", number + 1)) {
            Ok(round) => {
                progress.done(&round.headline());
                rounds.push(round);
            }
            Err(error) if !interrupt::is_asked() => return Err(error),
            Err(_) => {}
        }
    }
    progress.finish();
    ensure!(!rounds.is_empty(), "{Interrupted} before a round was whole");
    report::print(&rounds::report(&rounds))?;
    let (whole, planned) = (rounds.len(), counted(arguments.rounds, "round"));
    ensure!(whole == arguments.rounds, "this run was cut short: {whole} of {planned} were measured");
    Ok(())
}

fn round(arguments: &PushArguments, number: usize) -> Result<Round> {
    let mut site = Site::start(arguments)?;
    interrupt::sleep(WARM_UP)?;
    let (alone, beside, took);
    if number.is_multiple_of(2) {
        alone = site.alone(arguments)?;
        (beside, took) = site.beside(arguments)?;
    } else {
        (beside, took) = site.beside(arguments)?;
        alone = site.alone(arguments)?;
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
        let nodes = mesh.lab.nodes().to_vec();
        let own_program = std::env::current_exe().context("finding this program")?;
        let generator = |pod: &Pod| {
            let enter = format!("--net={}", pod.netns.path().display());
            let place = Place::Exec(vec!["nsenter".to_owned(), enter]);
            Agent::start_program(&place, &own_program.to_string_lossy())
        };
        let (mut talker, mut echo) = (generator(&client)?, generator(&server)?);
        echo.tell(&Request::Listen)?;
        talker.tell(&Request::Start {
            load: Load::PingPong { connections: 1, bytes: MESSAGE_BYTES },
            server: server.ipv4,
        })?;
        Ok(Self { mesh, plane, nodes, server, talker, _echo: echo })
    }

    /// What is seen while nothing else happens.
    fn alone(&mut self, arguments: &PushArguments) -> Result<Window> {
        let before = Turns::of(&self.nodes)?;
        self.talker.tell(&Request::Begin)?;
        interrupt::sleep(Duration::from_secs(arguments.seconds))?;
        self.end_window(&before)
    }

    /// What is seen while the cluster is pushed, with the time from the word to the last proxy that had taken it.
    fn beside(&mut self, arguments: &PushArguments) -> Result<(Window, Duration)> {
        let cluster = (0..arguments.workloads).map(|number| of_large_cluster(&self.server, number)).collect();
        let before = Turns::of(&self.nodes)?;
        self.talker.tell(&Request::Begin)?;
        let begin = Instant::now();
        stepping_back(|| self.plane.upsert(cluster))?;
        self.plane.wait_heard()?;
        let took = begin.elapsed();
        for at in 0..self.nodes.len() {
            let proxy = self.mesh.process(at);
            wait_until("the push to be in force", PUSH_TIMEOUT, || {
                Ok((proxy.lines_with(&["the mesh has changed"]).len() >= 2).then_some(()))
            })?;
        }
        interrupt::sleep(Duration::from_secs(arguments.seconds).saturating_sub(begin.elapsed()))?;
        Ok((self.end_window(&before)?, took))
    }

    fn end_window(&mut self, before: &Turns) -> Result<Window> {
        let latency = self.talker.end()?.latency;
        let Latency { p50_us, p99_9_us, .. } = latency.context("the ping-pong stood still")?;
        let turns = Turns::of(&self.nodes)?.since(before);
        Ok(Window { p50_us, p99_9_us, turns })
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
