//! Makes one connection to a Redis server: TCP or TLS, the user, the database.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use bytes::BytesMut;
use fred::types::config::{Server, TlsConnector};
use tokio::net::TcpStream;

use super::address::Address;
use super::resp::{Decoder, Reply, put_command, put_word};
pub(super) use crate::dialer::Stream;

/// Connects, and returns when the server has answered a PING. The error says why
/// not, in the server's or the system's words.
pub(super) async fn dial(address: &Address, server: &Server) -> Result<Box<dyn Stream>, String> {
    let plain = connect(address, server).await.map_err(|error| error.to_string())?;
    let mut stream: Box<dyn Stream> = match address.tls() {
        None => plain,
        Some(TlsConnector::Rustls(connector)) => {
            let name = server.tls_server_name.as_ref().unwrap_or(&server.host).to_string();
            let name = name.try_into().map_err(|_| "tls: the server's name is none for a certificate")?;
            let tls = connector.connect(name, plain).await.map_err(|error| format!("tls: {error}"))?;
            Box::new(tls)
        }
    };
    introduce(&mut *stream, address).await?;
    Ok(stream)
}

async fn connect(address: &Address, server: &Server) -> std::io::Result<Box<dyn Stream>> {
    if let Some(dialer) = address.dialer() {
        return dialer.dial(&server.host, server.port).await;
    }
    let tcp = TcpStream::connect((&*server.host, server.port)).await?;
    tcp.set_nodelay(true)?;
    Ok(Box::new(tcp))
}

/// Says who we are, and which database we use.
async fn introduce(stream: &mut dyn Stream, address: &Address) -> Result<(), String> {
    let mut commands: Vec<Vec<&str>> = Vec::new();
    match address.credentials() {
        Some((Some(user), password)) => commands.push(vec!["AUTH", user, password]),
        Some((None, password)) => commands.push(vec!["AUTH", password]),
        None => {}
    }
    let database = address.database().map(|database| database.to_string());
    if let Some(database) = &database {
        commands.push(vec!["SELECT", database]);
    }
    commands.push(vec!["PING"]);
    let mut bytes = BytesMut::new();
    for command in &commands {
        put_command(&mut bytes, command.len());
        command.iter().for_each(|word| put_word(&mut bytes, word.as_bytes()));
    }
    stream.write_all(&bytes).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    bytes.clear();
    let mut decoder = Decoder::default();
    for _ in commands {
        let reply = loop {
            if let Some(reply) = decoder.next(&mut bytes).map_err(|error| error.to_string())? {
                break reply;
            }
            if stream.read_buf(&mut bytes).await.map_err(|error| error.to_string())? == 0 {
                return Err("the connection ended at once".to_owned());
            }
        };
        match reply {
            Reply::Refusal(text) => return Err(String::from_utf8_lossy(&text).into_owned()),
            Reply::Text(_) => {}
            _ => return Err("redis sent something that is no reply to a greeting".to_owned()),
        }
    }
    match bytes.is_empty() {
        true => Ok(()),
        false => Err("redis sent more than it was asked for".to_owned()),
    }
}
