//! `revoke`: tokens that are not believed any more. The router checks the form; the
//! gateways know tokens, and refuse them.

use proto::Revocation;
use proto::wire::{self, reply};
use store::model::{RevocationPage, RevokeResult};

use super::{done, number};
use crate::core::Core;
use crate::error::{Error, Result};

/// The store's call for a revocation.
pub(crate) fn revocation(asked: wire::Revoke) -> Result<Revocation> {
    let asked = asked.revocation.ok_or_else(|| Error::BadRequest("`revocation` is missing".to_owned()))?;
    number("before", asked.before)?;
    number("until", asked.until)?;
    if !asked.user.is_empty() && !asked.jti.is_empty() {
        return Err(Error::BadRequest("`user` and `jti` are not given together".to_owned()));
    }
    Revocation::try_from(asked).map_err(|(field, invalid)| Error::field(field, invalid))
}

/// The answer to it, when the nodes have been told.
pub(crate) fn revoked(result: RevokeResult) -> Result<reply::Result> {
    match result {
        RevokeResult::Done => Ok(done()),
        RevokeResult::Full => Err(Error::Conflict(
            "as many revocations are kept as may be (--max-revocations of the routers)".to_owned(),
        )),
    }
}

/// A page of those that are kept.
pub(crate) async fn read(core: &Core, asked: wire::ReadRevocations) -> Result<reply::Result> {
    let RevocationPage { revocations, last, head } =
        core.store.revocations(number("after", asked.after)?).await?;
    let revocations = revocations.iter().map(Into::into).collect();
    Ok(reply::Result::Revocations(wire::RevocationPage { revocations, last, head }))
}
