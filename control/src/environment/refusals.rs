//! Variables that ask for what this version does not have, or that have no effect in it.
//!
//! What concerns safety or reachability refuses the start; what only tunes a part that is not there is a warning.

use super::value::{boolean, is_true};
use super::variables::Variables;

/// Switches that must not be on, and why.
const NOT_ON: [(&str, &str); 5] = [
    ("TLS12_ENABLED", "tunnels are TLS 1.3 only; unset it, every ztunnel speaks TLS 1.3"),
    ("UNSTABLE_ENABLE_SOCKS5", "there is no SOCKS5 listener; unset it"),
    ("XDS_ON_DEMAND", "there is no on-demand xDS in this version; unset it"),
    ("FAKE_CA", "there is no fake CA; unset it, RINGWAY_CA_DIR names the directory of the embedded one"),
    ("ISTIO_META_DNS_CAPTURE", "there is no DNS proxy; set it to false, and do not redirect DNS"),
];

/// The one policy on algorithms that ztunnel knows, and we do not have.
const COMPLIANCE_POLICY: &str = "COMPLIANCE_POLICY";

/// Notes a problem for each variable that asks for what we do not have.
pub(super) fn check(variables: &mut Variables) {
    for (name, reason) in NOT_ON {
        if let Some(value) = variables.text(name).filter(|value| is_true(value)) {
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
