//! What a path below a service's prefix names, and the methods that it has.

use http::Method;

/// Bytes of the part of a path that names a session, at most.
const MAX_SESSION: usize = 128;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The prefix itself: a page that says that there is a service.
    Greeting,
    /// What the service can do.
    Info,
    /// The page that loads the client into an iframe.
    Iframe,
    /// A WebSocket without SockJS's frames.
    RawWebSocket,
    /// A WebSocket with them. It is a session by itself, whatever its path says.
    WebSocket,
    /// A session's downlink.
    Receive(Receive, &'a str),
    /// A session's uplink.
    Send(Send, &'a str),
}

/// How a session's frames reach the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    Xhr,
    XhrStreaming,
    EventSource,
    HtmlFile,
    Jsonp,
}

impl Receive {
    /// Whether each answer carries one frame.
    pub(super) fn polls(self) -> bool {
        matches!(self, Self::Xhr | Self::Jsonp)
    }
}

/// How a client's messages reach the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Send {
    Xhr,
    Jsonp,
}

impl<'a> Place<'a> {
    /// What this rest of a path, behind the prefix, names. A slash at its end makes
    /// no difference.
    pub(super) fn of(rest: &'a str) -> Option<Self> {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() {
            return Some(Self::Greeting);
        }
        let mut parts = rest.strip_prefix('/')?.split('/');
        let first = parts.next()?;
        let Some(session) = parts.next() else {
            return match first {
                "info" => Some(Self::Info),
                "websocket" => Some(Self::RawWebSocket),
                page => is_iframe(page).then_some(Self::Iframe),
            };
        };
        let (Some(way), None) = (parts.next(), parts.next()) else { return None };
        // The first part is for load balancers; the second alone names the session.
        let good = [first, session].iter().all(|part| !part.is_empty() && !part.contains('.'));
        if !good || session.len() > MAX_SESSION {
            return None;
        }
        Some(match way {
            "websocket" => Self::WebSocket,
            "xhr" => Self::Receive(Receive::Xhr, session),
            "xhr_streaming" => Self::Receive(Receive::XhrStreaming, session),
            "eventsource" => Self::Receive(Receive::EventSource, session),
            "htmlfile" => Self::Receive(Receive::HtmlFile, session),
            "jsonp" => Self::Receive(Receive::Jsonp, session),
            "xhr_send" => Self::Send(Send::Xhr, session),
            "jsonp_send" => Self::Send(Send::Jsonp, session),
            _ => return None,
        })
    }

    /// The method that it is for.
    pub(super) fn method(self) -> Method {
        match self {
            Self::Receive(Receive::Xhr | Receive::XhrStreaming, _) | Self::Send(..) => Method::POST,
            _ => Method::GET,
        }
    }

    /// All of its methods, for `Allow`.
    pub(super) fn methods(self) -> &'static str {
        match (self.method() == Method::POST, self.has_preflight()) {
            (true, true) => "OPTIONS, POST",
            (true, false) => "POST",
            (false, true) => "OPTIONS, GET",
            (false, false) => "GET",
        }
    }

    pub(super) fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::RawWebSocket)
    }

    /// Whether pages of other origins ask before they use it.
    pub(super) fn has_preflight(self) -> bool {
        matches!(
            self,
            Self::Info | Self::Receive(Receive::Xhr | Receive::XhrStreaming, _) | Self::Send(Send::Xhr, _)
        )
    }

    /// Whether it is one answer that is the same for everybody.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::Greeting | Self::Info | Self::Iframe)
    }
}

/// `iframe.html`, with any version in between.
fn is_iframe(page: &str) -> bool {
    let version = page.strip_prefix("iframe").and_then(|rest| rest.strip_suffix(".html"));
    version.is_some_and(|version| {
        version
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || matches!(b, b'-' | b'.' | b'_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_the_protocol_says() {
        assert_eq!((Place::of(""), Place::of("/")), (Some(Place::Greeting), Some(Place::Greeting)));
        assert_eq!((Place::of("/info"), Place::of("/info/")), (Some(Place::Info), Some(Place::Info)));
        assert_eq!(Place::of("/websocket"), Some(Place::RawWebSocket));
        for page in ["/iframe.html", "/iframe-.html", "/iframe-0.1.2abc-dirty.2144.html"] {
            assert_eq!(Place::of(page), Some(Place::Iframe), "{page}");
        }
        assert_eq!(Place::of("/000/abc/xhr"), Some(Place::Receive(Receive::Xhr, "abc")));
        assert_eq!(Place::of("/_/i-j%20/jsonp_send/"), Some(Place::Send(Send::Jsonp, "i-j%20")));
        assert_eq!(Place::of("/0/0/websocket"), Some(Place::WebSocket));
    }

    #[test]
    fn other_paths_name_nothing() {
        for rest in [
            "//",
            "///",
            "/a",
            "/a.html",
            "/a/a",
            "/a/a/",
            "/iframe.htm",
            "/iframe",
            "/IFRAME.HTML",
            "/iframe.HTML",
            "/iframe-/.html",
            "///xhr",
            "//xhr",
            "/a./a/xhr",
            "/a/a./xhr",
            "/././/xhr",
            "/././xhr",
            "/a/a/a/xhr",
            "/a/a/other",
            "a",
        ] {
            assert_eq!(Place::of(rest), None, "{rest}");
        }
        let long = |length: usize| format!("/0/{}/xhr", "s".repeat(length));
        assert!(Place::of(&long(MAX_SESSION)).is_some() && Place::of(&long(MAX_SESSION + 1)).is_none());
    }
}
