//! An explanation for people: the outcome, then the steps to it.

use std::fmt::Write;

use control::reports::{Explanation, Outcome};

pub(super) fn text(explanation: &Explanation) -> String {
    let Explanation { source, destination, outcome, steps } = explanation;
    let verdict = match outcome {
        Outcome::Encrypted => "encrypted, with mutual TLS",
        Outcome::Plaintext => "in PLAINTEXT",
        Outcome::Refused => "NOT MADE",
        Outcome::Denied => "DENIED by policy",
    };
    let mut text = format!("{source} -> {destination}: {verdict}\n\n");
    for step in steps {
        let _ = writeln!(text, "  {:<12} {}", step.step, step.finding);
        if let Some(cure) = &step.cure {
            let _ = writeln!(text, "  {:<12} {cure}", "do");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use control::reports::Step;

    use super::*;

    #[test]
    fn the_outcome_comes_first_and_each_step_has_a_line() {
        let step = |step: &str, finding: &str, cure: Option<&str>| Step {
            step: step.to_owned(),
            finding: finding.to_owned(),
            cure: cure.map(str::to_owned),
        };
        let explanation = Explanation {
            source: "shop/cart".to_owned(),
            destination: "shop/bank:80".to_owned(),
            outcome: Outcome::Denied,
            steps: vec![
                step("route", "through a tunnel", None),
                step("authorise", "policy shop/no denies it", Some("change the policy")),
            ],
        };
        let expected = "\
shop/cart -> shop/bank:80: DENIED by policy

  route        through a tunnel
  authorise    policy shop/no denies it
  do           change the policy
";
        assert_eq!(text(&explanation), expected);
    }
}
