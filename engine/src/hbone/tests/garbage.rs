//! Whatever a peer sends, the session answers with events or one error and never panics. The same ideas run for longer
//! in `fuzz/`.

use super::super::frame::{HEAD_BYTES, PREFACE};
use super::super::*;
use super::random::Random;
use super::rig::*;

/// Feeds bytes in random pieces and does to the session whatever a caller might.
fn drive(session: &mut Session, mut input: &[u8], random: &mut Random) {
    let mut out = Vec::new();
    let mut streams: Vec<StreamId> = Vec::new();
    while !input.is_empty() {
        let (mut piece, rest) = input.split_at(input.len().min(random.length(200)));
        input = rest;
        loop {
            match session.next(&mut piece, &mut out) {
                Ok(None) => break,
                Err(_) => return,
                Ok(Some(Event::Request { stream, .. })) => {
                    let status = [200, 200, 400, 503][random.below(4)];
                    session.set_slot(stream, stream.value());
                    session.respond(stream, status, &[("baggage", "a=b")], status != 200, &mut out);
                    streams.push(stream);
                }
                Ok(Some(Event::Data { stream, bytes, .. })) if random.one_in(2) => {
                    session.release(stream, bytes.len(), &mut out);
                }
                Ok(Some(_)) => {}
            }
        }
        assert!(piece.is_empty());
        if random.one_in(4)
            && let Some(stream) = session.connect("10.0.0.7:8080", &[("forwarded", "for=x")], &mut out)
        {
            session.set_slot(stream, stream.value());
            streams.push(stream);
        }
        if !streams.is_empty() {
            let stream = streams[random.below(streams.len())];
            match random.below(8) {
                0 => session.end(stream, &mut out),
                1 => session.reset(stream, ErrorCode::CANCEL, &mut out),
                _ => {
                    session.send(stream, &vec![7; random.length(70_000)], &mut out);
                }
            }
        }
        if random.one_in(10) {
            *session = handed_over(session);
        }
        if random.one_in(50) {
            session.goaway(ErrorCode::NO_ERROR, &mut out);
        }
        frames(out.strip_prefix(&PREFACE[..]).unwrap_or(&out));
        out.clear();
    }
}

fn session(random: &mut Random) -> (Session, Vec<u8>) {
    let mut settings = Settings::server();
    if random.one_in(2) {
        settings.stream_window = random.length(1_000) as u32;
        settings.streams_max = random.below(5) as u32;
    }
    let begin = [&PREFACE[..], &self::settings(&[(4, random.length(1 << 20) as u32)])].concat();
    if random.one_in(2) {
        (Session::server(&settings, &mut Vec::new()), begin)
    } else {
        (Session::client(&settings, &mut Vec::new()), begin[PREFACE.len()..].to_vec())
    }
}

/// Frames with plausible headers and any payload.
fn plausible(random: &mut Random) -> Vec<u8> {
    let length = random.length(40);
    let mut frame = vec![0, 0, 0, random.below(11) as u8, random.next() as u8 & 0x2d, 0, 0, 0, 0];
    frame[8] = random.below(12) as u8;
    let payload = match frame[3] {
        // Header blocks that mostly decode.
        1 | 9 if random.one_in(2) => block(if random.one_in(2) { &CONNECT } else { &GET }),
        1 | 9 if random.one_in(2) => block(&OK),
        2 => random.bytes(5),
        3 | 8 => random.bytes(4),
        4 => [[0, random.below(9) as u8, 0, random.next() as u8, random.next() as u8, 7]].concat(),
        6 | 7 => random.bytes(8),
        _ => random.bytes(length),
    };
    frame[1] = (payload.len() >> 8) as u8;
    frame[2] = payload.len() as u8;
    if !random.one_in(20) {
        // Mostly no padding and priority, which make short payloads errors.
        frame[4] &= !0x28;
    }
    if frame[3] == 4 || frame[3] == 6 || frame[3] == 7 {
        frame[8] = 0;
    }
    frame.extend(payload);
    frame
}

#[test]
fn bytes_at_random() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let (mut session, mut input) = session(&mut random);
        let length = random.length(2_000);
        input.extend(random.bytes(length));
        drive(&mut session, &input, &mut random);
    }
}

#[test]
fn frames_at_random() {
    for seed in 0..1_500 {
        let mut random = Random::new(seed);
        let (mut session, mut input) = session(&mut random);
        for _ in 0..random.length(60) {
            input.extend(plausible(&mut random));
        }
        drive(&mut session, &input, &mut random);
    }
}

#[test]
fn good_traffic_with_a_few_bits_flipped() {
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let (mut session, mut input) = session(&mut random);
        for stream in [1, 3, 5] {
            input.extend(headers(stream, if random.one_in(2) { &CONNECT } else { &OK }, false));
            input.extend(window_update(stream, 100));
            let (length, end) = (random.length(500), random.one_in(2));
            input.extend(data(stream, &random.bytes(length), end));
        }
        for _ in 0..random.below(4) {
            let place = random.below(input.len());
            input[place] ^= 1 << random.below(8);
        }
        drive(&mut session, &input, &mut random);
    }
}

#[test]
fn header_blocks_at_random() {
    for seed in 0..2_000 {
        let mut random = Random::new(seed);
        let mut decoder = hpack::Decoder::default();
        for _ in 0..10 {
            let length = random.length(100);
            let mut size = 0;
            let decoded =
                decoder.decode(&random.bytes(length), |name, value| size += name.len() + value.len());
            assert!(size <= length * 4_096, "an octet names one entry of the table at most");
            if decoded.is_err() {
                break;
            }
        }
    }
}

#[test]
fn a_head_of_any_nine_bytes() {
    let mut random = Random::new(1);
    for _ in 0..10_000 {
        let bytes: [u8; HEAD_BYTES] = *random.bytes(HEAD_BYTES).first_chunk().unwrap();
        let head = frame::Head::parse(&bytes);
        let mut again = head.bytes();
        again[5] |= bytes[5] & 0x80;
        assert_eq!(again, bytes);
    }
}
