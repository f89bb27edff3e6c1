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

/// Variables of SPIFFE's broker API begin so (contract 4.5).
const SPIFFE_BROKER: &str = "SPIFFE_BROKER_";

/// The one source of certificates that `CA_PROVIDER` may name; SPIRE's is chosen by `SPIRE_ENABLED`.
const CA_PROVIDER_ISTIO: &str = "istio_ca";

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
    ca_provider(variables);
    if variables.parsed("ENABLE_PROXY", boolean) == Some(false) {
        variables.refuse(
            "ENABLE_PROXY",
            Some("false".to_owned()),
            "the proxy is all there is to run; unset it",
        );
    }
}

/// Certificates would come from somebody else than was asked for.
fn ca_provider(variables: &mut Variables) {
    if let Some(provider) = variables.text("CA_PROVIDER").filter(|provider| provider != CA_PROVIDER_ISTIO) {
        let reason = "must be istio_ca: SPIFFE's broker API and other providers are not there in this version; for SPIRE set \
                      SPIRE_ENABLED=true";
        variables.refuse("CA_PROVIDER", Some(provider), reason);
    }
    let broker: Vec<String> = variables
        .with_prefix(SPIFFE_BROKER)
        .into_iter()
        .map(|(rest, _)| format!("{SPIFFE_BROKER}{rest}"))
        .collect();
    if !broker.is_empty() {
        let reason = format!(
            "{}: SPIFFE's broker API is not there in this version; unset them, SPIRE_ENABLED=true chooses SPIRE's delegated \
             identity API",
            broker.join(", ")
        );
        variables.refuse("SPIFFE_BROKER_*", None, reason);
    }
}
