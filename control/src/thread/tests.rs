#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::*;
use crate::aside::aside;
use crate::environment::LogFormat;
use crate::logging::testing::logged;
use crate::stand_in::{StandIn, completed, environment};

/// Failures after which nobody wants another try.
const RETRIES: usize = 10;

/// Runs until ended with work that does, the first times, what `outcomes` says.
fn outcome_of(outcomes: &[&str]) -> (Ended, usize) {
    let runs = Cell::new(0);
    let tries = Cell::new(0);
    let may_retry = || tries.replace(tries.get() + 1) < RETRIES;
    let ended = until_ended(Restarts::default(), may_retry, || {
        let run = runs.replace(runs.get() + 1);
        match outcomes.get(run) {
            Some(&"panic") => panic!("run {run}"),
            Some(&"fail") => Err(io::Error::other("no more descriptors")),
            _ => Ok(()),
        }
    });
    (ended, runs.get())
}

#[test]
fn a_panic_is_survived_and_a_series_is_not() {
    assert_eq!(outcome_of(&[]), (Ended::Ordered, 1));
    assert_eq!(outcome_of(&["panic"]), (Ended::Ordered, 2));
    assert_eq!(outcome_of(&["panic", "fail"]), (Ended::Ordered, 3));
    assert_eq!(outcome_of(&["panic", "panic", "panic", "panic"]), (Ended::GaveUp, 3));
    assert_eq!(
        outcome_of(&["fail", "panic", "fail"]),
        (Ended::Ordered, 4),
        "work that cannot begin is no panic"
    );
    assert_eq!(outcome_of(&["fail"; RETRIES]), (Ended::Ordered, RETRIES + 1));
    assert_eq!(outcome_of(&["fail"; RETRIES + 1]), (Ended::GaveUp, RETRIES + 1), "nobody wants it any more");
}

#[test]
fn panics_are_forgotten_after_ten_minutes() {
    let mut restarts = Restarts::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert!(restarts.may_go_on(at(0)));
    assert!(restarts.may_go_on(at(599)));
    assert!(restarts.may_go_on(at(600)), "the first is forgotten");
    assert!(!restarts.may_go_on(at(601)));
}

#[test]
fn the_text_of_a_panic_is_told() {
    let lines = logged(LogFormat::Plain, "info", || _ = outcome_of(&["panic"]));
    assert!(lines.contains("panic=\"run 0\""), "{lines}");
}

/// A name that is looked up at a server that does not answer holds a thread for half a minute.
#[test]
fn the_end_of_a_run_waits_for_no_thread_that_is_stuck() {
    for panics in [false, true] {
        let (release, stuck) = std::sync::mpsc::channel::<()>();
        let (tell, ended) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let run = catch_unwind(AssertUnwindSafe(|| {
                runtime().unwrap().block_on(async {
                    let (begun, wait) = tokio::sync::oneshot::channel();
                    tokio::spawn(aside("stuck", move || {
                        begun.send(()).unwrap();
                        let _ = stuck.recv();
                    }));
                    wait.await.unwrap();
                    assert!(!panics, "a run that panics");
                });
            }));
            tell.send(run.is_err()).unwrap();
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(panics));
        drop(release);
    }
}

/// The whole of the thread's work around a stand-in for the engine.
fn work(plane: StandIn, drain_deadline: &str) -> Work<StandIn> {
    let environment = environment(&[("CONNECTION_TERMINATION_DEADLINE", drain_deadline)]);
    Work {
        engine: plane,
        known: Known::new(&environment),
        telemetry: Telemetry::new(&environment),
        endpoints: Endpoints::open(&environment, false).unwrap(),
        environment,
        readiness: Readiness::starting(),
        shutdown: Shutdown(watch::Sender::new(false)),
    }
}

#[test]
fn an_order_ends_the_work_even_if_it_came_first() {
    let work = work(StandIn::default(), "5s");
    work.shutdown.order();
    assert!(work.run().is_ok());
    assert_eq!(work.engine.take(), ["drain", "cut"]);
}

#[test]
fn a_drain_writes_the_last_records_and_makes_us_unready() {
    let plane = StandIn::default();
    plane.observations.borrow_mut().extend((1..=3).map(completed));
    let work = work(plane, "5s");
    let lines = logged(LogFormat::Plain, "info", || work.drain_alone().unwrap());
    assert_eq!(lines.matches("connection complete").count(), 3, "{lines}");
    assert_eq!(work.engine.take(), ["drain", "cut"]);
    assert!(work.readiness.pending().contains(&"drain"));
}

#[test]
fn a_drain_that_does_not_end_is_cut() {
    let plane = StandIn::default();
    plane.stuck.set(true);
    let work = work(plane, "0s");
    let lines = logged(LogFormat::Plain, "info", || work.drain_alone().unwrap());
    assert!(lines.contains("connections that are still open are cut"), "{lines}");
}

/// What a server of ours at `address` answers to one request; nothing once it is gone.
fn ask(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("{request} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn who_asks_is_answered_until_the_drain_is_over() {
    let plane = StandIn::default();
    plane.stuck.set(true);
    let work = work(plane, "1h");
    let [admin, stats, readiness] = work.endpoints.addresses();
    // It drains for as long as this process lives: nobody waits for its end.
    thread::spawn(move || work.run());
    assert!(ask(admin, "GET /").unwrap().contains("config_dump"));
    assert!(ask(readiness, "GET /healthz/ready").unwrap().contains("not ready, pending: state manager"));

    assert!(ask(admin, "POST /quitquitquit").unwrap().ends_with("shutdown now\n"));
    // The order is obeyed at some moment: until then probes say what they said before.
    while !ask(readiness, "GET /healthz/ready").unwrap().contains("drain") {}
    assert!(ask(stats, "GET /metrics").unwrap().contains("\nringway_ready 0\n"));
    assert!(ask(admin, "GET /status").unwrap().contains("the proxy is ending"));
}

#[test]
fn the_order_to_end_is_answered_even_if_the_end_comes_at_once() {
    let work = work(StandIn::default(), "5s");
    let [admin, ..] = work.endpoints.addresses();
    let running = thread::spawn(move || work.run().is_ok());
    assert!(ask(admin, "POST /quitquitquit").unwrap().ends_with("shutdown now\n"));
    assert!(running.join().unwrap());
}

/// `ringway flows --follow` ends well when its proxy does.
#[test]
fn who_follows_flows_sees_the_last_of_them_and_an_end() {
    let plane = StandIn::default();
    plane.observations.borrow_mut().extend((1..=3).map(completed));
    let work = work(plane, "5s");
    let [admin, ..] = work.endpoints.addresses();
    let shutdown = work.shutdown.clone();
    let running = thread::spawn(move || work.run().is_ok());
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /flows?follow=true HTTP/1.1\r\nhost: person\r\n\r\n").unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    shutdown.order();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "the end of a chunked answer: {rest}");
    assert!(running.join().unwrap());
}
