//! A file whose changes are noticed by looking at it now and then.
//!
//! Looking costs one system call, sees through symbolic links (a ConfigMap is updated by swapping one), and works on
//! every file system. What is seen counts when every look finds the same for a while: a file that is being written or
//! replaced is left alone until it stands still. The same content is not reported twice, nor is the same error.

use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep_until};

/// How often a file is looked at: a change is noticed within half a second, for two system calls per second.
pub const POLL_INTERVAL_MS: u64 = 500;

/// How long a file has to stand still: longer than the resolution of its time stamps, and than a writer rests between
/// two writes.
pub const STANDSTILL_MS: u64 = 50;

/// The largest file that is read: ten times what 70,000 workloads take, and not the memory of the node.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// A file, and what of it has been reported.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    standstill: Duration,
    /// What the last look found, and since when looks find it.
    seen: Option<(Result<Seen, WatchError>, Instant)>,
    /// The hash of the content that was reported last, or the error.
    reported: Option<Result<u64, WatchError>>,
    /// When to look again; at once, if never.
    next_look: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    stamp: Stamp,
    hash: u64,
}

/// What a look at the file comes to.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Report(Result<Vec<u8>, WatchError>),
    /// It may be in the middle of a change: it stands still if it is the same then.
    Moving {
        until: Instant,
    },
    /// It is what was reported.
    Known,
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
        let standstill = Duration::from_millis(STANDSTILL_MS);
        Self { path: path.to_owned(), standstill, seen: None, reported: None, next_look: None }
    }

    /// A file that has to stand still for longer: one of which a beginning would do as well.
    pub fn still_for(self, standstill: Duration) -> Self {
        Self { standstill, ..self }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the file is not what was reported last, and reports what it is now. After an error, content is
    /// reported even if it is what it was before.
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> Result<String, WatchError> {
        let bytes = self.changed_bytes().await?;
        String::from_utf8(bytes).map_err(|_| WatchError::NotText { path: self.path.clone() })
    }

    /// The same for a file that need not be text. How long the file stands still, and when it is looked at next, is kept
    /// in here and not in the future: who drops that, however often, is told no sooner and costs no look.
    pub async fn changed_bytes(&mut self) -> Result<Vec<u8>, WatchError> {
        loop {
            if let Some(next_look) = self.next_look {
                sleep_until(next_look).await;
            }
            let now = Instant::now();
            let later = now + Duration::from_millis(POLL_INTERVAL_MS);
            let look = self.look(now);
            self.next_look = Some(if let Look::Moving { until } = look { until } else { later });
            if let Look::Report(report) = look {
                return report;
            }
        }
    }

    /// What the file is at this moment, whether it stands still or not; it counts as reported.
    pub fn now(&mut self) -> Result<Vec<u8>, WatchError> {
        let (stamp, bytes) = (self.stamp()?, self.read()?);
        let seen = Seen { stamp, hash: hash(&bytes) };
        (self.seen, self.reported) = (Some((Ok(seen), Instant::now())), Some(Ok(seen.hash)));
        Ok(bytes)
    }

    fn look(&mut self, now: Instant) -> Look {
        let (seen, report) = match self.find() {
            Ok(None) => return Look::Known,
            Ok(Some((seen, bytes))) => (Ok(seen), Ok(bytes)),
            Err(error) => (Err(error.clone()), Err(error)),
        };
        let news = seen.clone().map(|seen| seen.hash);
        let since = match &self.seen {
            Some((before, since)) if *before == seen => *since,
            _ => now,
        };
        self.seen = Some((seen, since));
        let until = since + self.standstill;
        if now < until {
            return Look::Moving { until };
        }
        if self.reported.replace(news.clone()) == Some(news) {
            return Look::Known;
        }
        Look::Report(report)
    }

    /// None if it is what was reported, for all that can be told without reading it.
    fn find(&self) -> Result<Option<(Seen, Vec<u8>)>, WatchError> {
        let stamp = self.stamp()?;
        if let (Some((Ok(seen), _)), Some(Ok(reported))) = (&self.seen, &self.reported)
            && seen.stamp == stamp
            && seen.hash == *reported
        {
            return Ok(None);
        }
        let bytes = self.read()?;
        let seen = Seen { stamp, hash: hash(&bytes) };
        Ok(Some((seen, bytes)))
    }

    /// Of the file that the path leads to, through all links. Opening anything but a file could block.
    fn stamp(&self) -> Result<Stamp, WatchError> {
        let metadata = std::fs::metadata(&self.path).map_err(|error| self.failed(&error))?;
        if !metadata.is_file() {
            return Err(WatchError::NotAFile { path: self.path.clone() });
        }
        self.check_length(metadata.len())?;
        Ok(Stamp::of(&metadata))
    }

    fn read(&self) -> Result<Vec<u8>, WatchError> {
        let file = File::open(&self.path).map_err(|error| self.failed(&error))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| self.failed(&error))?;
        self.check_length(bytes.len() as u64)?;
        Ok(bytes)
    }

    fn check_length(&self, bytes: u64) -> Result<(), WatchError> {
        if bytes > FILE_BYTES_MAX {
            return Err(WatchError::TooLarge { path: self.path.clone(), bytes });
        }
        Ok(())
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
