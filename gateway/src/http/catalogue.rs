//! The HTTP resources as one table: method and path, the command that each is,
//! and the form of what it takes and answers. The routes ([`crate::http::resources`])
//! and the document about them ([`crate::http::openapi`]) are both made from it.

use axum::routing::MethodFilter;

use crate::protocol::class::Class;
use crate::protocol::command::MAX_USERS;
use crate::transport::{poll, stream};

/// What can be asked for over HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// The method.
    pub method: Method,
    /// The path, with its fields in braces.
    pub path: &'static str,
    /// The command's `type`, or another name where it is none.
    pub name: &'static str,
    /// Who serves it.
    pub served: Served,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What a reader must know beyond that; may be empty.
    pub more: &'static str,
    /// The fields of the path.
    pub in_path: &'static [Field],
    /// The fields of the query, beside those that every resource takes.
    pub in_query: &'static [Field],
    /// The fields of the body; none: it takes no body.
    pub in_body: &'static [Field],
    /// What a good answer is.
    pub answer: Answer,
    /// Statuses of refusals beside those that every resource has.
    pub refusals: &'static [u16],
}

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "as RFC 9110 has them")]
pub enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    /// As a description of an interface writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    /// For a route.
    pub fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    /// Whether requests have a body: one that needs no fields may be empty.
    pub fn has_body(self) -> bool {
        matches!(self, Self::Put | Self::Post)
    }
}

/// Who serves a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// It is a command, with these fields set by the resource itself.
    Command(&'static [(&'static str, &'static str)]),
    /// A file of its own; here it is only described, and what each request
    /// counts for.
    Elsewhere(Class),
}

/// What a request for a resource that is no command counts for, by its path.
pub fn class_of(path: &str) -> Option<Class> {
    RESOURCES.iter().find(|resource| resource.path == path).and_then(|resource| match resource.served {
        Served::Elsewhere(class) => Some(class),
        Served::Command(_) => None,
    })
}

/// A field of a path, a query or a body.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub form: Form,
    /// Whether it must be there.
    pub required: bool,
}

/// What a field may be. The rules themselves are the parsers'
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
    /// A message's number.
    Seq,
    /// A whole number in a range, with a default.
    Number {
        least: u64,
        most: u64,
        default: u64,
    },
    /// Seconds that a poll waits; more than it may are taken as what it may.
    Wait,
    /// A user, or a list of them.
    Recipients,
    /// A list of users; in a query joined by commas.
    Users {
        least: usize,
        most: Option<usize>,
    },
    /// A message's body: any JSON.
    Body,
    GroupName,
    Emoji,
    /// A place in the inbox, as the server gave it.
    Cursor,
    /// The same, or `start`.
    Start,
    /// Channels, each with the seq to read on after; joined by commas.
    Channels,
    /// Where a list goes on, as the server gave it.
    Page,
    /// True or false on two-way transports; here only false.
    OnlyFalse,
    /// A function of the page around an iframe.
    Callback,
    /// Of a web page.
    Origin,
}

/// What a good answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// JSON of this schema.
    Json(&'static str),
    /// A stream of this content type.
    Stream(&'static str),
    /// A WebSocket.
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
const LIMIT: Field = may("limit", Form::Number { least: 1, most: 200, default: 50 });
const START: Field = may("cursor", Form::Start);
const CHANNELS: Field = may("channels", Form::Channels);
const STREAMED: &[Field] = &[START, CHANNELS];

/// A resource with nothing but what most have; the table says the rest.
const PLAIN: Resource = Resource {
    method: Method::Get,
    path: "",
    name: "",
    served: Served::Command(&[]),
    summary: "",
    more: "",
    in_path: &[],
    in_query: &[],
    in_body: &[],
    answer: Answer::Json("Done"),
    refusals: &[],
};

/// What is there for it depends on the state of a conversation.
const OF_CONVERSATION: Resource = Resource { in_path: &[CONVERSATION], refusals: &[404], ..PLAIN };
const OF_MESSAGE: Resource = Resource { in_path: &[CONVERSATION, SEQ], refusals: &[404], ..PLAIN };
const STREAM: Resource = Resource { served: Served::Elsewhere(Class::Attach), in_query: STREAMED, ..PLAIN };

/// Every resource.
pub const RESOURCES: &[Resource] = &[
    Resource {
        method: Method::Post,
        path: "/v1/messages",
        name: "send",
        summary: "Sends a message",
        more: "To a user (the direct conversation with them) or to a conversation. Once it is answered the \
               message is kept, and in the inbox of every member. Safe to repeat with the same \
               `client_msg_id` within 24 hours. With the scope `service` also to a list of up to 1,000 users, to \
               each alone: answered with `results`, in the order asked.",
        in_body: &[may("to", Form::Recipients), may("conversation", Form::Conversation), BODY, CLIENT_MSG_ID],
        answer: Answer::Json("SentOrResults"),
        refusals: &[404],
        ..PLAIN
    },
    Resource {
        method: Method::Post,
        path: "/v1/ack",
        name: "ack",
        summary: "Says that this device has everything up to a place in its user's inbox",
        more: "Makes `delivered` receipts. Name the device with `device` where the token does not.",
        in_body: &[must("cursor", Form::Cursor)],
        ..PLAIN
    },
    Resource {
        path: "/v1/conversations",
        name: "conversations",
        summary: "Lists the user's conversations, newest activity first",
        in_query: &[LIMIT, may("page", Form::Page)],
        answer: Answer::Json("Conversations"),
        ..PLAIN
    },
    Resource {
        method: Method::Post,
        path: "/v1/conversations",
        name: "create_group",
        summary: "Makes a group, of which the user is a member and the owner",
        in_body: &[must("name", Form::GroupName), must("members", Form::Users { least: 0, most: None })],
        answer: Answer::Json("Created"),
        refusals: &[409],
        ..PLAIN
    },
    Resource {
        method: Method::Put,
        path: "/v1/conversations/{conversation}",
        name: "rename",
        summary: "Gives a group another name (its owner may)",
        in_path: &[GROUP],
        in_body: &[must("name", Form::GroupName)],
        refusals: &[404, 409],
        ..PLAIN
    },
    Resource {
        method: Method::Post,
        path: "/v1/conversations/{conversation}/read",
        name: "read",
        summary: "Says that the user has read everything up to a message",
        more: "A lower `seq` than before changes nothing; one beyond the newest message is refused.",
        in_body: &[SEQ],
        ..OF_CONVERSATION
    },
    Resource {
        method: Method::Post,
        path: "/v1/conversations/{conversation}/typing",
        name: "typing",
        summary: "Says that the user is typing",
        more: "Passed on to the other members at most once a second; may be lost.",
        ..OF_CONVERSATION
    },
    Resource {
        path: "/v1/conversations/{conversation}/messages",
        name: "history",
        summary: "Reads messages, in their present state",
        more: "The newest, or those before or after a `seq` (give one of the two at most).",
        in_query: &[may("before", Form::Seq), may("after", Form::Seq), LIMIT],
        answer: Answer::Json("History"),
        ..OF_CONVERSATION
    },
    Resource {
        method: Method::Put,
        path: "/v1/conversations/{conversation}/messages/{seq}",
        name: "edit",
        summary: "Gives a message another body (its sender may)",
        in_body: &[BODY],
        refusals: &[404, 409],
        ..OF_MESSAGE
    },
    Resource {
        method: Method::Delete,
        path: "/v1/conversations/{conversation}/messages/{seq}",
        name: "recall",
        summary: "Takes a message's body away (its sender or the group's owner may)",
        refusals: &[404, 409],
        ..OF_MESSAGE
    },
    Resource {
        method: Method::Put,
        path: "/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}",
        name: "react",
        served: Served::Command(&[("on", "true")]),
        summary: "Reacts to a message",
        in_path: &[CONVERSATION, SEQ, must("emoji", Form::Emoji)],
        refusals: &[404, 409],
        ..OF_MESSAGE
    },
    Resource {
        method: Method::Delete,
        path: "/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}",
        name: "react",
        served: Served::Command(&[("on", "false")]),
        summary: "Takes a reaction back",
        in_path: &[CONVERSATION, SEQ, must("emoji", Form::Emoji)],
        refusals: &[404, 409],
        ..OF_MESSAGE
    },
    Resource {
        path: "/v1/conversations/{conversation}/members",
        name: "members",
        summary: "Lists the members of a conversation, and how far each has received and read",
        answer: Answer::Json("Members"),
        ..OF_CONVERSATION
    },
    Resource {
        method: Method::Post,
        path: "/v1/conversations/{conversation}/members",
        name: "add_members",
        summary: "Adds members to a group (any member may)",
        in_path: &[GROUP],
        in_body: &[must("members", Form::Users { least: 1, most: None })],
        refusals: &[404, 409],
        ..PLAIN
    },
    Resource {
        method: Method::Delete,
        path: "/v1/conversations/{conversation}/members/{user}",
        name: "remove_member",
        summary: "Leaves a group, or removes a member of it (its owner may)",
        in_path: &[GROUP, must("user", Form::User)],
        refusals: &[404, 409],
        ..PLAIN
    },
    Resource {
        path: "/v1/presence",
        name: "presence",
        summary: "Says who is online",
        in_query: &[
            must("users", Form::Users { least: 1, most: Some(MAX_USERS) }),
            may("watch", Form::OnlyFalse),
        ],
        answer: Answer::Json("Presence"),
        ..PLAIN
    },
    Resource {
        method: Method::Post,
        path: "/v1/channels/{channel}/messages",
        name: "publish",
        summary: "Publishes to a channel's subscribers",
        more: "Needs the scope `publish` or `service`. Safe to repeat like a message.",
        in_path: &[must("channel", Form::Channel)],
        in_body: &[BODY, CLIENT_MSG_ID],
        answer: Answer::Json("Published"),
        ..PLAIN
    },
    Resource {
        method: Method::Post,
        path: "/v1/kick",
        name: "kick",
        summary: "Ends a user's sessions, or those of one device",
        more: "Needs the scope `service`. The sessions are told `goaway` with the reason `kicked`.",
        in_body: &[must("user", Form::User), may("device", Form::Device)],
        ..PLAIN
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
               The last event may be `goaway`: the session that waited has ended, and says when to come back, if at all.",
        in_query: &[
            START,
            CHANNELS,
            may("wait", Form::Wait),
            may("limit", Form::Number { least: 1, most: poll::MAX_EVENTS, default: poll::DEFAULT_EVENTS }),
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
        in_query: &[START, CHANNELS, must("callback", Form::Callback), may("origin", Form::Origin)],
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
