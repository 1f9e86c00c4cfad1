//! The router as gateways see it: through the generated client, over a real
//! socket and in process, on the embedded store (`archive`: on Redis).
#![allow(missing_docs, clippy::unwrap_used)]

mod amendments;
mod archive;
mod channels;
mod faults;
mod gateway;
mod groups;
mod links;
mod messages;
mod notices;
mod port;
mod presence;
mod reading;
mod sessions;
mod spoiled;
mod webhook;
mod weights;
