#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::environment::Machine;
use crate::stand_in::StandIn;

/// A namespace that every machine has: nothing enters it here.
const NETNS: &str = "/proc/self/ns/net";

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";
const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: TempDir::new().unwrap() };
        files.write("mesh.yaml", "workloads: []\n");
        files.write_pods(&[("1", "cart", NETNS)]);
        fs::create_dir(files.path("ca")).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces the file as a whole, as editors and ConfigMaps do.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Pods by uid, service account and namespace path.
    fn write_pods(&self, pods: &[(&str, &str, &str)]) {
        let list: String = pods
            .iter()
            .map(|(uid, account, netns)| {
                format!("- {{uid: \"{uid}\", name: pod-{uid}, namespace: shop, serviceAccount: {account}, netns: {netns}}}\n")
            })
            .collect();
        let text = if list.is_empty() { "pods: []\n".to_owned() } else { format!("pods:\n{list}") };
        self.write("pods.yaml", &text);
    }

    fn environment(&self) -> Environment {
        self.environment_with(&[])
    }

    fn environment_with(&self, more: &[(&str, &str)]) -> Environment {
        let lookup = |name: &str| {
            let set = more.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            let path = |name: &str| Some(self.path(name).display().to_string());
            match name {
                "LOCAL_XDS_PATH" => path("mesh.yaml"),
                "RINGWAY_PODS_PATH" => path("pods.yaml"),
                "RINGWAY_CA_DIR" => path("ca"),
                _ => set,
            }
        };
        Environment::read(lookup, &Machine { allowed: vec![0], cores: 1 }).unwrap()
    }

    async fn open(&self) -> Standalone {
        Standalone::open(&self.environment(), Running::default()).await.unwrap()
    }
}

/// Two pods may not share a namespace in the file; a link to ours is another path to it.
fn second_netns(files: &Files) -> String {
    let link = files.path("netns-2");
    if !link.exists() {
        std::os::unix::fs::symlink(NETNS, &link).unwrap();
    }
    link.display().to_string()
}

/// Follows the files until `enough` holds, in the clock of the test.
async fn run_until(
    standalone: Standalone,
    plane: &StandIn,
    readiness: &Readiness,
    enough: impl Fn() -> bool,
) {
    let held = async {
        while !enough() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        never = standalone.run(plane, readiness) => match never {},
        () = held => {}
    }
}

fn asked(plane: &StandIn, what: &str) -> bool {
    plane.asked.borrow().iter().any(|asked| asked == what)
}

#[tokio::test(start_paused = true)]
async fn credentials_are_published_before_their_pod_comes() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let standalone = files.open().await;
    assert!(
        standalone.snapshot().credentials(&CART.parse().unwrap(), "").is_some(),
        "the engine starts with them"
    );
    run_until(standalone, &plane, &readiness, || asked(&plane, "add 1")).await;
    assert_eq!(plane.take(), ["publish", "add 1"]);
    assert!(plane.has_credentials(CART));
    assert_eq!(readiness.pending(), ["proxy"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_pods_file_is_followed() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let mut standalone = files.open().await;
    standalone.settle(&plane, &readiness).await;
    plane.take();

    let second = second_netns(&files);
    files.write_pods(&[("1", "cart", NETNS), ("2", "web", &second)]);
    let changes = standalone.pods_file.as_mut().unwrap().changes().await.unwrap();
    standalone.pods.apply(changes);
    standalone.settle(&plane, &readiness).await;
    assert_eq!(plane.take(), ["publish", "add 2"]);
    assert!(plane.has_credentials(CART) && plane.has_credentials(WEB));

    // Its service account changes: it goes, and comes with another certificate.
    files.write_pods(&[("1", "web", NETNS), ("2", "web", &second)]);
    let changes = standalone.pods_file.as_mut().unwrap().changes().await.unwrap();
    standalone.pods.apply(changes);
    standalone.settle(&plane, &readiness).await;
    assert_eq!(plane.take(), ["remove 1", "publish", "add 1"]);
    assert!(!plane.has_credentials(CART) && plane.has_credentials(WEB));

    files.write_pods(&[]);
    run_until(standalone, &plane, &readiness, || asked(&plane, "remove 2")).await;
    assert!(asked(&plane, "remove 1"));
}

#[tokio::test(start_paused = true)]
async fn the_mesh_file_is_followed_and_a_wrong_one_changes_nothing() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let mut standalone = files.open().await;
    standalone.settle(&plane, &readiness).await;
    plane.take();

    files.write("mesh.yaml", "workloads: [{nonsense: true}]\n");
    assert!(standalone.mesh.changes().await.is_err());
    standalone.settle(&plane, &readiness).await;
    assert_eq!(plane.take(), [] as [String; 0]);

    files.write(
        "mesh.yaml",
        "workloads:\n- {uid: a, name: pod-1, namespace: shop, serviceAccount: cart, workloadIps: [10.0.0.1], protocol: HBONE}\n",
    );
    run_until(standalone, &plane, &readiness, || asked(&plane, "publish")).await;
    let snapshot = plane.snapshot.borrow().clone().unwrap();
    assert!(snapshot.workload_by_ip("10.0.0.1".parse().unwrap()).is_some());
    assert!(plane.has_credentials(CART));
}

/// The mesh says that a pod is of another trust domain than ours: that is what it proves.
#[tokio::test(start_paused = true)]
async fn a_pod_proves_what_the_mesh_says_it_is() {
    let files = Files::new();
    files.write(
        "mesh.yaml",
        "workloads:\n- {uid: a, name: pod-1, namespace: shop, serviceAccount: cart, trustDomain: spiffe.cilium, workloadIps: [10.0.0.1], protocol: HBONE}\n",
    );
    let snapshot = files.open().await.snapshot();
    assert!(snapshot.credentials(&"spiffe://spiffe.cilium/ns/shop/sa/cart".parse().unwrap(), "").is_some());
    assert!(snapshot.credentials(&CART.parse().unwrap(), "").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_added_is_tried_again_and_keeps_us_unready() {
    let files = Files::new();
    files.write_pods(&[("1", "cart", NETNS), ("2", "web", "/run/netns/rw-not-there")]);
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    plane.broken.borrow_mut().push("1".to_owned());
    let standalone = files.open().await;
    let start = Instant::now();
    let tried = || plane.asked.borrow().iter().filter(|asked| *asked == "add 1").count();
    run_until(standalone, &plane, &readiness, || tried() == 3).await;
    assert!(start.elapsed() >= Duration::from_secs(2 * POD_RETRY_SECONDS));
    assert_eq!(readiness.pending(), ["proxy", "workload proxy manager"]);
    assert!(!asked(&plane, "add 2"), "without its namespace it never reaches the data plane");
}

#[tokio::test(start_paused = true)]
async fn certificates_are_replaced_before_they_expire() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let standalone =
        Standalone::open(&files.environment_with(&[("RINGWAY_CA_TTL", "1h")]), Running::default())
            .await
            .unwrap();
    let (start, identity) = (Instant::now(), CART.parse().unwrap());
    let first = standalone.snapshot().credentials(&identity, "").cloned().unwrap();
    let published = || plane.asked.borrow().iter().filter(|asked| *asked == "publish").count();
    run_until(standalone, &plane, &readiness, || published() == 3).await;

    assert!(
        start.elapsed() > Duration::from_secs(2 * 1_400) && start.elapsed() < Duration::from_secs(2 * 1_802)
    );
    let now = plane.snapshot.borrow().as_ref().unwrap().credentials(&identity, "").cloned().unwrap();
    assert_ne!(first.chain(), now.chain());
}

/// What an earlier run of the control thread added, and the file no longer names, leaves after a restart.
#[tokio::test(start_paused = true)]
async fn a_restart_removes_what_went_away_meanwhile() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let running = Running::default();
    let second = second_netns(&files);
    files.write_pods(&[("1", "cart", NETNS), ("2", "web", &second)]);
    let mut standalone = Standalone::open(&files.environment(), running.clone()).await.unwrap();
    standalone.settle(&plane, &readiness).await;
    drop(standalone);
    plane.take();

    files.write_pods(&[("2", "web", &second)]);
    let mut standalone = Standalone::open(&files.environment(), running).await.unwrap();
    standalone.settle(&plane, &readiness).await;
    assert_eq!(plane.take(), ["remove 1", "publish"]);
}

#[tokio::test(start_paused = true)]
async fn dedicated_mode_has_its_own_pod() {
    let files = Files::new();
    let dedicated = [("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "shop/cart-0/cart")];
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let standalone = Standalone::open(&files.environment_with(&dedicated), Running::default()).await.unwrap();
    run_until(standalone, &plane, &readiness, || asked(&plane, "add shop/cart-0")).await;
    assert!(plane.has_credentials(CART));
}

#[tokio::test]
async fn what_is_wrong_at_start_refuses_it() {
    let refused = async |spoil: fn(&Path)| {
        let files = Files::new();
        spoil(files.directory.path());
        Standalone::open(&files.environment(), Running::default()).await.err().unwrap().to_string()
    };
    let error = refused(|directory| fs::remove_file(directory.join("mesh.yaml")).unwrap()).await;
    assert!(error.contains("mesh.yaml"), "{error}");
    let error = refused(|directory| fs::write(directory.join("pods.yaml"), "pods: 7").unwrap()).await;
    assert!(error.contains("pods.yaml"), "{error}");
    let error = refused(|directory| fs::write(directory.join("ca/root-cert.pem"), "x").unwrap()).await;
    assert!(error.contains("root-"), "{error}");
}
