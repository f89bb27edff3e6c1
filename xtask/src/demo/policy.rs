//! A policy that denies a connection between two pods of the mesh, and what the proxy that denied it says of it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use testkit::lab::Pod;
use testkit::traffic;

use super::cluster::{Cluster, EXCHANGE_PORT};
use super::identities::value;
use crate::progress::Progress;

/// How long the connection's line may take to be written.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// For the local file of both proxies: nobody in the namespace of `shop` is to be reached by `cart`.
pub(crate) fn policies(cart: &Pod, shop: &Pod) -> String {
    let (identity, namespace) = (cart.identity(), &shop.spec.namespace);
    let principal = identity.trim_start_matches("spiffe://");
    format!(
        "- name: no-{}\n  namespace: {namespace}\n  scope: Namespace\n  action: Deny\n  \
         rules: [[[{{principals: [!Exact {principal}]}}]]]\n  dryRun: false",
        cart.spec.name
    )
}

/// A connection that was tried, and what came of it.
pub(crate) struct Denied {
    source: Arc<Pod>,
    destination: Arc<Pod>,
    /// Bytes that the application answered.
    answered: usize,
    /// As the destination's proxy tells it.
    reason: String,
}

impl Denied {
    pub(crate) fn is_as_promised(&self) -> bool {
        self.answered == 0 && self.reason.contains("policy")
    }
}

/// Tries to get an answer from `shop` in `cart`.
pub(crate) fn observe(cluster: &mut Cluster, progress: &Progress) -> Result<Denied> {
    let (source, destination) = (Arc::clone(&cluster.cart), Arc::clone(&cluster.shop));
    progress.step("trying a connection that a policy denies");
    let stream = traffic::connect(&source.netns, (destination.ipv4, EXCHANGE_PORT))?;
    // It may be over before anything is said; then there is no answer either.
    let said = (&stream).write_all(b"hello");
    let answered = said.and_then(|()| traffic::read(&stream, &mut [0; 16])).unwrap_or(0);
    let (from, to) = (format!("={}:", source.ipv4), format!("={}:{EXCHANGE_PORT} ", destination.ipv4));
    let words = ["access", "connection complete", "inbound", &from, &to, "error="];
    let line = cluster.mesh.process_of(1, &destination).wait_for_line(&words, LINE_TIMEOUT)?;
    let reason = value(&line, "error").unwrap_or("no reason given");
    let reason = reason.strip_prefix("denied by policy: ").unwrap_or(reason).to_owned();
    Ok(Denied { source, destination, answered, reason })
}

/// Below the table of who is encrypted.
pub(crate) fn render(denied: &Denied) -> String {
    format!(
        "who may not ({} answered)\n  {:<20} -> {:<20} across     denied     {}{}\n",
        if denied.answered == 0 { "nothing was" } else { "SOMETHING WAS" },
        denied.source.spec.name,
        denied.destination.spec.name,
        denied.reason,
        if denied.is_as_promised() { "" } else { "   NOT AS PROMISED" },
    )
}
