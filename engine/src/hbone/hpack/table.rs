//! The tables that indices refer to (RFC 7541 §2.3): the static one of Appendix A, then the dynamic one.

use std::collections::VecDeque;

use super::HpackError;
use crate::handover::{ReadError, Reader, Writer};
use crate::hbone::limits::HPACK_TABLE_BYTES;

/// RFC 7541 Appendix A. Its first entry has index 1.
#[rustfmt::skip]
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// What an entry costs beside its name and value (RFC 7541 §4.1).
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// Fields the peer told us to remember, newest first.
#[derive(Debug)]
pub(super) struct DynamicTable {
    entries: VecDeque<Entry>,
    /// Sum of the entries' sizes as RFC 7541 §4.1 counts them; at most `size_max`.
    size: usize,
    /// What the peer's encoder chose, at most [`HPACK_TABLE_BYTES`].
    size_max: usize,
}

#[derive(Debug)]
struct Entry {
    /// The name, then the value.
    bytes: Box<[u8]>,
    name_bytes: usize,
}

impl Default for DynamicTable {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, size_max: HPACK_TABLE_BYTES }
    }
}

// === impl DynamicTable ===

impl DynamicTable {
    /// The name and value at an index of the whole address space (RFC 7541 §2.3.3).
    pub(super) fn field(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        let place = index.checked_sub(1).ok_or(HpackError::NoSuchEntry)?;
        if let Some((name, value)) = STATIC.get(place) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(place - STATIC.len()).ok_or(HpackError::NoSuchEntry)?;
        Ok(entry.bytes.split_at(entry.name_bytes))
    }

    /// RFC 7541 §4.4: makes room first; an entry larger than the whole table leaves it empty.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let entry = Entry { bytes: [name, value].concat().into_boxed_slice(), name_bytes: name.len() };
        self.evict(self.size_max.saturating_sub(entry.size()));
        if entry.size() <= self.size_max {
            self.size += entry.size();
            self.entries.push_front(entry);
        }
        debug_assert!(self.size <= self.size_max);
    }

    /// A dynamic table size update (RFC 7541 §6.3).
    pub(super) fn resize(&mut self, size_max: usize) -> Result<(), HpackError> {
        // RFC 7541 §4.2: at most what SETTINGS_HEADER_TABLE_SIZE says, of which we send none.
        if size_max > HPACK_TABLE_BYTES {
            return Err(HpackError::SizeUpdateTooLarge);
        }
        self.size_max = size_max;
        self.evict(size_max);
        Ok(())
    }

    /// Drops the oldest entries until the rest is at most `size` large.
    fn evict(&mut self, size: usize) {
        while self.size > size {
            let oldest = self.entries.pop_back().expect("invariant: a table without entries has size 0");
            self.size -= oldest.size();
        }
    }

    pub(super) fn write_down(&self, w: &mut Writer) {
        let Self { entries, size: _, size_max } = self;
        w.u32(*size_max as u32);
        w.u32(entries.len() as u32);
        // Oldest first, so that reading is inserting.
        for entry in entries.iter().rev() {
            let (name, value) = entry.bytes.split_at(entry.name_bytes);
            w.bytes(name);
            w.bytes(value);
        }
    }

    pub(super) fn read_back(r: &mut Reader<'_>) -> Result<Self, ReadError> {
        let mut table = Self::default();
        table.resize(r.u32()? as usize).map_err(|_| ReadError::Invalid("the size of a header table"))?;
        let count = r.u32()? as usize;
        for _ in 0..count {
            table.insert(r.bytes()?, r.bytes()?);
        }
        if table.entries.len() != count {
            return Err(ReadError::Invalid("the entries of a header table"));
        }
        Ok(table)
    }
}

impl Entry {
    fn size(&self) -> usize {
        self.bytes.len() + ENTRY_OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(table: &DynamicTable) -> Vec<String> {
        (62..)
            .map_while(|index| table.field(index).ok())
            .map(|(name, _)| String::from_utf8_lossy(name).into())
            .collect()
    }

    #[test]
    fn rfc7541_2_3_3_one_address_space() {
        let mut table = DynamicTable::default();
        assert_eq!(table.field(0), Err(HpackError::NoSuchEntry));
        assert_eq!(table.field(1), Ok((&b":authority"[..], &b""[..])));
        assert_eq!(table.field(61), Ok((&b"www-authenticate"[..], &b""[..])));
        assert_eq!(table.field(62), Err(HpackError::NoSuchEntry));
        table.insert(b"older", b"1");
        table.insert(b"newer", b"2");
        assert_eq!(table.field(62), Ok((&b"newer"[..], &b"2"[..])));
        assert_eq!(table.field(63), Ok((&b"older"[..], &b"1"[..])));
        assert_eq!(table.field(usize::MAX), Err(HpackError::NoSuchEntry));
    }

    #[test]
    fn rfc7541_4_eviction() {
        let mut table = DynamicTable::default();
        // 1 + 3 + 32 bytes each
        table.resize(3 * 36).unwrap();
        for name in [b"a", b"b", b"c", b"d"] {
            table.insert(name, b"xyz");
        }
        assert_eq!(names(&table), ["d", "c", "b"]);

        table.resize(36 + 35).unwrap();
        assert_eq!(names(&table), ["d"]);
        table.insert(b"e", &[b'x'; 71 - 33]);
        assert_eq!(names(&table), ["e"]);
        // RFC 7541 §4.4: not an error.
        table.insert(b"f", &[b'x'; 72 - 33]);
        assert!(names(&table).is_empty());
        assert_eq!(table.resize(HPACK_TABLE_BYTES + 1), Err(HpackError::SizeUpdateTooLarge));
    }
}
