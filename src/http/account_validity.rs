//! Keeping an account from expiring (tchap.md 2.8 and rows 19 to 22 of 12).
//!
//! The paths are those of Synapse's module `email_account_validity`, and the older ones of its core.
//! The link in a mail renews by being opened, as people know it from there: a program that reads
//! mails and opens links keeps the account of a mailbox that somebody still reads.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, Request, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    AppState,
    error::ApiError,
    html::{page, private, visitor},
    plain::{self, Plain},
};
use crate::{
    accounts::{Reach, Renewed},
    pages::Pages,
};

/// The longest token that is looked up, in bytes.
const MAX_TOKEN: usize = 255;

/// Every endpoint of this file that answers in JSON.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route(
            "/_synapse/client/email_account_validity/send_mail",
            post(send_mail),
        )
        .route(
            "/_matrix/client/unstable/account_validity/send_mail",
            post(send_mail),
        )
        .route("/_synapse/client/email_account_validity/admin", post(admin))
        .route("/_synapse/admin/v1/account_validity/validity", post(admin))
}

/// The pages of links in mails.
pub(super) fn links(pages: &Arc<Pages>) -> Router<AppState> {
    let renew = |is_old: bool| {
        let pages = Arc::clone(pages);
        async move |State(state): State<AppState>,
                    headers: HeaderMap,
                    Query(link): Query<Link>,
                    request: Request| {
            renew(&state, &pages, &headers, link, request, is_old).await
        }
    };
    Router::new()
        .route(
            "/_synapse/client/email_account_validity/renew",
            get(renew(false)),
        )
        .route(
            "/_matrix/client/unstable/account_validity/renew",
            get(renew(true)),
        )
}

/// `POST …/send_mail`, also for expired accounts (AV-06, AV-07).
async fn send_mail(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let request = Plain::read(&state, request, Reach::Renewal).await?;
    state.accounts.send_renewal_mail(&request.sender).await?;
    Ok(Json(json!({})))
}

/// What a link carries.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Link {
    token: String,
}

/// `GET …/renew` (AV-08 to AV-12). `is_old`: with the statuses of Synapse's core.
async fn renew(
    state: &AppState,
    pages: &Pages,
    headers: &HeaderMap,
    link: Link,
    request: Request,
    is_old: bool,
) -> Result<Response, ApiError> {
    let accounts = &state.accounts;
    if is_old && !accounts.expires_accounts() {
        return Err(ApiError::forbidden("Accounts do not expire on this server"));
    }
    let visitor = visitor(headers, request.uri());
    let sender = if accounts.expires_accounts() && !accounts.renews_by_link() {
        Some(plain::sender(state, request, Reach::Renewal).await?)
    } else {
        None
    };
    let renewed = if link.token.len() > MAX_TOKEN {
        Renewed::Unknown
    } else {
        accounts.renew(&link.token, sender.as_deref()).await?
    };
    let response = match renewed {
        Renewed::Now => page(pages, pages.renewed(visitor)),
        Renewed::Before => page(pages, pages.already_renewed(visitor)),
        Renewed::Unknown => {
            let mut response = page(pages, pages.renewal_invalid(visitor));
            if is_old && !link.token.is_empty() {
                *response.status_mut() = StatusCode::NOT_FOUND;
            }
            response
        }
    };
    Ok(private(response))
}

/// `POST …/admin` (AV-13, AV-14).
async fn admin(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let request = Plain::read_of_admin(&state, request).await?;
    let user_id = request.required("user_id")?.as_str();
    let user_id = plain::user_id(user_id.unwrap_or_default())?;
    let date = request.integer("expiration_ts")?;
    let sends_mails = request.boolean("enable_renewal_emails")?;
    let date = state
        .accounts
        .set_expiry(&request.sender, &user_id, date, sends_mails)
        .await?;
    Ok(Json(json!({ "expiration_ts": date })).into_response())
}
