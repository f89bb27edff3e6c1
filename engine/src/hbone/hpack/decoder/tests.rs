//! The examples of RFC 7541 Appendix C, and what must not decode.
#![allow(clippy::unwrap_used)]

use super::super::huffman;
use super::*;

type Fields = Vec<(String, String)>;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, HpackError> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(block, |name, value| fields.push((text(name), text(value))))?;
    Ok(fields)
}

/// The dynamic table, newest entry first.
fn table(decoder: &Decoder) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (62..)
        .map_while(|index| decoder.table.field(index).ok())
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn written_down_and_read_back(decoder: &Decoder) -> Decoder {
    let mut w = Writer::default();
    decoder.write_down(&mut w);
    let bytes = w.finish();
    let mut r = Reader::new(&bytes);
    let read = Decoder::read_back(&mut r).unwrap();
    r.finish().unwrap();
    read
}

/// Blocks of one connection: bytes, fields, and the table after them.
type Block<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

fn check(blocks: &[Block<'_>], table_size: usize) {
    let mut decoder = Decoder::default();
    decoder.table.resize(table_size).unwrap();
    for (bytes, expected, expected_table) in blocks {
        // A written-down decoder goes on where it was.
        decoder = written_down_and_read_back(&decoder);
        assert_eq!(decode(&mut decoder, &hex(bytes)), Ok(fields(expected)));
        assert_eq!(table(&decoder), fields(expected_table));
    }
}

#[test]
fn rfc7541_c_2_single_fields() {
    let custom = ("custom-key", "custom-header");
    check(
        &[("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", &[custom], &[custom])],
        4_096,
    );
    check(&[("040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], &[])], 4_096);
    check(&[("1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], &[])], 4_096);
    check(&[("82", &[(":method", "GET")], &[])], 4_096);
}

const REQUEST_1: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const REQUEST_2: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("cache-control", "no-cache"),
];
const REQUEST_3: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];
const REQUEST_TABLES: [&[(&str, &str)]; 3] = [
    &[(":authority", "www.example.com")],
    &[("cache-control", "no-cache"), (":authority", "www.example.com")],
    &[("custom-key", "custom-value"), ("cache-control", "no-cache"), (":authority", "www.example.com")],
];

#[test]
fn rfc7541_c_3_requests_without_huffman() {
    check(
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUEST_1, REQUEST_TABLES[0]),
            ("8286 84be 5808 6e6f 2d63 6163 6865", REQUEST_2, REQUEST_TABLES[1]),
            (
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                REQUEST_3,
                REQUEST_TABLES[2],
            ),
        ],
        4_096,
    );
}

#[test]
fn rfc7541_c_4_requests_with_huffman() {
    check(
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUEST_1, REQUEST_TABLES[0]),
            ("8286 84be 5886 a8eb 1064 9cbf", REQUEST_2, REQUEST_TABLES[1]),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUEST_3, REQUEST_TABLES[2]),
        ],
        4_096,
    );
}

const DATE_1: (&str, &str) = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
const DATE_2: (&str, &str) = ("date", "Mon, 21 Oct 2013 20:13:22 GMT");
const PRIVATE: (&str, &str) = ("cache-control", "private");
const LOCATION: (&str, &str) = ("location", "https://www.example.com");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const COOKIE: (&str, &str) = ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");

const RESPONSES: [&[(&str, &str)]; 3] = [
    &[(":status", "302"), PRIVATE, DATE_1, LOCATION],
    &[(":status", "307"), PRIVATE, DATE_1, LOCATION],
    &[(":status", "200"), PRIVATE, DATE_2, LOCATION, GZIP, COOKIE],
];
const RESPONSE_TABLES: [&[(&str, &str)]; 3] = [
    &[LOCATION, DATE_1, PRIVATE, (":status", "302")],
    &[(":status", "307"), LOCATION, DATE_1, PRIVATE],
    &[COOKIE, GZIP, DATE_2],
];

#[test]
fn rfc7541_c_5_responses_without_huffman() {
    let blocks = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
         3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
         7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
         6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let blocks: Vec<Block<'_>> =
        (0..3).map(|index| (blocks[index], RESPONSES[index], RESPONSE_TABLES[index])).collect();
    check(&blocks, 256);
}

#[test]
fn rfc7541_c_6_responses_with_huffman() {
    let blocks = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
         1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
         e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    let blocks: Vec<Block<'_>> =
        (0..3).map(|index| (blocks[index], RESPONSES[index], RESPONSE_TABLES[index])).collect();
    check(&blocks, 256);
}

#[test]
fn a_block_that_cannot_be_read_is_an_error() {
    for (block, error) in [
        (&[0x80][..], HpackError::NoSuchEntry),                // §6.1: index 0
        (&[0xbe], HpackError::NoSuchEntry),                    // the dynamic table is empty
        (&[0x7f, 0x00, 0x01, b'x'], HpackError::NoSuchEntry),  // a name that is not there
        (&[0x40, 0x05, b'a'], HpackError::Truncated),          // a short name
        (&[0x41, 0x02, b'a'], HpackError::Truncated),          // a short value
        (&[0x41], HpackError::Truncated),                      // no value
        (&[0x40, 0x81, 0xff, 0x00], HpackError::Huffman),      // a name of padding only
        (&[0x82, 0x20], HpackError::LateSizeUpdate),           // RFC 7541 §4.2
        (&[0x3f, 0xe2, 0x1f], HpackError::SizeUpdateTooLarge), // 4,097
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], HpackError::IntegerTooLarge),
    ] {
        assert_eq!(decode(&mut Decoder::default(), block), Err(error), "{block:x?}");
    }
}

#[test]
fn size_updates_at_the_beginning_evict() {
    let mut decoder = Decoder::default();
    decode(&mut decoder, &hex("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572")).unwrap();
    assert_eq!(table(&decoder).len(), 1);
    // To 0 and back to 4,096, as an encoder does that was told two sizes between two blocks.
    assert_eq!(decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f, 0x82]), Ok(fields(&[(":method", "GET")])));
    assert!(table(&decoder).is_empty());
}

#[test]
fn a_name_survives_the_eviction_of_its_entry() {
    let mut decoder = Decoder::default();
    decoder.table.resize(40).unwrap();
    // The entry takes 1 + 7 + 32 bytes: the second one needs the room of the first, whose name it uses.
    decode(&mut decoder, b"\x40\x01n\x07value 1").unwrap();
    assert_eq!(decode(&mut decoder, b"\x7e\x07value 2"), Ok(fields(&[("n", "value 2")])));
    assert_eq!(table(&decoder), fields(&[("n", "value 2")]));
}

#[test]
fn huffman_names_and_values_enter_the_table() {
    let mut block = vec![0x40];
    for text in ["traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"] {
        let encoded = huffman::encode(text.as_bytes());
        block.push(0x80 | encoded.len() as u8);
        block.extend(encoded);
    }
    block.push(0xbe);
    let mut decoder = Decoder::default();
    let read = decode(&mut decoder, &block).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0], read[1]);
    assert_eq!(read[0].0, "traceparent");
}
