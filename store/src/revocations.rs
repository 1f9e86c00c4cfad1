//! What both stores do with revocations: the names under which they are kept, and
//! how nodes are told.

use proto::wire::{self, Notice, notice};
use proto::{NodeIncarnation, Revocation, RevokedTokens, Time, TokenId, UserId};

use crate::{Error, Result};

/// Revocations in one notice at most: far less than an envelope holds.
const IN_NOTICE: usize = 256;

/// The name under which a revocation is kept. There is one for each user and each
/// token.
pub(crate) fn name(tokens: &RevokedTokens) -> String {
    match tokens {
        RevokedTokens::Of(user) => format!("u:{user}"),
        RevokedTokens::One(id) => format!("j:{id}"),
    }
}

/// The revocation that is kept under a name. Fails with `Corrupt` for another one.
pub(crate) fn named(name: &str, before: u64, until: u64) -> Result<Revocation> {
    let corrupt = || Error::Corrupt("the name of a revocation".into());
    let tokens = match name.split_once(':') {
        Some(("u", user)) => RevokedTokens::Of(UserId::parse(user).map_err(|_| corrupt())?),
        Some(("j", id)) => RevokedTokens::One(TokenId::parse(id).map_err(|_| corrupt())?),
        _ => return Err(corrupt()),
    };
    Ok(Revocation { tokens, before: Time(before), until: Time(until) })
}

/// What tells these nodes of revocations.
pub(crate) fn notices<'r>(
    nodes: &[NodeIncarnation],
    revocations: impl Iterator<Item = &'r Revocation>,
) -> Vec<(NodeIncarnation, Notice)> {
    let all: Vec<wire::Revocation> = revocations.map(Into::into).collect();
    let notice = |some: &[wire::Revocation]| Notice {
        what: Some(notice::What::Revoked(wire::Revocations { revocations: some.to_vec() })),
        ..Notice::default()
    };
    let notices: Vec<Notice> = all.chunks(IN_NOTICE).map(notice).collect();
    nodes.iter().flat_map(|node| notices.iter().map(|notice| (node.clone(), notice.clone()))).collect()
}
