//! Debug builds only: catches callers that break the two rules about sockets the driver cannot enforce.
//!
//! 1. An fd is closed only after the final completion of each of its operations: otherwise its number may be another
//!    socket's by then. The file behind the number is compared at the start and at the end.
//! 2. At most one receive and one send of a socket are under way: two would take each other's bytes, or mix theirs.

use std::collections::HashSet;
use std::os::fd::{BorrowedFd, RawFd};

use nix::sys::stat::fstat;

use super::ops::Kind;

/// What is remembered of one operation.
#[derive(Debug)]
pub(super) struct Witness {
    file: Option<(u64, u64)>,
    claim: Option<(RawFd, Direction)>,
}

#[derive(Debug, Default)]
pub(super) struct Witnesses {
    claims: HashSet<(RawFd, Direction)>,
    dismissed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Direction {
    In,
    Out,
}

impl Witnesses {
    pub(super) fn open(&mut self, fd: RawFd, kind: &Kind) -> Witness {
        let direction = match kind {
            Kind::Recv { .. } => Some(Direction::In),
            Kind::Send { .. } => Some(Direction::Out),
            Kind::Accept | Kind::Poll { .. } | Kind::Watch { .. } | Kind::Connect { .. } => None,
        };
        let claim = direction.map(|direction| (fd, direction));
        if let Some(claim) = claim {
            let alone = self.claims.insert(claim);
            assert!(alone || self.dismissed, "fd {fd} has a second operation {claim:?} under way");
        }
        Witness { file: file_of(fd), claim }
    }

    pub(super) fn close(&mut self, fd: RawFd, witness: &mut Witness) {
        if let Some(file) = witness.file
            && !self.dismissed
        {
            let same = file_of(fd) == Some(file);
            assert!(same, "fd {fd} was closed before the final completion of an operation on it");
        }
        self.forget(witness);
    }

    /// The caller no longer promises anything about the fd.
    pub(super) fn forget(&mut self, witness: &mut Witness) {
        witness.file = None;
        if let Some(claim) = witness.claim.take() {
            self.claims.remove(&claim);
        }
    }

    pub(super) fn dismiss(&mut self) {
        self.dismissed = true;
    }
}

fn file_of(fd: RawFd) -> Option<(u64, u64)> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the number is only asked about and not kept; if it is closed the call fails.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fstat(fd).ok().map(|file| (file.st_dev, file.st_ino))
}
