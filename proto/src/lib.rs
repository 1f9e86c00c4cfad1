//! What all crates of Switchboard share: identifiers, positions, commands,
//! limits, error codes and reasons as types, and the generated protobuf
//! messages. No I/O; one place reads the clock ([`time`]).
//!
//! In reading order: [`id`] (users, conversations, nodes), [`label`] (texts for
//! people), [`scanner`] (a walk over JSON), [`json`] (what every reader can read),
//! [`position`] (seq, position, cursor), [`bookmark`] (a cursor that also covers
//! channels), [`command`] (what clients ask for), [`limits`] (the
//! limits of commands), [`role`] (what members of groups may do), [`request`] (what gateways ask routers), [`revocation`]
//! (tokens that are not believed any more), [`outcome`]
//! (error codes, ends of sessions, resets), [`allowance`] (rate limits),
//! [`pattern`] (beginnings of names),
//! [`weight`] (limits of batches and pages), [`secret_url`] (a URL that hides
//! its secrets when it is printed), [`time`] (moments), [`wire`] (the generated
//! messages), [`codec`] (how gRPC encodes them) and [`mod@form`] (which processes
//! and data go together).

pub mod allowance;
pub mod bookmark;
pub mod codec;
pub mod command;
pub mod form;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod id;
pub mod json;
pub mod label;
pub mod limits;
pub mod outcome;
pub mod pattern;
pub mod position;
pub mod request;
pub mod revocation;
pub mod role;
pub mod scanner;
pub mod secret_url;
pub mod time;
pub mod weight;
pub mod wire;

pub use allowance::{Allowance, Rate};
pub use bookmark::{Bookmark, ChannelSeqs, MAX_CHANNELS};
pub use command::{Class, CommandKind};
pub use form::{FORM, Form};
pub use id::{
    ChannelId, ClientMessageId, ConversationId, DeviceId, FormError, NodeIncarnation, SessionId, TokenId,
    UserId,
};
pub use outcome::{End, ErrorCode, ResetReason};
pub use pattern::{MAX_PATTERNS, Names, Pattern};
pub use position::{Cursor, Fingerprint, Position, Seq, StoreIncarnation};
pub use request::RequestKind;
pub use revocation::{Revocation, RevokedTokens};
pub use role::Role;
pub use secret_url::SecretUrl;
pub use time::{Time, TokenEnd};
pub use weight::{Bound, Load};
