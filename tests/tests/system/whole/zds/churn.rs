//! Pods that come and go by the thousand.

use testkit::planes::node_agent::{Announcement, Answer, Connection};
use testkit::process::wait_until;
use testkit::traffic::abort;

use super::*;
use crate::needs;

const NAMESPACES: usize = 20;
/// Every one in a namespace that others had before.
const PODS: usize = 1_000;
/// What the process may hold more than before, in KiB: allocators keep a little of what they had.
const MORE_KIB: u64 = 3 * 1_024;

#[test]
fn a_thousand_pods_leave_as_much_as_they_found() {
    needs!(Ringway);
    let (mut site, _agent, connection) = Site::announced();
    let node = Arc::clone(&site.node);
    let places: Vec<Arc<Pod>> = (0..NAMESPACES)
        .map(|at| site.lab.add_pod(&node, PodSpec::new(&format!("place{at}"))).unwrap())
        .collect();
    let mut standing = site.connect();
    // What is made once and kept is made first.
    come_and_go(&connection, &places, 0..PODS / 2);
    let fds = wait_for_fds(&site, usize::MAX);
    let memory = site.proxy.resident_kib().unwrap();
    come_and_go(&connection, &places, PODS / 2..PODS / 2 + PODS);
    assert_eq!(wait_for_fds(&site, fds), fds);
    let after = site.proxy.resident_kib().unwrap();
    assert!(after <= memory + MORE_KIB, "{memory} KiB before, {after} after");
    echo(&mut standing).unwrap();
    for place in &places {
        expect_left(place);
    }
    site.proxy.expect_running().unwrap();
}

/// Waves of as many pods as there are namespaces, each of them called once.
fn come_and_go(connection: &Connection, places: &[Arc<Pod>], pods: std::ops::Range<usize>) {
    let pods: Vec<usize> = pods.collect();
    for wave in pods.chunks(places.len()) {
        let announced: Vec<Announcement> = wave
            .iter()
            .zip(places)
            .map(|(number, place)| Announcement {
                uid: format!("pod-{number}"),
                name: format!("pod-{number}"),
                service_account: format!("account-{}", number % 7),
                ..Announcement::of(place).unwrap()
            })
            .collect();
        for pod in &announced {
            assert_eq!(connection.add(pod).unwrap(), Answer::Ack);
        }
        // Somebody is always in the middle of something when a pod goes.
        let open: Vec<_> = places
            .iter()
            .zip(wave)
            .map(|(place, _)| connect(&place.netns, (std::net::Ipv4Addr::LOCALHOST, 15008)).unwrap())
            .collect();
        for pod in &announced {
            assert_eq!(connection.del(&pod.uid).unwrap(), Answer::Ack);
        }
        open.into_iter().for_each(|stream| abort(stream).unwrap());
    }
}

/// Waits until no more than so many descriptors are open, and until the count stands still; how many there are.
fn wait_for_fds(site: &Site, most: usize) -> usize {
    let mut last = usize::MAX;
    wait_until("descriptors to be closed", PATIENCE, || {
        let now = site.proxy.open_fds()?;
        let still = now == last;
        last = now;
        Ok((still && now <= most).then_some(now))
    })
    .unwrap()
}
