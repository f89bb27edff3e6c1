//! The messages that ringway exchanges with control planes.
//!
//! None is spoken yet: the mesh, the pods and the certificates come from files (`control::local`, `control::ca`).
#![forbid(unsafe_code)]
