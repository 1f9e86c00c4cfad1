//! Revocations of tokens: one set for the whole store, in the order of their
//! numbers and of their ends.

use proto::Revocation;

use super::{Redis, script, write};
use crate::model::{REVOCATIONS, RevocationPage, RevokeResult};
use crate::revocations::{name, named, notices};
use crate::{Result, Store as _};

impl Redis {
    pub(super) async fn revoke_all(&self, batch: &[Revocation]) -> Result<Vec<RevokeResult>> {
        let mut results = Vec::with_capacity(batch.len());
        for some in batch.chunks(REVOCATIONS) {
            let mut args = vec![write::number(self.bounds.revocations)];
            for Revocation { tokens, before, until } in some {
                args.extend([write::text(&name(tokens)), write::number(before.0), write::number(until.0)]);
            }
            let mut row = self.append.run_common(&script::REVOKE, args).await?;
            for _ in some {
                results.push(if row.number()? == 1 { RevokeResult::Done } else { RevokeResult::Full });
            }
        }
        self.wait_for_replicas().await?;
        let stored = batch.iter().zip(&results).filter(|(_, result)| **result == RevokeResult::Done);
        let nodes: Vec<_> = self.upkeep.look_who_lives().await?.iter().cloned().collect();
        self.publish(notices(&nodes, stored.map(|(revocation, _)| revocation))).await?;
        Ok(results)
    }

    pub(super) async fn revocations_after(&self, after: u64) -> Result<RevocationPage> {
        let args = vec![write::number(after), write::number(REVOCATIONS as u64)];
        let mut row = self.read.run_common(&script::REVOCATIONS, args).await?;
        let head = row.number()?;
        let (mut revocations, mut last) = (Vec::new(), after);
        while !row.is_done() {
            last = row.number()?;
            let name = row.text()?;
            revocations.push(named(&name, row.number()?, row.number()?)?);
        }
        if revocations.len() < REVOCATIONS {
            last = head;
        }
        Ok(RevocationPage { revocations, last, head })
    }
}
