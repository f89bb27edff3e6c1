//! A run in a file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Run, SCHEMA};

/// What every file of ours begins with, whatever its version.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// Reads a run. A file that is not one, or one of another version, is an error that says so.
pub(crate) fn read(path: &Path) -> Result<Run> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Run> {
    let version: Version = serde_json::from_str(text)
        .context("this is not a run: give a file that `ringway-perf run --json FILE` wrote")?;
    ensure!(
        version.schema == SCHEMA,
        "this run has version {} of the schema and this ringway-perf reads {SCHEMA}: measure again, or take the \
         ringway-perf that wrote it",
        version.schema
    );
    serde_json::from_str(text).context("this run is damaged")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::{self, made_up};

    #[test]
    fn a_run_comes_back_as_it_was() {
        let run = made_up::run(&["direct", "ringway"], &["bulk", "ping-pong"], 2);
        let text = serde_json::to_string(&run).unwrap();
        let again = parse(&text).unwrap();
        assert_eq!((again.samples.len(), again.samples[1].curve.len()), (run.samples.len(), 0));
        assert_eq!(report::markdown(&again), report::markdown(&run));
    }

    #[test]
    fn what_is_no_run_is_named() {
        let other =
            serde_json::to_string(&made_up::empty()).unwrap().replace("\"schema\":1", "\"schema\":99");
        for (text, word) in [
            ("", "not a run"),
            ("# a page", "not a run"),
            ("{\"end\": 1}", "not a run"),
            (other.as_str(), "version 99"),
            ("{\"schema\": 1}", "damaged"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
        let error = format!("{:#}", read(Path::new("/nonexistent.json")).unwrap_err());
        assert!(error.contains("/nonexistent.json"), "{error}");
    }

    #[test]
    fn the_run_that_the_tests_draw_can_be_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/made-up.json");
        let run = read(&path).unwrap();
        assert!(run.samples.len() > 100 && run.machine.kernel.contains("made up"));
    }
}
