//! The words that all of Switchboard shares: identifiers and places as types,
//! error codes and reasons, and the protobuf messages of the gRPC contract and
//! the bus. No I/O and no clock.
//!
//! In reading order: [`id`] (who and where), [`label`] (texts for people),
//! [`place`] (seq, position, cursor), [`bookmark`] (a cursor with places in
//! channels), [`command`] (what clients ask for),
//! [`limits`] (of what they ask), [`request`] (what gateways ask of routers), [`outcome`] (error codes, the ends of sessions, resets),
//! [`allowance`] (what a user may do at a rate), [`weight`] (what may go
//! together), [`secret_url`] (a URL that is never shown whole), [`wire`] (the
//! generated messages) and [`codec`] (how gRPC has them written).

pub mod allowance;
pub mod bookmark;
pub mod codec;
pub mod command;
pub mod id;
pub mod label;
pub mod limits;
pub mod outcome;
pub mod place;
pub mod request;
pub mod secret_url;
pub mod weight;
pub mod wire;

pub use allowance::{Allowance, Rate};
pub use bookmark::{Bookmark, ChannelPlaces, MAX_CHANNELS};
pub use command::{Class, CommandKind};
pub use id::{
    ChannelId, ClientMessageId, ConversationId, DeviceId, Invalid, NodeIncarnation, SessionId, UserId,
};
pub use outcome::{End, ErrorCode, ResetReason};
pub use place::{Cursor, Fingerprint, Position, Seq, StoreIncarnation};
pub use request::RequestKind;
pub use secret_url::SecretUrl;
pub use weight::{Bound, Load};
