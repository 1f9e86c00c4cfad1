//! Socket.IO, version 5, inside Engine.IO: namespaces over one connection, events
//! with acknowledgements both ways, and bytes as attachments. What a namespace
//! does is behind [`Namespaces`].

mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod namespace;
mod packet;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::request::Parts;

use self::connection::Connection;
pub use self::namespace::{Connecting, Event, Leave, Namespaces, NotConnected, Said, Socket, Visitor};
pub use self::packet::Payload;
use super::inside::{Exchange, Inside, Refusal};

/// Socket.IO as the protocol inside Engine.IO.
pub struct SocketIo {
    namespaces: Arc<dyn Namespaces>,
    connect_timeout: Duration,
}

impl SocketIo {
    /// A client that is in no namespace for so long is closed.
    pub fn new(namespaces: Arc<dyn Namespaces>, connect_timeout: Duration) -> Self {
        Self { namespaces, connect_timeout }
    }
}

#[async_trait]
impl Inside for SocketIo {
    async fn open(&self, request: &Parts) -> Result<Box<dyn Exchange>, Refusal> {
        let visitor = self.namespaces.open(request).await?;
        Ok(Box::new(Connection::new(visitor, self.connect_timeout)))
    }
}
