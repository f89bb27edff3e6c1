//! From the tunnel to the application.

use std::os::fd::AsFd;

use super::{Happening, Piece};
use crate::hbone::{Event, NO_SLOT};
use crate::pool;
use crate::shard::{Key, Kind, Tables};
use crate::tls::{Opened, RECORD_LENGTH_MAX_BYTES, RecordOpener};
use crate::uring::{Lease, ROOM_BYTES, Received};

/// Unsent bytes of a tunnel beyond which its peer is not read from. Far above the budget of transfers, so that only
/// what the session answers by itself can reach it.
const TUNNEL_ANSWERS_BYTES_MAX: usize = 1024 * 1024;

/// The longest beginning of a record, header included, fits before what completes it.
const _: () = assert!(5 + RECORD_LENGTH_MAX_BYTES <= ROOM_BYTES);

impl Tables {
    /// The tunnel's socket has something for us.
    pub(crate) fn tunnel_received(&mut self, key: Key, received: Received, more: bool) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        tunnel.intake.completed(more);
        match received {
            Received::Data(lease) if tunnel.is_live() => {
                tunnel.intake.saw(lease.len(), &self.driver);
                self.tunnel_lease(key, lease);
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

    /// Received bytes, behind the beginning of a record that the receive before cut off.
    fn tunnel_lease(&mut self, key: Key, mut lease: Lease) {
        let Some(tunnel) = self.tunnels.get_mut(key) else { return };
        if !tunnel.partial.is_empty() {
            let whole = RecordOpener::record_len(&tunnel.partial);
            if whole.is_ok_and(|whole| whole.is_some_and(|whole| lease.len() < whole - tunnel.partial.len()))
            {
                return tunnel.partial.extend_from_slice(&lease);
            }
            lease.prepend(&tunnel.partial);
            self.buffers.recycle(std::mem::take(&mut tunnel.partial));
        }
        self.tunnel_bytes(key, &mut lease);
    }

    /// Opens the records in a buffer, one after the other, in place.
    pub(crate) fn tunnel_bytes(&mut self, key: Key, buffer: &mut [u8]) {
        let base = buffer.as_ptr() as usize;
        let mut at = 0;
        loop {
            match RecordOpener::record_len(&buffer[at..]) {
                Ok(Some(length)) if length <= buffer.len() - at => {
                    if !self.open_record(key, &mut buffer[at..at + length], base) {
                        return self.forget_pieces();
                    }
                    at += length;
                    if !self.happenings.is_empty() {
                        self.deliver(key, buffer);
                    }
                }
                Ok(_) => {
                    self.deliver(key, buffer);
                    return self.keep_partial(key, &buffer[at..]);
                }
                Err(cause) => {
                    self.deliver(key, buffer);
                    return self.fail_tunnel(key, &cause);
                }
            }
        }
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
