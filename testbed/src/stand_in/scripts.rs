//! The running of scripts, as Redis runs them: Lua 5.1, one at a time, with
//! `redis.call`, `redis.pcall` and `cmsgpack.unpack`, and no globals of their own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use mlua::{Function, Lua, MultiValue, RegistryKey, Table, Value};

use super::database::{Answer, Database, Text};
use super::message_pack;
use crate::Reply;

/// What scripts find around them. `raw` runs one command; an error is a table with
/// `err`, which `call` raises and `pcall` returns.
const SURROUNDINGS: &str = r#"
local raw, unpack_all = ...
local format, select, type, error = string.format, select, type, error
local function words(...)
  local all = {...}
  for n = 1, select('#', ...) do
    if type(all[n]) == 'number' then all[n] = format('%.17g', all[n]) end
  end
  return all
end
redis = {
  pcall = function(...) return raw(words(...)) end,
  call = function(...)
    local reply = raw(words(...))
    if type(reply) == 'table' and reply.err then error(reply, 0) end
    return reply
  end,
}
cmsgpack = {unpack = unpack_all}
KEYS, ARGV = {}, {}
-- Lua's own would let scripts catch what no script of Redis can.
os, io, require, dofile, loadfile, package, debug, print = nil, nil, nil, nil, nil, nil, nil, nil
local function refuse(_, name)
  error('Script attempted to access nonexistent global variable \'' .. tostring(name) .. '\'', 2)
end
local tostring = tostring
setmetatable(_G, {__index = refuse, __newindex = refuse})
"#;

/// The Lua of one server, and the scripts that it knows.
pub(super) struct Scripts {
    lua: Lua,
    known: RefCell<BTreeMap<String, RegistryKey>>,
}

impl Scripts {
    pub(super) fn new(database: &Rc<RefCell<Database>>) -> mlua::Result<Self> {
        let lua = Lua::new();
        let database = database.clone();
        let raw = lua.create_function(move |lua, words: Table| {
            let words = words.sequence_values::<mlua::String>();
            let words =
                words.map(|word| Ok(word?.as_bytes().to_vec())).collect::<mlua::Result<Vec<Text>>>()?;
            to_lua(lua, database.borrow_mut().command(&words))
        })?;
        let unpack = lua.create_function(|lua, bytes: mlua::String| {
            Ok(MultiValue::from_vec(message_pack::unpack(lua, bytes.as_bytes())?))
        })?;
        lua.load(SURROUNDINGS).set_name("surroundings").call::<_, ()>((raw, unpack))?;
        Ok(Self { lua, known: RefCell::default() })
    }

    /// Runs a script by its text, and knows it from then on.
    pub(super) fn eval(&self, database: &RefCell<Database>, text: &[u8], args: &[Text]) -> Answer {
        let hash = sha1(text);
        if !self.known.borrow().contains_key(&hash) {
            let loaded = self.lua.load(text).set_name("=user_script").into_function();
            let function = loaded.map_err(|error| format!("ERR Error compiling script {error}"))?;
            let key = self.lua.create_registry_value(function).map_err(|error| format!("ERR {error}"))?;
            self.known.borrow_mut().insert(hash.clone(), key);
        }
        self.evalsha(database, hash.as_bytes(), args)
    }

    /// Runs a script that is known. `args`: the number of keys, the keys, the rest.
    pub(super) fn evalsha(&self, database: &RefCell<Database>, hash: &[u8], args: &[Text]) -> Answer {
        let hash = String::from_utf8_lossy(hash).to_ascii_lowercase();
        let known = self.known.borrow();
        let Some(key) = known.get(&hash) else {
            return Err("NOSCRIPT No matching script. Please use EVAL.".to_owned());
        };
        let function: Function = self.lua.registry_value(key).map_err(|error| format!("ERR {error}"))?;
        let wrong = || "ERR value is not an integer or out of range".to_owned();
        let (count, rest) = args.split_first().ok_or_else(wrong)?;
        let count: usize =
            std::str::from_utf8(count).ok().and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
        let many = || "ERR Number of keys can't be greater than number of args".to_owned();
        let (keys, args) = rest.split_at_checked(count).ok_or_else(many)?;
        database.borrow_mut().freeze(true);
        let done = self.run(function, keys, args);
        database.borrow_mut().freeze(false);
        done
    }

    fn run(&self, function: Function<'_>, keys: &[Text], args: &[Text]) -> Answer {
        let list = |words: &[Text]| -> mlua::Result<Table<'_>> {
            let words = words.iter().map(|word| self.lua.create_string(word));
            self.lua.create_sequence_from(words.collect::<mlua::Result<Vec<_>>>()?)
        };
        let run = || -> mlua::Result<Reply> {
            let globals = self.lua.globals();
            globals.raw_set("KEYS", list(keys)?)?;
            globals.raw_set("ARGV", list(args)?)?;
            // An error may be a table, which mlua's own errors do not keep.
            let pcall: Function = globals.raw_get("pcall")?;
            let (well, reply): (bool, Value) = pcall.call(function)?;
            match (well, reply) {
                (true, reply) => from_lua(reply),
                (false, Value::Table(error)) => {
                    let text: mlua::String = error.raw_get("err")?;
                    Ok(Reply::Error(String::from_utf8_lossy(text.as_bytes()).into_owned()))
                }
                (false, Value::String(text)) => {
                    Ok(Reply::Error(format!("ERR {}", String::from_utf8_lossy(text.as_bytes()))))
                }
                (false, other) => Ok(Reply::Error(format!("ERR a script failed: {other:?}"))),
            }
        };
        match run() {
            Ok(Reply::Error(error)) => Err(error),
            Ok(reply) => Ok(reply),
            Err(error) => Err(format!("ERR {error}")),
        }
    }
}

/// The SHA-1 of a script's text, in hexadecimal digits.
fn sha1(text: &[u8]) -> String {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, text).as_ref().iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// A reply as a script sees it.
#[expect(clippy::cast_precision_loss, reason = "numbers of Lua 5.1 are no more precise")]
fn to_lua<'lua>(lua: &'lua Lua, answer: Answer) -> mlua::Result<Value<'lua>> {
    let with = |name: &str, text: &str| -> mlua::Result<Value<'lua>> {
        let table = lua.create_table()?;
        table.raw_set(name, text)?;
        Ok(Value::Table(table))
    };
    match answer {
        Err(error) | Ok(Reply::Error(error)) => with("err", &error),
        Ok(Reply::Status(text)) => with("ok", &text),
        Ok(Reply::Nil) => Ok(Value::Boolean(false)),
        Ok(Reply::Integer(number)) => Ok(Value::Number(number as f64)),
        Ok(Reply::Bytes(bytes)) => Ok(Value::String(lua.create_string(bytes)?)),
        Ok(Reply::List(items) | Reply::Push(items)) => {
            let items = items.into_iter().map(|item| to_lua(lua, Ok(item)));
            let items = items.collect::<mlua::Result<Vec<_>>>()?;
            Ok(Value::Table(lua.create_sequence_from(items)?))
        }
    }
}

/// What a script returned, as a client sees it.
#[expect(clippy::cast_possible_truncation, reason = "Redis cuts what is behind the point off, too")]
fn from_lua(value: Value<'_>) -> mlua::Result<Reply> {
    Ok(match value {
        Value::String(text) => Reply::Bytes(text.as_bytes().to_vec()),
        Value::Number(number) => Reply::Integer(number as i64),
        Value::Integer(number) => Reply::Integer(number),
        Value::Boolean(true) => Reply::Integer(1),
        Value::Table(table) => {
            if let Value::String(error) = table.raw_get("err")? {
                return Ok(Reply::Error(String::from_utf8_lossy(error.as_bytes()).into_owned()));
            }
            if let Value::String(status) = table.raw_get("ok")? {
                return Ok(Reply::Status(String::from_utf8_lossy(status.as_bytes()).into_owned()));
            }
            let items = table.sequence_values::<Value>();
            Reply::List(items.map(|item| from_lua(item?)).collect::<mlua::Result<_>>()?)
        }
        _ => Reply::Nil,
    })
}
