//! Requests that get one response. [`catalogue`] is the table of resources,
//! [`resources`] serves them, [`openapi`] describes them for programs,
//! [`tickets`] issues one-time tickets, [`page`] is the chat page. [`layers`]
//! is what every request passes first, [`cors`] the part of it for other
//! origins.

pub mod catalogue;
pub mod cors;
pub mod layers;
pub mod openapi;
pub mod page;
pub mod resources;
pub mod tickets;
