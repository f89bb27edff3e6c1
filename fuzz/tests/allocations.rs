//! Once its streams are open, a session allocates nothing: counted by the allocator of this test's process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use engine::hbone::frame::{Head, Kind, PREFACE};
use engine::hbone::hpack::Encoder;
use engine::hbone::{Event, Session, Settings, Sink, StreamId};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every method hands its arguments to `System` as they are, and `System` keeps the contract of `GlobalAlloc`.
// Counting touches a thread-local without a destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` comes from `alloc` above, that is from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as for `dealloc`, and the caller answers for `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts what it is given.
#[derive(Default)]
struct Count(usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let head = Head::new(kind, flags, StreamId::from_bits(stream), payload.len());
    [&head.bytes()[..], payload].concat()
}

/// Works off input as the relay does: every byte is taken at once.
fn receive(session: &mut Session, mut input: &[u8], out: &mut Count) -> usize {
    let mut received = 0;
    while let Some(event) = session.next(&mut input, out).expect("a good peer") {
        match event {
            Event::Request { stream, .. } => session.respond(stream, 200, &[], false, out),
            Event::Data { stream, bytes, .. } => {
                received += bytes.len();
                session.release(stream, bytes.len(), out);
            }
            _ => {}
        }
    }
    received
}

#[test]
fn nothing_is_allocated_for_a_frame() {
    let mut out = Count::default();
    let mut session = Session::server(&Settings::server(), &mut out);
    let mut begin = [&PREFACE[..], &frame(Kind::Settings, 0, 0, &[0, 4, 0, 0x10, 0, 0])].concat();
    let streams: Vec<u32> = (0..200).map(|index| 2 * index + 1).collect();
    for stream in &streams {
        let mut block = Vec::new();
        let encoder = Encoder::default();
        encoder.field(&mut block, ":method", "CONNECT");
        encoder.field(&mut block, ":authority", "10.0.0.7:8080");
        begin.extend(frame(Kind::Headers, 4, *stream, &block));
    }
    receive(&mut session, &begin, &mut out);
    assert_eq!(session.open_streams(), 200);

    // Small and large DATA, padding, credit and a PING, on every stream, cut in the middle of frames.
    let mut turn = Vec::new();
    for stream in &streams {
        turn.extend(frame(Kind::Data, 0, *stream, &[7; 64]));
        turn.extend(frame(Kind::Data, 0, *stream, &[7; 16_384]));
        turn.extend(frame(Kind::Data, 8, *stream, &[3, 7, 0, 0, 0]));
        turn.extend(frame(Kind::WindowUpdate, 0, *stream, &64_000u32.to_be_bytes()));
        turn.extend(frame(Kind::WindowUpdate, 0, 0, &64_000u32.to_be_bytes()));
        turn.extend(frame(Kind::Ping, 0, 0, &[9; 8]));
    }
    let bytes = vec![5; 64_000];
    session.ping(1, &mut out);

    let before = ALLOCATIONS.get();
    let (mut received, mut sent) = (0, 0);
    for _ in 0..20 {
        for piece in turn.chunks(10_007) {
            received += receive(&mut session, piece, &mut out);
        }
        for stream in &streams {
            sent += session.send(StreamId::from_bits(*stream), &bytes, &mut out);
        }
        session.ping(1, &mut out);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(session.open_streams(), 200);
    assert_eq!(received, 20 * 200 * (64 + 16_384 + 1));
    assert!(sent > 100 << 20 && out.0 > sent);
}
