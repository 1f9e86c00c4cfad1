//! What a router of a later release passes on and this one cannot show: readers go
//! on past it, and the log says so. (By ADR 0026 nobody writes such things while
//! gateways run that cannot read them.)

use std::sync::LazyLock;

use daemon::log_limit::LogLimit;

use crate::protocol::event::Event;

/// Seconds between two lines.
const LINE_EVERY: u64 = 10;

/// Says that an event was passed over, if it is one of a later release.
pub(crate) fn passed_over(event: &Event) {
    static LINES: LazyLock<LogLimit> = LazyLock::new(|| LogLimit::new(LINE_EVERY));
    if event.is_of_a_later_release()
        && let Some(left_out) = LINES.allow()
    {
        tracing::error!(
            conversation = event.conversation(),
            left_out,
            "an event is of a kind that only a later release knows: readers go on past it; upgrade this gateway"
        );
    }
}
