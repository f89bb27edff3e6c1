//! Decrypted bytes to the application: straight from where they lie if there are many, gathered if there are few.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use super::Happening;
use crate::hbone::{ErrorCode, StreamId};
use crate::shard::{Key, Kind, Tables};

/// From here on bytes go to the application straight from where they were decrypted; below, copying them together is
/// cheaper than a system call of their own.
const DIRECT_MIN_BYTES: usize = 16 * 1024;

/// Pieces of one direct send. A bulk buffer holds a few records, each in at most a few frames.
const DIRECT_PIECES_MAX: usize = 64;

/// Bytes of a stream, somewhere in the buffer that is being worked off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) stream: StreamId,
    pub(crate) slot: u32,
    pub(crate) from: usize,
    pub(crate) length: usize,
}

impl Tables {
    /// Delivers what was noted of this buffer, in order with everything else that happened.
    pub(crate) fn deliver(&mut self, tunnel: Key, buffer: &[u8]) {
        let mut pieces = std::mem::take(&mut self.pieces);
        let mut happenings = std::mem::take(&mut self.happenings);
        let mut done = 0;
        for (until, happening) in happenings.drain(..) {
            self.deliver_pieces(tunnel, &pieces[done..until], buffer);
            done = until;
            self.happened(tunnel, happening);
        }
        self.deliver_pieces(tunnel, &pieces[done..], buffer);
        pieces.clear();
        self.pieces = pieces;
        self.happenings = happenings;
    }

    fn deliver_pieces(&mut self, tunnel: Key, pieces: &[Piece], buffer: &[u8]) {
        for run in pieces.chunk_by(|one, next| one.stream == next.stream) {
            let Some(piece) = run.first() else { continue };
            let Some(key) = self.relay_of(tunnel, piece.slot, piece.stream) else {
                self.refuse_bytes(tunnel, piece.stream);
                continue;
            };
            for part in run.chunks(DIRECT_PIECES_MAX) {
                self.deliver_run(key, part, buffer);
            }
        }
    }

    /// Bytes of a request that was refused are of no use to anybody, and the reset says so (RFC 9113 §8.1).
    fn refuse_bytes(&mut self, tunnel_key: Key, stream: StreamId) {
        let Some(tunnel) = self.tunnels.get_mut(tunnel_key).filter(|tunnel| tunnel.is_live()) else { return };
        let (session, mut seal) = tunnel.speak(&mut self.buffers);
        session.reset(stream, ErrorCode::NO_ERROR, &mut seal);
        self.mark_tunnel(tunnel_key);
    }

    /// Pieces of one stream that follow each other.
    fn deliver_run(&mut self, key: Key, run: &[Piece], buffer: &[u8]) {
        let Self { relays, tunnels, buffers, driver, .. } = self;
        let Some(relay) = relays.get_mut(key) else { return };
        if relay.is_closed() {
            return;
        }
        let total: usize = run.iter().map(|piece| piece.length).sum();
        let before = relay.outlet.pending();
        let bytes = |piece: &Piece| &buffer[piece.from..piece.from + piece.length];
        let mut taken = 0;
        match relay.app.as_ref() {
            Some(app) if total >= DIRECT_MIN_BYTES && before == 0 => {
                let mut slices = [IoSlice::new(&[]); DIRECT_PIECES_MAX];
                for (slice, piece) in slices.iter_mut().zip(run) {
                    *slice = IoSlice::new(bytes(piece));
                }
                taken = match relay.outlet.send_now(driver, app.as_fd(), &slices[..run.len()], buffers) {
                    Ok(taken) => taken,
                    Err(cause) => return self.app_failed(key, &cause),
                };
            }
            _ => run.iter().for_each(|piece| relay.outlet.push(bytes(piece), buffers)),
        }
        let tunnel_key = relay.tunnel;
        let waits = relay.outlet.pending() > 0;
        let Some(tunnel) = tunnels.get_mut(tunnel_key) else { return };
        tunnel.buffered += relay.outlet.pending() - before;
        tunnel.watch_bulk(&mut relay.bulk, total, driver.now());
        self.took(key, taken);
        if waits {
            self.mark_relay(key);
        }
    }

    /// The application took bytes: its sender may send as many again.
    fn took(&mut self, key: Key, bytes: usize) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        if bytes == 0 {
            return;
        }
        relay.carried.to_app += bytes as u64;
        let (tunnel_key, stream) = (relay.tunnel, relay.stream);
        let Some(tunnel) = self.tunnels.get_mut(tunnel_key).filter(|tunnel| tunnel.is_live()) else { return };
        let (session, mut seal) = tunnel.speak(&mut self.buffers);
        session.release(stream, bytes, &mut seal);
        self.mark_tunnel(tunnel_key);
    }

    /// Starts the send of what is queued for an application.
    pub(crate) fn send_to_app(&mut self, key: Key) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        relay.turn.dirty = false;
        if !relay.is_closed()
            && let Some(app) = relay.app.as_ref()
        {
            relay.outlet.kick(&self.driver, app.as_fd(), key.token(Kind::AppSend));
        }
        self.finish_if_done(key);
    }

    /// A send to the application came back.
    pub(crate) fn app_sent(&mut self, key: Key, buffer: Vec<u8>, result: io::Result<()>) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        let bytes = relay.outlet.sent(buffer, &mut self.buffers);
        if relay.is_closed() {
            return self.settle_relay(key);
        }
        if let Some(tunnel) = self.tunnels.get_mut(relay.tunnel) {
            tunnel.buffered -= bytes;
        }
        if let Err(cause) = result {
            return self.app_failed(key, &cause);
        }
        self.took(key, bytes);
        self.send_to_app(key);
    }

    fn app_failed(&mut self, key: Key, cause: &io::Error) {
        let cause = format!("the application does not take more: {cause}");
        self.abort_relay(key, ErrorCode::CONNECT_ERROR, Some(cause));
    }

    /// Sends FIN once everything before it was delivered; closes when both directions are through.
    pub(crate) fn finish_if_done(&mut self, key: Key) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        if !relay.is_open() {
            return;
        }
        if relay.turn.far_ended && !relay.turn.shut && relay.outlet.pending() == 0 {
            relay.turn.shut = true;
            if let Some(app) = relay.app() {
                crate::net::shut_down_write(app);
            }
        }
        if relay.is_finished() {
            self.close_relay(key, None);
        }
    }

    /// The relay of a stream of a tunnel. The session remembers slots for longer than relays keep them, so the slot alone
    /// would lead bytes of one connection to another's application.
    fn relay_of(&self, tunnel: Key, slot: u32, stream: StreamId) -> Option<Key> {
        let key = self.relays.at(slot)?;
        let relay = self.relays.get(key)?;
        (relay.tunnel == tunnel && relay.stream == stream).then_some(key)
    }

    /// What else can happen to streams and tunnels, in its place between the bytes.
    fn happened(&mut self, tunnel: Key, happening: Happening) {
        match happening {
            Happening::Response { stream, slot, status } => {
                if let Some(key) = self.relay_of(tunnel, slot, stream) {
                    self.answered(key, status);
                }
            }
            Happening::End { stream, slot } => {
                if let Some(key) = self.relay_of(tunnel, slot, stream) {
                    self.far_ended(key);
                }
            }
            Happening::Reset { stream, slot, code, unprocessed } => {
                if let Some(key) = self.relay_of(tunnel, slot, stream) {
                    self.far_reset(key, code, unprocessed);
                }
            }
            Happening::Window => self.pump_waiting(tunnel),
            Happening::Pong => {
                self.heard(tunnel);
                self.end_if_drained(tunnel);
            }
            Happening::GoAway => self.end_if_drained(tunnel),
        }
    }
}
