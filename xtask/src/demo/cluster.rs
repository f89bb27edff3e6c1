//! The demo's cluster: two nodes with three pods each, two of them enrolled, and an application in every pod.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use testkit::iperf::IperfServer;
use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::{Extra, Mesh, MeshOptions};
use testkit::process::Process;
use testkit::proxy::{ProxyKind, ProxyOptions};

use super::policy;
use super::spire::Spire;
use crate::progress::Progress;
use crate::workspace::{Profile, binary};

pub(crate) const ECHO_PORT: u16 = 7000;
pub(crate) const EXCHANGE_PORT: u16 = 8080;
pub(crate) const HTTP_PORT: u16 = 80;

/// The applications of every pod, by the names the testkit's server program gives them.
const APPLICATIONS: [(u16, &str); 3] =
    [(ECHO_PORT, "echo"), (EXCHANGE_PORT, "exchange"), (HTTP_PORT, "http")];
/// How long an application may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long SPIRE may take to give a pod its certificate: a new agent knows the proxies after some seconds.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    // Before the mesh: processes go before the namespaces they run in.
    applications: Vec<Process>,
    _iperf: IperfServer,
    pub(crate) mesh: Mesh,
    /// Who signs, if not the embedded authority.
    spire: Option<Spire>,
    /// Enrolled, on node 1.
    pub(crate) web: Arc<Pod>,
    pub(crate) cart: Arc<Pod>,
    /// Not enrolled, on node 1.
    pub(crate) cron: Arc<Pod>,
    /// Enrolled, on node 2.
    pub(crate) shop: Arc<Pod>,
    pub(crate) bank: Arc<Pod>,
    /// Not enrolled, on node 2.
    pub(crate) mail: Arc<Pod>,
}

impl Cluster {
    pub(crate) fn start(kind: ProxyKind, with_spire: bool, progress: &Progress) -> Result<Self> {
        progress.step("making two nodes with three pods each");
        let mut lab = Lab::new()?;
        let (one, two) = (lab.add_node()?, lab.add_node()?);
        let web = lab.add_pod(&one, PodSpec::new("web").namespace("front"))?;
        let cart = lab.add_pod(&one, PodSpec::new("cart").namespace("front"))?;
        let cron = lab.add_pod(&one, PodSpec::new("cron").namespace("legacy").not_enrolled())?;
        let shop = lab.add_pod(&two, PodSpec::new("shop").namespace("back"))?;
        let bank = lab.add_pod(&two, PodSpec::new("bank").namespace("back"))?;
        let mail = lab.add_pod(&two, PodSpec::new("mail").namespace("legacy").not_enrolled())?;
        let spire = with_spire.then(|| {
            progress.step("starting SPIRE's server and agent, with an entry for each enrolled pod");
            Spire::start(&lab)
        });
        let spire = spire.transpose()?;
        progress.step("starting two proxies and installing redirection in four pods");
        let proxy = ProxyOptions {
            ringway: (kind == ProxyKind::Ringway).then(|| binary(Profile::Release, "ringway")).transpose()?,
            ..ProxyOptions::default()
        };
        let proxy = match &spire {
            Some(spire) => spire.serve(proxy),
            None => proxy,
        };
        let extra = Extra { policies: policy::policies(&cart, &shop), ..Extra::default() };
        let mut mesh =
            Mesh::start(lab, MeshOptions { kinds: vec![kind; 2], proxy, extra, ..MeshOptions::default() })?;
        if spire.is_some() {
            progress.step("waiting for SPIRE to give each pod its certificate");
            for (at, pod) in [(0, &web), (0, &cart), (1, &shop), (1, &bank)] {
                let words = ["certificate obtained", &pod.identity()];
                mesh.process(at).wait_for_line(&words, CERTIFICATE_TIMEOUT)?;
            }
        }
        progress.step("starting applications in every pod");
        let mut applications = Vec::new();
        for pod in mesh.lab.pods() {
            for (port, service) in APPLICATIONS {
                let mut command = Command::new(binary(Profile::Dev, "testkit-peer")?);
                command.args([&port.to_string(), service]);
                let mut process = Process::start(service, &pod.netns, &mut command)?;
                process.wait_for_line(&["listening"], START_TIMEOUT)?;
                applications.push(process);
            }
        }
        let iperf = IperfServer::start(&shop.netns)?;
        Ok(Self { applications, _iperf: iperf, mesh, spire, web, cart, cron, shop, bank, mail })
    }

    /// Who is where.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for node in self.mesh.lab.nodes() {
            text += &format!("{} {:<11}", node.name, node.ipv4());
            for pod in self.mesh.lab.pods_of(node) {
                let enrolled = if pod.spec.enrolled { "enrolled" } else { "not enrolled" };
                text += &format!("  {}/{} {} ({enrolled})", pod.spec.namespace, pod.spec.name, pod.ipv4);
            }
            text += "\n";
        }
        text += &self.spire.as_ref().map(Spire::describe).unwrap_or_default();
        text + &format!(
            "{} applications, every one in a network namespace of its pod\n",
            self.applications.len()
        )
    }
}
