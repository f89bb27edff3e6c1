//! A shard on the test's own thread, with two pods at addresses of loopback: connections go from an application
//! through `outbound`, a tunnel, `inbound`, to an application, all of it turned by hand.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, poll_once};

use super::super::*;
use crate::engine::{OriginalSource, Pinning};
use crate::mesh::{Holder, Identity, Workload};
use crate::net::{Accepted, Namespace, Port};
use crate::observe::{Closed, Observation};
use crate::pool::{Pool, PoolKey};
use crate::relay::tests::fixture::{App, Took, credentials};
use crate::uring::{Driver, DriverConfig};

/// A test that comes no further for so long hangs: it fails instead.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// Where the server's application listens.
pub(super) const APP_PORT: u16 = 8080;

pub(super) struct Bench {
    pub(super) shard: Rc<Shard>,
    pub(super) client: Rc<LocalPod>,
    pub(super) server: Rc<LocalPod>,
    client_ip: IpAddr,
    server_ip: IpAddr,
    /// Port 15008 of the server; what comes is served unless `door_is_shut`.
    door: TcpListener,
    pub(super) door_is_shut: bool,
    /// Tunnels that came while it was shut, and how many came in all.
    pub(super) at_the_door: Vec<TcpStream>,
    pub(super) knocked: usize,
    apps: TcpListener,
    /// Of connections that ended.
    pub(super) records: Vec<Closed>,
    /// Everything else that was told.
    pub(super) observed: Vec<Observation>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: EngineConfig) -> Self {
        let (client_ip, server_ip) = addresses();
        let mut snapshot = Snapshot::default();
        for (name, ip, credentials) in
            [("client", client_ip, &credentials()[0]), ("server", server_ip, &credentials()[1])]
        {
            snapshot.upsert_workload(Arc::new(workload(name, ip, &credentials.identity)));
            let holder = Holder::all_of(credentials.identity.clone());
            snapshot.upsert_credentials(holder, Arc::clone(credentials));
        }
        let shard = shard(config, Arc::new(snapshot));
        let [client, server] = ["client", "server"].map(|name| {
            let pod = pod(name);
            shard.pods.borrow_mut().insert(Arc::clone(&pod.uid), Rc::clone(&pod));
            pod
        });
        let listen = |port| {
            let listener = TcpListener::bind((server_ip, port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let (door, apps) = (listen(Port::Hbone.number()), listen(APP_PORT));
        Self {
            shard,
            client,
            server,
            client_ip,
            server_ip,
            door,
            door_is_shut: false,
            at_the_door: Vec::new(),
            knocked: 0,
            apps,
            records: Vec::new(),
            observed: Vec::new(),
        }
    }

    /// The client's application calls the server's. Nobody has answered yet.
    pub(super) fn call(&self) -> App {
        self.call_to(SocketAddr::new(self.server_ip, APP_PORT))
    }

    pub(super) fn call_to_port(&self, port: u16) -> App {
        self.call_to(SocketAddr::new(self.server_ip, port))
    }

    pub(super) fn call_to(&self, destination: SocketAddr) -> App {
        let (app, socket) = App::connected();
        let source = SocketAddr::new(self.client_ip, 40_000);
        let accepted = Accepted { socket, port: Port::Outbound, source, destination };
        let serve = crate::outbound::serve(Rc::clone(&self.shard), Rc::clone(&self.client), accepted);
        self.shard.spawn(&self.client, serve);
        app
    }

    /// A connection that stands, from application to application.
    pub(super) fn connect(&mut self) -> (App, App) {
        let mut caller = self.call();
        let mut called = self.called();
        caller.write_all(b"hello");
        self.until("the greeting arrives", |_| called.read(5) == Took::Bytes(b"hello".to_vec()));
        (caller, called)
    }

    /// The same without a tunnel, as if the caller was not of the mesh.
    pub(super) fn connect_plain(&mut self) -> (App, App) {
        let (mut caller, socket) = App::connected();
        let source = SocketAddr::new(self.client_ip, 40_001);
        let destination = SocketAddr::new(self.server_ip, APP_PORT);
        let accepted = Accepted { socket, port: Port::Plain, source, destination };
        let serve =
            crate::passthrough::serve_inbound(Rc::clone(&self.shard), Rc::clone(&self.server), accepted);
        self.shard.spawn(&self.server, serve);
        let mut called = self.called();
        caller.write_all(b"hello");
        self.until("the greeting arrives", |_| called.read(5) == Took::Bytes(b"hello".to_vec()));
        (caller, called)
    }

    /// The server's application accepts.
    pub(super) fn called(&mut self) -> App {
        let mut called = None;
        self.until("the application is called", |bench| {
            called = bench.accept_app();
            called.is_some()
        });
        called.unwrap()
    }

    pub(super) fn accept_app(&self) -> Option<App> {
        accept(&self.apps).map(App::new)
    }

    pub(super) fn key(&self) -> PoolKey {
        PoolKey {
            source: credentials()[0].identity.clone(),
            expected: vec![credentials()[1].identity.clone()],
            target: SocketAddr::new(self.server_ip, Port::Hbone.number()),
            pod: Arc::clone(&self.client.uid),
        }
    }

    /// As a listener of a pod that is long gone might still do.
    pub(super) fn serve(&self, pod: &str, port: Port, socket: OwnedFd) {
        let pod = if pod == "client" { &self.client } else { &self.server };
        self.shard.serve(pod, port, socket);
    }

    /// Lets in who was kept at the door.
    pub(super) fn open_door(&mut self) {
        self.door_is_shut = false;
        for socket in std::mem::take(&mut self.at_the_door) {
            self.shard.serve(&self.server, Port::Hbone, socket.into());
        }
    }

    pub(super) fn turn(&mut self) {
        // A turn does not wait while the bell has rung.
        self.shard.driver.doorbell().ring();
        self.shard.turn().unwrap();
        while let Some(socket) = accept(&self.door) {
            self.knocked += 1;
            if self.door_is_shut {
                self.at_the_door.push(socket);
            } else {
                self.shard.serve(&self.server, Port::Hbone, OwnedFd::from(socket));
            }
        }
        while let Some(observation) = block_on(poll_once(self.shard.reports.next_observation())) {
            match observation {
                Observation::Closed(closed) => self.records.push(*closed),
                other => self.observed.push(other),
            }
        }
    }

    pub(super) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + HANGS_AFTER;
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "it never happens that {what}; {:#?}; {:#?}",
                self.shard.tables,
                self.records
            );
            self.turn();
        }
    }

    /// Turns a number of times, for what shall not happen.
    pub(super) fn turns(&mut self, count: usize) {
        (0..count).for_each(|_| self.turn());
    }

    /// Tunnels of the table that are live, the client's and the server's ends.
    pub(super) fn tunnels(&self) -> usize {
        let tables = self.shard.tables.borrow();
        tables
            .tunnels
            .keys()
            .iter()
            .filter(|key| tables.tunnels.get(**key).is_some_and(|t| t.is_live()))
            .count()
    }

    /// Nothing of a pod or a connection is left, and the driver has nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.shard.tables.borrow().is_empty() && self.shard.driver.in_flight() == 0
    }

    /// What every test ends with: the pods leave, and nothing of them is left; nor of the shard when it ends.
    pub(super) fn end(mut self) {
        for uid in ["client", "server"] {
            self.shard.remove_pod(uid);
        }
        self.until("nothing is left of the pods", |bench| bench.is_empty());
        assert!(self.shard.pool.borrow().is_empty());
        for pod in [&self.client, &self.server] {
            assert_eq!(Rc::strong_count(pod), 1, "somebody holds the pod {}", pod.uid);
        }
        let config = DriverConfig::default();
        for (mode, group) in
            [(crate::uring::RecvMode::Chatty, config.chatty), (crate::uring::RecvMode::Bulk, config.bulk)]
        {
            assert_eq!(self.shard.driver.buffers_left(mode), usize::from(group.buffers));
        }
        self.shard.end();
        assert_eq!(Rc::strong_count(&self.shard), 1, "somebody holds the shard");
    }
}

pub(crate) fn config() -> EngineConfig {
    EngineConfig {
        shards: 1,
        pinning: Pinning::Off,
        packet_mark: None,
        original_source: OriginalSource::Never,
        ipv6: false,
        port_reuse: false,
        keepalive: None,
        tunnel_streams_max: 100,
        tunnel_unused_release: Duration::from_secs(300),
        stream_window: 4 << 20,
        frame_size: 1 << 20,
        response_baggage: true,
    }
}

/// A shard without a thread of its own; the neighbours it may have are mailboxes that nobody reads.
pub(super) fn shard(config: EngineConfig, snapshot: Arc<Snapshot>) -> Rc<Shard> {
    let driver = Driver::new(&DriverConfig::default()).unwrap();
    let mailbox = |_| Arc::new(Mailbox::new(driver.doorbell()));
    let mailboxes = (0..config.shards).map(mailbox).collect();
    Rc::new(Shard {
        id: 0,
        options: SocketOptions { mark: None, keepalive: None },
        tables: RefCell::new(Tables::new(driver.clone(), 0)),
        pool: RefCell::new(Pool::default()),
        pods: RefCell::default(),
        executor: LocalExecutor::new(),
        snapshot: RefCell::new(snapshot),
        waiting_for_snapshot: RefCell::default(),
        mailboxes,
        reports: Arc::default(),
        draining: Cell::new(false),
        ending: Cell::new(false),
        setting_up: Cell::new(0),
        has_turned: Cell::new(false),
        entropy: Cell::new(1),
        config: Arc::new(config),
        driver,
    })
}

pub(super) fn pod(name: &str) -> Rc<LocalPod> {
    let text = || Arc::<str>::from(name);
    let workload = PodName { name: text(), namespace: Arc::from("shop"), service_account: text() };
    Rc::new(LocalPod::new(text(), workload, Namespace::new(None), false))
}

fn workload(name: &str, ip: IpAddr, identity: &Identity) -> Workload {
    Workload {
        name: name.into(),
        identity: identity.clone(),
        ips: vec![ip],
        ..crate::mesh::fixture::workload(name)
    }
}

/// Two addresses of loopback that no other bench has, of this process or of one that runs beside it: of their 24 bits 15 are
/// of the process's number and 8 of the bench's.
fn addresses() -> (IpAddr, IpAddr) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let bench = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(bench < 255, "there are no addresses for so many");
    let within = (std::process::id() << 9 | bench << 1) & 0x00ff_ffff;
    let address = |last| IpAddr::V4(Ipv4Addr::from(127 << 24 | within | last));
    (address(0), address(1))
}

fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept() {
        Ok((socket, _)) => {
            socket.set_nonblocking(true).unwrap();
            Some(socket)
        }
        Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => None,
        Err(cause) => panic!("{cause}"),
    }
}
