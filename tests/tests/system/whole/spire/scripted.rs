//! An agent that does everything a real one was seen to do, and some that it should not, under traffic.

use std::sync::Arc;
use std::time::Duration;

use testkit::authority::{Authority, Validity};
use testkit::hostile::tls;
use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::{Mesh, MeshOptions};
use testkit::planes::container_runtime::ContainerRuntime;
use testkit::planes::spire_agent::{Mood, ScriptedAgent, Workload, svid};
use testkit::process::wait_until;
use testkit::proxy::ProxyOptions;
use testkit::traffic::connect;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::steady::Steady;
use testkit::wire::HBONE_PORT;

use super::exchanges;
use crate::needs;

const ECHO_PORT: u16 = 7000;
const RATE: u32 = 200;
const TOLD_TIMEOUT: Duration = Duration::from_secs(60);

struct Scene {
    mesh: Mesh,
    client: Arc<Pod>,
    server: Arc<Pod>,
    outsider: Arc<Pod>,
    _echo: Server,
    agent: ScriptedAgent,
    authority: Authority,
}

impl Scene {
    fn new() -> Self {
        let (agent, authority) = (ScriptedAgent::start().unwrap(), Authority::stranger().unwrap());
        let mut lab = Lab::new().unwrap();
        let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
        let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
        let outsider = lab.add_pod(&one, PodSpec::new("outsider").not_enrolled()).unwrap();
        let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
        agent.trust(&[&authority]);
        let proxy = serve(&agent).environment("RINGWAY_SPIRE_ATTEST", "selectors");
        let proxy = proxy.environment("POOL_UNUSED_RELEASE_TIMEOUT", "1s");
        let mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
        let echo = Server::start(&server.netns, ECHO_PORT, Service::Echo).unwrap();
        let scene = Self { mesh, client, server, outsider, _echo: echo, agent, authority };
        scene.grant(&scene.authority);
        scene
    }

    /// Says that both pods have a new SVID of this authority.
    fn grant(&self, authority: &Authority) {
        for pod in [&self.client, &self.server] {
            self.say(pod, &[(&pod.identity(), Validity::Now)], authority);
        }
    }

    fn say(&self, pod: &Pod, svids: &[(&str, Validity)], authority: &Authority) {
        let svids = svids.iter().map(|(id, validity)| svid(authority, id, *validity).unwrap()).collect();
        self.agent.say(&workload(pod), svids);
    }

    fn lines(&mut self, at: usize, words: &[&str]) -> usize {
        self.mesh.process(at).lines_with(words).len()
    }

    fn wait_for_lines(&mut self, at: usize, words: &[&str], count: usize) {
        let waited = wait_until(&format!("{count} lines with {words:?}"), TOLD_TIMEOUT, || {
            Ok((self.mesh.process(at).lines_with(words).len() >= count).then_some(()))
        });
        waited.unwrap_or_else(|error| panic!("{error:#}\n{}", self.mesh.written()));
    }

    fn wait_for_certificates(&mut self, count: usize) {
        for at in [0, 1] {
            self.wait_for_lines(at, &["certificate obtained"], count);
        }
    }
}

fn serve(agent: &ScriptedAgent) -> ProxyOptions {
    ProxyOptions::default()
        .environment("SPIRE_ENABLED", "true")
        .environment("RINGWAY_CA_DIR", "")
        .environment("SPIRE_TIMEOUT", "2s")
        .environment("SPIRE_ADMIN_ENDPOINT_SOCKET", &agent.socket().display().to_string())
}

fn workload(pod: &Pod) -> Workload {
    let (namespace, service_account) = (pod.spec.namespace.clone(), pod.spec.service_account.clone());
    Workload::Selectors { namespace, service_account }
}

#[test]
fn nothing_an_agent_says_costs_a_connection() {
    needs!(Ringway);
    let mut scene = Scene::new();
    assert!(exchanges(&scene.client, &scene.server, ECHO_PORT));
    scene.wait_for_certificates(1);
    let steady = Steady::start(&scene.client.netns, (scene.server.ipv4, ECHO_PORT), RATE);
    let (client, server) = (Arc::clone(&scene.client), Arc::clone(&scene.server));
    let ours = client.identity();

    for _ in 0..20 {
        scene.agent.repeat();
    }
    scene.say(&client, &[], &scene.authority);
    scene.say(
        &client,
        &[("spiffe://cluster.local/ztunnel", Validity::Now), (&ours, Validity::Now)],
        &scene.authority,
    );
    scene.wait_for_lines(0, &["certificate obtained"], 2);
    assert_eq!(scene.lines(1, &["certificate obtained"]), 1, "what was repeated was taken for news");

    scene.say(&client, &[(&ours, Validity::Expired)], &scene.authority);
    scene.wait_for_lines(0, &["is not used", &ours], 1);
    scene.say(&client, &[(&ours, Validity::NotYet)], &scene.authority);
    scene.say(&client, &[(&ours, Validity::Now)], &Authority::stranger().unwrap());
    scene.wait_for_lines(0, &["is not used", &ours], 2);

    scene.agent.end_streams();
    for at in [0, 1] {
        scene.wait_for_lines(at, &["ended the stream"], 1);
    }
    scene.grant(&scene.authority);
    scene.wait_for_lines(0, &["certificate obtained"], 3);
    scene.wait_for_lines(1, &["certificate obtained"], 2);

    scene.agent.set_mood(Mood::Denying);
    scene.agent.restart().unwrap();
    scene.wait_for_lines(0, &["no identity issued"], 1);
    scene.agent.set_mood(Mood::Frozen);
    scene.wait_for_lines(0, &["did not answer within 2 s"], 1);
    scene.agent.kill();
    scene.wait_for_lines(0, &["is not running"], 1);
    scene.agent.set_mood(Mood::Serving);
    scene.agent.restart().unwrap();
    scene.grant(&scene.authority);
    scene.wait_for_lines(0, &["certificate obtained"], 4);
    scene.wait_for_lines(1, &["certificate obtained"], 3);

    let made = steady.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", scene.mesh.written()));
    assert!(made.connections > 0);
    assert!(exchanges(&client, &server, ECHO_PORT));
}

#[test]
fn roots_come_and_go_under_traffic_and_what_left_is_believed_no_more() {
    needs!(Ringway);
    let mut scene = Scene::new();
    assert!(exchanges(&scene.client, &scene.server, ECHO_PORT));
    scene.wait_for_certificates(1);
    let leaf = scene.authority.issue(&[&scene.client.identity()], Validity::Now).unwrap();
    let (outsider, server) = (Arc::clone(&scene.outsider), Arc::clone(&scene.server));
    let is_refused = || {
        let stream = connect(&outsider.netns, (server.ipv4, HBONE_PORT)).unwrap();
        tls::connect(stream, Some(&leaf)).and_then(|mut tls| tls::is_refused(&mut tls)).unwrap_or(true)
    };
    assert!(!is_refused());
    let steady = Steady::start(&scene.client.netns, (scene.server.ipv4, ECHO_PORT), RATE);
    let next = Authority::stranger().unwrap();
    scene.agent.trust(&[&scene.authority, &next]);
    scene.wait_for_certificates(2);
    scene.grant(&next);
    scene.wait_for_certificates(3);
    scene.agent.trust(&[&next]);
    scene.wait_for_certificates(4);
    let refused = wait_until("a refusal of the old root", TOLD_TIMEOUT, || Ok(is_refused().then_some(())));
    refused.unwrap();
    steady.finish().unwrap_or_else(|error| panic!("{error:#}\n{}", scene.mesh.written()));
}

#[test]
fn a_process_is_looked_up_before_and_after_and_a_runtime_may_be_late() {
    needs!(Ringway);
    let (agent, authority) = (ScriptedAgent::start().unwrap(), Authority::stranger().unwrap());
    agent.trust(&[&authority]);
    let mut runtime = ContainerRuntime::start().unwrap();
    runtime.stop();
    let mut lab = Lab::new().unwrap();
    let one = lab.add_node().unwrap();
    let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
    let server = lab.add_pod(&one, PodSpec::new("server")).unwrap();
    let proxy = serve(&agent)
        .environment("CONTAINER_RUNTIME_SOCK_PATH", &format!("unix://{}", runtime.socket().display()));
    let mut mesh = crate::start(lab, MeshOptions { proxy, ..MeshOptions::default() });
    let _echo = Server::start(&server.netns, ECHO_PORT, Service::Echo).unwrap();
    let missing = ["container runtime is not running"];
    mesh.process(0).wait_for_line(&missing, TOLD_TIMEOUT).unwrap();

    // Containers that are not started yet, then one that is, and beside it one that is not.
    for pod in [&client, &server] {
        runtime.run(&pod.uid, &[None]);
    }
    runtime.restart().unwrap();
    mesh.process(0).wait_for_line(&["no running container"], TOLD_TIMEOUT).unwrap();
    assert_eq!(agent.asked(), []);
    for (pod, process) in [(&client, 1_001), (&server, 1_002)] {
        agent.say(
            &Workload::Process(process),
            vec![svid(&authority, &pod.identity(), Validity::Now).unwrap()],
        );
        runtime.run(&pod.uid, &[None, Some(process)]);
    }
    for pod in [&client, &server] {
        mesh.process(0).wait_for_line(&["certificate obtained", &pod.uid], TOLD_TIMEOUT).unwrap();
    }
    assert!(exchanges(&client, &server, ECHO_PORT));

    // The container is started anew: nobody says so, and the next news of the agent leads to the new process.
    runtime.run(&client.uid, &[Some(2_001)]);
    let renewed = vec![svid(&authority, &client.identity(), Validity::Now).unwrap()];
    agent.say(&Workload::Process(2_001), renewed);
    agent.repeat();
    let attested = wait_until("the new process to be attested", TOLD_TIMEOUT, || {
        Ok(agent.asked().contains(&Workload::Process(2_001)).then_some(()))
    });
    attested.unwrap();
    assert!(exchanges(&client, &server, ECHO_PORT));
}
