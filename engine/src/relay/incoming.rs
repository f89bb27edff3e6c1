//! From the tunnel to the application.

use std::os::fd::AsFd;

use super::{Happening, Piece};
use crate::hbone::{Event, NO_SLOT};
use crate::pool;
use crate::shard::{Key, Kind, Tables};
use crate::tls::{Opened, RECORD_LENGTH_MAX_BYTES, RecordOpener};
use crate::uring::Received;

/// Unsent bytes of a tunnel beyond which its peer is not read from. Far above the budget of transfers, so that only
/// what the session answers by itself can reach it.
const TUNNEL_ANSWERS_BYTES_MAX: usize = 1024 * 1024;

impl Tables {
    /// The tunnel's socket has something for us.
    pub(crate) fn tunnel_received(&mut self, key: Key, received: Received, more: bool) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        tunnel.intake.completed(more);
        match received {
            Received::Data(mut lease) if tunnel.is_live() => {
                tunnel.intake.saw(lease.len(), &self.driver);
                self.tunnel_bytes(key, &mut lease);
            }
            Received::Data(_) | Received::Cancelled => {}
            Received::Eof => {
                tunnel.intake.ended();
                match tunnel.phase {
                    pool::Phase::Live => self.end_tunnel(key, "the peer closed the tunnel"),
                    _ => self.close_tunnel(key, "both sides ended the tunnel"),
                }
            }
            Received::Failed(cause) => {
                tunnel.intake.ended();
                self.close_tunnel(key, &format!("the tunnel broke: {cause}"));
            }
        }
        self.receive_more(key);
    }

    /// Goes on receiving, unless the peer does not read what we answer: then it has to wait as well, or our answers
    /// would pile up without bound.
    pub(crate) fn receive_more(&mut self, key: Key) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        if tunnel.phase == pool::Phase::Closed {
            return self.settle_tunnel(key);
        }
        if tunnel.unsent() >= TUNNEL_ANSWERS_BYTES_MAX {
            return tunnel.intake.pause(&self.driver);
        }
        tunnel.intake.arm(&self.driver, tunnel.socket.as_fd(), key.token(Kind::TunnelReceive));
    }

    /// Opens the records in a received buffer, one after the other, in place.
    pub(crate) fn tunnel_bytes(&mut self, key: Key, lease: &mut [u8]) {
        let Some(mut at) = self.complete_partial(key, lease) else { return };
        let base = lease.as_ptr() as usize;
        loop {
            match RecordOpener::record_len(&lease[at..]) {
                Ok(Some(length)) if length <= lease.len() - at => {
                    if !self.open_record(key, &mut lease[at..at + length], base) {
                        return self.forget_pieces();
                    }
                    at += length;
                    if !self.happenings.is_empty() {
                        self.deliver(key, lease);
                    }
                }
                Ok(_) => {
                    self.deliver(key, lease);
                    return self.keep_partial(key, &lease[at..]);
                }
                Err(cause) => {
                    self.deliver(key, lease);
                    return self.fail_tunnel(key, &cause);
                }
            }
        }
    }

    /// Completes the record whose beginning lay in the buffer before. Returns where the next one begins; `None` where
    /// there is nothing more to do with this buffer.
    fn complete_partial(&mut self, key: Key, lease: &[u8]) -> Option<usize> {
        let tunnel = self.tunnels.get_mut(key)?;
        if tunnel.partial.is_empty() {
            return Some(0);
        }
        let mut partial = std::mem::take(&mut tunnel.partial);
        let mut at = 0;
        loop {
            let wanted = match RecordOpener::record_len(&partial) {
                Ok(Some(length)) => length - partial.len(),
                Ok(None) => 1,
                Err(cause) => {
                    self.fail_tunnel(key, &cause);
                    return None;
                }
            };
            if wanted == 0 {
                break;
            }
            let taken = wanted.min(lease.len() - at);
            partial.extend_from_slice(&lease[at..at + taken]);
            at += taken;
            if taken < wanted {
                self.tunnels.get_mut(key)?.partial = partial;
                return None;
            }
        }
        let base = partial.as_ptr() as usize;
        let alive = self.open_record(key, &mut partial, base);
        if alive {
            self.deliver(key, &partial);
        }
        self.forget_pieces();
        self.buffers.recycle(partial);
        alive.then_some(at)
    }

    /// Keeps the beginning of a record until its rest comes.
    fn keep_partial(&mut self, key: Key, beginning: &[u8]) {
        if beginning.is_empty() {
            return;
        }
        if let Some(tunnel) = self.tunnels.get_mut(key) {
            debug_assert!(tunnel.partial.is_empty());
            tunnel.partial = self.buffers.link(RECORD_LENGTH_MAX_BYTES);
            tunnel.partial.extend_from_slice(beginning);
        }
    }

    /// Opens one record and works off what it holds. `base` is where the buffer around it begins. False: the tunnel
    /// came to an end.
    fn open_record(&mut self, key: Key, record: &mut [u8], base: usize) -> bool {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return false };
        match tunnel.opener.open(record) {
            Ok(Opened::Data(plain)) => return self.session_bytes(key, plain, base),
            Ok(Opened::Nothing) => {}
            Ok(Opened::KeyUpdate { answer }) => {
                if answer {
                    let (_, seal) = tunnel.speak(&mut self.buffers);
                    seal.sealer.key_update(seal.out, false);
                    self.mark_tunnel(key);
                }
            }
            Ok(Opened::Closed) => {
                self.end_tunnel(key, "the peer closed the tunnel");
                return false;
            }
            Err(cause) => {
                self.fail_tunnel(key, &cause);
                return false;
            }
        }
        true
    }

    /// Lets the session read decrypted bytes. Data is only noted here, and delivered when the buffer is worked off or
    /// something else happens.
    fn session_bytes(&mut self, key: Key, mut plain: &[u8], base: usize) -> bool {
        loop {
            let Some(tunnel) = self.tunnels.get_mut(key) else { return false };
            let (session, mut seal) = tunnel.speak(&mut self.buffers);
            match session.next(&mut plain, &mut seal) {
                Ok(None) => break,
                Ok(Some(Event::Data { stream, slot, bytes })) if slot != NO_SLOT => {
                    self.pieces.push(Piece {
                        stream,
                        slot,
                        from: bytes.as_ptr() as usize - base,
                        length: bytes.len(),
                    });
                }
                Ok(Some(Event::Request { stream, request, end })) => {
                    self.stream_requested(key, stream, request, end)
                }
                Ok(Some(event)) => {
                    if let Some(happening) = Happening::of(event) {
                        self.happens(happening);
                    }
                }
                Err(cause) => {
                    self.end_tunnel(key, &cause.to_string());
                    return false;
                }
            }
        }
        self.mark_tunnel(key);
        true
    }

    /// Notes what happened behind the bytes so far. Windows that grow one after the other are looked at once.
    fn happens(&mut self, happening: Happening) {
        let place = self.pieces.len();
        let again = |last: &(usize, Happening)| matches!(last, (at, Happening::Window) if *at == place);
        if !matches!(happening, Happening::Window) || !self.happenings.last().is_some_and(again) {
            self.happenings.push((place, happening));
        }
    }

    fn forget_pieces(&mut self) {
        self.pieces.clear();
        self.happenings.clear();
    }
}
