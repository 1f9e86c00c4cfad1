//! `edit`, `recall` and `react`: what becomes of messages.

use proto::UserId;
use proto::wire::{self, reply};

use crate::dispatch::Core;
use crate::error::{Error, Result};

pub(crate) async fn edit(_core: &Core, _user: UserId, _asked: wire::Edit) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}

pub(crate) async fn recall(_core: &Core, _user: UserId, _asked: wire::Recall) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}

pub(crate) async fn react(_core: &Core, _user: UserId, _asked: wire::React) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}
