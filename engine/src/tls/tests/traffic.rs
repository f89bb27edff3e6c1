//! Records under way: sizes, cuts, batches, KeyUpdates, ends.

use std::io::Write;

use rustls::AlertDescription;

use super::link::{Dice, Link, ROLES, Role, SUITES, open_all, pair, take};
use crate::tls::limits::RECORD_DATA_MAX_BYTES;
use crate::tls::record::HEADER_BYTES;
use crate::tls::{Alert, Opened, RecordError, RecordOpener, RecordSealer, Suite};

/// Lengths around everything that changes at some length.
const LENGTHS: [usize; 12] = [1, 2, 9, 100, 4_096, 16_383, 16_384, 16_385, 32_768, 65_536, 65_537, 300_000];

fn sealed(sealer: &mut RecordSealer, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        sealer.put(&mut out, piece);
    }
    sealer.flush(&mut out);
    out
}

fn record_lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(length) = RecordOpener::record_len(bytes).unwrap() {
        lengths.push(length);
        bytes = &bytes[length..];
    }
    lengths
}

#[test]
fn carries_all_lengths_both_ways() {
    for role in ROLES {
        for suite in SUITES {
            let mut link = Link::new(role, suite);
            let mut dice = Dice(1);
            for length in LENGTHS {
                let bytes = dice.bytes(length);
                assert!(link.carry(&bytes) == bytes, "{role:?} {suite} {length}");
                for part in bytes.chunks(60_000) {
                    link.peer_writes(part); // rustls buffers 64 KiB
                }
                assert!(link.receive().unwrap().data == bytes, "{role:?} {suite} {length}");
            }
        }
    }
}

#[test]
fn pieces_are_packed_unless_that_takes_copying_much() {
    let full = RECORD_DATA_MAX_BYTES;
    // Lengths of the pieces, and of what the records hold.
    let table: [(&[usize], &[usize]); 6] = [
        (&[9, 16_375, 7], &[full, 7]),
        (&[4 * full, 4 * full, 7], &[full, full, full, full, full, full, full, full, 7]),
        (&[65_033, 65_033], &[full, full, full, 15_881, full, full, full, 15_881]),
        (&[9, full], &[9, full]),
        (&[full + 4_095, 7, 8], &[full, 4_110]),
        (&[full + 4_096, 7, 8], &[full, 4_096, 15]),
    ];
    for (lengths, expected) in table {
        let (mut client, mut server) = pair();
        let mut dice = Dice(2);
        let pieces: Vec<_> = lengths.iter().map(|length| dice.bytes(*length)).collect();
        let pieces: Vec<_> = pieces.iter().map(|piece| &piece[..]).collect();
        let mut out = sealed(&mut client.sealer, &pieces);
        let records: Vec<_> = record_lengths(&out).iter().map(|length| length - 22).collect();
        assert_eq!(records, expected, "{lengths:?}");
        assert!(open_all(&mut server.opener, &mut out).unwrap().data == pieces.concat());
    }
}

#[test]
fn pieces_of_any_length_arrive_in_order() {
    let (mut client, mut server) = pair();
    let mut dice = Dice(3);
    for _ in 0..60 {
        let pieces: Vec<_> = (0..1 + dice.below(6))
            .map(|_| {
                let length = LENGTHS[dice.below(10)] + dice.below(50);
                dice.bytes(length)
            })
            .collect();
        let pieces: Vec<_> = pieces.iter().map(|piece| &piece[..]).collect();
        let mut out = b"earlier bytes".to_vec();
        for piece in &pieces {
            client.sealer.put(&mut out, piece);
        }
        client.sealer.flush(&mut out);
        client.sealer.flush(&mut out); // nothing more to seal
        let (earlier, records) = out.split_at_mut(13);
        assert_eq!(earlier, b"earlier bytes");
        assert!(open_all(&mut server.opener, records).unwrap().data == pieces.concat());
    }
}

/// A whole record is sealed straight from the source; the bytes must be those of the way through the buffer.
#[test]
fn both_ways_of_sealing_give_the_same_bytes() {
    let bytes = Dice(4).bytes(5 * RECORD_DATA_MAX_BYTES + 77);
    let (client, _) = pair();
    let mut copying = twin(&client.sealer);
    let mut straight = twin(&client.sealer);
    let small: Vec<_> = bytes.chunks(1_000).collect();
    assert!(sealed(&mut copying, &small) == sealed(&mut straight, &[&bytes]));
}

/// Another sealer in the same state.
fn twin(sealer: &RecordSealer) -> RecordSealer {
    let mut w = crate::handover::Writer::default();
    sealer.write_down(&mut w);
    RecordSealer::read_back(&mut crate::handover::Reader::new(&w.finish())).unwrap()
}

#[test]
fn sealing_into_a_large_enough_buffer_does_not_move_it() {
    let (mut client, _) = pair();
    let bytes = Dice(5).bytes(65_536);
    let mut out = Vec::with_capacity(66_000);
    let before = (out.as_ptr(), out.capacity());
    for _ in 0..10 {
        out.clear();
        client.sealer.put(&mut out, &bytes[..9]);
        client.sealer.put(&mut out, &bytes[9..]);
        client.sealer.flush(&mut out);
    }
    assert_eq!((out.as_ptr(), out.capacity()), before);
}

#[test]
fn the_peer_changes_its_key_in_the_middle_of_a_batch() {
    for role in ROLES {
        for suite in SUITES {
            let mut link = Link::new(role, suite);
            let mut expected = Vec::new();
            for round in 0..5u8 {
                let bytes = vec![round; 30_000];
                link.peer_writes(&bytes);
                link.peer.refresh_traffic_keys().unwrap();
                link.peer_writes(&bytes);
                expected.extend([&bytes[..], &bytes].concat());
            }
            let received = link.receive().unwrap();
            assert!(received.data == expected);
            assert_eq!((received.key_updates, received.answers), (5, 5));

            // One answer serves them all; the peer goes on reading.
            let mut answer = Vec::new();
            link.ours.sealer.key_update(&mut answer, false);
            link.deliver(&answer).unwrap();
            assert_eq!(link.carry(b"under the next key"), b"under the next key");
            assert_eq!(take(&mut link.peer), [], "an answer is not answered");
        }
    }
}

#[test]
fn we_change_our_key_in_the_middle_of_a_batch() {
    for role in ROLES {
        for suite in SUITES {
            let mut link = Link::new(role, suite);
            let mut out = Vec::new();
            for request in [true, false, true] {
                link.ours.sealer.put(&mut out, b"before;"); // not flushed: key_update must
                link.ours.sealer.key_update(&mut out, request);
                link.ours.sealer.put(&mut out, b"after;");
            }
            link.ours.sealer.flush(&mut out);
            assert_eq!(link.deliver(&out).unwrap(), b"before;after;".repeat(3));

            // rustls answers with its next write.
            link.peer_writes(b"answered");
            let received = link.receive().unwrap();
            assert_eq!(received.data, b"answered");
            assert!(received.key_updates >= 1);
            assert_eq!(received.answers, 0);
        }
    }
}

#[test]
fn a_key_is_changed_before_it_has_sealed_too_much() {
    for suite in SUITES {
        let mut link = Link::new(Role::Client, suite);
        link.ours.sealer.set_records_max(3);
        let mut dice = Dice(6);
        let mut updates = 0;
        for _ in 0..20 {
            let length = 1 + dice.below(200_000);
            let bytes = dice.bytes(length);
            let mut out = Vec::new();
            link.ours.sealer.put(&mut out, &bytes[..length / 3]);
            link.ours.sealer.put(&mut out, &bytes[length / 3..]);
            link.ours.sealer.flush(&mut out);
            updates += record_lengths(&out).iter().filter(|&&length| length == HEADER_BYTES + 5 + 17).count();
            assert!(link.deliver(&out).unwrap() == bytes);
        }
        assert!(updates > 20, "{updates}");
    }

    // Against our own opener, which counts: never more than three records of data between two updates.
    let (mut client, mut server) = pair();
    client.sealer.set_records_max(3);
    let mut out = sealed(&mut client.sealer, &[&Dice(7).bytes(20 * RECORD_DATA_MAX_BYTES)]);
    let mut since_update = 0;
    let mut rest = &mut out[..];
    while let Some(length) = RecordOpener::record_len(rest).unwrap() {
        let (record, later) = rest.split_at_mut(length);
        match server.opener.open(record).unwrap() {
            Opened::KeyUpdate { answer: false } => since_update = 0,
            Opened::Data(_) => since_update += 1,
            other => panic!("{other:?}"),
        }
        assert!(since_update <= 3);
        rest = later;
    }
}

#[test]
fn close_notify_ends_both_ways() {
    for role in ROLES {
        let mut link = Link::new(role, Suite::Aes128Gcm);
        let mut out = Vec::new();
        link.ours.sealer.put(&mut out, b"the last word");
        link.ours.sealer.close_notify(&mut out);
        assert_eq!(link.deliver(&out).unwrap(), b"the last word");
        assert!(link.peer.process_new_packets().unwrap().peer_has_closed());

        link.peer.writer().write_all(b"mine").unwrap();
        link.peer.send_close_notify();
        link.to_us.extend(take(&mut link.peer));
        let received = link.receive().unwrap();
        assert_eq!(received.data, b"mine");
        assert!(received.closed);
        // RFC 8446 §6.1: whatever comes after it is ignored.
        link.to_us = vec![23, 3, 3, 0, 20];
        link.to_us.extend([0; 20]);
        assert!(link.receive().unwrap().closed);
    }
}

#[test]
fn our_alert_reaches_the_peer() {
    for role in ROLES {
        let mut link = Link::new(role, Suite::Aes256Gcm);
        let mut out = Vec::new();
        link.ours.sealer.put(&mut out, b"so far");
        link.ours.sealer.alert(&mut out, Alert::BAD_RECORD_MAC);
        let verdict = link.deliver(&out);
        assert_eq!(verdict, Err(rustls::Error::AlertReceived(AlertDescription::BadRecordMac)));
    }
}

#[test]
fn a_changed_byte_anywhere_in_a_record_is_noticed() {
    let (mut client, server) = pair();
    let mut w = crate::handover::Writer::default();
    server.opener.write_down(&mut w);
    let state = w.finish();
    let record = sealed(&mut client.sealer, &[b"every byte counts"]);
    for at in HEADER_BYTES..record.len() {
        let mut opener = RecordOpener::read_back(&mut crate::handover::Reader::new(&state)).unwrap();
        let mut changed = record.clone();
        changed[at] ^= 1;
        let error = opener.open(&mut changed).unwrap_err();
        assert_eq!(error, RecordError::BadMac, "byte {at}");
        assert_eq!(error.alert(), Some(Alert::BAD_RECORD_MAC));
    }
}

#[test]
fn a_record_counts_once_and_in_its_place() {
    let (mut client, mut server) = pair();
    let first = sealed(&mut client.sealer, &[b"first"]);
    let second = sealed(&mut client.sealer, &[b"second"]);
    assert_eq!(open_all(&mut server.opener, &mut first.clone()).unwrap().data, b"first");
    let (mut again, mut skipped) = (first, second);
    assert_eq!(server.opener.open(&mut again), Err(RecordError::BadMac), "replayed");
    assert_eq!(server.opener.open(&mut skipped), Err(RecordError::BadMac), "no way back after an error");
}
