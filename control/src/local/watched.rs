//! A file whose changes are noticed by looking at it now and then.
//!
//! Looking costs one system call, sees through symbolic links (a ConfigMap is updated by swapping one), and works on
//! every file system. A file that is being written is left alone until it stands still, and the same content is not
//! reported twice, nor is the same error.

use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// How often a file is looked at: a change takes effect within half a second, for two system calls per second.
pub const POLL_INTERVAL_MS: u64 = 500;

/// The largest file that is read: ten times what 70,000 workloads take, and not the memory of the node.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// A file, and what of it has been reported.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    last: Option<Report>,
}

#[derive(Debug)]
enum Report {
    Content {
        hash: u64,
        /// Set when the file was read twice and did not change in between. A file that is changed within the resolution
        /// of its own time stamps looks the same before and after, so one reading is not enough to stop reading.
        settled: Option<Stamp>,
    },
    Error(WatchError),
}

/// What changes when a file is replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Why there is no content.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WatchError {
    #[error("{}: there is no such file: create it, or correct the path", path.display())]
    Missing { path: PathBuf },
    #[error("{}: it is not a file: give the path of one", path.display())]
    NotAFile { path: PathBuf },
    #[error("{}: it cannot be read ({cause}): make it readable for this process", path.display())]
    Unreadable { path: PathBuf, cause: String },
    #[error("{}: it has {bytes} bytes, and at most {FILE_BYTES_MAX} are read: make it smaller", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{}: it is not text in UTF-8: write it as such", path.display())]
    NotText { path: PathBuf },
}

// === impl Watched ===

impl Watched {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), last: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the file is not what was reported last, and reports what it is now; at once the first time. After
    /// an error, content is reported even if it is what it was before.
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> Result<String, WatchError> {
        loop {
            if let Some(report) = self.poll() {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(POLL_INTERVAL_MS)).await;
        }
    }

    /// Looks once; none if there is nothing to report.
    pub fn poll(&mut self) -> Option<Result<String, WatchError>> {
        match self.look() {
            Ok(text) => text.map(Ok),
            Err(error) if matches!(&self.last, Some(Report::Error(last)) if *last == error) => None,
            Err(error) => {
                self.last = Some(Report::Error(error.clone()));
                Some(Err(error))
            }
        }
    }

    fn look(&mut self) -> Result<Option<String>, WatchError> {
        let stamp = self.stamp()?;
        let known = match self.last {
            Some(Report::Content { settled, .. }) if settled == Some(stamp) => return Ok(None),
            Some(Report::Content { hash, .. }) => Some(hash),
            Some(Report::Error(_)) | None => None,
        };
        let bytes = self.read()?;
        if self.stamp()? != stamp {
            // It is being written or replaced: the next look will see what has come of it.
            return Ok(None);
        }
        let hash = hash(&bytes);
        if known == Some(hash) {
            self.last = Some(Report::Content { hash, settled: Some(stamp) });
            return Ok(None);
        }
        let text = String::from_utf8(bytes).map_err(|_| WatchError::NotText { path: self.path.clone() })?;
        self.last = Some(Report::Content { hash, settled: None });
        Ok(Some(text))
    }

    /// Of the file that the path leads to, through all links. Opening anything but a file could block.
    fn stamp(&self) -> Result<Stamp, WatchError> {
        let metadata = std::fs::metadata(&self.path).map_err(|error| self.failed(&error))?;
        if !metadata.is_file() {
            return Err(WatchError::NotAFile { path: self.path.clone() });
        }
        Ok(Stamp::of(&metadata))
    }

    fn read(&self) -> Result<Vec<u8>, WatchError> {
        let file = File::open(&self.path).map_err(|error| self.failed(&error))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| self.failed(&error))?;
        let length = bytes.len() as u64;
        if length > FILE_BYTES_MAX {
            return Err(WatchError::TooLarge { path: self.path.clone(), bytes: length });
        }
        Ok(bytes)
    }

    fn failed(&self, error: &std::io::Error) -> WatchError {
        let path = self.path.clone();
        match error.kind() {
            std::io::ErrorKind::NotFound => WatchError::Missing { path },
            _ => WatchError::Unreadable { path, cause: error.to_string() },
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests;
