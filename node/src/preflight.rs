//! What the machine must have, told before anything is redirected (`ringway check`) and before the proxy starts.

use std::process::ExitCode;

use control::environment::{Environment, Mode};
use engine::engine::OriginalSource;
use engine::uring::preflight::{Duties, Requirement, check};
use tracing::{debug, warn};

use crate::proxy::machine;

/// `ringway check`: one line per requirement; fails if the proxy could not start. The environment need not be one
/// that a proxy could follow: who checks a machine has none yet.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process(&machine());
    let requirements =
        check(environment.map_or_else(|_| unread_duties(), |environment| duties(&environment)));
    for requirement in &requirements {
        println!("{}", line(requirement));
    }
    let missing = requirements.iter().any(|requirement| requirement.fatal && requirement.outcome.is_err());
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The same before a start: what it cannot do without and that is not there.
pub(crate) fn missing(environment: &Environment) -> Vec<String> {
    let mut missing = Vec::new();
    for Requirement { name, outcome, fatal } in check(duties(environment)) {
        match outcome {
            Ok(found) => debug!("{name}: {found}"),
            Err(failure) if fatal => missing.push(format!("{name}: {failure}")),
            Err(failure) => warn!("{name}: {failure}"),
        }
    }
    missing
}

fn duties(environment: &Environment) -> Duties {
    let engine = &environment.engine;
    Duties {
        enters: matches!(environment.mode, Mode::Shared { .. }),
        marks: engine.packet_mark.is_some() || engine.original_source == OriginalSource::Require,
    }
}

/// Of an environment of which no more can be said.
fn unread_duties() -> Duties {
    let shared = std::env::var("PROXY_MODE").as_deref() != Ok("dedicated");
    Duties { enters: shared, marks: shared || std::env::var_os("PACKET_MARK").is_some() }
}

fn line(requirement: &Requirement) -> String {
    let name = requirement.name;
    match &requirement.outcome {
        Ok(found) => format!("ok    {name}: {found}"),
        Err(failure) => {
            let weight = if requirement.fatal { "FAIL" } else { "warn" };
            format!("{weight}  {name}: {}; {}", failure.cause, failure.cure)
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::uring::preflight::Failure;

    use super::*;

    #[test]
    fn one_line_for_each() {
        let failure = Failure { cause: "8 KiB".to_owned(), cure: "raise it to 8 MiB".to_owned() };
        for (outcome, fatal, expected) in [
            (Ok("8 MiB".to_owned()), true, "ok    memlock: 8 MiB"),
            (Err(failure.clone()), true, "FAIL  memlock: 8 KiB; raise it to 8 MiB"),
            (Err(failure), false, "warn  memlock: 8 KiB; raise it to 8 MiB"),
        ] {
            assert_eq!(line(&Requirement { name: "memlock", outcome, fatal }), expected);
        }
    }
}
