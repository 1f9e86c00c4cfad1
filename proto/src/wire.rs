//! The generated protobuf messages of `event.proto`, `bus.proto` and
//! `router.proto`; [`client`] has those of `client.proto`. The .proto files say
//! what they mean.
#![allow(missing_docs, clippy::all)]

tonic::include_proto!("switchboard.v1");

/// `client.proto`: the client protocol as protobuf.
pub mod client {
    tonic::include_proto!("switchboard.v1.client");
}
