//! Ways down: a session's frames as the answer to a request. Three go on for
//! many frames, and end after so many bytes, for browsers keep all of an answer;
//! two carry one frame an answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use hyper::body::{Frame as Piece, SizeHint};

use super::frame::{Frame, quote};
use super::headers;
use super::path::Receive;
use super::session::Receiver;
use crate::accept::long_response;
use crate::transport::script::is_unsafe;

/// What old browsers gather before they give a page the first of an answer.
const XHR_PRELUDE: usize = 2_048;
const HTML_PRELUDE: usize = 1_024;

/// How frames are written into an answer.
pub(super) struct Framing {
    pub(super) way: Receive,
    /// The page's function, where one is called; checked.
    pub(super) callback: String,
    /// The policy of an answer that is a page.
    pub(super) policy: Option<HeaderValue>,
}

/// Whether the text may be called in a script (by SockJS's rule, which lets in
/// what is no name, but nothing that does any harm).
pub(super) fn is_callback(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

impl Framing {
    fn content_type(&self) -> HeaderValue {
        match self.way {
            Receive::Xhr | Receive::XhrStreaming | Receive::Jsonp => headers::SCRIPT,
            Receive::EventSource => headers::EVENTS,
            Receive::HtmlFile => headers::HTML,
        }
    }

    fn prelude(&self) -> String {
        match self.way {
            Receive::Xhr | Receive::Jsonp => String::new(),
            Receive::XhrStreaming => "h".repeat(XHR_PRELUDE) + "\n",
            // Opera's EventSource loses what comes first.
            Receive::EventSource => "\r\n".to_owned(),
            Receive::HtmlFile => {
                let mut page = format!(
                    "<!doctype html>\n<html><head>\n  \
                     <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n  \
                     <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n\
                     </head><body><h2>Don't panic!</h2>\n  <script>\n    \
                     document.domain = document.domain;\n    var c = parent.{};\n    c.start();\n    \
                     function p(d) {{c.message(d);}};\n    window.onload = function() {{c.stop();}};\n  </script>\n",
                    self.callback,
                );
                page.extend(std::iter::repeat_n(' ', HTML_PRELUDE.saturating_sub(page.len()) + 1));
                page.push_str("\r\n\r\n");
                page
            }
        }
    }

    fn write(&self, frame: &Frame) -> String {
        let text = frame.text();
        let string = |before: String, after: &str| {
            let mut out = before;
            quote(&text, is_unsafe, &mut out);
            out.push_str(after);
            out
        };
        match self.way {
            Receive::Xhr | Receive::XhrStreaming => text.into_owned() + "\n",
            // Its client decodes what is percent-encoded, so the sign itself must be.
            Receive::EventSource => format!("data: {}\r\n\r\n", text.replace('%', "%25")),
            Receive::HtmlFile => string("<script>\np(".to_owned(), ");\n</script>\r\n"),
            // The comment keeps the first bytes from being a caller's choice.
            Receive::Jsonp => string(format!("/**/{}(", self.callback), ");\r\n"),
        }
    }
}

/// A session's frames on their way into one answer.
struct Answering {
    receiver: Receiver,
    framing: Framing,
    heartbeat: Duration,
    /// Bytes of frames, after which the answer ends.
    left: usize,
    /// The prelude has gone.
    begun: bool,
    /// Whether this is the end of what is received.
    over: bool,
}

/// The answer to a request that receives. It lasts: until the session ends, so
/// many bytes have gone, or for polls until there is one frame.
pub(super) fn answer(receiver: Receiver, framing: Framing, heartbeat: Duration, limit: usize) -> Response {
    let (content_type, polls, session) = (framing.content_type(), framing.way.polls(), receiver.session());
    let policy = framing.policy.clone();
    let mut answering = Answering { receiver, framing, heartbeat, left: limit, begun: false, over: false };
    if polls {
        return long_response::deferred(async move {
            let frame = answering.frame().await;
            let text = answering.framing.write(&frame).into();
            let body = Body::new(Whole { text: Some(text), receiver: answering.receiver });
            head(body.into_response(), content_type)
        });
    }
    let body = stream::unfold(answering, |mut answering| async move {
        let chunk = answering.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), answering))
    });
    let mut response = head(Body::from_stream(body).into_response(), content_type);
    if let Some(policy) = policy {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    match session {
        Some(session) => long_response::endless(response, session),
        None => response,
    }
}

fn head(mut response: Response, content_type: HeaderValue) -> Response {
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

impl Answering {
    /// The next piece; nothing when all has gone.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            return Some(self.framing.prelude().into());
        }
        if self.over {
            // Asked again, so the last piece has been taken.
            self.receiver.done();
            return None;
        }
        let frame = self.frame().await;
        let text = self.framing.write(&frame);
        self.left = self.left.saturating_sub(text.len());
        self.over = self.left == 0 || matches!(frame, Frame::Close(_));
        Some(text.into())
    }

    async fn frame(&mut self) -> Frame {
        tokio::select! {
            biased;
            frame = poll_fn(|cx| self.receiver.poll_frame(cx)) => frame,
            () = tokio::time::sleep(self.heartbeat) => Frame::Heartbeat,
        }
    }
}

/// An answer in one piece. When it has been taken its request is done.
struct Whole {
    text: Option<Bytes>,
    receiver: Receiver,
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, Self::Error>>> {
        let text = self.text.take();
        self.receiver.done();
        Poll::Ready(text.map(|text| Ok(Piece::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.as_ref().map_or(0, |text| text.len() as u64))
    }
}
