#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::tls::Suites;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use proto::zds::WorkloadInfo;

use crate::ca::Authority;
use crate::environment::{Environment, LogFormat, Machine};
use crate::logging::testing::logged;
use crate::sources::{self, Clients, Known};
use crate::stand_in::StandIn;
use crate::status::Plane;
use crate::zds::{AnnouncedPod, PodChange};

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
        let path = |name: &str| self.path(name).display().to_string();
        let mut variables = vec![
            ("LOCAL_XDS_PATH".to_owned(), path("mesh.yaml")),
            ("RINGWAY_PODS_PATH".to_owned(), path("pods.yaml")),
            ("RINGWAY_CA_DIR".to_owned(), path("ca")),
        ];
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Environment::read(variables, &Machine { allowed: vec![0], cores: 1 }).unwrap()
    }

    /// Pods from an agent that is not there: the tests speak for it.
    fn environment_of_agent(&self) -> Environment {
        let path = |name: &str| self.path(name).display().to_string();
        let variables = vec![
            ("LOCAL_XDS_PATH".to_owned(), path("mesh.yaml")),
            ("INPOD_UDS".to_owned(), path("zds.sock")),
            ("RINGWAY_CA_DIR".to_owned(), path("ca")),
        ];
        Environment::read(variables, &Machine { allowed: vec![0], cores: 1 }).unwrap()
    }

    async fn open(&self) -> Open {
        Open::new(&self.environment(), &Known::new(&self.environment())).await
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

/// A reconciler with the clients that feed it.
struct Open {
    reconciler: Reconciler,
    clients: Clients,
}

impl Open {
    async fn new(environment: &Environment, known: &Known) -> Self {
        let (reconciler, clients) = sources::open(environment, known).await.unwrap();
        Self { reconciler, clients }
    }

    /// Follows the sources until `enough` holds, in the clock of the test.
    async fn run_until(mut self, plane: &StandIn, readiness: &Readiness, enough: impl Fn() -> bool) {
        let held = async {
            while !enough() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            never = self.reconciler.run(plane, readiness) => match never {},
            never = self.clients.watch() => match never {},
            () = held => {}
        }
    }
}

fn asked(plane: &StandIn, what: &str) -> bool {
    plane.asked.borrow().iter().any(|asked| asked == what)
}

#[tokio::test(start_paused = true)]
async fn a_pod_comes_and_then_its_certificate() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    files.open().await.run_until(&plane, &readiness, || plane.has_credentials(CART)).await;
    assert_eq!(plane.take(), ["publish", "add 1", "publish"]);
    assert_eq!(readiness.pending(), ["proxy"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_pods_file_is_followed() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let known = Known::new(&files.environment());
    let open = Open::new(&files.environment(), &known).await;
    open.run_until(&plane, &readiness, || plane.has_credentials(CART)).await;
    plane.take();

    let second = second_netns(&files);
    files.write_pods(&[("1", "cart", NETNS), ("2", "web", &second)]);
    let open = Open::new(&files.environment(), &known).await;
    open.run_until(&plane, &readiness, || plane.has_credentials(WEB)).await;
    assert!(plane.has_credentials(CART));
    assert_eq!(plane.take().iter().filter(|asked| *asked != "publish").collect::<Vec<_>>(), ["add 2"]);

    // Its service account changes: it goes, and comes with another certificate.
    let open = Open::new(&files.environment(), &known).await;
    files.write_pods(&[("1", "web", NETNS), ("2", "web", &second)]);
    open.run_until(&plane, &readiness, || asked(&plane, "add 1") && !plane.has_credentials(CART)).await;
    assert!(plane.has_credentials(WEB));
    let pods: Vec<String> = plane.take().into_iter().filter(|asked| asked != "publish").collect();
    assert_eq!(pods, ["remove 1", "add 1"]);

    let open = Open::new(&files.environment(), &known).await;
    files.write_pods(&[]);
    open.run_until(&plane, &readiness, || asked(&plane, "remove 2")).await;
    assert!(asked(&plane, "remove 1"));
}

#[tokio::test(start_paused = true)]
async fn the_mesh_file_is_followed_and_a_wrong_one_changes_nothing() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let mut open = files.open().await;
    open.reconciler.settle(&plane, &readiness).await;
    plane.take();

    files.write("mesh.yaml", "workloads: [{nonsense: true}]\n");
    assert!(open.reconciler.mesh.next().await.is_err());
    open.reconciler.settle(&plane, &readiness).await;
    assert_eq!(plane.take(), [] as [String; 0]);

    files.write(
        "mesh.yaml",
        "workloads:\n- {uid: a, name: pod-1, namespace: shop, serviceAccount: cart, workloadIps: [10.0.0.1], protocol: HBONE}\n",
    );
    let known = |plane: &StandIn| {
        let snapshot = plane.snapshot.borrow().clone().unwrap();
        snapshot.workload_by_ip("10.0.0.1".parse().unwrap()).is_some()
    };
    open.run_until(&plane, &readiness, || known(&plane)).await;
}

/// Somebody who has no log sees it all the same, for as long as it is so.
#[test]
fn a_file_that_is_wrong_is_told_of_until_it_is_right_again() {
    let lines = logged(LogFormat::Plain, "info", || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
            let files = Files::new();
            let (plane, readiness) = (StandIn::default(), Readiness::starting());
            let known = Known::new(&files.environment());
            let told = |file: Plane| known.status.read(|state| state.planes[&file].clone());
            let wrong = |file: Plane| told(file).error.is_some();
            let right = [("mesh.yaml", Plane::MeshFile), ("pods.yaml", Plane::PodsFile)];
            Open::new(&files.environment(), &known).await;
            for (name, file) in right {
                assert!(told(file).connected && !wrong(file), "{:?}", told(file));
                assert_eq!(told(file).address, files.path(name).display().to_string());
                let text = fs::read_to_string(files.path(name)).unwrap();
                let open = Open::new(&files.environment(), &known).await;
                files.write(name, "nonsense: true\n");
                open.run_until(&plane, &readiness, || wrong(file)).await;
                assert!(!told(file).connected);
                assert!(told(file).error.unwrap().contains("nonsense"), "{:?}", told(file));
                assert!(sources::open(&files.environment(), &known).await.is_err(), "as at a start");
                assert!(wrong(file));
                files.write(name, &text);
                Open::new(&files.environment(), &known).await;
                assert!(told(file).connected && !wrong(file), "{:?}", told(file));
            }
        });
    });
    for name in ["mesh", "pods"] {
        let again = format!("the {name} file can be followed again");
        assert_eq!(lines.matches(&again).count(), 1, "{lines}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_already_is_not_published_again() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let mut open = files.open().await;
    let workload = |uid: &str| {
        let text = format!(
            "workloads:\n- {{uid: {uid}, name: a, namespace: shop, serviceAccount: cart, workloadIps: [10.0.0.1], protocol: HBONE}}\n"
        );
        files.write("mesh.yaml", &text);
    };
    workload("a");
    let update = open.reconciler.mesh.next().await.unwrap();
    let again = MeshUpdate { changes: update.changes.clone(), synced: true, more: false };
    open.reconciler.take_mesh(update);
    open.reconciler.settle(&plane, &readiness).await;
    assert!(asked(&plane, "publish"));
    plane.take();
    open.reconciler.take_mesh(again);
    open.reconciler.settle(&plane, &readiness).await;
    assert_eq!(plane.take(), [] as [String; 0]);
}

/// The mesh says that a pod is of another trust domain than ours: that is what it proves.
#[tokio::test(start_paused = true)]
async fn a_pod_proves_what_the_mesh_says_it_is() {
    let files = Files::new();
    files.write(
        "mesh.yaml",
        "workloads:\n- {uid: a, name: pod-1, namespace: shop, serviceAccount: cart, trustDomain: spiffe.cilium, workloadIps: [10.0.0.1], protocol: HBONE}\n",
    );
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let named = || plane.has_credentials("spiffe://spiffe.cilium/ns/shop/sa/cart");
    files.open().await.run_until(&plane, &readiness, named).await;
    assert!(!plane.has_credentials(CART));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_added_is_tried_again_and_keeps_us_unready() {
    let files = Files::new();
    files.write_pods(&[("1", "cart", NETNS), ("2", "web", "/run/netns/rw-not-there")]);
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    plane.broken.borrow_mut().push("1".to_owned());
    let known = Known::new(&files.environment());
    let open = Open::new(&files.environment(), &known).await;
    let tried = || plane.asked.borrow().iter().filter(|asked| *asked == "add 1").count();
    open.run_until(&plane, &readiness, || tried() >= 3).await;
    assert_eq!(readiness.pending(), ["proxy", "workload proxy manager"]);
    assert!(!asked(&plane, "add 2"), "without its namespace it never reaches the data plane");
    known.status.read(|state| {
        assert_eq!(state.pods["1"].pending.as_deref(), Some("pod 1: broken"));
        assert!(state.pods["2"].pending.as_ref().unwrap().contains("rw-not-there"));
    });
}

#[tokio::test(start_paused = true)]
async fn certificates_are_replaced_before_they_expire() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let environment = files.environment_with(&[("RINGWAY_CA_TTL", "1h")]);
    let known = Known::new(&environment);
    let start = Instant::now();
    let obtained =
        || known.status.read(|state| state.certificates.values().map(|status| status.obtained).sum::<u64>());
    Open::new(&environment, &known).await.run_until(&plane, &readiness, || obtained() == 1).await;
    let first = plane.credentials(CART).unwrap();
    Open::new(&environment, &known).await.run_until(&plane, &readiness, || obtained() == 4).await;
    assert!(start.elapsed() > Duration::from_secs(2 * 1_400));
    assert_ne!(first.chain(), plane.credentials(CART).unwrap().chain());
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_does_not_replace_a_valid_one() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let authority = Authority::open(&files.path("ca")).unwrap();
    let identity: Identity = CART.parse().unwrap();
    let holder = Holder { identity: identity.clone(), pod: None };
    let mut open = files.open().await;
    open.reconciler.settle(&plane, &readiness).await;
    let valid = Arc::new(authority.issue(&identity, Duration::from_secs(3_600), Suites::default()).unwrap());
    let mut expired = authority.issue(&identity, Duration::from_secs(3_600), Suites::default()).unwrap();
    expired.not_after = SystemTime::UNIX_EPOCH;
    for credentials in [Arc::clone(&valid), Arc::new(expired)] {
        open.reconciler.take_certificate(CertificateEvent::Obtained { holder: holder.clone(), credentials });
    }
    open.reconciler.settle(&plane, &readiness).await;
    assert!(Arc::ptr_eq(&plane.credentials(CART).unwrap(), &valid));
}

/// Whoever signs may take a certificate back; what is said of a pod that is not ours any more is not kept.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_certificate_is_used_no_more() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let authority = Authority::open(&files.path("ca")).unwrap();
    let identity: Identity = CART.parse().unwrap();
    let holder = Holder { identity: identity.clone(), pod: None };
    let known = Known::new(&files.environment());
    let mut open = Open::new(&files.environment(), &known).await;
    open.reconciler.settle(&plane, &readiness).await;
    let credentials =
        Arc::new(authority.issue(&identity, Duration::from_secs(3_600), Suites::default()).unwrap());
    open.reconciler.take_certificate(CertificateEvent::Obtained { holder: holder.clone(), credentials });
    open.reconciler.settle(&plane, &readiness).await;
    assert!(plane.has_credentials(CART));

    let cause = "the entry was deleted".to_owned();
    open.reconciler
        .take_certificate(CertificateEvent::Withdrawn { holder: holder.clone(), cause: cause.clone() });
    open.reconciler.settle(&plane, &readiness).await;
    assert!(!plane.has_credentials(CART));
    let stranger = Holder { identity: WEB.parse().unwrap(), pod: None };
    open.reconciler
        .take_certificate(CertificateEvent::Failed { holder: stranger.clone(), cause: cause.clone() });
    known.status.read(|state| {
        assert_eq!(state.certificates[&holder].error.as_ref(), Some(&cause));
        assert!(!state.certificates.contains_key(&stranger));
    });
}

/// An agent that repeats itself has nothing wrong with it any more.
#[tokio::test(start_paused = true)]
async fn what_is_still_good_clears_the_error_and_changes_nothing() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let known = Known::new(&files.environment());
    let mut open = Open::new(&files.environment(), &known).await;
    open.reconciler.settle(&plane, &readiness).await;
    let authority = Authority::open(&files.path("ca")).unwrap();
    let identity: Identity = CART.parse().unwrap();
    let credentials =
        Arc::new(authority.issue(&identity, Duration::from_secs(3_600), Suites::default()).unwrap());
    let holder = Holder { identity, pod: None };
    let obtained = || {
        let (holder, credentials) = (holder.clone(), Arc::clone(&credentials));
        CertificateEvent::Obtained { holder, credentials }
    };
    open.reconciler.take_certificate(obtained());
    open.reconciler.settle(&plane, &readiness).await;
    plane.take();
    let failed = CertificateEvent::Failed { holder: holder.clone(), cause: "away".to_owned() };
    open.reconciler.take_certificate(failed);
    let state = || known.status.read(|state| state.certificates[&holder].clone());
    assert_eq!((state().error.as_deref(), state().failures), (Some("away"), 1));
    open.reconciler.take_certificate(obtained());
    assert_eq!((state().error, state().failures, state().obtained), (None, 0, 1));
    open.reconciler.settle(&plane, &readiness).await;
    assert_eq!(plane.take(), [] as [String; 0]);
}

/// The agent's lock is free only once it was answered: whoever asks for a certificate before that hangs on it.
#[tokio::test(start_paused = true)]
async fn a_certificate_is_wanted_once_the_agent_was_answered() {
    let files = Files::new();
    let environment = files.environment_of_agent();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let known = Known::new(&environment);
    let Open { mut reconciler, clients: _clients } = Open::new(&environment, &known).await;
    let mut wanted = reconciler.wants.subscribe();
    wanted.mark_unchanged();
    let (done, mut tried) = oneshot::channel();
    let change = announced("1", NETNS);
    reconciler.take(Event::Pods(Ok(PodNews::Agent(PodEvent { change, done }))));
    let first = tokio::select! {
        biased;
        changed = wanted.changed() => { changed.unwrap(); tried.try_recv().is_ok() }
        () = async {
            plane.slow.set(true);
            reconciler.settle(&plane, &readiness).await;
            pending::<()>().await;
        } => unreachable!(),
    };
    assert!(first, "asked for before the agent was answered");
    assert!(wanted.borrow().contains_key(&CART.parse().unwrap()));
}

/// What an earlier run of the control thread added, and the file no longer names, leaves after a restart.
#[tokio::test(start_paused = true)]
async fn a_restart_removes_what_went_away_meanwhile() {
    let files = Files::new();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let known = Known::new(&files.environment());
    let second = second_netns(&files);
    files.write_pods(&[("1", "cart", NETNS), ("2", "web", &second)]);
    let open = Open::new(&files.environment(), &known).await;
    open.run_until(&plane, &readiness, || plane.has_credentials(CART)).await;
    plane.take();

    files.write_pods(&[("2", "web", &second)]);
    let mut open = Open::new(&files.environment(), &known).await;
    open.reconciler.settle(&plane, &readiness).await;
    assert_eq!(plane.take(), ["remove 1", "publish"]);
    assert!(plane.has_credentials(WEB), "the certificates outlive the restart");
    assert!(!plane.has_credentials(CART));
}

/// A pod as an agent announces it, in the namespace of this path.
fn announced(uid: &str, netns: &str) -> PodChange {
    let info = WorkloadInfo {
        name: format!("pod-{uid}"),
        namespace: "shop".to_owned(),
        service_account: "cart".to_owned(),
    };
    let netns = fs::File::open(netns).unwrap().into();
    PodChange::Come(AnnouncedPod::new(Arc::from(uid), info, netns).unwrap())
}

/// What an agent says, one after the other, and what the data plane is asked for it. Each is answered.
async fn agent_says(
    reconciler: &mut Reconciler,
    plane: &StandIn,
    readiness: &Readiness,
    changes: Vec<PodChange>,
) -> Vec<String> {
    plane.take();
    for change in changes {
        let (done, mut tried) = oneshot::channel();
        reconciler.take(Event::Pods(Ok(PodNews::Agent(PodEvent { change, done }))));
        assert!(tried.try_recv().is_err());
        reconciler.settle(plane, readiness).await;
        assert!(tried.try_recv().is_ok(), "an agent waits for an answer");
    }
    plane.take().into_iter().filter(|asked| asked != "publish").collect()
}

fn all(uids: &[&str]) -> PodChange {
    PodChange::All(uids.iter().map(|uid| Arc::from(*uid)).collect())
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_followed_as_the_table_says() {
    const OTHER_NETNS: &str = "/proc/self/ns/uts";
    const UNREADY: [&str; 2] = ["proxy", "workload proxy manager"];
    const READY: [&str; 1] = ["proxy"];
    let files = Files::new();
    let environment = files.environment_of_agent();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let known = Known::new(&environment);
    let Open { mut reconciler, clients: _clients } = Open::new(&environment, &known).await;
    let steps: Vec<(Vec<PodChange>, &[&str], &[&str])> = vec![
        (vec![announced("1", NETNS), announced("2", NETNS)], &["add 1", "add 2"], &UNREADY),
        // The connection ends before the snapshot did: what was announced counts, and nobody is dropped.
        (vec![PodChange::Lost, announced("1", NETNS)], &[], &UNREADY),
        (vec![all(&["1", "2"])], &[], &READY),
        (vec![announced("3", NETNS), announced("3", NETNS)], &["add 3"], &READY),
        (vec![announced("3", OTHER_NETNS)], &["remove 3", "add 3"], &READY),
        (vec![PodChange::Gone(Arc::from("unknown")), PodChange::Gone(Arc::from("2"))], &["remove 2"], &READY),
        (vec![PodChange::Lost], &[], &UNREADY),
        (vec![announced("1", NETNS)], &[], &UNREADY),
        (vec![all(&["1"])], &["remove 3"], &READY),
    ];
    for (at, (changes, asked, pending)) in steps.into_iter().enumerate() {
        assert_eq!(agent_says(&mut reconciler, &plane, &readiness, changes).await, asked, "step {at}");
        assert_eq!(readiness.pending(), pending, "step {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_fails_is_acked_and_tried_again_in_its_own_time() {
    let files = Files::new();
    let environment = files.environment_of_agent();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let known = Known::new(&environment);
    let Open { mut reconciler, clients: _clients } = Open::new(&environment, &known).await;
    plane.broken.borrow_mut().push("1".to_owned());
    let changes = vec![announced("1", NETNS), announced("2", NETNS), announced("1", NETNS), all(&["1", "2"])];
    let asked = agent_says(&mut reconciler, &plane, &readiness, changes).await;
    assert_eq!(asked, ["add 1", "add 2"], "what comes meanwhile is no reason to try again");
    assert_eq!(readiness.pending(), ["proxy", "workload proxy manager"]);
    known.status.read(|state| assert_eq!(state.pods["1"].pending.as_deref(), Some("pod 1: broken")));

    plane.broken.borrow_mut().clear();
    // The other pod is looked at meanwhile.
    let asked = loop {
        assert!(matches!(reconciler.next_event().await, Event::Time));
        reconciler.settle(&plane, &readiness).await;
        let asked = plane.take();
        if !asked.is_empty() {
            break asked;
        }
    };
    assert_eq!(asked, ["add 1"]);
    assert_eq!(readiness.pending(), ["proxy"]);
    known.status.read(|state| assert_eq!(state.pods["1"].pending, None));
}

/// What runs stays until the agent has named all pods, also when the control thread began anew.
#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_pods_of_an_agent_until_its_snapshot() {
    let files = Files::new();
    let environment = files.environment_of_agent();
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let known = Known::new(&environment);
    let Open { mut reconciler, .. } = Open::new(&environment, &known).await;
    let changes = vec![announced("1", NETNS), announced("2", NETNS), all(&["1", "2"])];
    agent_says(&mut reconciler, &plane, &readiness, changes).await;

    let Open { mut reconciler, .. } = Open::new(&environment, &known).await;
    let asked = agent_says(&mut reconciler, &plane, &readiness, vec![announced("2", NETNS)]).await;
    assert_eq!(asked, [] as [&str; 0]);
    assert_eq!(readiness.pending(), ["proxy", "workload proxy manager"]);
    let asked = agent_says(&mut reconciler, &plane, &readiness, vec![all(&["2"])]).await;
    assert_eq!(asked, ["remove 1"]);
}

#[tokio::test(start_paused = true)]
async fn dedicated_mode_has_its_own_pod() {
    let files = Files::new();
    let dedicated = [("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "shop/cart-0/cart")];
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let environment = files.environment_with(&dedicated);
    let open = Open::new(&environment, &Known::new(&environment)).await;
    open.run_until(&plane, &readiness, || plane.has_credentials(CART)).await;
    assert!(asked(&plane, "add shop/cart-0"));
}

#[tokio::test]
async fn what_is_wrong_at_start_refuses_it() {
    let refused = async |spoil: fn(&Path)| {
        let files = Files::new();
        spoil(files.directory.path());
        let environment = files.environment();
        sources::open(&environment, &Known::new(&environment)).await.err().unwrap().to_string()
    };
    let error = refused(|directory| fs::remove_file(directory.join("mesh.yaml")).unwrap()).await;
    assert!(error.contains("mesh.yaml"), "{error}");
    let error = refused(|directory| fs::write(directory.join("pods.yaml"), "pods: 7").unwrap()).await;
    assert!(error.contains("pods.yaml"), "{error}");
    let error = refused(|directory| fs::write(directory.join("ca/root-cert.pem"), "x").unwrap()).await;
    assert!(error.contains("root-"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_source_of_certificates_that_is_gone_keeps_nobody_busy() {
    let files = Files::new();
    // No pod has to be looked at.
    files.write_pods(&[]);
    let (plane, readiness) = (StandIn::default(), Readiness::starting());
    let mut open = files.open().await;
    open.reconciler.settle(&plane, &readiness).await;
    let (_, gone) = mpsc::channel(1);
    open.reconciler.certificates = gone;
    let event = tokio::time::timeout(Duration::from_secs(60), open.reconciler.next_event()).await;
    assert!(event.is_err());
}
