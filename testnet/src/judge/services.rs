//! Judge of the stages `services` and `skipped`: the model alone.

use super::{Feed, Report, Verdict};
use crate::scenario::{Scenario, Stage};

/// Plays the steps into a model and compares its text after each.
#[must_use]
pub fn services(scenario: &Scenario) -> Verdict {
    let mut feed = Feed::new(&scenario.facts);
    let mut report = Report::default();
    for step in &scenario.steps {
        step.events.iter().for_each(|event| feed.play(event));
        let skipped = feed.take_skipped();
        for dump in &step.dumps {
            match dump.stage {
                Stage::Services => report.compare(&scenario.file, dump, &feed.model.snapshot().to_string()),
                Stage::Skipped => report.compare(&scenario.file, dump, &skipped),
                Stage::Forwarding | Stage::Nft | Stage::Zone => {}
            }
        }
        // An object that nobody expects to be bad is a mistake in the scenario.
        if !skipped.is_empty() && !step.dumps.iter().any(|dump| dump.stage == Stage::Skipped) {
            report.fail(
                &scenario.file,
                step.line,
                format!("no `--- skipped` expects this:\n    {}", skipped.trim_end()),
            );
        }
    }
    Verdict::Judged(report)
}
