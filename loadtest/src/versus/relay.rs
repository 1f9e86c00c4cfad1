//! The floor: one process that passes WebSocket messages on and promises
//! nothing. What a message costs here is what sockets cost.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use tokio_util::task::TaskTracker;

/// Messages on their way to one socket. When it is full, more are thrown away:
/// the floor keeps nothing.
const QUEUE: usize = 4096;

/// Written to a socket in one go, in bytes.
const GATHER: usize = 64 * 1024;

/// Connections that the kernel keeps until they are taken: a storm's.
const WAITING: u32 = 4096;

type Queue = Sender<Utf8Bytes>;

/// Who listens. Locks are held for a look-up or a round over subscribers.
#[derive(Debug, Default)]
struct Board {
    users: Mutex<HashMap<String, Queue>>,
    channels: Mutex<HashMap<String, Vec<Queue>>>,
}

/// Listens until the process ends.
pub async fn serve(listen: SocketAddr) -> Result<()> {
    let listener = bind(listen).with_context(|| format!("{listen}"))?;
    let board = Arc::new(Board::default());
    let tasks = TaskTracker::new();
    loop {
        let (socket, _) = listener.accept().await?;
        let board = Arc::clone(&board);
        tasks.spawn(async move {
            // A client that breaks off has only itself to tell.
            let _ = attend(socket, &board).await;
        });
    }
}

fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(WAITING)
}

async fn attend(socket: TcpStream, board: &Board) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut user = String::new();
    #[expect(clippy::result_large_err, reason = "tungstenite's callback has this form")]
    let path = |request: &Request, response: Response| -> std::result::Result<Response, ErrorResponse> {
        request.uri().path().trim_start_matches('/').clone_into(&mut user);
        Ok(response)
    };
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(GATHER);
    let stream = accept_hdr_async_with_config(socket, path, Some(config)).await?;
    let (sink, mut stream) = stream.split();
    let (queue, waiting) = mpsc::channel(QUEUE);
    queue.try_send(Utf8Bytes::from_static("R"))?;
    board.users.lock().expect("no holder panics").insert(user.clone(), queue.clone());
    let read = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Text(text) = message {
                board.pass_on(&text, &queue);
            }
        }
    };
    tokio::select! {
        () = read => {}
        written = write(sink, waiting) => written?,
    }
    board.leave(&user, &queue);
    Ok(())
}

/// Writes what has gathered, then flushes.
async fn write(
    mut sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    mut waiting: Receiver<Utf8Bytes>,
) -> Result<()> {
    while let Some(text) = waiting.recv().await {
        sink.feed(Message::Text(text)).await?;
        while let Ok(text) = waiting.try_recv() {
            sink.feed(Message::Text(text)).await?;
        }
        sink.flush().await?;
    }
    Ok(())
}

impl Board {
    /// `S`, `P` or `C`, a name, and on the next line the body.
    fn pass_on(&self, text: &Utf8Bytes, from: &Queue) {
        let Some((head, body)) = text.split_once('\n') else { return };
        let Some(name) = head.get(1..) else { return };
        match head.as_bytes().first() {
            Some(b'S') => {
                let users = self.users.lock().expect("no holder panics");
                if let Some(queue) = users.get(name) {
                    // Full: thrown away.
                    let _ = queue.try_send(format!("M{name}\n{body}").into());
                }
            }
            Some(b'P') => {
                // The same bytes for all.
                let channels = self.channels.lock().expect("no holder panics");
                for queue in channels.get(name).into_iter().flatten() {
                    // Full: thrown away.
                    let _ = queue.try_send(text.clone());
                }
            }
            Some(b'C') => {
                let mut channels = self.channels.lock().expect("no holder panics");
                channels.entry(name.to_owned()).or_default().push(from.clone());
                // Full: the client waits in vain, and says so.
                let _ = from.try_send(Utf8Bytes::from_static("R"));
            }
            _ => {}
        }
    }

    fn leave(&self, user: &str, queue: &Queue) {
        let mut users = self.users.lock().expect("no holder panics");
        // Unless a newer connection is there already.
        if users.get(user).is_some_and(|known| known.same_channel(queue)) {
            users.remove(user);
        }
        drop(users);
        for subscribers in self.channels.lock().expect("no holder panics").values_mut() {
            subscribers.retain(|known| !known.same_channel(queue));
        }
    }
}
