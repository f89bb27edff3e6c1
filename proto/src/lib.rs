//! The messages that ringway exchanges with control planes, and the one it writes profiles in.
//!
//! Written from the public field tables of each protocol, and no more of them than is used: unknown fields are passed
//! over when a message is read. `proto/` holds the sources; what stands here is generated when the crate is built.
#![forbid(unsafe_code)]

/// A module for one generated package. The documentation is that of the `.proto` files.
macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(missing_docs, unreachable_pub, unused_qualifications, elided_lifetimes_in_paths)]
        #[allow(clippy::all, clippy::clone_on_ref_ptr, clippy::use_self, clippy::manual_let_else)]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

package!(
    /// Pods of the node, from its agent.
    zds,
    "istio.workload.zds"
);
package!(
    /// Delta xDS.
    discovery,
    "envoy.service.discovery.v3"
);
package!(
    /// Workloads and services.
    workload,
    "istio.workload"
);
package!(
    /// Policies.
    security,
    "istio.security"
);
package!(
    /// Certificates for signing requests.
    ca,
    "istio.v1.auth"
);
package!(
    /// Which process a pod runs.
    cri,
    "runtime.v1"
);

package!(
    /// SVIDs of the pods of this node, from SPIRE's agent.
    spire,
    "spire.api.agent.delegatedidentity.v1"
);
package!(
    /// Where time went, as `go tool pprof` and its like read it.
    profile,
    "perftools.profiles"
);

/// The names of xDS resource types.
pub mod type_url {
    /// [`crate::workload::Address`]
    pub const ADDRESS: &str = "type.googleapis.com/istio.workload.Address";
    /// [`crate::security::Authorization`]
    pub const AUTHORIZATION: &str = "type.googleapis.com/istio.security.Authorization";
}
