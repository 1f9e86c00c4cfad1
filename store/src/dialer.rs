//! How connections to a server are made where that is not over the kernel's TCP: a
//! simulation has a network of its own.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// What bytes go over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections. Called whenever a store or a bus needs one.
#[async_trait]
pub trait Dialer: std::fmt::Debug + Send + Sync {
    /// Connects to a server, or says why that cannot be.
    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>>;
}
