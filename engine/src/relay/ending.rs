//! How a relayed connection begins to end, and ends: answered, finished, reset from either side.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use super::{Opened, Phase, Refused, Relay};
use crate::hbone::ErrorCode;
use crate::net;
use crate::observe::{Record, ResponseFlag};
use crate::shard::{Key, Kind, Promised, Tables, promise};
use crate::uring::Driver;

impl Tables {
    /// The peer answered our CONNECT.
    pub(crate) fn answered(&mut self, key: Key, status: u16) {
        let Some(relay) = self.relays.get_mut(key).filter(|relay| relay.is_opening()) else { return };
        if status != 200 {
            let cause = format!(
                "the peer's proxy refused the connection: http status {status} ({})",
                refusal(status)
            );
            return self.refuse_opening(key, ErrorCode::CANCEL, false, cause);
        }
        let Phase::Opening(promise) = std::mem::replace(&mut relay.phase, Phase::Open) else { return };
        promise.fulfil(Opened::Yes);
        self.opened(key);
        self.pump(key);
        self.finish_if_done(key);
    }

    /// Asks the peer of a tunnel for a stream. The application's socket belongs to the relay from here on, and comes
    /// back if no stream comes to be; at once if the tunnel takes none.
    pub(crate) fn open_stream(
        &mut self,
        tunnel_key: Key,
        app: OwnedFd,
        authority: &str,
        headers: &[(&str, &str)],
        record: Record,
    ) -> Result<(Key, Promised<Opened>), OwnedFd> {
        let Some(tunnel) = self.tunnels.get_mut(tunnel_key) else { return Err(app) };
        if !tunnel.is_live() {
            return Err(app);
        }
        let pod = Rc::clone(&tunnel.facts.pod);
        let (session, mut seal) = tunnel.speak(&mut self.buffers);
        let Some(stream) = session.connect(authority, headers, &mut seal) else { return Err(app) };
        let (promise, opened) = promise();
        let opening = Phase::Opening(promise);
        let relay = Relay::new(pod, tunnel_key, stream, opening, Some(app), record, tunnel.transfer_bytes);
        let key = self.relays.insert(relay);
        tunnel.session.set_slot(stream, key.slot());
        tunnel.relays += 1;
        self.mark_tunnel(tunnel_key);
        Ok((key, opened))
    }

    /// The connection to the application stands: the stream that waited for it is answered and begins to flow.
    pub(crate) fn attach_app(&mut self, key: Key, app: OwnedFd, headers: &[(&str, &str)]) {
        let Some(relay) = self.relays.get_mut(key).filter(|relay| relay.is_connecting()) else {
            // The stream is gone: to the application this is no orderly end.
            return net::abort_on_close(app.as_fd());
        };
        relay.phase = Phase::Open;
        relay.app = Some(app);
        let (tunnel_key, stream) = (relay.tunnel, relay.stream);
        if let Some(tunnel) = self.tunnels.get_mut(tunnel_key) {
            let (session, mut seal) = tunnel.speak(&mut self.buffers);
            session.respond(stream, 200, headers, false, &mut seal);
        }
        self.mark_tunnel(tunnel_key);
        self.mark_relay(key);
        self.opened(key);
        self.pump(key);
    }

    /// Tells that the connection stands.
    fn opened(&mut self, key: Key) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        self.observed.push(relay.record.opened());
        self.expect_progress();
    }

    /// A stream that asked for the application is refused with a status. The peer ends its half when it has read that;
    /// bytes that come all the same have no relay, and are answered with a reset.
    pub(crate) fn refuse_stream(&mut self, key: Key, status: u16, cause: &str) {
        let Some(relay) = self.relays.get_mut(key).filter(|relay| relay.is_connecting()) else { return };
        let (tunnel_key, stream) = (relay.tunnel, relay.stream);
        if let Some(tunnel) = self.tunnels.get_mut(tunnel_key) {
            let (session, mut seal) = tunnel.speak(&mut self.buffers);
            session.respond(stream, status, &[], true, &mut seal);
        }
        self.mark_tunnel(tunnel_key);
        self.close_relay(key, Some(cause.to_owned()));
    }

    /// END_STREAM came in.
    pub(crate) fn far_ended(&mut self, key: Key) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        relay.turn.far_ended = true;
        self.finish_if_done(key);
    }

    /// The stream was reset by the peer. Rules of a tunnel, 3: NO_ERROR is an end, anything else is an RST.
    pub(crate) fn far_reset(&mut self, key: Key, code: ErrorCode, unprocessed: bool) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        match relay.phase {
            Phase::Opening(_) => {
                let cause = format!("the peer's proxy reset the stream before it was open: {code}");
                self.refuse_opening(key, code, unprocessed, cause);
            }
            Phase::Open if code == ErrorCode::NO_ERROR => {
                relay.turn.end_sent = true;
                relay.turn.far_ended = true;
                relay.held.clear();
                self.finish_if_done(key);
            }
            _ => self.drop_relay(key, Some(format!("the peer reset the stream: {code}"))),
        }
    }

    /// Tells the set-up task that no stream came to be, and gives the application's socket back to it.
    pub(crate) fn refuse_opening(&mut self, key: Key, code: ErrorCode, unprocessed: bool, cause: String) {
        if !self.relays.get(key).is_some_and(Relay::is_opening) {
            return;
        }
        let Some(relay) = self.relays.remove(key) else { return };
        let Relay { app, phase, tunnel: tunnel_key, stream, record, .. } = relay;
        // Whoever ends the tunnel may know better.
        let known = record.flag();
        let mut flag = if known == ResponseFlag::None { ResponseFlag::Connect } else { known };
        if let Some(tunnel) = self.tunnels.get_mut(tunnel_key) {
            let (session, mut seal) = tunnel.speak(&mut self.buffers);
            session.reset(stream, code, &mut seal);
            tunnel.forget_relay(key.slot(), 0, false, self.driver.now());
            if known == ResponseFlag::None && !tunnel.session.has_heard_peer() {
                flag = ResponseFlag::H2HandshakeFailure;
            }
        }
        if let (Phase::Opening(promise), Some(app)) = (phase, app) {
            promise.fulfil(Opened::No(Refused { app, unprocessed, cause, flag }));
        }
        self.mark_tunnel(tunnel_key);
        self.end_if_drained(tunnel_key);
    }

    /// This side broke: the peer is told with a reset, the application with an RST.
    pub(crate) fn abort_relay(&mut self, key: Key, code: ErrorCode, cause: Option<String>) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        let (tunnel_key, stream) = (relay.tunnel, relay.stream);
        if let Some(tunnel) = self.tunnels.get_mut(tunnel_key) {
            let (session, mut seal) = tunnel.speak(&mut self.buffers);
            session.reset(stream, code, &mut seal);
        }
        self.mark_tunnel(tunnel_key);
        self.drop_relay(key, cause);
    }

    /// The far side is gone: the application gets an RST.
    pub(crate) fn drop_relay(&mut self, key: Key, cause: Option<String>) {
        let Some(relay) = self.relays.get(key).filter(|relay| !relay.is_closed()) else { return };
        if let Some(app) = relay.app() {
            net::abort_on_close(app);
        }
        self.close_relay(key, cause);
    }

    /// Writes the record of the connection and lets its operations come to rest; the socket closes after the last.
    pub(crate) fn close_relay(&mut self, key: Key, cause: Option<String>) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        if relay.is_closed() {
            return;
        }
        relay.phase = Phase::Closed;
        relay.held.clear();
        relay.intake.stop(&self.driver);
        let tunnel_key = relay.tunnel;
        if let Some(tunnel) = self.tunnels.get_mut(tunnel_key) {
            tunnel.forget_relay(key.slot(), relay.outlet.pending(), relay.bulk.counted, self.driver.now());
        }
        relay.outlet.abandon(&self.driver, &mut self.buffers);
        if let Some(guard) = relay.guard {
            self.driver.cancel(guard);
        }
        let closed = relay.closed(self.driver.now(), cause);
        self.observed.push(closed);
        self.settle_relay(key);
        self.end_if_drained(tunnel_key);
    }

    /// Forgets a closed relay, and closes its socket, once nothing of it is with the kernel.
    pub(crate) fn settle_relay(&mut self, key: Key) {
        if self.relays.get(key).is_some_and(|relay| relay.is_closed() && relay.is_at_rest()) {
            self.relays.remove(key);
        }
    }

    /// The watch on a silent socket fired: an RST, or the ordinary end of both directions.
    pub(crate) fn app_polled(&mut self, key: Key, revents: u32) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        relay.guard = None;
        if relay.is_closed() {
            return self.settle_relay(key);
        }
        if revents & libc::POLLERR as u32 != 0 {
            let cause = "the application reset the connection".to_owned();
            self.abort_relay(key, ErrorCode::CONNECT_ERROR, Some(cause));
        }
    }

    /// Starts watching a relay whose socket has nothing else armed.
    pub(crate) fn guard(relay: &mut Relay, driver: &Driver, key: Key) {
        if relay.guard.is_none()
            && relay.is_open()
            && let Some(app) = relay.app.as_ref()
        {
            relay.guard = Some(driver.watch(app.as_fd(), key.token(Kind::AppWatch)));
        }
    }
}

/// What a status of the contract means, for whoever reads the log of this side.
fn refusal(status: u16) -> &'static str {
    match status {
        400 => "it does not serve this address",
        401 => "a policy there denies it",
        503 => "it could not reach the application",
        _ => "its log says why",
    }
}
