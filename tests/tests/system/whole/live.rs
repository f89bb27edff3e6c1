//! What changes under open connections: policies.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::mesh::Extra;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, read};

use crate::needs;

const PORT: u16 = 8080;
const OTHER_PORT: u16 = 8081;

/// How long a changed file may take to be in force, and the log to tell of it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);

/// One exchange with an echo server.
fn echo(stream: &mut TcpStream) {
    stream.write_all(b"are you there?").unwrap();
    stream.read_exact(&mut [0; 14]).unwrap();
}

#[test]
fn a_policy_closes_the_open_connections_that_it_denies_and_no_others() {
    needs!(Ringway);
    let (mut mesh, client, server) = crate::start_two_pods();
    let denied_server = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    let _other_server = Server::start(&server.netns, OTHER_PORT, Service::Echo).unwrap();
    let mut denied = connect(&client.netns, (server.ipv4, PORT)).unwrap();
    let mut other = connect(&client.netns, (server.ipv4, OTHER_PORT)).unwrap();
    echo(&mut denied);
    echo(&mut other);

    let policies = format!(
        "- name: no-{PORT}
  namespace: default
  scope: Namespace
  action: Deny
  rules: [[[{{destinationPorts: [{PORT}]}}]]]
  dryRun: false"
    );
    mesh.reconfigure(Extra { policies, ..Extra::default() }).unwrap();
    denied.set_read_timeout(Some(CHANGE_TIMEOUT)).unwrap();
    assert_eq!(read(&denied, &mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let line = mesh
        .process(1)
        .wait_for_line(&["connection complete", "due to policy change"], CHANGE_TIMEOUT)
        .unwrap();
    assert!(line.contains(&format!("dst.hbone_addr={}:{PORT}", server.ipv4)), "{line}");
    let ends = testkit::process::wait_until("the server to see it", CHANGE_TIMEOUT, || {
        Ok(Some(denied_server.ended_badly()).filter(|ends| !ends.is_empty()))
    });
    assert_eq!(ends.unwrap(), [ErrorKind::ConnectionReset]);
    echo(&mut other);
}
