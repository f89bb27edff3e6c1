//! One proxy after another on a node: a rolling update runs the next one beside the one it is to replace.
//!
//! Both are on the host's network, so an abstract unix socket named after the agent's, or after the pods file where there
//! is no agent, tells them of each other. Who starts connects to it, before anything else of it can be seen: somebody who
//! answers is its *predecessor*, and for that one it is the *successor*. A proxy with a successor gives up the ports that
//! people and probes ask at, and does not call the agent again: each connection there ends the one before, and two who
//! insist would never stop. A proxy whose predecessor no longer follows the agent calls anew, once, since what the other
//! was told meanwhile is not said again.
//!
//! It runs on a thread of its own: a control thread that begins anew is no reason to be taken for gone.

use std::convert::Infallible;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;
use rustix::io::retry_on_intr;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// What names of ours begin with in the abstract namespace.
const PREFIX: &[u8] = b"ringway\0";

/// Bytes of the path that go into the name, from its end: with the prefix they have to fit into an address of 108.
const PATH_BYTES_MAX: usize = 96;

/// The words to a successor: that it is known, and that the agent is not followed any more, though connections may still
/// be finished.
const WELCOME: u8 = b'w';
const RESIGNED: u8 = b'r';

/// How a proxy introduces itself to the one that has the name: to replace it, or as the one that it replaces. The
/// last was still waiting for the end of its own predecessor when the other took the name. Whoever knows no other words
/// than the first takes the second for one of those who replace it.
const SUCCEEDS: u8 = b'S';
const PRECEDES: u8 = b'p';

/// As the first, of a version that knows no welcome, to which one goes back perhaps: it would take it for the resignation,
/// and never hear of that one.
const SUCCEEDS_UNWELCOMED: u8 = b's';

/// How long an introduction and its answer may take, in milliseconds: they are sent at once. Whoever has not answered by
/// then is not waited for: it may already have a successor, or hang.
const INTRODUCTION_MS_MAX: u64 = 1_000;

/// The pause before a name is tried again, and after an accept that failed: whoever has the name, for whatever reason, is
/// asked ten times a second at most.
const NAME_PAUSE_MS: u64 = 100;

/// What a proxy knows of those before and after it; by default, that there are none. Clones know the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Succession(Arc<Words>);

#[derive(Debug, Default)]
struct Words {
    /// Those that were there first and live.
    predecessors: AtomicUsize,
    /// Sent once the predecessor no longer follows the agent.
    follow_anew: watch::Sender<()>,
    succeeded: watch::Sender<bool>,
    resigned: watch::Sender<bool>,
}

/// There is a predecessor, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Preceded(Succession);

impl Succession {
    /// Takes a place among those who learn of their pods here: at the socket of an agent, or from a file. A predecessor
    /// knows of us on return.
    pub(crate) fn enter(source: &Path) -> io::Result<Self> {
        Self::enter_within(source, Duration::from_millis(INTRODUCTION_MS_MAX))
    }

    /// The same for a predecessor that is given so long to answer.
    fn enter_within(source: &Path, patience: Duration) -> io::Result<Self> {
        let succession = Self::default();
        let address = address(source)?;
        let predecessor = introduce(&address, SUCCEEDS).ok();
        if let Some(predecessor) = &predecessor {
            await_welcome(predecessor, patience)?;
        }
        let listener = match &predecessor {
            Some(_) => None,
            None => StdListener::bind_addr(&address).ok(),
        };
        let predecessor = predecessor.map(|predecessor| (predecessor, Preceded::of(&succession)));
        if let Some((predecessor, _)) = &predecessor {
            info!(
                pid = pid(predecessor),
                pods = %source.display(),
                "another proxy serves the same pods and leaves its ports to this one; until it ends, both take \
                 connections: end it, unless whoever started this one does"
            );
        }
        let line = succession.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let run = move || match runtime.block_on(line.stand(address, predecessor, listener)) {};
        thread::Builder::new().name("succession".to_owned()).spawn(run)?;
        Ok(succession)
    }

    /// Whether another proxy was there first, and lives.
    pub(crate) fn has_predecessor(&self) -> bool {
        self.0.predecessors.load(Ordering::Relaxed) > 0
    }

    /// Whether there is neither a proxy that this one replaces nor one that replaces it, now.
    pub(crate) fn is_alone(&self) -> bool {
        !self.has_predecessor() && !*self.0.succeeded.borrow()
    }

    /// Changes when the agent is to be followed anew.
    pub(crate) fn follow_anew(&self) -> watch::Receiver<()> {
        self.0.follow_anew.subscribe()
    }

    /// Whether another proxy has come to replace this one, and lives.
    pub(crate) fn succeeded(&self) -> watch::Receiver<bool> {
        self.0.succeeded.subscribe()
    }

    /// Tells a successor that the agent is followed no more. Its connections are closed by then.
    pub(crate) fn resign(&self) {
        self.0.resigned.send_replace(true);
    }

    async fn stand(
        &self,
        address: SocketAddr,
        predecessor: Option<(StdStream, Preceded)>,
        listener: Option<StdListener>,
    ) -> Infallible {
        if let Some((predecessor, preceded)) = predecessor
            && let Ok(predecessor) = UnixStream::from_std(predecessor)
        {
            self.follow(predecessor, preceded).await;
        }
        let mut listener = listener.map(Ok);
        let mut told = false;
        loop {
            match listener.take().unwrap_or_else(|| StdListener::bind_addr(&address)).and_then(own) {
                Ok(listener) => match self.lead(listener).await {},
                Err(_) => match introduce(&address, PRECEDES).and_then(UnixStream::from_std) {
                    Ok(successor) => self.give_way(successor).await,
                    Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied && !told => {
                        told = true;
                        warn!(%cause, "a proxy that is to replace this one will not be noticed");
                    }
                    Err(_) => {}
                },
            }
            sleep(Duration::from_millis(NAME_PAUSE_MS)).await;
        }
    }

    /// Waits for the end of the predecessor.
    async fn follow(&self, mut predecessor: UnixStream, _until_then: Preceded) {
        // Its word and its end are the same to us, whichever comes first. A welcome is neither.
        let mut word = [0];
        while matches!(predecessor.read(&mut word).await, Ok(1)) && word == [WELCOME] {}
        info!("the proxy before this one takes nothing new any more");
        self.0.follow_anew.send_replace(());
        until_end(&mut predecessor).await;
    }

    /// Hears who comes.
    async fn lead(&self, listener: UnixListener) -> Infallible {
        loop {
            let Ok((mut other, _)) = listener.accept().await else {
                // Out of descriptors, mostly: who comes meanwhile waits.
                sleep(Duration::from_millis(NAME_PAUSE_MS)).await;
                continue;
            };
            if check_ours(&other).is_err() {
                continue;
            }
            let mut word = [0];
            let introduced =
                timeout(Duration::from_millis(INTRODUCTION_MS_MAX), other.read_exact(&mut word)).await;
            if !matches!(introduced, Ok(Ok(_))) {
                continue;
            }
            match word {
                [PRECEDES] => {
                    let (line, preceded) = (self.clone(), Preceded::of(self));
                    tokio::spawn(async move { line.follow(other, preceded).await });
                }
                [SUCCEEDS_UNWELCOMED] => self.give_way(other).await,
                _ => self.welcome(other).await,
            }
        }
    }

    /// The same for one that waits until it is known.
    async fn welcome(&self, mut successor: UnixStream) {
        self.0.succeeded.send_replace(true);
        // Whoever has gone does not need to hear it.
        let _ = successor.write_all(&[WELCOME]).await;
        self.give_way(successor).await;
    }

    /// Until the successor is gone.
    async fn give_way(&self, mut successor: UnixStream) {
        let mut resigned = self.0.resigned.subscribe();
        let pid = successor.peer_cred().ok().and_then(|who| who.pid());
        info!(
            pid,
            "another proxy has come to replace this one, and gets its ports; it waits for this one to end"
        );
        self.0.succeeded.send_replace(true);
        tokio::select! {
            () = until_end(&mut successor) => {}
            _ = resigned.wait_for(|resigned| *resigned) => {
                // Whoever has gone does not need to hear it.
                let _ = successor.write_all(&[RESIGNED]).await;
                until_end(&mut successor).await;
            }
        }
        warn!("the proxy that was to replace this one has gone");
        self.0.succeeded.send_replace(false);
    }
}

// === impl Preceded ===

impl Preceded {
    pub(crate) fn of(succession: &Succession) -> Self {
        succession.0.predecessors.fetch_add(1, Ordering::Relaxed);
        Self(succession.clone())
    }
}

impl Drop for Preceded {
    fn drop(&mut self) {
        self.0.0.predecessors.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The process at the other end, as this one sees it.
fn pid(other: impl AsFd) -> Option<i32> {
    socket_peercred(other).ok().map(|who| who.pid.as_raw_nonzero().get())
}

/// Says a word to whoever has the name, if that is one of us. It does not wait: one that accepts nobody is an error.
fn introduce(address: &SocketAddr, word: u8) -> io::Result<StdStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(address.as_abstract_name().unwrap_or_default())?)?;
    check_ours(&socket)?;
    let mut other = StdStream::from(socket);
    other.write_all(&[word])?;
    Ok(other)
}

/// Waits until the predecessor knows of us: it would take the agent back from us otherwise. Its word stays to be read: it
/// may be another one, of a version that welcomes nobody.
fn await_welcome(predecessor: &StdStream, patience: Duration) -> io::Result<()> {
    predecessor.set_nonblocking(false)?;
    predecessor.set_read_timeout(Some(patience))?;
    // A signal is no answer.
    let _ = retry_on_intr(|| recv(predecessor, &mut [0], RecvFlags::PEEK));
    predecessor.set_nonblocking(true)
}

fn own(listener: StdListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn address(agent: &Path) -> io::Result<SocketAddr> {
    let path = agent.as_os_str().as_encoded_bytes();
    let end = &path[path.len().saturating_sub(PATH_BYTES_MAX)..];
    SocketAddr::from_abstract_name([PREFIX, end].concat())
}

/// Everybody on the host's network can connect to an abstract name, or take it; a proxy runs as the same user.
fn check_ours(other: impl AsFd) -> io::Result<()> {
    check_user(socket_peercred(other)?.uid.as_raw())
}

fn check_user(user: u32) -> io::Result<()> {
    if user == geteuid().as_raw() {
        return Ok(());
    }
    let cause =
        format!("a process of user {user} has taken the name that proxies know each other by; end it");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, cause))
}

async fn until_end(stream: &mut UnixStream) {
    while matches!(stream.read(&mut [0; 16]).await, Ok(count) if count > 0) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A path that no other test and no other process has.
    fn path(test: &str) -> String {
        format!("/run/{test}-{}.sock", std::process::id())
    }

    async fn until(receiver: &mut watch::Receiver<bool>, expected: bool) {
        timeout(PATIENCE, receiver.wait_for(|value| *value == expected)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_first_learns_of_the_second_and_the_second_of_its_resignation() {
        let path = path("succession");
        let first = Succession::enter(Path::new(&path)).unwrap();
        let second = Succession::enter_within(Path::new(&path), PATIENCE).unwrap();
        assert!(*first.succeeded().borrow(), "before the second does anything else");
        let mut anew = second.follow_anew();
        assert!(!anew.has_changed().unwrap());
        assert!(!*second.succeeded().borrow());
        assert!(second.has_predecessor() && !first.has_predecessor());
        assert!(!second.is_alone() && !first.is_alone());
        first.resign();
        timeout(PATIENCE, anew.changed()).await.unwrap().unwrap();
        assert!(*first.succeeded().borrow(), "it is succeeded for as long as the other lives");
    }

    /// One of a version that welcomes nobody, and was told to end already.
    #[tokio::test]
    async fn a_predecessor_that_only_resigns_is_heard() {
        let (ours, mut theirs) = StdStream::pair().unwrap();
        theirs.write_all(&[RESIGNED]).unwrap();
        await_welcome(&ours, PATIENCE).unwrap();
        let succession = Succession::default();
        let mut anew = succession.follow_anew();
        let predecessor = UnixStream::from_std(ours).unwrap();
        let preceded = Preceded::of(&succession);
        tokio::spawn(async move { succession.follow(predecessor, preceded).await });
        timeout(PATIENCE, anew.changed()).await.unwrap().unwrap();
    }

    /// One of a version that knows no welcome: a rolling update that goes back. The first word that it hears is the one
    /// that it waits for.
    #[tokio::test]
    async fn a_successor_that_knows_no_welcome_hears_of_the_resignation_alone() {
        let path = path("older");
        let first = Succession::enter(Path::new(&path)).unwrap();
        let mut succeeded = first.succeeded();
        let stream = introduce(&address(Path::new(&path)).unwrap(), SUCCEEDS_UNWELCOMED).unwrap();
        let mut second = UnixStream::from_std(stream).unwrap();
        until(&mut succeeded, true).await;
        first.resign();
        let mut word = [0];
        timeout(PATIENCE, second.read_exact(&mut word)).await.unwrap().unwrap();
        assert_eq!(word, [RESIGNED]);
    }

    #[tokio::test]
    async fn who_outlives_the_one_before_is_alone() {
        let (ours, theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let succession = Succession::default();
        assert!(succession.is_alone());
        let preceded = Preceded::of(&succession);
        assert!(!succession.is_alone());
        drop(theirs);
        let followed = succession.follow(UnixStream::from_std(ours).unwrap(), preceded);
        timeout(PATIENCE, followed).await.unwrap();
        assert!(succession.is_alone() && !succession.has_predecessor());
    }

    /// A proxy that looks and goes: one that fails at start, and is started again.
    #[tokio::test]
    async fn a_successor_that_goes_is_forgotten() {
        let path = path("successor");
        let first = Succession::enter(Path::new(&path)).unwrap();
        let mut succeeded = first.succeeded();
        let address = address(Path::new(&path)).unwrap();
        for _ in 0..3 {
            let stream = introduce(&address, SUCCEEDS).unwrap();
            until(&mut succeeded, true).await;
            drop(stream);
            until(&mut succeeded, false).await;
        }
    }

    /// It came in the moment in which nobody had the name, and has it now; the other still came before it.
    #[tokio::test]
    async fn who_came_before_the_one_that_has_the_name_gives_way() {
        let path = path("before");
        let address = address(Path::new(&path)).unwrap();
        // Its predecessor has no name that could be given up too late: a process that is just being started by another test
        // has all that is open here, for a moment.
        let (last, predecessor) = StdStream::pair().unwrap();
        predecessor.set_nonblocking(true).unwrap();
        let second = Succession::default();
        let preceded = Preceded::of(&second);
        let third = Succession::enter(Path::new(&path)).unwrap();
        let mut anew = third.follow_anew();
        let told = async {
            drop(last);
            until(&mut second.succeeded(), true).await;
            assert!(!*third.succeeded().borrow());
            second.resign();
            timeout(PATIENCE, anew.changed()).await.unwrap().unwrap();
            assert!(!second.has_predecessor() && third.has_predecessor());
        };
        tokio::select! {
            never = second.stand(address, Some((predecessor, preceded)), None) => match never {},
            () = told => {}
        }
    }

    #[test]
    fn long_paths_fit_into_a_name() {
        for length in [1, 50, 96, 97, 107, 4_096] {
            assert!(address(Path::new(&"x".repeat(length))).is_ok(), "{length}");
        }
    }

    /// As it is when somebody else has the name, or a proxy that hangs.
    #[test]
    fn who_accepts_nobody_holds_nobody_up() {
        let path = path("hanging");
        let address = address(Path::new(&path)).unwrap();
        let _hanging = StdListener::bind_addr(&address).unwrap();
        // It takes the connection, and never answers.
        assert!(Succession::enter(Path::new(&path)).unwrap().has_predecessor());
        // Until its queue is full.
        let error = loop {
            if let Err(error) = introduce(&address, SUCCEEDS) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_process_of_another_user_is_no_proxy() {
        let own = geteuid().as_raw();
        assert!(check_user(own).is_ok());
        let error = check_user(own + 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains(&format!("user {}", own + 1)), "{error}");
    }
}
