//! SockJS 0.3.4: sessions of its clients over WebSocket, streaming and polling,
//! with its frames and paths. What the messages mean is said by whoever is
//! [`Host`]; where a path leads by [`path`].

mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod page;
mod path;
mod receive;
mod send;
mod session;
mod sessions;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::page::Page;
use self::path::{Place, Receive};
use self::receive::{Framing, is_callback};
use self::session::{Receiver, Session};
use self::sessions::{Holding, Lookup, Name, Sessions};
use crate::accept::Client;
use crate::config::ClientUrl;
use crate::gateway::Gateway;
use crate::peer::{self, Holder, OtherGateways, Unreached};
use crate::protocol::command::MAX_FRAME_BYTES;
use crate::protocol::query::Query;
use crate::transport::elsewhere::{self, Comes};
use crate::transport::inside::{Host, Refusal};
use crate::transport::json_exchange::JsonFrames;
use crate::transport::script;

/// The gateway's own service, at `/sockjs`.
pub fn gateway_routes(gateway: &Arc<Gateway>, stop: CancellationToken) -> Router<Arc<Gateway>> {
    let config = &gateway.config;
    let options = Options {
        websocket: true,
        // Any request may go to any node.
        cookie: false,
        heartbeat: config.heartbeat,
        response_limit: RESPONSE_LIMIT,
        max_body_bytes: MAX_BODY_BYTES,
        // Of a script nobody can tell which page it is from.
        jsonp: config.origins.any(),
        client: config.sockjs_client.clone(),
        ancestors: config.origins.frame_policy(),
    };
    let host = Arc::new(JsonFrames { gateway: gateway.clone(), name: "sockjs" });
    let (others, tracker) = (gateway.others.clone(), gateway.context.tracker.clone());
    routes("/sockjs", options, Surroundings { host, others, tracker, stop })
}

/// How long a session waits for a request that receives (by SockJS's protocol).
pub const ABSENCE: Duration = Duration::from_secs(5);
/// Bytes of one request's body: a client sends all that has gathered while its last
/// request was under way in one, and each message may be as large as a frame.
const MAX_BODY_BYTES: usize = 4 * MAX_FRAME_BYTES;
/// Bytes of one answer that goes on, by default.
pub const RESPONSE_LIMIT: usize = 128 << 10;

/// What a service is like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether there are WebSockets.
    pub websocket: bool,
    /// Whether answers set `JSESSIONID`, for load balancers that look for it.
    pub cookie: bool,
    /// Between two frames, at most.
    pub heartbeat: Duration,
    /// After so many bytes of frames an answer that streams ends.
    pub response_limit: usize,
    /// Bytes of one request's body at most.
    pub max_body_bytes: usize,
    /// Whether scripts poll (JSONP): those of any page may, whatever its origin.
    pub jsonp: bool,
    /// Where the iframe's page gets the client from; without it there is no such page.
    pub client: Option<ClientUrl>,
    /// Who may frame that page, as a Content-Security-Policy; without it everybody.
    pub ancestors: Option<HeaderValue>,
}

/// One service, at its prefix.
struct Service {
    prefix: String,
    options: Options,
    page: Option<Page>,
    host: Arc<dyn Host>,
    sessions: Arc<Sessions>,
    /// The other nodes; nothing: there are none.
    others: Option<OtherGateways>,
    tracker: TaskTracker,
}

/// What a service needs of its surroundings.
pub struct Surroundings {
    /// Whoever speaks inside.
    pub host: Arc<dyn Host>,
    /// The nodes that have other sessions; nothing: there are none.
    pub others: Option<OtherGateways>,
    /// Its tasks: WebSockets, and one that forgets sessions.
    pub tracker: TaskTracker,
    /// Ends the latter.
    pub stop: CancellationToken,
}

/// The routes of a service below `prefix`, which begins with a slash and does not
/// end with one. They answer for other origins by themselves.
pub fn routes<S: Clone + Send + Sync + 'static>(
    prefix: &str,
    options: Options,
    Surroundings { host, others, tracker, stop }: Surroundings,
) -> Router<S> {
    let sessions = Sessions::new(ABSENCE);
    let forgetting = sessions.clone().forget();
    tracker.spawn(async move { stop.run_until_cancelled(forgetting).await });
    let page = options.client.as_ref().map(|client| Page::new(client, options.ancestors.as_ref()));
    let service = Service { prefix: prefix.to_owned(), options, page, host, sessions, others, tracker };
    Router::new()
        .route(prefix, any(serve))
        .route(&format!("{prefix}/"), any(serve))
        .route(&format!("{prefix}/{{*path}}"), any(serve))
        .with_state(Arc::new(service))
}

async fn serve(State(service): State<Arc<Service>>, request: Request) -> Response {
    let path = request.uri().path().strip_prefix(&*service.prefix).unwrap_or_default().to_owned();
    let Some(place) = Place::of(&path).filter(|place| service.has(*place)) else {
        return text(StatusCode::NOT_FOUND, "there is nothing at this path\n");
    };
    let method = request.method().clone();
    if method == Method::OPTIONS && place.has_preflight() {
        return service.preflight(place, &request);
    }
    let head = method == Method::HEAD && place.is_plain();
    // RFC 8441; whether it asks for a WebSocket is looked at there.
    let connect = method == Method::CONNECT && place.is_websocket();
    if method != place.method() && !head && !connect {
        let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(place.methods()));
        return response;
    }
    service.answer(place, request).await
}

impl Service {
    /// Whether what a path names is served.
    fn has(&self, place: Place<'_>) -> bool {
        match place {
            Place::WebSocket | Place::RawWebSocket => self.options.websocket,
            Place::Receive(Receive::Jsonp, _) | Place::Send(path::Send::Jsonp, _) => self.options.jsonp,
            Place::Iframe => self.page.is_some(),
            _ => true,
        }
    }

    async fn answer(&self, place: Place<'_>, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let mut response = match place {
            Place::Greeting => return text(StatusCode::OK, "Welcome to SockJS!\n"),
            Place::Iframe => {
                let page = self.page.as_ref();
                return page.map_or_else(
                    || StatusCode::NOT_FOUND.into_response(),
                    |page| page.answer(&parts.headers),
                );
            }
            Place::WebSocket | Place::RawWebSocket => {
                let request = Request::from_parts(parts, body);
                return websocket::open(self, place == Place::RawWebSocket, request).await;
            }
            Place::Info => self.info(),
            Place::Receive(way, session) => match self.receive(way, session, &mut parts).await {
                Reached::Here(response) => response,
                Reached::Elsewhere(node) => {
                    let comes = if way.polls() { Comes::Whole } else { Comes::Streaming };
                    return self.pass_on(&node, comes, Request::from_parts(parts, body)).await;
                }
            },
            Place::Send(way, session) => match self.known(session, &mut parts).await {
                Ok(Reached::Here(session)) => self.send(way, &session, &parts.headers, body).await,
                Ok(Reached::Elsewhere(node)) => {
                    return self.pass_on(&node, Comes::Whole, Request::from_parts(parts, body)).await;
                }
                Err(refusal) => refuse(refusal),
            },
        };
        if matches!(place, Place::Send(path::Send::Jsonp, _)) {
            // Its page posts a form into an iframe of its own, and waits for that to load.
            let policy = HeaderValue::from_static("default-src 'none'");
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        let cookie = self.options.cookie && place != Place::Info;
        headers::of_answer(&parts.headers, cookie, &mut response);
        response
    }

    fn preflight(&self, place: Place<'_>, request: &Request) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        headers::allow_methods(place.methods(), &mut response);
        headers::allow_origin(request.headers(), &mut response);
        if self.options.cookie && place != Place::Info {
            headers::set_cookie(request.headers(), &mut response);
        }
        response
    }

    /// What a client asks before it chooses a transport; the number is for its
    /// generator of random ones.
    fn info(&self) -> Response {
        let body = format!(
            r#"{{"websocket":{},"origins":["*:*"],"cookie_needed":{},"entropy":{}}}"#,
            self.options.websocket,
            self.options.cookie,
            rand::random::<u32>(),
        );
        ([(header::CONTENT_TYPE, headers::JSON)], body).into_response()
    }

    fn framing(&self, way: Receive, parts: &Parts) -> Result<Framing, &'static str> {
        const NONE: &str = "\"callback\" parameter required";
        const INVALID: &str = "invalid \"callback\" parameter";
        if !matches!(way, Receive::HtmlFile | Receive::Jsonp) {
            return Ok(Framing { way, callback: String::new(), policy: None });
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default()).map_err(|_| INVALID)?;
        let callback = query.get("c").or_else(|| query.get("callback")).ok_or(NONE)?;
        if !is_callback(callback) {
            return Err(INVALID);
        }
        let is_page = way == Receive::HtmlFile;
        let policy = is_page.then(|| script::policy(self.options.ancestors.as_ref()));
        Ok(Framing { way, callback: callback.to_owned(), policy })
    }

    async fn receive(&self, way: Receive, session: &str, parts: &mut Parts) -> Reached<Response> {
        let framing = match self.framing(way, parts) {
            Ok(framing) => framing,
            Err(wrong) => return Reached::Here(text(StatusCode::INTERNAL_SERVER_ERROR, wrong)),
        };
        match self.receiver(session, parts).await {
            Ok(Reached::Here(receiver)) => {
                let Options { heartbeat, response_limit, .. } = self.options;
                Reached::Here(receive::answer(receiver, framing, heartbeat, response_limit))
            }
            Ok(Reached::Elsewhere(node)) => Reached::Elsewhere(node),
            Err(refusal) => Reached::Here(refuse(refusal)),
        }
    }

    /// The right to receive of the session with this name, which is opened if no
    /// node has one.
    async fn receiver(&self, session: &str, parts: &mut Parts) -> Result<Reached<Receiver>, Refusal> {
        let name = Name { owner: self.host.owner(parts).await?, name: Box::from(session) };
        loop {
            match self.sessions.find(&name) {
                Lookup::Here(session) => {
                    if let Some(receiver) = session.receive() {
                        return Ok(Reached::Here(receiver));
                    }
                    // Forgotten in this moment: it is not found again.
                    self.sessions.remove(&session);
                }
                Lookup::Opening => return Ok(Reached::Here(Receiver::busy())),
                Lookup::Nothing => {
                    if let Some(node) = self.elsewhere(&name, parts).await? {
                        return Ok(Reached::Elsewhere(node));
                    }
                    let slot = Client::session(parts.extensions.get()).map_err(Refusal::too_many_sessions)?;
                    let Some(reserved) = self.sessions.reserve(name.clone()) else { continue };
                    let claim = match &self.others {
                        None => None,
                        Some(others) => match others.claims.claim(&name).await.map_err(unasked)? {
                            Ok(claim) => Some(claim),
                            // It was opened there in this moment.
                            Err(node) => return once(node, parts).map(Reached::Elsewhere),
                        },
                    };
                    let exchange = self.host.open(parts).await?;
                    let session = reserved.begin(exchange, Holding { claim, slot });
                    // Nobody else can have begun before.
                    return Ok(Reached::Here(session.receive().unwrap_or_else(Receiver::busy)));
                }
            }
        }
    }

    /// The session with this name, for a request that sends.
    async fn known(&self, session: &str, parts: &mut Parts) -> Result<Reached<Arc<Session>>, Refusal> {
        let name = Name { owner: self.host.owner(parts).await?, name: Box::from(session) };
        match self.sessions.find(&name) {
            Lookup::Here(session) => Ok(Reached::Here(session)),
            Lookup::Opening => Err(no_such_session()),
            Lookup::Nothing => {
                self.elsewhere(&name, parts).await?.map(Reached::Elsewhere).ok_or_else(no_such_session)
            }
        }
    }

    /// The other node that has the session with this name.
    async fn elsewhere(&self, name: &Name, parts: &Parts) -> Result<Option<String>, Refusal> {
        let Some(others) = &self.others else { return Ok(None) };
        match others.claims.holder(name).await.map_err(unasked)? {
            Holder::Here => Ok(None),
            Holder::Elsewhere(node) => once(node, parts).map(Some),
        }
    }

    async fn pass_on(&self, node: &str, comes: Comes, request: Request) -> Response {
        let Some(others) = &self.others else { return refuse(no_such_session()) };
        let (asked, cookie) = (request.headers().clone(), self.options.cookie);
        let refused = move |unreached| {
            let mut response = refuse(match unreached {
                Unreached::Gone => no_such_session(),
                Unreached::Full => Refusal::too_much_passed_on(),
            });
            headers::of_answer(&asked, cookie, &mut response);
            response
        };
        elsewhere::pass_on(&others.relay, node, request, comes, refused).await
    }
}

/// Where a request belongs.
enum Reached<T> {
    /// Here, with this.
    Here(T),
    /// To the node of this name.
    Elsewhere(String),
}

/// A request is passed on once: another node that sent it here was wrong.
fn once(node: String, parts: &Parts) -> Result<String, Refusal> {
    if elsewhere::is_relayed(&parts.extensions) { Err(no_such_session()) } else { Ok(node) }
}

fn no_such_session() -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        message: "there is no such session".to_owned(),
        retry_after: None,
    }
}

fn unasked(_: peer::Unknown) -> Refusal {
    Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        message: "which node has the session cannot be found out at the moment".to_owned(),
        retry_after: Some(1),
    }
}

/// SockJS's form of an answer that is no frame.
fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, headers::TEXT)], text.into()).into_response()
}

fn refuse(Refusal { status, message, retry_after }: Refusal) -> Response {
    let mut response = text(status, message);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
