//! Writing JSON members into a growing text. What every frame has is put
//! together piece by piece: the machinery of `write!` costs more than what it
//! writes.

use proto::Cursor;

/// A piece of a frame's text.
pub(crate) trait Piece {
    /// Appends it, as it is.
    fn put_into(&self, out: &mut String);
}

impl Piece for str {
    fn put_into(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl Piece for String {
    fn put_into(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl Piece for u64 {
    fn put_into(&self, out: &mut String) {
        out.push_str(itoa::Buffer::new().format(*self));
    }
}

impl Piece for bool {
    fn put_into(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl Piece for Cursor {
    fn put_into(&self, out: &mut String) {
        self.push_to(out);
    }
}

impl<P: Piece + ?Sized> Piece for &P {
    fn put_into(&self, out: &mut String) {
        (**self).put_into(out);
    }
}

/// Appends pieces, one after the other and unescaped.
macro_rules! put {
    ($out:expr, $($piece:expr),+ $(,)?) => {{
        let out: &mut String = $out;
        $($crate::protocol::json::Piece::put_into(&$piece, out);)+
    }};
}
pub(crate) use put;

/// `,"name":"text"`, escaped.
pub fn member(out: &mut String, name: &str, text: &str) {
    put!(out, ",\"", name, "\":");
    escape(out, text);
}

/// A text as a JSON string.
pub fn escape(out: &mut String, text: &str) {
    // Our own identifiers never need escaping; only names and messages may.
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        put!(out, "\"", text, "\"");
    } else {
        out.push_str(&serde_json::to_string(text).expect("a text is always JSON"));
    }
}
