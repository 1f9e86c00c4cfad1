//! One-time tickets: keys that expire. The first request takes a ticket, and
//! may give it back.

use std::time::Duration;

use bytes::Bytes;
use fred::types::Value;
use smallvec::smallvec;

use super::connection::Item;
use super::conversation::only;
use super::key::Bucket;
use super::{Redis, script, write};
use crate::Result;

impl Redis {
    pub(super) async fn keep(&self, ticket: &str, grant: Bytes, life: Duration) -> Result<()> {
        let mut item = item(ticket);
        item.args.push(Value::Bytes(grant));
        item.args.push(write::number(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)));
        only(self.read.run(&script::KEEP_TICKET, &[], vec![item], 1).await?)?;
        Ok(())
    }

    pub(super) async fn take(&self, ticket: &str, by: &str) -> Result<Option<Bytes>> {
        let mut item = item(ticket);
        item.args.push(write::text(by));
        let mut row = only(self.read.run(&script::TAKE_TICKET, &[], vec![item], 1).await?)?;
        let theirs = row.number()? == 1;
        let grant = row.bytes()?;
        Ok(theirs.then_some(grant))
    }

    pub(super) async fn give_back(&self, ticket: &str, by: &str) -> Result<()> {
        let mut item = item(ticket);
        item.args.push(write::text(by));
        only(self.read.run(&script::RETURN_TICKET, &[], vec![item], 1).await?)?;
        Ok(())
    }
}

fn item(ticket: &str) -> Item {
    let bucket = Bucket::of(ticket);
    Item::new(bucket, smallvec![Value::Integer(bucket.0.into()), write::text(ticket)])
}
