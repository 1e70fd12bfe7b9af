//! `/metrics`: measures, in Prometheus's text format.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderValue, header::CONTENT_TYPE};

use super::AppState;

/// Told of each answer: the route as it was declared (`unmatched` if there is none), the method,
/// the status, and how long it took to have the head of the answer.
pub type RequestObserver = Arc<dyn Fn(&str, &str, u16, Duration) + Send + Sync>;

/// Writes all measures in Prometheus's text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(state): State<AppState>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, kind)], (state.metrics)()).into_response()
}
