//! What the machine must have, told before anything is redirected (`ringway check`) and before the proxy starts.

use std::process::ExitCode;

use engine::uring::preflight::{Requirement, check};
use tracing::{debug, warn};

/// `ringway check`: one line per requirement; fails if the proxy could not start.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let requirements = check();
    for requirement in &requirements {
        println!("{}", line(requirement));
    }
    let missing = requirements.iter().any(|requirement| requirement.fatal && requirement.outcome.is_err());
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The same before a start, which goes on unless something is missing that it cannot do without.
pub(crate) fn require() -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for requirement in check() {
        match &requirement.outcome {
            Ok(found) => debug!("{}: {found}", requirement.name),
            Err(_) if requirement.fatal => missing.push(line(&requirement)),
            Err(failure) => warn!("{}: {}; {}", requirement.name, failure.cause, failure.cure),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    anyhow::bail!("this machine does not have what the proxy needs:\n{}", missing.join("\n"))
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
