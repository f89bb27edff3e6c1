//! What a server does about each rule of RFC 9113 that a client can break; h2spec tests mostly these.
//!
//! Every case begins with a server that has exchanged SETTINGS and is tried with the input cut in several ways.

use super::super::frame::{ACK, END_HEADERS, END_STREAM, Kind, PADDED, PREFACE, PRIORITY};
use super::super::*;
use super::rig::*;

/// What becomes of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A connection error with GOAWAY.
    Connection(ErrorCode),
    /// RST_STREAM on a stream, and the session goes on.
    Stream(u32, ErrorCode),
    /// No error at all.
    Fine,
}

use Outcome::{Connection, Fine, Stream};

pub(super) const PROTOCOL: ErrorCode = ErrorCode::PROTOCOL_ERROR;
const SIZE: ErrorCode = ErrorCode::FRAME_SIZE_ERROR;
pub(super) const FLOW: ErrorCode = ErrorCode::FLOW_CONTROL_ERROR;
pub(super) const CLOSED: ErrorCode = ErrorCode::STREAM_CLOSED;

pub(super) type Case<'a> = (&'a str, &'a [Vec<u8>], Outcome);

/// Runs each case; the server answers CONNECT with 200, everything else with 400 and the end.
fn check(cases: &[Case<'_>]) {
    for (rule, frames, expected) in cases {
        for cut in CUTS {
            let mut rig = Rig::server().cut(cut);
            assert_eq!(outcome(&mut rig, frames), *expected, "{rule}, cut at {cut}");
        }
    }
}

pub(super) fn outcome(rig: &mut Rig, frames: &[Vec<u8>]) -> Outcome {
    for frame in frames {
        let (seen, error) = rig.feed(frame);
        if let Some(error) = error {
            assert_eq!(error.side, Side::Downstream);
            let (head, payload) = rig.written().pop().unwrap();
            assert_eq!(head.kind, Kind::Goaway);
            assert_eq!(ErrorCode(number(&payload[4..])), error.code);
            assert_eq!(&payload[8..], error.text.as_bytes());
            assert_eq!(rig.feed(b"anything").1, Some(error), "an error stays");
            return Connection(error.code);
        }
        for event in seen {
            if let Seen::Request { stream, method, .. } = event {
                let connect = method == "CONNECT";
                rig.session.respond(id(stream), if connect { 200 } else { 400 }, &[], !connect, &mut rig.out);
            }
        }
    }
    match rig.resets()[..] {
        [] => Fine,
        [(stream, code)] => Stream(stream, code),
        ref more => panic!("more than one reset: {more:?}"),
    }
}

fn connect(stream: u32) -> Vec<u8> {
    headers(stream, &CONNECT, false)
}

fn padded(kind: Kind, stream: u32, padding: u8, content: &[u8]) -> Vec<u8> {
    let payload = [&[padding][..], content, &vec![0; usize::from(padding)]].concat();
    frame(kind, PADDED | END_HEADERS, stream, &payload)
}

fn with_priority(stream: u32, dependency: u32) -> Vec<u8> {
    let payload = [&dependency.to_be_bytes()[..], &[16], &block(&CONNECT)].concat();
    frame(Kind::Headers, END_HEADERS | PRIORITY, stream, &payload)
}

pub(super) fn priority(stream: u32, dependency: u32) -> Vec<u8> {
    frame(Kind::Priority, 0, stream, &[&dependency.to_be_bytes()[..], &[16]].concat())
}

#[test]
fn rfc9113_3_4_preface() {
    for cut in CUTS {
        for (first, expected) in [
            (&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], Some(PROTOCOL)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", Some(PROTOCOL)),
            (&[&PREFACE[..], &data(1, b"", false)].concat(), Some(PROTOCOL)),
            (&[&PREFACE[..], &settings_ack()].concat(), Some(PROTOCOL)),
            (&[&PREFACE[..], &settings(&[])].concat(), None),
            (PREFACE, None),
        ] {
            let mut rig = Rig::new_server(&Settings::server()).cut(cut);
            let (_, error) = rig.feed(first);
            assert_eq!(error.map(|error| error.code), expected, "{first:?}");
        }
    }
}

#[test]
fn rfc9113_4_1_frame_format() {
    check(&[
        ("unknown kinds are ignored", &[frame(Kind::Unknown(0x16), 0xff, 77, b"any"), connect(1)], Fine),
        ("unknown flags are ignored", &[frame(Kind::Ping, 0xfe, 0, &[0; 8])], Fine),
        ("the reserved bit is ignored", &[frame(Kind::Ping, 0, 0x8000_0000, &[0; 8])], Fine),
    ]);
}

#[test]
fn rfc9113_4_2_frame_size() {
    let large = vec![0; (1 << 20) + 1];
    check(&[
        ("DATA of 2^14", &[connect(1), data(1, &large[..1 << 14], false)], Fine),
        ("DATA of the announced size", &[connect(1), data(1, &large[..1 << 20], false)], Fine),
        ("DATA above", &[connect(1), data(1, &large, false)], Connection(SIZE)),
        ("an unknown kind above", &[frame(Kind::Unknown(99), 0, 0, &large)], Connection(SIZE)),
        ("HEADERS above", &[frame(Kind::Headers, END_HEADERS, 1, &large)], Connection(SIZE)),
    ]);
}

#[test]
fn rfc9113_4_3_field_blocks() {
    let block = block(&CONNECT);
    let (first, rest) = block.split_at(5);
    let open = frame(Kind::Headers, 0, 1, first);
    check(&[
        ("in two frames", &[open.clone(), frame(Kind::Continuation, END_HEADERS, 1, rest)], Fine),
        (
            "damaged",
            &[frame(Kind::Headers, END_HEADERS, 1, &[0xff; 9])],
            Connection(ErrorCode::COMPRESSION_ERROR),
        ),
        ("PRIORITY inside", &[open.clone(), priority(1, 0)], Connection(PROTOCOL)),
        ("PING inside", &[open.clone(), frame(Kind::Ping, 0, 0, &[0; 8])], Connection(PROTOCOL)),
        (
            "an unknown kind inside",
            &[open.clone(), frame(Kind::Unknown(0x99), 0, 1, &[])],
            Connection(PROTOCOL),
        ),
        ("HEADERS inside", &[open, connect(3)], Connection(PROTOCOL)),
    ]);
}

#[test]
fn rfc9113_5_1_idle() {
    check(&[
        ("DATA", &[data(1, b"x", false)], Connection(PROTOCOL)),
        ("RST_STREAM", &[reset(1, ErrorCode::CANCEL)], Connection(PROTOCOL)),
        ("WINDOW_UPDATE", &[window_update(1, 1)], Connection(PROTOCOL)),
        ("CONTINUATION", &[frame(Kind::Continuation, END_HEADERS, 1, &[])], Connection(PROTOCOL)),
        ("PRIORITY is allowed", &[priority(1, 0), connect(1)], Fine),
    ]);
}

#[test]
fn rfc9113_5_1_half_closed_remote() {
    let closed = headers(1, &CONNECT, true);
    check(&[
        ("DATA", &[closed.clone(), data(1, b"x", false)], Stream(1, CLOSED)),
        ("HEADERS", &[closed.clone(), headers(1, &[("a", "b")], true)], Stream(1, CLOSED)),
        (
            "CONTINUATION",
            &[closed.clone(), frame(Kind::Continuation, END_HEADERS, 1, &[])],
            Connection(PROTOCOL),
        ),
        (
            "the small frames are allowed",
            &[closed, window_update(1, 5), priority(1, 0), reset(1, ErrorCode::NO_ERROR)],
            Fine,
        ),
    ]);
}

#[test]
fn rfc9113_5_1_closed() {
    // A refused GET that the client has ended is over on both sides.
    let over = headers(1, &GET, true);
    let reset_1 = reset(1, ErrorCode::CANCEL);
    check(&[
        ("DATA after the end", &[over.clone(), data(1, b"x", false)], Stream(1, CLOSED)),
        ("HEADERS after the end", &[over.clone(), headers(1, &GET, true)], Connection(CLOSED)),
        (
            "CONTINUATION after the end",
            &[over.clone(), frame(Kind::Continuation, 4, 1, &[])],
            Connection(PROTOCOL),
        ),
        (
            "the small frames after the end",
            &[over, window_update(1, 5), reset_1.clone(), priority(1, 3)],
            Fine,
        ),
        ("DATA after RST_STREAM", &[connect(1), reset_1.clone(), data(1, b"x", false)], Stream(1, CLOSED)),
        (
            "HEADERS after RST_STREAM",
            &[connect(1), reset_1.clone(), headers(1, &GET, true)],
            Stream(1, CLOSED),
        ),
        ("RST_STREAM twice", &[connect(1), reset_1.clone(), reset_1], Fine),
    ]);
}

#[test]
fn rfc9113_5_1_1_stream_ids() {
    check(&[
        ("an even id", &[connect(2)], Connection(PROTOCOL)),
        ("id 0", &[connect(0)], Connection(PROTOCOL)),
        ("a smaller id", &[connect(5), connect(3)], Connection(PROTOCOL)),
        ("ids may be left out", &[connect(1), connect(7), connect(0x7fff_ffff)], Fine),
    ]);
}

#[test]
fn rfc9113_5_1_2_concurrency() {
    let settings = Settings { streams_max: 2, ..Settings::server() };
    let mut rig = Rig::server_with(&settings);
    rig.open_and_answer(1);
    rig.open_and_answer(3);
    assert_eq!(rig.feed_well(&[connect(5), data(5, b"early", true)].concat()), []);
    assert_eq!(rig.resets(), [(5, ErrorCode::REFUSED_STREAM)]);
    rig.feed_well(&reset(1, ErrorCode::CANCEL));
    assert_eq!(rig.feed_well(&connect(7)).len(), 1, "there is room again");
    assert_eq!(rig.session.open_streams(), 2);
}

#[test]
fn rfc7540_5_3_1_a_stream_depends_on_itself() {
    check(&[
        ("in HEADERS", &[with_priority(1, 1)], Stream(1, PROTOCOL)),
        ("in PRIORITY", &[connect(1), priority(1, 1)], Stream(1, PROTOCOL)),
        ("in PRIORITY of an idle stream", &[priority(1, 1)], Connection(PROTOCOL)),
        ("in PRIORITY of a closed stream", &[headers(1, &GET, true), priority(1, 1)], Stream(1, PROTOCOL)),
        ("on another", &[with_priority(1, 3), with_priority(3, 0x8000_0001)], Fine),
    ]);
}

#[test]
fn rfc9113_6_1_data() {
    let content = [5, b'c', 0, 0, 0, 0, 0];
    check(&[
        ("on stream 0", &[data(0, b"x", false)], Connection(PROTOCOL)),
        ("padded", &[connect(1), frame(Kind::Data, PADDED, 1, &content)], Fine),
        ("all padding", &[connect(1), frame(Kind::Data, PADDED, 1, &[3, 0, 0, 0])], Fine),
        (
            "more padding than payload",
            &[connect(1), frame(Kind::Data, PADDED, 1, &[3, 0, 0])],
            Connection(PROTOCOL),
        ),
        ("no padding length", &[connect(1), frame(Kind::Data, PADDED, 1, &[])], Connection(SIZE)),
    ]);
}

#[test]
fn rfc9113_6_2_headers() {
    check(&[
        ("padded", &[padded(Kind::Headers, 1, 200, &block(&CONNECT))], Fine),
        (
            "more padding than payload",
            &[frame(Kind::Headers, PADDED | END_HEADERS, 1, &[2, 0])],
            Connection(PROTOCOL),
        ),
        ("no padding length", &[frame(Kind::Headers, PADDED | END_HEADERS, 1, &[])], Connection(SIZE)),
        ("short priority", &[frame(Kind::Headers, PRIORITY | END_HEADERS, 1, &[0; 4])], Connection(SIZE)),
        (
            "padding and priority",
            &[frame(
                Kind::Headers,
                PADDED | PRIORITY | END_HEADERS,
                1,
                &[&[2, 0, 0, 0, 0, 16][..], &block(&CONNECT), &[0, 0]].concat(),
            )],
            Fine,
        ),
    ]);
}

#[test]
fn rfc9113_6_3_priority() {
    check(&[
        ("on stream 0", &[priority(0, 1)], Connection(PROTOCOL)),
        ("not five octets", &[connect(1), frame(Kind::Priority, 0, 1, &[0; 4])], Stream(1, SIZE)),
        (
            "not five octets, closed",
            &[headers(1, &GET, true), frame(Kind::Priority, 0, 1, &[0; 4])],
            Stream(1, SIZE),
        ),
        ("not five octets, idle", &[frame(Kind::Priority, 0, 1, &[0; 6])], Connection(SIZE)),
    ]);
}

#[test]
fn rfc9113_6_4_rst_stream() {
    check(&[
        ("on stream 0", &[reset(0, ErrorCode::CANCEL)], Connection(PROTOCOL)),
        ("not four octets", &[connect(1), frame(Kind::ResetStream, 0, 1, &[0; 3])], Connection(SIZE)),
    ]);
}

#[test]
fn rfc9113_6_5_settings() {
    check(&[
        ("on a stream", &[frame(Kind::Settings, 0, 1, &[])], Connection(PROTOCOL)),
        ("a part of a parameter", &[frame(Kind::Settings, 0, 0, &[0; 7])], Connection(SIZE)),
        ("ACK with a payload", &[frame(Kind::Settings, ACK, 0, &[0; 6])], Connection(SIZE)),
        ("ENABLE_PUSH of 2", &[settings(&[(2, 2)])], Connection(PROTOCOL)),
        ("ENABLE_PUSH of a client", &[settings(&[(2, 1)])], Fine),
        ("INITIAL_WINDOW_SIZE of 2^31", &[settings(&[(4, 1 << 31)])], Connection(FLOW)),
        ("INITIAL_WINDOW_SIZE of 2^31-1", &[settings(&[(4, (1 << 31) - 1)])], Fine),
        ("MAX_FRAME_SIZE below 2^14", &[settings(&[(5, 16_383)])], Connection(PROTOCOL)),
        ("MAX_FRAME_SIZE above 2^24-1", &[settings(&[(5, 1 << 24)])], Connection(PROTOCOL)),
        ("ENABLE_CONNECT_PROTOCOL of 2", &[settings(&[(8, 2)])], Connection(PROTOCOL)),
        ("unknown ones", &[settings(&[(0xff, 7), (0x0a0a, u32::MAX), (1, 0), (6, 1)])], Fine),
        ("one after another", &[settings(&[(4, 1), (4, 2)]), settings(&[(4, 3)])], Fine),
    ]);
}

#[test]
fn rfc9113_6_5_3_settings_are_acknowledged_in_order() {
    let mut rig = Rig::server().cut(4);
    let seen =
        rig.feed_well(&[settings(&[(4, 9)]), frame(Kind::Ping, 0, 0, b"01234567"), settings(&[])].concat());
    assert_eq!(seen, [Seen::Settings, Seen::Settings]);
    let written: Vec<_> =
        rig.written().into_iter().map(|(head, _)| (head.kind, head.flags, head.length)).collect();
    assert_eq!(written, [(Kind::Settings, ACK, 0), (Kind::Ping, ACK, 8), (Kind::Settings, ACK, 0)]);
}

#[test]
fn rfc9113_6_6_push_promise() {
    check(&[("of a client", &[connect(1), frame(Kind::PushPromise, 4, 1, &[0; 4])], Connection(PROTOCOL))]);
}

#[test]
fn rfc9113_6_7_ping() {
    check(&[
        ("on a stream", &[frame(Kind::Ping, 0, 1, &[0; 8])], Connection(PROTOCOL)),
        ("not eight octets", &[frame(Kind::Ping, 0, 0, &[0; 6])], Connection(SIZE)),
    ]);
    for cut in CUTS {
        let mut rig = Rig::server().cut(cut);
        rig.feed_well(&frame(Kind::Ping, 0, 0, b"01234567"));
        assert_eq!(frame(Kind::Ping, ACK, 0, b"01234567"), rig.out);
        rig.out.clear();
        let pong = frame(Kind::Ping, ACK, 0, &77u64.to_be_bytes());
        assert_eq!(rig.feed_well(&pong), [Seen::Pong { payload: 77 }]);
        assert!(rig.out.is_empty());
    }
}

#[test]
fn rfc9113_6_8_goaway() {
    check(&[
        ("on a stream", &[frame(Kind::Goaway, 0, 1, &[0; 8])], Connection(PROTOCOL)),
        ("without a code", &[frame(Kind::Goaway, 0, 0, &[0; 7])], Connection(SIZE)),
        ("with text, and more after it", &[frame(Kind::Goaway, 0, 0, &[0; 99]), connect(1)], Fine),
    ]);
}

#[test]
fn rfc9113_6_9_window_update() {
    let max = (1 << 31) - 1;
    check(&[
        ("of 0 on the connection", &[window_update(0, 0)], Connection(PROTOCOL)),
        ("of 0 on a stream", &[connect(1), window_update(1, 0)], Stream(1, PROTOCOL)),
        ("of 0 with the reserved bit", &[connect(1), window_update(1, 1 << 31)], Stream(1, PROTOCOL)),
        ("not four octets", &[frame(Kind::WindowUpdate, 0, 0, &[0; 3])], Connection(SIZE)),
        ("the connection's above 2^31-1", &[window_update(0, max)], Connection(FLOW)),
        ("a stream's above 2^31-1", &[connect(1), window_update(1, max)], Stream(1, FLOW)),
        ("up to 2^31-1", &[connect(1), window_update(1, max - 65_535), window_update(0, max - 65_535)], Fine),
        (
            "above 2^31-1 by SETTINGS",
            &[connect(1), window_update(1, max - 65_535), settings(&[(4, 65_536)])],
            Connection(FLOW),
        ),
    ]);
}

#[test]
fn rfc9113_6_10_continuation() {
    let open = frame(Kind::Headers, 0, 1, &block(&CONNECT));
    let next = |flags| frame(Kind::Continuation, flags, 1, &block(&[("a", "b")]));
    check(&[
        ("several", &[open.clone(), next(0), next(0), next(END_HEADERS)], Fine),
        ("without a payload", &[open.clone(), frame(Kind::Continuation, END_HEADERS, 1, &[])], Fine),
        ("on stream 0", &[frame(Kind::Continuation, END_HEADERS, 0, &[])], Connection(PROTOCOL)),
        ("of another stream", &[open, frame(Kind::Continuation, 4, 3, &[])], Connection(PROTOCOL)),
        ("after END_HEADERS", &[connect(1), next(END_HEADERS)], Connection(PROTOCOL)),
        ("after DATA", &[connect(1), data(1, b"x", false), next(END_HEADERS)], Connection(PROTOCOL)),
    ]);
}

#[test]
fn rfc9113_8_1_message_framing() {
    let trailers = headers(1, &[("x-checksum", "1")], true);
    let post = |length| headers(1, &[&GET[..], &[("content-length", length)]].concat(), false);
    check(&[
        ("HEADERS twice", &[headers(1, &GET, false), headers(1, &[("a", "b")], false)], Stream(1, PROTOCOL)),
        ("trailers", &[headers(1, &GET, false), data(1, b"x", false), trailers.clone()], Fine),
        (
            "trailers with a pseudo-header",
            &[headers(1, &GET, false), headers(1, &[(":path", "/")], true)],
            Stream(1, PROTOCOL),
        ),
        ("content-length that holds", &[post("4"), data(1, b"ab", false), data(1, b"cd", true)], Fine),
        ("content-length too small", &[post("1"), data(1, b"test", true)], Stream(1, PROTOCOL)),
        ("content-length too large", &[post("5"), data(1, b"test", true)], Stream(1, PROTOCOL)),
        ("content-length and trailers", &[post("5"), data(1, b"test", false), trailers], Stream(1, PROTOCOL)),
        (
            "content-length and no content",
            &[headers(1, &[&GET[..], &[("content-length", "1")]].concat(), true)],
            Stream(1, PROTOCOL),
        ),
    ]);
}

/// RFC 9113 §8.1: a client whose request was answered in full may still be asked to stop it.
#[test]
fn a_request_that_was_answered_in_full_is_reset_when_time_has_passed() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.session.end(id(1), &mut rig.out);
    for (stream, fields) in [(3, &GET[..]), (5, &CONNECT), (7, &CONNECT)] {
        rig.feed_well(&headers(stream, fields, false));
        rig.session.respond(id(stream), 400, &[], true, &mut rig.out);
    }
    assert_eq!(rig.resets(), []);
    rig.feed_well(&reset(7, ErrorCode::CANCEL));
    assert_eq!(rig.session.open_streams(), 3);
    rig.hand_over();
    rig.session.ping(1, &mut rig.out);
    assert_eq!(rig.resets(), [(3, ErrorCode::NO_ERROR), (5, ErrorCode::NO_ERROR)]);
    assert_eq!(rig.session.open_streams(), 1, "a tunnel that is half closed goes on");
    rig.session.ping(2, &mut rig.out);
    assert_eq!(rig.resets(), []);
}

/// The rules hold on a request that was answered before the peer had ended it.
#[test]
fn a_request_that_was_answered_in_full_is_judged_as_before() {
    let max = (1 << 31) - 1;
    let get = headers(1, &GET, false);
    check(&[
        ("WINDOW_UPDATE of 0", &[get.clone(), window_update(1, 0)], Stream(1, PROTOCOL)),
        ("a window above 2^31-1", &[get.clone(), window_update(1, max)], Stream(1, FLOW)),
        (
            "DATA after RST_STREAM",
            &[get.clone(), reset(1, ErrorCode::CANCEL), data(1, b"x", true)],
            Stream(1, CLOSED),
        ),
        ("trailers", &[get, data(1, b"x", false), headers(1, &[("a", "b")], true)], Fine),
    ]);
    let mut rig = Rig::server();
    rig.feed_well(&headers(1, &CONNECT, false));
    rig.session.respond(id(1), 503, &[], true, &mut rig.out);
    rig.feed_well(&headers(1, &[("a", "b")], true));
    assert_eq!((rig.resets(), rig.session.open_streams()), (vec![], 0), "no tunnel came to be");
}

#[test]
fn rfc9113_8_2_malformed_fields_end_their_stream_only() {
    for field in [
        ("Upper", "x"),
        ("connection", "close"),
        ("proxy-connection", "close"),
        ("keep-alive", "1"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        (":status", "200"),
        (":unknown", "x"),
        (":method", "CONNECT"),
        (":path", "/"),
        (":scheme", "https"),
        ("content-length", "3"),
        ("a b", "x"),
        ("a", "x\n"),
    ] {
        let fields = [&CONNECT[..], &[field]].concat();
        let case = [headers(1, &fields, false), connect(3)];
        check(&[("malformed", &case, Stream(1, PROTOCOL))]);
    }
}

#[test]
fn rfc9113_8_5_a_tunnel_carries_data_only() {
    check(&[
        (
            "trailers",
            &[connect(1), data(1, b"x", false), headers(1, &[("a", "b")], true)],
            Stream(1, PROTOCOL),
        ),
        ("HEADERS", &[connect(1), headers(1, &[("a", "b")], false)], Stream(1, PROTOCOL)),
        ("without an authority", &[headers(1, &CONNECT[..1], false)], Stream(1, PROTOCOL)),
        ("the small frames", &[connect(1), window_update(1, 1), priority(1, 0)], Fine),
    ]);
}

#[test]
fn events_of_a_tunnel_from_its_request_to_its_end() {
    let fields = [
        &CONNECT[..],
        &[
            ("baggage", "k8s.namespace.name=shop"),
            ("traceparent", "00-1-2-00"),
            ("forwarded", "for=10.1.2.3"),
        ],
    ]
    .concat();
    for cut in CUTS {
        let mut rig = Rig::server().cut(cut);
        let (method, authority) = ("CONNECT".to_owned(), "10.0.0.7:8080".to_owned());
        assert_eq!(
            rig.feed_well(&headers(1, &fields, false)),
            [Seen::Request { stream: 1, method, authority, end: false }]
        );
        assert_eq!(rig.session.sendable(id(1)), 0, "not before the answer");
        rig.session.set_slot(id(1), 9);
        rig.session.respond(id(1), 200, &[("baggage", "x=y")], false, &mut rig.out);
        assert_eq!(
            rig.feed_well(&[data(1, b"hello", false), window_update(1, 5), data(1, b"", true)].concat()),
            [
                Seen::Data { stream: 1, bytes: b"hello".to_vec() },
                Seen::Window { slot: Some(9) },
                Seen::End { stream: 1 }
            ]
        );
        assert_eq!(rig.session.open_streams(), 1, "our half is open");
        assert_eq!(rig.session.send(id(1), b"bye", &mut rig.out), 3);
        rig.session.end(id(1), &mut rig.out);
        rig.session.end(id(1), &mut rig.out);
        assert_eq!(rig.session.open_streams(), 0);
        let written: Vec<_> =
            rig.written().into_iter().map(|(head, bytes)| (head.kind, head.flags, bytes)).collect();
        assert_eq!(written[0].0, Kind::Headers);
        assert_eq!(
            written[1..],
            [(Kind::Data, 0, b"bye".to_vec()), (Kind::Data, END_STREAM, Vec::new())],
            "the second end does nothing"
        );
    }
}

#[test]
fn every_method_does_nothing_to_a_stream_that_is_over() {
    let mut rig = Rig::server();
    rig.open_and_answer(1);
    rig.feed_well(&reset(1, ErrorCode::CANCEL));
    for stream in [1, 3, 2, 0] {
        let stream = id(stream);
        rig.session.set_slot(stream, 3);
        rig.session.respond(stream, 200, &[], false, &mut rig.out);
        assert_eq!(rig.session.sendable(stream), 0);
        assert_eq!(rig.session.send(stream, b"x", &mut rig.out), 0);
        rig.session.end(stream, &mut rig.out);
        rig.session.release(stream, 5, &mut rig.out);
        rig.session.reset(stream, ErrorCode::CANCEL, &mut rig.out);
    }
    assert!(rig.out.is_empty());
}
