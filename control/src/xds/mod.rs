//! The mesh from an xDS server: workloads, services and policies, by delta xDS.
//!
//! [`XdsClient`] holds one stream and turns what the server says into changes of the snapshot. [`session`] is the
//! protocol without I/O, [`resources`] remembers what the server said by name, and the rest reads messages.

mod client;
mod codec;
pub(crate) mod interned;
mod node;
mod policy;
mod resources;
pub(crate) mod service;
mod session;
#[cfg(test)]
mod tests;
pub(crate) mod unread;
mod values;
pub(crate) mod workload;

use engine::mesh::Snapshot;
use tokio::sync::mpsc;

use crate::channel::{Dialer, HeaderError};
use crate::environment::XdsSettings;
use crate::reconciler::MeshUpdate;
use crate::status::Status;
pub(crate) use client::XdsClient;
use node::node;
use session::Session;

/// Parts of responses that wait for the reconciler: enough that neither waits for the other.
const UPDATES_MAX: usize = 2;

/// A client that goes on from what the snapshot holds, and where its updates come out.
pub(crate) fn client(
    settings: &XdsSettings,
    snapshot: &Snapshot,
    status: Status,
) -> Result<(XdsClient, mpsc::Receiver<MeshUpdate>), HeaderError> {
    let mesh = snapshot.settings().clone();
    let dialer = Dialer::new(settings.channel.clone(), &mesh.cluster_id)?;
    let (sender, updates) = mpsc::channel(UPDATES_MAX);
    let session = Session::new(mesh, snapshot);
    Ok((XdsClient::new(dialer, node(&settings.node), session, sender, status), updates))
}
