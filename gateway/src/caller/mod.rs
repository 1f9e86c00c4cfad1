//! Who makes a request, and how much that one may do. [`Callers`] finds out
//! both: [`credentials`] reads the credential of a request, [`auth`] verifies tokens, [`tickets`] are used once in
//! place of a token, [`identity`] is what either proves. [`rates`] counts what a
//! user does, [`half_sent`] bounds what is sent in pieces, [`violations`] ends a
//! connection that does wrong too often.

pub mod auth;
mod callers;
pub mod credentials;
pub mod half_sent;
pub mod identity;
pub mod rates;
pub mod tickets;
pub mod violations;

pub use callers::Callers;
