//! The control planes of the environment: who says what the mesh is, which pods are ours, and who signs certificates.
//!
//! What is written down locally (`LOCAL_XDS_PATH`, `RINGWAY_PODS_PATH`, `RINGWAY_CA_DIR`) goes before a control plane
//! that is named as well, with a warning: charts name control planes whether they are there or not.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::engine::mesh::TrustDomain;
use serde_json::{Map, Value};

use super::value::{boolean, duration, positive_duration};
use super::variables::Variables;
use super::{
    Attestation, CaSettings, CertificateSettings, ChannelSettings, Endpoint, IstioCaSettings, MeshSource,
    NodeSettings, PodSource, Root, SpireSettings, Token, XdsSettings,
};

/// A certificate that lives shorter is renewed more often than a busy CA can be asked.
const CA_TTL_SECONDS_MIN: u64 = 10;

/// A TTL beyond this makes "short-lived" a lie; the embedded CA has no revocation.
const CA_TTL_SECONDS_MAX: u64 = 90 * 86_400;

/// Where Istio's control plane is found in a cluster of its own charts.
const ISTIOD: &str = "https://istiod.istio-system.svc:15012";

/// Where Istio's CNI serves its pods.
const ZDS_SOCKET: &str = "/var/run/ztunnel/ztunnel.sock";

/// Where charts mount the root that control planes are verified with.
const ROOT_PATH: &str = "./var/run/secrets/istio/root-cert.pem";

/// Where SPIRE's agent serves delegates unless told otherwise.
const SPIRE_ADMIN_SOCKET: &str = "/run/spire/sockets/admin.sock";

/// Where containerd serves the container runtime interface.
const RUNTIME_SOCKET: &str = "/run/containerd/containerd.sock";

/// Who describes the mesh.
pub(super) fn mesh_source(variables: &mut Variables, discovery: Option<&str>) -> Option<MeshSource> {
    let local = match (variables.text("LOCAL_XDS_PATH"), variables.text("LOCAL_XDS")) {
        (Some(path), Some(_)) => {
            let reason = "LOCAL_XDS is set as well; set only one of them";
            variables.refuse("LOCAL_XDS_PATH", Some(path.clone()), reason);
            Some(MeshSource::File(path.into()))
        }
        (Some(path), None) => Some(MeshSource::File(path.into())),
        (None, Some(text)) => Some(MeshSource::Inline(text)),
        (None, None) => None,
    };
    if let Some(local) = local {
        if let Some(value) = variables.text("XDS_ADDRESS") {
            variables.warn(format!("XDS_ADDRESS={value} has no effect: the mesh is described locally"));
        }
        return Some(local);
    }
    let named = variables.text("XDS_ADDRESS").or_else(|| discovery.map(str::to_owned));
    let Some(address) = named.or_else(|| in_kubernetes(variables)) else {
        variables.refuse(
            "XDS_ADDRESS",
            None,
            "must name the xDS server, or LOCAL_XDS_PATH a file that describes the mesh",
        );
        return None;
    };
    let channel = channel(variables, &XDS_NAMES, &address)?;
    Some(MeshSource::Xds(Box::new(XdsSettings { channel, node: node(variables) })))
}

/// Who names the pods of this node.
pub(super) fn pod_source(variables: &mut Variables, mesh: Option<&MeshSource>) -> Option<PodSource> {
    let socket = variables.text("INPOD_UDS");
    if let Some(path) = variables.text("RINGWAY_PODS_PATH") {
        if let Some(value) = socket {
            variables.warn(format!("INPOD_UDS={value} has no effect: RINGWAY_PODS_PATH lists the pods"));
        }
        return Some(PodSource::File(path.into()));
    }
    if let Some(path) = socket {
        return Some(PodSource::Zds(path.into()));
    }
    if matches!(mesh, Some(MeshSource::Xds(_))) {
        return Some(PodSource::Zds(ZDS_SOCKET.into()));
    }
    variables.refuse(
        "RINGWAY_PODS_PATH",
        None,
        "must name a file that lists the pods, or INPOD_UDS the socket of a node agent, or set PROXY_MODE=dedicated",
    );
    None
}

/// Who signs the certificates of the pods; `dedicated` where all are those of one pod, which asks itself.
pub(super) fn certificates(variables: &mut Variables, dedicated: bool) -> Option<CertificateSettings> {
    let embedded = embedded(variables);
    let ttl = variables.parsed("SECRET_TTL", positive_duration);
    let address = variables.text("CA_ADDRESS");
    let spire = variables.parsed("SPIRE_ENABLED", boolean) == Some(true);
    if spire {
        if let (Some(domain), None) = (variables.text("CLUSTER_DOMAIN"), variables.text("TRUST_DOMAIN")) {
            variables.warn(format!(
                "TRUST_DOMAIN is not set and is taken to be cluster.local: CLUSTER_DOMAIN={domain} does not say which \
                 trust domain is SPIRE's"
            ));
        }
        if let Some(embedded) = embedded {
            variables.refuse(
                "RINGWAY_CA_DIR",
                Some(embedded.dir.display().to_string()),
                "SPIRE_ENABLED is true as well; unset one of them",
            );
        }
        return Some(CertificateSettings::Spire(self::spire(variables)?));
    }
    if let Some(embedded) = embedded {
        if let Some(value) = address {
            variables.warn(format!("CA_ADDRESS={value} has no effect: RINGWAY_CA_DIR names the CA"));
        }
        return Some(CertificateSettings::Embedded(embedded));
    }
    let Some(address) = address.or_else(|| in_kubernetes(variables)) else {
        variables.refuse(
            "RINGWAY_CA_DIR",
            None,
            "must name an existing directory for the embedded CA, whose root is made on first start; or CA_ADDRESS an Istio-style CA, or set \
             SPIRE_ENABLED=true",
        );
        return None;
    };
    let channel = channel(variables, &CA_NAMES, &address)?;
    Some(CertificateSettings::Istio(IstioCaSettings {
        channel,
        ttl: ttl.unwrap_or(Duration::from_secs(86_400)),
        on_behalf: !dedicated,
    }))
}

fn embedded(variables: &mut Variables) -> Option<CaSettings> {
    let ttl = variables.parsed("RINGWAY_CA_TTL", |text| {
        duration(text).and_then(|ttl| {
            let accepted = CA_TTL_SECONDS_MIN..=CA_TTL_SECONDS_MAX;
            if accepted.contains(&ttl.as_secs()) {
                Ok(ttl)
            } else {
                Err("must be from 10s to 90d".to_owned())
            }
        })
    });
    let dir = variables.text("RINGWAY_CA_DIR")?;
    Some(CaSettings { dir: dir.into(), ttl: ttl.unwrap_or(Duration::from_secs(3_600)) })
}

fn spire(variables: &mut Variables) -> Option<SpireSettings> {
    let admin_socket = match variables.text("SPIRE_ADMIN_ENDPOINT_SOCKET") {
        None => SPIRE_ADMIN_SOCKET.into(),
        Some(_) => variables.parsed("SPIRE_ADMIN_ENDPOINT_SOCKET", socket)?,
    };
    let attestation = variables
        .parsed("RINGWAY_SPIRE_ATTEST", |text| match text {
            "pid" => Ok(true),
            "selectors" => Ok(false),
            _ => {
                Err("must be pid (the process of each pod) or selectors (its namespace and service account)")
            }
        })
        .unwrap_or(true);
    let runtime_socket = match variables.text("CONTAINER_RUNTIME_SOCK_PATH") {
        None => RUNTIME_SOCKET.into(),
        Some(_) => variables.parsed("CONTAINER_RUNTIME_SOCK_PATH", socket)?,
    };
    let federated = variables.parsed("RINGWAY_SPIRE_FEDERATED_TRUST_DOMAINS", |text| {
        text.split(',').map(|name| trust_domain(name.trim())).collect::<Result<Vec<_>, _>>()
    });
    Some(SpireSettings {
        admin_socket,
        attestation: if attestation { Attestation::Pid { runtime_socket } } else { Attestation::Selectors },
        timeout: variables.parsed("SPIRE_TIMEOUT", positive_duration).unwrap_or(Duration::from_secs(10)),
        federated: federated.unwrap_or_default(),
    })
}

/// A socket as `/path`, `unix:/path`, `unix:///path`.
fn socket(text: &str) -> Result<PathBuf, &'static str> {
    match Endpoint::parse(text) {
        Ok(Endpoint::Unix(path)) => Ok(path),
        _ if text.starts_with('/') => Ok(text.into()),
        _ => Err("must be the absolute path of a unix socket, such as /run/socket or unix:///run/socket"),
    }
}

/// SPIFFE ID §2.1: letters in lower case, digits, dots, dashes and underscores.
pub(super) fn trust_domain(text: &str) -> Result<TrustDomain, &'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    if !text.is_empty() && text.chars().all(allowed) {
        Ok(TrustDomain::new(text))
    } else {
        Err("must be a SPIFFE trust domain without scheme, such as cluster.local")
    }
}

fn in_kubernetes(variables: &Variables) -> Option<String> {
    variables.text("KUBERNETES_SERVICE_HOST").map(|_| ISTIOD.to_owned())
}

/// The variables of one channel to a control plane.
struct ChannelNames {
    address: &'static str,
    root: &'static str,
    alternative: &'static str,
    header: &'static str,
}

const XDS_NAMES: ChannelNames = ChannelNames {
    address: "XDS_ADDRESS",
    root: "XDS_ROOT_CA",
    alternative: "ALT_XDS_HOSTNAME",
    header: "XDS_HEADER_",
};

const CA_NAMES: ChannelNames = ChannelNames {
    address: "CA_ADDRESS",
    root: "CA_ROOT_CA",
    alternative: "ALT_CA_HOSTNAME",
    header: "CA_HEADER_",
};

fn channel(variables: &mut Variables, names: &ChannelNames, address: &str) -> Option<ChannelSettings> {
    let endpoint = match Endpoint::parse(address) {
        Ok(endpoint) => endpoint,
        Err(reason) => {
            variables.refuse(names.address, Some(address.to_owned()), reason);
            return None;
        }
    };
    let root = match variables.text(names.root) {
        Some(text) if text == "SYSTEM" => {
            variables.refuse(
                names.root,
                Some(text),
                "the roots of the system are not used; name a file of PEM certificates",
            );
            return None;
        }
        Some(text) if text.contains("-----BEGIN") => Root::Pem(text),
        Some(path) => Root::File(path.into()),
        None => Root::File(ROOT_PATH.into()),
    };
    let token = variables.text("AUTH_TOKEN").map(Token::named).or_else(Token::mounted);
    let headers = variables.with_prefix(names.header);
    Some(ChannelSettings {
        endpoint,
        root,
        alternative_name: variables.text(names.alternative),
        token,
        headers: headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
    })
}

/// Who we say we are to an xDS server (contract: what the reference proxy sends).
fn node(variables: &mut Variables) -> NodeSettings {
    let mut metadata = Map::new();
    for (name, value) in variables.with_prefix("ISTIO_META_") {
        metadata.insert(name, Value::String(value));
    }
    for (name, text) in variables.with_prefix("ISTIO_METAJSON_") {
        match serde_json::from_str(&text) {
            Ok(value) => _ = metadata.insert(name, value),
            Err(error) => {
                variables.warn(format!("ISTIO_METAJSON_{name} is left out: it is no JSON: {error}"))
            }
        }
    }
    NodeSettings {
        instance_ip: variables
            .parsed("INSTANCE_IP", |text| text.parse::<IpAddr>().map_err(|_| "must be an IP address")),
        pod_name: variables.text_or("POD_NAME", ""),
        pod_namespace: variables.text_or("POD_NAMESPACE", ""),
        node_name: variables.text_or("NODE_NAME", ""),
        metadata,
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Every spelling of the contract: `https://host:port`, `http://host:port`, `host:port` (TLS), and of a unix socket
    /// `unix:/path`, `unix:///path`, `unix://localhost/path`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let accepted = || {
            "must be https://host:port, http://host:port, or unix:///path with an absolute path".to_owned()
        };
        if let Some(rest) = text.strip_prefix("unix:") {
            let path =
                rest.strip_prefix("//").map_or(rest, |rest| rest.strip_prefix("localhost").unwrap_or(rest));
            let named = path.starts_with('/') && path.chars().any(|c| c != '/');
            return if named { Ok(Self::Unix(path.into())) } else { Err(accepted()) };
        }
        let (tls, authority) = match text.split_once("://") {
            Some(("https", authority)) => (true, authority),
            Some(("http", authority)) => (false, authority),
            Some(_) => return Err(accepted()),
            None => (true, text),
        };
        let authority = authority.trim_end_matches('/');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| accepted())?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || host.contains('/') {
            return Err(accepted());
        }
        Ok(if tls { Self::Tls { host, port } } else { Self::Plain { host, port } })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = |host: &str, port: &u16| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        match self {
            Self::Tls { host, port } => write!(f, "https://{}", authority(host, port)),
            Self::Plain { host, port } => write!(f, "http://{}", authority(host, port)),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_spelling_of_an_address() {
        let tls = |host: &str, port| Some(Endpoint::Tls { host: host.to_owned(), port });
        let plain = |host: &str, port| Some(Endpoint::Plain { host: host.to_owned(), port });
        let unix = |path: &str| Some(Endpoint::Unix(path.into()));
        for (text, expected) in [
            ("https://localhost:15012", tls("localhost", 15012)),
            ("https://localhost:15012/", tls("localhost", 15012)),
            ("istiod.istio-system.svc:15012", tls("istiod.istio-system.svc", 15012)),
            ("https://[::1]:15012", tls("::1", 15012)),
            ("https://istiod", tls("istiod", 443)),
            ("http://127.0.0.1:15010", plain("127.0.0.1", 15010)),
            ("unix:///var/run/cilium/xds.sock", unix("/var/run/cilium/xds.sock")),
            ("unix:/var/run/cilium/xds.sock", unix("/var/run/cilium/xds.sock")),
            ("unix://localhost/var/run/cilium/xds.sock", unix("/var/run/cilium/xds.sock")),
            ("unix:///", None),
            ("unix:", None),
            ("unix://", None),
            ("unix://relative/path", None),
            ("unix:relative", None),
            ("ftp://host:1", None),
            ("https://", None),
            ("https://host:port", None),
            ("https://host:1/path", None),
        ] {
            assert_eq!(Endpoint::parse(text).ok(), expected, "{text}");
        }
    }
}
