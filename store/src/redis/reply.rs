//! Reads the replies of scripts.

use bytes::Bytes;
use fred::bytes_utils::Str;

use super::resp::Reply;
use crate::{Error, Result};

/// One row of a script's reply, read from left to right.
pub(super) struct Row {
    /// The value of a row that is no list.
    alone: Option<Reply>,
    list: std::vec::IntoIter<Reply>,
}

impl Row {
    pub(super) fn new(reply: Reply) -> Self {
        match reply {
            Reply::List(list) => Self::of(list),
            other => Self { alone: Some(other), list: Vec::new().into_iter() },
        }
    }

    fn of(list: Vec<Reply>) -> Self {
        Self { alone: None, list: list.into_iter() }
    }

    fn next(&mut self) -> Option<Reply> {
        self.alone.take().or_else(|| self.list.next())
    }

    /// The rows of a reply that is a list of rows.
    pub(super) fn rows(reply: Reply) -> Result<Vec<Self>> {
        match reply {
            Reply::List(list) => Ok(list.into_iter().map(Self::new).collect()),
            _ => Err(unexpected("a list")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        match self.next() {
            Some(Reply::Number(number)) => {
                u64::try_from(number).map_err(|_| unexpected("a number of at least zero"))
            }
            Some(Reply::Text(text)) => std::str::from_utf8(&text)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| unexpected("digits")),
            _ => Err(unexpected("a number")),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        match self.next() {
            Some(Reply::Text(text)) => Ok(text),
            _ => Err(unexpected("a string")),
        }
    }

    pub(super) fn text(&mut self) -> Result<Str> {
        Str::from_inner(self.bytes()?).map_err(|_| unexpected("a text"))
    }

    /// A list within the row.
    pub(super) fn list(&mut self) -> Result<Self> {
        match self.next() {
            Some(Reply::List(list)) => Ok(Self::of(list)),
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
