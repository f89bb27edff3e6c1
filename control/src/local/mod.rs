//! What a person writes down instead of a control plane: the mesh (`LOCAL_XDS_PATH`, `LOCAL_XDS`) and the pods of this
//! node.
//!
//! [`LocalMesh`] turns the YAML that ztunnel reads, and every later version of it, into changes of a snapshot;
//! [`PodsFile`] does the same for pods. Both watch their file. A file that is wrong changes nothing: the last good one
//! stays in force, and the error, which says where and what to write instead, is returned once for each time the file
//! changes.

mod contents;
mod error;
mod mesh;
mod pods;
mod policy_document;
mod scalar;
mod service_document;
mod watched;
mod workload_document;

pub use contents::Contents;
pub use error::LocalError;
pub use mesh::LocalMesh;
pub use pods::{LocalPod, PodChanges, PodsFile};
pub(crate) use policy_document::refuse_unsound;
pub use watched::{FILE_BYTES_MAX, POLL_INTERVAL_MS, STANDSTILL_MS, WatchError, Watched};
