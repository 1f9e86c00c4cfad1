//! One-time tickets: kept by one router, taken through another, once.

use std::time::Duration;

use prost::Message as _;
use proto::wire::{self, Grant, Redeemed, reply};

use super::done;
use crate::core::Core;
use crate::error::{Error, Result};

/// The longest that a ticket may live; gateways ask for less.
const LONGEST_LIFE: Duration = Duration::from_secs(600);

pub(crate) async fn issue(core: &Core, issue: wire::IssueTicket) -> Result<reply::Result> {
    let life = Duration::from_millis(issue.life_ms);
    if life.is_zero() || life > LONGEST_LIFE {
        return Err(Error::BadRequest(format!("a ticket lives up to {LONGEST_LIFE:?}, not {life:?}")));
    }
    let grant = issue.grant.unwrap_or_default().encode_to_vec();
    core.store.keep_ticket(word("ticket", &issue.ticket)?, grant.into(), life).await?;
    Ok(done())
}

pub(crate) async fn redeem(core: &Core, redeem: wire::RedeemTicket) -> Result<reply::Result> {
    let (ticket, by) = (word("ticket", &redeem.ticket)?, word("by", &redeem.by)?);
    let bytes = core.store.take_ticket(ticket, by).await?;
    let grant = bytes.map(Grant::decode).transpose().map_err(|_| Error::Internal)?;
    Ok(reply::Result::Redeemed(Redeemed { grant }))
}

pub(crate) async fn give_back(core: &Core, back: wire::ReturnTicket) -> Result<reply::Result> {
    core.store.return_ticket(word("ticket", &back.ticket)?, word("by", &back.by)?).await?;
    Ok(done())
}

/// It becomes part of a key, or is kept.
fn word<'a>(name: &str, text: &'a str) -> Result<&'a str> {
    let word = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if word {
        Ok(text)
    } else {
        Err(Error::BadRequest(format!("`{name}` must be 1 to 64 letters and digits")))
    }
}
