#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::pin::pin;

use prost::Message;
use proto::zds::workload_request::Payload;
use proto::zds::{AddWorkload, DelWorkload, SnapshotSent, WorkloadInfo, WorkloadRequest};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, accept, bind, listen, sendmsg, socket_with,
};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::zds::packet::PACKET_BYTES_MAX;

const PATIENCE: Duration = Duration::from_secs(20);

/// The other end, and what a reconciler would have seen.
struct Agent {
    directory: TempDir,
    listener: OwnedFd,
}

/// A connection as the agent has it.
struct Connection {
    raw: OwnedFd,
    socket: Socket,
}

impl Agent {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let listener = listener(&directory);
        Self { directory, listener }
    }

    fn client(&self) -> (Client, mpsc::Receiver<PodEvent>, Status) {
        let (events, seen) = mpsc::channel(1);
        let status = Status::default();
        (
            Client::new(self.directory.path().join("zds"), events, status.clone(), &Succession::default()),
            seen,
            status,
        )
    }

    /// A client that calls anew when it gets a word.
    fn client_with_word(&self) -> (Client, mpsc::Receiver<PodEvent>, watch::Sender<()>) {
        let (mut client, seen, _) = self.client();
        let (word, anew) = watch::channel(());
        client.anew = anew;
        (client, seen, word)
    }

    /// The connection that stands, and the next after the word.
    async fn accept_both(&self, word: &watch::Sender<()>) -> (Connection, Connection) {
        let old = self.accept().await;
        word.send(()).unwrap();
        (old, self.accept().await)
    }

    /// The next connection, after its hello.
    async fn accept(&self) -> Connection {
        let accepted = async {
            loop {
                match accept(&self.listener) {
                    Ok(socket) => break socket,
                    Err(_) => sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let raw = timeout(PATIENCE, accepted).await.unwrap();
        rustix::io::ioctl_fionbio(&raw, true).unwrap();
        let socket = Socket::new(raw.try_clone().unwrap()).unwrap();
        assert_eq!(socket.receive().await.unwrap().message, [0x08, 0x01]);
        Connection { raw, socket }
    }
}

fn listener(directory: &TempDir) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(directory.path().join("zds")).unwrap()).unwrap();
    listen(&listener, 16).unwrap();
    listener
}

impl Connection {
    fn send(&self, message: &[u8], descriptors: &[OwnedFd]) {
        let descriptors: Vec<_> = descriptors.iter().map(std::os::fd::AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        sendmsg(&self.raw, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL).unwrap();
    }

    fn request(&self, payload: Payload) {
        let descriptors: &[OwnedFd] = match payload {
            Payload::Add(_) => &[File::open("/proc/self/ns/net").unwrap().into()],
            _ => &[],
        };
        self.send(&WorkloadRequest { payload: Some(payload) }.encode_to_vec(), descriptors);
    }

    async fn answer(&self) -> Vec<u8> {
        timeout(PATIENCE, self.socket.receive()).await.unwrap().unwrap().message
    }

    async fn expect_ack(&self) {
        assert_eq!(self.answer().await, [0x0a, 0x00]);
    }

    /// A request, what it is to the reconciler, and the answer once that has tried it.
    async fn is_followed(&self, payload: Payload, seen: &mut mpsc::Receiver<PodEvent>, change: &str) {
        self.request(payload);
        assert_eq!(tried(seen).await, change);
        self.expect_ack().await;
    }

    async fn expect_end(&self) {
        let end = timeout(PATIENCE, self.socket.receive()).await.unwrap();
        assert!(matches!(end, Err(PacketError::End)), "{end:?}");
    }
}

fn add() -> Payload {
    let info =
        WorkloadInfo { name: "cart-0".into(), namespace: "shop".into(), service_account: "cart".into() };
    Payload::Add(AddWorkload { uid: "1".into(), workload_info: Some(info) })
}

fn delete() -> Payload {
    Payload::Del(DelWorkload { uid: "1".into() })
}

fn snapshot_sent() -> Payload {
    Payload::SnapshotSent(SnapshotSent {})
}

/// Runs the client beside the test.
async fn beside(client: Client, test: impl Future<Output = ()>) {
    tokio::select! {
        never = client.run() => match never {},
        () = test => {}
    }
}

/// Answers the next change as a reconciler would; what it was.
async fn tried(seen: &mut mpsc::Receiver<PodEvent>) -> String {
    let event = timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
    event.done.send(()).unwrap();
    match event.change {
        PodChange::Come(pod) => format!("come {}", pod.uid),
        PodChange::Gone(uid) => format!("gone {uid}"),
        PodChange::All(uids) => format!("all {}", uids.len()),
        PodChange::Lost => "lost".to_owned(),
    }
}

fn is_connected(status: &Status) -> bool {
    status.read(|state| state.planes.get(&Plane::Zds).is_some_and(|plane| plane.connected))
}

fn error_of(status: &Status) -> String {
    status.read(|state| state.planes[&Plane::Zds].error.clone().unwrap_or_default())
}

#[tokio::test]
async fn each_request_is_answered_when_it_was_tried_and_not_before() {
    let agent = Agent::new();
    let (client, mut seen, status) = agent.client();
    beside(client, async {
        let connection = agent.accept().await;
        connection.request(add());
        let event = seen.recv().await.unwrap();
        assert!(is_connected(&status));
        {
            let mut answer = pin!(connection.answer());
            assert!(timeout(Duration::from_millis(20), &mut answer).await.is_err(), "answered too early");
            event.done.send(()).unwrap();
            assert_eq!(answer.await, [0x0a, 0x00]);
        }
        connection.is_followed(snapshot_sent(), &mut seen, "all 1").await;
        connection.is_followed(delete(), &mut seen, "gone 1").await;
    })
    .await;
}

/// Whatever is wrong with a packet: it is refused by a packet that an agent can read, the connection ends, a new one
/// comes, and no descriptor is left open.
#[tokio::test]
async fn what_cannot_be_followed_is_refused_and_the_connection_made_anew() {
    let agent = Agent::new();
    let (client, mut seen, status) = agent.client();
    let too_long = [7; PACKET_BYTES_MAX + 1];
    let request = WorkloadRequest { payload: Some(add()) }.encode_to_vec();
    let cases: [(&str, &[u8], usize); 6] = [
        ("an empty packet", b"", 0),
        ("an empty packet with a descriptor", b"", 1),
        ("too long", &too_long, 1),
        ("no descriptor", &request, 0),
        ("more descriptors than anybody needs", &request, 253),
        ("nonsense", b"\xff\xff\xff", 1),
    ];
    beside(client, async {
        for (case, message, count) in cases {
            let connection = agent.accept().await;
            // The last of those who hold the writing end closes it for the reader to see.
            let (mut reader, writer) = io::pipe().unwrap();
            let descriptors: Vec<OwnedFd> =
                (0..count).map(|_| OwnedFd::from(writer.try_clone().unwrap())).collect();
            drop(writer);
            connection.send(message, &descriptors);
            drop(descriptors);
            let nack = connection.answer().await;
            assert!(nack.len() > 2 && nack.len() <= PACKET_BYTES_MAX, "{case}: {nack:?}");
            connection.expect_end().await;
            let read = tokio::task::spawn_blocking(move || reader.read(&mut [0]).unwrap());
            assert_eq!(timeout(PATIENCE, read).await.unwrap().unwrap(), 0, "{case}: a descriptor is open");
            assert_eq!(tried(&mut seen).await, "lost", "{case}");
            assert!(!is_connected(&status), "{case}");
        }
        agent.accept().await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_or_goes_is_found_again() {
    let agent = Agent::new();
    let (client, mut seen, status) = agent.client();
    let path = agent.directory.path().join("zds");
    let Agent { directory, listener: first } = agent;
    drop(first);
    std::fs::remove_file(path).unwrap();
    beside(client, async {
        assert_eq!(tried(&mut seen).await, "lost");
        assert!(error_of(&status).contains("no node agent can be reached"));

        let listener = listener(&directory);
        let agent = Agent { directory, listener };
        let told = async {
            loop {
                if tried(&mut seen).await != "lost" {
                    break;
                }
            }
        };
        let connected = async {
            let connection = agent.accept().await;
            connection.request(add());
            connection.expect_ack().await;
            connection
        };
        let ((), connection) = tokio::join!(told, connected);
        drop(connection);
        assert_eq!(tried(&mut seen).await, "lost");
        assert!(error_of(&status).contains("before it had named all pods"));
        agent.accept().await;
    })
    .await;
}

/// An agent holds a lock until it is answered, and the reconciler may have other things to do.
#[tokio::test(start_paused = true)]
async fn an_answer_does_not_wait_for_ever() {
    let agent = Agent::new();
    let (client, mut seen, _) = agent.client();
    beside(client, async {
        let connection = agent.accept().await;
        connection.request(add());
        let event = seen.recv().await.unwrap();
        connection.expect_ack().await;
        assert!(event.done.send(()).is_err(), "nobody waits any more");
        connection.is_followed(snapshot_sent(), &mut seen, "all 1").await;
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_on_its_way_when_the_agent_is_called_anew_is_answered_and_its_pod_stays() {
    let agent = Agent::new();
    let (client, mut seen, word) = agent.client_with_word();
    beside(client, async {
        let (old, new) = agent.accept_both(&word).await;
        old.is_followed(add(), &mut seen, "come 1").await;
        drop(old);
        // Made before it was acked.
        new.is_followed(snapshot_sent(), &mut seen, "all 1").await;
    })
    .await;
}

/// The snapshot was made before the end of the pod was acked, and nobody would speak of it again.
#[tokio::test(start_paused = true)]
async fn a_pod_that_goes_when_the_agent_is_called_anew_does_not_come_back_with_its_snapshot() {
    let agent = Agent::new();
    let (client, mut seen, word) = agent.client_with_word();
    beside(client, async {
        let (old, new) = agent.accept_both(&word).await;
        old.is_followed(delete(), &mut seen, "gone 1").await;
        drop(old);
        new.request(add());
        new.expect_ack().await;
        new.is_followed(snapshot_sent(), &mut seen, "all 0").await;
        // It is enrolled again.
        new.request(add());
        assert_eq!(tried(&mut seen).await, "come 1");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_end_the_connection_before_is_followed_on_the_new_one() {
    let agent = Agent::new();
    let (client, mut seen, word) = agent.client_with_word();
    beside(client, async {
        let (old, new) = agent.accept_both(&word).await;
        old.expect_end().await;
        new.request(add());
        assert_eq!(tried(&mut seen).await, "come 1");
    })
    .await;
}
