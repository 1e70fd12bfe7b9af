//! The log, whose level can change while the server runs, and the measures for Prometheus.

use std::{
    io::{self, IsTerminal as _},
    ops::Deref,
    sync::Arc,
};

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};
use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::ParseError, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

/// The form of a line of the log.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Changes the level of the log while the server runs.
#[derive(Clone, Debug)]
pub struct LogHandle(reload::Handle<EnvFilter, tracing_subscriber::Registry>);

impl LogHandle {
    /// Logs at `level` from now on. Does nothing if the log is not ours, as in tests.
    ///
    /// # Errors
    ///
    /// `level` is not a filter.
    pub fn set_level(&self, level: &str) -> Result<(), ParseError> {
        let filter = filter(level)?;
        if let Err(error) = self.0.reload(filter)
            && !error.is_dropped()
        {
            tracing::error!(%error, "the level of the log could not be changed");
        }
        Ok(())
    }
}

/// Sends the log to the standard output. Leaves a log that is there already as it is.
///
/// # Errors
///
/// `level` is not a filter.
pub fn init(level: &str, format: LogFormat) -> Result<LogHandle, ParseError> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines = tracing_subscriber::fmt::layer().with_ansi(io::stdout().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().with_ansi(false).boxed(),
    };
    // Fails if the program that we are part of has a log.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    Ok(LogHandle(handle))
}

/// Whether `level` is a filter, such as `info,chappe=debug`.
///
/// # Errors
///
/// It is none.
pub fn check_level(level: &str) -> Result<(), ParseError> {
    filter(level).map(|_| ())
}

fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(level)
}

/// The measures, as every service holds them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

/// The measures. Times are in seconds.
#[derive(Debug)]
pub struct Families {
    registry: Registry,
    /// Answered requests, by `route`, `method` and `status`.
    pub http_requests: IntCounterVec,
    /// The time from request to answer, by `route`. Syncs are in it with their waiting.
    pub http_request_duration: HistogramVec,
    /// Syncs that wait for news.
    pub sync_waiters: IntGauge,
    /// Writes per batch of the journal.
    pub journal_batch_size: Histogram,
    /// The time to commit a batch of the journal.
    pub journal_commit_duration: Histogram,
    /// Writes that wait for the journal.
    pub journal_queue_depth: IntGauge,
    /// The newest position of the stream that readers see.
    pub stream_position: IntGauge,
    /// Rooms held in memory.
    pub room_snapshots_cached: IntGauge,
    /// Passwords that wait to be hashed, or are being hashed.
    pub password_hash_queue: IntGauge,
    /// Mails, by `outcome`: `sent`, `failed` (given up), `expired` (no longer of use) or `postponed`.
    pub mails: IntCounterVec,
    /// Mails in the queue of all processes.
    pub mail_queue_depth: IntGauge,
    /// For how long the oldest mail has been in the queue.
    pub mail_queue_oldest_age: IntGauge,
    /// Sessions that could be used.
    pub sessions: IntGauge,
    /// Requests refused by a limit, by `kind`.
    pub rejected_by_limit: IntCounterVec,
    /// Connections to the database, by `state`: `used` or `idle`.
    pub database_connections: IntGaugeVec,
}

/// From a millisecond to ten seconds, and past the longest sync.
const REQUEST_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
const COMMIT_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 5.0,
];
const BATCH_SIZES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

impl Metrics {
    /// New measures, all at zero.
    ///
    /// # Errors
    ///
    /// Two measures have one name, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("chappe".to_owned()), None)?;
        let at = &registry;
        let families = Families {
            http_requests: counters(
                at,
                "http_requests_total",
                "Answered requests.",
                &["route", "method", "status"],
            )?,
            http_request_duration: register(
                at,
                HistogramVec::new(
                    HistogramOpts::new(
                        "http_request_duration_seconds",
                        "Time from request to answer.",
                    )
                    .buckets(REQUEST_SECONDS.to_vec()),
                    &["route"],
                )?,
            )?,
            sync_waiters: gauge(at, "sync_waiters", "Syncs that wait for news.")?,
            journal_batch_size: histogram(
                at,
                "journal_batch_size",
                "Writes per batch of the journal.",
                BATCH_SIZES,
            )?,
            journal_commit_duration: histogram(
                at,
                "journal_commit_duration_seconds",
                "Time to commit a batch of the journal.",
                COMMIT_SECONDS,
            )?,
            journal_queue_depth: gauge(at, "journal_queue_depth", "Writes that wait.")?,
            stream_position: gauge(at, "stream_position", "Newest position readers see.")?,
            room_snapshots_cached: gauge(at, "room_snapshots_cached", "Rooms in memory.")?,
            password_hash_queue: gauge(at, "password_hash_queue", "Passwords to be hashed.")?,
            mails: counters(at, "mails_total", "What became of mails.", &["outcome"])?,
            mail_queue_depth: gauge(at, "mail_queue_depth", "Mails that wait, of all processes.")?,
            mail_queue_oldest_age: gauge(
                at,
                "mail_queue_oldest_age_seconds",
                "Age of the oldest mail that waits.",
            )?,
            sessions: gauge(at, "sessions", "Sessions that could be used.")?,
            rejected_by_limit: counters(
                at,
                "rejected_by_limit_total",
                "Requests refused by a limit.",
                &["kind"],
            )?,
            database_connections: register(
                at,
                IntGaugeVec::new(
                    Opts::new("database_connections", "Connections to the database."),
                    &["state"],
                )?,
            )?,
            registry,
        };
        Ok(Self(Arc::new(families)))
    }

    /// The measures in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// A measure cannot be written.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.0
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    register(registry, IntGauge::new(name, help)?)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, Histogram::with_opts(options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_log_leaves_the_first_and_its_handle_still_takes_levels() {
        init("info", LogFormat::Text).unwrap();
        let second = init("info", LogFormat::Json).unwrap();
        second.set_level("debug,chappe=trace").unwrap();
        assert!(second.set_level("chappe=loud").is_err());
    }

    #[test]
    fn a_level_that_is_no_filter_is_refused() {
        assert!(check_level("info,chappe=debug").is_ok());
        assert!(check_level("chappe=loud").is_err());
    }

    #[test]
    fn measures_are_rendered_under_our_name() {
        let metrics = Metrics::new().unwrap();
        metrics
            .http_requests
            .with_label_values(&["/versions", "GET", "200"])
            .inc();
        metrics.clone().sync_waiters.set(3);
        let text = metrics.render().unwrap();
        let line = r#"chappe_http_requests_total{method="GET",route="/versions",status="200"} 1"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("chappe_sync_waiters 3"), "{text}");
    }
}
