//! Answers that last: streams that do not end by themselves, and polls that
//! wait. While hyper carries one it keeps some 20 KiB of buffers and the whole
//! request. So a transport marks them, and an HTTP/1.1 connection takes them
//! out of hyper's hands (`accept/lasting.rs`). Everywhere else [`settle`] makes
//! answers like any other of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use daemon::lock::{LEAF, Lock};
use http::{Extensions, header};

/// What an endless body comes from.
pub trait Source: Send + Sync {
    /// Whether it has come to its end, so that what has not been taken yet is
    /// of no use. Called while the peer takes nothing.
    fn is_over(&self) -> bool;
}

/// Marks an answer whose body does not end by itself.
#[derive(Clone)]
struct Endless(Arc<dyn Source>);

/// What an answer will be.
type Later = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Marks an answer that comes later. Shared only because extensions can be
/// cloned: one takes it.
#[derive(Clone)]
struct Deferred(Arc<Lock<LEAF, Option<Later>>>);

/// An answer whose body does not end by itself, but with its source.
pub fn endless(mut response: Response, source: Arc<dyn Source>) -> Response {
    response.extensions_mut().insert(Endless(source));
    response
}

/// An answer that comes later. It must hold nothing of its request: that would
/// keep the buffer into which it was read.
pub fn deferred(answer: impl Future<Output = Response> + Send + 'static) -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Deferred(Arc::new(Lock::new(Some(Box::pin(answer))))));
    response
}

/// Does something once an answer is there, and before it goes: also one that
/// comes later.
pub(crate) async fn then<F, Fut>(mut response: Response, after: F) -> Response
where
    F: FnOnce(Response) -> Fut + Send + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    match take_deferred(response.extensions_mut()) {
        Some(later) => merged(response, deferred(async move { after(later.await).await })),
        None => after(response).await,
    }
}

/// Whether this answer lasts.
pub(crate) fn lasts(response: &Response) -> bool {
    let extensions = response.extensions();
    extensions.get::<Endless>().is_some() || extensions.get::<Deferred>().is_some()
}

/// What a deferred answer will be; nothing for any other.
pub(crate) fn take_deferred(extensions: &mut Extensions) -> Option<Later> {
    extensions.remove::<Deferred>()?.0.lock().take()
}

/// What an endless body comes from; nothing for any other.
pub(crate) fn take_source(extensions: &mut Extensions) -> Option<Arc<dyn Source>> {
    Some(extensions.remove::<Endless>()?.0)
}

/// The answer itself, once it is there, with what the layers around its route
/// have said of it.
pub(crate) async fn settle(mut response: Response) -> Response {
    match take_deferred(response.extensions_mut()) {
        Some(later) => merged(response, later.await),
        None => response,
    }
}

/// A deferred answer with the headers that layers gave to its forerunner.
pub(crate) fn merged(forerunner: Response, mut answer: Response) -> Response {
    let mut layered = forerunner.into_parts().0.headers;
    // Of the empty body.
    layered.remove(header::CONTENT_LENGTH);
    for (name, value) in &layered {
        answer.headers_mut().append(name, value.clone());
    }
    answer
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_deferred_answer_keeps_what_layers_have_said() {
        let mut response = deferred(async {
            let mut answer = Response::new(Body::from("later"));
            *answer.status_mut() = StatusCode::CONFLICT;
            answer.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
            answer
        });
        assert!(lasts(&response));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
        let settled = settle(response).await;
        assert!(!lasts(&settled) && settled.status() == StatusCode::CONFLICT);
        assert_eq!(settled.headers().get_all(header::VARY).iter().count(), 2);
        assert!(!settled.headers().contains_key(header::CONTENT_LENGTH));
        assert_eq!(settled.into_body().collect().await.unwrap().to_bytes(), "later");
    }

    #[tokio::test]
    async fn other_answers_stay_as_they_are() {
        let plain = Response::new(Body::from("now"));
        assert!(!lasts(&plain));
        assert_eq!(settle(plain).await.into_body().collect().await.unwrap().to_bytes(), "now");
        struct Never;
        impl Source for Never {
            fn is_over(&self) -> bool {
                false
            }
        }
        assert!(lasts(&endless(Response::new(Body::empty()), Arc::new(Never))));
    }
}
