//! Commands over HTTP (PROTOCOL.md §5, last column). A resource names a command;
//! its path, query and body give the fields; what the command's parser says of
//! them, and the router's answer, is the response.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::RequestExt as _;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use prost::Message as _;

use crate::answer::Answer;
use crate::binary::{self, accepts_protobuf, is_protobuf};
use crate::command::{Command, MAX_FRAME_BYTES};
use crate::credentials::{self, Caller};
use crate::execute::execute;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::gateway::Gateway;
use crate::query::Query;

/// For the last byte of a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// The resources.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new()
        .route("/v1/messages", post(with_body("send")))
        .route("/v1/ack", post(with_body("ack")))
        .route("/v1/conversations", conversations())
        .route("/v1/conversations/{conversation}", put(with_body("rename")))
        .route("/v1/conversations/{conversation}/read", post(with_body("read")))
        .route("/v1/conversations/{conversation}/typing", post(with_body("typing")))
        .route(
            "/v1/conversations/{conversation}/messages",
            get(without_body("history", &["before", "after", "limit"])),
        )
        .route("/v1/conversations/{conversation}/members", members())
        .route("/v1/conversations/{conversation}/members/{user}", delete(without_body("remove_member", &[])))
}

fn conversations() -> MethodRouter<Arc<Gateway>> {
    get(without_body("conversations", &["limit", "page"])).post(with_body("create_group"))
}

fn members() -> MethodRouter<Arc<Gateway>> {
    get(without_body("members", &[])).post(with_body("add_members"))
}

/// The answer for a method that a path does not have; axum adds `Allow`.
pub async fn no_such_method() -> Response {
    let failure = Failure::bad_request("this path has no such method; `Allow` lists those that it has");
    (StatusCode::METHOD_NOT_ALLOWED, failure).into_response_with_status()
}

/// The answer for a path that there is not.
pub async fn no_such_path() -> Failure {
    Failure::not_found("there is nothing at this path")
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Result<Response, Response>> + Send>>;

/// A command whose fields come in the body.
fn with_body(kind: &'static str) -> impl Fn(State<Arc<Gateway>>, Request) -> Answering + Clone {
    move |State(gateway), request| {
        Box::pin(async move {
            let Asked { caller, path, request, .. } = ask(&gateway, request, &[]).await?;
            let (parts, body) = request.into_parts();
            let body = read_body(&parts.headers, body).await?;
            // What needs no fields needs no body either.
            let mut fields = match kind {
                _ if body.is_empty() => Fields::empty(),
                "send" if has_protobuf(&parts.headers) => binary::decode_send(&body)?,
                _ => Fields::from_json(&body)?,
            };
            path.into_iter().for_each(|(name, text)| fields.set(name, text));
            let command = Command::parse(kind, &fields)?;
            answer(&gateway, &caller, command, &parts.headers).await
        })
    }
}

/// A command whose fields come in the query.
fn without_body(
    kind: &'static str,
    parameters: &'static [&'static str],
) -> impl Fn(State<Arc<Gateway>>, Request) -> Answering + Clone {
    move |State(gateway), request| {
        Box::pin(async move {
            let Asked { caller, path, query, request } = ask(&gateway, request, parameters).await?;
            let mut fields = Fields::empty();
            path.into_iter().chain(query).for_each(|(name, text)| fields.set(name, text));
            let command = Command::parse(kind, &fields)?;
            answer(&gateway, &caller, command, request.headers()).await
        })
    }
}

type Texts = Vec<(&'static str, String)>;

/// A request whose caller is known.
struct Asked {
    caller: Caller,
    path: Texts,
    query: Texts,
    request: Request,
}

/// Finds out who asks before anything else of the request is looked at.
async fn ask(gateway: &Gateway, mut request: Request, parameters: &[&'static str]) -> Result<Asked, Failure> {
    let path: Result<RawPathParams, RawPathParamsRejection> = request.extract_parts().await;
    let uri = request.uri().clone();
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let caller = credentials::caller(gateway, request.headers(), &query).await?;
    let path = path.map_err(|_| Failure::bad_request("the path is not UTF-8"))?;
    let path = path.iter().filter_map(|(name, text)| Some((field_of_path(name)?, text.to_owned()))).collect();
    let query = parameters.iter().filter_map(|name| Some((*name, query.get(name)?.to_owned()))).collect();
    Ok(Asked { caller, path, query, request })
}

fn field_of_path(name: &str) -> Option<&'static str> {
    ["conversation", "user"].into_iter().find(|known| *known == name)
}

async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    command: Command,
    asked: &HeaderMap,
) -> Result<Response, Response> {
    let answer = execute(gateway, &caller.user, &caller.device, command).await?;
    let (form, body) = match &answer {
        Answer::Sent(conversation, sent) if has_protobuf(asked) || accepts_protobuf(asked) => {
            (binary::CONTENT_TYPE, binary::sent_message(conversation.as_str(), sent).encode_to_vec())
        }
        answer => ("application/json", answer.to_json().into_bytes()),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(form)),
        // One user's answer is nobody else's, and old in a moment.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}

/// The whole body, within bounds of size and time.
async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Response> {
    let limited = Limited::new(body, MAX_FRAME_BYTES).collect();
    let Ok(collected) = tokio::time::timeout(BODY_TIMEOUT, limited).await else {
        let failure = Failure::bad_request("the request's body did not arrive in time");
        return Err((StatusCode::REQUEST_TIMEOUT, failure).into_response_with_status());
    };
    let bytes = match collected {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let text = format!("the request has more than {MAX_FRAME_BYTES} bytes");
            return Err(Failure::too_large(text).into_response());
        }
        Err(_) => return Err(Failure::bad_request("the request's body broke off").into_response()),
    };
    if !bytes.is_empty() && !is_json_or_text(headers) && !has_protobuf(headers) {
        let failure = Failure::bad_request("`Content-Type` must be application/json or text/plain, in UTF-8");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, failure).into_response_with_status());
    }
    Ok(bytes)
}

/// Only a `send` may come as protobuf; for others it is no JSON.
fn has_protobuf(headers: &HeaderMap) -> bool {
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    form.is_some_and(is_protobuf)
}

/// Without a type it is taken for JSON, which it must then be.
fn is_json_or_text(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let known = matches!(parts.next(), Some("application/json" | "text/plain"));
    let mut charsets = parts.filter_map(|parameter| parameter.strip_prefix("charset="));
    known && charsets.all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"))
}

/// A failure with another status than its code's.
trait WithStatus {
    fn into_response_with_status(self) -> Response;
}

impl WithStatus for (StatusCode, Failure) {
    fn into_response_with_status(self) -> Response {
        let (status, failure) = self;
        let mut response = failure.into_response();
        *response.status_mut() = status;
        response
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        failure.into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_or_text_in_utf_8() {
        let taken = |text: &'static str| {
            is_json_or_text(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]))
        };
        for text in ["application/json", "Text/Plain;charset=UTF-8", "application/json; charset=\"utf-8\""] {
            assert!(taken(text), "{text}");
        }
        for text in
            ["application/x-www-form-urlencoded", "text/plain; charset=latin1", "application/jsonx", ""]
        {
            assert!(!taken(text), "{text}");
        }
        assert!(is_json_or_text(&HeaderMap::new()));
    }
}
