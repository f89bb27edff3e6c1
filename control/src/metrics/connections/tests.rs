#![allow(clippy::unwrap_used)]

use engine::observe::Security;

use super::*;
use crate::stand_in::{connection, service, workload};

const LIMITS: SeriesLimits = SeriesLimits { series: 4, idle: Duration::from_secs(600) };

fn between(source: &str, destination: &str) -> Connection {
    let named = |name: &str| {
        let mut workload = workload(name, "Kubernetes");
        workload.workload_name = name.into();
        Some(Arc::new(workload))
    };
    Connection {
        source_workload: named(source),
        destination_workload: named(destination),
        destination_service: Some(Arc::new(service(destination))),
        security: Security::MutualTls,
        ..connection(40_000)
    }
}

fn opened(connection: &Connection) -> Observation {
    Observation::Opened(Arc::new(connection.clone()))
}

fn progress(connection: &Connection, sent: u64, received: u64) -> Observation {
    let traffic = Traffic { sent, received };
    Observation::Progress { connection: Arc::new(connection.clone()), traffic }
}

fn closed(connection: &Connection, stood: bool, flag: ResponseFlag, unreported: (u64, u64)) -> Observation {
    Observation::Closed(Box::new(Closed {
        connection: Arc::new(connection.clone()),
        stood,
        traffic: Traffic { sent: 999, received: 999 },
        unreported: Traffic { sent: unreported.0, received: unreported.1 },
        duration: Duration::from_secs(1),
        error: None,
        flag,
        refused: false,
    }))
}

/// Opened, closed, failed, sent by the server, received by it, of the series with this flag.
fn figures(table: &Connections, now: Instant, flag: ResponseFlag) -> Option<(u64, u64, u64, u64, u64)> {
    let scrape = table.collect(now);
    let found =
        scrape.series.iter().find(|(labels, _)| format!("{labels:?}").contains(&format!("flag: {flag:?},")));
    found.map(|(_, s)| (s.opened, s.closed, s.failed, s.traffic.received, s.traffic.sent))
}

#[test]
fn bytes_are_counted_while_a_connection_lives_and_once_each() {
    let now = Instant::now();
    let table = Connections::new(LIMITS);
    let life = between("client", "server");
    table.count(&opened(&life), now);
    table.count(&progress(&life, 10, 100), now);
    assert_eq!(figures(&table, now, ResponseFlag::None), Some((1, 0, 0, 100, 10)));
    table.count(&closed(&life, true, ResponseFlag::None, (1, 2)), now);
    assert_eq!(figures(&table, now, ResponseFlag::None), Some((1, 1, 0, 102, 11)));
}

#[test]
fn ends_are_counted_by_their_flag() {
    let now = Instant::now();
    let table = Connections::new(LIMITS);
    let life = between("client", "server");
    table.count(&closed(&life, false, ResponseFlag::Connect, (0, 0)), now);
    assert_eq!(
        figures(&table, now, ResponseFlag::None),
        Some((1, 0, 0, 0, 0)),
        "it was opened for its client"
    );
    assert_eq!(figures(&table, now, ResponseFlag::Connect), Some((0, 1, 1, 0, 0)));

    table.count(&opened(&life), now);
    table.count(&closed(&life, true, ResponseFlag::Deny, (5, 0)), now);
    assert_eq!(figures(&table, now, ResponseFlag::None), Some((2, 0, 0, 0, 5)));
    assert_eq!(figures(&table, now, ResponseFlag::Deny), Some((0, 1, 1, 0, 0)));
}

#[test]
fn what_was_refused_at_once_is_no_connection() {
    let now = Instant::now();
    let table = Connections::new(LIMITS);
    let mut refused = closed(&between("client", "server"), false, ResponseFlag::CertRevoked, (0, 0));
    let Observation::Closed(inner) = &mut refused else { panic!() };
    inner.refused = true;
    table.count(&refused, now);
    let scrape = table.collect(now);
    assert!(scrape.series.is_empty());
    assert_eq!((scrape.revoked.outbound, scrape.revoked.inbound), (1, 0));
}

#[test]
fn a_series_is_forgotten_when_nothing_is_open_in_it_and_it_is_idle() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let table = Connections::new(LIMITS);
    let (gone, lasting) = (between("gone", "server"), between("lasting", "server"));
    for life in [&gone, &lasting] {
        table.count(&opened(life), at(0));
    }
    table.count(&closed(&gone, true, ResponseFlag::None, (0, 0)), at(1));
    assert_eq!(table.collect(at(600)).series.len(), 2);
    assert_eq!(table.collect(at(601)).series.len(), 1, "the other is open still");
    assert_eq!(table.collect(at(601)).open.outbound, 1);

    table.distrust_open(at(602));
    assert_eq!(table.collect(at(602)).open.outbound, 1, "until somebody has counted");
    table.set_open(0, 0);
    assert_eq!(table.collect(at(1_201)).series.len(), 1, "it may be open still");
    assert_eq!(table.collect(at(1_202)).series.len(), 0, "nobody knows whether it is");
    table.count(&closed(&lasting, true, ResponseFlag::None, (0, 0)), at(1_203));
    assert_eq!(table.collect(at(1_203)).open.outbound, 0, "never below nothing");
}

#[test]
fn beyond_the_limit_everything_goes_into_a_series_without_names() {
    let start = Instant::now();
    let table = Connections::new(LIMITS);
    let client = |number: u16| Connection {
        id: connection(number).id,
        ..between(&format!("client-{number}"), "server")
    };
    for number in 0..100 {
        table.count(&opened(&client(number)), start);
    }
    let scrape = table.collect(start);
    assert_eq!(scrape.series.len(), LIMITS.series + 1);
    assert_eq!(scrape.overflowed, 100 - LIMITS.series as u64);
    let most = scrape.series.iter().max_by_key(|(_, series)| series.opened).unwrap();
    assert_eq!(most.1.opened, 100 - LIMITS.series as u64);
    assert!(!format!("{:?}", most.0).contains("client-"));

    // Room that the idle leave is found without a scrape.
    for number in 0..LIMITS.series as u16 {
        table.count(&closed(&client(number), true, ResponseFlag::None, (0, 0)), start);
    }
    let later = start + LIMITS.idle;
    table.count(&opened(&between("newcomer", "server")), later);
    let scrape = table.collect(later);
    assert!(scrape.series.iter().any(|(labels, _)| format!("{labels:?}").contains("newcomer")));

    // There is room, but a connection ends where it began.
    for number in LIMITS.series as u16..100 {
        table.count(&closed(&client(number), true, ResponseFlag::None, (0, 0)), later);
    }
    let scrape = table.collect(later + LIMITS.idle);
    let names: Vec<_> =
        scrape.series.iter().map(|(labels, series)| (format!("{labels:?}"), series.open)).collect();
    assert_eq!(names.len(), 1, "the newcomer alone is open: {names:#?}");
}
