//! The HTTP resources of PROTOCOL.md §5 over one connection that is kept
//! alive and made again when the server has closed it.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::error::{Error, Refusal, Result};
use super::{Account, Frame, resource};

/// Requests of one user to one gateway, one at a time.
#[derive(Debug)]
pub struct Http {
    authority: String,
    token: String,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Drives the connection; ends with this value.
    driver: JoinSet<()>,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// All headers of the response.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Http {
    /// Connects with the first request.
    pub fn new(account: &Account) -> Result<Self> {
        Ok(Self {
            authority: account.authority()?.to_owned(),
            token: account.token.clone(),
            sender: None,
            driver: JoinSet::new(),
        })
    }

    /// A command frame as its HTTP resource; gives the answer as the frame
    /// that a two-way transport would have brought, without `ref`.
    pub async fn command(&mut self, command: &Value) -> Result<Frame> {
        let resource = resource::of(command)?;
        let answer = self.request(resource.method, &resource.path, resource.body.as_ref()).await?;
        let mut fields = answer.json()?;
        let sent = command["type"] == "send" || command["type"] == "publish";
        let kind = if sent { "sent" } else { "ok" };
        if let Value::Object(fields) = &mut fields {
            fields.insert("type".to_owned(), json!(kind));
        }
        Frame::checked(fields)
    }

    /// Sends a request, with a JSON body where one is given.
    pub async fn request(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.request_with(method, path, body, &[]).await
    }

    /// Any request with headers of its own.
    pub async fn request_with(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut headers = headers.to_vec();
        if body.is_some() {
            headers.push((CONTENT_TYPE.as_str(), "application/json"));
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        self.request_bytes(method, path, bytes, &headers).await
    }

    /// Any request with a body that need not be JSON. Without a token it says
    /// nothing of who asks.
    pub async fn request_bytes(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.authority);
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(Error::broken)?;
        self.exchange(request).await
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        // Put back only when the answer has been read: a request that was
        // dropped half way leaves a connection that nobody may use again.
        let (mut sender, kept) = match self.sender.take() {
            Some(sender) => (sender, true),
            None => (self.connect().await?, false),
        };
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => match error.take_message() {
                // The server had closed it before the request was written.
                Some(request) if kept => {
                    sender = self.connect().await?;
                    sender.send_request(request).await.map_err(Error::broken)?
                }
                _ => return Err(Error::broken(error.error())),
            },
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(Error::broken)?.to_bytes();
        self.sender = Some(sender);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>> {
        self.driver.abort_all();
        let stream =
            TcpStream::connect(&self.authority).await.map_err(|error| Error::Unreached(error.to_string()))?;
        stream.set_nodelay(true).map_err(Error::broken)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Error::broken)?;
        self.driver.spawn(async move {
            // Its failure is the request's failure too.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

impl Answer {
    /// The body of a 2xx; any other status is a refusal.
    pub fn json(&self) -> Result<Value> {
        let body = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        if !(200..300).contains(&self.status) {
            return Err(Error::Refused(Refusal::read(self.status, &body)));
        }
        if body.is_null() {
            return Err(Error::broken(format!("status {} without JSON", self.status)));
        }
        Ok(body)
    }
}
