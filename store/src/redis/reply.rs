//! Reading what scripts answer.

use bytes::Bytes;
use fred::interfaces::Resp3Frame;

use crate::{Error, Result};

/// One row of a script's answer, read from left to right.
pub(super) struct Row(std::vec::IntoIter<Resp3Frame>);

impl Row {
    pub(super) fn new(frame: Resp3Frame) -> Result<Self> {
        match frame {
            Resp3Frame::Array { data, .. } => Ok(Self(data.into_iter())),
            other => Ok(Self(vec![other].into_iter())),
        }
    }

    /// Of an answer that is a list of rows.
    pub(super) fn rows(frame: Resp3Frame) -> Result<Vec<Self>> {
        match frame {
            Resp3Frame::Array { data, .. } => data.into_iter().map(Self::new).collect(),
            _ => Err(unexpected("a list")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        match self.0.next() {
            Some(Resp3Frame::Number { data, .. }) => {
                u64::try_from(data).map_err(|_| unexpected("a number of at least zero"))
            }
            Some(Resp3Frame::BlobString { data, .. }) => std::str::from_utf8(&data)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| unexpected("digits")),
            _ => Err(unexpected("a number")),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        match self.0.next() {
            Some(Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. }) => Ok(data),
            _ => Err(unexpected("a string")),
        }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| unexpected("a text"))
    }

    /// A list within the row.
    pub(super) fn list(&mut self) -> Result<Self> {
        match self.0.next() {
            Some(Resp3Frame::Array { data, .. }) => Ok(Self(data.into_iter())),
            _ => Err(unexpected("a list")),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.len() == 0
    }
}

pub(super) fn unexpected(what: &str) -> Error {
    Error::Corrupt(format!("a script answered something other than {what}"))
}
