//! How a stream to a router is opened.

use async_trait::async_trait;
use proto::weight::FRAME_LIMIT;
use proto::wire::Replies;
use proto::wire::router_client::RouterClient;
use tonic::{Status, Streaming};

use super::greeting::{greeted, greeting};
use super::outbound::Outbound;

/// How to open a stream to one router.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Names the router in logs, and orders it among the others.
    fn name(&self) -> String;

    /// Opens a stream. Called again and again, with growing pauses, for as
    /// long as the router is wanted.
    async fn dial(&self, outbound: Outbound) -> Result<Streaming<Replies>, Status>;
}

/// A router in the same process: the generated client over its service.
pub struct InProcess<S>(RouterClient<S>);

impl<S> InProcess<S>
where
    S: tonic::client::GrpcService<tonic::body::Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResponseBody: http_body_util::BodyExt<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as axum::body::HttpBody>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    /// Takes a `RouterServer`.
    pub fn new(service: S) -> Self {
        Self(
            RouterClient::new(service)
                .max_decoding_message_size(FRAME_LIMIT)
                .max_encoding_message_size(FRAME_LIMIT),
        )
    }
}

#[async_trait]
impl<S> Dial for InProcess<S>
where
    S: tonic::client::GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResponseBody: http_body_util::BodyExt<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as axum::body::HttpBody>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    fn name(&self) -> String {
        "in process".into()
    }

    async fn dial(&self, outbound: Outbound) -> Result<Streaming<Replies>, Status> {
        greeted(self.0.clone().link(greeting(outbound)).await?)
    }
}
