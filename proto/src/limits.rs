//! Limits of PROTOCOL.md §1 and §5 that gateways and routers both check: a router
//! trusts no gateway, and a gateway refuses before it costs a router anything.
//! (Names and emoji: [`crate::label`]; ids: [`crate::id`].)

/// Bytes of a message's body at most, as sent.
pub const MAX_BODY_BYTES: usize = 65_536;
/// Bytes of a frame or an HTTP request at most.
pub const MAX_FRAME_BYTES: usize = 262_144;
/// Users that one message is sent to at once, at most.
pub const MAX_RECIPIENTS: usize = 1_000;
/// Users whose presence is asked for at once, at most.
pub const MAX_USERS: usize = 500;
/// Messages or conversations on one page at most.
pub const MAX_PAGE: u32 = 200;
/// Events that one poll is answered with, at most.
pub const MAX_EVENTS: u32 = 1_000;
/// Marks that one `ack` names at most.
pub const MAX_NAMED_MARKS: usize = 1_000;
