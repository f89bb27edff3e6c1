//! The command line: what users and charts type, and what it answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use testkit::lab::{Lab, PodSpec};
use testkit::mesh::{Extra, MeshOptions, config};
use testkit::netns::Netns;
use testkit::proxy::{ProxyOptions, ROOT_CERT_FILE, ROOT_KEY_FILE, ringway_binary};
use testkit::redirect;
use testkit::run::Run;

use crate::needs;

fn ringway(arguments: &[&str]) -> Output {
    Command::new(ringway_binary().unwrap()).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn version_help_and_check_succeed_and_nonsense_does_not() {
    needs!(Ringway);
    for arguments in [&["version"][..], &["help"], &["check"]] {
        let output = ringway(arguments);
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}: {}", text(&output));
    }
    let check = text(&ringway(&["check"]));
    assert!(check.contains("io_uring") && check.lines().count() > 3, "one line per requirement: {check}");
    assert!(!ringway(&["nonsense"]).status.success());
}

#[test]
fn redirection_is_ciliums_and_leaves_nothing_behind() {
    needs!(Ringway);
    let reference = Netns::new("reference").unwrap();
    redirect::install(&reference).unwrap();
    let netns = Netns::new("redirect").unwrap();
    let before = redirect::dump(&netns).unwrap();
    let path = netns.path().to_str().unwrap();
    // Twice each: the second time changes nothing and is no error.
    for _ in 0..2 {
        let added = ringway(&["redirect", "add", "--netns", path]);
        assert!(added.status.success(), "{}", text(&added));
        assert_eq!(redirect::dump(&netns).unwrap(), redirect::dump(&reference).unwrap());
    }
    let shown = ringway(&["redirect", "show", "--netns", path]);
    assert!(shown.status.success() && text(&shown).contains("15001"), "{}", text(&shown));
    for _ in 0..2 {
        let removed = ringway(&["redirect", "remove", "--netns", path]);
        assert!(removed.status.success(), "{}", text(&removed));
        assert_eq!(redirect::dump(&netns).unwrap(), before);
    }
}

#[test]
fn redirection_of_every_pod_is_removed_at_once() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let node = lab.add_node().unwrap();
    let pods = ["a", "b"].map(|name| lab.add_pod(&node, PodSpec::new(name)).unwrap());
    let file = Run::current().unwrap().unique_directory("pods").unwrap().join("pods.yaml");
    config::write_pods(&file, &lab, &node).unwrap();
    let before = redirect::dump(&pods[0].netns).unwrap();
    for pod in &pods {
        assert!(
            ringway(&["redirect", "add", "--netns", pod.netns.path().to_str().unwrap()]).status.success()
        );
        assert_ne!(redirect::dump(&pod.netns).unwrap(), before);
    }
    let mut command = Command::new(ringway_binary().unwrap());
    let removed =
        command.args(["redirect", "remove", "--all"]).env("RINGWAY_PODS_PATH", &file).output().unwrap();
    assert!(removed.status.success(), "{}", text(&removed));
    for pod in &pods {
        assert_eq!(redirect::dump(&pod.netns).unwrap(), before, "{}", pod.spec.name);
    }
}

#[test]
fn the_root_certificate_is_made_where_there_is_none_and_its_key_is_for_its_owner_only() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let node = lab.add_node().unwrap();
    lab.add_pod(&node, PodSpec::new("pod")).unwrap();
    let mesh = crate::start(lab, MeshOptions::default());
    let directory = mesh.authority_directory();
    assert!(fs::read_to_string(directory.join(ROOT_CERT_FILE)).unwrap().contains("BEGIN CERTIFICATE"));
    let key = fs::metadata(directory.join(ROOT_KEY_FILE)).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let node = lab.add_node().unwrap();
    lab.add_pod(&node, PodSpec::new("pod")).unwrap();
    let directory = Run::current().unwrap().unique_directory("broken").unwrap();
    let (xds, pods) = (directory.join("local.yaml"), directory.join("pods.yaml"));
    config::write_pods(&pods, &lab, &node).unwrap();
    let extra = Extra { policies: "- name: a\n  namespace: b\n  flavour: c".to_owned(), ..Extra::default() };
    config::write_xds(&xds, &lab, None, &extra).unwrap();
    let line =
        fs::read_to_string(&xds).unwrap().lines().position(|line| line.contains("flavour")).unwrap() + 1;
    let mut command = ProxyOptions::default().ringway(&node, &xds, &pods, &directory).unwrap();
    let output = node.netns.enter(|| command.output()).unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("flavour"), "{said}");
    assert!(
        said.contains(&format!("line {line}")) || said.contains(&format!(":{line}:")),
        "line {line}: {said}"
    );
}
