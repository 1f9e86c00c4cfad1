//! Channels: `publish`, and what nodes need for their subscribers.

use proto::UserId;
use proto::wire::{self, reply};

use crate::dispatch::Core;
use crate::error::{Error, Result};

pub(crate) async fn publish(_core: &Core, _user: UserId, _asked: wire::Publish) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}

pub(crate) async fn join(_core: &Core, _user: UserId, _asked: wire::JoinChannel) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}

pub(crate) async fn leave(_core: &Core, _user: UserId, _asked: wire::LeaveChannel) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}

pub(crate) async fn read(_core: &Core, _user: UserId, _asked: wire::ReadChannel) -> Result<reply::Result> {
    Err(Error::Unavailable("this router does not have it yet"))
}
