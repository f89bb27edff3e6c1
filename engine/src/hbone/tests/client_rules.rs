//! What a client does about the rules that a server can break.

use super::super::frame::{ACK, END_HEADERS, Kind, PREFACE};
use super::super::*;
use super::rig::*;

/// A client with one stream that is not answered yet, fed with `frames`: the error, or the resets.
fn outcome(cut: usize, frames: &[Vec<u8>]) -> Result<Vec<(u32, ErrorCode)>, ErrorCode> {
    let mut rig = Rig::client().cut(cut);
    let stream = rig.session.connect("10.0.0.7:8080", &[], &mut rig.out).unwrap();
    rig.session.set_slot(stream, 4);
    rig.out.clear();
    let (_, error) = rig.feed(&frames.concat());
    match error {
        Some(error) => {
            assert_eq!(error.side, Side::Upstream);
            Err(error.code)
        }
        None => Ok(rig.resets()),
    }
}

/// A rule, frames of the server, and the streams that are reset or the code of the connection error.
type Case<'a> = (&'a str, &'a [Vec<u8>], Result<&'a [(u32, ErrorCode)], ErrorCode>);

fn interim(status: &str, end: bool) -> Vec<u8> {
    headers(1, &[(":status", status)], end)
}

#[test]
fn what_a_server_may_do_and_may_not() {
    const PROTOCOL: ErrorCode = ErrorCode::PROTOCOL_ERROR;
    let ok = headers(1, &OK, false);
    let cases: &[Case<'_>] = &[
        ("8.1: interim responses", &[interim("100", false), interim("103", false), ok.clone()], Ok(&[])),
        ("8.1: an interim response at the end", &[interim("103", true)], Ok(&[(1, PROTOCOL)])),
        ("8.6: 101", &[interim("101", false)], Ok(&[(1, PROTOCOL)])),
        ("8.1: DATA before the response", &[data(1, b"x", false)], Ok(&[(1, PROTOCOL)])),
        ("8.3.2: no :status", &[headers(1, &[("a", "b")], false)], Ok(&[(1, PROTOCOL)])),
        ("8.3.2: a request", &[headers(1, &CONNECT, false)], Ok(&[(1, PROTOCOL)])),
        ("8.5: HEADERS in a tunnel", &[ok.clone(), headers(1, &[("a", "b")], true)], Ok(&[(1, PROTOCOL)])),
        ("8.5: a second response", &[ok.clone(), ok], Ok(&[(1, PROTOCOL)])),
        (
            "8.1: a refusal with content and trailers",
            &[
                headers(1, &[(":status", "503")], false),
                data(1, b"why", false),
                headers(1, &[("a", "b")], true),
            ],
            Ok(&[]),
        ),
        (
            "rfc9110 9.3.6: content-length of a tunnel is ignored",
            &[headers(1, &[(":status", "200"), ("content-length", "3")], false), data(1, b"longer", true)],
            Ok(&[]),
        ),
        (
            "5.1: DATA after the end",
            &[headers(1, &OK, true), data(1, b"x", false)],
            Ok(&[(1, ErrorCode::STREAM_CLOSED)]),
        ),
        ("5.1: a stream nobody opened", &[headers(3, &OK, false)], Err(PROTOCOL)),
        ("5.1.1: an even stream", &[headers(2, &OK, false)], Err(PROTOCOL)),
        ("5.1: DATA on an idle stream", &[data(3, b"x", false)], Err(PROTOCOL)),
        ("5.1: WINDOW_UPDATE on an even stream", &[window_update(2, 1)], Err(PROTOCOL)),
        ("6.6: PUSH_PROMISE", &[frame(Kind::PushPromise, END_HEADERS, 1, &[0, 0, 0, 2])], Err(PROTOCOL)),
        ("6.5.2: ENABLE_PUSH of a server", &[settings(&[(2, 1)])], Err(PROTOCOL)),
        ("6.5.2: ENABLE_PUSH of 0", &[settings(&[(2, 0)])], Ok(&[])),
        (
            "4.3: a damaged block",
            &[frame(Kind::Headers, END_HEADERS, 1, &[0x80])],
            Err(ErrorCode::COMPRESSION_ERROR),
        ),
    ];
    for (rule, frames, expected) in cases {
        for cut in CUTS {
            assert_eq!(outcome(cut, frames), expected.map(<[_]>::to_vec), "{rule}, cut at {cut}");
        }
    }
}

#[test]
fn rfc9113_3_4_preface_and_settings_come_first() {
    let mut out = Vec::new();
    let mut session = Session::client(&Settings::client(), &mut out);
    let frames = frames(out.strip_prefix(&PREFACE[..]).unwrap());
    let kinds: Vec<_> = frames.iter().map(|(head, _)| head.kind).collect();
    assert_eq!(kinds, [Kind::Settings, Kind::WindowUpdate]);
    assert_eq!(frames[0], self::frames(&settings(&[(2, 0), (4, 4 << 20), (5, 1 << 20), (6, 16 << 10)]))[0]);
    assert_eq!(number(&frames[1].1), ((1 << 31) - 1) - 65_535, "the connection's window is 2^31-1");

    for first in [data(1, b"", false), settings_ack(), frame(Kind::Ping, 0, 0, &[0; 8])] {
        let mut session = Session::client(&Settings::client(), &mut Vec::new());
        let error = session.next(&mut &first[..], &mut out).unwrap_err();
        assert_eq!(error.code, ErrorCode::PROTOCOL_ERROR);
    }
    assert_eq!(session.next(&mut &settings(&[])[..], &mut out), Ok(Some(Event::Settings)));
}

#[test]
fn a_server_announces_its_limits() {
    let mut out = Vec::new();
    Session::server(&Settings::server(), &mut out);
    let expected = settings(&[(3, 200), (4, 4 << 20), (5, 1 << 20), (6, 64 << 10)]);
    assert!(out.starts_with(&expected));
}

#[test]
fn a_connect_and_its_answer() {
    let mut rig = Rig::client().cut(2);
    let stream = rig.session.connect(
        "10.0.0.7:8080",
        &[("baggage", "a=b"), ("x-long", &"y".repeat(200))],
        &mut rig.out,
    );
    assert_eq!(stream, Some(id(1)));
    let (head, block) = rig.written().pop().unwrap();
    assert_eq!((head.kind, head.flags, head.stream), (Kind::Headers, END_HEADERS, id(1)));
    let mut fields = Vec::new();
    hpack::Decoder::default()
        .decode(&block, |name, value| {
            fields.push((
                String::from_utf8_lossy(name).into_owned(),
                String::from_utf8_lossy(value).into_owned(),
            ));
        })
        .unwrap();
    assert_eq!(fields[0], (":method".to_owned(), "CONNECT".to_owned()));
    assert_eq!(fields[1], (":authority".to_owned(), "10.0.0.7:8080".to_owned()));
    assert_eq!(fields[2], ("baggage".to_owned(), "a=b".to_owned()));
    assert_eq!(fields.len(), 4);

    rig.session.set_slot(id(1), 6);
    let input = headers(1, &[(":status", "200"), ("baggage", "c=d")], false);
    let mut input = &input[..];
    let event = rig.session.next(&mut input, &mut rig.out).unwrap().unwrap();
    let Event::Response { stream, slot, status, headers, end } = event else { panic!("{event:?}") };
    assert_eq!((stream, slot, status, end), (id(1), 6, 200, false));
    assert_eq!(headers.first("baggage"), Some("c=d"));
}

#[test]
fn rfc9113_5_1_2_the_peers_limit_is_kept() {
    let mut out = Vec::new();
    let mut session = Session::client(&Settings::client(), &mut out);
    assert_eq!(session.capacity(), 100, "before SETTINGS");
    let mut rig = Rig::client();
    assert_eq!(rig.session.capacity(), 1 << 30, "SETTINGS without a limit: as many as there are ids");
    rig.feed_well(&settings(&[(3, 2)]));
    for expected in [2, 1] {
        assert_eq!(rig.session.capacity(), expected);
        assert!(rig.session.connect("a:1", &[], &mut rig.out).is_some());
    }
    assert_eq!(rig.session.connect("a:1", &[], &mut rig.out), None);
    rig.feed_well(&reset(1, ErrorCode::REFUSED_STREAM));
    assert_eq!(rig.session.connect("a:1", &[], &mut rig.out), Some(id(5)));
    // A limit below what is open opens nothing and ends nothing.
    rig.feed_well(&settings(&[(3, 0)]));
    assert_eq!((rig.session.capacity(), rig.session.open_streams()), (0, 2));
    assert!(session.connect("a:1", &[], &mut out).is_some());
}

#[test]
fn a_failed_session_opens_nothing() {
    let mut rig = Rig::client();
    assert!(rig.feed(&window_update(0, 0)).1.is_some());
    rig.out.clear();
    assert_eq!((rig.session.capacity(), rig.session.connect("a:1", &[], &mut rig.out)), (0, None));
    assert!(rig.out.is_empty());
}

#[test]
fn rfc9113_5_1_1_ids_run_out() {
    let mut rig = Rig::client();
    rig.session.next_id = 0x7fff_ffff;
    assert_eq!(rig.session.capacity(), 1);
    assert_eq!(rig.session.connect("a:1", &[], &mut rig.out), Some(StreamId::MAX));
    assert_eq!(rig.session.capacity(), 0);
    assert_eq!(rig.session.connect("a:1", &[], &mut rig.out), None);
    rig.hand_over();
}

#[test]
fn rfc9113_8_7_refused_streams_say_so() {
    for (code, refused) in [(ErrorCode::REFUSED_STREAM, true), (ErrorCode::CANCEL, false)] {
        let mut rig = Rig::client();
        let stream = rig.connect_and_answer();
        let expected = Seen::Reset { stream, code, refused, by_peer: true };
        assert_eq!(rig.feed_well(&reset(stream, code)), [expected]);
        assert_eq!(rig.session.open_streams(), 0);
    }
}

#[test]
fn late_answers_to_streams_we_reset_are_ignored() {
    let mut rig = Rig::client();
    let stream = rig.session.connect("a:1", &[], &mut rig.out).unwrap();
    rig.session.reset(stream, ErrorCode::CANCEL, &mut rig.out);
    rig.out.clear();
    let late = [headers(1, &OK, false), data(1, b"late", true)].concat();
    assert_eq!(rig.feed_well(&late), []);
    assert!(rig.out.is_empty());
    // RFC 9113 §5.1: behind END_STREAM nothing more was on its way.
    rig.feed_well(&data(1, b"more", false));
    assert_eq!(rig.resets(), [(1, ErrorCode::STREAM_CLOSED)]);
}

#[test]
fn late_answers_still_teach_the_decoder() {
    let mut rig = Rig::client();
    for _ in 0..2 {
        rig.session.connect("a:1", &[], &mut rig.out).unwrap();
    }
    rig.session.reset(id(1), ErrorCode::CANCEL, &mut rig.out);
    // ":status: 200" and a literal that enters the table, then a reference to it.
    let first = frame(Kind::Headers, END_HEADERS, 1, b"\x88\x40\x07baggage\x03a=b");
    let second = frame(Kind::Headers, END_HEADERS, 3, b"\x88\xbe");
    rig.feed_well(&first);
    let event = rig.session.next(&mut &second[..], &mut rig.out).unwrap().unwrap();
    let Event::Response { headers, .. } = event else { panic!("{event:?}") };
    assert_eq!(headers.first("baggage"), Some("a=b"));
}

#[test]
fn long_header_blocks_are_cut_at_the_peers_frame_size() {
    let mut rig = Rig::client();
    let long = "z".repeat(40_000);
    rig.session.connect("a:1", &[("x-long", &long)], &mut rig.out);
    let written: Vec<_> =
        rig.written().into_iter().map(|(head, _)| (head.kind, head.flags & END_HEADERS != 0)).collect();
    assert_eq!(written, [(Kind::Headers, false), (Kind::Continuation, false), (Kind::Continuation, true)]);
}

#[test]
fn pings_and_pongs() {
    let mut rig = Rig::client();
    rig.session.ping(7, &mut rig.out);
    assert_eq!(rig.out, frame(Kind::Ping, 0, 0, &7u64.to_be_bytes()));
    assert_eq!(rig.feed_well(&frame(Kind::Ping, ACK, 0, &7u64.to_be_bytes())), [Seen::Pong { payload: 7 }]);
}
