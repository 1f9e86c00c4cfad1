//! `presence`: who is online, and who is told of it.

use proto::UserId;
use proto::wire::{self, reply};

use crate::dispatch::Core;
use crate::error::{Error, Result};

pub(crate) async fn ask(_core: &Core, _user: UserId, _asked: wire::AskPresence) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}

pub(crate) async fn unwatch(_core: &Core, _user: UserId, _asked: wire::Unwatch) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}
