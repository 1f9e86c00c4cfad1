//! Switchboard's commands and frames as Socket.IO's events (PROTOCOL.md §6). An event
//! from a client is the command of that name, and its acknowledgement is the answer. A
//! frame is an event that is named after its type; its last argument is the cursor.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{Extensions, HeaderMap};
use proto::{Class, Cursor, DeviceId, End, ErrorCode, UserId};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower_http::cors::CorsLayer;

use super::two_way::{TwoWay, refusal};
use crate::caller::half_sent::Part;
use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::protocol::command::MAX_FRAME_BYTES;
use crate::protocol::failure::Failure;
use crate::protocol::fields::Fields;
use crate::protocol::frame::Frame;
use crate::protocol::query::Query;
use crate::session::tail::StartAt;
use crate::transport::engineio;
use crate::transport::inside::{Close, Refusal};
use crate::transport::socketio::{
    Connecting, Event, Leave, Namespaces, NotConnected, Payload, Said, Socket, SocketIo, Visitor,
};

/// The transport's name in metrics.
const NAME: &str = "socketio";
/// The only namespace.
const MAIN: &str = "/";
/// The beginning of a `ref` that stands for an acknowledgement. No `ref` of a client
/// begins with it.
const ACK: char = '~';
/// A node without room at the moment closes the connection, as clients come back by
/// themselves after that.
const LATER: u16 = 1013;

/// The time in which a client must say who it is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(45);
/// The time in which an upgrade to a WebSocket must be completed.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// The routes of `/socket.io/`.
pub(super) fn routes(gateway: &Arc<Gateway>, stop: CancellationToken) -> Router<Arc<Gateway>> {
    let config = &gateway.config;
    let settings = engineio::Settings {
        node: config.node.clone(),
        ping_interval: config.heartbeat,
        // A client that is silent for two heartbeats is gone, as everywhere.
        ping_timeout: config.heartbeat,
        max_payload: MAX_FRAME_BYTES,
        upgrade_timeout: UPGRADE_TIMEOUT,
        // A client that polls counts as a connection.
        max_polling: config.limits.max_connections,
    };
    let inside = SocketIo::new(Arc::new(Events { gateway: gateway.clone() }), CONNECT_TIMEOUT);
    let relay = gateway.others.as_ref().map(|others| others.relay.clone());
    let tracker = &gateway.context.tracker;
    let server = engineio::Server::start(Arc::new(inside), settings, relay, tracker, stop);
    engineio::routes("/socket.io/", &server)
}

/// The CORS layer: which pages may use the routes.
pub(super) fn cors(gateway: &Arc<Gateway>) -> CorsLayer {
    let origins = gateway.config.origins.clone();
    engineio::cors(move |origin: &str| origins.any() || origins.allows(origin))
}

/// The namespaces of this gateway: there is only the main one.
struct Events {
    gateway: Arc<Gateway>,
}

#[async_trait]
impl Namespaces for Events {
    /// Clients do not come back by themselves after `connect_error`. So a gateway
    /// without room refuses them before that.
    async fn open(&self, request: &Parts) -> Result<Box<dyn Visitor>, Refusal> {
        let gateway = &self.gateway;
        if !gateway.sessions.takes_sessions() || gateway.context.routers.available() == 0 {
            return Err(refusal(Failure::unavailable("this node takes no sessions at the moment")));
        }
        let query = request.uri.query().unwrap_or_default().to_owned();
        Ok(Box::new(Guest {
            gateway: gateway.clone(),
            request: Arc::new((request.headers.clone(), query)),
            held: Part::of_nobody(&gateway.half_sent),
            draining: Box::pin(gateway.context.draining.clone().cancelled_owned()),
        }))
    }
}

/// A client that has not said yet who it is.
struct Guest {
    gateway: Arc<Gateway>,
    /// The headers and the query of the request that opened the connection.
    request: Arc<(HeaderMap, String)>,
    held: Part,
    /// Ends clients without a session when the node stops: those with one are ended
    /// with it.
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Visitor for Guest {
    fn connect(&mut self, namespace: &str, auth: Option<String>) -> Option<Connecting> {
        if namespace != MAIN {
            return None;
        }
        let (gateway, request) = (self.gateway.clone(), self.request.clone());
        Some(Box::pin(async move {
            let (headers, query) = &*request;
            begin(gateway, headers, query, auth.as_deref().unwrap_or("{}")).await
        }))
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        self.draining.as_mut().poll(cx).map(|()| Close::of(End::Shutdown))
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.held.hold(bytes).map_err(refusal)
    }
}

/// The `auth` object of a client.
struct Auth {
    token: Option<String>,
    device: Option<DeviceId>,
    cursor: Option<String>,
    /// The id of the connection that the client had before; clients send it by
    /// themselves.
    recovery: Option<(Pid, String)>,
}

impl Auth {
    fn parse(json: &str) -> Result<Self, Failure> {
        let fields = Fields::from_text(json)?;
        let text = |name| fields.text(name).map(|text| text.map(std::borrow::Cow::into_owned));
        let pid = text("pid")?.as_deref().and_then(Pid::parse);
        Ok(Self {
            token: text("token")?,
            device: fields.id("device", DeviceId::parse)?,
            cursor: text("cursor")?,
            recovery: pid.zip(text("offset")?),
        })
    }

    /// Where to begin. The last cursor that the client has seen comes before the one
    /// that its program gives, which may be the same each time.
    fn start(&self, user: &UserId) -> Result<StartAt, Failure> {
        match &self.recovery {
            Some((pid, offset)) if pid.user == *user => StartAt::parse(Some(offset)),
            _ => StartAt::parse(self.cursor.as_deref()),
        }
    }
}

/// The id by which a client's connection is recovered: its user, its device, and
/// random bits that nobody can guess.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pid {
    user: UserId,
    device: DeviceId,
    secret: String,
}

impl Pid {
    fn new(user: UserId, device: DeviceId) -> Self {
        Self { user, device, secret: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()) }
    }

    /// `None` if the text was not made by a gateway.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let secret = parts.next()?.to_owned();
        let user = UserId::parse(parts.next()?).ok()?;
        let device = DeviceId::parse(parts.next()?).ok()?;
        Some(Self { user, device, secret })
    }

    fn text(&self) -> String {
        format!("{}/{}/{}", self.secret, self.user, self.device)
    }
}

async fn begin(
    gateway: Arc<Gateway>,
    headers: &HeaderMap,
    query: &str,
    auth: &str,
) -> Result<Box<dyn Socket>, NotConnected> {
    Box::pin(open(gateway, headers, query, auth)).await.map_err(|failure| match failure.code {
        // The reason passes by itself.
        ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Internal => {
            NotConnected::Connection(Close { code: LATER, reason: failure.code.as_str().into() })
        }
        _ => NotConnected::Error(connect_error(&failure)),
    })
}

/// The JSON of `connect_error`: `message`, where clients look for it, and the whole
/// error.
fn connect_error(failure: &Failure) -> String {
    let mut json = String::from(r#"{"message":"#);
    crate::protocol::json::escape(&mut json, &failure.message);
    json.push_str(r#","data":{"#);
    failure.write_members(&mut json);
    json.push_str("}}");
    json
}

async fn open(
    gateway: Arc<Gateway>,
    headers: &HeaderMap,
    query: &str,
    auth: &str,
) -> Result<Box<dyn Socket>, Failure> {
    let auth = Auth::parse(auth)?;
    let query = Query::parse(query)?;
    let caller = match &auth.token {
        Some(token) => {
            let identity = gateway.callers.believed.verify(token).await?;
            let asked = auth.device.clone().or(query.device()?);
            let made_up = || {
                let known = auth.recovery.as_ref().filter(|(pid, _)| pid.user == identity.user);
                known.map_or_else(DeviceId::random, |(pid, _)| pid.device.clone())
            };
            let device = identity.device.clone().or(asked).unwrap_or_else(made_up);
            Caller { user: identity.user.clone(), device, identity, acting: false, by_ticket: false }
        }
        None => gateway.callers.caller(headers, &Extensions::new(), &query).await?,
    };
    gateway.callers.rates.enter(caller.payer(), Class::Attach, 1).await?;
    let from = auth.start(&caller.user)?;
    let mut session = TwoWay::open(&gateway, NAME, &caller, from).await?;
    let Caller { user, device, .. } = caller;
    let mut first = Vec::new();
    let begun = poll_fn(|cx| session.poll_frames(cx, &mut first, 1)).await;
    let Some(Frame::Welcome(welcome)) = first.first().cloned() else {
        let why = begun.err().unwrap_or(End::Shutdown).as_str();
        return Err(Failure::unavailable(format!("the session has ended at once: {why}")));
    };
    let resumed = welcome.resumed;
    let recovered = auth.recovery.filter(|(pid, _)| resumed && pid.user == user && pid.device == device);
    let pid = recovered.map_or_else(|| Pid::new(user, device), |(pid, _)| pid);
    let id = welcome.session.clone();
    Ok(Box::new(SessionSocket { session, id, pid: pid.text(), first }))
}

/// A session in the main namespace.
struct SessionSocket {
    session: TwoWay,
    id: String,
    pid: String,
    /// The first frames of the session, which were read before it was connected.
    first: Vec<Frame>,
}

impl Socket for SessionSocket {
    fn connected(&self) -> String {
        format!(r#"{{"sid":"{}","pid":"{}"}}"#, self.id, self.pid)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.poll_ready(cx)
    }

    fn hear(&mut self, event: Event<'_>) -> Result<(), Leave> {
        let Event { name, elements, attachments, id } = event;
        let ack = id.map(|id| format!("{ACK}{id}").into_boxed_str());
        let fields = match elements {
            _ if !attachments.is_empty() => Err(Failure::bad_request(
                "a command has no bytes in it: what is not JSON goes as text, such as base64",
            )),
            [] => Ok(Fields::empty()),
            [fields] => Fields::from_text(fields.get()),
            _ => Err(Failure::bad_request("a command is its name and one object with its fields")),
        };
        self.session.hear(|uplink| uplink.event(&name, fields, ack));
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.session.hold(bytes).map_err(refusal)
    }

    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Said>,
        most: usize,
    ) -> Poll<Result<(), Leave>> {
        let mut frames = std::mem::take(&mut self.first);
        if frames.is_empty() {
            let polled = self.session.poll_frames(cx, &mut frames, most);
            frames.into_iter().for_each(|frame| say(frame, out));
            return polled.map_err(leave);
        }
        frames.into_iter().for_each(|frame| say(frame, out));
        Poll::Ready(Ok(()))
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.poll_over(cx)
    }

    fn lose(&mut self) -> Close {
        Close::of(self.session.lose())
    }
}

/// How a session's end is told: clients that should come back do so by themselves
/// when the connection ends.
fn leave(end: End) -> Leave {
    match end {
        End::Replaced | End::Kicked | End::Revoked => Leave::Namespace,
        end => Leave::Connection(Close::of(end)),
    }
}

/// Writes a frame as an event or as an acknowledgement. An acknowledgement does not
/// move the client's cursor, so an event with nothing but the cursor follows it.
fn say(mut frame: Frame, out: &mut Vec<Said>) {
    let cursor = frame.cursor();
    let acknowledged = frame.reference_mut().and_then(|reference| {
        let id = reference.as_deref()?.strip_prefix(ACK)?.parse().ok()?;
        *reference = None;
        Some(id)
    });
    if let Some(id) = acknowledged {
        out.push(Said::Ack(id, Payload::text(format!("[{}]", frame.to_json()))));
        out.extend(cursor.map(|cursor| said_cursor(&cursor)));
        return;
    }
    let mut json = format!(r#"["{}","#, frame.kind());
    frame.write_json(&mut json);
    if let Some(cursor) = cursor {
        json.push_str(&format!(r#","{cursor}""#));
    }
    json.push(']');
    out.push(Said::Event(None, Payload::text(json)));
}

fn said_cursor(cursor: &Cursor) -> Said {
    Said::Event(None, Payload::text(format!(r#"["cursor","{cursor}"]"#)))
}
