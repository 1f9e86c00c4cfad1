//! Sessions: one device's presence on this node, which outlives its connections.
//! [`handle`] is the session itself, fed by the bus and emptied by its transport;
//! `state` holds what it does next, `log_reader` how far it has read a log, `outbox`
//! its frames, `marks` the delivered and read marks that it is owed, `subscriptions`
//! its channels, `ending` its end, `handed_out` what its client has not acknowledged,
//! `gathered_acks` which acknowledgements wait for others.
//! [`sessions`] are all of them with what they share; [`tail`] is the reading end that
//! a transport owns. [`hub`] finds the sessions of a user, [`bus_reader`] feeds them
//! (`later_release`: what they cannot show), [`presence`] is whom they watch,
//! [`newest_marks`] and [`receipts`] decide which receipts they are given,
//! [`between_polls`] keeps sessions whose next poll is to come, [`positions`] is where
//! a reader of channels is, [`proof`] is what is remembered of a token, [`revocations`]
//! are the tokens that are not believed any more, [`expiry`] and [`farewell`] end
//! sessions.

pub mod between_polls;
pub mod bus_reader;
pub mod channel_page;
mod ending;
pub mod expiry;
pub mod farewell;
pub(crate) mod gathered_acks;
mod handed_out;
pub mod handle;
pub mod hub;
pub(crate) mod later_release;
pub(crate) mod log_reader;
mod marks;
pub mod newest_marks;
mod outbox;
pub mod positions;
pub mod presence;
pub mod proof;
pub mod receipts;
pub mod revocations;
pub mod sessions;
mod state;
pub(crate) mod subscribed;
mod subscriptions;
pub mod tail;

pub(crate) use ending::reconnect_in_ms;
pub(crate) use handed_out::AckClaim;
pub(crate) use handle::PageRequest;
pub use handle::{CatchUp, NextStep, OfferOutcome, Session};
pub(crate) use marks::{MarksAsked, Since};
pub use proof::Proof;
pub use revocations::Revocations;
pub use sessions::{SessionConfig, Sessions};
pub(crate) use subscriptions::{Missing, Start};
