//! What JSON schemas and examples are made of.

use proto::ErrorCode;
use serde_json::{Map, Value, json};

/// The time in examples, in Unix milliseconds.
pub(super) const TIME: u64 = 1_790_000_000_000;

/// A message's body and a group's id, for examples.
pub(super) const BODY: &str = "hi";
pub(super) const GROUP: &str = "g_01JD3Z7XQ4N8K2M5P6R9T0VWYB";

/// Every error code.
pub(super) fn codes() -> Vec<&'static str> {
    ErrorCode::all().map(ErrorCode::as_str).collect()
}

pub(super) fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        required.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

pub(super) fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

pub(super) fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

pub(super) fn flag() -> Value {
    json!({ "type": "boolean" })
}

pub(super) fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

pub(super) fn time() -> Value {
    json!({ "type": "integer", "minimum": 0, "description": "Unix milliseconds" })
}
