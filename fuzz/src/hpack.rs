//! Header blocks, decoded by us and by h2 with the same history.

use std::io::Cursor;

use bytes::Bytes;
use engine::handover::{Reader, Writer};
use engine::hbone::StreamId;
use engine::hbone::frame::{END_HEADERS, Head, Kind};
use engine::hbone::hpack::Decoder;
use futures_lite::StreamExt as _;
use futures_lite::future::block_on;
use h2::Codec;
use h2::frame::Frame;
use h2::proto::Error;

use crate::choices::Choices;

type Field = (Vec<u8>, Vec<u8>);

/// The input is a sequence of header blocks, each with its length in one byte in front.
pub fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut blocks = Vec::new();
    while !choices.is_over() {
        blocks.push(choices.bytes());
    }
    let mut ours = Decoder::default();
    let mut theirs: Codec<_, Bytes> = Codec::new(Cursor::new(as_frames(&blocks)));
    for block in blocks {
        ours = handed_over(&ours);
        let mut fields: Vec<Field> = Vec::new();
        let decoded = ours.decode(block, |name, value| fields.push((name.to_vec(), value.to_vec())));
        match (decoded, block_on(theirs.next()).expect("one frame for each block")) {
            (Ok(()), Ok(Frame::Headers(headers))) => assert_eq!(sorted(fields), sorted(fields_of(headers))),
            // h2 finds some fields malformed that we find so later, or calls it a connection error.
            (Ok(()), Err(Error::Reset(..))) => {}
            (Ok(()), Err(_)) | (Err(_), Err(_)) => return,
            (ours, theirs) => panic!("{ours:?}, h2 says {theirs:?}"),
        }
    }
}

fn as_frames(blocks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let stream = StreamId::from_bits(2 * index as u32 + 1);
        bytes.extend(Head::new(Kind::Headers, END_HEADERS, stream, block.len()).bytes());
        bytes.extend_from_slice(block);
    }
    bytes
}

fn fields_of(headers: h2::frame::Headers) -> Vec<Field> {
    let (pseudo, map) = headers.into_parts();
    let mut fields: Vec<Field> = Vec::new();
    let mut push = |name: &str, value: Option<&[u8]>| {
        fields.extend(value.map(|value| (name.as_bytes().to_vec(), value.to_vec())));
    };
    push(":method", pseudo.method.as_ref().map(|method| method.as_str().as_bytes()));
    push(":scheme", pseudo.scheme.as_ref().map(|scheme| scheme.as_bytes()));
    push(":authority", pseudo.authority.as_ref().map(|authority| authority.as_bytes()));
    push(":path", pseudo.path.as_ref().map(|path| path.as_bytes()));
    push(":protocol", pseudo.protocol.as_ref().map(|protocol| protocol.as_str().as_bytes()));
    push(":status", pseudo.status.as_ref().map(|status| status.as_str().as_bytes()));
    fields.extend(map.iter().map(|(name, value)| (name.as_str().into(), value.as_bytes().into())));
    fields
}

fn sorted(mut fields: Vec<Field>) -> Vec<Field> {
    fields.sort();
    fields
}

fn handed_over(decoder: &Decoder) -> Decoder {
    let mut w = Writer::default();
    decoder.write_down(&mut w);
    let bytes = w.finish();
    Decoder::read_back(&mut Reader::new(&bytes)).expect("what was written is read")
}
