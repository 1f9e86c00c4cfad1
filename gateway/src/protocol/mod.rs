//! The words of the client protocol (docs/PROTOCOL.md), without any I/O.
//! [`fields`] are a command's members in either form, [`command`] what they ask
//! for (the table of all commands is [`proto::command`]), [`scopes`] and
//! [`permissions`] what a token allows, [`unauthorized`] why one does not hold, [`query`] a request's parameters. [`frame`] is what a client gets,
//! made of an [`answer`], an [`event`], a [`receipt`], a [`publication`] or a [`failure`];
//! [`mark`] and [`jump`] are two that others look at. [`json`] and [`binary`]
//! write them, `parts` what several have. [`proto::scanner`] reads JSON, and [`proto::json`] says
//! which of it others could not read.

pub mod answer;
pub mod binary;
pub mod command;
pub mod event;
pub mod failure;
pub mod fields;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod json;
pub mod jump;
pub mod mark;
mod parts;
pub mod permissions;
pub mod publication;
pub mod query;
pub mod receipt;
pub mod scopes;
pub mod unauthorized;
