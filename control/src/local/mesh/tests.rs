#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use engine::mesh::Snapshot;
use tempfile::TempDir;

use super::*;

/// A file, and the snapshot that its changes are applied to.
struct Setting {
    _directory: TempDir,
    path: PathBuf,
    mesh: LocalMesh,
    snapshot: Snapshot,
}

impl Setting {
    fn new(text: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("mesh.yaml");
        fs::write(&path, text).unwrap();
        let mesh = LocalMesh::file(&path, MeshSettings::default());
        Self { _directory: directory, path, mesh, snapshot: Snapshot::default() }
    }

    fn write(&self, text: &str) {
        let new = self.path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &self.path).unwrap();
    }

    async fn next(&mut self) -> Result<usize, String> {
        let changes = self.mesh.changes().await.map_err(|error| error.to_string())?;
        let count = changes.len();
        for change in changes {
            self.snapshot.apply(change);
        }
        Ok(count)
    }

    fn uids(&self) -> Vec<&str> {
        let mut uids: Vec<&str> = self.snapshot.workloads().map(|workload| &*workload.uid).collect();
        uids.sort_unstable();
        uids
    }

    async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(60), self.mesh.changes()).await.is_err()
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_changes_the_snapshot() {
    let mut setting = Setting::new("workloads: [{uid: a, namespace: shop}, {uid: b, namespace: shop}]\n");
    assert_eq!(setting.next().await, Ok(2));
    assert_eq!(setting.uids(), ["a", "b"]);
    assert!(setting.is_quiet().await);

    setting.write("workloads: [{uid: b, namespace: shop}, {uid: c, namespace: shop}]\n");
    assert_eq!(setting.next().await, Ok(2));
    assert_eq!(setting.uids(), ["b", "c"]);

    setting.write("# Another comment.\nworkloads: [{uid: b, namespace: shop}, {uid: c, namespace: shop}]\n");
    assert_eq!(setting.next().await, Ok(0));
    setting.write("workloads: []\n");
    assert_eq!(setting.next().await, Ok(2));
    assert!(setting.uids().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_is_an_error_once_and_changes_nothing() {
    let good = "workloads: [{uid: a, namespace: shop}]\n";
    let mut setting = Setting::new(good);
    assert_eq!(setting.next().await, Ok(1));

    for broken in ["", "workloads: [{uid: b, namesp", "workloads:\n- uid: b\n", "# Half of\n"] {
        setting.write(broken);
        let error = setting.next().await.unwrap_err();
        assert!(error.starts_with(&setting.path.display().to_string()), "{error}");
        assert!(setting.is_quiet().await, "reported once");
        assert_eq!(setting.uids(), ["a"]);
    }
    setting.write(good);
    assert_eq!(setting.next().await, Ok(0), "the error is over");

    fs::remove_file(&setting.path).unwrap();
    assert!(setting.next().await.unwrap_err().contains("there is no such file"));
    assert_eq!(setting.uids(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn inline_text_is_read_once() {
    let text = "workloads: [{uid: a, namespace: shop}]";
    let mut mesh = LocalMesh::inline(text.to_owned(), MeshSettings::default());
    assert_eq!(mesh.changes().await.map(|changes| changes.len()), Ok(1));
    assert!(tokio::time::timeout(Duration::from_secs(60), mesh.changes()).await.is_err());

    let mut broken = LocalMesh::inline("workload: []".to_owned(), MeshSettings::default());
    let error = broken.changes().await.unwrap_err().to_string();
    assert!(error.starts_with("LOCAL_XDS:1:1: unknown field `workload`"), "{error}");
}
