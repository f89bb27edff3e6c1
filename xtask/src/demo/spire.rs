//! `--spire`: a SPIRE server and an agent of it, with an entry for every enrolled pod.

use anyhow::{Context, Result};
use testkit::lab::{Lab, Pod};
use testkit::proxy::ProxyOptions;
use testkit::spire::{Attest, RINGWAY_SPIRE_BIN, Selector, SpireAgent, SpireOptions, SpireServer, binaries};

/// What signs the certificates of the pods.
pub(crate) struct Spire {
    // The agent goes first.
    agent: SpireAgent,
    _server: SpireServer,
}

impl Spire {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let server = SpireServer::start(&SpireOptions::default())?;
        for pod in lab.pods().iter().filter(|pod| pod.spec.enrolled) {
            register(&server, pod)?;
        }
        // Both nodes are on this machine, so one agent does for both.
        let agent = server.start_agent("spire-agent")?;
        Ok(Self { agent, _server: server })
    }

    pub(crate) fn serve(&self, proxy: ProxyOptions) -> ProxyOptions {
        self.agent.serve(proxy, &Attest::Selectors)
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "certificates from SPIRE, by its agent's admin socket {}\n",
            self.agent.admin_socket().display()
        )
    }
}

/// Says what is missing before anything is built.
pub(crate) fn require() -> Result<()> {
    binaries().map(drop).with_context(|| {
        format!(
            "the demo with SPIRE needs spire-server and spire-agent (github.com/spiffe/spire/releases): put them into \
             PATH, or name their folder in {RINGWAY_SPIRE_BIN}"
        )
    })
}

fn register(server: &SpireServer, pod: &Pod) -> Result<()> {
    let (namespace, service_account) = (&pod.spec.namespace, &pod.spec.service_account);
    server.register(&pod.spec.name, &pod.identity(), Selector::Kubernetes { namespace, service_account })
}
