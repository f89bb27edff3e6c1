//! The state of a connection, written down in the middle of everything and carried on by another.

use super::link::{Cut, Dice, Link, ROLES, SUITES, open_all, pair};
use crate::handover::{ReadError, Reader, Writer};
use crate::tls::record::content::{APPLICATION_DATA, HANDSHAKE};
use crate::tls::{Established, Opened, RecordOpener, RecordSealer};

/// Replaces both halves by what is read back of them.
fn hand_over(ours: &mut Established) {
    let mut w = Writer::default();
    ours.sealer.write_down(&mut w);
    ours.opener.write_down(&mut w);
    let written = w.finish();
    let mut r = Reader::new(&written);
    ours.sealer = RecordSealer::read_back(&mut r).unwrap();
    ours.opener = RecordOpener::read_back(&mut r).unwrap();
    r.finish().unwrap();
}

#[test]
fn traffic_with_rustls_goes_on() {
    for role in ROLES {
        for suite in SUITES {
            let mut link = Link::new(role, suite);
            let mut dice = Dice(11);
            for round in 0..30 {
                hand_over(&mut link.ours);
                let length = 1 + dice.below(50_000);
                let bytes = dice.bytes(length);
                assert!(link.carry(&bytes) == bytes);
                if round % 4 == 0 {
                    link.peer.refresh_traffic_keys().unwrap();
                }
                if round % 5 == 0 {
                    let mut out = Vec::new();
                    link.ours.sealer.key_update(&mut out, false);
                    link.deliver(&out).unwrap();
                }
                link.peer_writes(&bytes);
                hand_over(&mut link.ours);
                assert!(link.receive().unwrap().data == bytes);
            }
        }
    }
}

/// Both ends are handed over between any two records, with KeyUpdates and pieces of messages on the way.
#[test]
fn both_ends_move_in_the_middle_of_a_batch() {
    let (mut one, mut two) = pair();
    let mut dice = Dice(12);
    let mut cut = Cut::Random(Dice(13));
    for _ in 0..40 {
        let length = 1 + dice.below(100_000);
        let bytes = dice.bytes(length);
        let (mut out, mut rest) = (Vec::new(), &bytes[..]);
        while !rest.is_empty() {
            one.sealer.put(&mut out, cut.take(&mut rest));
            match dice.below(20) {
                0 => one.sealer.key_update(&mut out, false),
                1 => {
                    one.sealer.flush(&mut out);
                    hand_over(&mut one);
                }
                _ => {}
            }
        }
        one.sealer.flush(&mut out);
        let mut received = Vec::new();
        let mut rest = &mut out[..];
        while let Some(length) = RecordOpener::record_len(rest).unwrap() {
            let (record, later) = rest.split_at_mut(length);
            if let Opened::Data(data) = two.opener.open(record).unwrap() {
                received.extend_from_slice(data);
            }
            hand_over(&mut two);
            rest = later;
        }
        assert!(received == bytes);
        std::mem::swap(&mut one, &mut two);
    }
}

#[test]
fn a_message_that_has_begun_is_carried_on() {
    let message = [&[4, 0, 0, 20][..], &[9; 20], &[24, 0, 0, 1, 1]].concat();
    for at in 1..message.len() {
        let (mut client, mut server) = pair();
        let mut out = Vec::new();
        server.sealer.seal_any(&mut out, HANDSHAKE, &message[..at]);
        open_all(&mut client.opener, &mut out).unwrap();
        hand_over(&mut client);
        out.clear();
        server.sealer.seal_any(&mut out, HANDSHAKE, &message[at..]);
        assert_eq!(open_all(&mut client.opener, &mut out).unwrap().answers, 1, "{at}");
    }
}

#[test]
fn counts_and_ends_are_carried_on() {
    let (mut client, mut server) = pair();
    let mut out = Vec::new();
    for _ in 0..33 {
        server.sealer.seal_any(&mut out, APPLICATION_DATA, b"");
    }
    let refused = out.chunks_mut(22).map(|record| {
        hand_over(&mut client);
        client.opener.open(record).is_err()
    });
    assert_eq!(refused.collect::<Vec<_>>()[31..], [false, true]);

    let (mut client, mut server) = pair();
    let mut out = Vec::new();
    server.sealer.close_notify(&mut out);
    assert_eq!(client.opener.open(&mut out), Ok(Opened::Closed));
    hand_over(&mut client);
    assert_eq!(client.opener.open(&mut [23, 3, 3, 0, 1, 0]), Ok(Opened::Closed));
}

#[test]
fn a_damaged_state_is_refused() {
    let (client, _) = pair();
    let mut w = Writer::default();
    client.opener.write_down(&mut w);
    let written = w.finish();
    for length in 0..written.len() {
        let read = RecordOpener::read_back(&mut Reader::new(&written[..length]));
        assert_eq!(read.err(), Some(ReadError::Truncated));
    }
    let mut unknown_suite = written.clone();
    unknown_suite[0] = 3;
    let read = RecordOpener::read_back(&mut Reader::new(&unknown_suite));
    assert_eq!(read.err(), Some(ReadError::Invalid("a cipher suite")));
    let mut other_suite = written;
    other_suite[0] = 2; // AES-256, whose secret is longer
    let read = RecordOpener::read_back(&mut Reader::new(&other_suite));
    assert_eq!(read.err(), Some(ReadError::Invalid("a traffic secret")));
}

#[test]
fn nothing_secret_is_printed() {
    let (client, _) = pair();
    let mut w = Writer::default();
    client.sealer.write_down(&mut w);
    let written = w.finish();
    let secret = &written[8..40];
    let printed = format!("{client:?}");
    for shown in [format!("{secret:?}"), format!("{:?}", &secret[..4]).replace(['[', ']'], "")] {
        assert!(!printed.contains(&shown), "{printed}");
    }
    assert!(printed.contains("sequence"), "{printed}");
}
