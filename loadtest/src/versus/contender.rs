//! What is compared: a server, and how clients connect to it.

use crate::client::Transport;
use crate::workload::{Kind, Mix};

/// A server and a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// This project over WebSockets.
    Switchboard,
    /// This project over Socket.IO in WebSockets.
    SwitchboardSocketIo,
    /// This project over Socket.IO in polls.
    SwitchboardSocketIoPolling,
    /// Two nodes of Socket.IO with the Redis adapter, over WebSockets.
    SocketIo,
    /// The same over polls.
    SocketIoPolling,
    /// Two nodes of Socketioxide with its Redis adapter, over WebSockets.
    Socketioxide,
    /// Two nodes of Centrifugo with the Redis engine, over WebSockets.
    Centrifugo,
    /// The same, where each channel has a history.
    CentrifugoHistory,
    /// The bare relay over WebSockets: the floor.
    Relay,
}

impl Contender {
    /// Its column in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Switchboard => "switchboard",
            Self::SwitchboardSocketIo => "switchboard over socket.io",
            Self::SwitchboardSocketIoPolling => "switchboard over socket.io, polling",
            Self::SocketIo => "socket.io",
            Self::SocketIoPolling => "socket.io, polling",
            Self::Socketioxide => "socketioxide",
            Self::Centrifugo => "centrifugo",
            Self::CentrifugoHistory => "centrifugo with history",
            Self::Relay => "relay",
        }
    }

    /// What it promises, for whoever compares the figures.
    pub(super) fn promise(self) -> &'static str {
        match self {
            Self::Switchboard | Self::SwitchboardSocketIo | Self::SwitchboardSocketIoPolling => {
                "each message is numbered, and in the inbox of every member, once, before it is acknowledged"
            }
            Self::SocketIo | Self::SocketIoPolling | Self::Socketioxide => {
                "at most once, to those who are connected; nothing is kept, numbered or acknowledged"
            }
            Self::Centrifugo => "at most once, to those who are connected; acknowledged when Redis has it",
            Self::CentrifugoHistory => {
                "numbered, and in the history of the one channel that it was published to, before it is acknowledged"
            }
            Self::Relay => "nothing; one process that passes bytes on",
        }
    }

    /// The server that clients connect to.
    pub fn kind(self) -> Kind {
        match self {
            Self::Switchboard | Self::SwitchboardSocketIo | Self::SwitchboardSocketIoPolling => {
                Kind::Switchboard
            }
            Self::SocketIo | Self::SocketIoPolling => Kind::SocketIo,
            Self::Socketioxide => Kind::Socketioxide,
            Self::Centrifugo => Kind::Centrifugo,
            Self::CentrifugoHistory => Kind::CentrifugoHistory,
            Self::Relay => Kind::Relay,
        }
    }

    pub(super) fn transports(self) -> Mix {
        Mix::only(match self {
            Self::SwitchboardSocketIo => Transport::SocketIoWebSocket,
            Self::SwitchboardSocketIoPolling | Self::SocketIoPolling => Transport::SocketIoPolling,
            Self::Switchboard
            | Self::SocketIo
            | Self::Socketioxide
            | Self::Centrifugo
            | Self::CentrifugoHistory
            | Self::Relay => Transport::WebSocket,
        })
    }

    /// Whose figures this one's are divided by.
    pub(super) fn rivals(self) -> &'static [Self] {
        match self {
            Self::Switchboard => &[Self::SocketIo, Self::Relay],
            Self::SwitchboardSocketIo => &[Self::SocketIo],
            Self::SwitchboardSocketIoPolling => &[Self::SocketIoPolling],
            Self::SocketIo
            | Self::SocketIoPolling
            | Self::Socketioxide
            | Self::Centrifugo
            | Self::CentrifugoHistory
            | Self::Relay => &[],
        }
    }
}
