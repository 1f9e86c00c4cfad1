//! The options of a client's socket.

use std::io;
use std::time::Duration;

pub(super) use daemon::stream::{Accepted, Bytes, Listener, Stream};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Sets the options that every client's socket needs. Setting them on the
/// listener would miss sockets that came before. Fails when the peer has gone
/// meanwhile.
pub(super) fn prepare(stream: &TcpStream, silence: Duration) -> io::Result<()> {
    // Frames are small and leave whole: waiting for more only delays.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // The kernel takes whole seconds here.
    let beat = (silence / 2).max(Duration::from_secs(1));
    // Finds dead peers to whom nothing is written, such as those of long polls.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(beat).with_interval(beat))?;
    // The gateway does not read from the peer of a one-way stream, and writes
    // to a dead machine only fill the kernel's buffer, for a quarter of an
    // hour. This also ends a live peer that takes no data for so long.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(silence))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn sockets_send_small_frames_at_once_and_notice_dead_peers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        prepare(&stream, Duration::from_secs(50)).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(25));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(50)));
    }
}
