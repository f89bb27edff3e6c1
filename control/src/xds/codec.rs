//! How messages of the stream are read: a large response field by field, with the core given away in between.

use std::mem::take;

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, decode_key};
use prost::{DecodeError, Message};
use proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use thiserror::Error;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::turns::Turns;

/// Resources that are kept together: 72 KiB, which the allocator takes from its heap and uses again. One area of the
/// 19 MB of a large push would be the kernel's, and to unmap that at once takes it a millisecond, in which nobody else runs
/// on the core.
const RESOURCES_PER_PIECE: usize = 512;

/// Resources, and names of removed ones, that one response may have: ten times the largest mesh that is foreseen. Empty
/// ones take two bytes of a message and 144 of memory, so that the limit of a message's size alone bounds nothing.
const RESOURCES_PER_RESPONSE_MAX: usize = 1_000_000;

/// A response of the server.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Received {
    /// Without its resources.
    pub(super) response: DeltaDiscoveryResponse,
    /// In their order.
    pub(super) resources: Vec<Vec<Resource>>,
    /// Of the message as it came.
    pub(super) bytes: u64,
}

/// The codec of the stream: requests are written as any message is.
#[derive(Debug, Default)]
pub(super) struct Piecewise;

/// The half of it that reads.
#[derive(Debug)]
pub(super) struct PiecewiseDecoder;

/// Why a response is not taken.
#[derive(Debug, Error)]
enum ResponseError {
    #[error("the server sends what is no response of delta xDS: {0}")]
    Malformed(#[from] DecodeError),
    #[error(
        "the server sends more than {RESOURCES_PER_RESPONSE_MAX} resources in one response, and no mesh of that size is \
         followed: see what it is made of"
    )]
    TooMany,
}

/// What [`Message::decode`] does, but for the turns of others in between.
fn read(mut buf: impl Buf) -> Result<Received, ResponseError> {
    let mut received = Received { bytes: buf.remaining() as u64, ..Received::default() };
    let Received { response, resources, .. } = &mut received;
    let mut turns = Turns::begin();
    while buf.has_remaining() {
        let (tag, wire_type) = decode_key(&mut buf)?;
        response.merge_field(tag, wire_type, &mut buf, DecodeContext::default())?;
        let upserted = resources.len() * RESOURCES_PER_PIECE + response.resources.len();
        if upserted.max(response.removed_resources.len()) > RESOURCES_PER_RESPONSE_MAX {
            return Err(ResponseError::TooMany);
        }
        if response.resources.len() == RESOURCES_PER_PIECE {
            resources.push(take(&mut response.resources));
        }
        turns.give();
    }
    resources.push(take(&mut response.resources));
    Ok(received)
}

// === impl Piecewise ===

impl Codec for Piecewise {
    type Encode = DeltaDiscoveryRequest;
    type Decode = Received;
    type Encoder = ProstEncoder<DeltaDiscoveryRequest>;
    type Decoder = PiecewiseDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        PiecewiseDecoder
    }
}

// === impl PiecewiseDecoder ===

impl Decoder for PiecewiseDecoder {
    type Item = Received;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Received>, Status> {
        // The code that gRPC has for a message that cannot be read.
        read(buf).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn response() -> DeltaDiscoveryResponse {
        let resource = |number: usize| Resource { name: format!("uid-{number}"), ..Resource::default() };
        DeltaDiscoveryResponse {
            resources: (0..1_000).map(resource).collect(),
            type_url: "type".to_owned(),
            nonce: "one".to_owned(),
            removed_resources: vec!["gone".to_owned()],
            ..DeltaDiscoveryResponse::default()
        }
    }

    #[test]
    fn a_response_is_read_as_a_whole() {
        let bytes = response().encode_to_vec();
        let Received { response: mut told, resources, bytes: counted } = read(&*bytes).unwrap();
        assert_eq!(counted, bytes.len() as u64);
        assert!(
            told.resources.is_empty() && resources.iter().all(|piece| piece.len() <= RESOURCES_PER_PIECE)
        );
        told.resources = resources.concat();
        assert_eq!(told, response());
    }

    #[test]
    fn nothing_is_a_response_too() {
        let Received { response, resources, bytes } = read(&[][..]).unwrap();
        assert_eq!((response, resources.concat(), bytes), (DeltaDiscoveryResponse::default(), vec![], 0));
    }

    /// The bytes of a response with so many empty ones of the field with this tag.
    fn empty(tag: u8, count: usize) -> Vec<u8> {
        [tag << 3 | 2, 0].repeat(count)
    }

    #[test]
    fn a_response_of_more_resources_than_any_mesh_has_is_refused_before_it_is_stored() {
        for tag in [2, 6] {
            let error = read(&*empty(tag, RESOURCES_PER_RESPONSE_MAX + 1)).unwrap_err().to_string();
            assert!(error.contains("more than 1000000 resources in one response"), "{error}");
            assert!(read(&*empty(tag, 2_000)).is_ok());
        }
    }

    #[test]
    fn a_response_that_is_cut_short_is_refused() {
        let bytes = response().encode_to_vec();
        assert!(read(&bytes[..bytes.len() - 1]).is_err());
    }
}
