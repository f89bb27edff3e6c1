//! h2spec against a tunnel's server, by a door of ours, since it has no client certificates.
//!
//! A server that knows CONNECT and nothing else answers 400 to h2spec's requests, which is enough for most of its tests.
//! The others are listed here with the reason; all that is not listed has to pass.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use testkit::authority::{Authority, Validity};
use testkit::hostile::relay::MtlsRelay;
use testkit::lab::{Lab, PodSpec};
use testkit::mesh::MeshOptions;
use testkit::run::Run;
use testkit::shell::find_program;
use testkit::wire::HBONE_PORT;

use crate::needs;

/// A binary of `github.com/summerwind/h2spec/cmd/h2spec`; looked up in PATH if not set.
const H2SPEC: &str = "RINGWAY_H2SPEC";
const DOOR: u16 = 8008;

/// What does not apply: section, the beginning of the test's name, why.
const EXEMPT: [(&str, &str, &str); 4] = [
    (
        "generic/2",
        "Sends a WINDOW_UPDATE frame on half-closed (remote)",
        "waits for a body, which 400 has not",
    ),
    ("generic/2", "Sends a PRIORITY frame on half-closed (remote)", "waits for a body, which 400 has not"),
    (
        "http2/5.1.2",
        "Sends HEADERS frames that causes",
        "what is no CONNECT is answered and over at once: streams do not pile up",
    ),
    (
        "http2/4.2",
        "Sends a large size HEADERS frame",
        "takes 16 KiB for our largest frame; we announce 1 MiB",
    ),
];

#[test]
fn every_test_that_applies_to_a_connect_only_server_passes() {
    needs!(Ringway);
    let Some(h2spec) = std::env::var_os(H2SPEC).map(PathBuf::from).or_else(|| find_program("h2spec")) else {
        crate::report_incomplete(&format!("h2spec: {H2SPEC} is not set and it is not in PATH"));
        return;
    };
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let outsider = lab.add_pod(&one, PodSpec::new("outsider").not_enrolled()).unwrap();
    let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
    let mut mesh = crate::start(lab, MeshOptions::default());
    let authority = Authority::open(mesh.authority_directory()).unwrap();
    let leaf = authority.issue(&["spiffe://cluster.local/ns/default/sa/client"], Validity::Now).unwrap();
    let _door = MtlsRelay::start(&outsider.netns, DOOR, (server.ipv4, HBONE_PORT).into(), leaf).unwrap();
    let report = Run::current().unwrap().unique_directory("h2spec").unwrap().join("report.xml");
    let mut command = Command::new(h2spec);
    command.args([
        "--host",
        &MtlsRelay::address().to_string(),
        "--port",
        &DOOR.to_string(),
        "--timeout",
        "2",
    ]);
    command.arg("--junit-report").arg(&report);
    // Its status says only whether all passed.
    let output = outsider.netns.enter(|| command.output()).unwrap();
    let report = fs::read_to_string(&report).unwrap_or_else(|_| panic!("{output:?}"));
    let cases = cases(&report);
    let count = |wanted: End| cases.iter().filter(|case| case.end == wanted).count();
    println!("h2spec: {} of {} passed, {} skipped", count(End::Passed), cases.len(), count(End::Skipped));
    let mut unexpected = Vec::new();
    for case in cases.iter().filter(|case| case.end == End::Failed) {
        match EXEMPT.iter().find(|(section, name, _)| case.is(section, name)) {
            Some((section, name, reason)) => println!("does not apply: {section} {name}…: {reason}"),
            None => unexpected.push(format!("{} {}: {}", case.section, case.name, case.words)),
        }
    }
    assert!(cases.len() > 100 && unexpected.is_empty(), "{}", unexpected.join("\n"));
    mesh.expect_running().unwrap();
}

/// One test of the report.
struct Case {
    section: String,
    name: String,
    end: End,
    /// What was expected, and what came instead.
    words: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Passed,
    /// h2spec itself found that it does not apply, from the settings it was sent.
    Skipped,
    Failed,
}

impl Case {
    fn is(&self, section: &str, name: &str) -> bool {
        self.section == section && self.name.starts_with(name)
    }
}

/// The test cases of a JUnit report, as h2spec writes it.
fn cases(report: &str) -> Vec<Case> {
    let attribute = |element: &str, name: &str| {
        let start = element.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
        element[start..].split('"').next().unwrap().replace("&#39;", "'").replace("&#34;", "\"")
    };
    let end = |element: &str| match () {
        () if element.contains("<failure") || element.contains("<error") => End::Failed,
        () if element.contains("<skipped") => End::Skipped,
        () => End::Passed,
    };
    let case = |element: &str| Case {
        section: attribute(element, "package"),
        name: attribute(element, "classname"),
        end: end(element),
        words: element.split('>').nth(2).unwrap_or_default().replace('\n', " / "),
    };
    report.split("<testcase").skip(1).map(case).collect()
}
