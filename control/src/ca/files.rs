//! The two files of a root. They appear once, together, and are never changed by us.
//!
//! Nodes that share the directory may start at the same moment: whoever makes a root holds a lock, and everybody who
//! finds no whole pair looks again under that lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use zeroize::Zeroizing;

use super::error::CaError;

pub(super) const CERTIFICATE_FILE: &str = "root-cert.pem";
pub(super) const KEY_FILE: &str = "root-key.pem";
const LOCK_FILE: &str = ".root-lock";

const CERTIFICATE_MODE: u32 = 0o644;
const KEY_MODE: u32 = 0o600;

/// What the two files hold. The key is wiped when it is dropped.
pub(super) struct Files {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Zeroizing<Vec<u8>>,
}

// === impl Files ===

impl Files {
    /// The pair that is there; none where one could be made. Nothing is written.
    pub(super) fn look(directory: &Path) -> Result<Option<Self>, CaError> {
        fs::read_dir(directory).map_err(|cause| CaError::Directory { path: directory.to_owned(), cause })?;
        // Whoever makes a root at this moment has the lock: half a pair is read again under it.
        let mut found = read(directory)?;
        if matches!(found, (Some(_), None) | (None, Some(_))) && directory.join(LOCK_FILE).exists() {
            let _held = lock(directory)?;
            found = read(directory)?;
        }
        match found {
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate, key })),
            (Some(_), None) => Err(half(directory, CERTIFICATE_FILE, KEY_FILE)),
            (None, Some(_)) => Err(half(directory, KEY_FILE, CERTIFICATE_FILE)),
            (None, None) => {
                let unwritable =
                    |errno: Errno| CaError::Write { path: directory.to_owned(), cause: errno.into() };
                access(directory, AccessFlags::W_OK).map_err(unwritable)?;
                Ok(None)
            }
        }
    }

    /// Reads the pair; where there is none, writes what `create` makes.
    pub(super) fn read_or_create(
        directory: &Path,
        create: impl FnOnce() -> Result<Self, rcgen::Error>,
    ) -> Result<Self, CaError> {
        fs::read_dir(directory).map_err(|cause| CaError::Directory { path: directory.to_owned(), cause })?;
        // No lock for a pair that is there: the directory may be read-only, a mounted Secret for one.
        if let (Some(certificate), Some(key)) = read(directory)? {
            return Ok(Self { certificate, key });
        }
        let lock = lock(directory);
        match (read(directory)?, lock) {
            ((Some(certificate), Some(key)), _) => Ok(Self { certificate, key }),
            ((Some(_), None), _) => Err(half(directory, CERTIFICATE_FILE, KEY_FILE)),
            ((None, Some(_)), _) => Err(half(directory, KEY_FILE, CERTIFICATE_FILE)),
            ((None, None), Err(error)) => Err(error),
            ((None, None), Ok(_held)) => {
                let files = create().map_err(CaError::NewRoot)?;
                files.write(directory)?;
                tracing::info!(directory = %directory.display(), "made a new root certificate");
                Ok(files)
            }
        }
    }

    /// Writes both under other names first, so that a full disk leaves no half a pair.
    fn write(&self, directory: &Path) -> Result<(), CaError> {
        let staged =
            [(KEY_FILE, &*self.key, KEY_MODE), (CERTIFICATE_FILE, &self.certificate, CERTIFICATE_MODE)];
        let failed = |name: &str| {
            let path = directory.join(name);
            |cause| CaError::Write { path, cause }
        };
        for (name, bytes, mode) in staged {
            stage(&directory.join(staging_name(name)), bytes, mode).map_err(failed(name))?;
        }
        for (name, _, _) in staged {
            fs::rename(directory.join(staging_name(name)), directory.join(name)).map_err(failed(name))?;
        }
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("."))
    }
}

/// The certificate and the key, as far as they are there.
type Found = (Option<Vec<u8>>, Option<Zeroizing<Vec<u8>>>);

fn read(directory: &Path) -> Result<Found, CaError> {
    let read = |name| {
        let path = directory.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(CaError::Read { path, cause }),
        }
    };
    Ok((read(CERTIFICATE_FILE)?, read(KEY_FILE)?.map(Zeroizing::new)))
}

/// Held until dropped.
fn lock(directory: &Path) -> Result<File, CaError> {
    let path = directory.join(LOCK_FILE);
    let open = OpenOptions::new().create(true).append(true).mode(KEY_MODE).open(&path);
    open.and_then(|file| file.lock().map(|()| file)).map_err(|cause| CaError::Write { path, cause })
}

/// Writes a file that only its owner could read even before it is complete.
fn stage(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // One who crashed may have left its own.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn staging_name(name: &str) -> String {
    format!(".{name}.new")
}

fn half(directory: &Path, present: &str, missing: &str) -> CaError {
    CaError::Half { present: directory.join(present), missing: directory.join(missing) }
}
