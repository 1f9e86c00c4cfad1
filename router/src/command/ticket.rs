//! One-time tickets. One router keeps what a ticket stands for; any router gives it
//! out, once.

use std::time::Duration;

use prost::Message as _;
use proto::wire::{self, Grant, Redeemed, reply};
use proto::{DeviceId, MAX_PATTERNS, Pattern, TokenId, UserId};

use super::{done, field, number};
use crate::core::Core;
use crate::error::{Error, Result};

/// The longest life of a ticket. Gateways ask for less.
const LONGEST_LIFE: Duration = Duration::from_secs(600);
/// Scopes of one ticket at most. There are two that mean something.
const MOST_SCOPES: usize = 16;

/// Keeps what a ticket stands for.
pub(crate) async fn issue(core: &Core, issue: wire::IssueTicket) -> Result<reply::Result> {
    let life = Duration::from_millis(issue.life_ms);
    if life.is_zero() || life > LONGEST_LIFE {
        return Err(Error::BadRequest(format!("a ticket lives up to {LONGEST_LIFE:?}, not {life:?}")));
    }
    let grant = issue.grant.ok_or_else(|| Error::BadRequest("`grant` is missing".to_owned()))?;
    check(&grant)?;
    let grant = grant.encode_to_vec();
    core.store.keep_ticket(word("ticket", &issue.ticket)?, grant.into(), life).await?;
    Ok(done())
}

/// Gives what a ticket stands for to the first who asks.
pub(crate) async fn redeem(core: &Core, redeem: wire::RedeemTicket) -> Result<reply::Result> {
    let (ticket, by) = (word("ticket", &redeem.ticket)?, word("by", &redeem.by)?);
    let bytes = core.store.take_ticket(ticket, by).await?;
    let grant = bytes.map(Grant::decode).transpose().map_err(|_| Error::Internal)?;
    Ok(reply::Result::Redeemed(Redeemed { grant }))
}

/// Lets a ticket be used again that was taken and not used.
pub(crate) async fn give_back(core: &Core, back: wire::ReturnTicket) -> Result<reply::Result> {
    core.store.return_ticket(word("ticket", &back.ticket)?, word("by", &back.by)?).await?;
    Ok(done())
}

/// What the ticket stands for is read by whichever gateway it is shown to.
fn check(grant: &Grant) -> Result<()> {
    field::<UserId>("grant.user", &grant.user)?;
    if !grant.device.is_empty() {
        field::<DeviceId>("grant.device", &grant.device)?;
    }
    if grant.scopes.len() > MOST_SCOPES {
        return Err(Error::BadRequest(format!("`grant.scopes` has more than {MOST_SCOPES} scopes")));
    }
    for (name, patterns) in [("grant.subscribe", &grant.subscribe), ("grant.presence", &grant.presence)] {
        // Those of a flag and those of a token.
        if patterns.len() > 2 * MAX_PATTERNS {
            return Err(Error::BadRequest(format!("`{name}` has more than {} names", 2 * MAX_PATTERNS)));
        }
        patterns.iter().try_for_each(|pattern| field::<Pattern>(name, pattern).map(drop))?;
    }
    grant.scopes.iter().try_for_each(|scope| word("grant.scopes", scope).map(drop))?;
    field::<UserId>("grant.holder", &grant.holder)?;
    if !grant.jti.is_empty() {
        field::<TokenId>("grant.jti", &grant.jti)?;
    }
    let times =
        [("grant.expires", grant.expires), ("grant.issued", grant.issued), ("grant.bought", grant.bought)];
    times.into_iter().try_for_each(|(name, time)| number(name, time).map(drop))
}

/// Checks a word that becomes part of a key of the store.
fn word<'a>(name: &str, text: &'a str) -> Result<&'a str> {
    let word = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if word {
        Ok(text)
    } else {
        Err(Error::BadRequest(format!("`{name}` must be 1 to 64 letters and digits")))
    }
}
