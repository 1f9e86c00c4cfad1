//! What a server has behind Socket.IO: namespaces, and who is in them.

use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use http::request::Parts;
use serde_json::value::RawValue;

use super::packet::Payload;
use crate::transport::inside::{Close, Refusal};
/// The namespaces of a server.
#[async_trait]
pub trait Namespaces: Send + Sync + 'static {
    /// A client has come with this request, and has not said yet which namespaces it
    /// wants.
    async fn open(&self, request: &Parts) -> Result<Box<dyn Visitor>, Refusal>;
}

/// A client, whatever it is connected to.
pub trait Visitor: Send + 'static {
    /// It wants to be connected to this namespace; `auth` is a JSON object, if it
    /// gave one. Nothing: there is no such namespace. It is not asked again for one
    /// that it is connected to.
    fn connect(&mut self, namespace: &str, auth: Option<String>) -> Option<Connecting>;

    /// Waits until it is of no use to wait for a namespace any more. Asked while the
    /// client is connected to none.
    fn poll_over(&mut self, _cx: &mut Context<'_>) -> Poll<Close> {
        Poll::Pending
    }

    /// As [`Exchange::hold`](crate::transport::inside::Exchange::hold), while it is connected to nothing.
    fn hold(&mut self, _bytes: usize) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A connection to a namespace on its way.
pub type Connecting = BoxFuture<'static, Result<Box<dyn Socket>, NotConnected>>;

/// Why a client is not connected to a namespace.
#[derive(Debug)]
pub enum NotConnected {
    /// The JSON object of `connect_error`: clients do not try again by themselves.
    Error(String),
    /// The connection ends: clients try again.
    Connection(Close),
}

/// A client in a namespace. As with [`Exchange`](crate::transport::inside::Exchange), which it is a part of: it is
/// asked, and two tasks may ask at the same time under a lock.
pub trait Socket: Send + 'static {
    /// The JSON object that the client gets once it is connected. `sid` is in it.
    fn connected(&self) -> String;

    /// As [`Exchange::poll_ready`](crate::transport::inside::Exchange::poll_ready).
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// An event of the client's.
    fn hear(&mut self, event: Event<'_>) -> Result<(), Leave>;

    /// The client has acknowledged an event that was said with this id, or claims so.
    fn acknowledged(&mut self, _id: u64, _elements: &[&RawValue]) {}

    /// As [`Exchange::hold`](crate::transport::inside::Exchange::hold).
    fn hold(&mut self, _bytes: usize) -> Result<(), Refusal> {
        Ok(())
    }

    /// As [`Exchange::poll_say`](crate::transport::inside::Exchange::poll_say).
    fn poll_say(&mut self, cx: &mut Context<'_>, out: &mut Vec<Said>, most: usize)
    -> Poll<Result<(), Leave>>;
}

/// What a client says.
#[derive(Debug)]
pub struct Event<'a> {
    /// Its name.
    pub name: String,
    /// What comes after the name.
    pub elements: &'a [&'a RawValue],
    /// What `elements` name by number.
    pub attachments: Vec<bytes::Bytes>,
    /// With this id the client waits for an acknowledgement.
    pub id: Option<u64>,
}

/// What a client is told.
#[derive(Debug)]
pub enum Said {
    /// An event: its JSON begins with the name. With an id an acknowledgement is
    /// asked for.
    Event(Option<u64>, Payload),
    /// The acknowledgement of the client's event with this id.
    Ack(u64, Payload),
}

/// How a namespace ends from the server's side.
#[derive(Debug)]
pub enum Leave {
    /// With a packet that says so: clients do not come back by themselves.
    Namespace,
    /// With the connection: clients come back.
    Connection(Close),
}
