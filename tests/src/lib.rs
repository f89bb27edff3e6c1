//! Nodes and pods in network namespaces: what the system tests, the demo and the measurements stand on.
//!
//! Everything is plain blocking code on threads. A [`lab::Lab`] is nodes and pods joined by a fabric, a [`mesh::Mesh`]
//! is a lab with proxies on it, a [`capture::Capture`] is what was seen on a wire, and [`traffic`] holds the
//! applications that talk. Whatever is made here is gone when its owner is dropped, and also when the whole process
//! is killed: see [`run`].
#![forbid(unsafe_code)]

#[cfg(feature = "certificates")]
pub mod authority;
pub mod capture;
pub mod curl;
pub mod failed_wait;
#[cfg(feature = "certificates")]
pub mod hostile;
pub mod iperf;
pub mod lab;
pub mod mesh;
pub mod netns;
pub mod pcap;
#[cfg(feature = "planes")]
pub mod planes;
pub mod process;
pub mod proxy;
pub mod redirect;
pub mod run;
pub mod shell;
pub mod spire;
pub mod task_limit;
pub mod traffic;
pub mod wire;
