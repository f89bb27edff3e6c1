//! A node agent that names its pods over ZDS.
//!
//! [`NodeAgent`] is the socket and [`Connection`] one proxy on it: a test says what is sent when, right or wrong.
//! [`Enroller`] is the agent that behaves, in the way Cilium's does: it serves every proxy that connects with what it
//! knows, and takes pods in and out while it waits for the answer.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use prost::Message;
use proto::zds::workload_request::Payload;
use proto::zds::{
    AddWorkload, DelWorkload, KeepWorkload, SnapshotSent, Version, WorkloadInfo, WorkloadRequest,
    WorkloadResponse, ZdsHello, workload_response,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::lab::Pod;
use crate::redirect;
use crate::traffic::PATIENCE_TIMEOUT;

/// What agents read of one packet; a longer one is an error to them.
pub const PACKET_BYTES: usize = 1024;

/// Descriptors that the kernel takes along with one packet (`SCM_MAX_FD`).
const DESCRIPTORS_MAX: usize = 253;

/// Proxies that wait to be accepted.
const BACKLOG: i32 = 64;

/// What an agent says of a pod, and its namespace.
#[derive(Clone, Debug)]
pub struct Announcement {
    pub uid: String,
    pub name: String,
    pub namespace: String,
    pub service_account: String,
    pub netns: Arc<File>,
}

impl Announcement {
    pub fn of(pod: &Pod) -> Result<Self> {
        let netns = File::open(pod.netns.path()).with_context(|| format!("the namespace of {}", pod.uid))?;
        Ok(Self {
            uid: pod.uid.clone(),
            name: pod.spec.name.clone(),
            namespace: pod.spec.namespace.clone(),
            service_account: pod.spec.service_account.clone(),
            netns: Arc::new(netns),
        })
    }

    /// The request that announces it, encoded.
    pub fn message(&self) -> Vec<u8> {
        encoded(self.payload())
    }

    fn payload(&self) -> Payload {
        Payload::Add(AddWorkload {
            uid: self.uid.clone(),
            workload_info: Some(WorkloadInfo {
                name: self.name.clone(),
                namespace: self.namespace.clone(),
                service_account: self.service_account.clone(),
            }),
        })
    }
}

/// What a proxy answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Ack,
    /// With its error.
    Nack(String),
    /// It closed the connection.
    End,
}

/// The socket of an agent; the path is gone when it is dropped.
#[derive(Debug)]
pub struct NodeAgent {
    listener: Socket,
    path: PathBuf,
}

impl NodeAgent {
    /// Listens, in place of whoever did before.
    pub fn listen(path: &Path) -> Result<Self> {
        let _ = fs::remove_file(path);
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        listener.bind(&SockAddr::unix(path)?).with_context(|| format!("listening on {}", path.display()))?;
        listener.listen(BACKLOG)?;
        listener.set_read_timeout(Some(PATIENCE_TIMEOUT))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// The next proxy, after its hello.
    pub fn accept(&self) -> Result<Connection> {
        let (socket, _) = self.listener.accept().context("no proxy connects")?;
        socket.set_read_timeout(Some(PATIENCE_TIMEOUT))?;
        socket.set_write_timeout(Some(PATIENCE_TIMEOUT))?;
        let connection = Connection { socket };
        let hello = connection.read()?;
        let expected = ZdsHello { version: Version::V1.into() }.encode_to_vec();
        ensure!(hello == expected, "the hello is {hello:?}");
        Ok(connection)
    }

    /// A proxy waits to be accepted.
    pub fn is_called(&self) -> Result<bool> {
        is_readable(&self.listener)
    }
}

impl Drop for NodeAgent {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// One proxy.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
}

impl Connection {
    /// Asks for something with the descriptors that belong to it, and reads the answer.
    fn ask(&self, payload: Payload, descriptors: &[&File]) -> Result<Answer> {
        self.send(&encoded(payload), descriptors)?;
        self.answer()
    }

    pub fn add(&self, pod: &Announcement) -> Result<Answer> {
        self.ask(pod.payload(), &[&pod.netns])
    }

    pub fn keep(&self, uid: &str) -> Result<Answer> {
        self.ask(Payload::Keep(KeepWorkload { uid: uid.to_owned() }), &[])
    }

    pub fn del(&self, uid: &str) -> Result<Answer> {
        self.ask(Payload::Del(DelWorkload { uid: uid.to_owned() }), &[])
    }

    pub fn snapshot_sent(&self) -> Result<Answer> {
        self.ask(Payload::SnapshotSent(SnapshotSent {}), &[])
    }

    /// A whole snapshot, every part of it acked.
    pub fn announce<'p>(&self, pods: impl IntoIterator<Item = &'p Announcement>) -> Result<()> {
        for pod in pods {
            self.add(pod)?.expect_ack().with_context(|| format!("adding {}", pod.uid))?;
        }
        self.snapshot_sent()?.expect_ack().context("ending the snapshot")
    }

    /// One packet as it is.
    pub fn send(&self, message: &[u8], descriptors: &[&File]) -> Result<()> {
        let rights: Vec<BorrowedFd<'_>> = descriptors.iter().map(|file| file.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !rights.is_empty() {
            ensure!(control.push(SendAncillaryMessage::ScmRights(&rights)), "too many descriptors");
        }
        let sent = sendmsg(&self.socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL);
        sent.map(drop).context("the proxy has gone")
    }

    /// The answer to what was asked; waits for it.
    pub fn answer(&self) -> Result<Answer> {
        let packet = match self.read() {
            Ok(packet) => packet,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Answer::End),
            Err(error) => return Err(error).context("no answer"),
        };
        if packet.is_empty() {
            return Ok(Answer::End);
        }
        match WorkloadResponse::decode(&*packet)?.payload {
            None => bail!("an answer without ack"),
            Some(workload_response::Payload::Ack(ack)) if ack.error.is_empty() => Ok(Answer::Ack),
            Some(workload_response::Payload::Ack(ack)) => Ok(Answer::Nack(ack.error)),
        }
    }

    /// An answer is there, or the end.
    pub fn is_answered(&self) -> Result<bool> {
        is_readable(&self.socket)
    }

    /// One packet; empty at the end. An error when it is longer than agents read.
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; PACKET_BYTES + 1];
        let count = (&self.socket).read(&mut buffer)?;
        if count > PACKET_BYTES {
            return Err(io::Error::other(format!("a packet of more than {PACKET_BYTES} bytes")));
        }
        Ok(buffer[..count].to_vec())
    }
}

impl Answer {
    pub fn expect_ack(self) -> Result<()> {
        ensure!(self == Self::Ack, "answered with {self:?}");
        Ok(())
    }
}

fn encoded(payload: Payload) -> Vec<u8> {
    WorkloadRequest { payload: Some(payload) }.encode_to_vec()
}

fn is_readable(socket: &Socket) -> Result<bool> {
    let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut polled, PollTimeout::ZERO)? > 0)
}

/// An agent that serves whoever connects, the newest alone, from the pods it knows.
#[derive(Debug)]
pub struct Enroller {
    agent: Arc<NodeAgent>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A proxy was served, or we end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Those that a proxy has acked.
    pods: BTreeMap<String, Announcement>,
    connection: Option<Connection>,
    snapshots: u64,
    stopping: bool,
}

impl Enroller {
    pub fn start(path: &Path) -> Result<Self> {
        Self::restart(path, [])
    }

    /// One that has enrolled these pods in an earlier life: whoever connects is told of them.
    pub fn restart(path: &Path, pods: impl IntoIterator<Item = Announcement>) -> Result<Self> {
        let agent = Arc::new(NodeAgent::listen(path)?);
        let pods = pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
        let state = Mutex::new(State { pods, ..State::default() });
        let shared = Arc::new(Shared { state, ..Shared::default() });
        let (served, state) = (Arc::clone(&agent), Arc::clone(&shared));
        let thread = thread::spawn(move || serve(&served, &state));
        Ok(Self { agent, shared, thread: Some(thread) })
    }

    /// Redirects the pod's traffic, announces it, and knows it once it was acked. Waits for a proxy.
    pub fn enrol(&self, pod: &Pod) -> Result<()> {
        redirect::install(&pod.netns)?;
        let announcement = Announcement::of(pod)?;
        let mut state = self.shared.connected()?;
        let answer = state.ask(|connection| connection.add(&announcement));
        answer.with_context(|| format!("enrolling {}", pod.uid))?;
        state.pods.insert(pod.uid.clone(), announcement);
        Ok(())
    }

    /// Takes the redirection away, then the pod.
    pub fn dismiss(&self, pod: &Pod) -> Result<()> {
        redirect::remove(&pod.netns)?;
        let mut state = self.shared.connected()?;
        state
            .ask(|connection| connection.del(&pod.uid))
            .with_context(|| format!("dismissing {}", pod.uid))?;
        state.pods.remove(&pod.uid);
        Ok(())
    }

    /// Snapshots that were acked so far.
    pub fn snapshots(&self) -> u64 {
        self.shared.lock().snapshots
    }
}

impl Drop for Enroller {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        // Shutting a listening socket down wakes the thread that accepts.
        let _ = self.agent.listener.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(agent: &NodeAgent, shared: &Shared) {
    loop {
        let accepted = agent.accept();
        let mut state = shared.lock();
        if state.stopping {
            return;
        }
        let Ok(connection) = accepted else { continue };
        // The one before is closed at once; nobody gets anything until the newest has its snapshot.
        state.connection = None;
        if connection.announce(state.pods.values()).is_ok() {
            state.connection = Some(connection);
            state.snapshots += 1;
            shared.changed.notify_all();
        }
    }
}

impl Shared {
    /// A panic leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a proxy was served.
    fn connected(&self) -> Result<MutexGuard<'_, State>> {
        let waits = |state: &mut State| state.connection.is_none() && !state.stopping;
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE_TIMEOUT, waits);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        ensure!(!timeout.timed_out(), "no proxy came");
        Ok(state)
    }
}

impl State {
    /// A proxy that does not ack is let go of.
    fn ask(&mut self, ask: impl FnOnce(&Connection) -> Result<Answer>) -> Result<()> {
        let connection = self.connection.as_ref().context("no proxy")?;
        let answer = ask(connection).and_then(Answer::expect_ack);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }
}
