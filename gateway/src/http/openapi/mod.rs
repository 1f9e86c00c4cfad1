//! `GET /v1/openapi.json`: the HTTP resources as OpenAPI 3.1, made from the
//! same table as the routes, and from the parsers' constants. In reading order:
//! the document, [`forms`] (parameters), [`answers`] (answers), [`frames`]
//! (frames of streams and polls). Everything has an example; tests compare them
//! with the schemas, and send those of the requests.

mod answers;
mod forms;
mod frames;
mod schema;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Map, Value, json};

use crate::gateway::Gateway;
use crate::http::catalogue::{Answer, Field, Form, RESOURCES, Resource, Served};
use crate::protocol::binary;
use crate::protocol::command::{MAX_BODY_BYTES, MAX_FRAME_BYTES};

/// The path of the document.
pub const PATH: &str = "/v1/openapi.json";

/// `GET /v1/openapi.json`; needs no credential.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route(PATH, get(serve))
}

async fn serve() -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (headers, TEXT.clone()).into_response()
}

/// The document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for resource in RESOURCES {
        let path = paths.entry(resource.path).or_insert_with(|| json!({}));
        path[resource.method.as_str()] = operation(resource);
    }
    paths.insert(PATH.to_owned(), json!({ "get": own_operation() }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Switchboard",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!(
                "The commands of the client protocol over HTTP, on any node. A body has at most \
                 {MAX_FRAME_BYTES} bytes, a message's `body` at most {MAX_BODY_BYTES} as it is sent. Bodies \
                 may also come as `text/plain`. Not described here: `POST /dev/token` of a standalone server, \
                 the Socket.IO and SockJS endpoints."
            ),
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }, { "token": [] }, { "ticket": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "token": {
                    "type": "apiKey", "in": "query", "name": "token",
                    "description": "The same token, where no header can be set",
                },
                "ticket": {
                    "type": "apiKey", "in": "query", "name": "ticket",
                    "description": "A one-time ticket from `POST /v1/tickets`",
                },
            },
            "parameters": {
                "device": parameter("query", &forms::DEVICE, "Names the device, where the token does not"),
                "as": parameter(
                    "query", &forms::AS,
                    "For whom a backend acts; needs the scope `service`. The header `Switchboard-As` counts \
                     before it",
                ),
            },
            "schemas": answers::schemas(),
            "responses": answers::refusals(),
        },
    })
}

fn operation(resource: &Resource) -> Value {
    let mut parameters: Vec<Value> =
        ["device", "as"].map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })).to_vec();
    parameters.extend(resource.in_path.iter().map(|field| parameter("path", field, "")));
    parameters.extend(resource.in_query.iter().map(|field| parameter("query", field, "")));
    let mut operation = json!({
        "operationId": operation_id(resource),
        "summary": resource.summary,
        "tags": [resource.path.split('/').nth(2).unwrap_or_default()],
        "parameters": parameters,
        "responses": responses(resource),
    });
    if !resource.more.is_empty() {
        operation["description"] = json!(resource.more);
    }
    if !resource.in_body.is_empty() {
        operation["requestBody"] = json!({ "required": true, "content": content_of_body(resource) });
    }
    operation
}

/// The operation's id: its name, and for `react`, which is two resources, also
/// what it does.
fn operation_id(resource: &Resource) -> String {
    let namesakes = RESOURCES.iter().filter(|other| other.name == resource.name).count();
    if namesakes > 1 {
        format!("{}_{}", resource.name, resource.method.as_str())
    } else {
        resource.name.to_owned()
    }
}

fn parameter(place: &str, field: &Field, description: &str) -> Value {
    let mut parameter = json!({
        "name": field.name,
        "in": place,
        "required": field.required,
        "schema": forms::schema(field.form),
        "example": forms::example(field.form),
    });
    if matches!(field.form, Form::Users { .. } | Form::Channels) {
        parameter["style"] = json!("form");
        parameter["explode"] = json!(false);
    }
    if !description.is_empty() {
        parameter["description"] = json!(description);
    }
    parameter
}

fn content_of_body(resource: &Resource) -> Value {
    let (schema, example) = forms::body(resource.in_body);
    json!({ "application/json": { "schema": schema, "example": example } })
}

/// Whether its answer has a protobuf form, too.
fn comes_in_protobuf(resource: &Resource) -> bool {
    match resource.served {
        Served::Command(kind, _) => binary::comes_alone(kind),
        Served::Elsewhere(_) => resource.name == "poll",
    }
}

fn responses(resource: &Resource) -> Value {
    let mut responses = Map::new();
    match resource.answer {
        Answer::Json(schema) => {
            let example = answers::example(schema);
            let schema = schema::reference(schema);
            let mut content = json!({ "application/json": { "schema": schema, "example": example } });
            if comes_in_protobuf(resource) {
                content[binary::CONTENT_TYPE] = json!({ "schema": { "type": "string", "format": "binary" } });
            }
            if resource.in_query.iter().any(|field| field.form == Form::Callback) {
                content["text/javascript"] = json!({ "schema": { "type": "string" }, "example": "/**/onPoll({\"events\":[],\"cursor\":\"f.0\"});" });
            }
            responses.insert("200".into(), json!({ "description": "Done", "content": content }));
        }
        Answer::Stream(form) => {
            let content = json!({ form: { "schema": { "type": "string" }, "example": streamed(form) } });
            let about = "Frames; each is a `Frame` of the schemas, written as this transport writes them";
            responses.insert("200".into(), json!({ "description": about, "content": content }));
        }
        Answer::Upgrade => {
            responses.insert("101".into(), json!({ "description": "A WebSocket with frames" }));
        }
    }
    if resource.name == "poll" {
        responses.insert("304".into(), json!({ "description": "Nothing new since `If-None-Match`" }));
    }
    let bodies: &[u16] = if resource.method.has_body() { &[408, 413, 415] } else { &[] };
    let always: &[u16] = &[400, 401, 403, 429, 500, 503];
    for status in always.iter().chain(bodies).chain(resource.refusals) {
        let response = json!({ "$ref": format!("#/components/responses/{status}") });
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

/// A message as a stream of this content type has it.
fn streamed(form: &str) -> String {
    let frame = answers::example("Poll")["events"][0].take();
    match form {
        "text/event-stream" => {
            let cursor = frame["cursor"].as_str().unwrap_or_default();
            format!("event: message\nid: {cursor}\ndata: {frame}\n\n")
        }
        "application/x-ndjson" => format!("{frame}\n"),
        _ => format!("<script>parent.onFrame({frame})</script>\n"),
    }
}

fn own_operation() -> Value {
    let schema = json!({ "type": "object", "required": ["openapi"] });
    let content = json!({ "application/json": { "schema": schema, "example": { "openapi": "3.1.0" } } });
    json!({
        "operationId": "openapi",
        "summary": "This document",
        "tags": ["openapi.json"],
        "security": [],
        "responses": { "200": { "description": "This document", "content": content } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All `$ref`s below a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(to)) = members.get("$ref") {
                    found.push(to.clone());
                }
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_resource_is_described_once_and_every_reference_leads_somewhere() {
        let document = document();
        let operations: usize =
            document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(operations, RESOURCES.len() + 1);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    /// Finds schemas without an example, except for bytes.
    fn without_example(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                let bytes = value.pointer("/schema/format") == Some(&json!("binary"));
                if members.contains_key("schema") && !members.contains_key("example") && !bytes {
                    found.push(at.to_owned());
                }
                members.iter().for_each(|(name, member)| {
                    without_example(member, &format!("{at}/{name}"), found);
                });
            }
            Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| {
                without_example(item, &format!("{at}/{index}"), found);
            }),
            _ => {}
        }
    }

    #[test]
    fn everything_that_has_a_schema_has_an_example() {
        let document = document();
        let mut found = Vec::new();
        without_example(&document["paths"], "paths", &mut found);
        without_example(&document["components"]["parameters"], "parameters", &mut found);
        without_example(&document["components"]["responses"], "responses", &mut found);
        found.retain(|at| !at.ends_with("/Retry-After"));
        assert!(found.is_empty(), "{found:#?}");
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert!(name == "Frame" || schema["examples"][0].is_object(), "{name}");
        }
    }

    #[test]
    fn every_field_of_a_path_is_in_it_and_none_is_missing() {
        for resource in RESOURCES {
            let in_braces: Vec<&str> = resource
                .path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            let described: Vec<&str> = resource.in_path.iter().map(|field| field.name).collect();
            assert_eq!(in_braces, described, "{}", resource.path);
        }
    }

    #[test]
    fn every_route_of_a_command_is_described() {
        let described: Vec<_> = RESOURCES.iter().map(|resource| (resource.method, resource.path)).collect();
        let routes = proto::CommandKind::ALL.iter().flat_map(|kind| kind.routes());
        let missing: Vec<_> = routes.filter(|route| !described.contains(route)).collect();
        assert!(missing.is_empty(), "not in the catalogue: {missing:?}");
    }

    #[test]
    fn ids_of_operations_are_their_own() {
        let mut ids: Vec<String> = RESOURCES.iter().map(operation_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), RESOURCES.len());
    }
}
