//! What is asked with one request and answered with one response.
//! [`catalogue`] is the table of resources, [`resources`] serves them, [`openapi`]
//! describes them for programs, [`tickets`] issues one-time tickets, [`page`] is the page to chat on. [`layers`] is what
//! every request passes first, [`cors`] the part of it for other origins.

pub mod catalogue;
pub mod cors;
pub mod layers;
pub mod openapi;
pub mod page;
pub mod resources;
pub mod tickets;
