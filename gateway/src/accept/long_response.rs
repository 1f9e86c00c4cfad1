//! Long responses: streams that do not end by themselves, and polls that wait.
//! While hyper carries one it keeps some 20 KiB of buffers and the whole
//! request. So a transport marks them, and an HTTP/1.1 connection writes them
//! without hyper (`long_response_writer`). Elsewhere [`settle`] turns them into
//! usual responses.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use daemon::lock::{LEAF, Lock};
use http::{Extensions, header};

use super::browser;

/// The source of an endless body.
pub trait Source: Send + Sync {
    /// Whether the source has ended, so that nobody needs the rest. Called
    /// while the peer takes no data.
    fn is_over(&self) -> bool;

    /// The peer has shown no sign of life for so long that its socket was given up.
    fn lost(&self) {}
}

/// Marks a response whose body does not end by itself.
#[derive(Clone)]
struct Endless(Arc<dyn Source>);

/// A response that comes later.
type Later = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Marks a response that comes later. Shared only because extensions must be
/// cloneable: one user takes it.
#[derive(Clone)]
struct Deferred(Arc<Lock<LEAF, Option<Later>>>);

/// A response whose body ends when its source does.
pub fn endless(mut response: Response, source: Arc<dyn Source>) -> Response {
    response.extensions_mut().insert(Endless(source));
    response
}

/// A response that comes later. It must not hold anything of its request, which
/// would keep the request's read buffer.
pub fn deferred(answer: impl Future<Output = Response> + Send + 'static) -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Deferred(Arc::new(Lock::new(Some(Box::pin(answer))))));
    response
}

/// Runs `after` when the response is there and before it is sent, also for one
/// that comes later.
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

/// Whether this is a long response.
pub(crate) fn lasts(response: &Response) -> bool {
    let extensions = response.extensions();
    extensions.get::<Endless>().is_some() || extensions.get::<Deferred>().is_some()
}

/// Takes the future of a deferred response; `None` for any other.
pub(crate) fn take_deferred(extensions: &mut Extensions) -> Option<Later> {
    extensions.remove::<Deferred>()?.0.lock().take()
}

/// Takes the source of an endless body; `None` for any other response.
pub(crate) fn take_source(extensions: &mut Extensions) -> Option<Arc<dyn Source>> {
    Some(extensions.remove::<Endless>()?.0)
}

/// Waits for a deferred response, and adds the headers that layers around its
/// route have set.
pub(crate) async fn settle(mut response: Response) -> Response {
    match take_deferred(response.extensions_mut()) {
        Some(later) => merged(response, later.await),
        None => response,
    }
}

/// A deferred response with the headers that layers gave to its placeholder.
pub(crate) fn merged(forerunner: Response, mut answer: Response) -> Response {
    let mut layered = forerunner.into_parts().0.headers;
    // The length of the placeholder's empty body.
    layered.remove(header::CONTENT_LENGTH);
    for (name, value) in &layered {
        if browser::is_single(name) && answer.headers().contains_key(name) {
            continue;
        }
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
                .headers_mut()
                .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
            answer
        });
        assert!(lasts(&response));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
        browser::protect(response.headers_mut());
        let settled = settle(response).await;
        assert!(!lasts(&settled) && settled.status() == StatusCode::CONFLICT);
        assert_eq!(settled.headers().get_all(header::VARY).iter().count(), 2);
        let policies: Vec<_> = settled.headers().get_all(header::CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies, ["default-src 'self'"]);
        assert_eq!(settled.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
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
