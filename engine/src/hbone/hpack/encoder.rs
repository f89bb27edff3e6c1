//! Fields to header blocks, without a dynamic table (RFC 7541 §6.2.2).

use super::integer;
use super::table::STATIC;

/// Encodes our header blocks.
///
/// Its only state is that the first block tells the peer that the dynamic table has size 0. With that said once, no
/// SETTINGS_HEADER_TABLE_SIZE of the peer asks for a size update any more (RFC 7541 §4.2), and the peer need not keep
/// room for a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoder {
    pub(in crate::hbone) table_is_off: bool,
}

impl Encoder {
    /// Begins a header block: has to come before its first field.
    pub fn begin(&mut self, block: &mut Vec<u8>) {
        if !self.table_is_off {
            self.table_is_off = true;
            integer::put(block, 0x20, 5, 0);
        }
    }

    /// Appends a field. The name is lower case.
    pub fn field(&self, block: &mut Vec<u8>, name: &str, value: &str) {
        debug_assert!(!name.bytes().any(|octet| octet.is_ascii_uppercase()));
        let mut named = STATIC.iter().enumerate().filter(|(_, (known, _))| *known == name).peekable();
        let first = named.peek().map(|(index, _)| index + 1);
        if let Some((index, _)) = named.find(|(_, (_, known))| !known.is_empty() && *known == value) {
            integer::put(block, 0x80, 7, index + 1);
            return;
        }
        match first {
            Some(index) => integer::put(block, 0, 4, index),
            None => {
                block.push(0);
                put_text(block, name);
            }
        }
        put_text(block, value);
    }
}

fn put_text(block: &mut Vec<u8>, text: &str) {
    integer::put(block, 0, 7, text.len());
    block.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Decoder;
    use super::*;

    #[test]
    fn what_we_encode_is_what_our_decoder_reads() {
        let fields = [
            (":method", "CONNECT"),
            (":authority", "10.0.0.7:8080"),
            (":status", "200"),
            (":status", "503"),
            ("accept-encoding", "gzip, deflate"),
            ("baggage", "k8s.cluster.name=one,k8s.namespace.name=shop"),
            ("empty", ""),
            ("authorization", ""),
        ];
        let long = "x".repeat(300);
        let mut encoder = Encoder::default();
        let mut decoder = Decoder::default();
        for round in 0..2 {
            let mut block = Vec::new();
            encoder.begin(&mut block);
            assert_eq!(block.len(), usize::from(round == 0), "the size update comes once");
            for (name, value) in fields.into_iter().chain([("long", &*long)]) {
                encoder.field(&mut block, name, value);
            }
            let mut read = Vec::new();
            decoder
                .decode(&block, |name, value| {
                    read.push((
                        String::from_utf8(name.to_vec()).unwrap(),
                        String::from_utf8(value.to_vec()).unwrap(),
                    ));
                })
                .unwrap();
            let read: Vec<_> = read.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(read[..fields.len()], fields);
            assert_eq!(read[fields.len()..], [("long", &*long)]);
        }
    }

    #[test]
    fn uses_the_static_table() {
        let encode = |name, value| {
            let mut block = Vec::new();
            Encoder::default().field(&mut block, name, value);
            block
        };
        assert_eq!(encode(":status", "200"), [0x88]);
        assert_eq!(encode(":status", "404"), [0x8d]);
        assert_eq!(encode(":status", "401"), [0x08, 3, b'4', b'0', b'1']);
        assert_eq!(encode(":method", "X"), [0x02, 1, b'X']);
        assert_eq!(encode("via", ""), [0x0f, 0x2d, 0]);
        assert_eq!(encode("a", "b"), [0, 1, b'a', 1, b'b']);
    }
}
