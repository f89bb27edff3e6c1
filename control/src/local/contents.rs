//! The contents of a mesh file, and what changes from one version of it to the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use engine::mesh::{Change, MeshSettings, NetworkAddress, Policy, Service, ServiceName, Workload};
use serde::Deserialize;

use super::LocalError;
use super::policy_document::PolicyDocument;
use super::scalar::plain;
use super::service_document::{EndpointDocument, ServiceDocument};
use super::workload_document::{HealthDocument, WorkloadDocument};

/// Everything that one version of the file says. Checked: no key occurs twice, and no policy is missing.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// In the order of the file: of two with the same address the later one has it.
    workloads: Vec<Arc<Workload>>,
    services: BTreeMap<ServiceName, Arc<Service>>,
    policies: BTreeMap<Arc<str>, Arc<Policy>>,
    /// What was read but has no effect, in words.
    pub notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a map of workloads, services and policies"
)]
struct Document {
    #[serde(default)]
    workloads: Option<Vec<WorkloadDocument>>,
    #[serde(default)]
    services: Option<Vec<ServiceDocument>>,
    #[serde(default)]
    policies: Option<Vec<PolicyDocument>>,
}

impl Contents {
    /// Reads YAML; `file` is what errors call it.
    pub fn parse(file: &str, text: &str, settings: &MeshSettings) -> Result<Self, LocalError> {
        let document = serde_norway::from_str(text).map_err(|error| LocalError::syntax(file, &error))?;
        match document {
            // An empty mesh means plain TCP for everybody: a file that was cut off must not be mistaken for one.
            None | Some(Document { workloads: None, services: None, policies: None }) => {
                let problem = "it has nothing in it: write `workloads: []` if there are no workloads";
                Err(LocalError::meaning(file, problem))
            }
            Some(document) => {
                Self::of(document, settings).map_err(|problems| LocalError::meanings(file, &problems))
            }
        }
    }

    /// Or everything that is wrong: who corrects a file should have to do it once.
    fn of(document: Document, settings: &MeshSettings) -> Result<Self, Vec<String>> {
        let mut contents = Self::default();
        let mut problems = Vec::new();
        let mut workloads = Workloads::default();
        for document in document.workloads.unwrap_or_default() {
            let added = document.into_workload(settings).and_then(|workload| workloads.add(workload));
            problems.extend(added.err());
        }
        for mut document in document.services.unwrap_or_default() {
            let endpoints = std::mem::take(&mut document.endpoints);
            let service = document.into_service(&mut contents.notes);
            for endpoint in endpoints.into_values() {
                workloads.add_endpoint(&service, endpoint, &mut contents.notes);
            }
            let key = service.key.clone();
            if contents.services.insert(key.clone(), Arc::new(service)).is_some() {
                problems.push(format!("service {key} is there twice: write one of them"));
            }
        }
        for document in document.policies.unwrap_or_default() {
            let policy = match document.into_policy() {
                Ok(policy) => policy,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let key = policy.key();
            if contents.policies.insert(Arc::clone(&key), Arc::new(policy)).is_some() {
                problems.push(format!("policy {key} is there twice: give one of them another name"));
            }
        }
        contents.workloads = workloads.in_order.into_iter().map(Arc::new).collect();
        // What is left out because it is wrong itself would be told twice.
        if problems.is_empty() {
            problems.extend(contents.missing_policies());
        }
        if problems.is_empty() { Ok(contents) } else { Err(problems) }
    }

    /// A policy that nobody can read cannot be obeyed.
    fn missing_policies(&self) -> impl Iterator<Item = String> {
        self.workloads.iter().filter_map(|workload| {
            let missing = |key: &&Arc<str>| !self.policies.contains_key(*key);
            let key = workload.authorization_policies.iter().find(missing)?;
            Some(format!(
                "workload {}: its authorizationPolicies name `{key}`, which is not among the policies: write it as \
                 `namespace/name` of one that is",
                workload.uid
            ))
        })
    }

    /// What to do to a snapshot that has the contents of `before`. Nothing is there for a moment without its policy:
    /// policies come first and go last.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let changed = self.policies.iter().filter(|(key, policy)| before.policies.get(*key) != Some(*policy));
        changes.extend(changed.map(|(_, policy)| Change::UpsertPolicy(Arc::clone(policy))));
        let changed =
            self.services.iter().filter(|(key, service)| before.services.get(*key) != Some(*service));
        changes.extend(changed.map(|(_, service)| Change::UpsertService(Arc::clone(service))));

        let old: HashMap<&str, &Arc<Workload>> = before.workloads.iter().map(|w| (&*w.uid, w)).collect();
        let contested = self.contested();
        for workload in &self.workloads {
            // The order of upserts decides about an address, so all of those who want it have to be upserted again.
            if old.get(&*workload.uid) != Some(&workload) || contested.contains(&*workload.uid) {
                changes.push(Change::UpsertWorkload(Arc::clone(workload)));
            }
        }
        let kept: BTreeSet<&str> = self.workloads.iter().map(|workload| &*workload.uid).collect();
        let gone = before.workloads.iter().filter(|workload| !kept.contains(&*workload.uid));
        changes.extend(gone.map(|workload| Change::RemoveWorkload(Arc::clone(&workload.uid))));
        let gone = before.services.keys().filter(|key| !self.services.contains_key(*key));
        changes.extend(gone.map(|key| Change::RemoveService(key.clone())));
        let gone = before.policies.keys().filter(|key| !self.policies.contains_key(*key));
        changes.extend(gone.map(|key| Change::RemovePolicy(Arc::clone(key))));
        changes
    }

    /// The workloads that share an address with another one.
    fn contested(&self) -> BTreeSet<&str> {
        let mut owners: HashMap<NetworkAddress, &str> = HashMap::new();
        let mut contested = BTreeSet::new();
        for workload in &self.workloads {
            for address in workload.own_addresses() {
                if let Some(other) = owners.insert(address, &workload.uid) {
                    contested.extend([other, &*workload.uid]);
                }
            }
        }
        contested
    }
}

#[derive(Default)]
struct Workloads {
    in_order: Vec<Workload>,
    by_uid: HashMap<Arc<str>, usize>,
}

impl Workloads {
    fn add(&mut self, workload: Workload) -> Result<(), String> {
        if self.by_uid.insert(Arc::clone(&workload.uid), self.in_order.len()).is_some() {
            return Err(format!("workload {} is there twice: give one of them another uid", workload.uid));
        }
        self.in_order.push(workload);
        Ok(())
    }

    /// What the workload says itself counts more.
    fn add_endpoint(&mut self, service: &Service, endpoint: EndpointDocument, notes: &mut Vec<String>) {
        let (uid, key) = (endpoint.workload_uid, &service.key);
        if endpoint.status == HealthDocument::Unhealthy && !service.load_balancing.allow_unhealthy {
            return;
        }
        match self.by_uid.get(uid.as_str()) {
            Some(index) => {
                self.in_order[*index].services.entry(key.clone()).or_insert_with(|| plain(endpoint.port));
            }
            None => notes
                .push(format!("service {key}: its endpoint {uid} is ignored, for there is no such workload")),
        }
    }
}

#[cfg(test)]
mod tests;
