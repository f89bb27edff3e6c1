//! The files that tell proxies about the mesh: ztunnel's local xDS file, and ringway's list of pods.
//!
//! Both are replaced by renaming, so that a proxy that watches them never reads a half.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::lab::{Lab, Node, Pod};

/// Parts of the local xDS file that a test writes itself: the YAML items below `services:` and `policies:`.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    pub services: String,
    pub policies: String,
}

/// Writes the local xDS file for all enrolled pods of the lab. The same file serves every proxy.
pub fn write_xds(path: &Path, lab: &Lab, trust_domain: Option<&str>, extra: &Extra) -> Result<()> {
    let mut yaml = String::from("workloads:\n");
    for pod in lab.pods().iter().filter(|pod| pod.spec.enrolled || pod.spec.impostor) {
        yaml += &workload(pod);
        if let Some(trust_domain) = trust_domain {
            yaml += &format!("  trustDomain: {trust_domain}\n");
        }
    }
    for (list, items) in [("services", &extra.services), ("policies", &extra.policies)] {
        if !items.is_empty() {
            yaml += &format!("{list}:\n{items}\n");
        }
    }
    replace(path, &yaml)
}

/// Writes the list of the pods of `node` that its proxy captures.
pub fn write_pods(path: &Path, lab: &Lab, node: &Node) -> Result<()> {
    let pods: String = lab.pods_of(node).filter(|pod| pod.spec.enrolled).map(|pod| entry(pod)).collect();
    let list = if pods.is_empty() { " []\n".to_owned() } else { format!("\n{pods}") };
    replace(path, &format!("pods:{list}"))
}

fn workload(pod: &Pod) -> String {
    let spec = &pod.spec;
    let addresses: Vec<String> = pod.addresses().iter().map(|ip| format!("\"{ip}\"")).collect();
    format!(
        "- uid: \"{}\"\n  name: {}\n  namespace: {}\n  serviceAccount: {}\n  workloadIps: [{}]\n  \
         protocol: HBONE\n  node: {}\n  network: \"\"\n  services: {{}}\n",
        pod.uid,
        spec.name,
        spec.namespace,
        spec.service_account,
        addresses.join(", "),
        pod.node_name,
    )
}

fn entry(pod: &Pod) -> String {
    let spec = &pod.spec;
    format!(
        "- uid: \"{}\"\n  name: {}\n  namespace: {}\n  serviceAccount: {}\n  netns: {}\n",
        pod.uid,
        spec.name,
        spec.namespace,
        spec.service_account,
        pod.netns.path().display(),
    )
}

fn replace(path: &Path, content: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, content).with_context(|| format!("writing {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("replacing {}", path.display()))
}
