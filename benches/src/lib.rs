//! What the bytes of a tunnel cost in memory, without a kernel: both ends in one thread, a buffer for the wire.
//!
//! The ladder: encryption alone, the copies no proxy can avoid, then whole tunnels, by the usual libraries and by ours.
//! Each [`Layer`] moves the same frames and the same messages, so what one costs above another is what it adds.
//!
//! - `cargo bench -p benches --bench ladder` prints the ladder as one table: CPU time and allocations;
//! - `cargo bench -p benches --bench layers` measures wall time by criterion, of the layers and of every [`case`];
//! - `cargo xtask instructions` counts the instructions of every [`case`];
//! - `cargo build --release -p benches --example step` builds one step alone, to be run under callgrind.

mod aead;
pub mod allocations;
#[cfg(feature = "libraries")]
mod authority;
pub mod case;
mod copies;
pub mod cost;
mod direction;
mod own;
mod receiver;
#[cfg(feature = "libraries")]
mod rustls_h2;
mod wire;

use std::fmt;
use std::str::FromStr;

/// The payload of a DATA frame that fills one TLS record together with its header of nine bytes.
pub const SMALL_FRAME_BYTES: usize = 16_384 - 9;
/// The same for four records: the largest frame that ringway sends.
pub const LARGE_FRAME_BYTES: usize = 4 * 16_384 - 9;
/// The payload of a message of the ping-pong.
pub const MESSAGE_BYTES: usize = 64;

/// What is given to a tunnel before it is sent, as in a turn of a shard.
const TURN_BYTES: usize = 128 << 10;

/// Why a tunnel did not come about.
#[cfg(feature = "libraries")]
type SetupError = Box<dyn std::error::Error>;

/// A tunnel, or a part of what it does, with both of its ends.
pub trait Step {
    /// Moves so many frames from the client's application to the server's.
    fn bulk(&mut self, frame_bytes: usize, frames: usize);

    /// Moves a message to the server's application and back, so many times.
    fn exchange(&mut self, count: usize);
}

/// A rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// AES-128-GCM over records of full size: sealed and opened in place.
    Aead,
    /// The same, and the four copies of a proxy pair: from the application, to and from the wire, to the application.
    Copies,
    /// rustls connections with their buffers, the h2 crate on them.
    #[cfg(feature = "libraries")]
    RustlsH2,
    /// Records and session of ringway.
    Own,
}

impl Layer {
    pub const ALL: &[Self] = &[
        Self::Aead,
        Self::Copies,
        #[cfg(feature = "libraries")]
        Self::RustlsH2,
        Self::Own,
    ];

    /// A fresh one, its tunnel open.
    pub fn open(self) -> Box<dyn Step> {
        match self {
            Self::Aead => Box::new(aead::Aead::new()),
            Self::Copies => Box::new(copies::Copies::new()),
            #[cfg(feature = "libraries")]
            Self::RustlsH2 => {
                let set_up = rustls_h2::RustlsH2::new();
                Box::new(
                    set_up.expect("invariant: certificates and both ends are made there, for each other"),
                )
            }
            Self::Own => Box::new(own::Own::new()),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Aead => "aead",
            Self::Copies => "copies",
            #[cfg(feature = "libraries")]
            Self::RustlsH2 => "rustls-h2",
            Self::Own => "own",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Aead => "AEAD alone",
            Self::Copies => "AEAD + four copies",
            #[cfg(feature = "libraries")]
            Self::RustlsH2 => "rustls buffered + h2",
            Self::Own => "own records + own session",
        })
    }
}

impl FromStr for Layer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|layer| layer.name() == text);
        let names = || Self::ALL.iter().map(|layer| layer.name()).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| format!("no layer is called {text:?}: {}", names()))
    }
}

/// What applications send: bytes that differ from their neighbours, as long as the largest frame.
fn application_bytes() -> Vec<u8> {
    (0..LARGE_FRAME_BYTES).map(|at| (at % 251) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_moves_frames_and_messages() {
        // Each checks what arrives itself, whenever it has arrived as a whole.
        for &layer in Layer::ALL {
            let mut step = layer.open();
            step.bulk(SMALL_FRAME_BYTES, 700);
            step.exchange(100);
            step.bulk(LARGE_FRAME_BYTES, 200);
            step.bulk(SMALL_FRAME_BYTES, 1);
            step.exchange(1);
        }
    }

    #[test]
    fn layers_are_found_by_name() {
        for &layer in Layer::ALL {
            assert_eq!(layer.name().parse(), Ok(layer));
        }
        assert!("tls".parse::<Layer>().is_err());
    }
}
