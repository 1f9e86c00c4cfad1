//! The gRPC service: the same one behind a socket and in process.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use proto::form::{FORM, HEADER, greet};
use proto::weight::FRAME_LIMIT;
use proto::wire::router_server::RouterServer;
use proto::wire::{Replies, Requests};
use store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::config::Config;
use crate::core::Core;
use crate::port::Links;
use crate::{link, metrics};

/// A router. Cheap to clone. Its background work ends in [`Self::drained`], or
/// without a wait when the last clone is dropped.
#[derive(Clone)]
pub struct Service {
    core: Arc<Core>,
    shutdown: CancellationToken,
    /// Links and the commands that run as tasks.
    under_way: TaskTracker,
}

impl Service {
    /// Starts a router over `store`. To be called inside a tokio runtime. When
    /// `shutdown` is cancelled its links drain; see [`Service::drained`].
    pub fn new(store: Arc<dyn Store>, config: Config, shutdown: CancellationToken) -> Self {
        let under_way = TaskTracker::new();
        let core = Arc::new(Core::start(store, config, under_way.clone()));
        Self { core, shutdown, under_way }
    }

    /// As tonic takes it: for a server, or for
    /// [`proto::wire::router_client::RouterClient::new`] in process.
    pub fn server(&self) -> RouterServer<Self> {
        RouterServer::new(self.clone())
            .max_decoding_message_size(FRAME_LIMIT)
            .max_encoding_message_size(FRAME_LIMIT)
    }

    /// For `/readyz`: an error when the store does not answer. A store that answers
    /// but refuses something (when it is full, say) can still be read; then the
    /// router is ready, and the lines say what is wrong.
    pub async fn ready(&self) -> Result<Vec<String>, Vec<String>> {
        match self.core.store.ping().await {
            Ok(()) => Ok(store::store_trouble().into_iter().collect()),
            Err(error) => Err(vec![error.to_string()]),
        }
    }

    /// Waits, after `shutdown`, until every link has ended and every command is
    /// answered; then ends what the router does in the background.
    pub async fn drained(&self) {
        self.shutdown.cancelled().await;
        self.under_way.close();
        self.under_way.wait().await;
        self.core.end().await;
    }

    /// What runs on it is waited for at the end.
    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.under_way
    }

    pub(crate) fn config(&self) -> &Config {
        &self.core.config
    }
}

#[tonic::async_trait]
impl proto::wire::router_server::Router for Service {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<Replies, Status>> + Send>>;

    async fn link(
        &self,
        request: Request<Streaming<Requests>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let said = request.metadata().get(HEADER).map(|said| said.to_str().unwrap_or_default());
        if let Err(reason) = greet("gateway", said) {
            tracing::warn!(reason, "a link was refused");
            metrics::REFUSED.add(&["form"], 1);
            return Err(Status::failed_precondition(reason));
        }
        // In process there is no connection.
        let held = request.extensions().get::<Links>().map(Links::open);
        let requests = request.into_inner();
        let answers = link::open(self.core.clone(), requests, held, &self.under_way, &self.shutdown);
        let mut response = Response::new(Box::pin(answers) as Self::LinkStream);
        let form = FORM.to_string().parse().expect("digits and a point are visible ASCII");
        response.metadata_mut().insert(HEADER, form);
        Ok(response)
    }
}
