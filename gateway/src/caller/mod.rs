//! Who makes a request, and how much the caller may do. [`Callers`] answers both:
//! [`credentials`] reads the credential of a request, [`auth`] verifies tokens,
//! `believed` refuses those that were revoked, [`tickets`] are used once instead of a
//! token, [`identity`] is what either proves. [`rates`] counts what a user does,
//! [`half_sent`] limits what is sent in pieces, [`violations`] ends a connection that
//! breaks the rules too often.

pub mod auth;
mod believed;
mod callers;
pub mod credentials;
pub mod half_sent;
pub mod identity;
pub mod rates;
pub mod tickets;
pub mod violations;

pub use believed::Believed;
pub use callers::Callers;
