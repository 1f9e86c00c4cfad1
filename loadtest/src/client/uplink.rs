//! Commands of the one-way transports: HTTP requests whose answers join the
//! frames. They may go to another gateway than the events come from, and go to
//! yet another one where that takes no connections any more: it stops.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::error::{Error, Result};
use super::http::Http;
use super::{Account, Frame};

/// The way up beside a one-way transport.
#[derive(Debug)]
pub(super) struct Uplink {
    /// The first is asked as long as it can be reached.
    gateways: VecDeque<Http>,
    last_ref: u64,
}

impl Uplink {
    /// To the account's uplink gateway, or the one that events come from.
    pub(super) fn new(account: &Account) -> Result<Self> {
        let first = account.uplink.as_ref().unwrap_or(&account.gateway);
        let others = account.others.iter().filter(|other| *other != first);
        let gateways = [first].into_iter().chain(others);
        let gateways =
            gateways.map(|gateway| Http::new(&Account { gateway: gateway.clone(), ..account.clone() }));
        Ok(Self { gateways: gateways.collect::<Result<_>>()?, last_ref: 0 })
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn command(&mut self, command: &Value) -> Result<Frame> {
        for _ in 1..self.gateways.len() {
            match self.gateways[0].command(command).await {
                Err(Error::Unreached(_)) => self.gateways.rotate_left(1),
                answer => return answer,
            }
        }
        self.gateways[0].command(command).await
    }

    /// Sends a command; gives its answer, also when that is an error, as the
    /// frame that a two-way transport would have brought.
    pub(super) async fn start(&mut self, command: &Value) -> Result<(u64, Frame)> {
        self.last_ref += 1;
        let mut frame = match self.command(command).await {
            Ok(frame) => frame,
            Err(Error::Refused(refusal)) => Frame(json!({
                "type": "error", "code": refusal.code, "message": refusal.message,
                "retry_after_ms": refusal.retry_after_ms,
            })),
            Err(error) => return Err(error),
        };
        frame.0["ref"] = json!(self.last_ref);
        Ok((self.last_ref, frame))
    }
}
