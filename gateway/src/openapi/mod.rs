//! `GET /v1/openapi.json`: the HTTP resources described as OpenAPI 3.1, made
//! from the table that the routes are made from, and from the constants that
//! the parsers go by. In reading order: the document, [`forms`] (what is asked
//! with), [`answers`] (what is answered).

mod answers;
mod forms;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Map, Value, json};

use crate::binary;
use crate::catalogue::{Answer, Field, Form, RESOURCES, Resource};
use crate::command::{MAX_BODY_BYTES, MAX_FRAME_BYTES};
use crate::gateway::Gateway;

/// Where the document is.
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

/// `react` is two resources: an id is the name, and what it does with it.
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
    json!({ "application/json": { "schema": forms::object(resource.in_body) } })
}

fn responses(resource: &Resource) -> Value {
    let mut responses = Map::new();
    match resource.answer {
        Answer::Json(schema) => {
            let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
            let mut content = json!({ "application/json": { "schema": schema } });
            if binary::comes_alone(resource.name) || resource.name == "poll" {
                content[binary::CONTENT_TYPE] = json!({ "schema": { "type": "string", "format": "binary" } });
            }
            responses.insert("200".into(), json!({ "description": "Done", "content": content }));
        }
        Answer::Stream(form) => {
            let content = json!({ form: { "schema": { "type": "string" } } });
            responses.insert("200".into(), json!({ "description": "Frames", "content": content }));
        }
        Answer::Upgrade => {
            responses.insert("101".into(), json!({ "description": "A WebSocket with frames" }));
        }
    }
    if resource.name == "poll" {
        responses.insert("304".into(), json!({ "description": "Nothing new since `If-None-Match`" }));
    }
    let bodies: &[u16] = if resource.method.has_body() { &[408, 413, 415] } else { &[] };
    let always: &[u16] = &[400, 401, 403, 500, 503];
    for status in always.iter().chain(bodies).chain(resource.refusals) {
        let response = json!({ "$ref": format!("#/components/responses/{status}") });
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

fn own_operation() -> Value {
    let content = json!({ "application/json": { "schema": { "type": "object", "required": ["openapi"] } } });
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
    fn ids_of_operations_are_their_own() {
        let mut ids: Vec<String> = RESOURCES.iter().map(operation_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), RESOURCES.len());
    }
}
