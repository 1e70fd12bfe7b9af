//! Proving who reads an address.
//!
//! Specification v1.19, identity service API, "Establishing associations". The page that the link
//! of the mail leads to stands in [`email_links`](crate::http::email_links). There are no text
//! messages, and so no telephone number can be proved.

use axum::{
    Json, Router,
    extract::{Request, State},
    routing::{get, post},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::request::{Parameters, holder};
use crate::{
    accounts::{EmailTokenRequest, Error, LinkSecrets},
    http::{ApiError, AppState, html::asked_language},
    policy::EmailAddress,
    store::threepids::Purpose,
};

pub(super) fn routes() -> Router<AppState> {
    let path = |rest: &str| format!("/_matrix/identity/v2/{rest}");
    Router::new()
        .route(&path("validate/email/requestToken"), post(request_token))
        .route(&path("validate/email/submitToken"), post(submit_token))
        .route(&path("validate/msisdn/requestToken"), post(no_messages))
        .route(
            &path("validate/msisdn/submitToken"),
            post(no_session).get(no_session),
        )
        .route(&path("3pid/getValidated3pid"), get(validated))
}

/// `POST /_matrix/identity/v2/validate/email/requestToken`.
async fn request_token(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let (_, request) = holder(&state, request).await?;
    let language = asked_language(request.headers());
    let body = Parameters::read(&state, request).await?;
    let email = body.text("email")?;
    let asked = EmailTokenRequest {
        client_secret: body.text("client_secret")?.to_owned(),
        email: email.to_owned(),
        send_attempt: body.count("send_attempt")?,
        next_link: body.optional("next_link")?.map(str::to_owned),
        language,
    };
    if let Err(error) = EmailAddress::parse(email) {
        let message = error.to_string();
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "M_INVALID_EMAIL",
            message,
        ));
    }
    match state.accounts.request_identity_token(asked).await {
        Ok(sid) => Ok(Json(json!({ "sid": sid }))),
        Err(Error::Mail(error)) => {
            tracing::warn!(%error, "a mail of the identity service was not sent");
            Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "M_EMAIL_SEND_ERROR",
                "The mail could not be sent",
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /_matrix/identity/v2/validate/email/submitToken`.
async fn submit_token(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let (_, request) = holder(&state, request).await?;
    let body = Parameters::read(&state, request).await?;
    let secrets = LinkSecrets {
        sid: body.text("sid")?.to_owned(),
        client_secret: body.text("client_secret")?.to_owned(),
        token: body.text("token")?.to_owned(),
    };
    state
        .identity
        .check_token(
            &state.accounts,
            &secrets.sid,
            &secrets.client_secret,
            &secrets.token,
        )
        .await?;
    let opened = state
        .accounts
        .open_link(Purpose::Identity, &secrets)
        .await?;
    Ok(Json(json!({ "success": opened.is_some() })))
}

/// `GET /_matrix/identity/v2/3pid/getValidated3pid`.
async fn validated(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let session = Parameters::of_query(request.uri());
    holder(&state, request).await?;
    let (sid, secret) = (session.text("sid")?, session.text("client_secret")?);
    let proved = state
        .identity
        .validated(&state.accounts, sid, secret)
        .await?;
    Ok(Json(json!({
        "medium": "email",
        "address": proved.address,
        "validated_at": proved.validated_ms,
    })))
}

/// `POST /_matrix/identity/v2/validate/msisdn/requestToken`.
async fn no_messages(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    holder(&state, request).await?;
    Err(ApiError::new(
        StatusCode::BAD_REQUEST,
        "M_DESTINATION_REJECTED",
        "This server sends no text messages",
    ))
}

/// `POST` and `GET /_matrix/identity/v2/validate/msisdn/submitToken`.
async fn no_session() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "M_NO_VALID_SESSION",
        "This server sends no text messages",
    )
}
