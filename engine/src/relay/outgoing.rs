//! From the application into the tunnel.

use std::os::fd::AsFd;

use super::{Held, Relay};
use crate::hbone::{ErrorCode, limits};
use crate::net;
use crate::pool::TUNNEL_UNSENT_BYTES_MAX;
use crate::shard::{Buffers, Key, Kind, Tables};
use crate::uring::Received;

/// A message may go over the tunnel's budget by this factor before it waits as well: it is small, and waiting behind a
/// transfer is what it must not do.
const MESSAGES_OVER_BUDGET: usize = 2;

/// What counts as a message here.
pub(super) const MESSAGE_BYTES: usize = 4 * 1024;

/// A transfer looks at the budget again after so much: one frame, or a little more where the frame behind it would be a
/// runt.
const CHUNK_BYTES: usize = limits::DATA_PAYLOAD_BYTES_MAX;

impl Tables {
    /// The application's socket has something for us.
    pub(crate) fn app_received(&mut self, key: Key, received: Received, more: bool) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        relay.intake.completed(more);
        if relay.is_closed() {
            drop(received);
            return self.settle_relay(key);
        }
        match received {
            // Nothing more goes to the peer: it has reset the stream without an error.
            Received::Data(_) if relay.turn.end_sent => {}
            Received::Data(lease) => {
                relay.intake.saw(lease.len(), &self.driver);
                relay.held.push_back(Held::Lease(lease));
            }
            Received::Eof if !relay.turn.shut && relay.app().is_some_and(net::was_reset) => {
                let cause = "the application reset the connection".to_owned();
                return self.abort_relay(key, ErrorCode::CONNECT_ERROR, Some(cause));
            }
            Received::Eof => {
                relay.intake.ended();
                relay.turn.app_ended = true;
            }
            Received::Cancelled => {}
            Received::Failed(cause) => {
                let cause = format!("the application reset the connection: {cause}");
                return self.abort_relay(key, ErrorCode::CONNECT_ERROR, Some(cause));
            }
        }
        self.pump(key);
    }

    /// Moves what the application sent into the tunnel, as far as window and budget go, and sees to what comes next.
    pub(crate) fn pump(&mut self, key: Key) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        if !relay.is_open() {
            return;
        }
        let Some(tunnel) = self.tunnels.get_mut(relay.tunnel) else { return };
        let stream = relay.stream;
        let mut moved = 0;
        while let Some(held) = relay.held.front_mut() {
            let wanted = chunk(held.len());
            let allowed = if wanted < MESSAGE_BYTES { MESSAGES_OVER_BUDGET } else { 1 };
            if tunnel.unsent() >= allowed * TUNNEL_UNSENT_BYTES_MAX {
                break;
            }
            let (session, mut seal) = tunnel.speak(&mut self.buffers);
            let sent = held.send(session, stream, wanted, &mut seal);
            moved += sent;
            if held.is_empty()
                && let Some(Held::Copy { buffer, .. }) = relay.held.pop_front()
            {
                self.buffers.recycle(buffer);
            }
            if sent < wanted {
                break;
            }
        }
        relay.spare_leases(&mut self.buffers);
        relay.carried.to_tunnel += moved as u64;
        if moved > 0 {
            tunnel.watch_bulk(&mut relay.bulk, moved, self.driver.now());
            let tunnel = relay.tunnel;
            self.mark_tunnel(tunnel);
        }
        self.after_pump(key);
    }

    /// What the relay does next: end the stream, receive again, or stand in line.
    fn after_pump(&mut self, key: Key) {
        let Self { relays, tunnels, driver, .. } = self;
        let Some(relay) = relays.get_mut(key) else { return };
        let Some(tunnel) = tunnels.get_mut(relay.tunnel) else { return };
        let Some(app) = relay.app.as_ref().map(|app| app.as_fd()) else { return };
        let drained = relay.held.is_empty();
        if drained && relay.turn.app_ended {
            return self.end_stream(key);
        }
        if relay.turn.end_sent {
            relay.intake.pause(driver);
            return Self::guard(relay, driver, key);
        }
        let open =
            tunnel.session.sendable(relay.stream) > 0 && (tunnel.has_room() || !relay.intake.is_bulk());
        if drained && open {
            relay.intake.arm(driver, app, key.token(Kind::AppReceive));
        } else {
            relay.intake.pause(driver);
            if !relay.turn.waiting {
                relay.turn.waiting = true;
                tunnel.waiting.push_back(key.slot());
            }
        }
        if relay.intake.is_at_rest() {
            Self::guard(relay, driver, key);
        }
    }

    /// Sends END_STREAM, once, after the last byte.
    fn end_stream(&mut self, key: Key) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        if relay.turn.end_sent {
            return;
        }
        relay.turn.end_sent = true;
        let (tunnel_key, stream) = (relay.tunnel, relay.stream);
        Self::guard(relay, &self.driver, key);
        if let Some(tunnel) = self.tunnels.get_mut(tunnel_key) {
            let (session, mut seal) = tunnel.speak(&mut self.buffers);
            session.end(stream, &mut seal);
        }
        self.mark_tunnel(tunnel_key);
        self.finish_if_done(key);
    }

    /// The tunnel has room or window again: those in line take their turns.
    pub(crate) fn pump_waiting(&mut self, tunnel: Key) {
        for _ in 0..self.tunnels.get(tunnel).map_or(0, |tunnel| tunnel.waiting.len()) {
            let Some(entry) = self.tunnels.get_mut(tunnel) else { return };
            if !entry.has_room() {
                return;
            }
            let Some(slot) = entry.waiting.pop_front() else { return };
            let Some(key) = self.relays.at(slot) else { continue };
            let Some(relay) = self.relays.get_mut(key) else { continue };
            if relay.tunnel == tunnel {
                relay.turn.waiting = false;
                self.pump(key);
            }
        }
    }
}

impl Relay {
    /// What still waits may wait for ever. Where receive buffers are few it is copied, so that others can receive.
    fn spare_leases(&mut self, buffers: &mut Buffers) {
        for held in &mut self.held {
            if let Held::Lease(lease) = held
                && lease.is_scarce()
            {
                *held = Held::copy_of(lease, buffers);
            }
        }
    }
}

/// How much of so many bytes is sent before the budget is looked at again.
fn chunk(bytes: usize) -> usize {
    if bytes < CHUNK_BYTES + limits::DATA_RUNT_BYTES { bytes } else { CHUNK_BYTES }
}
