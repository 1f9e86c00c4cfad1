//! One-time tickets: kept by one router, taken through another, once.

use std::time::Duration;

use prost::Message as _;
use proto::wire::{self, Grant, Redeemed, reply};

use crate::dispatch::{Core, done};
use crate::error::{Error, Result};

/// PROTOCOL.md §3.
const LIFE: Duration = Duration::from_secs(30);

pub(crate) async fn issue(core: &Core, issue: wire::IssueTicket) -> Result<reply::Result> {
    let grant = issue.grant.unwrap_or_default().encode_to_vec();
    core.store.keep_ticket(ticket(&issue.ticket)?, grant.into(), LIFE).await?;
    Ok(done())
}

pub(crate) async fn redeem(core: &Core, redeem: wire::RedeemTicket) -> Result<reply::Result> {
    let bytes = core.store.take_ticket(ticket(&redeem.ticket)?).await?;
    let grant = bytes.map(Grant::decode).transpose().map_err(|_| Error::Internal)?;
    Ok(reply::Result::Redeemed(Redeemed { grant }))
}

/// It becomes part of a key.
fn ticket(text: &str) -> Result<&str> {
    let word = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if word {
        Ok(text)
    } else {
        Err(Error::BadRequest("`ticket` must be 1 to 64 letters and digits".to_owned()))
    }
}
