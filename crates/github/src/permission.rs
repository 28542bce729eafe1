//! Which permission a call needs, in the words of GitHub's token page: a refusal never says.

use crate::scope::Scope;

/// What reading runs and jobs needs.
pub(crate) const ACTIONS_READ: &str = "repository permission \"Actions: read\" (classic token: scope \"repo\")";

/// What anybody may read.
pub(crate) const NONE: &str = "no permission at all";

const REPOSITORY_RUNNERS: &str = "repository permission \"Administration: write\" (classic token: scope \"repo\")";

const ORGANIZATION_RUNNERS: &str =
    "organization permission \"Self-hosted runners: write\" (classic token: scope \"admin:org\")";

/// What managing the runners of `scope` needs.
pub(crate) fn runners(scope: &Scope) -> &'static str {
    match scope {
        Scope::Repository(_) => REPOSITORY_RUNNERS,
        Scope::Organization(_) => ORGANIZATION_RUNNERS,
    }
}
