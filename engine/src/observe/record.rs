//! What will be told of a connection, kept with it for as long as it lives.

use std::sync::Arc;
use std::time::Instant;

use super::{Closed, Connection, Observation, ResponseFlag, Traffic};

#[derive(Clone, Debug)]
pub(crate) struct Record {
    connection: Arc<Connection>,
    started: Instant,
    /// What was told of already.
    reported: Traffic,
    stands: bool,
    flag: ResponseFlag,
    refused: bool,
}

impl Record {
    pub(crate) fn new(connection: Connection, started: Instant) -> Self {
        Self {
            connection: Arc::new(connection),
            started,
            reported: Traffic::default(),
            stands: false,
            flag: ResponseFlag::None,
            refused: false,
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Adds to what is known. Of a connection that stands another copy is made: the first is on its way up.
    pub(crate) fn describe(&mut self, add: impl FnOnce(&mut Connection)) {
        add(Arc::make_mut(&mut self.connection));
    }

    /// What will be said to have gone wrong.
    pub(crate) fn set_flag(&mut self, flag: ResponseFlag) {
        self.flag = flag;
    }

    pub(crate) fn flag(&self) -> ResponseFlag {
        self.flag
    }

    /// It was not for us to carry at all.
    pub(crate) fn set_refused(&mut self) {
        self.refused = true;
    }

    pub(crate) fn opened(&mut self) -> Observation {
        self.stands = true;
        Observation::Opened(Arc::clone(&self.connection))
    }

    /// What it carried since the last time, of a connection that has carried `total`; none if that is nothing.
    pub(crate) fn progress(&self, total: Traffic) -> Option<Observation> {
        let traffic = total.since(self.reported);
        let moved = self.stands && traffic != Traffic::default();
        moved.then(|| Observation::Progress { connection: Arc::clone(&self.connection), traffic })
    }

    /// What it has carried so far was told of.
    pub(crate) fn set_reported(&mut self, total: Traffic) {
        self.reported = total;
    }

    pub(crate) fn closed(&self, total: Traffic, now: Instant, error: Option<String>) -> Observation {
        Observation::Closed(Box::new(Closed {
            connection: Arc::clone(&self.connection),
            stood: self.stands,
            traffic: total,
            unreported: total.since(self.reported),
            duration: now.saturating_duration_since(self.started),
            error,
            flag: self.flag,
            refused: self.refused,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::observe::{ConnectionId, Direction};

    fn record(started: Instant) -> Record {
        let id = ConnectionId { shard: 1, sequence: 17 };
        let [source, destination] = ["10.0.0.1:40000", "10.0.0.2:80"].map(|text| text.parse().unwrap());
        Record::new(Connection::new(id, Direction::Outbound, source, destination), started)
    }

    fn traffic(sent: u64, received: u64) -> Traffic {
        Traffic { sent, received }
    }

    #[test]
    fn every_byte_is_told_of_once() {
        let started = Instant::now();
        let mut record = record(started);
        assert!(record.progress(traffic(9, 9)).is_none(), "it does not stand");
        assert!(matches!(record.opened(), Observation::Opened(_)));
        assert!(record.progress(traffic(0, 0)).is_none(), "nothing was carried");

        let told = |observation| match observation {
            Some(Observation::Progress { traffic, .. }) => traffic,
            other => panic!("{other:?}"),
        };
        assert_eq!(told(record.progress(traffic(10, 3))), traffic(10, 3));
        assert_eq!(told(record.progress(traffic(11, 3))), traffic(11, 3), "the first was not taken");
        record.set_reported(traffic(11, 3));
        assert_eq!(told(record.progress(traffic(11, 4))), traffic(0, 1));

        let end = started + Duration::from_secs(2);
        let Observation::Closed(closed) = record.closed(traffic(20, 4), end, None) else { panic!() };
        assert_eq!((closed.traffic, closed.unreported), (traffic(20, 4), traffic(9, 1)));
        assert_eq!((closed.stood, closed.duration), (true, Duration::from_secs(2)));
        assert_eq!(closed.connection.id.to_string(), "1-17");
    }

    #[test]
    fn what_was_told_does_not_change() {
        let mut record = record(Instant::now());
        let opened = record.opened();
        record.describe(|connection| connection.hbone_destination = Some(connection.destination));
        assert_eq!(opened.connection().hbone_destination, None);
        assert!(record.connection().hbone_destination.is_some());
    }
}
