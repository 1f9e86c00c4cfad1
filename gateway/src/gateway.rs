//! The services of a node, as transports and resources are given them.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use daemon::metric::{self, Observable};
use http::request::Parts;
use proto::NodeIncarnation;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::auth::Authenticator;
use crate::caller::half_sent::HalfSent;
use crate::caller::identity::Caller;
use crate::caller::rates::RateLimits;
use crate::caller::{Believed, Callers};
use crate::channels::Channels;
use crate::config::Config;
use crate::link::{Commands, NodeContext, Routers};
use crate::metrics;
use crate::peer::OtherGateways;
use crate::protocol::failure::Failure;
use crate::session::{SessionConfig, Sessions};
use proto::Class;

/// One running gateway. Only transports, resources and [`crate::node`] know it;
/// each service below has what it needs.
pub struct Gateway {
    /// How it is configured.
    pub config: Config,
    /// The node, its routers, its tasks and its end.
    pub context: NodeContext,
    /// Its sessions.
    pub sessions: Arc<Sessions>,
    /// The channels that they are subscribed to.
    pub channels: Arc<Channels>,
    /// Carries commands out.
    pub commands: Commands,
    /// Who may come in, and how much each may do.
    pub callers: Callers,
    /// What clients have sent half of.
    pub(crate) half_sent: Arc<HalfSent>,
    /// Nothing where this one is alone.
    pub(crate) others: Option<OtherGateways>,
}

impl Gateway {
    /// Puts the services together. `class_of` says what a route counts for (see
    /// [`Callers::new`]).
    #[expect(clippy::too_many_arguments, reason = "each is a part of a gateway")]
    pub(crate) fn new(
        config: Config,
        node: NodeIncarnation,
        auth: Authenticator,
        routers: Routers,
        tracker: TaskTracker,
        draining: CancellationToken,
        class_of: fn(&str) -> Option<Class>,
        others: Option<OtherGateways>,
    ) -> Arc<Self> {
        let limits = &config.limits;
        let context = NodeContext::new(node, routers, tracker, draining, limits.attaches_at_once);
        let channels = Channels::new(context.clone(), limits.max_subscriptions);
        let of_sessions = SessionConfig {
            node: config.node.clone(),
            heartbeat: config.heartbeat,
            queue: limits.session_queue,
            max_watched: limits.max_watched,
        };
        let routers = context.routers.clone();
        let rates = RateLimits::new(config.rates, move |user| routers.refuses(user));
        let sessions = Sessions::new(context.clone(), of_sessions, channels.clone());
        let believed =
            Believed { auth, revocations: sessions.revocations.clone(), patience: limits.command_timeout };
        let gateway = Arc::new(Self {
            sessions,
            channels,
            commands: Commands::new(context.clone(), limits.command_timeout, config.auth.max_token_life),
            callers: Callers::new(context.clone(), believed, rates, class_of),
            half_sent: HalfSent::new(limits.max_request_bytes_held),
            others,
            context,
            config,
        });
        observe(&gateway);
        gateway
    }

    /// What keeps this node from serving, for `/readyz`.
    pub fn not_ready(&self) -> Vec<String> {
        let why = store::bus_trouble().unwrap_or_else(|| "the store's bus is not heard".to_owned());
        [
            (!self.sessions.is_heard(), why),
            (self.context.routers.available() == 0, "no router can be reached".to_owned()),
            (self.sessions.revocations.are_unknown(), "which tokens were revoked is not known".to_owned()),
            (self.context.draining.is_cancelled(), "draining".to_owned()),
        ]
        .into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, reason)| reason)
        .collect()
    }
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Failure> {
        gateway.callers.enter(parts).await
    }
}

/// A number that a gateway is asked for.
type Count = fn(&Gateway) -> usize;

/// Reports what a gateway is asked for when somebody reads metrics.
fn observe(gateway: &Arc<Gateway>) {
    for reason in store::Reason::ALL {
        let errors = move || Some(store::bus_errors(reason) as f64);
        metrics::BUS_ERRORS.observe(&[reason.as_str()], errors);
    }
    metric::report(metrics::METRICS);
    let reports: [(&'static Observable, Count); 6] = [
        (&metrics::BEHIND, |gateway| gateway.sessions.hub.behind()),
        (&metrics::REVOCATIONS, |gateway| gateway.sessions.revocations.len()),
        (&metrics::ROUTERS, |gateway| gateway.context.routers.available()),
        (&metrics::LATE_ROUTERS, |gateway| gateway.context.routers.late()),
        (&metrics::HALF_SENT, |gateway| gateway.half_sent.bytes()),
        (&metrics::PENDING, |gateway| gateway.context.routers.pending()),
    ];
    for (metric, count) in reports {
        let gateway = Arc::downgrade(gateway);
        metric.observe(&[], move || gateway.upgrade().map(|gateway| count(&gateway) as f64));
    }
}
