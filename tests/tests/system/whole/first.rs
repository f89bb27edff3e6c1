//! First connections: each needs a tunnel that is not there yet, or waits for one that is being made. None is lost.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use testkit::hostile::impostor::SlowWire;
use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::MeshOptions;
use testkit::shell;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{PATIENCE_TIMEOUT, connect_here};

use crate::needs;

const PORT: u16 = 8080;
const SLOW_PORT: u16 = 15999;
const SLOW: Duration = Duration::from_secs(2);

/// A tunnel belongs to a destination address: so many tunnels have to be made.
const ADDRESSES: usize = 500;
/// Connections that come at once to each, of which one makes the tunnel and the others wait.
const EACH: usize = 20;
/// Addresses that are called at once.
const WAVE: usize = 25;
/// Every so manieth address answers its handshake late.
const SLOW_EVERY: usize = 5;

#[test]
fn ten_thousand_first_connections_are_all_served() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
    let server = lab.add_pod(&two, PodSpec::new("server").more_addresses(ADDRESSES as u16)).unwrap();
    let mut mesh = crate::start(lab, MeshOptions::default());
    let echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    let wire = SlowWire::start(&server.netns, SLOW_PORT, SLOW).unwrap();
    slow_down(&server);
    let mut failures = Vec::new();
    for wave in server.more.chunks(WAVE) {
        failures.extend(client.netns.enter(|| call_all(wave)));
    }
    assert!(failures.is_empty(), "{} lost, the first: {}", failures.len(), failures[0]);
    assert_eq!(echo.accepted(), (ADDRESSES * EACH) as u64);
    let slow = ADDRESSES / SLOW_EVERY;
    assert!(wire.passed() >= slow as u64, "{} tunnels of {slow} were delayed", wire.passed());
    mesh.expect_running().unwrap();
}

/// Sends the tunnels to every [`SLOW_EVERY`]th address over the slow wire.
fn slow_down(server: &Pod) {
    let rule = |ip: &Ipv4Addr| {
        format!("-I PREROUTING -d {ip}/32 -p tcp --dport 15008 -j REDIRECT --to-ports {SLOW_PORT}\n")
    };
    let rules: String = server.more.iter().step_by(SLOW_EVERY).map(rule).collect();
    let input = format!("*nat\n{rules}COMMIT\n");
    server.netns.enter(|| shell::feed(Command::new("iptables-restore").arg("--noflush"), &input)).unwrap();
}

/// [`EACH`] connections to every address of a wave, all at once; what went wrong.
fn call_all(wave: &[Ipv4Addr]) -> Vec<String> {
    let calls: Vec<_> = (0..EACH)
        .flat_map(|_| wave)
        .map(|&address| {
            let call = move || call(address).map_err(|error| format!("{address}: {error}"));
            thread::Builder::new().stack_size(128 << 10).spawn(call).unwrap()
        })
        .collect();
    calls.into_iter().filter_map(|call| call.join().unwrap().err()).collect()
}

fn call(address: Ipv4Addr) -> std::io::Result<()> {
    let mut stream = connect_here((address, PORT).into())?;
    stream.set_read_timeout(Some(PATIENCE_TIMEOUT))?;
    stream.write_all(b"first")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"first");
    Ok(())
}
