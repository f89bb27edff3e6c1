#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;

/// Advances and takes what is due.
fn fire(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
    wheel.advance(now);
    let mut fired = Vec::new();
    while let Some(payload) = wheel.pop() {
        fired.push(payload);
    }
    fired
}

#[test]
fn a_timer_fires_at_its_tick_at_every_distance() {
    for start in [0, 1, 63, 64, 4_095, 1 << 20, (1 << 36) - 1, (1 << 36) + 5] {
        for distance in
            [1, 2, 63, 64, 65, 4_095, 4_096, 4_097, 262_144, 1 << 24, 1 << 30, (1 << 36) + 7, 1 << 40]
        {
            let mut wheel = Wheel::new();
            wheel.advance(start);
            let tick = start + distance;
            wheel.insert(tick, 1);
            assert_eq!(fire(&mut wheel, tick - 1), [], "{start} {distance}");
            assert_eq!(fire(&mut wheel, tick), [1], "{start} {distance}");
            assert_eq!(wheel.next_tick(), None);
        }
    }
}

#[test]
fn what_is_due_already_fires_at_once_and_in_order_of_setting() {
    let mut wheel = Wheel::new();
    wheel.advance(100);
    wheel.insert(100, 1);
    wheel.insert(5, 2);
    assert_eq!(wheel.next_tick(), Some(100));
    assert_eq!(wheel.due(), 2);
    assert_eq!(fire(&mut wheel, 100), [1, 2]);
}

#[test]
fn following_next_tick_misses_nothing_and_ends() {
    let mut wheel = Wheel::new();
    let ticks = [3, 70, 5_000, 300_000, 20_000_000];
    for tick in ticks {
        wheel.insert(tick, tick);
    }
    let mut wakes = 0;
    let mut fired = Vec::new();
    while let Some(tick) = wheel.next_tick() {
        wakes += 1;
        for payload in fire(&mut wheel, tick) {
            assert_eq!(payload, tick);
            fired.push(payload);
        }
    }
    assert_eq!(fired, ticks);
    // At most one stop per level on the way of each.
    assert!(wakes <= ticks.len() * LEVELS, "{wakes}");
}

#[test]
fn the_next_round_of_the_present_slot_comes_after_this_round_of_the_others() {
    let mut wheel = Wheel::new();
    let now = 3 << 30;
    wheel.advance(now);
    wheel.insert(now + (1 << 36), 1);
    wheel.insert(now + (1 << 31), 2);
    assert!(wheel.next_tick() <= Some(now + (1 << 31)));
    assert_eq!(fire(&mut wheel, now + (1 << 31)), [2]);
    assert_eq!(fire(&mut wheel, now + (1 << 36)), [1]);
}

#[test]
fn a_cancelled_timer_is_gone_and_its_id_stale() {
    let mut wheel = Wheel::new();
    let first = wheel.insert(10, 1);
    assert_eq!(wheel.get_mut(first), Some(&mut 1));
    assert_eq!(wheel.cancel(first), Some(1));
    assert_eq!(wheel.cancel(first), None);
    assert_eq!(wheel.next_tick(), None);
    let second = wheel.insert(10, 2);
    assert_eq!((first.index, wheel.get_mut(first)), (second.index, None));
    assert_eq!(fire(&mut wheel, 10), [2]);
    assert_eq!(wheel.cancel(second), None);
}

#[test]
fn clearing_gives_back_every_timer() {
    let mut wheel = Wheel::new();
    wheel.advance(50);
    for tick in [10, 60, 1_000, 1_000, 1 << 30] {
        wheel.insert(tick, tick);
    }
    let gone = wheel.insert(70, 70);
    wheel.cancel(gone);
    let mut cleared = wheel.clear();
    cleared.sort_unstable();
    assert_eq!(cleared, [10, 60, 1_000, 1_000, 1 << 30]);
    assert_eq!((wheel.next_tick(), wheel.due()), (None, 0));
    assert_eq!(wheel.clear(), []);
}

#[test]
fn it_does_what_a_sorted_map_does() {
    for seed in 1..=30 {
        let mut random = seed;
        let mut draw = move |below: u64| {
            random = random_after(random);
            (random >> 33) % below
        };
        let mut wheel = Wheel::new();
        let mut model: BTreeMap<(u64, u64), TimerId> = BTreeMap::new();
        let mut now = draw(1 << 40);
        wheel.advance(now);
        for step in 0..3_000 {
            match draw(10) {
                0..=4 => {
                    let reach = 1 << draw(38);
                    let tick = now + draw(reach);
                    let id = wheel.insert(tick, step);
                    model.insert((tick.max(now), step), id);
                }
                5..=6 => {
                    let at = draw(model.len().max(1) as u64) as usize;
                    if let Some((key, id)) = model.iter().nth(at).map(|(key, id)| (*key, *id)) {
                        assert_eq!(wheel.cancel(id), Some(key.1));
                        model.remove(&key);
                    }
                }
                _ => {
                    let first = model.keys().next().map(|(tick, _)| *tick);
                    let next = wheel.next_tick();
                    assert!(
                        next.is_some() == first.is_some() && next <= first,
                        "seed {seed}: {next:?} {first:?}"
                    );
                    let reach = 1 << draw(37);
                    now += draw(reach);
                    let fired = fire(&mut wheel, now);
                    let later = model.split_off(&(now + 1, 0));
                    let mut expected: Vec<_> = std::mem::replace(&mut model, later).into_keys().collect();
                    // Each tick's timers in any order.
                    let ticks: BTreeMap<u64, u64> =
                        expected.iter().map(|(tick, step)| (*step, *tick)).collect();
                    assert!(fired.is_sorted_by_key(|step| ticks[step]), "seed {seed}");
                    let mut fired = fired;
                    fired.sort_unstable();
                    expected.sort_unstable_by_key(|(_, step)| *step);
                    assert!(fired.iter().eq(expected.iter().map(|(_, step)| step)), "seed {seed}");
                }
            }
        }
    }
}

fn random_after(random: u64) -> u64 {
    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

#[test]
fn ticks_never_make_a_timer_early() {
    let base = Instant::now();
    let clock = Clock::new(base);
    for (nanos, first, last) in [(0, 0, 0), (1, 1, 0), (999_999, 1, 0), (1_000_000, 1, 1), (1_000_001, 2, 1)]
    {
        let at = base + Duration::from_nanos(nanos);
        assert_eq!((clock.tick_at(at), clock.tick_of(at)), (first, last), "{nanos}");
    }
    let past = base.checked_sub(Duration::from_secs(1)).unwrap();
    assert_eq!((clock.tick_at(past), clock.tick_of(past)), (0, 0));
    assert_eq!(clock.until(5, base + Duration::from_micros(1_500)), Duration::from_micros(3_500));
    assert_eq!(clock.until(5, base + Duration::from_secs(1)), Duration::ZERO);
}
