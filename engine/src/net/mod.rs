//! Sockets: made in a pod's namespace, with the options of the contract, and what can be asked of an accepted one.
//!
//! With `uring` the only place of the engine where `unsafe` may stand: socket options that no library wraps.
#![allow(unsafe_code)]

mod accepted;
mod listener;
mod migration;
mod namespace;
mod socket;

pub(crate) use accepted::{Accepted, Port, local_address};
pub(crate) use listener::{listen, may_keep_source};
pub(crate) use migration::Migration;
pub(crate) use namespace::Namespace;
pub(crate) use socket::{
    SocketOptions, abort_on_close, packet_bytes, shut_down_write, to_application, to_network, was_reset,
};
