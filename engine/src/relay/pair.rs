//! Socket to socket: what is not tunnelled, in plaintext as it came (passthrough and plain inbound).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use super::{HalfClosed, Intake, Outlet};
use crate::net;
use crate::observe::{Record, Traffic};
use crate::shard::{Key, Kind, LocalPod, Tables};
use crate::uring::{Driver, OpId, Received};

/// What one receive takes at most: it is sent on as it is, and fits into one segment at the usual MTU.
const TRANSFER_BYTES: u32 = 65_024;

/// What one direction may hold that its reader has not taken: beyond it the sender is not read from.
const LANE_HELD_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Pair {
    pod: Rc<LocalPod>,
    /// The side that called, and the side that was called.
    sockets: [OwnedFd; 2],
    /// From the caller to the called, and back.
    lanes: [Lane; 2],
    closed: bool,
    pub(crate) half_closed: HalfClosed,
    pub(crate) record: Record,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    intake: Intake,
    outlet: Outlet,
    /// Sees an RST of the sender while nothing is received from it.
    guard: Option<OpId>,
    ended: bool,
    shut: bool,
    carried: u64,
}

/// Which lane a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    There = 0,
    Back = 1,
}

impl Way {
    fn receive(self) -> Kind {
        if self == Self::There { Kind::PairReceive } else { Kind::PairReceiveBack }
    }

    fn send(self) -> Kind {
        if self == Self::There { Kind::PairSend } else { Kind::PairSendBack }
    }

    fn watch(self) -> Kind {
        if self == Self::There { Kind::PairWatch } else { Kind::PairWatchBack }
    }
}

// === impl Lane ===

impl Lane {
    fn new() -> Self {
        Self {
            intake: Intake::up_to(TRANSFER_BYTES),
            outlet: Outlet::default(),
            guard: None,
            ended: false,
            shut: false,
            carried: 0,
        }
    }
}

// === impl Pair ===

impl Pair {
    pub(crate) fn new(pod: Rc<LocalPod>, caller: OwnedFd, called: OwnedFd, record: Record) -> Self {
        Self {
            pod,
            sockets: [caller, called],
            lanes: [Lane::new(), Lane::new()],
            closed: false,
            half_closed: HalfClosed::default(),
            record,
        }
    }

    pub(crate) fn pod(&self) -> &Rc<LocalPod> {
        &self.pod
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.closed
    }

    /// One side has ended, and the other has not.
    pub(crate) fn is_half_closed(&self) -> bool {
        self.lanes[0].ended != self.lanes[1].ended
    }

    /// What it has carried, as its client sees it.
    pub(crate) fn traffic(&self) -> Traffic {
        let [sent, received] = [Way::There, Way::Back].map(|way| self.lanes[way as usize].carried);
        Traffic { sent, received }
    }

    /// Which directions carry a transfer.
    #[cfg(test)]
    pub(crate) fn modes(&self) -> [bool; 2] {
        [self.lanes[0].intake.is_bulk(), self.lanes[1].intake.is_bulk()]
    }

    /// Bytes that wait for their readers.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.lanes.iter().map(|lane| lane.outlet.pending()).sum()
    }

    fn is_finished(&self) -> bool {
        self.lanes.iter().all(|lane| lane.shut && lane.outlet.pending() == 0)
    }

    fn is_at_rest(&self) -> bool {
        self.lanes
            .iter()
            .all(|lane| lane.guard.is_none() && lane.intake.is_at_rest() && lane.outlet.is_at_rest())
    }

    /// Receives in this direction if its reader keeps up, or watches for an RST if not.
    fn receive(&mut self, way: Way, driver: &Driver, key: Key) {
        let lane = &mut self.lanes[way as usize];
        let sender = self.sockets[way as usize].as_fd();
        if lane.outlet.pending() <= LANE_HELD_BYTES_MAX && !lane.ended {
            lane.intake.arm(driver, sender, key.token(way.receive()));
        } else {
            lane.intake.pause(driver);
        }
        if lane.intake.is_at_rest() && lane.guard.is_none() {
            lane.guard = Some(driver.watch(sender, key.token(way.watch())));
        }
    }

    /// Sends what is queued, then the FIN that followed it.
    fn send(&mut self, way: Way, driver: &Driver, key: Key) {
        let lane = &mut self.lanes[way as usize];
        let reader = self.sockets[1 - way as usize].as_fd();
        lane.outlet.kick(driver, reader, key.token(way.send()));
        if lane.ended && !lane.shut && lane.outlet.pending() == 0 {
            lane.shut = true;
            net::shut_down_write(reader);
        }
    }
}

impl Tables {
    /// Two sockets begin to flow into each other.
    pub(crate) fn join(&mut self, pair: Pair) -> Key {
        let key = self.pairs.insert(pair);
        if let Some(pair) = self.pairs.get_mut(key) {
            pair.receive(Way::There, &self.driver, key);
            pair.receive(Way::Back, &self.driver, key);
            self.observed.push(pair.record.opened());
        }
        self.expect_progress();
        key
    }

    pub(crate) fn pair_received(&mut self, key: Key, way: Way, received: Received, more: bool) {
        let Self { pairs, buffers, driver, .. } = self;
        let Some(pair) = pairs.get_mut(key) else { return };
        let [sender, reader] = [way as usize, 1 - way as usize].map(|side| pair.sockets[side].as_fd());
        let is_shut = pair.lanes[1 - way as usize].shut;
        let lane = &mut pair.lanes[way as usize];
        lane.intake.completed(more);
        if pair.closed {
            return self.settle_pair(key);
        }
        match received {
            Received::Data(lease) => {
                lane.intake.saw(lease.len(), driver);
                lane.carried += lease.len() as u64;
                if lane.outlet.pending() == 0 {
                    let sent = lane.outlet.send_now(driver, reader, &[IoSlice::new(&lease)], buffers);
                    if let Err(cause) = sent {
                        return self.drop_pair(key, &format!("one side does not take more: {cause}"));
                    }
                } else {
                    lane.outlet.push(&lease, buffers);
                }
            }
            Received::Eof if !is_shut && net::was_reset(sender) => {
                return self.drop_pair(key, "one side reset the connection");
            }
            Received::Eof => {
                lane.intake.ended();
                lane.ended = true;
            }
            Received::Cancelled => {}
            Received::Failed(cause) => {
                return self.drop_pair(key, &format!("one side reset the connection: {cause}"));
            }
        }
        self.go_on(key, way);
    }

    pub(crate) fn pair_sent(&mut self, key: Key, way: Way, buffer: Vec<u8>, result: io::Result<()>) {
        let Some(pair) = self.pairs.get_mut(key) else { return };
        pair.lanes[way as usize].outlet.sent(buffer, &mut self.buffers);
        if pair.closed {
            return self.settle_pair(key);
        }
        match result {
            Ok(()) => self.go_on(key, way),
            Err(cause) => self.drop_pair(key, &format!("one side does not take more: {cause}")),
        }
    }

    pub(crate) fn pair_polled(&mut self, key: Key, way: Way, revents: u32) {
        let Some(pair) = self.pairs.get_mut(key) else { return };
        pair.lanes[way as usize].guard = None;
        if pair.closed {
            return self.settle_pair(key);
        }
        if revents & libc::POLLERR as u32 != 0 {
            self.drop_pair(key, "one side reset the connection");
        }
    }

    fn go_on(&mut self, key: Key, way: Way) {
        let Some(pair) = self.pairs.get_mut(key) else { return };
        pair.send(way, &self.driver, key);
        pair.receive(way, &self.driver, key);
        if pair.is_finished() {
            self.close_pair(key, None);
        }
    }

    /// One side is gone: the other gets an RST.
    pub(crate) fn drop_pair(&mut self, key: Key, cause: &str) {
        let Some(pair) = self.pairs.get(key) else { return };
        pair.sockets.iter().for_each(|socket| net::abort_on_close(socket.as_fd()));
        self.close_pair(key, Some(cause.to_owned()));
    }

    fn close_pair(&mut self, key: Key, cause: Option<String>) {
        let Self { pairs, buffers, driver, .. } = self;
        let Some(pair) = pairs.get_mut(key) else { return };
        if pair.closed {
            return;
        }
        pair.closed = true;
        for lane in &mut pair.lanes {
            lane.intake.stop(driver);
            lane.outlet.abandon(driver, buffers);
            if let Some(guard) = lane.guard {
                driver.cancel(guard);
            }
        }
        let closed = pair.record.closed(pair.traffic(), driver.now(), cause);
        self.observed.push(closed);
        self.settle_pair(key);
    }

    fn settle_pair(&mut self, key: Key) {
        if self.pairs.get(key).is_some_and(|pair| pair.closed && pair.is_at_rest()) {
            self.pairs.remove(key);
        }
    }
}
