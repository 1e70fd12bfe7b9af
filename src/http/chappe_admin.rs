//! `/_chappe/admin/v1`: what administrators of the server ask of it, with their access token.

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::post,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{AppState, Kind, auth, body, body::read_json, error::ApiError};
use crate::policy::{Explanation, RegistrationQuestion};

/// Where it is explained what the policy says of a registration.
pub const EXPLAIN_REGISTRATION: &str = "/_chappe/admin/v1/policy/explain/registration";

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new().route(EXPLAIN_REGISTRATION, post(explain_registration))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    address: String,
    #[serde(default)]
    invited: bool,
    password: Option<Zeroizing<String>>,
    display_name: Option<String>,
    user_id: Option<String>,
}

/// `POST /_chappe/admin/v1/policy/explain/registration`: whether somebody could register, and which
/// rules decide. It changes nothing.
async fn explain_registration(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Explanation>, ApiError> {
    let (parts, content) = request.into_parts();
    let head = http::Request::from_parts(parts, ());
    let admin = match auth::administrator(&head, &state).await {
        Ok(admin) => admin,
        Err(error) => {
            body::drain(content, state.settings.body_timeout).await;
            return Err(error);
        }
    };
    state.limits.check_user(Kind::Read, admin.user())?;
    let settings = &state.settings;
    let content = read_json(content, settings.max_body_bytes, settings.body_timeout).await?;
    let question: Question = serde_json::from_slice(&content)
        .map_err(|error| ApiError::bad_json(format!("Bad JSON: {error}")))?;
    let explanation = state
        .accounts
        .explain_registration(&RegistrationQuestion {
            address: &question.address,
            invited: question.invited,
            password: question.password.as_ref().map(|password| password.as_str()),
            display_name: question.display_name.as_deref(),
            user_id: question.user_id.as_deref(),
        })
        .await?;
    Ok(Json(explanation))
}
