#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

struct Directory {
    directory: TempDir,
}

impl Directory {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// In place, as an editor or a shell does.
    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// By renaming a file that is complete over the old one.
    fn replace(&self, name: &str, content: &[u8]) {
        let new = self.write(".new", content);
        fs::rename(new, self.path(name)).unwrap();
    }
}

/// A look when what was found last has stood still for long enough.
fn look(watched: &mut Watched) -> Look {
    let still = watched.seen.as_ref().map(|(_, since)| *since + watched.standstill);
    watched.look(still.unwrap_or_else(Instant::now))
}

fn moves(watched: &mut Watched) -> bool {
    matches!(look(watched), Look::Moving { .. })
}

/// Looks until the file stands still.
fn settle(watched: &mut Watched) -> Look {
    for _ in 0..3 {
        match look(watched) {
            Look::Moving { .. } => {}
            found => return found,
        }
    }
    panic!("nothing moves here")
}

fn content(text: &str) -> Look {
    Look::Report(Ok(text.as_bytes().to_vec()))
}

#[test]
fn content_is_reported_once_and_only_when_it_stands_still() {
    let directory = Directory::new();
    let mut watched = Watched::new(&directory.write("mesh.yaml", b"one"));
    assert!(moves(&mut watched), "one look is not enough");
    assert_eq!(look(&mut watched), content("one"));
    assert_eq!(look(&mut watched), Look::Known);

    directory.write("mesh.yaml", b"half of the sec");
    assert!(moves(&mut watched));
    directory.write("mesh.yaml", b"half of the second one is");
    assert!(moves(&mut watched));
    directory.write("mesh.yaml", b"half of the second one is not enough");
    assert!(moves(&mut watched));
    assert_eq!(look(&mut watched), content("half of the second one is not enough"));
    assert_eq!(look(&mut watched), Look::Known);
}

#[test]
fn a_renamed_file_and_a_swapped_link_are_noticed() {
    let directory = Directory::new();
    let mut watched = Watched::new(&directory.write("mesh.yaml", b"one"));
    assert_eq!(settle(&mut watched), content("one"));
    directory.replace("mesh.yaml", b"two");
    assert_eq!(settle(&mut watched), content("two"));

    // A mounted ConfigMap: mesh.yaml -> ..data/mesh.yaml, and ..data is swapped.
    for (version, text) in [("..1", "three"), ("..2", "four!")] {
        fs::create_dir(directory.path(version)).unwrap();
        directory.write(&format!("{version}/config.yaml"), text.as_bytes());
    }
    symlink("..1", directory.path("..data")).unwrap();
    symlink("..data/config.yaml", directory.path("config.yaml")).unwrap();
    let mut watched = Watched::new(&directory.path("config.yaml"));
    assert_eq!(settle(&mut watched), content("three"));
    symlink("..2", directory.path("..new")).unwrap();
    fs::rename(directory.path("..new"), directory.path("..data")).unwrap();
    assert_eq!(settle(&mut watched), content("four!"));
}

#[test]
fn the_same_content_is_no_change_and_a_changed_one_of_the_same_length_is() {
    let directory = Directory::new();
    let mut watched = Watched::new(&directory.write("mesh.yaml", b"one"));
    assert_eq!(settle(&mut watched), content("one"));
    directory.replace("mesh.yaml", b"one");
    assert_eq!(settle(&mut watched), Look::Known);
    directory.replace("mesh.yaml", b"two");
    assert_eq!(settle(&mut watched), content("two"));
}

#[test]
fn a_file_that_comes_back_between_two_looks_was_never_gone() {
    let directory = Directory::new();
    let path = directory.write("mesh.yaml", b"one");
    let mut watched = Watched::new(&path);
    assert_eq!(settle(&mut watched), content("one"));
    fs::remove_file(&path).unwrap();
    assert!(moves(&mut watched), "it may be about to be replaced");
    directory.write("mesh.yaml", b"one");
    assert_eq!(settle(&mut watched), Look::Known);
}

#[test]
fn an_error_is_reported_once_and_ends_with_content() {
    let directory = Directory::new();
    let path = directory.path("mesh.yaml");
    let mut watched = Watched::new(&path);
    let missing = || Look::Report(Err(WatchError::Missing { path: path.clone() }));
    assert_eq!(settle(&mut watched), missing());
    assert_eq!(settle(&mut watched), Look::Known);

    directory.write("mesh.yaml", b"one");
    assert_eq!(settle(&mut watched), content("one"));
    fs::remove_file(&path).unwrap();
    assert_eq!(settle(&mut watched), missing());
    directory.write("mesh.yaml", b"one");
    assert_eq!(settle(&mut watched), content("one"), "what it was before the error");

    assert_eq!(settle(&mut watched), Look::Known);

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(settle(&mut watched), Look::Report(Err(WatchError::NotAFile { path: path.clone() })));
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let directory = Directory::new();
    let path = directory.path("mesh.yaml");
    let file = File::create(&path).unwrap();
    file.set_len(FILE_BYTES_MAX + 1).unwrap();
    let bytes = FILE_BYTES_MAX + 1;
    assert_eq!(Watched::new(&path).find().map(|_| ()), Err(WatchError::TooLarge { path, bytes }));
}

#[test]
fn errors_say_what_to_do() {
    let path = PathBuf::from("/etc/mesh.yaml");
    let cases = [
        (
            WatchError::Missing { path: path.clone() },
            "/etc/mesh.yaml: there is no such file: create it, or correct the path",
        ),
        (
            WatchError::NotAFile { path: path.clone() },
            "/etc/mesh.yaml: it is not a file: give the path of one",
        ),
        (
            WatchError::Unreadable { path: path.clone(), cause: "Permission denied".to_owned() },
            "/etc/mesh.yaml: it cannot be read (Permission denied): make it readable for this process",
        ),
        (
            WatchError::TooLarge { path: path.clone(), bytes: 300_000_000 },
            "/etc/mesh.yaml: it has 300000000 bytes, and at most 268435456 are read: make it smaller",
        ),
        (WatchError::NotText { path }, "/etc/mesh.yaml: it is not text in UTF-8: write it as such"),
    ];
    for (error, expected) in cases {
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_noticed_within_a_poll_and_a_standstill() {
    let directory = Directory::new();
    let mut watched = Watched::new(&directory.write("mesh.yaml", b"one"));
    assert_eq!(watched.changed().await, Ok("one".to_owned()));

    // Nobody changes it: the clock may be advanced as far as it likes.
    let quiet = tokio::time::timeout(Duration::from_secs(3_600), watched.changed()).await;
    assert!(quiet.is_err());

    directory.replace("mesh.yaml", b"two");
    let limit = Duration::from_millis(POLL_INTERVAL_MS + 2 * STANDSTILL_MS);
    assert_eq!(tokio::time::timeout(limit, watched.changed()).await, Ok(Ok("two".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_text_is_refused_where_text_is_wanted() {
    let directory = Directory::new();
    let path = directory.write("mesh.yaml", b"not \xff UTF-8");
    let mut watched = Watched::new(&path);
    assert_eq!(watched.changed().await, Err(WatchError::NotText { path: path.clone() }));
    assert_eq!(Watched::new(&path).changed_bytes().await, Ok(b"not \xff UTF-8".to_vec()));
    directory.write("mesh.yaml", b"text");
    assert_eq!(watched.changed().await, Ok("text".to_owned()));
}

/// Who waits for other things as well makes a new future after each of them.
#[tokio::test(start_paused = true)]
async fn a_file_has_to_stand_still_however_often_the_future_is_dropped() {
    let directory = Directory::new();
    let standstill = Duration::from_secs(2);
    let mut watched = Watched::new(&directory.write("mesh.yaml", b"one")).still_for(standstill);
    let begun = Instant::now();
    let moment = Duration::from_millis(1);
    let found = loop {
        if let Ok(found) = tokio::time::timeout(moment, watched.changed()).await {
            break found;
        }
    };
    assert_eq!(found, Ok("one".to_owned()));
    assert!(begun.elapsed() >= standstill, "after {:?}", begun.elapsed());

    directory.write("mesh.yaml", b"two");
    while begun.elapsed() < 3 * standstill {
        if let Ok(found) = tokio::time::timeout(moment, watched.changed()).await {
            assert_eq!(found, Ok("two".to_owned()));
            return;
        }
    }
    panic!("a change is noticed all the same");
}
