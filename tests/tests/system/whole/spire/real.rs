//! The real SPIRE: its server, its agent, and what both do while traffic goes on.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::{Mesh, MeshOptions};
use testkit::planes::container_runtime::ContainerRuntime;
use testkit::process::{Process, wait_until};
use testkit::proxy::ProxyOptions;
use testkit::spire::{Attest, Selector, SpireAgent, SpireOptions, SpireServer};
use testkit::traffic::server::{Server, Service};
use testkit::traffic::steady::Steady;
use testkit::traffic::{connect, transfer};

use super::{exchanges, refused};
use crate::needs;

pub(super) const ECHO_PORT: u16 = 7000;
/// What an agent, a server and a proxy may take to agree on something new: several syncs, 5 s apart.
pub(super) const AGREED_TIMEOUT: Duration = Duration::from_secs(60);
/// New connections a second while things happen.
const RATE: u32 = 500;

/// Two pods on two nodes, and one agent for both.
pub(super) struct Scene {
    pub(super) mesh: Mesh,
    client: Arc<Pod>,
    server: Arc<Pod>,
    _echo: Server,
    agent: SpireAgent,
    pub(super) spire: SpireServer,
}

impl Scene {
    pub(super) fn new(options: SpireOptions) -> Self {
        Self::with(options, |proxy| proxy)
    }

    /// Attestation by selectors.
    fn with(options: SpireOptions, change: impl FnOnce(ProxyOptions) -> ProxyOptions) -> Self {
        let spire = SpireServer::start(&options).unwrap();
        let mut lab = Lab::new().unwrap();
        let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
        let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
        let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
        for pod in [&client, &server] {
            register(&spire, pod);
        }
        let agent = spire.start_agent("agent").unwrap();
        // Tunnels that are let go of at once have to be made anew, with the certificates of the moment.
        let proxy = ProxyOptions::default().environment("POOL_UNUSED_RELEASE_TIMEOUT", "1s");
        let proxy = change(agent.serve(proxy, &Attest::Selectors));
        let mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
        let echo = Server::start(&server.netns, ECHO_PORT, Service::Echo).unwrap();
        let mut scene = Self { mesh, client, server, _echo: echo, agent, spire };
        // A new agent knows the entry of the proxies after its first sync.
        scene.wait_for_newer([0, 0]);
        scene
    }

    pub(super) fn steady(&self) -> Steady {
        Steady::start(&self.client.netns, (self.server.ipv4, ECHO_PORT), RATE)
    }

    /// Waits until the proxy of a node has written so many lines with these words.
    pub(super) fn wait_for_lines(&mut self, at: usize, words: &[&str], count: usize) {
        let process = self.mesh.process(at);
        let waited = wait_until(&format!("{count} lines with {words:?}"), AGREED_TIMEOUT, || {
            process.expect_running()?;
            Ok((process.lines_with(words).len() >= count).then_some(()))
        });
        waited.unwrap_or_else(|error| panic!("{error:#}\n{}", self.mesh.written()));
    }

    /// Certificates that each pod has had so far.
    pub(super) fn obtained(&mut self) -> [usize; 2] {
        [0, 1].map(|at| self.mesh.process(at).lines_with(&["certificate obtained"]).len())
    }

    /// Waits until each pod has a certificate that it did not have.
    fn wait_for_newer(&mut self, before: [usize; 2]) {
        for at in [0, 1] {
            self.wait_for_lines(at, &["certificate obtained"], before[at] + 1);
        }
    }

    fn exchanges(&self) -> bool {
        exchanges(&self.client, &self.server, ECHO_PORT)
    }

    /// The two pods can talk.
    pub(super) fn talk(&self) {
        assert!(self.exchanges(), "{}", self.mesh.written());
    }
}

fn register(spire: &SpireServer, pod: &Pod) {
    let selector =
        Selector::Kubernetes { namespace: &pod.spec.namespace, service_account: &pod.spec.service_account };
    spire.register(&pod.spec.name, &pod.identity(), selector).unwrap();
}

#[test]
fn the_first_svid_and_rotations_every_few_seconds_cost_no_connection() {
    needs!(Spire);
    let options = SpireOptions { svid_ttl: Duration::from_secs(20), ..SpireOptions::default() };
    let mut scene = Scene::new(options);
    scene.talk();
    let steady = scene.steady();
    // A certificate of 20 s is replaced after 5 to 10 s.
    for at in [0, 1] {
        scene.wait_for_lines(at, &["certificate obtained"], 6);
    }
    let made = steady.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", scene.mesh.written()));
    assert!(made.connections > 0);
    println!("{made}, over {:?} certificates", scene.obtained());
}

#[test]
fn an_agent_that_is_killed_for_a_while_costs_no_connection() {
    needs!(Spire);
    let mut scene = Scene::new(SpireOptions::default());
    scene.talk();
    let before = scene.obtained();
    let steady = scene.steady();
    scene.agent.kill().unwrap();
    for at in [0, 1] {
        scene.wait_for_lines(at, &["SPIRE's agent is away"], 1);
    }
    let away = Instant::now();
    // Longer than any pause before the next try.
    wait_until("a time without the agent", AGREED_TIMEOUT, || {
        Ok((away.elapsed() > Duration::from_secs(40)).then_some(()))
    })
    .unwrap();
    assert_eq!(scene.obtained(), before);
    scene.agent.restart().unwrap();
    // After a restart every certificate is a new one.
    scene.wait_for_newer(before);
    let made = steady.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", scene.mesh.written()));
    println!("{made}, most of them without an agent");
}

/// Each connection is made with a handshake of its own: the tunnel of the one before has been let go of.
#[test]
fn tunnels_are_made_without_an_agent() {
    needs!(Spire);
    let mut scene = Scene::new(SpireOptions::default());
    scene.talk();
    scene.agent.kill().unwrap();
    scene.wait_for_lines(0, &["SPIRE's agent is away", "is not running"], 1);
    for _ in 0..3 {
        wait_until("the end of the tunnel", AGREED_TIMEOUT, || {
            let sockets = scene.client.netns.run("ss --tcp --numeric --no-header state established")?;
            Ok((!sockets.contains(":15008 ")).then_some(()))
        })
        .unwrap();
        scene.talk();
    }
}

#[test]
fn a_new_authority_takes_over_and_the_old_one_goes_without_a_connection_lost() {
    needs!(Spire);
    let mut scene = Scene::new(SpireOptions::default());
    scene.talk();
    let steady = scene.steady();
    let before = scene.obtained();
    scene.spire.rotate_authority().unwrap();
    for at in [0, 1] {
        scene.wait_for_lines(at, &["the roots have changed", "roots=2"], 1);
    }
    // Changed roots make new credentials of the same certificate; a tainted authority makes new certificates.
    scene.wait_for_newer(before);
    let before = scene.obtained();
    let old = scene.spire.taint_old_authority().unwrap();
    scene.wait_for_newer(before);
    scene.spire.revoke_authority(&old).unwrap();
    for at in [0, 1] {
        scene.wait_for_lines(at, &["the roots have changed", "roots=1"], 2);
    }
    let made = steady.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", scene.mesh.written()));
    println!("{made}, over two authorities");
}

#[test]
fn an_entry_that_is_deleted_takes_the_certificate_with_it() {
    needs!(Spire);
    let mut scene = Scene::new(SpireOptions::default());
    scene.talk();
    scene.spire.delete_entry("client").unwrap();
    scene.wait_for_lines(0, &["no registration entry", "sa/client"], 1);
    wait_until("a refusal", AGREED_TIMEOUT, || {
        Ok(refused(&scene.client, &scene.server, ECHO_PORT).then_some(()))
    })
    .unwrap();
    register(&scene.spire, &scene.client);
    wait_until("the client's certificate", AGREED_TIMEOUT, || Ok(scene.exchanges().then_some(()))).unwrap();
    scene.mesh.expect_running().unwrap();
}

#[test]
fn a_refusal_is_explained_and_costs_nothing() {
    needs!(Spire);
    let mut scene = Scene::new(SpireOptions::default());
    scene.talk();
    scene.agent.kill().unwrap();
    scene.agent.restart_without_delegates().unwrap();
    scene.wait_for_lines(0, &["authorized_delegates"], 1);
    scene.talk();
    scene.agent.kill().unwrap();
    let before = scene.obtained();
    scene.agent.restart().unwrap();
    scene.wait_for_newer(before);
    scene.talk();

    // The agent looks at who asks when it has something to say: here, that the pods' entries went with the proxy's.
    let unknown = ["identity=", "create a registration entry for this proxy"];
    let told = [0, 1].map(|at| scene.mesh.process(at).lines_with(&unknown).len());
    scene.spire.delete_entry("proxy").unwrap();
    for at in [0, 1] {
        scene.wait_for_lines(at, &unknown, told[at] + 1);
    }
    scene.talk();
    let before = scene.obtained();
    scene.spire.register_proxy().unwrap();
    scene.wait_for_newer(before);
    scene.talk();
}

#[test]
fn the_public_socket_is_told_from_the_admin_socket() {
    needs!(Spire);
    let spire = SpireServer::start(&SpireOptions::default()).unwrap();
    let agent = spire.start_agent("agent").unwrap();
    let mut lab = Lab::new().unwrap();
    let one = lab.add_node().unwrap();
    lab.add_pod(&one, PodSpec::new("client")).unwrap();
    let public = agent.public_socket().display().to_string();
    let proxy = agent.serve(ProxyOptions::default(), &Attest::Selectors);
    let proxy = proxy.environment("SPIRE_ADMIN_ENDPOINT_SOCKET", &public);
    let mut mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
    mesh.process(0).wait_for_line(&["is not the admin socket"], AGREED_TIMEOUT).unwrap();
    mesh.expect_running().unwrap();
}

#[test]
fn an_agent_that_is_stopped_is_noticed_and_taken_up_again() {
    needs!(Spire);
    let mut scene = Scene::with(SpireOptions::default(), |proxy| proxy.environment("SPIRE_TIMEOUT", "2s"));
    scene.talk();
    scene.agent.freeze(true).unwrap();
    let late = scene.mesh.enrol(0, PodSpec::new("late")).unwrap();
    register(&scene.spire, &late);
    scene.wait_for_lines(0, &["did not answer within 2 s", "sa/late"], 1);
    scene.talk();
    scene.agent.freeze(false).unwrap();
    let served = || Ok(exchanges(&late, &scene.server, ECHO_PORT).then_some(()));
    wait_until("the late pod's certificate", AGREED_TIMEOUT, served).unwrap();
}

/// A pod whose only container runs as a user of its own, by whom SPIRE knows it.
struct RunningPod {
    pod: Arc<Pod>,
    user: u32,
    process: Process,
}

impl RunningPod {
    fn start(pod: &Arc<Pod>, user: u32) -> Self {
        let mut command = Command::new("sleep");
        let process = Process::start("container", &pod.netns, command.arg("86400").uid(user)).unwrap();
        Self { pod: Arc::clone(pod), user, process }
    }

    /// The container is started anew: the same user, another process.
    fn restart(&mut self) {
        *self = Self::start(&self.pod, self.user);
    }
}

#[test]
fn processes_are_attested_and_attested_anew_when_they_change() {
    needs!(Spire);
    let spire = SpireServer::start(&SpireOptions::default()).unwrap();
    let runtime = ContainerRuntime::start().unwrap();
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
    let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
    let mut running = [RunningPod::start(&client, 40_001), RunningPod::start(&server, 40_002)];
    for RunningPod { pod, user, .. } in &running {
        spire.register(&pod.spec.name, &pod.identity(), Selector::User(*user)).unwrap();
    }
    let agent = spire.start_agent("agent").unwrap();
    let attest = Attest::Process { runtime: runtime.socket().to_owned() };
    let proxy = agent.serve(ProxyOptions::default(), &attest);
    let mut mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
    let _exchange = Server::start(&server.netns, ECHO_PORT, Service::Exchange).unwrap();

    // The pods are there before their containers, as in a cluster.
    mesh.process(0).wait_for_line(&["no running container"], AGREED_TIMEOUT).unwrap();
    let processes = |pod: &RunningPod| [Some(pod.process.pid()), None];
    for pod in &running {
        runtime.run(&pod.pod.uid, &processes(pod));
    }
    for (at, pod) in running.iter().enumerate() {
        let words = ["certificate obtained", &pod.pod.identity(), &pod.pod.uid];
        mesh.process(at).wait_for_line(&words, AGREED_TIMEOUT).unwrap();
    }
    let talk = || {
        let stream = connect(&client.netns, (server.ipv4, ECHO_PORT)).unwrap();
        transfer::exchange(&stream, 1 << 20).unwrap();
    };
    talk();

    // A process of somebody else has no certificate of this pod, whatever the runtime says of it.
    let stranger = RunningPod::start(&client, 40_003);
    runtime.run(&client.uid, &[Some(stranger.process.pid())]);
    mesh.process(0).wait_for_line(&["no registration entry", "sa/client"], AGREED_TIMEOUT * 2).unwrap();
    running[0].restart();
    runtime.run(&client.uid, &processes(&running[0]));
    let obtained = wait_until("a second certificate", AGREED_TIMEOUT * 2, || {
        Ok((mesh.process(0).lines_with(&["certificate obtained"]).len() >= 2).then_some(()))
    });
    obtained.unwrap_or_else(|error| panic!("{error:#}\n{}", mesh.written()));
    talk();
}
