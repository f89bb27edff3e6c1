//! The profiler, for one profile at a time, and the file that it wants.
//!
//! It makes a file for samples that it has no room for in memory, whatever it is asked for, makes the next one as soon as
//! it is stopped, and looks for it by its name when it reports. So there is one for the time of a profile, and none
//! behind it.

use std::fs::{read_dir, read_link, remove_file};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, TryLockError};

use pprof::{ProfilerGuard, ProfilerGuardBuilder};
use tempfile::env::{override_temp_dir, temp_dir};
use tempfile::tempfile_in;
use tracing::warn;

use super::ProfileError;

/// In memory, and there in a container with a root that cannot be written to.
pub(super) const SHARED_MEMORY: &str = "/dev/shm";

/// Code that is passed over, since the unwinder may not go through it: itself, the kernel's page of clocks, the loader.
const NOT_UNWOUND: [&str; 3] = ["libgcc", "vdso", "ld-linux"];

/// What the names of its files begin with.
const FILE_PREFIX: &[u8] = b".tmp";

static ALONE: Mutex<()> = Mutex::new(());

/// The right to take a profile.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Turn {
    /// # Errors
    ///
    /// Somebody else has it.
    pub(super) fn take() -> Result<Self, ProfileError> {
        match ALONE.try_lock() {
            Ok(alone) => Ok(Self(alone)),
            Err(TryLockError::Poisoned(alone)) => Ok(Self(alone.into_inner())),
            Err(TryLockError::WouldBlock) => Err(ProfileError::Running),
        }
    }

    /// Samples from now on, so many times in each second of CPU time.
    pub(super) fn profiler(&self, frequency_hz: i32) -> Result<ProfilerGuard<'static>, ProfileError> {
        // It never again tries where it could not make its file the first time.
        if tempfile_in(temp_dir()).is_err() {
            let _ = override_temp_dir(Path::new(SHARED_MEMORY));
        }
        let begin = || {
            let profiler = ProfilerGuardBuilder::default().frequency(frequency_hz).blocklist(&NOT_UNWOUND);
            profiler.build().map_err(ProfileError::Unavailable)
        };
        // Its file is that of the last profile, which was removed. One that is stopped makes another.
        drop(begin()?);
        begin()
    }
}

/// After the profiler, which makes its next file when it is dropped.
impl Drop for Turn {
    fn drop(&mut self) {
        let removed = files().and_then(|files| files.iter().try_for_each(remove_file));
        if let Err(cause) = removed {
            warn!(%cause, "an empty file of the profiler stays in {}", temp_dir().display());
        }
    }
}

/// Files of the profiler, which this process has open.
pub(super) fn files() -> io::Result<Vec<PathBuf>> {
    files_in(&temp_dir())
}

/// The kernel knows them by where they are, the profiler perhaps by a link to there.
fn files_in(place: &Path) -> io::Result<Vec<PathBuf>> {
    let place = match place.canonicalize() {
        Ok(place) => place,
        // Nothing is made there either.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    let open = read_dir("/proc/self/fd")?.filter_map(|fd| read_link(fd.ok()?.path()).ok());
    let is_its = |file: &PathBuf| {
        let name = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(FILE_PREFIX));
        name && file.parent() == Some(&*place) && file.is_file()
    };
    Ok(open.filter(is_its).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_found_behind_a_link_to_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let (place, link) = (directory.path().join("place"), directory.path().join("link"));
        std::fs::create_dir(&place).unwrap();
        symlink(&place, &link).unwrap();
        let _file = File::create(link.join(".tmpfile")).unwrap();
        let found = place.canonicalize().unwrap().join(".tmpfile");
        assert_eq!(files_in(&link).unwrap(), [found]);
        assert!(files_in(&directory.path().join("nowhere")).unwrap().is_empty());
    }
}
