//! The way to the routers and back. [`routers`] is the handle that everybody
//! uses; below it are `stream` (the gRPC stream to one router), [`pending`]
//! (requests without an answer), [`cost`] (what a request costs a router),
//! [`lateness`] (which routers answer late), [`discovery`] (which routers there
//! are), [`mod@look`] (whether one serves, for a check of a configuration) and
//! [`count`] (the router that counts a user's rate). [`request`] writes
//! a command as routers take it, [`execute`] does one and waits for its answer,
//! [`many`] sends one message to many users, [`typing`] passes `typing` on now and
//! then. [`NodeContext`] is what every service of a node is given.

mod context;
pub mod cost;
pub mod count;
pub mod discovery;
pub mod execute;
pub mod lateness;
mod look;
pub mod many;
pub mod pending;
pub mod request;
pub mod routers;
mod stream;
pub mod typing;

pub use context::NodeContext;
pub use discovery::look_up;
pub use execute::Commands;
pub use look::look;
pub use routers::{Completion, LinkConfig, Outcome, Routers};
pub use stream::{Dial, InProcess, Outbound};
