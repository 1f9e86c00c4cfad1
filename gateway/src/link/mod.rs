//! The way to the routers and back. [`routers`] is the handle that all others use;
//! below it are `stream` (the gRPC stream to one router), `dial` (how it is opened),
//! `greeting` (whose form goes with ours), `outbound` (what goes out on it), `encoded`
//! (a request in the form in which it goes out), [`pending`] (requests without an
//! answer), [`cost`] (what a request costs a router), [`lateness`] (which routers
//! answer late), `overload` (when commands are refused at the door) with `turns` (when
//! this node itself is slow), [`discovery`] (which routers there are), [`mod@look`]
//! (whether one serves, for a check of a configuration) and [`count`] (the router that
//! counts a user's rate). [`request`] writes a command as routers take it, [`execute`]
//! does one and waits for its answer, [`many`] sends one message to many users, `revoke`
//! revokes tokens, [`typing`] passes `typing` on now and then. [`NodeContext`] is what
//! every service of a node is given.

mod context;
pub mod cost;
pub mod count;
mod dial;
pub mod discovery;
mod encoded;
pub mod execute;
mod greeting;
pub mod lateness;
mod look;
pub mod many;
mod outbound;
mod overload;
pub mod pending;
pub mod request;
mod revoke;
pub mod routers;
mod stream;
mod turns;
pub mod typing;

pub(crate) use context::NOBODY;
pub use context::NodeContext;
pub use dial::{Dial, InProcess};
pub use discovery::{Elsewhere, look_up};
pub use execute::Commands;
pub use look::look;
pub use outbound::Outbound;
pub use overload::Bottleneck;
pub use pending::{Completion, Outcome};
pub use routers::{LinkConfig, Routers};
