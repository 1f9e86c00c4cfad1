//! Commands over HTTP (PROTOCOL.md §5, last column). A resource names a
//! command; path, query and body give its fields; the response is the router's
//! answer, or what the command's parser refuses.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use axum::RequestExt as _;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use prost::Message as _;
use proto::CommandKind;
use proto::command::Method;

use crate::accept::body::{Ungathered, gather};
use crate::caller::half_sent::Part;
use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::http::catalogue::{Field, RESOURCES, Resource, Served};
use crate::metrics;
use crate::protocol::answer::Answer;
use crate::protocol::binary::{self, accepts_protobuf, is_protobuf};
use crate::protocol::command::{Command, MAX_FRAME_BYTES};
use crate::protocol::failure::Failure;
use crate::protocol::fields::Fields;
use crate::protocol::query::Query;

/// The resources that are commands, from the catalogue.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    let mut paths: BTreeMap<&str, MethodRouter<Arc<Gateway>>> = BTreeMap::new();
    for resource in RESOURCES {
        if let Served::Command(kind, fixed) = resource.served {
            let methods = paths.remove(resource.path).unwrap_or_default();
            paths.insert(resource.path, methods.on(filter(resource.method), serve(resource, kind, fixed)));
        }
    }
    paths.into_iter().fold(axum::Router::new(), |routes, (path, methods)| routes.route(path, methods))
}

/// The response for a method that a path does not have; axum adds `Allow`.
pub async fn no_such_method() -> Response {
    let failure = Failure::bad_request("this path has no such method; `Allow` lists those that it has");
    (StatusCode::METHOD_NOT_ALLOWED, failure).into_response_with_status()
}

/// The response for an unknown path.
pub async fn no_such_path() -> Failure {
    Failure::not_found("there is nothing at this path")
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Put => MethodFilter::PUT,
        Method::Post => MethodFilter::POST,
        Method::Delete => MethodFilter::DELETE,
    }
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Result<Response, Response>> + Send>>;

/// Executes the resource's command with the fields of body, query and path;
/// where they conflict the path counts.
fn serve(
    resource: &'static Resource,
    kind: CommandKind,
    fixed: &'static [(&'static str, &'static str)],
) -> impl Fn(State<Arc<Gateway>>, Request) -> Answering + Clone {
    move |State(gateway), request| {
        Box::pin(async move {
            let CallerRequest { caller, path, query, request } = ask(&gateway, request, resource).await?;
            let (parts, body) = request.into_parts();
            let bytes = if resource.method.has_body() {
                let part = Part::new(&gateway.half_sent, &caller.identity.user);
                read_body(kind, &parts.headers, body, part).await?
            } else {
                Bytes::new()
            };
            // A command without required fields needs no body.
            let mut fields = match kind {
                _ if bytes.is_empty() => Fields::empty(),
                kind if has_protobuf(&parts.headers) => binary::decode_alone(kind, &bytes)?,
                _ => Fields::from_json(&bytes)?,
            };
            path.into_iter().chain(query).for_each(|(name, text)| fields.set(name, text));
            fixed.iter().for_each(|(name, text)| fields.set(name, (*text).to_owned()));
            let command = Command::of(kind, &fields)?;
            answer(&gateway, &caller, command, &parts.headers).await
        })
    }
}

type Texts = Vec<(&'static str, String)>;

/// A request whose caller is known.
struct CallerRequest {
    caller: Caller,
    path: Texts,
    query: Texts,
    request: Request,
}

/// Finds out the caller before it reads anything else of the request.
async fn ask(
    gateway: &Arc<Gateway>,
    mut request: Request,
    resource: &Resource,
) -> Result<CallerRequest, Failure> {
    let path: Result<RawPathParams, RawPathParamsRejection> = request.extract_parts().await;
    let uri = request.uri().clone();
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let caller = gateway.callers.caller(request.headers(), request.extensions(), &query).await?;
    let path = path.map_err(|_| Failure::bad_request("the path is not UTF-8"))?;
    let named = |fields: &'static [Field], name: &str| {
        fields.iter().map(|field| field.name).find(|known| *known == name)
    };
    let path = path.iter().filter_map(|(name, text)| Some((named(resource.in_path, name)?, text.to_owned())));
    let path = path.collect();
    let in_query = resource.in_query.iter().map(|field| field.name);
    let query = in_query.filter_map(|name| Some((name, query.get(name)?.to_owned()))).collect();
    Ok(CallerRequest { caller, path, query, request })
}

async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    command: Command,
    asked: &HeaderMap,
) -> Result<Response, Response> {
    caller.identity.permissions.permit(&caller.user, &command)?;
    let may = gateway.callers.rates.enter(caller.payer(), command.class(), command.units()).await;
    may.inspect_err(|failure| metrics::command(command.kind(), Some(failure.code)))?;
    let scopes = caller.identity.permissions.scopes;
    let answer = gateway.commands.execute(&caller.user, &caller.device, scopes, command).await?;
    let (form, body) = match &answer {
        Answer::Sent(conversation, sent) if has_protobuf(asked) || accepts_protobuf(asked) => {
            (binary::CONTENT_TYPE, binary::sent_message(conversation.as_str(), sent).encode_to_vec())
        }
        Answer::Results(results) if has_protobuf(asked) || accepts_protobuf(asked) => {
            (binary::CONTENT_TYPE, binary::results_message(results).encode_to_vec())
        }
        Answer::Published(channel, sent) if has_protobuf(asked) || accepts_protobuf(asked) => {
            (binary::CONTENT_TYPE, binary::published_message(channel.as_str(), sent).encode_to_vec())
        }
        answer => ("application/json", answer.to_json().into_bytes()),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(form)),
        // An answer is for one user, and soon out of date.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}

/// Reads the whole body, within limits of size and time. Until it is complete
/// its bytes count in `part`.
async fn read_body(
    kind: CommandKind,
    headers: &HeaderMap,
    body: Body,
    part: Part,
) -> Result<Bytes, Response> {
    let bytes = whole_body(body, part).await?;
    let protobuf = binary::comes_alone(kind) && has_protobuf(headers);
    if !bytes.is_empty() && !is_json_or_text(headers) && !protobuf {
        let failure = Failure::bad_request("`Content-Type` must be application/json or text/plain, in UTF-8");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, failure).into_response_with_status());
    }
    Ok(bytes)
}

/// The whole body, of which a `part` is held while it is on its way.
async fn whole_body(body: Body, mut part: Part) -> Result<Bytes, Response> {
    let wrong = match gather(body, MAX_FRAME_BYTES, |bytes| part.hold(bytes)).await {
        Ok(bytes) => return Ok(bytes),
        Err(wrong) => wrong,
    };
    Err(match wrong {
        Ungathered::TooLarge => {
            Failure::too_large(format!("the request has more than {MAX_FRAME_BYTES} bytes")).into()
        }
        Ungathered::Late => {
            let failure = Failure::bad_request("the request's body did not arrive in time");
            (StatusCode::REQUEST_TIMEOUT, failure).into_response_with_status()
        }
        Ungathered::Broken => Failure::bad_request("the request's body broke off").into(),
        Ungathered::NoRoom(failure) => failure.into(),
    })
}

/// Whether the body is protobuf, which only some commands accept.
fn has_protobuf(headers: &HeaderMap) -> bool {
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    form.is_some_and(is_protobuf)
}

/// A body without a type is taken for JSON, and must then be JSON.
fn is_json_or_text(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let known = matches!(parts.next(), Some("application/json" | "text/plain"));
    let mut charsets = parts.filter_map(|parameter| parameter.strip_prefix("charset="));
    known && charsets.all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"))
}

/// A failure with another status than that of its code.
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
