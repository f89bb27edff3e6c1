//! Variables that ask for what this version does not have, or that have no effect in it.
//!
//! What concerns safety or reachability refuses the start; what only tunes a part that is not there is a warning.

use super::value::{boolean, is_true};
use super::variables::Variables;

/// Switches that must not be on, and why.
const NOT_ON: [(&str, &str); 6] = [
    ("TLS12_ENABLED", "tunnels are TLS 1.3 only; unset it, every ztunnel speaks TLS 1.3"),
    ("UNSTABLE_ENABLE_SOCKS5", "there is no SOCKS5 listener; unset it"),
    ("XDS_ON_DEMAND", "there is no on-demand xDS in this version; unset it"),
    ("FAKE_CA", "there is no fake CA; unset it, RINGWAY_CA_DIR names the directory of the embedded one"),
    (
        "SPIRE_ENABLED",
        "there is no SPIRE client in this version; unset it, RINGWAY_CA_DIR names the embedded CA's directory",
    ),
    ("ISTIO_META_DNS_CAPTURE", "there is no DNS proxy; set it to false, and do not redirect DNS"),
];

/// Variables that must not be set at all, and why.
const NOT_SET: [(&str, &str); 1] = [(
    "CRL_PATH",
    "revocation lists are not checked in this version; unset it, and keep RINGWAY_CA_TTL short instead",
)];

/// The one policy on algorithms that ztunnel knows, and we do not have.
const COMPLIANCE_POLICY: &str = "COMPLIANCE_POLICY";

/// Notes a problem for each variable that asks for what we do not have.
pub(super) fn check(variables: &mut Variables<'_>) {
    for (name, reason) in NOT_ON {
        if let Some(value) = variables.text(name).filter(|value| is_true(value)) {
            variables.refuse(name, Some(value), reason);
        }
    }
    for (name, reason) in NOT_SET {
        if let Some(value) = variables.text(name) {
            variables.refuse(name, Some(value), reason);
        }
    }
    if let Some(policy) = variables.text(COMPLIANCE_POLICY) {
        let reason = match policy.as_str() {
            "pqc" => "post-quantum key exchange is not offered in this version; unset it",
            _ => "no such policy is known here; unset it",
        };
        variables.refuse(COMPLIANCE_POLICY, Some(policy), reason);
    }
    if variables.parsed("ENABLE_PROXY", boolean) == Some(false) {
        variables.refuse(
            "ENABLE_PROXY",
            Some("false".to_owned()),
            "the proxy is all there is to run; unset it",
        );
    }
}

/// Control planes that are named, and that this version does not speak to. What stands in for each must be set.
pub(super) fn check_control_planes(variables: &mut Variables<'_>, present: &Present) {
    let planes = [
        ("XDS_ADDRESS", present.local_mesh, "xDS", "LOCAL_XDS_PATH to a file that describes the mesh"),
        ("CA_ADDRESS", present.ca, "CA", "RINGWAY_CA_DIR to the embedded CA's directory"),
        ("INPOD_UDS", present.pods, "ZDS", "RINGWAY_PODS_PATH to a file that lists the pods"),
    ];
    for (name, stood_in, client, instead) in planes {
        let Some(value) = variables.text(name) else { continue };
        if stood_in {
            variables
                .warn(format!("{name}={value} has no effect: there is no {client} client in this version"));
        } else {
            variables.refuse(
                name,
                Some(value),
                format!("there is no {client} client in this version; set {instead}"),
            );
        }
    }
}

/// Which local sources are named.
pub(super) struct Present {
    pub(super) local_mesh: bool,
    pub(super) ca: bool,
    /// The pods file, or dedicated mode, which needs none.
    pub(super) pods: bool,
}
