//! Writes log lines in the format of the core's logger (hclog): one JSON object per line on standard error.

use std::fmt;
use std::io::Write;

use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Crates of the transport. At low levels they log frames and headers, which may contain secrets.
const TRANSPORT: [&str; 8] = ["h2", "hyper", "hyper_util", "rustls", "tonic", "tower", "reqwest", "tokio"];

/// Sends all tracing of this process to the core. A second call does nothing.
pub(crate) fn install(provider: &'static str) {
    let level = level(|name| std::env::var(name).ok());
    let layer = HclogLayer { module: format!("provider.{provider}"), level };
    // An error means that a subscriber is set already: the program that embeds the provider handles logs.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panic in the provider");
    }));
}

/// Returns the level to log. Without a setting, the core shows no logs, so only errors are written.
fn level(variable: impl Fn(&str) -> Option<String>) -> Level {
    let wanted = variable("TF_LOG_PROVIDER").or_else(|| variable("TF_LOG")).unwrap_or_default();
    match wanted.to_ascii_uppercase().as_str() {
        "TRACE" | "JSON" => Level::TRACE,
        "DEBUG" => Level::DEBUG,
        "INFO" => Level::INFO,
        "WARN" => Level::WARN,
        _ => Level::ERROR,
    }
}

struct HclogLayer {
    module: String,
    level: Level,
}

impl HclogLayer {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let root = metadata.target().split("::").next().unwrap_or_default();
        let limit = if TRANSPORT.contains(&root) { Level::WARN } else { Level::TRACE };
        *metadata.level() <= self.level && *metadata.level() <= limit
    }
}

struct SpanFields(Map<String, Json>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for HclogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(outer)) = span.extensions().get::<SpanFields>() {
                fields.0.extend(outer.clone());
            }
        }
        event.record(&mut fields);
        let line = line(&self.module, event.metadata(), fields.0);
        // If standard error is closed, the error cannot be reported anywhere.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

fn line(module: &str, metadata: &Metadata<'_>, mut fields: Map<String, Json>) -> String {
    let message = fields.remove("message").unwrap_or_else(|| Json::from(""));
    let level = metadata.level().as_str().to_ascii_lowercase();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    fields.insert("@level".to_owned(), Json::from(level));
    fields.insert("@message".to_owned(), message);
    fields.insert("@module".to_owned(), Json::from(module));
    fields.insert("@timestamp".to_owned(), Json::from(now));
    let mut line = Json::Object(fields).to_string();
    line.push('\n');
    line
}

#[derive(Default)]
struct Fields(Map<String, Json>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), Json::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), Json::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), Json::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), Json::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), Json::from(value));
    }
}
