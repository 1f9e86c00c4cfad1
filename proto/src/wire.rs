//! The protobuf messages: `event.proto`, `bus.proto`, `router.proto`, and in
//! [`client`] `client.proto`. What they mean is said in those files.
#![allow(missing_docs, clippy::all)]

tonic::include_proto!("switchboard.v1");

/// The client protocol.
pub mod client {
    tonic::include_proto!("switchboard.v1.client");
}
