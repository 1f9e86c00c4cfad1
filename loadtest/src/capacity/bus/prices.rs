//! The time that each step takes in a process, from the costs that were measured.

use super::Plan;
use crate::capacity::costs as cost;

/// Seconds that each step takes.
pub(super) struct Prices {
    pub(super) send: f64,
    pub(super) deliver: f64,
    pub(super) take: f64,
    pub(super) number: f64,
    pub(super) file: f64,
    pub(super) post: f64,
}
impl Prices {
    /// Reckons the times from the costs that were measured.
    pub(super) fn new(plan: &Plan) -> Self {
        let micros = |cost: &cost::Cost| cost.value / 1e6;
        let steps = cost::REDIS_STEPS.value / cost::REDIS_MESSAGE.value;
        // A third of the cost is for the number, a third for each of two filings.
        let third = micros(&cost::REDIS_BATCHED) / 3.0;
        Self {
            send: micros(&cost::GATEWAY_BATCHED) / 2.0 / plan.cores,
            deliver: micros(&cost::GATEWAY_BATCHED) / 2.0 / plan.cores,
            take: micros(&cost::ROUTER_BATCHED) / plan.cores,
            number: third * steps,
            file: third * steps,
            post: third,
        }
    }
}

/// The cost of waking up a process, reckoned from the cost of a message at a low rate
/// and in large batches, and from how often one message wakes a process of each kind.
/// It wakes gateways five times: for the message, its answer, its delivery, the
/// acknowledgement and the answer to that. It wakes routers four times: for the
/// message, the acknowledgement, and the replies of Redis to both. It wakes Redis
/// twice.
pub(super) fn wakes(plan: &Plan) -> [f64; 3] {
    let wake = |alone: &cost::Cost, batched: &cost::Cost, times: f64| {
        (alone.value - batched.value).max(0.0) / 1e6 / times
    };
    [
        wake(&cost::GATEWAY_ALONE, &cost::GATEWAY_BATCHED, 5.0) / plan.cores,
        wake(&cost::ROUTER_ALONE, &cost::ROUTER_BATCHED, 4.0) / plan.cores,
        wake(&cost::REDIS_ALONE, &cost::REDIS_BATCHED, 2.0),
    ]
}
