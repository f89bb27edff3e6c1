//! The pods of this node, where no control plane announces them: whose network namespace is where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::engine::Pod;
use serde::Deserialize;

use super::{LocalError, Watched};
use crate::netns::{self, NetnsError};

/// Reads the pods, and reads them again whenever the file changes.
#[derive(Debug)]
pub struct PodsFile {
    watched: Watched,
    /// The last good ones.
    pods: BTreeMap<Arc<str>, LocalPod>,
}

/// A pod as it is written in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPod {
    pub uid: Arc<str>,
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
    /// Where its network namespace is found, such as `/run/netns/cart`.
    pub netns: PathBuf,
}

/// From one version of the file to the next. A pod that changed has gone and come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodChanges {
    pub gone: Vec<LocalPod>,
    pub come: Vec<LocalPod>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map with `pods`")]
struct Document {
    #[serde(default)]
    pods: Option<Vec<PodDocument>>,
}

#[derive(Debug, Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a pod: a map of uid, name, namespace, serviceAccount and netns"
)]
struct PodDocument {
    uid: String,
    name: String,
    namespace: String,
    service_account: String,
    netns: PathBuf,
}

// === impl PodsFile ===

impl PodsFile {
    pub fn new(path: &Path) -> Self {
        Self { watched: Watched::new(path), pods: BTreeMap::new() }
    }

    pub fn path(&self) -> &Path {
        self.watched.path()
    }

    /// What has come and gone since the last time; waits until there is something to say. An error changes nothing,
    /// and it is over when there are changes again, even if they are empty.
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn changes(&mut self) -> Result<PodChanges, LocalError> {
        let text = self.watched.changed().await?;
        let pods = parse(&self.watched.path().display().to_string(), &text)?;
        let changes = PodChanges::between(&self.pods, &pods);
        self.pods = pods;
        Ok(changes)
    }
}

fn parse(file: &str, text: &str) -> Result<BTreeMap<Arc<str>, LocalPod>, LocalError> {
    let document: Option<Document> =
        serde_norway::from_str(text).map_err(|error| LocalError::syntax(file, &error))?;
    // A file that was cut off must not be mistaken for a node without pods.
    let pods = document.and_then(|document| document.pods).ok_or_else(|| {
        LocalError::meaning(file, "it has nothing in it: write `pods: []` if there are no pods")
    })?;
    check(pods).map_err(|problems| LocalError::meanings(file, &problems))
}

/// The pods, or everything that is wrong with them.
fn check(documents: Vec<PodDocument>) -> Result<BTreeMap<Arc<str>, LocalPod>, Vec<String>> {
    let mut pods = BTreeMap::new();
    let mut problems = Vec::new();
    let mut names = BTreeMap::new();
    let mut namespaces = BTreeMap::new();
    for document in documents {
        let pod = match LocalPod::check(document) {
            Ok(pod) => pod,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let uid = Arc::clone(&pod.uid);
        let name = (Arc::clone(&pod.namespace), Arc::clone(&pod.name));
        if let Some(other) = names.insert(name, Arc::clone(&uid)) {
            problems.push(format!(
                "pods {other} and {uid} are both called {} in namespace {}: no two pods of a namespace have one name",
                pod.name, pod.namespace
            ));
        }
        if let Some(other) = namespaces.insert(pod.netns.clone(), Arc::clone(&uid)) {
            problems.push(format!(
                "pods {other} and {uid} both have the network namespace {}: give each its own",
                pod.netns.display()
            ));
        }
        if pods.insert(Arc::clone(&uid), pod).is_some() {
            problems.push(format!("pod {uid} is there twice: give one of them another uid"));
        }
    }
    if problems.is_empty() { Ok(pods) } else { Err(problems) }
}

// === impl LocalPod ===

impl LocalPod {
    fn check(pod: PodDocument) -> Result<Self, String> {
        let PodDocument { uid, name, namespace, service_account, netns } = pod;
        for (field, value) in
            [("uid", &uid), ("name", &name), ("namespace", &namespace), ("serviceAccount", &service_account)]
        {
            if value.is_empty() {
                return Err(format!("pod `{uid}` ({namespace}/{name}) has an empty {field}: fill it in"));
            }
        }
        if !netns.is_absolute() {
            return Err(format!(
                "pod {uid}: `{}` is not an absolute path: write one such as /run/netns/{name}",
                netns.display()
            ));
        }
        Ok(Self {
            uid: uid.into(),
            name: name.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
            netns,
        })
    }

    /// Opens its network namespace.
    pub fn open(&self) -> Result<Pod, NetnsError> {
        Ok(Pod {
            uid: Arc::clone(&self.uid),
            name: Arc::clone(&self.name),
            namespace: Arc::clone(&self.namespace),
            service_account: Arc::clone(&self.service_account),
            netns: Some(netns::open(&self.netns)?),
        })
    }
}

// === impl PodChanges ===

impl PodChanges {
    fn between(before: &BTreeMap<Arc<str>, LocalPod>, after: &BTreeMap<Arc<str>, LocalPod>) -> Self {
        let missing_in = |pods: &BTreeMap<Arc<str>, LocalPod>, others: &BTreeMap<Arc<str>, LocalPod>| {
            pods.values().filter(|pod| others.get(&pod.uid) != Some(*pod)).cloned().collect()
        };
        Self { gone: missing_in(before, after), come: missing_in(after, before) }
    }
}

#[cfg(test)]
mod tests;
