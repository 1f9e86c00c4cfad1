//! Keys, their values, and when they expire.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::sorted::Sorted;
use crate::Reply;

/// The time since 1970, as somebody says it is.
pub type Clock = Box<dyn Fn() -> Duration>;

/// A string of any bytes.
pub(super) type Text = Vec<u8>;

/// What a command answers; the error begins with a code, as Redis has it.
pub(super) type Answer = Result<Reply, String>;

/// All keys of a server.
pub struct Database {
    keys: BTreeMap<Text, Entry>,
    clock: Clock,
    /// The time while a script runs: for a script it stands still.
    frozen: Option<Duration>,
    /// Names this history of the data (`master_replid`).
    pub(super) history: String,
}

#[derive(Clone)]
struct Entry {
    value: Value,
    /// Gone from this time on.
    expires: Option<Duration>,
}

#[derive(Clone)]
pub(super) enum Value {
    String(Text),
    List(VecDeque<Text>),
    Hash(BTreeMap<Text, Text>),
    Set(BTreeSet<Text>),
    Sorted(Sorted),
}

/// All keys, as they were at some moment.
pub struct DatabaseCopy(BTreeMap<Text, Entry>);

/// A kind of value, which is made where there is none.
pub(super) trait Kind: Default {
    fn of(value: &mut Value) -> Option<&mut Self>;
    fn wrap(self) -> Value;
    fn is_empty(&self) -> bool;
}

macro_rules! kind {
    ($type:ty, $variant:ident) => {
        impl Kind for $type {
            fn of(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$variant(value) => Some(value),
                    _ => None,
                }
            }

            fn wrap(self) -> Value {
                Value::$variant(self)
            }

            fn is_empty(&self) -> bool {
                <$type>::is_empty(self)
            }
        }
    };
}

kind!(VecDeque<Text>, List);
kind!(BTreeMap<Text, Text>, Hash);
kind!(BTreeSet<Text>, Set);
kind!(Sorted, Sorted);

impl Database {
    /// An empty one. `history` is the id of this history of the data, 40 digits in Redis.
    pub fn new(clock: Clock, history: &str) -> Self {
        Self { keys: BTreeMap::new(), clock, frozen: None, history: history.to_owned() }
    }

    /// The server was restarted with its data: from now on it is another history.
    pub fn restarted(&mut self, history: &str) {
        history.clone_into(&mut self.history);
    }

    /// All keys as they are now.
    pub fn copy(&self) -> DatabaseCopy {
        DatabaseCopy(self.keys.clone())
    }

    /// What was written since the copy was made is lost. To be called while no server
    /// runs on it.
    pub fn put_back(&mut self, copy: DatabaseCopy) {
        self.keys = copy.0;
    }

    pub(super) fn now(&self) -> Duration {
        self.frozen.unwrap_or_else(|| (self.clock)())
    }

    /// Stops the clock while `work` runs.
    pub(super) fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen.then(|| (self.clock)());
    }

    /// Takes a key away that has expired.
    fn expire(&mut self, key: &[u8]) {
        let now = self.now();
        if self.keys.get(key).is_some_and(|entry| entry.expires.is_some_and(|at| at <= now)) {
            self.keys.remove(key);
        }
    }

    fn wrong() -> String {
        "WRONGTYPE Operation against a key holding the wrong kind of value".to_owned()
    }

    pub(super) fn exists(&mut self, key: &[u8]) -> bool {
        self.expire(key);
        self.keys.contains_key(key)
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        self.expire(key);
        self.keys.remove(key).is_some()
    }

    pub(super) fn string(&mut self, key: &[u8]) -> Result<Option<&Text>, String> {
        self.expire(key);
        match self.keys.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Self::wrong()),
        }
    }

    /// Sets a string; `life`: until it expires.
    pub(super) fn set(&mut self, key: &[u8], text: Text, life: Option<Duration>) {
        let expires = life.map(|life| self.now() + life);
        self.keys.insert(key.to_vec(), Entry { value: Value::String(text), expires });
    }

    /// Reads a value of this kind, which is an empty one where there is none.
    pub(super) fn read<K: Kind, T>(&mut self, key: &[u8], read: impl FnOnce(&K) -> T) -> Result<T, String> {
        self.expire(key);
        match self.keys.get_mut(key) {
            None => Ok(read(&K::default())),
            Some(entry) => K::of(&mut entry.value).map(|value| read(value)).ok_or_else(Self::wrong),
        }
    }

    /// Changes a value of this kind, which is made where there is none, and removed
    /// where it is empty then.
    pub(super) fn change<K: Kind, T>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut K) -> Result<T, String>,
    ) -> Result<T, String> {
        self.expire(key);
        if let Some(entry) = self.keys.get_mut(key) {
            let value = K::of(&mut entry.value).ok_or_else(Self::wrong)?;
            let done = change(value)?;
            if value.is_empty() {
                self.keys.remove(key);
            }
            return Ok(done);
        }
        let mut value = K::default();
        let done = change(&mut value)?;
        if !value.is_empty() {
            self.keys.insert(key.to_vec(), Entry { value: value.wrap(), expires: None });
        }
        Ok(done)
    }

    /// Lets a key expire after this time; at once where it is not positive. Whether
    /// there is such a key.
    pub(super) fn live_for(&mut self, key: &[u8], millis: i64) -> bool {
        self.expire(key);
        let now = self.now();
        let Some(entry) = self.keys.get_mut(key) else { return false };
        match u64::try_from(millis) {
            Ok(millis) if millis > 0 => entry.expires = Some(now + Duration::from_millis(millis)),
            _ => drop(self.keys.remove(key)),
        }
        true
    }

    /// Milliseconds that a key has left; -1 where it does not expire, -2 where there is
    /// none.
    pub(super) fn life(&mut self, key: &[u8]) -> i64 {
        self.expire(key);
        let now = self.now();
        match self.keys.get(key).map(|entry| entry.expires) {
            None => -2,
            Some(None) => -1,
            Some(Some(at)) => i64::try_from(at.saturating_sub(now).as_millis()).unwrap_or(i64::MAX),
        }
    }
}
