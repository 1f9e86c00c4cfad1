//! SockJS 0.3.4: sessions of its clients over WebSocket, streaming and polling,
//! with its frames and paths. What the messages mean is said by whoever is
//! [`Host`]; where a path leads by [`path`].

mod frame;
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

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use proto::UserId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::page::Page;
use self::path::{Place, Receive};
use self::receive::{Framing, is_callback};
use self::session::{Receiver, Session};
use self::sessions::{Found, Sessions};
use crate::config::ClientUrl;
use crate::gateway::Gateway;
use crate::protocol::command::MAX_FRAME_BYTES;
use crate::protocol::query::Query;
use crate::transport::inside::{Inside, Refusal};
use crate::transport::json_exchange::JsonFrames;

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
    routes("/sockjs", options, Surroundings { host, tracker: gateway.context.tracker.clone(), stop })
}

/// How long a session waits for a request that receives (by SockJS's protocol).
pub const ABSENCE: Duration = Duration::from_secs(5);
/// Bytes of one request's body: a client sends all that has gathered while its last
/// request was under way in one, and each message may be as large as a frame.
const MAX_BODY_BYTES: usize = 4 * MAX_FRAME_BYTES;
/// Bytes of one answer that goes on, by default.
pub const RESPONSE_LIMIT: usize = 128 << 10;

/// Whoever speaks inside a service's sessions.
#[async_trait]
pub trait Host: Inside {
    /// Who makes this request. Asked of each that is for a session by name: clients
    /// choose the names, and only who has opened a session may continue it. What it
    /// finds out may be left in the request's extensions for [`Inside::open`].
    async fn owner(&self, request: &mut Parts) -> Result<UserId, Refusal>;
}

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
    tracker: TaskTracker,
}

/// What a service needs of its surroundings.
pub struct Surroundings {
    /// Whoever speaks inside.
    pub host: Arc<dyn Host>,
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
    Surroundings { host, tracker, stop }: Surroundings,
) -> Router<S> {
    let sessions = Sessions::new(ABSENCE);
    let forgetting = sessions.clone().forget();
    tracker.spawn(async move { stop.run_until_cancelled(forgetting).await });
    let page = options.client.as_ref().map(|client| Page::new(client, options.ancestors.as_ref()));
    let service = Service { prefix: prefix.to_owned(), options, page, host, sessions, tracker };
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
            Place::Receive(way, session) => self.receive(way, session, &mut parts).await,
            Place::Send(way, session) => self.send(way, session, &mut parts, body).await,
        };
        headers::keep_nothing(&mut response);
        headers::allow_origin(&parts.headers, &mut response);
        if self.options.cookie && place != Place::Info {
            headers::set_cookie(&parts.headers, &mut response);
        }
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

    async fn receive(&self, way: Receive, session: &str, parts: &mut Parts) -> Response {
        let framing = match framing(way, parts) {
            Ok(framing) => framing,
            Err(wrong) => return text(StatusCode::INTERNAL_SERVER_ERROR, wrong),
        };
        match self.receiver(session, parts).await {
            Ok(receiver) => {
                receive::answer(receiver, framing, self.options.heartbeat, self.options.response_limit)
            }
            Err(refusal) => refuse(refusal),
        }
    }

    /// The right to receive of the session with this name, which is opened if
    /// there is none.
    async fn receiver(&self, session: &str, parts: &mut Parts) -> Result<Receiver, Refusal> {
        let name = (self.host.owner(parts).await?, Box::from(session));
        loop {
            match self.sessions.find(&name) {
                Found::Here(session) => {
                    if let Some(receiver) = session.receive() {
                        return Ok(receiver);
                    }
                    // Forgotten in this moment: it is not found again.
                    self.sessions.remove(&session);
                }
                Found::Opening => return Ok(Receiver::busy()),
                Found::Nothing => {
                    let Some(reserved) = self.sessions.reserve(name.clone()) else { continue };
                    let exchange = self.host.open(parts).await?;
                    let session = reserved.begin(exchange);
                    // Nobody else can have begun before.
                    return Ok(session.receive().unwrap_or_else(Receiver::busy));
                }
            }
        }
    }

    /// The session with this name, for a request that sends.
    async fn known(&self, session: &str, parts: &mut Parts) -> Result<Arc<Session>, Refusal> {
        let owner = self.host.owner(parts).await?;
        match self.sessions.find(&(owner, Box::from(session))) {
            Found::Here(session) => Ok(session),
            Found::Opening | Found::Nothing => Err(Refusal {
                status: StatusCode::NOT_FOUND,
                message: "there is no such session".to_owned(),
                retry_after: None,
            }),
        }
    }
}

fn framing(way: Receive, parts: &Parts) -> Result<Framing, &'static str> {
    const NONE: &str = "\"callback\" parameter required";
    const INVALID: &str = "invalid \"callback\" parameter";
    if !matches!(way, Receive::HtmlFile | Receive::Jsonp) {
        return Ok(Framing { way, callback: String::new() });
    }
    let query = Query::parse(parts.uri.query().unwrap_or_default()).map_err(|_| INVALID)?;
    let callback = query.get("c").or_else(|| query.get("callback")).ok_or(NONE)?;
    if !is_callback(callback) {
        return Err(INVALID);
    }
    Ok(Framing { way, callback: callback.to_owned() })
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
