//! What ends a wait: the doorbell, from any thread and at any moment, and timers.

use super::*;
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

#[test]
fn a_wait_without_end_is_ended_by_the_doorbell() {
    let driver = Driver::new(&DriverConfig::default()).unwrap();
    let doorbell = driver.doorbell();
    let ringer = thread::spawn(move || doorbell.ring());
    let mut told = Vec::new();
    driver.turn(true, &mut |completion| told.push(completion)).unwrap();
    assert!(matches!(told.as_slice(), [Completion::Doorbell]));
    ringer.join().unwrap();
    assert_eq!(driver.in_flight(), 0);
}

#[test]
fn rings_before_the_wait_count_and_are_told_together() {
    let mut shard = Shard::new();
    let doorbell = shard.driver.doorbell();
    for _ in 0..3 {
        for _ in 0..5 {
            doorbell.ring();
        }
        assert_eq!(shard.turn(true), 1);
        shard.turn(false);
    }
    assert_eq!(shard.told.len(), 3);
    assert!(shard.told.iter().all(|told| matches!(told, Completion::Doorbell)));
}

#[test]
fn a_ring_from_within_a_turn_ends_the_next_wait() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let doorbell = driver.doorbell();
    doorbell.ring();
    driver.turn(true, &mut |_| doorbell.ring()).unwrap();
    assert_eq!(shard.turn(true), 1);
}

#[test]
fn no_message_is_left_lying_whenever_the_bell_is_rung() {
    const MESSAGES: u64 = 30_000;
    const RINGERS: u64 = 3;
    let mut shard = Shard::new();
    let (sender, receiver) = mpsc::channel();
    let threads: Vec<_> = (0..RINGERS)
        .map(|ringer| {
            let (sender, doorbell) = (sender.clone(), shard.driver.doorbell());
            thread::spawn(move || {
                for message in 0..MESSAGES {
                    sender.send(message).unwrap();
                    doorbell.ring();
                    // Rings now close together, now while the shard sleeps.
                    for _ in 0..message.wrapping_mul(0x9E37_79B9_7F4A_7C15 + ringer) >> 56 {
                        std::hint::spin_loop();
                    }
                    if message % 64 == ringer {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut received = 0;
    while received < MESSAGES * RINGERS {
        // Looks only when told: a ring that is lost leaves it waiting for the guard.
        shard.turn(true);
        if shard.told.drain(..).any(|told| matches!(told, Completion::Doorbell)) {
            received += receiver.try_iter().count() as u64;
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(received, MESSAGES * RINGERS);
}

#[test]
fn the_doorbell_is_heard_beside_traffic_that_overflows_the_ring() {
    let mut shard = Shard::with(&DriverConfig { entries: 1, ..DriverConfig::default() });
    let (near, _far) = tcp_pair();
    let doorbell = shard.driver.doorbell();
    for round in 1..=50 {
        for _ in 0..100 {
            shard.driver.writable(near.as_fd(), Token(1));
        }
        doorbell.ring();
        shard.turn_until(|told| told.iter().any(|told| matches!(told, Completion::Doorbell)));
        shard.turn_until(|told| told.len() > 100);
        shard.told.clear();
        assert!(shard.driver.counters().doorbells >= round);
    }
    assert!(shard.driver.counters().overflows > 0);
}

#[test]
fn timers_fire_in_order_and_never_early() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let start = Instant::now();
    let mut expected: Vec<_> = (0..200_u64)
        .map(|index| {
            let at = start + Duration::from_micros(index.wrapping_mul(7_919) % 90_000);
            driver.timer(at, Token(index));
            (at, index)
        })
        .collect();
    expected.sort();
    let mut fired = Vec::new();
    while fired.len() < expected.len() {
        shard.turn(true);
        for completion in shard.told.drain(..) {
            let Completion::Timer { token } = completion else { panic!("{completion:?}") };
            let (at, _) = expected.iter().find(|(_, index)| *index == token.0).unwrap();
            assert!(Instant::now() >= *at && driver.now() >= *at, "{token:?} is early");
            fired.push(*at);
        }
    }
    // Of one millisecond in any order.
    let millis = |at: &Instant| (*at - start).as_millis();
    assert!(fired.windows(2).all(|pair| millis(&pair[0]) <= millis(&pair[1]) + 1));
}

#[test]
fn one_kernel_wait_serves_a_far_timer() {
    // A timer deep in the wheel: the wait may be cut where timers move down, but nothing is told before its time.
    let mut shard = Shard::new();
    let at = Instant::now() + Duration::from_millis(300);
    shard.driver.timer(at, Token(1));
    let enters = shard.driver.counters().enters;
    assert_eq!(shard.turn(true), 1);
    assert!(Instant::now() >= at);
    assert!(shard.driver.counters().enters - enters <= 6);
}

#[test]
fn a_cancelled_timer_does_not_fire() {
    let mut shard = Shard::new();
    let now = Instant::now();
    let late = shard.driver.timer(now + Duration::from_millis(5), Token(1));
    let due = shard.driver.timer(now, Token(2));
    shard.driver.timer(now + Duration::from_millis(20), Token(3));
    shard.driver.cancel_timer(late);
    shard.driver.cancel_timer(due);
    assert_eq!(shard.turn(true), 1);
    assert!(matches!(shard.told.as_slice(), [Completion::Timer { token: Token(3) }]));
    // Twice, and after it fired: nothing.
    shard.driver.cancel_timer(late);
    shard.driver.cancel_timer(due);
}

#[test]
fn a_timer_cancelled_by_one_that_fires_with_it_stays_silent() {
    let mut shard = Shard::new();
    let driver = shard.driver.clone();
    let at = Instant::now();
    let ids = [driver.timer(at, Token(1)), driver.timer(at, Token(2))];
    let mut fired = 0;
    driver
        .turn(true, &mut |_| {
            fired += 1;
            ids.iter().for_each(|id| driver.cancel_timer(*id));
        })
        .unwrap();
    assert_eq!((fired, shard.turn(false)), (1, 0));
}

#[test]
fn timers_that_set_timers_do_not_keep_a_turn_from_ending() {
    let past = Instant::now();
    let shard = Shard::new();
    let driver = &shard.driver;
    driver.timer(past, Token(1));
    for _ in 0..10 {
        let mut fired = 0;
        let told = driver
            .turn(true, &mut |_| {
                fired += 1;
                driver.timer(past, Token(1));
            })
            .unwrap();
        assert_eq!((told, fired), (1, 1));
    }
}

#[test]
fn a_completion_and_a_timer_meet_in_a_wait() {
    let mut shard = Shard::new();
    let doorbell = shard.driver.doorbell();
    let ringer = thread::spawn(move || {
        for _ in 0..200 {
            doorbell.ring();
            thread::yield_now();
        }
    });
    let mut timers = 0;
    while timers < 50 {
        shard.driver.timer(Instant::now() + Duration::from_micros(timers * 40), Token(timers));
        shard.turn_until(|told| {
            told.iter().any(|told| matches!(told, Completion::Timer { token } if token.0 == timers))
        });
        shard.told.clear();
        timers += 1;
    }
    ringer.join().unwrap();
}

#[test]
fn what_needs_no_kernel_is_told_without_a_wait() {
    let past = Instant::now();
    let mut shard = Shard::new();
    let (near, _far) = tcp_pair();
    let op = shard.driver.recv(near.as_fd(), RecvMode::Chatty, Token(1));
    shard.driver.cancel(op);
    shard.driver.send(near.as_fd(), Vec::new(), 0..0, Token(2));
    assert_eq!(shard.turn(true), 2);
    shard.driver.timer(past, Token(3));
    assert_eq!(shard.turn(true), 1);
    assert_eq!(shard.driver.counters().waits, 0);
}

#[test]
fn a_signal_does_not_end_a_wait() {
    extern "C" fn nothing(_: libc::c_int) {}
    let mut shard = Shard::new();
    // Without SA_RESTART.
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing; no other test uses this signal.
    unsafe { sigaction(Signal::SIGUSR2, &action) }.unwrap();
    // SAFETY: always succeeds.
    let waiting = unsafe { libc::pthread_self() };
    let doorbell = shard.driver.doorbell();
    let disturber = thread::spawn(move || {
        for _ in 0..300 {
            // SAFETY: that thread waits for this one before it ends.
            assert_eq!(unsafe { libc::pthread_kill(waiting, libc::SIGUSR2) }, 0);
            thread::yield_now();
        }
        doorbell.ring();
    });
    assert_eq!(shard.turn(true), 1);
    assert!(matches!(shard.told.as_slice(), [Completion::Doorbell]));
    disturber.join().unwrap();
}

#[test]
fn an_interrupted_wait_begins_again() {
    let mut shard = Shard::new();
    shard.driver.inner.ring.refusals.borrow_mut().extend([libc::EINTR; 3]);
    shard.driver.timer(Instant::now(), Token(1));
    assert_eq!(shard.turn(true), 1);
    assert_eq!(shard.driver.counters().turns, 1);
}
