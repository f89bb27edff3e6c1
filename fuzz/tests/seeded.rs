//! The fuzz targets over seeded inputs, for compilers without libFuzzer.

use engine::hbone::frame::{END_HEADERS, Head, Kind, PREFACE};
use engine::hbone::hpack::Encoder;
use engine::hbone::{ErrorCode, Session, Settings, StreamId};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Flips some bits, cuts some bytes out, doubles some.
    fn damage(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(4) {
            let place = self.below(bytes.len().max(1));
            match self.below(4) {
                _ if bytes.is_empty() => bytes.push(0),
                0 => drop(bytes.remove(place)),
                1 => bytes.insert(place, bytes[place]),
                _ => bytes[place] ^= 1 << self.below(8),
            }
        }
        bytes
    }
}

/// What a client and a server send each other in a good conversation.
fn conversation() -> [Vec<u8>; 2] {
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    let mut client = Session::client(&Settings::client(), &mut from_client);
    let mut server = Session::server(&Settings::server(), &mut from_server);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let headers = [("baggage", "k8s.namespace.name=shop"), ("forwarded", "for=10.1.2.3")];
        streams.extend(client.connect("10.0.0.7:8080", &headers, &mut from_client));
    }
    let mut rest = &from_client[..];
    while let Some(event) = server.next(&mut rest, &mut from_server).expect("a good client") {
        if let engine::hbone::Event::Request { stream, .. } = event {
            server.respond(stream, 200, &[("baggage", "a=b")], false, &mut from_server);
        }
    }
    let mut rest = &from_server[..];
    while client.next(&mut rest, &mut from_client).expect("a good server").is_some() {}
    for stream in streams {
        client.send(stream, b"from the client", &mut from_client);
        client.release(stream, 0, &mut from_client);
        server.send(stream, b"from the server", &mut from_server);
        server.end(stream, &mut from_server);
    }
    client.end(StreamId::from_bits(1), &mut from_client);
    client.reset(StreamId::from_bits(3), ErrorCode::CANCEL, &mut from_client);
    client.ping(7, &mut from_client);
    server.goaway(ErrorCode::NO_ERROR, &mut from_server);
    [from_client, from_server]
}

#[test]
fn frames_of_good_conversations_and_damaged_ones() {
    let [from_client, from_server] = conversation();
    let mut random = Random(1);
    for round in 0..600 {
        // The role in the first byte is the receiver's.
        let (kind, received) = if round % 2 == 0 { (0, &from_client) } else { (1 | 3 << 2, &from_server) };
        let received = if round < 2 { received.clone() } else { random.damage(received.clone()) };
        let kind = kind | (random.next() as u8 & 2);
        fuzz::frames::check(&[&[kind, random.next() as u8][..], &received].concat());
    }
}

#[test]
fn frames_at_random() {
    let mut random = Random(2);
    for _ in 0..600 {
        let kind = random.next() as u8;
        let mut input = vec![kind, random.next() as u8];
        if kind & 1 == 0 {
            input.extend_from_slice(PREFACE);
        }
        input.extend(Head::new(Kind::Settings, 0, StreamId::CONNECTION, 0).bytes());
        for _ in 0..random.below(30) {
            let length = [4, 5, 6, 8, random.below(40)][random.below(5)];
            let mut head = Head::new(Kind::Data, END_HEADERS, StreamId::from_bits(0), length).bytes();
            head[3] = random.below(11) as u8;
            head[4] = random.next() as u8 & 0x2d;
            head[8] = random.below(8) as u8;
            input.extend(head);
            input.extend(random.bytes(length));
        }
        fuzz::frames::check(&input);
    }
}

#[test]
fn header_blocks_at_random() {
    let mut random = Random(3);
    for _ in 0..3_000 {
        let length = random.below(200);
        fuzz::hpack::check(&random.bytes(length));
    }
}

#[test]
fn header_blocks_of_every_representation() {
    let mut random = Random(4);
    for round in 0..3_000 {
        let mut input = Vec::new();
        for _ in 0..1 + random.below(12) {
            let block = block(&mut random);
            input.push(block.len() as u8);
            input.extend(block);
        }
        let input = if round % 2 == 0 { input } else { random.damage(input) };
        fuzz::hpack::check(&input);
    }
}

/// A block that a peer with a dynamic table might send; indices are sometimes of entries that are not there.
fn block(random: &mut Random) -> Vec<u8> {
    let mut block = Vec::new();
    if random.below(8) == 0 {
        block.extend([0x20, 0x3f, random.next() as u8 | 0x80, 0x01]);
    }
    for _ in 0..random.below(5) {
        match random.below(4) {
            0 => block.push(0x80 | random.below(0x48) as u8),
            1 => {
                block.push(0x40 | random.below(0x3f) as u8);
                if block.last() == Some(&0x40) {
                    block.extend(b"\x04name");
                }
                block.extend(b"\x05value");
            }
            2 => {
                block.push(0x40);
                block.push(5);
                block.extend((0..5).map(|_| b'a' + random.below(26) as u8));
                block.push(0x80 | 6);
                // "00000000" and seven bits of padding at most.
                block.extend([0, 0, 0, 0, 0, 0x3f | random.next() as u8]);
            }
            _ => Encoder::default().field(&mut block, "baggage", "k8s.namespace.name=shop"),
        }
    }
    block
}

#[test]
fn sessions_with_h2() {
    let mut random = Random(5);
    for round in 0..400 {
        let mut input = random.bytes(200);
        input[0] = round as u8 & 3;
        fuzz::session::check(&input);
    }
}
