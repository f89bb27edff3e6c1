//! The mesh as a file, or a variable, describes it.

use std::path::Path;

use engine::mesh::{Change, MeshSettings};

use super::{Contents, LocalError, Watched};

/// Reads the mesh, and reads it again whenever its file changes.
#[derive(Debug)]
pub struct LocalMesh {
    source: Source,
    settings: MeshSettings,
    /// The last good one.
    contents: Contents,
}

#[derive(Debug)]
enum Source {
    /// `LOCAL_XDS_PATH`
    File(Watched),
    /// `LOCAL_XDS`, until it has been read.
    Inline(Option<String>),
}

impl LocalMesh {
    pub fn file(path: &Path, settings: MeshSettings) -> Self {
        Self { source: Source::File(Watched::new(path)), settings, contents: Contents::default() }
    }

    pub fn inline(text: String, settings: MeshSettings) -> Self {
        Self { source: Source::Inline(Some(text)), settings, contents: Contents::default() }
    }

    /// The file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File(watched) => Some(watched.path()),
            Source::Inline(_) => None,
        }
    }

    /// The changes to apply to the snapshot that all earlier ones were applied to; waits until there is something to
    /// say. An error changes nothing, and it is over when there are changes again, even if there are none in the list.
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn changes(&mut self) -> Result<Vec<Change>, LocalError> {
        let (name, contents) = self.read().await?;
        for note in &contents.notes {
            tracing::warn!("{name}: {note}");
        }
        let changes = contents.changes_since(&self.contents);
        self.contents = contents;
        Ok(changes)
    }

    /// Whether it can be followed.
    pub async fn check(mut self) -> Result<(), LocalError> {
        self.read().await.map(drop)
    }

    /// What is new, and what errors call it.
    async fn read(&mut self) -> Result<(String, Contents), LocalError> {
        let (name, text) = match &mut self.source {
            Source::File(watched) => {
                let text = watched.changed().await?;
                (watched.path().display().to_string(), text)
            }
            Source::Inline(text) => match text.take() {
                Some(text) => ("LOCAL_XDS".to_owned(), text),
                None => std::future::pending().await,
            },
        };
        let contents = Contents::parse(&name, &text, &self.settings)?;
        Ok((name, contents))
    }
}

#[cfg(test)]
mod tests;
