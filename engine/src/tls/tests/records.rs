//! Records that no honest peer sends: each rule of RFC 8446 §5 has its refusal.

use super::link::{Dice, open_all, pair};
use crate::tls::limits::{
    POST_HANDSHAKE_MESSAGE_MAX_BYTES, RECORD_DATA_MAX_BYTES, RECORD_LENGTH_MAX_BYTES,
    RECORDS_WITHOUT_DATA_MAX_COUNT,
};
use crate::tls::record::content::{ALERT, APPLICATION_DATA, HANDSHAKE};
use crate::tls::{Alert, Established, Opened, RecordError, RecordOpener};

const UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// What our client makes of these records of its server, each a type of content and its bytes.
fn heard(records: &[(u8, &[u8])]) -> Result<super::link::Received, RecordError> {
    let (mut client, mut server) = pair();
    hear(&mut client, &mut server, records)
}

fn hear(
    client: &mut Established,
    server: &mut Established,
    records: &[(u8, &[u8])],
) -> Result<super::link::Received, RecordError> {
    let mut out = Vec::new();
    for (content, bytes) in records {
        server.sealer.seal_any(&mut out, *content, bytes);
    }
    open_all(&mut client.opener, &mut out)
}

#[test]
fn the_header_tells_what_is_no_protected_record() {
    let too_long = RECORD_LENGTH_MAX_BYTES + 1;
    let [high, low] = (too_long as u16).to_be_bytes();
    for (bytes, expected) in [
        (&[][..], Ok(None)),
        (&[23], Ok(None)),
        (&[23, 3, 3, 0], Ok(None)),
        (&[23, 3, 3, 0, 17], Ok(Some(22))),
        (&[23, 3, 3, 0x41, 0x00], Ok(Some(5 + RECORD_LENGTH_MAX_BYTES))),
        (&[23, 0, 0, 0, 17], Ok(Some(22))), // RFC 8446 §5.1: the version must be ignored
        (&[23, 3, 3, high, low], Err(RecordError::TooLong { length: too_long })),
        (b"G", Err(RecordError::NotProtected { first: b'G' })),
        (b"HTTP/1.1 400 Bad Request", Err(RecordError::NotProtected { first: b'H' })),
        (&[22, 3, 3, 0, 1, 0], Err(RecordError::NotProtected { first: 22 })),
        (&[21, 3, 3, 0, 2, 1, 0], Err(RecordError::NotProtected { first: 21 })), // an alert that anyone can forge
        (&[20, 3, 3, 0, 1, 1], Err(RecordError::NotProtected { first: 20 })),
    ] {
        assert_eq!(RecordOpener::record_len(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn records_too_short_to_be_sealed_are_refused() {
    for length in 0..17u8 {
        let (mut client, _) = pair();
        let mut record = vec![23, 3, 3, 0, length];
        record.resize(5 + usize::from(length), 7);
        assert_eq!(client.opener.open(&mut record), Err(RecordError::BadMac), "{length}");
    }
}

#[test]
fn padding_is_taken_off() {
    for padding in [0, 1, 15, 16, 1_000] {
        let (mut client, mut server) = pair();
        let mut bytes = b"data\0with zeros\0\0".to_vec();
        let expected = bytes.clone();
        bytes.push(APPLICATION_DATA);
        bytes.resize(bytes.len() + padding, 0);
        // The last byte of what is sealed becomes the type, so the rest of the padding follows with type 0.
        let content = if padding == 0 { bytes.pop().unwrap() } else { 0 };
        let heard = hear(&mut client, &mut server, &[(content, &bytes)]).unwrap();
        assert_eq!(heard.data, expected, "{padding}");
    }
    // As much padding as fits.
    let mut full = vec![0; RECORD_DATA_MAX_BYTES];
    full[..2].copy_from_slice(&[b'x', APPLICATION_DATA]);
    assert_eq!(heard(&[(0, &full)]).unwrap().data, b"x");
}

#[test]
fn a_record_of_nothing_but_padding_is_refused() {
    assert_eq!(heard(&[(0, b"")]), Err(RecordError::NoContent));
    assert_eq!(heard(&[(0, &[0; 100])]), Err(RecordError::NoContent));
}

/// RFC 8446 §5.4: data, type and padding are at most 2^14 + 1 bytes, though the record itself may be longer.
#[test]
fn a_record_that_holds_too_much_is_refused() {
    let full = vec![1; RECORD_DATA_MAX_BYTES];
    assert_eq!(heard(&[(APPLICATION_DATA, &full)]).unwrap().data, full);
    let more = vec![1; RECORD_DATA_MAX_BYTES + 1];
    let error = heard(&[(APPLICATION_DATA, &more)]).unwrap_err();
    assert_eq!(error, RecordError::DataTooLong);
    assert_eq!(error.alert(), Some(Alert::RECORD_OVERFLOW));
    let mut padded = vec![0; RECORD_DATA_MAX_BYTES + 1];
    padded[..2].copy_from_slice(&[b'x', APPLICATION_DATA]);
    assert_eq!(heard(&[(0, &padded)]), Err(RecordError::DataTooLong));
}

#[test]
fn other_content_is_refused() {
    for content in [1, 20, 24, 25, 255] {
        assert_eq!(heard(&[(content, b"x")]), Err(RecordError::UnexpectedContent { content }));
    }
}

#[test]
fn records_without_data_are_bounded() {
    let empty = (APPLICATION_DATA, &b""[..]);
    let limit = RECORDS_WITHOUT_DATA_MAX_COUNT as usize;
    let some = vec![empty; limit];
    assert_eq!(heard(&some).unwrap().nothing, limit);
    let data = (APPLICATION_DATA, &b"data"[..]);
    assert_eq!(heard(&[&some[..], &[data], &some[..], &[data]].concat()).unwrap().data, b"datadata");
    let error = RecordError::NoData { limit: RECORDS_WITHOUT_DATA_MAX_COUNT };
    assert_eq!(heard(&vec![empty; limit + 1]), Err(error));
    // Every kind of record counts that makes work and carries nothing.
    let canceled = (ALERT, &[1, 90][..]);
    let ticket = (HANDSHAKE, &[4, 0, 0, 1, 9][..]);
    let mixed = [empty, canceled, ticket].repeat(limit / 3 + 1);
    assert_eq!(heard(&mixed), Err(error));

    let (mut client, mut server) = pair();
    let mut out = Vec::new();
    for _ in 0..=limit {
        server.sealer.key_update(&mut out, true);
    }
    assert_eq!(open_all(&mut client.opener, &mut out), Err(error));
}

#[test]
fn messages_may_be_cut_anywhere() {
    let ticket = [&[4, 0, 0, 200][..], &Dice(1).bytes(200)].concat();
    let messages = [&ticket[..], &ticket].concat();
    for at in 1..messages.len() {
        let (one, two) = messages.split_at(at);
        let received = heard(&[(HANDSHAKE, one), (HANDSHAKE, two), (APPLICATION_DATA, b"x")]).unwrap();
        assert_eq!((received.nothing, &received.data[..]), (2, &b"x"[..]), "{at}");
    }
    // A KeyUpdate too, and after a ticket; the next record is under the next key.
    let messages = [&ticket[..], &UPDATE].concat();
    for at in 0..messages.len() {
        let (mut client, mut server) = pair();
        let mut out = Vec::new();
        let (one, two) = messages.split_at(at);
        if !one.is_empty() {
            server.sealer.seal_any(&mut out, HANDSHAKE, one);
        }
        server.sealer.seal_any(&mut out, HANDSHAKE, two);
        let received = open_all(&mut client.opener, &mut out).unwrap();
        assert_eq!(received.key_updates, 1, "{at}");
        let mut old_key = Vec::new();
        server.sealer.seal_any(&mut old_key, APPLICATION_DATA, b"x");
        assert_eq!(client.opener.open(&mut old_key), Err(RecordError::BadMac), "{at}");
    }
}

#[test]
fn nothing_may_come_between_the_pieces_of_a_message() {
    for piece in [&UPDATE[..1], &UPDATE[..4], &[4, 0, 0, 9, 1, 2]] {
        for other in [(APPLICATION_DATA, &b"x"[..]), (APPLICATION_DATA, b""), (ALERT, &[1, 0])] {
            assert_eq!(heard(&[(HANDSHAKE, piece), other]), Err(RecordError::Interleaved));
        }
    }
}

#[test]
fn handshake_messages_out_of_place_are_refused() {
    for (bytes, expected) in [
        (&b""[..], RecordError::EmptyFragment),
        (&[24, 0, 0, 1, 2], RecordError::BadKeyUpdate),
        (&[24, 0, 0, 0], RecordError::BadKeyUpdate),
        (&[24, 0, 0, 2, 0, 0], RecordError::BadKeyUpdate),
        (&[24, 0, 0, 1, 0, 24], RecordError::KeyUpdateNotLast),
        (&[24, 0, 0, 1, 0, 24, 0, 0, 1, 0], RecordError::KeyUpdateNotLast),
        (&[4, 1, 0, 1], RecordError::MessageTooLong { length: POST_HANDSHAKE_MESSAGE_MAX_BYTES + 1 }),
        (&[1, 0, 0, 0], RecordError::UnexpectedMessage { message: 1 }), // renegotiation
        (&[13, 0, 0, 3, 0, 0, 0], RecordError::UnexpectedMessage { message: 13 }), // post-handshake authentication
        (&[20, 0, 0, 32], RecordError::UnexpectedMessage { message: 20 }),
    ] {
        assert_eq!(heard(&[(HANDSHAKE, bytes)]), Err(expected), "{bytes:?}");
    }
}

/// RFC 8446 §4.6.1: only servers send tickets.
#[test]
fn a_ticket_of_a_client_is_refused() {
    let (mut client, mut server) = pair();
    let refused = hear(&mut server, &mut client, &[(HANDSHAKE, &[4, 0, 0, 1, 9])]);
    assert_eq!(refused, Err(RecordError::UnexpectedMessage { message: 4 }));
}

#[test]
fn alerts_are_told_apart() {
    assert!(heard(&[(ALERT, &[1, 0])]).unwrap().closed);
    assert!(heard(&[(ALERT, &[2, 0])]).unwrap().closed); // the level says nothing
    assert_eq!(heard(&[(ALERT, &[1, 90])]).unwrap().nothing, 1);
    for level in [1, 2, 77] {
        let error = heard(&[(ALERT, &[level, 45])]).unwrap_err();
        assert_eq!(error, RecordError::Alert(Alert::CERTIFICATE_EXPIRED));
        assert_eq!(error.alert(), None, "an alert is not answered");
        assert!(error.to_string().contains("certificate_expired (45)"), "{error}");
        assert!(error.to_string().contains("clocks"), "{error}");
    }
    for bytes in [&b""[..], &[2], &[2, 40, 0], &[1, 0, 1, 0]] {
        assert_eq!(heard(&[(ALERT, bytes)]), Err(RecordError::BadAlert));
    }
}

#[test]
fn an_empty_record_is_nothing() {
    let (mut client, mut server) = pair();
    let mut out = Vec::new();
    server.sealer.seal_any(&mut out, APPLICATION_DATA, b"");
    assert_eq!(client.opener.open(&mut out), Ok(Opened::Nothing));
}
