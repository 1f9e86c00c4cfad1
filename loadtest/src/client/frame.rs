//! A frame of the protocol as it came, with typed access to its fields.

use serde_json::Value;

use super::error::{Error, Refusal, Result};

/// A JSON object with `type`.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame(pub Value);

impl Frame {
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| Error::broken(format!("a frame that is not JSON: {error}")))?;
        Self::checked(value)
    }

    pub(crate) fn checked(value: Value) -> Result<Self> {
        if value["type"].is_string() {
            Ok(Self(value))
        } else {
            Err(Error::broken(format!("a frame without `type`: {value}")))
        }
    }

    /// The frame's `type`.
    pub fn kind(&self) -> &str {
        self.text("type").unwrap_or_default()
    }

    /// A field of text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0[field].as_str()
    }

    /// A field that is a number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.0[field].as_u64()
    }

    /// The position after this frame.
    pub fn cursor(&self) -> Option<&str> {
        self.text("cursor")
    }

    /// The command that it answers.
    pub fn answers(&self) -> Option<u64> {
        self.number("ref")
    }

    /// Whether it stands in the inbox: a frame with a cursor that does not
    /// merely say where to begin. A `sent` with a cursor stands for the
    /// sender's own copy.
    pub fn is_event(&self) -> bool {
        self.cursor().is_some()
            && !matches!(self.kind(), "welcome" | "reset" | "publication" | "channel_reset")
    }

    /// Turns an `error` into one.
    pub fn accepted(self) -> Result<Self> {
        if self.kind() == "error" { Err(Error::Refused(Refusal::read(0, &self.0))) } else { Ok(self) }
    }
}

impl Refusal {
    pub(crate) fn read(status: u16, body: &Value) -> Self {
        Self {
            status,
            code: body["code"].as_str().unwrap_or_default().to_owned(),
            message: body["message"].as_str().unwrap_or_default().to_owned(),
            retry_after_ms: body["retry_after_ms"].as_u64(),
        }
    }
}
