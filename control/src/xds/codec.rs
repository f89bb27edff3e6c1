//! How messages of the stream are read: a large response field by field, with the core given away in between.

use std::mem::take;

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, decode_key};
use prost::{DecodeError, Message};
use proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::turns::Turns;

/// Resources that are kept together: a few pages, which are given back to the kernel as soon as they are used. To give
/// back the 19 MB of a large push at once takes the kernel a millisecond, in which nobody else runs on the core.
const RESOURCES_PER_PIECE: usize = 512;

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

/// What [`Message::decode`] does, but for the turns of others in between.
fn read(mut buf: impl Buf) -> Result<Received, DecodeError> {
    let mut received = Received { bytes: buf.remaining() as u64, ..Received::default() };
    let Received { response, resources, .. } = &mut received;
    let mut turns = Turns::begin();
    while buf.has_remaining() {
        let (tag, wire_type) = decode_key(&mut buf)?;
        response.merge_field(tag, wire_type, &mut buf, DecodeContext::default())?;
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

    #[test]
    fn a_response_that_is_cut_short_is_refused() {
        let bytes = response().encode_to_vec();
        assert!(read(&bytes[..bytes.len() - 1]).is_err());
    }
}
