//! Why a request to elsewhere failed.

use std::error::Error;

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the client for requests to other servers cannot be made")]
pub struct SetupError(#[from] reqwest::Error);

/// Why a request failed. Shows neither the address nor what it was about.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The URL is not one of HTTP.
    #[error("the address is not one of HTTP")]
    Scheme,
    /// The host is in a network that may not be reached.
    #[error("the address is in a network that may not be reached")]
    Refused,
    /// There were too many redirects, or one that leads nowhere.
    #[error("the redirects lead nowhere")]
    Redirects,
    /// The answer did not come in time.
    #[error("the answer did not come in time")]
    Timeout,
    /// The answer is too long.
    #[error("the answer is too long")]
    TooLarge,
    /// The host cannot be reached, or does not speak HTTP.
    #[error("the server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
}

/// What the resolver says of a name without an address that may be reached.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to a network that may not be reached")]
pub(super) struct Refused;

impl OutboundError {
    pub(super) fn from_request(error: reqwest::Error) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if inner.is::<Refused>() {
                return Self::Refused;
            }
            cause = inner.source();
        }
        if error.is_timeout() {
            return Self::Timeout;
        }
        Self::Unreachable(error.without_url())
    }
}
