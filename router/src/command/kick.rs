//! `kick`: a backend ends sessions. They are told through their nodes, which
//! then end them as any other.

use proto::wire::{self, Notice, notice, reply};
use proto::{DeviceId, UserId};

use super::{done, field};
use crate::core::Core;
use crate::error::Result;

/// Answers when the nodes have been told, or there was nobody to tell.
pub(crate) async fn kick(core: &Core, user: UserId, asked: wire::Kick) -> Result<reply::Result> {
    let device: Option<DeviceId> = match asked.device.as_str() {
        "" => None,
        device => Some(field("device", device)?),
    };
    let mut sessions = core.store.locate(std::slice::from_ref(&user)).await?.pop().unwrap_or_default();
    sessions.retain(|location| device.as_ref().is_none_or(|device| location.device == *device));
    let notices: Vec<_> = sessions
        .into_iter()
        .map(|location| {
            let what = Some(notice::What::Kicked(wire::Kicked {}));
            let (users, session) = (vec![user.to_string()], location.session.into());
            (location.node, Notice { users, session, what })
        })
        .collect();
    if !notices.is_empty() {
        // Not through the queue of notices, which may give one up. All notices of
        // one node go in one envelope.
        core.store.publish(notices).await?;
    }
    Ok(done())
}
