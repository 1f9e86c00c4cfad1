//! Holds clients' connections: transports, sessions, credentials, limits and
//! the HTTP resources. No message logic and no membership; of the store only
//! its subscription.
//!
//! In reading order, from the outside in:
//! [`node`] (a gateway from start to drain), [`config`], [`accept`] (sockets),
//! [`strict`], [`front`], [`cors`] and [`host`] (what every request passes), [`credentials`],
//! [`auth`], [`identity`], [`tickets`], [`limits`] (who may come in, how fast),
//! [`transport`] (ways that frames travel; `busy` is for one that bears no refusal), [`catalogue`] and [`resources`] (commands
//! over HTTP), [`openapi`] (what they are, for programs);
//! then what they all use: [`fields`] and [`command`] (what clients ask),
//! [`execute`] (the way to a router and back), [`link`] (the routers),
//! [`answer`], [`event`], [`frame`], [`binary`] (what clients get), [`session`], [`tail`],
//! [`linger`], [`hub`], [`farewell`] (how sessions end), [`channels`], [`presence`], [`newest`], [`implied`], [`feed`] (what comes next for whom),
//! [`order`] (of locks).

pub mod accept;
pub mod answer;
pub mod auth;
pub mod binary;
mod busy;
pub mod catalogue;
pub mod channels;
pub mod cli;
pub mod command;
pub mod config;
pub mod cors;
pub mod credentials;
pub mod event;
pub mod execute;
pub mod expiry;
pub mod failure;
pub mod farewell;
pub mod feed;
pub mod fields;
pub mod frame;
pub mod front;
pub mod gateway;
pub mod half_sent;
pub mod host;
pub mod hub;
pub mod identity;
mod implied;
pub mod json;
pub mod lasting;
pub mod limits;
pub mod linger;
pub mod link;
pub mod many;
pub mod metrics;
pub mod newest;
pub mod node;
pub mod openapi;
mod order;
pub mod page;
pub mod presence;
pub mod query;
pub mod rates;
pub mod readable;
pub mod resources;
pub mod session;
pub mod strict;
pub mod strikes;
pub mod tail;
pub mod tickets;
pub mod transport;

pub use node::{Node, RouterSource};
