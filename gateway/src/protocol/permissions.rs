//! What a token allows (PROTOCOL.md §3): its scopes, the channels that its user may
//! subscribe to, and the users whose presence its user may see.

use proto::{ChannelId, Names, UserId};

use super::command::Command;
use super::failure::Failure;
use super::scopes::Scopes;

/// What one token allows. The default allows what every user may where a deployment
/// narrows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// What it allows beyond acting as its user.
    pub scopes: Scopes,
    /// The channels that its user may subscribe to.
    pub subscribe: Names,
    /// The users whose presence its user may see, beside the own.
    pub presence: Names,
}

impl Permissions {
    /// Fails with `forbidden` unless this allows `user` the command.
    pub fn permit(&self, user: &UserId, command: &Command) -> Result<(), Failure> {
        match command {
            Command::Subscribe { channel, .. } => self.permit_channel(channel),
            Command::Presence { users, .. } => {
                let hidden = users.iter().find(|other| *other != user && !self.presence.has(other.as_str()));
                match hidden.filter(|_| !self.scopes.service) {
                    Some(other) => Err(Failure::forbidden(format!(
                        "to see whether {other} is online the token needs this user in its claim `presence`"
                    ))),
                    None => Ok(()),
                }
            }
            command => command.permit(self.scopes),
        }
    }

    /// Fails with `forbidden` unless its user may subscribe to the channel.
    pub fn permit_channel(&self, channel: &ChannelId) -> Result<(), Failure> {
        if self.scopes.service || self.subscribe.has(channel.as_str()) {
            return Ok(());
        }
        Err(Failure::forbidden(format!(
            "to subscribe to {channel} the token needs this channel in its claim `subscribe`"
        )))
    }
}

#[cfg(test)]
mod tests {
    use proto::ErrorCode;

    use super::*;

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    fn allows(permissions: &Permissions, command: &Command) -> bool {
        match permissions.permit(&user("alice"), command) {
            Ok(()) => true,
            Err(failure) => {
                assert_eq!(failure.code, ErrorCode::Forbidden, "{failure}");
                false
            }
        }
    }

    #[test]
    fn channels_and_presence_are_what_the_patterns_say() {
        let narrow = Permissions {
            scopes: Scopes::default(),
            subscribe: Names::parse(["c_news", "c_team.*"]).unwrap(),
            presence: Names::parse(["bob", "team-*"]).unwrap(),
        };
        let service = Permissions { scopes: Scopes { service: true, publish: false }, ..narrow.clone() };
        let subscribe = |name| Command::Subscribe { channel: ChannelId::parse(name).unwrap(), after: None };
        let presence = |users: &[&str]| Command::Presence {
            users: users.iter().map(|id| user(id)).collect(),
            watch: false,
        };
        for (command, allowed) in [
            (subscribe("c_news"), true),
            (subscribe("c_team.7"), true),
            (subscribe("c_sport"), false),
            (presence(&["bob", "team-9"]), true),
            (presence(&["alice"]), true),
            (presence(&["bob", "carol"]), false),
            (Command::Ping, true),
        ] {
            assert_eq!(allows(&narrow, &command), allowed, "{command:?}");
            assert!(allows(&service, &command) && allows(&Permissions::default(), &command));
        }
    }
}
