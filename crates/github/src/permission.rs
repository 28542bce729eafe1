//! The permissions that requests need, in the words of GitHub's token page. GitHub's refusals do not name them.

use crate::scope::Scope;

/// Permission to read runs and jobs.
pub(crate) const ACTIONS_READ: &str = "repository permission \"Actions: read\" (classic token: scope \"repo\")";

/// No permission: the answer is public.
pub(crate) const NONE: &str = "no permission at all";

const REPOSITORY_RUNNERS: &str = "repository permission \"Administration: write\" (classic token: scope \"repo\")";

const ORGANIZATION_RUNNERS: &str =
    "organization permission \"Self-hosted runners: write\" (classic token: scope \"admin:org\")";

/// Returns the permission to manage the runners of `scope`.
pub(crate) fn runners(scope: &Scope) -> &'static str {
    match scope {
        Scope::Repository(_) => REPOSITORY_RUNNERS,
        Scope::Organization(_) => ORGANIZATION_RUNNERS,
    }
}
