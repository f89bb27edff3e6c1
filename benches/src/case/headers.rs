//! Header sections alone (RFC 7541).

use engine::hbone::hpack::{Decoder, Encoder};

use super::Work;

/// What a CONNECT to a service says, from a pod that is well described.
pub(super) const CONNECT: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":authority", "10.0.0.7:8080"),
    (
        "baggage",
        "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=cart,service.name=cart,\
         service.version=v2,cloud.region=eu,cloud.availability_zone=eu-1",
    ),
    ("forwarded", "for=\"10.0.3.9:40112\";host=cart.shop.svc.cluster.local"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"),
];

/// The three requests of RFC 7541 appendix C.4. Each refers to what those before it added to the dynamic table, and the
/// first one can follow the last.
const HUFFMAN: [&[u8]; 3] = [
    &[0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
    &[0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf],
    &[
        0x82, 0x87, 0x85, 0xbf, 0x40, 0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f, 0x89, 0x25, 0xa8,
        0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
    ],
];
/// Fields of the three together, and the bytes of their names and values.
const HUFFMAN_FIELDS: usize = 4 + 5 + 5;
const HUFFMAN_BYTES: usize = 52 + 73 + 85;

pub(super) struct Encode {
    encoder: Encoder,
    block: Vec<u8>,
}

impl Encode {
    pub(super) fn new() -> Self {
        Self { encoder: Encoder::default(), block: Vec::new() }
    }
}

impl Work for Encode {
    fn prepare(&mut self, _operations: usize) {}

    fn run(&mut self, operations: usize) {
        for _ in 0..operations {
            self.block.clear();
            self.encoder.begin(&mut self.block);
            for (name, value) in CONNECT {
                self.encoder.field(&mut self.block, name, value);
            }
        }
        assert!(!self.block.is_empty());
    }
}

pub(super) struct Decode {
    decoder: Decoder,
    block: Vec<u8>,
}

impl Decode {
    pub(super) fn new() -> Self {
        let mut encode = Encode::new();
        encode.run(1);
        Self { decoder: Decoder::default(), block: encode.block }
    }
}

impl Work for Decode {
    fn prepare(&mut self, _operations: usize) {}

    fn run(&mut self, operations: usize) {
        let expected: usize = CONNECT.iter().map(|(name, value)| name.len() + value.len()).sum();
        for _ in 0..operations {
            let read = decode(&mut self.decoder, &self.block);
            assert_eq!(read, (CONNECT.len(), expected));
        }
    }
}

pub(super) struct DecodeHuffman {
    decoder: Decoder,
}

impl DecodeHuffman {
    pub(super) fn new() -> Self {
        Self { decoder: Decoder::default() }
    }
}

impl Work for DecodeHuffman {
    fn prepare(&mut self, _operations: usize) {}

    fn run(&mut self, operations: usize) {
        for _ in 0..operations {
            let (mut fields, mut bytes) = (0, 0);
            for block in HUFFMAN {
                let read = decode(&mut self.decoder, block);
                fields += read.0;
                bytes += read.1;
            }
            assert_eq!((fields, bytes), (HUFFMAN_FIELDS, HUFFMAN_BYTES));
        }
    }
}

/// How many fields a block has, and how many bytes in their names and values.
fn decode(decoder: &mut Decoder, block: &[u8]) -> (usize, usize) {
    let (mut fields, mut bytes) = (0, 0);
    let decoded = decoder.decode(block, |name, value| {
        fields += 1;
        bytes += name.len() + value.len();
    });
    decoded.expect("invariant: the block was written by our encoder, or is the RFC's");
    (fields, bytes)
}
