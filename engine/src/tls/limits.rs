//! The bounds of everything a peer can make grow, and of what one key may seal.

/// Bytes of the peer that a handshake may take. A chain of three RSA-4096 certificates needs 6 KB; nobody is verified
/// yet, so nobody gets more than ten times that.
pub(super) const HANDSHAKE_RECEIVED_MAX_BYTES: usize = 64 * 1024;

/// Plain bytes in one record (RFC 8446 §5.1).
pub const RECORD_DATA_MAX_BYTES: usize = 1 << 14;

/// Sealed bytes in one record, without its header (RFC 8446 §5.2).
pub const RECORD_LENGTH_MAX_BYTES: usize = RECORD_DATA_MAX_BYTES + 256;

/// Records sealed with one key before KeyUpdate. AES-GCM allows 2^24.5 full records (RFC 8446 §5.5); half of what rustls
/// takes leaves room for alerts and a late flush.
pub(super) const RECORDS_PER_KEY_MAX_COUNT: u64 = 1 << 23;

/// Records in a row that carry no data: empty ones, tickets, KeyUpdates. Each costs us work and the peer nothing;
/// rustls stops at the same number.
pub(super) const RECORDS_WITHOUT_DATA_MAX_COUNT: u32 = 32;

/// Length of one post-handshake message. It is skipped, not stored; the bound ends a peer that makes no sense.
pub(super) const POST_HANDSHAKE_MESSAGE_MAX_BYTES: u32 = 64 * 1024;

/// Characters of a peer's own words (a name, its first bytes) that are repeated in an error: logs are not its notepad.
pub(super) const QUOTE_MAX_CHARS: usize = 256;
