//! Traces that follow a message from process to process. Spans are made with
//! OpenTelemetry directly: `tracing` would build every span before anybody asks
//! whether it is sampled. A message that is not sampled costs one branch.
//!
//! Whether a trace is kept is decided where it begins, and only kept traces
//! have spans. So the context passed on is either empty or sampled.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use opentelemetry::trace::{
    self as otel, FutureExt as _, Link, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, ContextGuard, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};

pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::SpanKind as Kind;

use crate::settings::{Sampler, Settings};

/// Whether traces are exported: the one branch.
static ON: AtomicBool = AtomicBool::new(false);
static TRACING: OnceLock<Tracing> = OnceLock::new();

struct Tracing {
    tracer: SdkTracer,
    sampler: Sampler,
    trace_context: bool,
}

/// Starts to make spans; the first call in a process counts.
pub(crate) fn start(provider: &SdkTracerProvider, settings: &Settings) {
    let Settings { sampler, trace_context, .. } = *settings;
    let tracing = Tracing { tracer: provider.tracer("switchboard"), sampler, trace_context };
    if TRACING.set(tracing).is_ok() {
        ON.store(true, Ordering::Release);
    }
}

pub(crate) fn stop() {
    ON.store(false, Ordering::Release);
}

/// Whether this process exports traces.
#[inline]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn tracing() -> Option<&'static Tracing> {
    if is_on() { TRACING.get() } else { None }
}

/// A span in a trace that is kept, or nothing. It ends when the last clone is
/// dropped.
#[derive(Clone, Default)]
pub struct Span(Option<Context>);

/// The ids of a span (OpenTelemetry's span context), to be passed to another
/// process or linked to.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanContext(otel::SpanContext);

impl Span {
    /// What stands for a span where none is recorded.
    pub const NONE: Self = Self(None);

    /// Begins a new trace, if the sampler keeps it.
    #[inline]
    pub fn begin(name: &'static str, kind: Kind, attributes: impl FnOnce() -> Vec<KeyValue>) -> Self {
        match tracing() {
            None => Self::NONE,
            Some(tracing) => tracing.root(name, kind, attributes),
        }
    }

    /// Continues the trace that an HTTP request names in `traceparent` (W3C
    /// Trace Context), or begins a new one.
    #[inline]
    pub fn of_request(
        headers: &HeaderMap,
        name: impl FnOnce() -> String,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        match tracing() {
            None => Self::NONE,
            Some(tracing) => tracing.of_request(headers, name, attributes),
        }
    }

    /// A child of this thread's current span, if there is one.
    #[inline]
    pub fn child(name: &'static str, kind: Kind, attributes: impl FnOnce() -> Vec<KeyValue>) -> Self {
        let Some(tracing) = tracing() else { return Self::NONE };
        Context::map_current(|current| match current.has_active_span() {
            false => Self::NONE,
            true => tracing.span(name.into(), kind, attributes(), Vec::new(), current),
        })
    }

    /// A child of a span of another process, with links to other spans.
    pub fn of(
        parent: SpanContext,
        name: &'static str,
        kind: Kind,
        links: Vec<SpanContext>,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        let Some(tracing) = tracing() else { return Self::NONE };
        let parent = Context::new().with_remote_span_context(parent.0);
        tracing.span(name.into(), kind, attributes(), links, &parent)
    }

    /// Whether this is a span.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// The span's ids.
    pub fn context(&self) -> Option<SpanContext> {
        self.0.as_ref().map(|context| SpanContext(context.span().span_context().clone()))
    }

    /// The span's ids as `Request.trace` has them; empty without a span.
    pub fn wire(&self) -> Bytes {
        self.context().map(|context| context.wire()).unwrap_or_default()
    }

    /// Makes this the thread's current span until the guard is dropped. Log
    /// lines have its ids.
    #[must_use]
    pub fn enter(&self) -> Option<ContextGuard> {
        self.0.clone().map(Context::attach)
    }

    /// Runs a future with this as the current span.
    pub async fn hold<F: Future>(self, future: F) -> F::Output {
        match self.0 {
            None => future.await,
            Some(context) => future.with_context(context).await,
        }
    }

    /// Sets an attribute.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// Marks the span as failed with this error code.
    pub fn failed(&self, code: &'static str) {
        if let Some(context) = &self.0 {
            let span = context.span();
            span.set_attribute(KeyValue::new("error.type", code));
            span.set_status(Status::error(code));
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.context().fmt(formatter)
    }
}

/// This thread's current span, if there is one.
#[inline]
pub fn current() -> Option<SpanContext> {
    if !is_on() {
        return None;
    }
    Context::map_current(|current| {
        current.has_active_span().then(|| SpanContext(current.span().span_context().clone()))
    })
}

/// The trace and the span that this thread's log lines belong to.
pub(crate) fn ids() -> Option<(TraceId, SpanId)> {
    current().map(|SpanContext(context)| (context.trace_id(), context.span_id()))
}

/// Bytes of the ids of trace and span.
const IDS: usize = 16 + 8;
/// The longest `tracestate` that is passed on (W3C Trace Context §3.3.1.5); a
/// longer one is left out.
const MAX_STATE: usize = 512;

impl SpanContext {
    /// The wire form: the trace's id, the span's id, and the caller's
    /// `tracestate`.
    pub fn wire(&self) -> Bytes {
        let state = self.0.trace_state().header();
        let mut bytes = BytesMut::with_capacity(IDS + state.len());
        bytes.put_slice(&self.0.trace_id().to_bytes());
        bytes.put_slice(&self.0.span_id().to_bytes());
        if state.len() <= MAX_STATE {
            bytes.put_slice(state.as_bytes());
        }
        bytes.freeze()
    }

    /// Reads the wire form; `None` if it is empty or malformed.
    #[inline]
    pub fn of(wire: &[u8]) -> Option<Self> {
        if wire.is_empty() { None } else { Self::decode(wire) }
    }

    fn decode(wire: &[u8]) -> Option<Self> {
        let (ids, state) = wire.split_at_checked(IDS)?;
        let (trace, span) = ids.split_at(16);
        let state = std::str::from_utf8(state).ok().and_then(|text| text.parse::<TraceState>().ok());
        let context = otel::SpanContext::new(
            TraceId::from_bytes(trace.try_into().ok()?),
            SpanId::from_bytes(span.try_into().ok()?),
            TraceFlags::SAMPLED,
            true,
            state.unwrap_or_default(),
        );
        context.is_valid().then_some(Self(context))
    }
}

impl Tracing {
    fn root(&self, name: &'static str, kind: Kind, attributes: impl FnOnce() -> Vec<KeyValue>) -> Span {
        match self.sampled(rand::random()) {
            false => Span::NONE,
            true => self.span(name.into(), kind, attributes(), Vec::new(), &Context::new()),
        }
    }

    fn of_request(
        &self,
        headers: &HeaderMap,
        name: impl FnOnce() -> String,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Span {
        let caller = if self.trace_context { caller(headers) } else { None };
        let (kept, parent) = match caller {
            None => (self.sampled(rand::random()), Context::new()),
            Some(caller) => {
                let kept = if self.sampler.parent {
                    caller.is_sampled()
                } else {
                    self.keeps(u128::from_be_bytes(caller.trace_id().to_bytes()))
                };
                (kept, Context::new().with_remote_span_context(caller))
            }
        };
        match kept {
            false => Span::NONE,
            true => self.span(name().into(), Kind::Server, attributes(), Vec::new(), &parent),
        }
    }

    /// Whether a new trace with this id is kept. If so, the next trace of this
    /// thread gets the id.
    fn sampled(&self, id: u128) -> bool {
        let kept = self.keeps(id);
        if kept {
            NEXT_TRACE.set(id);
        }
        kept
    }

    /// Decides as every `traceidratio` sampler does, so that all processes
    /// agree.
    fn keeps(&self, id: u128) -> bool {
        let ratio = self.sampler.ratio;
        let bound = (ratio * (1_u64 << 63) as f64) as u64;
        ratio >= 1.0 || ((id as u64) >> 1) < bound
    }

    fn span(
        &self,
        name: std::borrow::Cow<'static, str>,
        kind: Kind,
        attributes: Vec<KeyValue>,
        links: Vec<SpanContext>,
        parent: &Context,
    ) -> Span {
        let links = links.into_iter().map(|SpanContext(context)| Link::with_context(context)).collect();
        let builder =
            self.tracer.span_builder(name).with_kind(kind).with_attributes(attributes).with_links(links);
        Span(Some(parent.with_span(self.tracer.build_with_context(builder, parent))))
    }
}

thread_local! {
    /// The id of the trace that this thread begins next; 0: a random one.
    static NEXT_TRACE: Cell<u128> = const { Cell::new(0) };
}

/// Makes ids. A new trace gets the id that the sampler has decided on.
#[derive(Debug, Default)]
pub(crate) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        match NEXT_TRACE.replace(0) {
            0 => self.0.new_trace_id(),
            id => TraceId::from_bytes(id.to_be_bytes()),
        }
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// Reads `traceparent` and `tracestate` (W3C Trace Context §3); `None` when
/// they are malformed.
fn caller(headers: &HeaderMap) -> Option<otel::SpanContext> {
    let mut all = headers.get_all("traceparent").iter();
    let text = all.next()?.to_str().ok()?;
    if all.next().is_some() {
        return None;
    }
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let sizes = (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2);
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let known = version != "ff" && (version != "00" || parts.next().is_none());
    if !(sizes && known && [version, trace, span, flags].into_iter().all(hex)) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    let state = headers.get("tracestate").and_then(|value| value.to_str().ok());
    let state = state.filter(|text| text.len() <= MAX_STATE).and_then(|text| text.parse::<TraceState>().ok());
    let context = otel::SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED },
        true,
        state.unwrap_or_default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(text: &'static str) -> Option<otel::SpanContext> {
        caller(&HeaderMap::from_iter([("traceparent".parse().unwrap(), HeaderValue::from_static(text))]))
    }

    #[test]
    fn a_callers_context_is_read_as_w3c_writes_it() {
        let context = of(PARENT).unwrap();
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled());
        assert!(!of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().is_sampled());
        // A later version may have more.
        assert!(of("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x").is_some());
    }

    #[test]
    fn what_is_not_of_that_form_is_no_context() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert!(of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_span_context_is_passed_on_as_bytes() {
        let context = SpanContext(of(PARENT).unwrap());
        assert_eq!(context.wire().len(), IDS);
        assert_eq!(SpanContext::of(&context.wire()), Some(context));
        assert_eq!(SpanContext::of(&[]), None);
        assert_eq!(SpanContext::of(&[1; 23]), None);
        assert_eq!(SpanContext::of(&[0; 24]), None);
    }

    #[test]
    fn without_an_export_there_are_no_spans() {
        assert!(!is_on());
        assert!(!Span::begin("x", Kind::Server, Vec::new).is_some());
        assert!(Span::NONE.wire().is_empty() && Span::NONE.enter().is_none() && current().is_none());
    }
}
