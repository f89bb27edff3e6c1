//! The life of a tunnel: sending, keeping alive, ending.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use super::{Phase, Side, Tunnel};
use crate::hbone::{ErrorCode, Request, StreamId};
use crate::net;
use crate::observe::{Direction, Security};
use crate::pool::{SHARD_BUFFERED_BYTES_MAX, TUNNEL_BUFFERED_BYTES_MAX};
use crate::relay::{self, Relay};
use crate::shard::{Key, Kind, Requested, Tables};
use crate::tls::{RecordError, RecordSealer, Records};

/// How often a tunnel is asked whether it lives (contract 1.9).
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Without an answer for so long a tunnel is dead (contract 1.9).
const PONG_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a tunnel that ends waits for the peer to take our last bytes and end as well.
const ENDING_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a server that leaves waits for streams that were on their way when it said so: many round trips. A peer that
/// is dead answers none, and would hold a drain up until [`PONG_TIMEOUT`].
const LATECOMERS_TIMEOUT: Duration = Duration::from_secs(1);

impl Tables {
    /// Puts a tunnel into the table and starts it. `rest` is what the peer sent behind its handshake.
    pub(crate) fn begin_tunnel(&mut self, mut tunnel: Tunnel, rest: &mut [u8]) -> Key {
        tunnel.buffered.join(&self.buffered);
        let key = self.tunnels.insert(tunnel);
        self.schedule(key, PING_INTERVAL);
        self.mark_tunnel(key);
        if !rest.is_empty() {
            self.tunnel_bytes(key, rest);
        }
        if self.draining && self.tunnels.get(key).is_some_and(|tunnel| tunnel.facts.side == Side::Server) {
            self.drain_tunnel(key);
        }
        if let Some(tunnel) = self.tunnels.get_mut(key) {
            tunnel.intake.arm(&self.driver, tunnel.socket.as_fd(), key.token(Kind::TunnelReceive));
        }
        key
    }

    /// Everything sealed in this turn, in one send.
    pub(crate) fn send_tunnel(&mut self, key: Key) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        tunnel.dirty = false;
        if tunnel.out.is_empty() {
            // The session was listened to and had nothing to say; who is silent holds no buffer.
            return self.buffers.recycle_large(std::mem::take(&mut tunnel.out));
        }
        if tunnel.sending.is_some() || tunnel.phase == Phase::Closed {
            return;
        }
        tunnel.sealer.flush(&mut tunnel.out);
        let (memory, records) = std::mem::take(&mut tunnel.out).into_parts();
        tunnel.in_flight = records.len();
        tunnel.sending =
            Some(self.driver.send(tunnel.socket.as_fd(), memory, records, key.token(Kind::TunnelSend)));
    }

    pub(crate) fn tunnel_sent(&mut self, key: Key, memory: Vec<u8>, result: io::Result<()>) {
        self.buffers.recycle_large(Records::over(memory));
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        tunnel.sending = None;
        tunnel.in_flight = 0;
        match (tunnel.phase, result) {
            (Phase::Closed, _) => self.settle_tunnel(key),
            (_, Err(cause)) => self.close_tunnel(key, &format!("the tunnel broke: {cause}")),
            (Phase::Live, Ok(())) => {
                self.send_tunnel(key);
                self.pump_waiting(key);
                self.receive_more(key);
            }
            (Phase::Ending, Ok(())) if !tunnel.out.is_empty() => self.send_tunnel(key),
            (Phase::Ending, Ok(())) if tunnel.intake.is_over() => {
                self.close_tunnel(key, "both sides ended the tunnel")
            }
            (Phase::Ending, Ok(())) => net::shut_down_write(tunnel.fd()),
        }
    }

    /// A peer asks for a stream. Called while its bytes are read, so that data right behind the request finds a relay.
    pub(crate) fn stream_requested(&mut self, key: Key, stream: StreamId, request: Box<Request>, end: bool) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        if !tunnel.is_live() {
            // It has said its last word, and every stream ends with it.
            return;
        }
        let full = tunnel.buffered.bytes() >= TUNNEL_BUFFERED_BYTES_MAX
            || self.buffered.bytes() >= SHARD_BUFFERED_BYTES_MAX;
        if full || tunnel.facts.side == Side::Client {
            let (session, mut seal) = tunnel.speak(&mut self.buffers);
            session.reset(stream, ErrorCode::REFUSED_STREAM, &mut seal);
            return self.mark_tunnel(key);
        }
        let (facts, transfer_bytes) = (Rc::clone(&tunnel.facts), tunnel.transfer_bytes);
        let mut record = self.record(Direction::Inbound, facts.remote, facts.local);
        record.describe(|connection| connection.security = Security::MutualTls);
        let pod = Rc::clone(&facts.pod);
        let mut entry = Relay::new(pod, key, stream, relay::Phase::Connecting, None, record, transfer_bytes);
        entry.turn.far_ended = end;
        let relay = self.relays.insert(entry);
        if let Some(tunnel) = self.tunnels.get_mut(key) {
            tunnel.session.set_slot(stream, relay.slot());
            tunnel.relays += 1;
        }
        self.requested.push(Requested { relay, tunnel: facts, request });
    }

    /// The heartbeat of a tunnel, or the end of its patience.
    pub(crate) fn tunnel_tick(&mut self, key: Key) {
        let now = self.driver.now();
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        tunnel.heartbeat.timer = None;
        if !tunnel.is_live() {
            return self.close_tunnel(key, "the peer did not end the tunnel in time");
        }
        if tunnel.session.takes_latecomers() {
            return self.refuse_latecomers(key);
        }
        let silent = tunnel.heartbeat.unanswered_since.map(|since| now.saturating_duration_since(since));
        if silent.is_some_and(|silent| silent >= PONG_TIMEOUT) {
            return self.close_tunnel(key, "the peer answered no PING for 20 s");
        }
        if tunnel.facts.side == Side::Client && tunnel.is_unused(now) {
            return self.end_tunnel(key, "unused");
        }
        if silent.is_none() {
            tunnel.heartbeat.unanswered_since = Some(now);
            tunnel.heartbeat.count += 1;
            let count = tunnel.heartbeat.count;
            let (session, mut seal) = tunnel.speak(&mut self.buffers);
            session.ping(count, &mut seal);
            self.mark_tunnel(key);
        }
        self.schedule(key, PING_INTERVAL);
    }

    /// The peer answered a PING.
    pub(crate) fn heard(&mut self, key: Key) {
        if let Some(tunnel) = self.tunnels.get_mut(key) {
            tunnel.heartbeat.unanswered_since = None;
        }
    }

    /// No new streams on this tunnel, but for those that were on their way before the peer knew: a server takes them for
    /// one more round trip. All may finish.
    pub(crate) fn drain_tunnel(&mut self, key: Key) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        if !tunnel.is_live() {
            return;
        }
        let (session, mut seal) = tunnel.speak(&mut self.buffers);
        session.goaway(ErrorCode::NO_ERROR, &mut seal);
        if tunnel.session.takes_latecomers() {
            if let Some(timer) = tunnel.heartbeat.timer.take() {
                self.driver.cancel_timer(timer);
            }
            self.schedule(key, LATECOMERS_TIMEOUT);
        }
        self.mark_tunnel(key);
        self.end_if_drained(key);
    }

    /// The round trip takes too long: whatever comes from now on is too late.
    fn refuse_latecomers(&mut self, key: Key) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        let (session, mut seal) = tunnel.speak(&mut self.buffers);
        session.leave_now(&mut seal);
        self.mark_tunnel(key);
        self.schedule(key, PING_INTERVAL);
        self.end_if_drained(key);
    }

    /// A tunnel that takes no more streams, or whose shard drains, ends with its last one.
    pub(crate) fn end_if_drained(&mut self, key: Key) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        let leaves = tunnel.session.is_draining() || self.draining;
        if tunnel.relays > 0 || !leaves || tunnel.session.takes_latecomers() || !tunnel.is_live() {
            return;
        }
        let (session, mut seal) = tunnel.speak(&mut self.buffers);
        // RFC 9113 §6.8: the last GOAWAY says which streams were seen, so that the peer may try the others elsewhere.
        session.leave_now(&mut seal);
        self.end_tunnel(key, "drained");
    }

    /// Ends a tunnel in good order: what is sealed still goes out, with close_notify; then we wait, for a moment,
    /// until the peer ends too. Its streams end at once.
    pub(crate) fn end_tunnel(&mut self, key: Key, cause: &str) {
        self.part(key, cause, |sealer, out| sealer.close_notify(out));
    }

    /// Ends a tunnel whose records cannot be read any more. The peer is told why, unless it has told us
    /// (RFC 8446 §6.2).
    pub(crate) fn fail_tunnel(&mut self, key: Key, cause: &RecordError) {
        match cause.alert() {
            Some(alert) => self.part(key, &cause.to_string(), |sealer, out| sealer.alert(out, alert)),
            None => self.close_tunnel(key, &cause.to_string()),
        }
    }

    fn part(&mut self, key: Key, cause: &str, farewell: impl FnOnce(&mut RecordSealer, &mut Records)) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        if !tunnel.is_live() {
            return;
        }
        tunnel.phase = Phase::Ending;
        self.drop_streams(key, cause);
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        if tunnel.out.capacity() == 0 {
            tunnel.out = self.buffers.large();
        }
        farewell(&mut tunnel.sealer, &mut tunnel.out);
        if let Some(timer) = tunnel.heartbeat.timer.take() {
            self.driver.cancel_timer(timer);
        }
        self.mark_tunnel(key);
        self.schedule(key, ENDING_TIMEOUT);
    }

    /// Ends a tunnel at once: the socket closes when the kernel has let go of it.
    pub(crate) fn close_tunnel(&mut self, key: Key, cause: &str) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        if tunnel.phase == Phase::Closed {
            return;
        }
        tunnel.phase = Phase::Closed;
        tunnel.intake.stop(&self.driver);
        if let Some(op) = tunnel.sending {
            self.driver.cancel(op);
        }
        if let Some(timer) = tunnel.heartbeat.timer.take() {
            self.driver.cancel_timer(timer);
        }
        self.drop_streams(key, cause);
        self.settle_tunnel(key);
    }

    /// Forgets a closed tunnel, and closes its socket, once nothing of it is with the kernel.
    pub(crate) fn settle_tunnel(&mut self, key: Key) {
        let settled =
            self.tunnels.get(key).is_some_and(|tunnel| tunnel.phase == Phase::Closed && tunnel.is_at_rest());
        if settled && let Some(tunnel) = self.tunnels.remove(key) {
            self.tunnels_left = true;
            self.buffers.recycle_large(tunnel.out);
            self.buffers.recycle(tunnel.partial);
        }
    }

    /// The streams of a tunnel end with it, but for those that have come to their own end both ways: what their
    /// applications have not taken yet is with us.
    fn drop_streams(&mut self, tunnel: Key, cause: &str) {
        for key in self.relays.keys() {
            let Some(relay) = self.relays.get(key) else { continue };
            if relay.tunnel != tunnel || relay.is_complete() {
                continue;
            }
            if relay.is_opening() {
                self.refuse_opening(key, ErrorCode::CANCEL, false, cause.to_owned());
            } else {
                self.drop_relay(key, Some(cause.to_owned()));
            }
        }
    }

    fn schedule(&mut self, key: Key, after: Duration) {
        let at = self.driver.now() + after;
        if let Some(tunnel) = self.tunnels.get_mut(key) {
            tunnel.heartbeat.timer = Some(self.driver.timer(at, key.token(Kind::TunnelTimer)));
        }
    }
}
