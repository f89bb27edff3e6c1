//! How messages of the stream are read: a large response field by field, with the core given away in between.

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, decode_key};
use prost::{DecodeError, Message};
use proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::turns::Turns;

/// A response of the server.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) response: DeltaDiscoveryResponse,
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
fn read(mut buf: impl Buf) -> Result<DeltaDiscoveryResponse, DecodeError> {
    let mut response = DeltaDiscoveryResponse::default();
    let mut turns = Turns::begin();
    while buf.has_remaining() {
        let (tag, wire_type) = decode_key(&mut buf)?;
        response.merge_field(tag, wire_type, &mut buf, DecodeContext::default())?;
        turns.give();
    }
    Ok(response)
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
        let bytes = buf.remaining() as u64;
        // The code that gRPC has for a message that cannot be read.
        let response = read(buf).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some(Received { response, bytes }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto::discovery::Resource;

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
        assert_eq!(read(&*response().encode_to_vec()).unwrap(), response());
        assert_eq!(read(&[][..]).unwrap(), DeltaDiscoveryResponse::default());
    }

    #[test]
    fn a_response_that_is_cut_short_is_refused() {
        let bytes = response().encode_to_vec();
        assert!(read(&bytes[..bytes.len() - 1]).is_err());
    }
}
