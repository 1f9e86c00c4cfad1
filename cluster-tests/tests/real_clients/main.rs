//! Clients that we have not written: Chromium's own EventSource, fetch, XHR,
//! iframe and WebSocket, socket.io-client, sockjs-client, and curl, at a cluster behind a load balancer that
//! knows no affinity.

mod browser;
mod curl;
mod origins;
mod pages;
mod peers;
mod scene;
mod socketio;
mod sockjs;
mod stock;
