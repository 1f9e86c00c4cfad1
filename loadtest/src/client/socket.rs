//! The TCP socket below every transport.

use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::error::{Error, Result};

/// Connects to `host:port`, with a receive buffer of this many bytes where one
/// is asked for.
pub(crate) async fn open(authority: &str, receive_buffer: Option<u32>) -> Result<TcpStream> {
    let stream = match receive_buffer {
        None => TcpStream::connect(authority).await,
        Some(bytes) => {
            let mut addresses = lookup_host(authority).await.map_err(Error::broken)?;
            let address = addresses.next().ok_or_else(|| Error::broken("no address"))?;
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            let socket = socket.map_err(Error::broken)?;
            socket.set_recv_buffer_size(bytes).map_err(Error::broken)?;
            socket.connect(address).await
        }
    }
    .map_err(Error::broken)?;
    stream.set_nodelay(true).map_err(Error::broken)?;
    Ok(stream)
}
