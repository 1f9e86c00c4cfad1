//! Writes a log event as a line of text or JSON: time, level, target, message,
//! our fields, and the ids of trace and span. Of a dependency's event only the
//! message is written: its fields and spans may hold source paths or frames
//! with headers. A dependency's warnings are written once a minute for each
//! module.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::registry::LookupSpan;

use super::OURS;
use crate::args::LogFormat;
use crate::lock::{INNERMOST, Lock};
use crate::trace;

/// The time between two warnings of one module of a dependency: some warn at
/// every attempt, or at every odd frame of a peer.
const FOREIGN_EVERY: Duration = Duration::from_secs(60);
/// The most modules that are remembered for that. No dependency has as many
/// that warn.
const MAX_MODULES: usize = 256;

/// The formatter that `logs` gives to tracing.
pub(super) struct Lines {
    form: LogFormat,
    /// When each module of a dependency last warned.
    warned: Lock<INNERMOST, HashMap<String, Instant>>,
}

impl Lines {
    pub(super) fn new(form: LogFormat) -> Self {
        Self { form, warned: Lock::default() }
    }

    /// Whether a dependency's warning may be written now.
    fn may_warn(&self, module: &str, now: Instant) -> bool {
        // A panic between two lines leaves the map consistent.
        let mut warned = self.warned.lock();
        if warned.get(module).is_some_and(|last| now.duration_since(*last) < FOREIGN_EVERY) {
            return false;
        }
        if warned.len() < MAX_MODULES || warned.contains_key(module) {
            warned.insert(module.to_owned(), now);
        }
        true
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let mut fields = Fields::default();
        event.record(&mut fields);
        // Events of the `log` crate have their module in a field.
        let target = fields.module.take().unwrap_or_else(|| event.metadata().target().to_owned());
        if !is_ours(&target) {
            fields.ours.clear();
            if level <= Level::WARN && !self.may_warn(&target, Instant::now()) {
                return Ok(());
            }
        }
        if let Some((trace, span)) = trace::ids() {
            fields.ours.push(("trace_id", Value::Text(trace.to_string())));
            fields.ours.push(("span_id", Value::Text(span.to_string())));
        }
        match self.form {
            LogFormat::Text => text(&mut writer, level, &target, &fields),
            LogFormat::Json => json(&mut writer, level, &target, &fields),
        }
    }
}

fn is_ours(target: &str) -> bool {
    target.split("::").next().is_some_and(|name| OURS.contains(&name))
}

/// `2026-11-30T05:00:00.000000Z  WARN store::redis: message name=value`.
fn text(writer: &mut Writer<'_>, level: Level, target: &str, fields: &Fields) -> fmt::Result {
    let (dim, colour, end) = if writer.has_ansi_escapes() {
        let colour = match level {
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            Level::DEBUG => "\x1b[34m",
            Level::TRACE => "\x1b[35m",
        };
        ("\x1b[2m", colour, "\x1b[0m")
    } else {
        ("", "", "")
    };
    writer.write_str(dim)?;
    SystemTime.format_time(writer)?;
    write!(writer, "{end} {colour}{level:>5}{end} {dim}{target}:{end} {}", fields.message)?;
    for (name, value) in &fields.ours {
        match value {
            Value::Text(text) if text.contains(char::is_whitespace) => write!(writer, " {name}={text:?}")?,
            Value::Text(text) | Value::Plain(text) => write!(writer, " {name}={text}")?,
        }
    }
    writer.write_char('\n')
}

/// `{"timestamp":…,"level":…,"target":…,"message":…,"name":value}`.
fn json(writer: &mut Writer<'_>, level: Level, target: &str, fields: &Fields) -> fmt::Result {
    writer.write_str(r#"{"timestamp":""#)?;
    SystemTime.format_time(writer)?;
    write!(writer, r#"","level":"{level}","target":"#)?;
    string(writer, target)?;
    writer.write_str(r#","message":"#)?;
    string(writer, &fields.message)?;
    for (name, value) in &fields.ours {
        writer.write_char(',')?;
        string(writer, name)?;
        writer.write_char(':')?;
        match value {
            Value::Text(text) => string(writer, text)?,
            Value::Plain(text) => writer.write_str(text)?,
        }
    }
    writer.write_str("}\n")
}

fn string(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    writer.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    /// The module, in events of the `log` crate.
    module: Option<String>,
    ours: Vec<(&'static str, Value)>,
}

enum Value {
    /// A JSON string.
    Text(String),
    /// A number or a boolean, in JSON's form.
    Plain(String),
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text) | Value::Plain(text)) => self.message = text,
            ("log.target", Value::Text(text)) => self.module = Some(text),
            (name, value) => self.ours.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has neither infinity nor NaN.
        let plain = value.is_finite();
        let text = value.to_string();
        self.add(field, if plain { Value::Plain(text) } else { Value::Text(text) });
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(form: LogFormat, filter: &str, log: impl FnOnce()) -> Vec<String> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .event_format(Lines::new(form));
        let registry = tracing_subscriber::registry().with(super::super::filter(filter).unwrap()).with(lines);
        tracing::subscriber::with_default(registry, log);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    /// An event as tracing-log passes it on from the `log` crate.
    fn by_log(module: &str) {
        tracing::warn!(
            target: "log",
            {
                log.target = module,
                log.module_path = module,
                log.file = "/registry/fred/src/router.rs",
                log.line = 7,
            },
            "node \"1\" is away"
        );
    }

    #[test]
    fn json_has_our_fields_and_of_others_the_message_alone() {
        let lines = written(LogFormat::Json, "debug", || {
            let span = tracing::info_span!(target: "hyper", "connection", peer = "Server");
            let _in = span.enter();
            tracing::info!(target: "gateway::link", address = %"[::1]:1", routers = 2, share = 0.5, up = true, "hears");
            tracing::debug!(target: "hyper::proto", headers = "authorization: x", "read");
            by_log("fred::router");
        });
        let lines: Vec<serde_json::Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let without_time = |line: &serde_json::Value| {
            let mut line = line.as_object().unwrap().clone();
            assert!(line.remove("timestamp").is_some());
            serde_json::Value::Object(line)
        };
        assert_eq!(
            lines.iter().map(without_time).collect::<Vec<_>>(),
            [
                serde_json::json!({
                    "level": "INFO", "target": "gateway::link", "message": "hears",
                    "address": "[::1]:1", "routers": 2, "share": 0.5, "up": true,
                }),
                serde_json::json!({"level": "DEBUG", "target": "hyper::proto", "message": "read"}),
                serde_json::json!({"level": "WARN", "target": "fred::router", "message": "node \"1\" is away"}),
            ]
        );
    }

    #[test]
    fn text_has_the_same_and_no_spans_of_others() {
        let lines = written(LogFormat::Text, "info", || {
            let span = tracing::info_span!(target: "tower", "connection", peer = "Server");
            let _in = span.enter();
            tracing::warn!(target: "store", error = "it is away", calls = 3, "no answer");
            by_log("fred::router");
        });
        assert!(lines[0].ends_with(r#"  WARN store: no answer error="it is away" calls=3"#), "{lines:?}");
        assert!(lines[1].ends_with(r#"  WARN fred::router: node "1" is away"#), "{lines:?}");
    }

    #[test]
    fn a_dependency_repeats_its_warnings_once_a_minute_and_we_ours_each_time() {
        let lines = written(LogFormat::Text, "info", || {
            for _ in 0..3 {
                by_log("fred::router");
                by_log("fred::protocol");
                tracing::warn!(target: "opentelemetry_sdk", "no collector");
                tracing::warn!(target: "router", "slow");
            }
        });
        let of = |target: &str| lines.iter().filter(|line| line.contains(target)).count();
        assert_eq!(
            (of(" fred::router:"), of(" fred::protocol:"), of(" opentelemetry_sdk:"), of(" router:")),
            (1, 1, 1, 3)
        );
        let (form, begun) = (Lines::new(LogFormat::Text), Instant::now());
        assert!(form.may_warn("a", begun));
        assert!(!form.may_warn("a", begun + FOREIGN_EVERY - Duration::from_millis(1)));
        assert!(form.may_warn("a", begun + FOREIGN_EVERY));
    }

    #[test]
    fn what_any_peer_can_make_a_dependency_say_is_not_said_unless_it_is_asked_for() {
        let strange = || tracing::warn!(target: "h2::proto::ping_pong", "recv PING ack that we never sent");
        assert!(written(LogFormat::Text, "info", strange).is_empty());
        assert!(written(LogFormat::Text, "debug", strange).is_empty());
        assert_eq!(written(LogFormat::Text, "info,h2=warn", strange).len(), 1);
    }
}
