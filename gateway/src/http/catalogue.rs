//! The HTTP resources as one table: method and path, the command, and the form
//! of parameters and answers. The routes ([`crate::http::resources`]) and their
//! description ([`crate::http::openapi`]) are both made from it.

use proto::command::Method;
use proto::limits::{MAX_PAGE, MAX_USERS};
use proto::{Class, CommandKind};

use crate::transport::{poll, stream};

/// One HTTP resource: a method on a path.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// The method.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// The command's `type`, or another name for a resource that is no command.
    pub name: &'static str,
    /// Who serves it.
    pub served: Served,
    /// What it does, in one line; shown in the OpenAPI document.
    pub summary: &'static str,
    /// What a reader must know beyond that; shown in the document; may be
    /// empty.
    pub more: &'static str,
    /// The fields of the path.
    pub in_path: &'static [Field],
    /// The fields of the query, besides those that every resource takes.
    pub in_query: &'static [Field],
    /// The fields of the body; empty: it takes no body.
    pub in_body: &'static [Field],
    /// The form of a successful answer.
    pub answer: Answer,
    /// Statuses of refusals, besides those that every resource has.
    pub refusals: &'static [u16],
}

/// Who serves a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// A command; the resource itself sets these fields.
    Command(CommandKind, &'static [(&'static str, &'static str)]),
    /// Code in a file of its own. Here is only its description, and the class
    /// that a request counts for.
    Elsewhere(Class),
}

/// The class that a request counts for, by its path; only for resources that
/// are no commands.
pub fn class_of(path: &str) -> Option<Class> {
    RESOURCES.iter().find(|resource| resource.path == path).and_then(|resource| match resource.served {
        Served::Elsewhere(class) => Some(class),
        Served::Command(..) => None,
    })
}

/// A field of a path, a query or a body.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// The form of its value.
    pub form: Form,
    /// Whether it is required.
    pub required: bool,
}

/// The forms of fields. The rules themselves are in the parsers
/// ([`crate::protocol::command`], [`proto`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named by the words of PROTOCOL.md §1")]
pub enum Form {
    User,
    Device,
    Conversation,
    /// The conversation id of a group.
    Group,
    Channel,
    ClientMessageId,
    /// The `jti` of a token.
    TokenId,
    /// A time in Unix milliseconds.
    Time,
    /// The `seq` of a message.
    Seq,
    /// A whole number in a range, with a default.
    Number {
        least: u64,
        most: u64,
        default: u64,
    },
    /// Seconds that a poll waits; more than the limit count as the limit.
    Wait,
    /// A user, or a list of users.
    Recipients,
    /// A list of users; in a query joined by commas.
    Users {
        least: usize,
        most: Option<usize>,
    },
    /// A message's body: any JSON.
    Body,
    GroupName,
    /// A role of a group's members.
    Role,
    /// A role of those who are added to a group.
    RoleOfNew,
    Emoji,
    /// A cursor, as the server gave it.
    Cursor,
    /// A cursor, or `start`.
    Start,
    /// Channels, each with the seq after which to read on; joined by commas.
    Channels,
    /// The next page of a list, as the server gave it.
    Page,
    /// A boolean that must be false over HTTP; two-way transports also take
    /// true.
    OnlyFalse,
    /// A function of the page that asks by a script.
    Callback,
    /// A function of the page that contains an iframe, or `postMessage`.
    ParentCallback,
    /// The origin of a web page.
    Origin,
}

/// The forms of successful answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// JSON of this schema.
    Json(&'static str),
    /// A stream of this content type.
    Stream(&'static str),
    /// The response is a WebSocket (101).
    Upgrade,
}

const fn must(name: &'static str, form: Form) -> Field {
    Field { name, form, required: true }
}

const fn may(name: &'static str, form: Form) -> Field {
    Field { name, form, required: false }
}

const CONVERSATION: Field = must("conversation", Form::Conversation);
const GROUP: Field = must("conversation", Form::Group);
const SEQ: Field = must("seq", Form::Seq);
const BODY: Field = must("body", Form::Body);
const CLIENT_MSG_ID: Field = may("client_msg_id", Form::ClientMessageId);
const LIMIT: Field = may("limit", Form::Number { least: 1, most: MAX_PAGE as u64, default: 50 });
const START: Field = may("cursor", Form::Start);
const CHANNELS: Field = may("channels", Form::Channels);
const OF_REACTION: &[Field] = &[CONVERSATION, SEQ, must("emoji", Form::Emoji)];
const STREAMED: &[Field] = &[START, CHANNELS];

/// A resource that is no command, with what most have; the table says the rest.
const PLAIN: Resource = Resource {
    method: Method::Get,
    path: "",
    name: "",
    served: Served::Elsewhere(Class::Attach),
    summary: "",
    more: "",
    in_path: &[],
    in_query: &[],
    in_body: &[],
    answer: Answer::Json("Done"),
    refusals: &[],
};
const STREAM: Resource = Resource { in_query: STREAMED, ..PLAIN };

/// A command, at the first of its routes.
const fn of(kind: CommandKind) -> Resource {
    at(kind, 0, &[])
}

/// A command at one of its routes, which sets these fields.
const fn at(kind: CommandKind, route: usize, fixed: &'static [(&'static str, &'static str)]) -> Resource {
    let (method, path) = kind.routes()[route];
    Resource { method, path, name: kind.as_str(), served: Served::Command(kind, fixed), ..PLAIN }
}

/// A command whose answer depends on the state of a conversation.
const fn of_conversation(kind: CommandKind) -> Resource {
    Resource { in_path: &[CONVERSATION], refusals: &[404], ..of(kind) }
}

/// The same for a message.
const fn of_message(kind: CommandKind) -> Resource {
    Resource { in_path: &[CONVERSATION, SEQ], refusals: &[404, 409], ..of(kind) }
}

/// A reaction, set or taken back.
const fn reaction(route: usize, fixed: &'static [(&'static str, &'static str)]) -> Resource {
    Resource { in_path: OF_REACTION, refusals: &[404, 409], ..at(CommandKind::React, route, fixed) }
}

/// All resources, in the order of the OpenAPI document.
pub const RESOURCES: &[Resource] = &[
    Resource {
        summary: "Sends a message",
        more: "To a user (the direct conversation with them) or to a conversation. Once it is answered the \
               message is kept, and in the inbox of every member. Safe to repeat with the same \
               `client_msg_id` within 24 hours. With the scope `service` also to a list of up to 1,000 users, to \
               each alone: answered with `results`, in the order asked.",
        in_body: &[may("to", Form::Recipients), may("conversation", Form::Conversation), BODY, CLIENT_MSG_ID],
        answer: Answer::Json("SentOrResults"),
        refusals: &[404],
        ..of(CommandKind::Send)
    },
    Resource {
        summary: "Says that this device has everything up to a place in its user's inbox",
        more: "Makes `delivered` receipts. Name the device with `device` where the token does not.",
        in_body: &[must("cursor", Form::Cursor)],
        ..of(CommandKind::Ack)
    },
    Resource {
        summary: "Lists the user's conversations, newest activity first",
        in_query: &[LIMIT, may("page", Form::Page)],
        answer: Answer::Json("Conversations"),
        ..of(CommandKind::Conversations)
    },
    Resource {
        summary: "Makes a group, of which the user is a member and the owner",
        in_body: &[
            must("name", Form::GroupName),
            must("members", Form::Users { least: 0, most: None }),
            may("role", Form::RoleOfNew),
        ],
        answer: Answer::Json("Created"),
        refusals: &[409],
        ..of(CommandKind::CreateGroup)
    },
    Resource {
        summary: "Gives a group another name (its owner and admins may)",
        in_path: &[GROUP],
        in_body: &[must("name", Form::GroupName)],
        refusals: &[404, 409],
        ..of(CommandKind::Rename)
    },
    Resource {
        summary: "Says that the user has read everything up to a message",
        more: "A lower `seq` than before changes nothing; one beyond the newest message is refused.",
        in_body: &[SEQ],
        ..of_conversation(CommandKind::Read)
    },
    Resource {
        summary: "Says that the user is typing",
        more: "Passed on to the other members at most once a second; may be lost.",
        ..of_conversation(CommandKind::Typing)
    },
    Resource {
        summary: "Reads messages, in their present state",
        more: "The newest, or those before or after a `seq` (give one of the two at most).",
        in_query: &[may("before", Form::Seq), may("after", Form::Seq), LIMIT],
        answer: Answer::Json("History"),
        ..of_conversation(CommandKind::History)
    },
    Resource {
        summary: "Gives a message another body (its sender may)",
        in_body: &[BODY],
        ..of_message(CommandKind::Edit)
    },
    Resource {
        summary: "Takes a message's body away (its sender, and the group's owner and admins may)",
        ..of_message(CommandKind::Recall)
    },
    Resource { summary: "Reacts to a message", ..reaction(0, &[("on", "true")]) },
    Resource { summary: "Takes a reaction back", ..reaction(1, &[("on", "false")]) },
    Resource {
        summary: "Lists the members of a conversation, and how far each has received and read",
        answer: Answer::Json("Members"),
        ..of_conversation(CommandKind::Members)
    },
    Resource {
        summary: "Adds members to a group (whoever may write may)",
        in_path: &[GROUP],
        in_body: &[must("members", Form::Users { least: 1, most: None }), may("role", Form::RoleOfNew)],
        refusals: &[404, 409],
        ..of(CommandKind::AddMembers)
    },
    Resource {
        summary: "Gives a member of a group another role (its owner and admins may)",
        in_path: &[GROUP, must("user", Form::User)],
        in_body: &[must("role", Form::Role)],
        refusals: &[404, 409],
        ..of(CommandKind::SetRole)
    },
    Resource {
        summary: "Leaves a group, or removes a member of it (its owner and admins may)",
        in_path: &[GROUP, must("user", Form::User)],
        refusals: &[404, 409],
        ..of(CommandKind::RemoveMember)
    },
    Resource {
        summary: "Says who is online",
        in_query: &[
            must("users", Form::Users { least: 1, most: Some(MAX_USERS) }),
            may("watch", Form::OnlyFalse),
        ],
        answer: Answer::Json("Presence"),
        ..of(CommandKind::Presence)
    },
    Resource {
        summary: "Publishes to a channel's subscribers",
        more: "Needs the scope `publish` or `service`. Safe to repeat like a message.",
        in_path: &[must("channel", Form::Channel)],
        in_body: &[BODY, CLIENT_MSG_ID],
        answer: Answer::Json("Published"),
        ..of(CommandKind::Publish)
    },
    Resource {
        summary: "Ends a user's sessions, or those of one device",
        more: "Needs the scope `service`. The sessions are told `goaway` with the reason `kicked`.",
        in_body: &[must("user", Form::User), may("device", Form::Device)],
        ..of(CommandKind::Kick)
    },
    Resource {
        summary: "Revokes the tokens of a user, or one token",
        more: "Needs the scope `service`. Give `user` (all tokens that were issued before now, or up to `before`) or \
               `jti` (one token, which ends at `until`). When it is answered the revocation is stored; within a \
               second such tokens are refused everywhere, and their sessions told `goaway` with the reason \
               `revoked`. `conflict`: as many revocations are kept as may be.",
        in_body: &[
            may("user", Form::User),
            may("before", Form::Time),
            may("jti", Form::TokenId),
            may("until", Form::Time),
        ],
        refusals: &[409],
        ..of(CommandKind::Revoke)
    },
    Resource {
        method: Method::Post,
        path: "/v1/tickets",
        name: "ticket",
        served: Served::Elsewhere(Class::Attach),
        summary: "Gives a one-time ticket, for places that cannot set headers",
        more: "`?ticket=` opens one connection with it, on any node; a request that is refused does not use it up. \
               It ends with its token, and cannot buy another. A backend that names a user with `as` gets one that \
               is the user's and allows nothing more.",
        answer: Answer::Json("Ticket"),
        ..PLAIN
    },
    Resource {
        path: "/v1/poll",
        name: "poll",
        served: Served::Elsewhere(Class::Read),
        summary: "Events after a cursor, now or when there are some",
        more: "Without a cursor it is answered at once, empty, with the cursor to go on from. \
               `If-None-Match` with the last `ETag` is answered 304 when nothing is new. \
               With `callback` the answer is a script that calls this function of the page (JSONP), where every \
               origin is allowed. \
               The last event may be `goaway`: the session that waited has ended, and says when to come back, if at all.",
        in_query: &[
            START,
            CHANNELS,
            may("wait", Form::Wait),
            may("limit", Form::Number { least: 1, most: poll::MAX_EVENTS, default: poll::DEFAULT_EVENTS }),
            may("callback", Form::Callback),
        ],
        answer: Answer::Json("Poll"),
        ..PLAIN
    },
    Resource {
        path: "/v1/sse",
        name: "sse",
        summary: "Frames as server-sent events",
        more: "Where a session cannot begin for the moment the answer is 200 with a `retry` and no event, for an \
               EventSource gives up for good at a 503 or 429.",
        answer: Answer::Stream("text/event-stream"),
        ..STREAM
    },
    Resource {
        path: "/v1/stream",
        name: "stream",
        summary: "Frames as lines of JSON",
        in_query: &[
            START,
            CHANNELS,
            may("pad", Form::Number { least: 0, most: stream::MAX_PAD, default: 0 }),
        ],
        answer: Answer::Stream("application/x-ndjson"),
        ..STREAM
    },
    Resource {
        path: "/v1/iframe",
        name: "iframe",
        summary: "Frames as scripts of a page that does not end",
        in_query: &[START, CHANNELS, must("callback", Form::ParentCallback), may("origin", Form::Origin)],
        answer: Answer::Stream("text/html; charset=utf-8"),
        ..STREAM
    },
    Resource {
        path: "/v1/ws",
        name: "ws",
        in_query: &[START],
        summary: "Frames over a WebSocket",
        more: "Subprotocols `switchboard.v1.json` (default) and `switchboard.v1.proto`.",
        answer: Answer::Upgrade,
        ..STREAM
    },
];
