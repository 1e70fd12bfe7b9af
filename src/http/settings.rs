//! What the HTTP layer can be told.

use std::time::Duration;

/// Bounds of requests and answers.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The largest JSON body. Media has its own bound.
    pub max_body_bytes: usize,
    /// How long a body may take to come in.
    pub body_timeout: Duration,
    /// How long a request may take; long polls have their own bound.
    pub request_timeout: Duration,
    /// How many requests are worked on at once, long polls apart; more are answered 503.
    pub max_in_flight: usize,
    /// How many long polls wait at once; more are answered 503.
    pub max_long_polls: usize,
    /// Answers of fewer bytes are not compressed: that would cost more time than it saves.
    pub compress_from_bytes: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_mins(1),
            max_in_flight: 1024,
            max_long_polls: 100_000,
            compress_from_bytes: 4096,
        }
    }
}
