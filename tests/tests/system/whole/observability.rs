//! What a running proxy tells: metrics, its dump, and the commands that ask it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use testkit::lab::{Node, Pod, PodSpec};
use testkit::mesh::{Extra, Mesh, MeshOptions, two_pods};
use testkit::netns::Netns;
use testkit::process::wait_until;
use testkit::proxy::{ProxyOptions, ringway_binary};
use testkit::traffic::connect;
use testkit::traffic::server::{Server, Service};

use crate::needs;

const PORT: u16 = 8080;
/// How long figures may take to follow what happened.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(20);

const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";

/// What an endpoint of a node's proxy answers.
fn get(node: &Node, port: u16, path: &str) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "30"]);
    node.netns.output(command.arg(format!("http://127.0.0.1:{port}{path}"))).unwrap()
}

/// The sum of a metric's values over the series that have all of these labels.
fn metric(node: &Node, name: &str, labels: &[(&str, &str)]) -> u64 {
    let scraped = get(node, 15020, "/stats/prometheus");
    let of_name = scraped.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let labelled =
        |line: &&str| labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")));
    of_name.filter(labelled).map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

fn wait_metric(node: &Node, name: &str, labels: &[(&str, &str)], expected: u64) {
    let what = format!("{name} {labels:?} to be {expected}");
    let reached =
        wait_until(&what, FOLLOW_TIMEOUT, || Ok((metric(node, name, labels) == expected).then_some(())));
    if let Err(error) = reached {
        panic!("{error:#}: {}", get(node, 15020, "/metrics"));
    }
}

/// One whole connection: a thousand bytes there, eleven back.
fn count(client: &Pod, server: &Pod) {
    let mut stream = connect(&client.netns, (server.ipv4, PORT)).unwrap();
    stream.write_all(&[7; 1_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "1000 bytes\n");
}

struct Scene {
    mesh: Mesh,
    nodes: Vec<Arc<Node>>,
    client: Arc<Pod>,
    server: Arc<Pod>,
}

impl Scene {
    fn new(options: MeshOptions) -> Self {
        let (lab, client, server) = two_pods().unwrap();
        let mesh = crate::start(lab, options);
        let nodes = mesh.lab.nodes().to_vec();
        Self { mesh, nodes, client, server }
    }
}

#[test]
fn metrics_are_the_bytes_that_were_carried_and_are_forgotten_afterwards() {
    needs!(Ringway);
    let proxy = ProxyOptions::default().environment("RINGWAY_METRICS_SERIES_IDLE", "3s");
    let scene = Scene::new(MeshOptions { proxy, ..MeshOptions::default() });
    let _count = Server::start(&scene.server.netns, PORT, Service::Count).unwrap();
    let _echo = Server::start(&scene.server.netns, PORT + 1, Service::Echo).unwrap();
    let reporters = ["source", "destination"];

    // One that goes on: its bytes are told while it does.
    let mut long = connect(&scene.client.netns, (scene.server.ipv4, PORT + 1)).unwrap();
    long.write_all(&[1; 5_000]).unwrap();
    long.read_exact(&mut [0; 5_000]).unwrap();
    for (node, reporter) in scene.nodes.iter().zip(reporters) {
        let labels = [
            ("reporter", reporter),
            ("connection_security_policy", "mutual_tls"),
            ("source_principal", CLIENT),
        ];
        wait_metric(node, "istio_tcp_received_bytes_total", &labels, 5_000);
        wait_metric(node, "istio_tcp_sent_bytes_total", &labels, 5_000);
        wait_metric(node, "istio_tcp_connections_opened_total", &labels, 1);
        wait_metric(node, "istio_tcp_sockets_open", &[("reporter", reporter)], 1);
        assert_eq!(metric(node, "istio_tcp_connections_closed_total", &labels), 0);
    }
    for _ in 0..10 {
        count(&scene.client, &scene.server);
    }
    for (node, reporter) in scene.nodes.iter().zip(reporters) {
        let labels = [("reporter", reporter), ("response_flags", "-")];
        wait_metric(node, "istio_tcp_connections_closed_total", &labels, 10);
        wait_metric(node, "istio_tcp_connections_opened_total", &labels, 11);
        wait_metric(node, "istio_tcp_received_bytes_total", &labels, 15_000);
        wait_metric(node, "istio_tcp_sent_bytes_total", &labels, 5_110);
        assert!(get(node, 15020, "/metrics").contains("\nworkload_manager_active_proxy_count 1\n"));
    }
    drop(long);
    for (node, reporter) in scene.nodes.iter().zip(reporters) {
        wait_metric(node, "istio_tcp_sockets_open", &[("reporter", reporter)], 0);
        wait_metric(node, "istio_tcp_connections_opened_total", &[], 0);
        assert!(get(node, 15020, "/metrics").contains("\nringway_metrics_series 0\n"));
    }
}

/// The keys that Cilium's connectivity test and istioctl read (contract 6.3).
#[test]
fn the_dump_names_every_enrolled_pod_and_nobody_else() {
    needs!(Ringway);
    let (mut lab, client, server) = two_pods().unwrap();
    let node = Arc::clone(&lab.nodes()[0]);
    let outsider = lab.add_pod(&node, PodSpec::new("outsider").not_enrolled()).unwrap();
    let _mesh = crate::start(lab, MeshOptions::default());
    let _echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    let open = connect(&client.netns, (server.ipv4, PORT)).unwrap();
    let dump: Value = serde_json::from_str(&get(&node, 15000, "/config_dump")).unwrap();
    let workloads = dump["workloads"].as_array().unwrap();
    for pod in [&client, &server] {
        let found = workloads.iter().find(|workload| workload["uid"] == pod.uid.as_str()).unwrap();
        assert_eq!(found["name"], pod.spec.name.as_str());
        assert_eq!(found["namespace"], pod.spec.namespace.as_str());
        assert_eq!(found["serviceAccount"], pod.spec.service_account.as_str());
        assert_eq!(found["node"], pod.node_name.as_str());
        assert_eq!((&found["status"], &found["protocol"]), (&"Healthy".into(), &"HBONE".into()));
        let ips = found["workloadIps"].as_array().unwrap();
        assert!(ips.iter().any(|ip| *ip == pod.ipv4.to_string()), "{ips:?}");
    }
    assert!(!workloads.iter().any(|workload| workload["uid"] == outsider.uid.as_str()));
    assert_eq!(dump["workloadState"][client.uid.as_str()]["state"], "Up");
    let listed = wait_until("the connection to be listed", FOLLOW_TIMEOUT, || {
        let dump: Value = serde_json::from_str(&get(&node, 15000, "/config_dump"))?;
        let connections = &dump["workloadState"][client.uid.as_str()]["connections"]["outbound"];
        Ok(connections.get(0).cloned())
    });
    let listed = listed.unwrap();
    assert_eq!(listed["src"], open.local_addr().unwrap().to_string());
    assert_eq!(listed["originalDst"], format!("{}:{PORT}", server.ipv4));
    assert_eq!(listed["actualDst"], format!("{}:15008", server.ipv4));
    assert_eq!(dump["config"]["localNode"], node.name.as_str());
    let certificate = &dump["certificates"][0];
    assert_eq!((&certificate["identity"], &certificate["state"]), (&CLIENT.into(), &"Available".into()));
    assert!(certificate["certChain"][0]["serialNumber"].is_string());
    assert!(certificate["rootCerts"][0]["expirationTime"].is_string());
    assert!(get(&node, 15000, "/").contains("config_dump"));
}

/// `ringway …` beside a node's proxy.
fn ringway(netns: &Netns, arguments: &[&str]) -> Output {
    netns.enter(|| Command::new(ringway_binary().unwrap()).args(arguments).output()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn status_and_explain_say_what_is_so_and_what_is_wrong() {
    needs!(Ringway);
    let mut scene = Scene::new(MeshOptions::default());
    let netns = &scene.nodes[0].netns;
    let status = ringway(netns, &["status"]);
    let text = said(&status);
    assert!(status.status.success(), "{text}");
    for expected in [
        ": ready, and nothing is wrong",
        "default/client (service account client): ",
        "tunnels: TLS 1.3 with ",
        &format!("{CLIENT}: "),
        " left",
        "mesh: 2 workloads",
    ] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    let report: Value = serde_json::from_slice(&ringway(netns, &["status", "--json"]).stdout).unwrap();
    assert_eq!((&report["ready"], &report["problems"]), (&true.into(), &Value::Array(Vec::new())));

    let explained = ringway(netns, &["explain", "default/client", "default/server:8080"]);
    let text = said(&explained);
    assert!(explained.status.success() && text.contains("encrypted, with mutual TLS"), "{text}");

    let policies = "\
- name: no-client
  namespace: default
  scope: Namespace
  action: Deny
  rules: [[[{principals: [!Exact cluster.local/ns/default/sa/client]}]]]
  dryRun: false";
    scene.mesh.reconfigure(Extra { policies: policies.to_owned(), ..Extra::default() }).unwrap();
    let denied = wait_until("the policy to be known", FOLLOW_TIMEOUT, || {
        let explained = ringway(netns, &["explain", "default/client", "default/server:8080"]);
        Ok((!explained.status.success()).then(|| said(&explained)))
    });
    let text = denied.unwrap();
    assert!(text.contains("DENIED by policy") && text.contains("default/no-client"), "{text}");

    let unclear = ringway(netns, &["explain", "default/nobody", "default/server"]);
    assert!(
        !unclear.status.success() && said(&unclear).contains("no pod `default/nobody`"),
        "{}",
        said(&unclear)
    );
    for command in [&["status"][..], &["explain", "a/b", "c/d"], &["flows"]] {
        let arguments = [command, &["--admin", "127.0.0.1:9"]].concat();
        let unanswered = ringway(netns, &arguments);
        assert!(!unanswered.status.success(), "{arguments:?}");
        assert!(said(&unanswered).contains("no proxy answers on 127.0.0.1:9"), "{}", said(&unanswered));
    }
}

/// A changed file that is wrong is told of to whoever has no log, until it is right again.
#[test]
fn the_status_tells_of_a_wrong_file_for_as_long_as_it_is_wrong() {
    needs!(Ringway);
    let mut scene = Scene::new(MeshOptions::default());
    let spoilt = Extra { policies: "- name: a\n  namespace: b\n  flavour: c".to_owned(), ..Extra::default() };
    for (extra, wrong) in [(spoilt, true), (Extra::default(), false)] {
        scene.mesh.reconfigure(extra).unwrap();
        let netns = &scene.nodes[0].netns;
        let told = wait_until("the status to tell", FOLLOW_TIMEOUT, || {
            let status = ringway(netns, &["status"]);
            Ok((status.status.success() != wrong).then(|| said(&status)))
        });
        let text = told.unwrap();
        let problem = text.contains("PROBLEM  the mesh file has been wrong for") && text.contains("flavour");
        assert_eq!(problem, wrong, "{text}");
        assert!(text.contains("mesh file /") && text.contains("pods file /"), "{text}");
        let gauge = |value: u8| format!("ringway_control_connection_up{{plane=\"mesh file\"}} {value}\n");
        assert!(get(&scene.nodes[0], 15020, "/metrics").contains(&gauge(u8::from(!wrong))));
    }
}

/// A command that goes on, and the lines it prints.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(netns: &Netns, arguments: &[&str]) -> Self {
        let mut command = Command::new(ringway_binary().unwrap());
        let mut child = netns.spawn_process(command.args(arguments).stdout(Stdio::piped())).unwrap();
        let (sender, lines) = channel();
        let reader = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn flows_are_printed_as_they_come() {
    needs!(Ringway);
    let mut scene = Scene::new(MeshOptions::default());
    let _count = Server::start(&scene.server.netns, PORT, Service::Count).unwrap();
    let netns = &scene.nodes[1].netns;
    let mut following = Following::start(netns, &["flows", "--follow", "--json"]);
    // It follows from some moment on: connections are made until one is told of.
    let closed = wait_until("a flow", FOLLOW_TIMEOUT, || {
        count(&scene.client, &scene.server);
        let lines = std::iter::from_fn(|| following.lines.recv_timeout(Duration::from_millis(200)).ok());
        let mut flows = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        Ok(flows.find(|flow| flow["event"] == "closed"))
    });
    let flow = closed.unwrap();
    assert_eq!((&flow["direction"], &flow["auth_type"]), (&"inbound".into(), &"SPIFFE".into()), "{flow}");
    assert_eq!(
        (&flow["verdict"], &flow["source"]["identity"]),
        (&"allowed".into(), &CLIENT.into()),
        "{flow}"
    );
    assert_eq!((&flow["bytes_sent"], &flow["bytes_received"]), (&1_000.into(), &11.into()), "{flow}");
    assert_eq!(flow["destination"]["address"], format!("{}:{PORT}", scene.server.ipv4), "{flow}");

    let last = said(&ringway(netns, &["flows"]));
    let line = last.lines().last().unwrap();
    assert!(line.contains(" closed inbound  SPIFFE allowed #"), "{last}");
    assert!(line.contains(" default/client [") && line.contains("1000 B sent, 11 B received"), "{last}");

    scene.mesh.process(1).signal(Signal::SIGTERM).unwrap();
    let ended = following.child.wait().unwrap();
    assert!(ended.success(), "the proxy ended in order, and so does who followed it: {ended}");
}
