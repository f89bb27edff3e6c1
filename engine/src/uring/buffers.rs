//! Buffers that the kernel chooses from when bytes arrive, and the leases on them.
//!
//! A group is one mapping of equal buffers and one page-aligned array of entries that the kernel reads (a "provided
//! buffer ring"). A waiting receive holds no buffer; memory that was never received into was never touched.
//!
//! ```text
//!   spare (a stack, ours) ── offer ──▶ offered (a queue, the kernel's) ── completion ──▶ Lease ──┐
//!     ▲                                                                                         │ drop
//!     └─────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The stack matters: the kernel takes what it was offered in order of offering, so offering everything walks through all
//! of the memory, again and again. Of bulk buffers only as many are offered as receives are armed; the same few stay in
//! the near cache.
//!
//! Invariant: spare + offered + leased is the number of buffers.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// The kernel's limit for a ring of provided buffers.
pub(super) const GROUP_BUFFERS_MAX: u16 = 32_768;

/// One buffer in so many may be held by those who cannot pass their bytes on. Below half, so that receives stay armed
/// (see `PLENTY_FRACTION`).
const HELD_FRACTION: usize = 4;

/// Room that every buffer has before what is received, for what belongs there: the beginning of a TLS record that the
/// receive before cut off (RFC 8446 §5.2: at most 16,645 bytes with its header), a frame's header. In cache lines.
pub const ROOM_BYTES: usize = 261 * 64;

/// Number (a power of two) and size of the buffers of one receive mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    pub buffers: u16,
    /// What one receive can bring, in bytes.
    pub size: u32,
}

/// The buffers of one receive mode.
pub(super) struct Group {
    id: u16,
    config: GroupConfig,
    memory: Mapping,
    entries: Mapping,
    spare: RefCell<Vec<u16>>,
    offered: Cell<u16>,
    tail: Cell<u16>,
}

/// Received bytes in a provided buffer. Dropping it gives the buffer back to its group.
///
/// It may outlive the driver; until it is dropped the group has one buffer less, so whoever holds many stops receiving.
pub struct Lease {
    group: Rc<Group>,
    id: u16,
    start: u32,
    end: u32,
}

/// Anonymous memory of our own, zeroed and touched by nobody yet.
struct Mapping {
    base: NonNull<u8>,
    bytes: NonZeroUsize,
}

// === impl GroupConfig ===

impl GroupConfig {
    /// From one buffer to the next, in bytes.
    fn stride(self) -> usize {
        ROOM_BYTES + self.size as usize
    }
}

// === impl Group ===

impl Group {
    pub(super) fn new(id: u16, config: GroupConfig) -> io::Result<Self> {
        debug_assert!(config.buffers.is_power_of_two() && config.size > 0);
        let memory = Mapping::new(usize::from(config.buffers) * config.stride())?;
        let entries = Mapping::new(usize::from(config.buffers) * size_of::<BufRingEntry>())?;
        // Reversed: the first buffer is on top.
        let spare = RefCell::new((0..config.buffers).rev().collect());
        Ok(Self { id, config, memory, entries, spare, offered: Cell::new(0), tail: Cell::new(0) })
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn config(&self) -> GroupConfig {
        self.config
    }

    /// Address and number of the entries the kernel reads.
    pub(super) fn ring_entries(&self) -> (u64, u16) {
        (self.entries.base.as_ptr() as u64, self.config.buffers)
    }

    /// How many buffers no lease holds.
    pub(super) fn available(&self) -> usize {
        self.spare.borrow().len() + usize::from(self.offered.get())
    }

    /// Offers spare buffers to the kernel until it has `wanted`.
    pub(super) fn offer(&self, wanted: usize) {
        let mut spare = self.spare.borrow_mut();
        let mut tail = self.tail.get();
        let before = tail;
        while usize::from(self.offered.get()) < wanted
            && let Some(id) = spare.pop()
        {
            self.write_entry(tail, id);
            tail = tail.wrapping_add(1);
            self.offered.set(self.offered.get() + 1);
        }
        if tail != before {
            self.tail.set(tail);
            self.publish(tail);
        }
    }

    /// The kernel took a buffer and put `bytes` into it.
    pub(super) fn lease(self: &Rc<Self>, id: u16, bytes: u32) -> Lease {
        debug_assert!(id < self.config.buffers && bytes <= self.config.size && self.offered.get() > 0);
        self.offered.set(self.offered.get().saturating_sub(1));
        let start = ROOM_BYTES as u32;
        Lease { group: Rc::clone(self), id, start, end: start + bytes.min(self.config.size) }
    }

    fn write_entry(&self, position: u16, id: u16) {
        let index = usize::from(position & (self.config.buffers - 1));
        let address = self.address(id).as_ptr() as u64 + ROOM_BYTES as u64;
        // SAFETY: `index` is below the number of entries, which the mapping has room for, page-aligned. The kernel reads
        // the entry only after `publish` moved the tail beyond it, and we write it only when it was consumed.
        let entry = unsafe { self.entries.base.cast::<BufRingEntry>().add(index).as_mut() };
        entry.set_addr(address);
        entry.set_len(self.config.size);
        entry.set_bid(id);
    }

    fn publish(&self, tail: u16) {
        // SAFETY: the mapping begins with an entry, whose reserved field is the tail of the ring.
        let shared = unsafe { BufRingEntry::tail(self.entries.base.cast().as_ptr()) };
        // SAFETY: two aligned bytes of our mapping, which we write and the kernel reads.
        unsafe { AtomicU16::from_ptr(shared.cast_mut()) }.store(tail, Ordering::Release);
    }

    fn address(&self, id: u16) -> NonNull<u8> {
        // SAFETY: `id` is below the number of buffers, so the offset lies within the mapping.
        unsafe { self.memory.base.add(usize::from(id) * self.config.stride()) }
    }
}

// === impl Lease ===

impl Lease {
    /// Its group has few buffers left: who may have to hold this one for long copies it instead.
    pub fn is_scarce(&self) -> bool {
        let Group { config, .. } = &*self.group;
        self.group.available() < usize::from(config.buffers) - usize::from(config.buffers) / HELD_FRACTION
    }

    /// Forgets the first `bytes`, which the caller has dealt with.
    pub fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.len());
        self.start += bytes.min(self.len()) as u32;
    }

    /// Puts bytes before those that are there: as many as [`ROOM_BYTES`], and as many as were forgotten.
    pub fn prepend(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.start as usize, "more before a lease than there is room for");
        self.start -= bytes.len() as u32;
        self[..bytes.len()].copy_from_slice(bytes);
    }

    fn base(&self) -> NonNull<u8> {
        // SAFETY: `start` is at most the buffer's end, its room included.
        unsafe { self.group.address(self.id).add(self.start as usize) }
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let len = (self.end - self.start) as usize;
        // SAFETY: the buffer is mapped and initialised (zeroed, then received into), `end` is at most its length, and until
        // this lease is dropped neither the kernel nor another lease has it.
        unsafe { std::slice::from_raw_parts(self.base().as_ptr(), len) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = (self.end - self.start) as usize;
        // SAFETY: as in `deref`; `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base().as_ptr(), len) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Never more than at the start, so the stack does not grow.
        self.group.spare.borrow_mut().push(self.id);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("buffer", &self.id).field("bytes", &self.len()).finish()
    }
}

// === impl Mapping ===

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing of ours.
        let base = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE) }?;
        Ok(Self { base: base.cast(), bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; the last lease and the ring are gone (or leaked this with them).
        let unmapped = unsafe { munmap(self.base.cast(), self.bytes.get()) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn group() -> Rc<Group> {
        Rc::new(Group::new(0, GroupConfig { buffers: 4, size: 64 }).unwrap())
    }

    #[test]
    fn offers_no_more_than_wanted_nor_than_it_has() {
        let group = group();
        group.offer(2);
        assert_eq!((group.offered.get(), group.available()), (2, 4));
        group.offer(2);
        assert_eq!(group.offered.get(), 2);
        group.offer(100);
        assert_eq!(group.offered.get(), 4);
    }

    #[test]
    fn a_dropped_lease_is_the_next_one_offered() {
        let group = group();
        group.offer(2);
        let lease = group.lease(0, 10);
        assert_eq!((lease.len(), group.available()), (10, 3));
        drop(lease);
        assert_eq!((group.available(), group.spare.borrow().last().copied()), (4, Some(0)));
    }

    #[test]
    fn the_tail_goes_round_many_times() {
        let group = group();
        for round in 0..100_000_u32 {
            group.offer(1);
            let tail = group.tail.get();
            assert_eq!(tail, (round + 1) as u16);
            drop(group.lease(0, 1));
        }
        assert_eq!(group.available(), 4);
    }

    #[test]
    fn a_lease_shows_its_bytes_and_outlives_the_group() {
        let group = group();
        group.offer(4);
        let mut first = group.lease(0, 3);
        let mut second = group.lease(1, 64);
        drop(group);
        first.copy_from_slice(b"abc");
        second.fill(7);
        first.advance(1);
        assert_eq!((&*first, &*second), (b"bc".as_slice(), [7; 64].as_slice()));
    }

    #[test]
    fn a_lease_has_room_before_its_bytes() {
        let group = group();
        group.offer(4);
        let [mut lease, mut neighbour] = [1, 0].map(|id| group.lease(id, 3));
        lease.copy_from_slice(b"abc");
        neighbour.fill(7);
        lease.advance(1);
        lease.prepend(b"yz");
        assert_eq!(&*lease, b"yzbc");
        lease.advance(2);
        lease.prepend(&[9; ROOM_BYTES + 1]);
        assert_eq!((lease.len(), lease.first()), (ROOM_BYTES + 3, Some(&9)));
        assert_eq!((&lease[ROOM_BYTES + 1..], &*neighbour), (b"bc".as_slice(), [7; 3].as_slice()));
    }
}
