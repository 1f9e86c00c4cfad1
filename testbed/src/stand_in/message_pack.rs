//! MessagePack as scripts read it (`cmsgpack.unpack`).

use mlua::{Lua, Value};

/// Every value that these bytes hold, one behind the other.
pub(super) fn unpack<'lua>(lua: &'lua Lua, mut bytes: &[u8]) -> mlua::Result<Vec<Value<'lua>>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(value(lua, &mut bytes)?);
    }
    Ok(values)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> mlua::Result<&'a [u8]> {
    let missing = || mlua::Error::runtime("Missing bytes in input.");
    let (taken, rest) = bytes.split_at_checked(count).ok_or_else(missing)?;
    *bytes = rest;
    Ok(taken)
}

/// A whole number of so many bytes, without a sign.
fn number(bytes: &mut &[u8], size: usize) -> mlua::Result<u64> {
    Ok(take(bytes, size)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of Lua 5.1 are no more precise")]
fn value<'lua>(lua: &'lua Lua, bytes: &mut &[u8]) -> mlua::Result<Value<'lua>> {
    let kind = take(bytes, 1)?[0];
    let length = |bytes: &mut &[u8], power: u8| -> mlua::Result<usize> {
        Ok(usize::try_from(number(bytes, 1 << power)?).unwrap_or(usize::MAX))
    };
    Ok(match kind {
        0..=0x7f => Value::Number(kind.into()),
        0x80..=0x8f => map(lua, bytes, usize::from(kind & 0xf))?,
        0x90..=0x9f => array(lua, bytes, usize::from(kind & 0xf))?,
        0xa0..=0xbf => text(lua, bytes, usize::from(kind & 0x1f))?,
        0xc0 => Value::Nil,
        0xc2 | 0xc3 => Value::Boolean(kind == 0xc3),
        0xc4..=0xc6 => {
            let length = length(bytes, kind - 0xc4)?;
            text(lua, bytes, length)?
        }
        0xca => Value::Number(f32::from_bits(number(bytes, 4)? as u32).into()),
        0xcb => Value::Number(f64::from_bits(number(bytes, 8)?)),
        0xcc..=0xcf => Value::Number(number(bytes, 1 << (kind - 0xcc))? as f64),
        0xd0..=0xd3 => {
            let size = 1 << (kind - 0xd0);
            let unused = 64 - 8 * u32::try_from(size).unwrap_or(8);
            Value::Number(((number(bytes, size)? << unused).cast_signed() >> unused) as f64)
        }
        0xd9..=0xdb => {
            let length = length(bytes, kind - 0xd9)?;
            text(lua, bytes, length)?
        }
        0xdc | 0xdd => {
            let length = length(bytes, kind - 0xdc + 1)?;
            array(lua, bytes, length)?
        }
        0xde | 0xdf => {
            let length = length(bytes, kind - 0xde + 1)?;
            map(lua, bytes, length)?
        }
        0xe0..=0xff => Value::Number(i8::from_be_bytes([kind]).into()),
        _ => return Err(mlua::Error::runtime("Bad data format in input.")),
    })
}

fn text<'lua>(lua: &'lua Lua, bytes: &mut &[u8], length: usize) -> mlua::Result<Value<'lua>> {
    Ok(Value::String(lua.create_string(take(bytes, length)?)?))
}

fn array<'lua>(lua: &'lua Lua, bytes: &mut &[u8], length: usize) -> mlua::Result<Value<'lua>> {
    let table = lua.create_table()?;
    for index in 1..=length {
        table.raw_set(index, value(lua, bytes)?)?;
    }
    Ok(Value::Table(table))
}

fn map<'lua>(lua: &'lua Lua, bytes: &mut &[u8], length: usize) -> mlua::Result<Value<'lua>> {
    let table = lua.create_table()?;
    for _ in 0..length {
        let key = value(lua, bytes)?;
        table.raw_set(key, value(lua, bytes)?)?;
    }
    Ok(Value::Table(table))
}
