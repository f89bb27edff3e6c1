//! Cilium's agent as a whole: it names pods, describes the mesh, and signs, and all of that ends and begins at once.

use nix::sys::signal::Signal;
use testkit::planes::node_agent::Enroller;
use testkit::planes::resources::{of_workload, pod, workload};
use testkit::planes::xds_server::XdsServer;

use super::*;
use crate::needs;

/// Changes that are said while two proxies have a stream each.
const CHANGES: usize = 20;

/// A node that everything is told by one agent.
struct Driven {
    // Before what drives it.
    site: Site,
    enroller: Enroller,
    plane: XdsServer,
}

impl Driven {
    fn start() -> Self {
        let plane = XdsServer::start().unwrap();
        let site = Site::unredirected_with(plane.drives(ProxyOptions::default()));
        plane.upsert(vec![pod(&site.client), pod(&site.server)]);
        let enroller = site.enroller();
        enroller.enrol(&site.client).unwrap();
        enroller.enrol(&site.server).unwrap();
        site.wait_ready(true);
        Self { site, enroller, plane }
    }

    /// Waits until the only proxy knows all of them.
    fn wait_known(&self, uids: &[String]) {
        wait_until("every change to be known", PATIENCE, || {
            let dump = self.site.node.netns.run("curl --silent --fail http://127.0.0.1:15000/config_dump")?;
            Ok(uids.iter().all(|uid| dump.contains(uid.as_str())).then_some(()))
        })
        .unwrap();
    }
}

/// While two proxies live, each gets a part of the changes; the one that stays asks for all of it again, once.
#[test]
fn changes_that_went_to_the_proxy_before_are_asked_for_when_it_is_gone() {
    needs!(Ringway);
    let mut driven = Driven::start();
    driven.plane.share_changes();
    let mut next = driven.site.second();
    for pod in [&driven.site.client, &driven.site.server] {
        next.wait_for_line(&["pod added", &pod.uid], PATIENCE).unwrap();
    }
    driven.plane.wait_heard().unwrap();
    assert_eq!(driven.plane.open(), 2);
    let uids: Vec<String> = (0..CHANGES).map(|number| format!("while-two-{number}")).collect();
    for uid in &uids {
        let mut workload = workload(&driven.site.server);
        workload.uid.clone_from(uid);
        workload.name.clone_from(uid);
        workload.addresses = Vec::new();
        workload.hostname = format!("{uid}.example");
        driven.plane.upsert(vec![of_workload(workload)]);
    }
    driven.plane.wait_heard().unwrap();

    driven.site.proxy.signal(Signal::SIGTERM).unwrap();
    let mut last = std::mem::replace(&mut driven.site.proxy, next);
    assert!(last.wait(PATIENCE).unwrap().success());
    driven.wait_known(&uids);
    driven.site.wait_ready(true);
    call(&driven.site.client, &driven.site.server).unwrap();
    assert_eq!((driven.plane.open(), driven.plane.opened()), (1, 3), "asked again once");
}

/// An agent that is restarted is away for a while with all it is, and says everything anew when it is back.
#[test]
fn an_agent_that_is_restarted_costs_no_connection() {
    needs!(Ringway);
    let Driven { site, enroller, mut plane } = Driven::start();
    let mut standing = site.connect();
    let opened = plane.opened();
    plane.stop();
    drop(enroller);
    site.wait_ready(false);
    echo(&mut standing).unwrap();
    call(&site.client, &site.server).unwrap();

    let _enroller = Enroller::restart(&site.directory.join("zds.sock"), site.pods()).unwrap();
    plane.resume().unwrap();
    plane.wait_opened(opened + 1).unwrap();
    plane.wait_heard().unwrap();
    site.wait_ready(true);
    echo(&mut standing).unwrap();
    call(&site.client, &site.server).unwrap();
    expect_captured(&site.client);
    expect_captured(&site.server);
}
