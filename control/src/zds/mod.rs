//! ZDS: the pods of this node, from its agent, each with its network namespace.
//!
//! The agent asks, one thing at a time, and waits for the answer: [`Client`] keeps the connection, [`session`] knows
//! what may be asked when, [`packet`] moves bytes and descriptors. What a request changes is told to the reconciler and
//! answered as soon as that has tried: an agent may hold locks until it hears from us, so the answer waits for nothing
//! but the listeners of the pod, and not for long. What fails there is tried again inside; only what can never work is
//! refused.

mod announced;
mod client;
mod packet;
mod session;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

pub(crate) use announced::AnnouncedPod;
pub(crate) use client::Client;

/// Changes that wait for the reconciler. The agent asks one thing at a time, and is answered without it only when that is
/// slow: behind so many the agent has to wait.
pub(crate) const POD_EVENTS_MAX: usize = 64;

/// What the agent said of the pods of this node.
#[derive(Debug)]
pub(crate) enum PodChange {
    /// This one is here; it may be known already.
    Come(AnnouncedPod),
    Gone(Arc<str>),
    /// All have been named, by uid: others are gone.
    All(BTreeSet<Arc<str>>),
    /// The agent cannot be heard: nothing is known to be complete, and nothing changes.
    Lost,
}

/// A change, and who waits until it was tried.
#[derive(Debug)]
pub(crate) struct PodEvent {
    pub(crate) change: PodChange,
    pub(crate) done: oneshot::Sender<()>,
}
