//! `/health/live` and `/health/ready`: whether the process runs, and whether it can serve.
//!
//! A process that is not live is restarted; one that is not ready gets no requests for now.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::future::{BoxFuture, join_all};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::{Map, Value, json};

use super::{AppState, error::JSON};

/// How long one check may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that must be well for the process to serve: database, migrations, signing key, disk
/// space. Fails with a short reason, which anybody who reaches the endpoint can read.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The checks, by name.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
}

impl Readiness {
    /// Adds a check.
    #[must_use]
    pub fn with<F>(
        mut self,
        name: &'static str,
        check: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks
            .push((name, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Asks all checks at once: whether all are well, and what each one said.
    pub async fn ask(&self) -> (bool, Map<String, Value>) {
        let answers = self.checks.iter().map(|(name, check)| async move {
            let answer = tokio::time::timeout(PATIENCE, check()).await;
            (
                *name,
                answer.unwrap_or_else(|_| Err("does not answer".to_owned())),
            )
        });
        let answers = join_all(answers).await;
        let is_well = answers.iter().all(|(_, answer)| answer.is_ok());
        let said = answers.into_iter().map(|(name, answer)| {
            let said = answer.err().unwrap_or_else(|| "ok".to_owned());
            (name.to_owned(), Value::String(said))
        });
        (is_well, said.collect())
    }
}

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
}

async fn live() -> Response {
    answer(StatusCode::OK, &json!({ "status": "ok" }))
}

async fn ready(State(state): State<AppState>) -> Response {
    let (is_well, checks) = state.readiness.ask().await;
    if is_well {
        answer(StatusCode::OK, &json!({ "status": "ok", "checks": checks }))
    } else {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        answer(status, &json!({ "status": "failed", "checks": checks }))
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (CONTENT_TYPE, JSON),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body.to_string()).into_response()
}
