//! Accepting: one standing accept per listener.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;

use super::{Key, Kind, Listener, Shard, Tables};
use crate::uring::Token;

/// Out of descriptors or memory: waiting a moment is all that can help, and trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Tables {
    /// Arms the standing accept of a listener.
    pub(crate) fn accept(&mut self, key: Key) {
        if let Some(listener) = self.listeners.get_mut(key) {
            let op = self.driver.accept(listener.socket.as_fd(), key.token(Kind::Listener));
            listener.accept = Some(op);
        }
    }
}

impl Shard {
    /// A connection came, or the standing accept ended.
    pub(crate) fn accepted(self: &Rc<Self>, token: Token, result: io::Result<OwnedFd>, more: bool) {
        let Some((Kind::Listener, key)) = Key::of(token) else { return };
        let mut tables = self.tables.borrow_mut();
        let Some(listener) = tables.listeners.get_mut(key) else { return };
        let (pod, port, closing) = (Rc::clone(&listener.pod), listener.port, listener.closing);
        if !more {
            listener.accept = None;
            if closing {
                let listener = tables.listeners.remove(key);
                drop(tables);
                self.accept_rest(listener);
                tables = self.tables.borrow_mut();
            } else if result.is_ok() {
                tables.accept(key);
            } else {
                let at = self.driver.now() + ACCEPT_PAUSE;
                self.driver.timer(at, key.token(Kind::ListenerTimer));
            }
        }
        drop(tables);
        if let Ok(socket) = result
            && !pod.is_gone()
        {
            self.place(&pod, port, socket);
        }
    }

    /// Who stands in the queue of a listener that closes because we drain was connected before, and is served:
    /// closing the socket would reset them.
    fn accept_rest(self: &Rc<Self>, listener: Option<Listener>) {
        let Some(Listener { socket, pod, port, .. }) = listener else { return };
        while !pod.is_gone()
            && let Ok((accepted, _)) = SockRef::from(&socket).accept()
        {
            self.place(&pod, port, accepted.into());
        }
    }
}
