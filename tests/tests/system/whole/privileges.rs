//! The proxy under exactly the privileges that the charts give: uid 0, gid 1337, three capabilities, a root it can't
//! write to, nor `/proc/sys`, 8 MiB of locked memory.

use std::time::Duration;

use testkit::authority::Authority;
use testkit::lab::{Lab, PodSpec};
use testkit::mesh::MeshOptions;
use testkit::proxy::ProxyOptions;
use testkit::run::Run;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, transfer};

use crate::needs;

const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the rest of its arguments as the charts' container does. The proxy's files are on the root here, so what it
/// may not write is everything.
const CONTAINER: [&str; 6] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    r#"mount --make-rprivate / && mount -o remount,bind,ro / &&
    mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys &&
    exec prlimit --memlock=8388608:8388608 setpriv --regid 1337 --clear-groups --no-new-privs \
        --inh-caps=-all --bounding-set=-all,+net_admin,+sys_admin,+net_raw "$@""#,
    "sh",
];

#[test]
fn the_charts_privileges_suffice() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
    let server = lab.add_pod(&two, PodSpec::new("server")).unwrap();
    let launcher = CONTAINER.map(str::to_owned).to_vec();
    let proxy = ProxyOptions { launcher, ..ProxyOptions::default() };
    // The root certificate is there already, as a secret is in a cluster: nothing has to be written.
    let directory = Run::current().unwrap().unique_directory("secret").unwrap();
    Authority::create(&directory).unwrap();
    let authority_directory = Some(directory);
    let mut mesh = crate::start(lab, MeshOptions { proxy, authority_directory, ..MeshOptions::default() });
    let _exchange = Server::start(&server.netns, PORT, Service::Exchange).unwrap();
    for address in server.addresses() {
        let stream = connect(&client.netns, (address, PORT)).unwrap();
        transfer::exchange(&stream, 8 << 20).unwrap();
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", mesh.process(0).pid())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // CAP_NET_ADMIN (12), CAP_NET_RAW (13), CAP_SYS_ADMIN (21), and no way to more.
    assert_eq!(field("CapEff:"), "0000000000203000");
    assert_eq!(field("CapBnd:"), "0000000000203000");
    assert_eq!((field("Uid:"), field("Gid:")), ("0 0 0 0".to_owned(), "1337 1337 1337 1337".to_owned()));
    // Its temporary files go to memory, the only place that can be written to.
    let file = Run::current().unwrap().unique_directory("profile").unwrap().join("cpu.pb");
    super::profile::take(&mesh.lab.nodes()[0], "seconds=1", &file);
    mesh.expect_running().unwrap();

    let migrates = || server.netns.enter(|| std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req"));
    assert_eq!(migrates().unwrap().trim(), "0", "it leaves the pod's settings alone while it serves");
    assert!(mesh.terminate(1, PATIENCE).unwrap().success());
    assert_eq!(
        migrates().unwrap().trim(),
        "1",
        "a connection in its handshake is reset when the listeners close"
    );
}
