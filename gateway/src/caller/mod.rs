//! Who makes a request, and how much that one may do. [`credentials`] reads the
//! credential of a request, [`auth`] verifies tokens, [`tickets`] are used once in
//! place of a token, [`identity`] is what either proves. [`rates`] counts what a
//! user does, [`typing`] passes `typing` on now and then, [`half_sent`] bounds what
//! is sent in pieces, [`violations`] ends a connection that does wrong too often.

pub mod auth;
pub mod credentials;
pub mod half_sent;
pub mod identity;
pub mod rates;
pub mod tickets;
pub mod typing;
pub mod violations;
