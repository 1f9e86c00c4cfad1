//! The commands of clients as one table: what each is called, what it counts for,
//! where HTTP has it, and its number in protobuf. Gateways parse and limit by it,
//! metrics, OpenAPI and `client.proto` are held to it. A command that is missing
//! somewhere does not compile, or fails a test here.

/// A class of commands and requests, with a limit of its own for each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Changes a conversation or a channel.
    Write,
    /// Brings users into a conversation that they did not ask for.
    Invite,
    /// Reads pages.
    Read,
    /// Says how far one is, or that one is there.
    Signal,
    /// Begins a session or proves who one is.
    Attach,
    /// Whatever a backend does: a token with the scope `service`.
    Service,
}

impl Class {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Write, Self::Invite, Self::Read, Self::Signal, Self::Attach, Self::Service];

    /// For metrics and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Invite => "invite",
            Self::Read => "read",
            Self::Signal => "signal",
            Self::Attach => "attach",
            Self::Service => "service",
        }
    }

    /// Between gateways and routers.
    pub fn number(self) -> u32 {
        self as u32
    }
}

/// The methods that resources have (RFC 9110 §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "as RFC 9110 has them")]
pub enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    /// In lower case, as descriptions of interfaces write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    /// Whether requests have a body; one that needs no fields may be empty.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Put | Self::Post)
    }
}

/// Where HTTP has a command: the method, and the path with its fields in braces.
pub type Route = (Method, &'static str);

/// A row of the table for each command, in the order of PROTOCOL.md §5.
macro_rules! commands {
    ($(
        $(#[$doc:meta])*
        $name:ident: $word:literal, $class:ident, $number:expr, [$($method:ident $path:literal),*];
    )*) => {
        /// A command of PROTOCOL.md §5.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum CommandKind {
            $($(#[$doc])* $name),*
        }

        impl CommandKind {
            /// Every command.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            /// Their names.
            pub const NAMES: &[&str] = &[$($word),*];

            /// Its `type` in a frame, and its label in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// The command of this name.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($word => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The class that it counts for, unless a backend gives it.
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class),* }
            }

            /// Its field in the protobuf `Command`; none where it has no such form.
            pub const fn protobuf(self) -> Option<u32> {
                match self { $(Self::$name => $number),* }
            }

            /// Where HTTP has it; nowhere, where only two-way transports do.
            pub const fn routes(self) -> &'static [Route] {
                match self { $(Self::$name => &[$((Method::$method, $path)),*]),* }
            }
        }
    };
}

commands! {
    /// A message.
    Send: "send", Write, Some(3), [Post "/v1/messages"];
    /// This device has everything up to a position.
    Ack: "ack", Signal, Some(4), [Post "/v1/ack"];
    /// The user has read everything up to a message.
    Read: "read", Signal, Some(5), [Post "/v1/conversations/{conversation}/read"];
    /// The user is typing.
    Typing: "typing", Signal, Some(6), [Post "/v1/conversations/{conversation}/typing"];
    /// A new body for a message.
    Edit: "edit", Write, Some(16), [Put "/v1/conversations/{conversation}/messages/{seq}"];
    /// A message loses its body.
    Recall: "recall", Write, Some(17), [Delete "/v1/conversations/{conversation}/messages/{seq}"];
    /// A reaction to a message, set or taken back.
    React: "react", Write, Some(18), [
        Put "/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}",
        Delete "/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}"
    ];
    /// Messages of a conversation.
    History: "history", Read, Some(7), [Get "/v1/conversations/{conversation}/messages"];
    /// The user's conversations.
    Conversations: "conversations", Read, Some(8), [Get "/v1/conversations"];
    /// A new group.
    CreateGroup: "create_group", Invite, Some(9), [Post "/v1/conversations"];
    /// Who is in a conversation.
    Members: "members", Read, Some(10), [Get "/v1/conversations/{conversation}/members"];
    /// New members for a group.
    AddMembers: "add_members", Invite, Some(11), [Post "/v1/conversations/{conversation}/members"];
    /// A member leaves or is removed.
    RemoveMember: "remove_member", Write, Some(12), [Delete "/v1/conversations/{conversation}/members/{user}"];
    /// Another role for a member.
    SetRole: "set_role", Write, Some(23), [Put "/v1/conversations/{conversation}/members/{user}"];
    /// A new name for a group.
    Rename: "rename", Write, Some(13), [Put "/v1/conversations/{conversation}"];
    /// Who is online.
    Presence: "presence", Read, Some(19), [Get "/v1/presence"];
    /// What is published to a channel, from now on.
    Subscribe: "subscribe", Read, Some(20), [];
    /// Nothing more of a channel.
    Unsubscribe: "unsubscribe", Read, Some(21), [];
    /// Something for a channel's subscribers.
    Publish: "publish", Write, Some(22), [Post "/v1/channels/{channel}/messages"];
    /// The end of a user's sessions.
    Kick: "kick", Write, None, [Post "/v1/kick"];
    /// Tokens that are not believed any more.
    Revoke: "revoke", Write, None, [Post "/v1/revoke"];
    /// A new token for this session.
    Auth: "auth", Attach, Some(14), [];
    /// A sign of life.
    Ping: "ping", Signal, Some(15), [];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of the `oneof` in the message `Command` of `client.proto`.
    fn numbers() -> Vec<(String, u32)> {
        let text = include_str!("../proto/client.proto");
        let (_, command) = text.split_once("message Command {").expect("the message is there");
        let (_, oneof) = command.split_once("oneof command {").expect("and its oneof");
        let (fields, _) = oneof.split_once('}').expect("which ends");
        let lines = fields.lines().map(str::trim).filter(|line| line.ends_with(';'));
        let field = |line: &str| {
            let (left, number) = line.trim_end_matches(';').split_once(" = ")?;
            Some((left.split_whitespace().last()?.to_owned(), number.parse().ok()?))
        };
        lines.map(|line| field(line).expect(line)).collect()
    }

    #[test]
    fn client_proto_numbers_the_commands_as_the_table_does() {
        let mut table: Vec<_> = CommandKind::ALL
            .iter()
            .filter_map(|kind| Some((kind.as_str().to_owned(), kind.protobuf()?)))
            .collect();
        let mut of_proto = numbers();
        table.sort();
        of_proto.sort();
        assert_eq!(of_proto, table);
    }

    #[test]
    fn a_name_and_a_route_are_one_commands() {
        let mut routes: Vec<Route> = Vec::new();
        for kind in CommandKind::ALL {
            assert_eq!(CommandKind::parse(kind.as_str()), Some(*kind));
            routes.extend(kind.routes());
        }
        let count = routes.len();
        routes.sort_unstable();
        routes.dedup();
        assert_eq!(routes.len(), count);
        assert_eq!(CommandKind::parse("no_such_command"), None);
    }

    #[test]
    fn classes_are_numbered_in_their_order() {
        for (number, class) in Class::ALL.iter().enumerate() {
            assert_eq!(class.number() as usize, number);
        }
    }
}
