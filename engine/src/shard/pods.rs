//! The pods of this node as one shard knows them: their namespace, their listeners, their set-up tasks.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use async_executor::Task;

use super::{Command, Key, PodSpec, Shard, Table};
use crate::mesh::{Snapshot, Workload};
use crate::net::{self, Accepted, Namespace, Port};
use crate::observe::{Direction, Traffic};
use crate::uring::OpId;

/// A pod whose sockets are ours.
#[derive(Debug)]
pub(crate) struct LocalPod {
    pub(crate) uid: Arc<str>,
    pub(crate) workload: PodName,
    pub(crate) netns: Namespace,
    /// The kernel lets us show the client's address to the application.
    pub(crate) transparent: bool,
    listeners: RefCell<Vec<Key>>,
    /// Set-up tasks in progress; dropping one cancels it and closes its sockets.
    tasks: RefCell<Table<Option<Task<()>>>>,
    /// It has left: nothing is begun for it any more.
    gone: Cell<bool>,
}

/// How the control plane's workload of a pod is found: by these three, not by uid (contract 1.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodName {
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) service_account: Arc<str>,
}

/// One listening socket, with its standing accept.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) pod: Rc<LocalPod>,
    pub(crate) port: Port,
    pub(crate) accept: Option<OpId>,
    pub(crate) closing: bool,
}

impl LocalPod {
    pub(crate) fn new(uid: Arc<str>, workload: PodName, netns: Namespace, transparent: bool) -> Self {
        Self {
            uid,
            workload,
            netns,
            transparent,
            listeners: RefCell::default(),
            tasks: RefCell::default(),
            gone: Cell::new(false),
        }
    }

    /// It has left: nothing is begun for it any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// What the mesh knows of it.
    pub(crate) fn workload_in<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Arc<Workload>> {
        let PodName { name, namespace, service_account } = &self.workload;
        snapshot.workload_of_pod(name, namespace, service_account)
    }
}

/// Who is at fault, and what to do about it.
fn why_not_listening(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "; it takes SYS_ADMIN to enter the namespace, and NET_ADMIN to mark a socket there"
        }
        io::ErrorKind::AddrInUse => {
            "; something in the pod, or a proxy of another user, listens there: `ss -ltnp` in the namespace names it"
        }
        _ => "",
    }
}

impl Shard {
    /// Learns of a pod, whose connections other shards may hand over from now on.
    pub(crate) fn add_pod(&self, spec: PodSpec) -> Result<(), String> {
        let netns = Namespace::new(spec.netns);
        let transparent = net::may_keep_source(&netns, &self.config).map_err(|cause| {
            format!("ENABLE_ORIG_SRC is set, but IP_TRANSPARENT is refused: {cause}; it needs NET_ADMIN")
        })?;
        let uid = Arc::clone(&spec.uid);
        let name =
            PodName { name: spec.name, namespace: spec.namespace, service_account: spec.service_account };
        let pod = Rc::new(LocalPod::new(spec.uid, name, netns, transparent));
        // Whoever adds it does not know of one that is here: adding that was given up midway.
        self.cut_pod(&uid, "connection closed because the pod is added anew");
        self.pods.borrow_mut().insert(uid, pod);
        Ok(())
    }

    /// Opens the listeners of a pod that every shard has been told of, if this one still accepts.
    pub(crate) fn listen(&self, uid: &str) -> Result<(), String> {
        let pod = self.pods.borrow().get(uid).map(Rc::clone);
        let Some(pod) = pod.filter(|_| !self.draining.get()) else { return Ok(()) };
        for port in Port::ALL {
            self.open_listener(&pod, port).map_err(|cause| {
                self.close_listeners(&pod);
                let number = port.number();
                let who = why_not_listening(&cause);
                format!("cannot listen on port {number} in the pod's namespace: {cause}{who}")
            })?;
        }
        Ok(())
    }

    /// Closes every socket of the pod.
    pub(crate) fn remove_pod(&self, uid: &str) {
        self.cut_pod(uid, "connection closed because the pod left");
    }

    pub(crate) fn cut_pod(&self, uid: &str, cause: &str) {
        let Some(pod) = self.pods.borrow_mut().remove(uid) else { return };
        pod.gone.set(true);
        self.close_listeners(&pod);
        let mut tables = self.tables.borrow_mut();
        // Those first whose set-up task still waits for an answer: it will not be there to take it.
        for key in tables.relays.keys() {
            if tables.relays.get(key).is_some_and(|relay| Rc::ptr_eq(&relay.pod, &pod)) {
                tables.drop_relay(key, Some("the pod left".to_owned()));
            }
        }
        for key in tables.tunnels.keys() {
            if tables.tunnels.get(key).is_some_and(|tunnel| Rc::ptr_eq(&tunnel.facts.pod, &pod)) {
                tables.close_tunnel(key, cause);
            }
        }
        for key in tables.pairs.keys() {
            if tables.pairs.get(key).is_some_and(|pair| Rc::ptr_eq(pair.pod(), &pod)) {
                tables.drop_pair(key, cause);
            }
        }
        drop(tables);
        let tasks = std::mem::take(&mut *pod.tasks.borrow_mut());
        drop(tasks);
        self.pool.borrow_mut().forget_pod(&pod);
    }

    pub(crate) fn close_listeners(&self, pod: &LocalPod) {
        let mut tables = self.tables.borrow_mut();
        for key in pod.listeners.borrow_mut().drain(..) {
            let Some(listener) = tables.listeners.get_mut(key) else { continue };
            listener.closing = true;
            match listener.accept {
                Some(op) => self.driver.cancel(op),
                None => drop(tables.listeners.remove(key)),
            }
        }
    }

    /// Runs a set-up task for a pod; it ends with the pod.
    pub(crate) fn spawn(&self, pod: &Rc<LocalPod>, task: impl Future<Output = ()> + 'static) {
        if pod.gone.get() {
            return;
        }
        let key = pod.tasks.borrow_mut().insert(None);
        let owner = Rc::clone(pod);
        let task = self.executor.spawn(async move {
            task.await;
            let finished = owner.tasks.borrow_mut().remove(key).flatten();
            if let Some(finished) = finished {
                finished.detach();
            }
        });
        match pod.tasks.borrow_mut().get_mut(key) {
            Some(place) => *place = Some(task),
            None => task.detach(),
        }
    }

    /// An accepted socket, from one of our listeners or from another shard's.
    pub(crate) fn serve(self: &Rc<Self>, pod: &Rc<LocalPod>, port: Port, socket: OwnedFd) {
        let accepted = match Accepted::new(socket, port, &self.options) {
            Ok(accepted) => accepted,
            // Gone before we could look at it.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
            Err(error) => return self.report_unusable(port, &error),
        };
        let setting_up = SettingUp::begin(Rc::clone(self));
        let (shard, owner) = (Rc::clone(self), Rc::clone(pod));
        self.spawn(pod, async move {
            match port {
                Port::Outbound => crate::outbound::serve(shard, owner, accepted).await,
                Port::Plain => crate::passthrough::serve_inbound(shard, owner, accepted).await,
                Port::Hbone => crate::inbound::serve_tunnel(shard, owner, accepted).await,
            }
            drop(setting_up);
        });
    }

    /// A connection that the kernel gave us and that cannot be served. Who called whom cannot be told.
    fn report_unusable(&self, port: Port, error: &io::Error) {
        let direction = match port {
            Port::Outbound => Direction::Outbound,
            Port::Plain | Port::Hbone => Direction::Inbound,
        };
        let unknown = Ipv4Addr::UNSPECIFIED;
        let mut record = self.record(direction, (unknown, 0).into(), (unknown, port.number()).into());
        record.set_refused();
        let why = format!("the kernel does not let the accepted socket be used: {error}");
        self.report(record.closed(Traffic::default(), self.driver.now(), Some(why)));
    }

    /// Keeps an accepted socket, or hands it to a shard that has clearly less to do. A shard that drains keeps all: the
    /// others may have drained already.
    pub(crate) fn place(self: &Rc<Self>, pod: &Rc<LocalPod>, port: Port, socket: OwnedFd) {
        let other = self.less_loaded().filter(|_| !self.draining.get());
        let Some(other) = other else { return self.serve(pod, port, socket) };
        let command = Command::Adopt { pod: Arc::clone(&pod.uid), port, socket };
        if let Err(Command::Adopt { socket, .. }) = other.offer(command) {
            self.serve(pod, port, socket);
        }
    }

    fn open_listener(&self, pod: &Rc<LocalPod>, port: Port) -> io::Result<()> {
        let socket = net::listen(&pod.netns, port, &self.config, pod.transparent)?;
        self.accept_at(pod, port, socket);
        Ok(())
    }

    pub(super) fn accept_at(&self, pod: &Rc<LocalPod>, port: Port, socket: OwnedFd) {
        let mut tables = self.tables.borrow_mut();
        let key = tables.listeners.insert(Listener {
            socket,
            pod: Rc::clone(pod),
            port,
            accept: None,
            closing: false,
        });
        pod.listeners.borrow_mut().push(key);
        tables.accept(key);
    }
}

/// Counts a connection as load of its shard until it is in a table, or will never be.
struct SettingUp {
    shard: Rc<Shard>,
}

impl SettingUp {
    fn begin(shard: Rc<Shard>) -> Self {
        shard.setting_up.set(shard.setting_up.get() + 1);
        shard.count_load(&shard.tables.borrow());
        Self { shard }
    }
}

impl Drop for SettingUp {
    fn drop(&mut self) {
        self.shard.setting_up.set(self.shard.setting_up.get() - 1);
    }
}
