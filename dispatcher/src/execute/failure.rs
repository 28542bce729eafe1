//! The way from an error of PVE or GitHub to the failure of a step.

use error_chain::Chain;
use fleet::{Failure, FailureKind};
use guest::{Error, Problem};

use super::template::WrongTemplate;

/// Returns a failure of this kind.
pub(super) fn of_kind(kind: FailureKind, message: &str) -> Failure {
    Failure { kind, message: message.to_owned(), retry_at: None }
}

/// Returns the failure of a step on a guest.
pub(super) fn of_guest(error: &Error) -> Failure {
    let kind = match &error.problem {
        Problem::OtherIncarnation => FailureKind::Gone,
        Problem::VmidTaken => FailureKind::VmidTaken,
        Problem::StillRunning => FailureKind::StillRunning,
        Problem::HalfMade { .. } => FailureKind::HalfMade,
        Problem::Cancelled => FailureKind::BrokenOff,
        _ if error.is_gone() => FailureKind::Gone,
        _ if error.is_transient() => FailureKind::Passing,
        _ => FailureKind::Lasting,
    };
    of_kind(kind, &Chain(error).to_string())
}

/// Returns the failure of a request to GitHub whose repetition is harmless.
pub(super) fn of_github(error: &github::Error) -> Failure {
    Failure { kind: FailureKind::Passing, message: Chain(error).to_string(), retry_at: error.retry_at() }
}

/// Returns the failure of a registration. Where GitHub may have made one, it is not repeated.
pub(super) fn of_mint(error: &github::Error) -> Failure {
    let kind = match error {
        github::Error::NameTaken { .. } => FailureKind::Lasting,
        error if error.is_not_carried_out() => FailureKind::Refused,
        _ => FailureKind::Passing,
    };
    Failure { kind, message: Chain(error).to_string(), retry_at: error.retry_at() }
}

/// Returns the failure of a clone that was not asked for.
pub(super) fn of_template(error: &WrongTemplate) -> Failure {
    of_kind(FailureKind::Refused, &Chain(error).to_string())
}
