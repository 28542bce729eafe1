//! The steps of the suite.

use std::fmt;

/// A step of the suite, in the order of their numbers from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of the parent module describes them")]
pub enum ConformanceStep {
    UnknownInputs,
    Create,
    SecondPlan,
    Import,
    Update,
    Replace,
    Unset,
    Drift,
    FailingCalls,
    Interrupt,
    FailingDestroy,
    Secrets,
    OlderStates,
    RoundTrips,
    Many,
    Snapshot,
}

use ConformanceStep as Is;

impl ConformanceStep {
    /// All steps.
    pub const ALL: [Self; 16] = [
        Is::UnknownInputs,
        Is::Create,
        Is::SecondPlan,
        Is::Import,
        Is::Update,
        Is::Replace,
        Is::Unset,
        Is::Drift,
        Is::FailingCalls,
        Is::Interrupt,
        Is::FailingDestroy,
        Is::Secrets,
        Is::OlderStates,
        Is::RoundTrips,
        Is::Many,
        Is::Snapshot,
    ];

    /// Returns true if the core must start the provider. With reattach, a core neither stops a provider nor collects
    /// its logs.
    pub(super) fn needs_a_process(self) -> bool {
        matches!(self, Is::Interrupt | Is::Secrets | Is::Snapshot)
    }

    pub(super) fn is_chosen(self, chosen: Option<&str>) -> bool {
        let Some(chosen) = chosen else { return true };
        chosen.split(',').any(|number| number.trim() == (self as usize + 1).to_string())
    }
}

impl fmt::Display for ConformanceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({:?})", *self as usize + 1, self)
    }
}

#[cfg(test)]
mod tests {
    use super::ConformanceStep;

    #[test]
    fn steps_are_selected_by_number() {
        assert_eq!(ConformanceStep::ALL[9].to_string(), "step 10 (Interrupt)");
        let chosen: Vec<_> = ConformanceStep::ALL.into_iter().filter(|step| step.is_chosen(Some("1, 16"))).collect();
        assert_eq!(chosen, [ConformanceStep::UnknownInputs, ConformanceStep::Snapshot]);
        assert!(ConformanceStep::ALL.into_iter().all(|step| step.is_chosen(None)));
    }
}
