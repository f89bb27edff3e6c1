//! `ringway status`, `explain` and `flows`: questions to a running proxy, and its answers for people.

mod explain;
mod flows;
mod status;

use std::io::{self, Write};
use std::process::ExitCode;

use control::client::{Client, ClientError};
use control::reports::{Explanation, FlowLine, Outcome, StatusReport};

use crate::cli::Asked;

/// Fails if something is wrong with the proxy, so that scripts can ask.
pub(crate) fn status(asked: &Asked) -> anyhow::Result<ExitCode> {
    let (report, text): (StatusReport, String) = Client::new(&asked.admin).ask("/status", &[])?;
    print(if asked.json { text } else { status::text(&report) })?;
    let well = report.ready && report.problems.is_empty();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Fails if the connection would not be made.
pub(crate) fn explain(asked: &Asked, source: &str, destination: &str) -> anyhow::Result<ExitCode> {
    let question = [("source", source), ("destination", destination)];
    let (explanation, text): (Explanation, String) = Client::new(&asked.admin).ask("/explain", &question)?;
    print(if asked.json { text } else { explain::text(&explanation) })?;
    let made = matches!(explanation.outcome, Outcome::Encrypted | Outcome::Plaintext);
    Ok(if made { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn flows(asked: &Asked, follow: bool) -> anyhow::Result<ExitCode> {
    let client = Client::new(&asked.admin);
    let follow = if follow { "true" } else { "false" };
    let printed = client.lines("/flows", &[("follow", follow)], &mut |line| {
        if asked.json {
            return print(format!("{line}\n"));
        }
        let flow: FlowLine = serde_json::from_str(line).map_err(|cause| client.unreadable(cause))?;
        print(flows::text(&flow) + "\n")
    });
    match printed {
        // Whoever read us has seen enough: `ringway flows | head`.
        Err(ClientError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

fn print(text: String) -> Result<(), ClientError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
