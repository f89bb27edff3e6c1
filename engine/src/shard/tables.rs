//! Everything of a shard that completions move: tunnels, relays, pairs, as plain data.

use std::net::SocketAddr;
use std::rc::Rc;

use super::progress::Progress;
use super::round::Round;
use super::{Buffers, Key, Kind, Listener, Table};
use crate::hbone::Request;
use crate::observe::{Connection, ConnectionId, Direction, Observation, Record};
use crate::pool::{ShardBuffered, Tunnel, TunnelFacts};
use crate::relay::{Happening, Pair, Piece, Relay, Way};
use crate::uring::{Completion, Driver};

#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) driver: Driver,
    pub(crate) listeners: Table<Listener>,
    pub(crate) tunnels: Table<Tunnel>,
    pub(crate) relays: Table<Relay>,
    pub(crate) pairs: Table<Pair>,
    pub(crate) buffers: Buffers,
    /// Bytes of all tunnels that applications have not taken yet.
    pub(crate) buffered: ShardBuffered,
    /// Decrypted bytes that wait to be delivered when the buffer they lie in is worked off.
    pub(crate) pieces: Vec<Piece>,
    /// What happened between them, each with the number of pieces before it.
    pub(crate) happenings: Vec<(usize, Happening)>,
    dirty_tunnels: Vec<Key>,
    dirty_relays: Vec<Key>,
    /// What happened to connections in this turn.
    pub(crate) observed: Vec<Observation>,
    pub(super) progress: Progress,
    /// Going over the connections to judge them again.
    pub(super) judgement: Round,
    /// Going over the tunnels to check their certificates again.
    pub(super) verification: Round,
    /// Streams that peers asked for in this turn.
    pub(crate) requested: Vec<Requested>,
    /// Tunnels end with their last stream.
    pub(crate) draining: bool,
    /// A tunnel came to its end in this turn: the pool may have a key to forget.
    pub(crate) tunnels_left: bool,
    /// The number of the next connection.
    next: ConnectionId,
}

/// A peer asks for a connection to an application.
#[derive(Debug)]
pub(crate) struct Requested {
    pub(crate) relay: Key,
    pub(crate) tunnel: Rc<TunnelFacts>,
    pub(crate) request: Box<Request>,
}

// === impl Tables ===

impl Tables {
    pub(crate) fn new(driver: Driver, shard: u32) -> Self {
        Self {
            driver,
            listeners: Table::default(),
            tunnels: Table::default(),
            relays: Table::default(),
            pairs: Table::default(),
            buffers: Buffers::default(),
            buffered: ShardBuffered::default(),
            pieces: Vec::new(),
            happenings: Vec::new(),
            dirty_tunnels: Vec::new(),
            dirty_relays: Vec::new(),
            observed: Vec::new(),
            progress: Progress::default(),
            judgement: Round::default(),
            verification: Round::default(),
            requested: Vec::new(),
            draining: false,
            tunnels_left: false,
            next: ConnectionId { shard, sequence: 0 },
        }
    }

    /// Begins the record of a connection that has come in.
    pub(crate) fn record(
        &mut self,
        direction: Direction,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Record {
        let id = self.next;
        self.next.sequence += 1;
        Record::new(Connection::new(id, direction, source, destination), self.driver.now())
    }

    /// Takes a completion to the connection it belongs to.
    pub(crate) fn dispatch(&mut self, completion: Completion) {
        match completion {
            Completion::Received { token, result, more } => match Key::of(token) {
                Some((Kind::TunnelReceive, key)) => self.tunnel_received(key, result, more),
                Some((Kind::AppReceive, key)) => self.app_received(key, result, more),
                Some((Kind::PairReceive, key)) => self.pair_received(key, Way::There, result, more),
                Some((Kind::PairReceiveBack, key)) => self.pair_received(key, Way::Back, result, more),
                _ => debug_assert!(false, "a receive of nobody"),
            },
            Completion::Sent { token, buffer, result, .. } => match Key::of(token) {
                Some((Kind::TunnelSend, key)) => self.tunnel_sent(key, buffer, result),
                Some((Kind::AppSend, key)) => self.app_sent(key, buffer, result),
                Some((Kind::PairSend, key)) => self.pair_sent(key, Way::There, buffer, result),
                Some((Kind::PairSendBack, key)) => self.pair_sent(key, Way::Back, buffer, result),
                _ => debug_assert!(false, "a send of nobody"),
            },
            Completion::Polled { token, result } => match Key::of(token) {
                Some((Kind::AppWatch, key)) => self.app_polled(key, result.unwrap_or(0)),
                Some((Kind::PairWatch, key)) => self.pair_polled(key, Way::There, result.unwrap_or(0)),
                Some((Kind::PairWatchBack, key)) => self.pair_polled(key, Way::Back, result.unwrap_or(0)),
                _ => debug_assert!(false, "a poll of nobody"),
            },
            Completion::Timer { token } => match Key::of(token) {
                Some((Kind::TunnelTimer, key)) => self.tunnel_tick(key),
                Some((Kind::ListenerTimer, key)) => self.accept(key),
                Some((Kind::ProgressTimer, _)) => self.progress.begin(),
                _ => debug_assert!(false, "a timer of nobody"),
            },
            Completion::Accepted { .. } | Completion::Doorbell => {
                debug_assert!(false, "the shard takes these itself");
            }
        }
    }

    /// The tunnel has something to send when the turn ends.
    pub(crate) fn mark_tunnel(&mut self, key: Key) {
        if let Some(tunnel) = self.tunnels.get_mut(key)
            && !tunnel.dirty
        {
            tunnel.dirty = true;
            self.dirty_tunnels.push(key);
        }
    }

    /// The relay has something for its application when the turn ends.
    pub(crate) fn mark_relay(&mut self, key: Key) {
        if let Some(relay) = self.relays.get_mut(key)
            && !relay.turn.dirty
        {
            relay.turn.dirty = true;
            self.dirty_relays.push(key);
        }
    }

    /// The end of a turn: one send per application and per tunnel that has something to send.
    pub(crate) fn flush(&mut self) {
        while let Some(key) = self.dirty_relays.pop() {
            self.send_to_app(key);
        }
        while let Some(key) = self.dirty_tunnels.pop() {
            self.send_tunnel(key);
        }
    }

    /// Live connections, for the choice of the least loaded shard.
    pub(crate) fn load(&self) -> usize {
        self.relays.len() + self.pairs.len() + self.tunnels.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.relays.is_empty() && self.pairs.is_empty() && self.tunnels.is_empty()
    }
}
