//! The one place where the time is read. Decisions get it as an argument.

use jiff::Timestamp;

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "adapters stamp what they observe; the fleet's decisions cannot see this module's time but as an argument"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
