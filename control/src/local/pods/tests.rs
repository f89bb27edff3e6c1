#![allow(clippy::unwrap_used)]

use std::fs;

use tempfile::TempDir;

use super::*;

const TWO: &str = r"
pods:
- {uid: uid-1, name: cart, namespace: shop, serviceAccount: cart, netns: /run/netns/cart}
- uid: uid-2
  name: web
  namespace: shop
  serviceAccount: default
  netns: /proc/42/ns/net
";

fn pod(uid: &str, name: &str, account: &str, netns: &str) -> LocalPod {
    LocalPod {
        uid: uid.into(),
        name: name.into(),
        namespace: "shop".into(),
        service_account: account.into(),
        netns: netns.into(),
    }
}

#[test]
fn pods_are_read() {
    let pods: Vec<LocalPod> = parse("pods.yaml", TWO).unwrap().into_values().collect();
    let cart = pod("uid-1", "cart", "cart", "/run/netns/cart");
    let web = pod("uid-2", "web", "default", "/proc/42/ns/net");
    assert_eq!(pods, [cart, web]);
    assert!(parse("pods.yaml", "pods: []").unwrap().is_empty());
}

#[test]
fn an_error_names_the_pod_and_what_to_write() {
    let nothing = "pods.yaml: it has nothing in it: write `pods: []` if there are no pods";
    let line = |uid: &str, name: &str, netns: &str| {
        format!("- {{uid: {uid}, name: {name}, namespace: shop, serviceAccount: cart, netns: {netns}}}\n")
    };
    let pods = |lines: &[String]| format!("pods:\n{}", lines.concat());
    let cases = [
        (String::new(), nothing.to_owned()),
        ("# later\n".to_owned(), nothing.to_owned()),
        ("pods:\n".to_owned(), nothing.to_owned()),
        ("pod: []\n".to_owned(), "pods.yaml:1:1: unknown field `pod`, expected `pods`".to_owned()),
        ("- uid: a\n".to_owned(), "pods.yaml:1:1: invalid type: sequence, expected a map with `pods`".to_owned()),
        (
            "pods: [cart]\n".to_owned(),
            "pods.yaml:1:8: pods[0]: invalid type: string \"cart\", expected a pod: a map of uid, name, namespace, \
             serviceAccount and netns"
                .to_owned(),
        ),
        ("pods:\n- uid: a\n  name: b\n".to_owned(), "pods.yaml:2:3: pods[0]: missing field `namespace`".to_owned()),
        (
            "pods:\n- uid: a\n  ip: 10.0.0.1\n".to_owned(),
            "pods.yaml:3:3: pods[0]: unknown field `ip`, expected one of `uid`, `name`, `namespace`, `serviceAccount`, \
             `netns`"
                .to_owned(),
        ),
        (
            pods(&[line("a", "''", "/run/a")]),
            "pods.yaml: pod `a` (shop/) has an empty name: fill it in".to_owned(),
        ),
        (
            pods(&[line("a", "cart", "run/a")]),
            "pods.yaml: pod a: `run/a` is not an absolute path: write one such as /run/netns/cart".to_owned(),
        ),
        (
            pods(&[line("a", "cart", "/run/a"), line("a", "web", "/run/b")]),
            "pods.yaml: pod a is there twice: give one of them another uid".to_owned(),
        ),
        (
            pods(&[line("a", "cart", "/run/a"), line("b", "cart", "/run/b")]),
            "pods.yaml: pods a and b are both called cart in namespace shop: no two pods of a namespace have one name"
                .to_owned(),
        ),
        (
            pods(&[line("a", "cart", "/run/a"), line("b", "web", "/run/a")]),
            "pods.yaml: pods a and b both have the network namespace /run/a: give each its own".to_owned(),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse("pods.yaml", &text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_come_and_go_with_the_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("pods.yaml");
    let write = |text: &str| {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    let uids = |pods: &[LocalPod]| -> Vec<String> { pods.iter().map(|pod| pod.uid.to_string()).collect() };
    let mut file = PodsFile::new(&path);

    write(TWO);
    let changes = file.changes().await.unwrap();
    assert_eq!(
        (uids(&changes.gone), uids(&changes.come)),
        (vec![], vec!["uid-1".to_owned(), "uid-2".to_owned()])
    );

    write("pods: [");
    assert!(file.changes().await.is_err());

    write(&TWO.replace("/proc/42/", "/proc/43/"));
    let changes = file.changes().await.unwrap();
    assert_eq!(
        (uids(&changes.gone), uids(&changes.come)),
        (vec!["uid-2".to_owned()], vec!["uid-2".to_owned()])
    );
    assert_eq!(changes.come[0].netns, Path::new("/proc/43/ns/net"));

    write("pods: []");
    let changes = file.changes().await.unwrap();
    assert_eq!((changes.gone.len(), changes.come.len()), (2, 0));
}

#[test]
fn only_a_namespace_is_opened_as_one() {
    let own = pod("uid-1", "cart", "cart", "/proc/self/ns/net");
    let opened = own.open().unwrap();
    assert_eq!((&*opened.uid, &*opened.name, &*opened.namespace), ("uid-1", "cart", "shop"));
    assert!(opened.netns.is_some());

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("cart");
    let at = |path: &Path| LocalPod { netns: path.to_owned(), ..own.clone() };
    assert!(matches!(at(&path).open(), Err(NetnsError::Gone(gone)) if gone == path));
    fs::write(&path, "").unwrap();
    assert!(matches!(at(&path).open(), Err(NetnsError::NotANamespace(other)) if other == path));
}
