//! Reads the replies of scripts.

use bytes::Bytes;
use fred::bytes_utils::Str;
use fred::interfaces::Resp3Frame;

use crate::{Error, Result};

/// One row of a script's reply, read from left to right.
pub(super) struct Row {
    /// The value of a row that is no list.
    alone: Option<Resp3Frame>,
    list: std::vec::IntoIter<Resp3Frame>,
}

impl Row {
    pub(super) fn new(frame: Resp3Frame) -> Self {
        match frame {
            Resp3Frame::Array { data, .. } => Self::of(data),
            other => Self { alone: Some(other), list: Vec::new().into_iter() },
        }
    }

    fn of(list: Vec<Resp3Frame>) -> Self {
        Self { alone: None, list: list.into_iter() }
    }

    fn next(&mut self) -> Option<Resp3Frame> {
        self.alone.take().or_else(|| self.list.next())
    }

    /// The rows of a reply that is a list of rows.
    pub(super) fn rows(frame: Resp3Frame) -> Result<Vec<Self>> {
        match frame {
            Resp3Frame::Array { data, .. } => Ok(data.into_iter().map(Self::new).collect()),
            _ => Err(unexpected("a list")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        match self.next() {
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
        match self.next() {
            Some(Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. }) => Ok(data),
            _ => Err(unexpected("a string")),
        }
    }

    pub(super) fn text(&mut self) -> Result<Str> {
        Str::from_inner(self.bytes()?).map_err(|_| unexpected("a text"))
    }

    /// A list within the row.
    pub(super) fn list(&mut self) -> Result<Self> {
        match self.next() {
            Some(Resp3Frame::Array { data, .. }) => Ok(Self::of(data)),
            _ => Err(unexpected("a list")),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.alone.is_none() && self.list.len() == 0
    }
}

pub(super) fn unexpected(what: &str) -> Error {
    Error::Corrupt(format!("a script answered something other than {what}"))
}
