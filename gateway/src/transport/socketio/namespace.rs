//! The interface of the service behind Socket.IO: its namespaces, and the clients in
//! them.

use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use http::request::Parts;
use proto::End;
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

/// A client, whether it is in a namespace or not.
pub trait Visitor: Send + 'static {
    /// The client asks to be connected to this namespace; `auth` is the JSON object
    /// that it gave, if any. `None` if there is no such namespace. Not called for a
    /// namespace that the client is in already.
    fn connect(&mut self, namespace: &str, auth: Option<String>) -> Option<Connecting>;

    /// Ready when the client is to be closed. Polled while it is in no namespace.
    fn poll_over(&mut self, _cx: &mut Context<'_>) -> Poll<Close> {
        Poll::Pending
    }

    /// As [`Exchange::hold`](crate::transport::inside::Exchange::hold), while it is connected to nothing.
    fn hold(&mut self, _bytes: usize) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A connection to a namespace that is being made.
pub type Connecting = BoxFuture<'static, Result<Box<dyn Socket>, NotConnected>>;

/// Why a client is not connected to a namespace.
#[derive(Debug)]
pub enum NotConnected {
    /// With `connect_error`, which has this JSON object. Clients do not try again by
    /// themselves.
    Error(String),
    /// With the end of the connection. Clients try again.
    Connection(Close),
}

/// A client in a namespace. It is polled, as the
/// [`Exchange`](crate::transport::inside::Exchange) that it is a part of.
pub trait Socket: Send + 'static {
    /// The JSON object that the client gets once it is connected, with its `sid`.
    fn connected(&self) -> String;

    /// As [`Exchange::poll_ready`](crate::transport::inside::Exchange::poll_ready).
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The client has sent an event.
    fn hear(&mut self, event: Event<'_>) -> Result<(), Leave>;

    /// The client has acknowledged the event with this id, or says so: the id may be
    /// wrong.
    fn acknowledged(&mut self, _id: u64, _elements: &[&RawValue]) {}

    /// As [`Exchange::hold`](crate::transport::inside::Exchange::hold).
    fn hold(&mut self, _bytes: usize) -> Result<(), Refusal> {
        Ok(())
    }

    /// As [`Exchange::poll_say`](crate::transport::inside::Exchange::poll_say).
    fn poll_say(&mut self, cx: &mut Context<'_>, out: &mut Vec<Said>, most: usize)
    -> Poll<Result<(), Leave>>;

    /// As [`Exchange::poll_over`](crate::transport::inside::Exchange::poll_over).
    fn poll_over(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// As [`Exchange::lose`](crate::transport::inside::Exchange::lose).
    fn lose(&mut self) -> Close {
        Close::of(End::HeartbeatMissed)
    }
}

/// An event from a client.
#[derive(Debug)]
pub struct Event<'a> {
    /// The event's name.
    pub name: String,
    /// The arguments after the name.
    pub elements: &'a [&'a RawValue],
    /// The attachments, to which `elements` refer by number.
    pub attachments: Vec<bytes::Bytes>,
    /// The id of the acknowledgement that the client waits for, if it does.
    pub id: Option<u64>,
}

/// A packet for a client.
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
    /// With a `disconnect` packet. Clients do not come back by themselves.
    Namespace,
    /// With the end of the connection. Clients come back.
    Connection(Close),
}
