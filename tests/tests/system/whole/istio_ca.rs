//! Certificates from the authority inside Cilium's agent (contract 2.10), and from one that does not give them.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testkit::lab::Pod;
use testkit::mesh::{Mesh, MeshOptions, two_pods};
use testkit::planes::resources::pod;
use testkit::planes::xds_server::{Signing, XdsServer};
use testkit::process::wait_until;
use testkit::proxy::ProxyOptions;
use testkit::traffic::connect;
use testkit::traffic::latency::ping_pong;
use testkit::traffic::server::{Server, Service};

use crate::needs;

const PORT: u16 = 8080;
const CHANGE_TIMEOUT: Duration = Duration::from_secs(40);

/// The lifetime of a certificate where a test waits for it.
const SHORT: Duration = Duration::from_secs(20);

/// Some of them.
const TRAFFIC_TIME: Duration = Duration::from_secs(30);

fn start(plane: &XdsServer) -> (Mesh, Arc<Pod>, Arc<Pod>) {
    let (lab, client, server) = two_pods().unwrap();
    plane.upsert(vec![pod(&client), pod(&server)]);
    let proxy = plane.drives(ProxyOptions::default()).environment("POOL_UNUSED_RELEASE_TIMEOUT", "1s");
    (Mesh::start(lab, MeshOptions { proxy, ..MeshOptions::default() }).unwrap(), client, server)
}

/// The same over TLS, with a root file.
fn start_over_tls(plane: &mut XdsServer) -> (Mesh, Arc<Pod>, Arc<Pod>) {
    let (lab, client, server) = two_pods().unwrap();
    lab.nodes().iter().for_each(|node| plane.listen_on(node).unwrap());
    plane.upsert(vec![pod(&client), pod(&server)]);
    let proxy = plane.drives_over_tls(ProxyOptions::default()).unwrap();
    let proxy = proxy.environment("POOL_UNUSED_RELEASE_TIMEOUT", "1s");
    (Mesh::start(lab, MeshOptions { proxy, ..MeshOptions::default() }).unwrap(), client, server)
}

fn call(client: &Pod, server: &Pod) -> std::io::Result<()> {
    let mut stream = connect(&client.netns, (server.ipv4, PORT)).map_err(std::io::Error::other)?;
    stream.write_all(b"signed")?;
    stream.read_exact(&mut [0; 6])
}

#[test]
fn a_valid_certificate_outlives_the_loss_of_its_authority() {
    needs!(Ringway);
    let plane = XdsServer::start().unwrap();
    plane.sign_for(SHORT);
    let (mut mesh, client, server) = start(&plane);
    let _echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    call(&client, &server).unwrap();
    plane.sign(Signing::Refusing(
        "no endpoints found for service account client in namespace default".to_owned(),
    ));
    // Renewed at half of its life: there is half of it left.
    let line = mesh.process(0).wait_for_line(&["no new certificate"], CHANGE_TIMEOUT).unwrap();
    assert!(line.contains("no endpoints found"), "{line}");
    call(&client, &server).unwrap();

    let before = plane.signed();
    plane.sign(Signing::Checking);
    wait_until("both to be renewed", CHANGE_TIMEOUT, || Ok((plane.signed() >= before + 2).then_some(())))
        .unwrap();
    call(&client, &server).unwrap();
}

#[test]
fn who_gets_no_certificate_is_refused_until_there_is_one() {
    needs!(Ringway);
    let plane = XdsServer::start().unwrap();
    plane.sign(Signing::Hanging);
    let (mut mesh, client, server) = start(&plane);
    let _echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    assert!(call(&client, &server).is_err(), "nothing goes in plaintext");
    mesh.process(0)
        .wait_for_line(&["no certificate; connections are refused", "did not answer in time"], CHANGE_TIMEOUT)
        .unwrap();
    plane.sign(Signing::Checking);
    wait_until("a certificate", CHANGE_TIMEOUT, || Ok(call(&client, &server).ok())).unwrap();
}

#[test]
fn no_connection_fails_while_certificates_are_renewed() {
    needs!(Ringway);
    let plane = XdsServer::start().unwrap();
    plane.sign_for(SHORT);
    let (_mesh, client, server) = start(&plane);
    let _echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    wait_until("a certificate", CHANGE_TIMEOUT, || Ok(call(&client, &server).ok())).unwrap();
    let standing = connect(&client.netns, (server.ipv4, PORT)).unwrap();
    let (before, ended) = (plane.signed(), AtomicBool::new(false));
    let calls = thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut calls = 0;
            while !ended.load(Ordering::Acquire) {
                call(&client, &server).unwrap();
                calls += 1;
            }
            calls
        });
        let exchanged = ping_pong(&standing, 64, TRAFFIC_TIME);
        ended.store(true, Ordering::Release);
        assert!(exchanged.unwrap().count() > 0);
        caller.join().unwrap()
    });
    let renewed = plane.signed() - before;
    assert!(renewed >= 4, "{renewed} renewals");
    println!("{calls} connections over {renewed} renewals");
}

/// The connection that stands was made with the root before: it is not used any more.
#[test]
fn a_root_file_that_is_replaced_counts_for_the_next_request() {
    needs!(Ringway);
    let mut plane = XdsServer::start().unwrap();
    plane.sign_for(SHORT);
    let (mut mesh, client, server) = start_over_tls(&mut plane);
    let _echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    wait_until("a certificate", CHANGE_TIMEOUT, || Ok(call(&client, &server).ok())).unwrap();

    plane.change_pair().unwrap();
    let process = mesh.process(0);
    process.wait_for_line(&["the root of the certificate authority has changed"], CHANGE_TIMEOUT).unwrap();
    // The server still proves itself with the key that was replaced, on the connection that stands too.
    process.wait_for_line(&["no new certificate", "bootstrap-root.crt"], CHANGE_TIMEOUT).unwrap();
    call(&client, &server).unwrap();

    plane.close_tls();
    let before = plane.signed();
    mesh.lab.nodes().iter().for_each(|node| plane.listen_on(node).unwrap());
    wait_until("both to be renewed", CHANGE_TIMEOUT, || Ok((plane.signed() >= before + 2).then_some(())))
        .unwrap();
    call(&client, &server).unwrap();
}
