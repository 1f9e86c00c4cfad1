//! `kick`: a backend ends sessions.

use proto::UserId;
use proto::wire::{self, reply};

use crate::dispatch::Core;
use crate::error::{Error, Result};

pub(crate) async fn kick(_core: &Core, _user: UserId, _asked: wire::Kick) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}
