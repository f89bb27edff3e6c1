//! The sending end of a socket: what the application has not taken yet, in order, one send at a time.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use crate::shard::Buffers;
use crate::uring::{Driver, OpId, Token};

#[derive(Debug, Default)]
pub(crate) struct Outlet {
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    sending: Option<OpId>,
    in_flight: usize,
}

// === impl Outlet ===

impl Outlet {
    /// Bytes that the socket has not taken yet.
    pub(crate) fn pending(&self) -> usize {
        self.queued + self.in_flight
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.sending.is_none()
    }

    /// Sends at once what the socket takes, straight from where the bytes lie, and queues the rest. Returns what was taken.
    /// On an error the connection has to end: the socket does not tell of it twice.
    pub(crate) fn send_now(
        &mut self,
        driver: &Driver,
        fd: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
        buffers: &mut Buffers,
    ) -> io::Result<usize> {
        debug_assert_eq!(self.pending(), 0, "sending past the queue would reorder bytes");
        let taken = match driver.try_send(fd, slices) {
            Ok(taken) => taken,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => 0,
            Err(cause) => return Err(cause),
        };
        let mut skip = taken;
        for slice in slices {
            let from = skip.min(slice.len());
            skip -= from;
            self.push(&slice[from..], buffers);
        }
        Ok(taken)
    }

    /// Queues bytes behind those that wait, in links that are small against the stream window, since credit goes back to
    /// the sender link by link.
    pub(crate) fn push(&mut self, mut bytes: &[u8], buffers: &mut Buffers) {
        self.queued += bytes.len();
        while !bytes.is_empty() {
            let fits = match self.queue.back_mut() {
                Some(link) if link.len() < link.capacity() => {
                    let fits = bytes.len().min(link.capacity() - link.len());
                    link.extend_from_slice(&bytes[..fits]);
                    fits
                }
                _ => {
                    self.queue.push_back(buffers.link(bytes.len()));
                    0
                }
            };
            bytes = &bytes[fits..];
        }
    }

    /// Starts sending the next link unless one is on its way.
    pub(crate) fn kick(&mut self, driver: &Driver, fd: BorrowedFd<'_>, token: Token) {
        if self.sending.is_some() {
            return;
        }
        let Some(link) = self.queue.pop_front() else { return };
        self.in_flight = link.len();
        self.queued -= link.len();
        self.sending = Some(driver.send(fd, link, 0..self.in_flight, token));
    }

    /// The send came back: returns how many bytes it carried, whether or not they arrived.
    pub(crate) fn sent(&mut self, buffer: Vec<u8>, buffers: &mut Buffers) -> usize {
        buffers.recycle(buffer);
        self.sending = None;
        std::mem::take(&mut self.in_flight)
    }

    /// Throws away what waits and calls back what is on its way.
    pub(crate) fn abandon(&mut self, driver: &Driver, buffers: &mut Buffers) {
        for link in self.queue.drain(..) {
            buffers.recycle(link);
        }
        self.queued = 0;
        if let Some(op) = self.sending {
            driver.cancel(op);
        }
    }
}
