//! Addresses: both families, the client's own at the server, and no port used up by the proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::thread;

use testkit::capture::Capture;
use testkit::lab::{Lab, Pod, PodSpec};
use testkit::mesh::MeshOptions;
use testkit::traffic::server::{Server, Service};
use testkit::traffic::{connect, connect_here, transfer};

use crate::needs;

const PORT: u16 = 8080;

#[test]
fn ipv6_is_tunnelled_like_ipv4() {
    needs!(Ringway);
    let (mesh, client, server) = crate::start_two_pods();
    let _server = Server::start(&server.netns, PORT, Service::Exchange).unwrap();
    let capture = Capture::of_pod(&mesh.lab, &server).unwrap();
    let stream = connect(&client.netns, (server.ipv6, PORT)).unwrap();
    transfer::exchange(&stream, 4 << 20).unwrap();
    let (ours, theirs) = (IpAddr::V6(client.ipv6), IpAddr::V6(server.ipv6));
    let seen = capture.finish().unwrap().between(&[ours], &[theirs]);
    assert!(seen.is_encrypted(8 << 20), "{seen}");
}

#[test]
fn the_server_sees_the_address_of_the_client() {
    needs!(Ringway);
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
    let outsider = lab.add_pod(&one, PodSpec::new("outsider").not_enrolled()).unwrap();
    let near = lab.add_pod(&one, PodSpec::new("near")).unwrap();
    let far = lab.add_pod(&two, PodSpec::new("far")).unwrap();
    let _mesh = crate::start(lab, MeshOptions::default());
    for server in [&near, &far] {
        let _greeter = Server::start(&server.netns, PORT, Service::Greeter).unwrap();
        for client in [&client, &outsider] {
            assert_eq!(seen_address(client, server.ipv4.into()), IpAddr::V4(client.ipv4));
            assert_eq!(seen_address(client, server.ipv6.into()), IpAddr::V6(client.ipv6));
        }
    }
}

/// The client's address as a greeter at `server` sees it.
fn seen_address(client: &Pod, server: IpAddr) -> IpAddr {
    let stream = connect(&client.netns, (server, PORT)).unwrap();
    let mut hello = String::new();
    BufReader::new(stream).read_line(&mut hello).unwrap();
    let address: SocketAddr = hello.trim_start_matches("hello ").trim().parse().unwrap();
    address.ip()
}

#[test]
fn forty_thousand_closed_connections_leave_the_pods_their_ports() {
    needs!(Ringway);
    // An address has 28,232 ports to one destination, and each is used up for a minute: hence five destinations.
    const ADDRESSES: u16 = 5;
    const EACH: usize = 8000;
    const THREADS: usize = 4;
    let mut lab = Lab::new().unwrap();
    let (one, two) = (lab.add_node().unwrap(), lab.add_node().unwrap());
    let client = lab.add_pod(&one, PodSpec::new("client")).unwrap();
    let server = lab.add_pod(&two, PodSpec::new("server").more_addresses(ADDRESSES)).unwrap();
    let outsider = lab.add_pod(&two, PodSpec::new("outsider").not_enrolled()).unwrap();
    let _mesh = crate::start(lab, MeshOptions::default());
    let echo = Server::start(&server.netns, PORT, Service::Echo).unwrap();
    for address in server.more.clone() {
        let call = move || -> std::io::Result<()> {
            for _ in 0..EACH / THREADS {
                let mut stream = connect_here((address, PORT).into())?;
                stream.write_all(b"x")?;
                stream.read_exact(&mut [0])?;
            }
            Ok(())
        };
        let threads: Vec<_> = client.netns.enter(|| (0..THREADS).map(|_| thread::spawn(call)).collect());
        threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    }
    assert_eq!(echo.accepted(), u64::from(ADDRESSES) * EACH as u64);
    // Both pods' own connections: through the proxy, and past it by the loopback.
    let _echo = Server::start(&outsider.netns, PORT, Service::Echo).unwrap();
    for pod in [&client, &server] {
        for _ in 0..100 {
            connect(&pod.netns, (outsider.ipv4, PORT)).unwrap();
        }
    }
    let _local = Server::start(&server.netns, 8081, Service::Echo).unwrap();
    (0..100).for_each(|_| drop(connect(&server.netns, (server.ipv4, 8081)).unwrap()));
}
