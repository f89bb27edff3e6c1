//! One direction of a connection after its handshake, with a key that is always the same.
//!
//! A handshake draws its keys. So both halves are read from what a process would write down that hands the connection over:
//! see [`engine::handover`].

use engine::handover::{ReadError, Reader, Writer};
use engine::tls::{RecordOpener, RecordSealer};

/// TLS_AES_128_GCM_SHA256.
const SUITE: u32 = 0x1301;
/// As long as the hash of the suite.
const SECRET_BYTES: usize = 32;

/// What seals and what opens; `number` makes the secret another one.
pub(crate) fn open(number: u8) -> (RecordSealer, RecordOpener) {
    read(number).expect("invariant: it is written as the engine writes it; a test reads it")
}

fn read(number: u8) -> Result<(RecordSealer, RecordOpener), ReadError> {
    let mut keys = Writer::default();
    write_keys(&mut keys, number);
    let sealer = RecordSealer::read_back(&mut Reader::new(&keys.finish()))?;

    let mut written = Writer::default();
    write_keys(&mut written, number);
    // No handshake message has begun: no tickets, no bytes of one, none to skip.
    written.bool(false);
    written.bytes(&[]);
    written.u32(0);
    // No record without data, and not closed.
    written.u32(0);
    written.bool(false);
    let opener = RecordOpener::read_back(&mut Reader::new(&written.finish()))?;
    Ok((sealer, opener))
}

fn write_keys(w: &mut Writer, number: u8) {
    w.u32(SUITE);
    w.bytes(&[number; SECRET_BYTES]);
    // The first record under the first secret.
    w.u64(0);
    w.u32(0);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use engine::tls::Opened;

    use super::*;

    #[test]
    fn the_halves_are_those_the_engine_writes_and_of_one_direction() {
        let (mut sealer, mut opener) = open(1);
        let mut written = Writer::default();
        opener.write_down(&mut written);
        let bytes = written.finish();
        assert!(RecordOpener::read_back(&mut Reader::new(&bytes)).is_ok());

        let mut record = Vec::new();
        sealer.put(&mut record, b"a message");
        sealer.flush(&mut record);
        assert_eq!(opener.open(&mut record).unwrap(), Opened::Data(b"a message"));

        let mut record = Vec::new();
        sealer.put(&mut record, b"a message");
        sealer.flush(&mut record);
        assert!(open(2).1.open(&mut record).is_err());
    }
}
