//! The `OTEL_*` variables of the OpenTelemetry specification: what is exported,
//! where to, and which messages are traced. The libraries read the other
//! variables (headers, timeouts, batches) themselves, and ignore values that
//! they do not understand; such values are refused here.

use std::fmt;

use http::Uri;

/// What is exported, and what is traced.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How traces are exported; `None`: not at all.
    pub traces: Option<Protocol>,
    /// How metrics are exported to a collector; `None`: not at all. `/metrics`
    /// is always there.
    pub metrics: Option<Protocol>,
    /// How logs are exported; `None`: not at all.
    pub logs: Option<Protocol>,
    /// Which traces are kept.
    pub sampler: Sampler,
    /// Whether the `traceparent` of an HTTP request is used.
    pub trace_context: bool,
}

/// The protocol of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP as protobuf over HTTP.
    Http,
}

/// `OTEL_TRACES_SAMPLER`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// The share of new traces that is kept, 0 to 1.
    pub ratio: f64,
    /// Whether a caller's decision in `traceparent` is followed
    /// (`parentbased_…`).
    pub parent: bool,
}

/// A variable whose value cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {rule}")]
pub struct InvalidVariable {
    name: String,
    rule: String,
}

impl InvalidVariable {
    fn new(name: &str, rule: impl fmt::Display) -> Self {
        Self { name: name.to_owned(), rule: rule.to_string() }
    }
}

/// The three kinds of telemetry, as variables name them.
const SIGNALS: [&str; 3] = ["TRACES", "METRICS", "LOGS"];
/// Variables that must be whole numbers, most of them milliseconds.
const NUMBERS: [&str; 17] = [
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BLRP_SCHEDULE_DELAY",
    "OTEL_BLRP_EXPORT_TIMEOUT",
    "OTEL_BLRP_MAX_QUEUE_SIZE",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
];

impl Settings {
    /// Nothing is exported.
    pub const NONE: Self = Self {
        traces: None,
        metrics: None,
        logs: None,
        sampler: Sampler { ratio: 1.0, parent: true },
        trace_context: true,
    };

    /// Reads the environment. Fails with the first variable whose value cannot
    /// be used.
    #[allow(
        clippy::disallowed_methods,
        reason = "the variables of the specification, read in this one place"
    )]
    pub fn from_env() -> Result<Self, InvalidVariable> {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// Reads the variables through `variable`; an empty value counts as none.
    /// Fails with the first one whose value cannot be used.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, InvalidVariable> {
        let get =
            |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(Self::NONE);
        }
        for name in NUMBERS {
            if let Some(text) = get(name)
                && text.parse::<u64>().is_err()
            {
                return Err(InvalidVariable::new(name, format_args!("`{text}` is not a whole number")));
            }
        }
        let [traces, metrics, logs] = SIGNALS.map(|signal| protocol(&get, signal));
        Ok(Self {
            traces: traces?,
            metrics: metrics?,
            logs: logs?,
            sampler: sampler(&get)?,
            trace_context: propagators(&get)?,
        })
    }

    /// Whether nothing is exported.
    pub fn is_silent(&self) -> bool {
        self.traces.is_none() && self.metrics.is_none() && self.logs.is_none()
    }
}

/// The protocol of one signal. It is exported if `OTEL_<signal>_EXPORTER` is
/// `otlp`, or if an endpoint is set and the exporter is not `none`.
fn protocol(get: &dyn Fn(&str) -> Option<String>, signal: &str) -> Result<Option<Protocol>, InvalidVariable> {
    let exporter = format!("OTEL_{signal}_EXPORTER");
    let endpoints =
        [format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned()];
    let mut given = false;
    for name in &endpoints {
        if let Some(text) = get(name) {
            endpoint(name, &text)?;
            given = true;
        }
    }
    match get(&exporter).as_deref() {
        Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => {
            return Err(InvalidVariable::new(
                &exporter,
                format_args!("`{other}` is neither `otlp` nor `none`"),
            ));
        }
        None if given => {}
        None => return Ok(None),
    }
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL");
    let common = "OTEL_EXPORTER_OTLP_PROTOCOL".to_owned();
    match [own, common].into_iter().find_map(|name| Some((get(&name)?, name))) {
        None => Ok(Some(Protocol::Http)),
        Some((text, name)) => match text.as_str() {
            "grpc" => Ok(Some(Protocol::Grpc)),
            "http/protobuf" => Ok(Some(Protocol::Http)),
            _ => Err(InvalidVariable::new(
                &name,
                format_args!("`{text}` is neither `grpc` nor `http/protobuf`"),
            )),
        },
    }
}

fn endpoint(name: &str, text: &str) -> Result<(), InvalidVariable> {
    let url = text
        .parse::<Uri>()
        .ok()
        .filter(|url| url.host().is_some() && matches!(url.scheme_str(), Some("http" | "https")));
    match url {
        Some(_) => Ok(()),
        // Not quoted: it may contain a password.
        None => Err(InvalidVariable::new(name, "is not a URL such as http://collector:4317")),
    }
}

fn sampler(get: &dyn Fn(&str) -> Option<String>) -> Result<Sampler, InvalidVariable> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let name = get(NAME).unwrap_or_else(|| "parentbased_always_on".to_owned());
    let parent = name.starts_with("parentbased_");
    let ratio = match name.strip_prefix("parentbased_").unwrap_or(&name) {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => {
            let text = get(ARGUMENT).unwrap_or_else(|| "1".to_owned());
            let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or_else(|| {
                InvalidVariable::new(ARGUMENT, format_args!("`{text}` is not a number from 0 to 1"))
            })?
        }
        _ => {
            let known = "always_on, always_off, traceidratio, and these with parentbased_ before them";
            return Err(InvalidVariable::new(NAME, format_args!("`{name}` is none of {known}")));
        }
    };
    Ok(Sampler { ratio, parent })
}

/// Whether `tracecontext` is in the list. Baggage is neither read nor passed
/// on.
fn propagators(get: &dyn Fn(&str) -> Option<String>) -> Result<bool, InvalidVariable> {
    const NAME: &str = "OTEL_PROPAGATORS";
    let Some(list) = get(NAME) else { return Ok(true) };
    let mut trace_context = false;
    for name in list.split(',').map(str::trim) {
        match name {
            "tracecontext" => trace_context = true,
            "baggage" | "none" => {}
            _ => {
                return Err(InvalidVariable::new(
                    NAME,
                    format_args!("`{name}` is none of tracecontext, baggage, none"),
                ));
            }
        }
    }
    Ok(trace_context)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::read(&get).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn without_variables_nothing_is_exported() {
        assert_eq!(read(&[]), Ok(Settings::NONE));
        assert!(read(&[("OTEL_TRACES_EXPORTER", ""), ("OTEL_SERVICE_NAME", "x")]).unwrap().is_silent());
    }

    #[test]
    fn an_endpoint_exports_everything_that_is_not_switched_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        let all = read(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap();
        let grpc = Some(Protocol::Grpc);
        assert_eq!((all.traces, all.metrics, all.logs), (grpc, grpc, grpc));
        let some =
            read(&[endpoint, ("OTEL_LOGS_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")]);
        let some = some.unwrap();
        assert_eq!((some.traces, some.metrics, some.logs), (grpc, Some(Protocol::Http), None));
        let one = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://tempo:4318/v1/traces")]).unwrap();
        assert_eq!((one.traces, one.metrics, one.logs), (Some(Protocol::Http), None, None));
        assert_eq!(read(&[endpoint, ("OTEL_SDK_DISABLED", "true")]), Ok(Settings::NONE));
    }

    #[test]
    fn samplers_are_those_of_the_specification() {
        let sampler = |name, argument| {
            read(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)]).unwrap().sampler
        };
        assert_eq!(sampler("parentbased_traceidratio", "0.01"), Sampler { ratio: 0.01, parent: true });
        assert_eq!(sampler("traceidratio", ""), Sampler { ratio: 1.0, parent: false });
        assert_eq!(sampler("always_off", "7"), Sampler { ratio: 0.0, parent: false });
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value) in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector:4317"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10s"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_PROPAGATORS", "b3"),
        ] {
            let wrong = read(&[(name, value)]).unwrap_err();
            assert!(wrong.starts_with(&format!("{name}: ")) && !wrong.contains('\n'), "{wrong}");
        }
        let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "1.5")];
        assert!(read(&ratio).unwrap_err().starts_with("OTEL_TRACES_SAMPLER_ARG: "));
        let protocol = [("OTEL_LOGS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
        assert!(read(&protocol).unwrap_err().starts_with("OTEL_EXPORTER_OTLP_PROTOCOL: "));
    }
}
