//! The fuzz targets of this crate (`fuzz/`): each takes any bytes, and panics where a
//! rule is broken. Built for tests and for fuzzing alone. What they hold to lies
//! beside what they look at, in files of the same name.

pub use crate::accept::fuzzing::{forwarded, http_heads, proxy_headers, response_heads};
pub use crate::caller::auth::fuzzing::tokens;
pub use crate::protocol::fuzzing::{events, json_frames, protobuf_frames, queries};
pub use crate::transport::fuzzing::{engineio, socketio, sockjs, websocket};

#[cfg(test)]
mod tests {
    use testbed::kept_inputs::try_all;

    /// A test of each target, with its name.
    macro_rules! targets {
        ($($name:ident),+ $(,)?) => {$(
            #[test]
            fn $name() {
                try_all(stringify!($name), super::$name);
            }
        )+};
    }

    targets![
        forwarded,
        http_heads,
        proxy_headers,
        response_heads,
        tokens,
        events,
        json_frames,
        protobuf_frames,
        queries,
        engineio,
        socketio,
        sockjs,
        websocket,
    ];
}
