//! `/register`: making an account, with the mails and questions around it.
//!
//! Specification v1.19, client-server API, "Account registration and management"; tchap.md 2.3.

use axum::{Json, Router, extract::State, routing::get};
use ruma::api::client::account::{
    check_registration_token_validity, get_username_availability,
    register::{self, LoginType, RegistrationKind},
    request_password_change_token_via_email, request_registration_token_via_email,
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    accounts::{
        Accounts, EmailTokenRequest, NewSession, Registered, Registration, ServiceRegistration,
        Session,
    },
    http::{ApiError, AppState, RouterExt as _, Ruma},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(register)
        .endpoint(availability)
        .endpoint(token_validity)
        .endpoint(registration_email)
        .endpoint(password_email)
        .route("/_matrix/client/r0/password_policy", get(password_policy))
        .route("/_matrix/client/v3/password_policy", get(password_policy))
}

/// `POST /_matrix/client/v3/register`.
async fn register(
    State(state): State<AppState>,
    request: Ruma<register::v3::Request>,
) -> Result<register::v3::Response, ApiError> {
    let body = request.body;
    // REG-20: nobody is one with Tchap's rules.
    if body.kind == RegistrationKind::Guest {
        let (name, client) = (body.initial_device_display_name, request.client.address);
        let registered = state.accounts.register_guest(name, Some(client)).await?;
        return Ok(answer(registered));
    }
    let session = NewSession {
        device_id: body.device_id,
        device_name: body.initial_device_display_name,
        refresh_token: body.refresh_token,
    };
    if body.login_type == Some(LoginType::ApplicationService) {
        let service = request.sender.required()?;
        let wanted = ServiceRegistration {
            username: body.username,
            session,
            inhibit_login: body.inhibit_login,
        };
        let registered = state
            .accounts
            .register_for_service(&service, wanted)
            .await?;
        return Ok(answer(registered));
    }
    let registered = state
        .accounts
        .register(Registration {
            username: body.username,
            password: body.password.map(Zeroizing::new),
            session,
            inhibit_login: body.inhibit_login,
            auth: body.auth,
            guest_access_token: body.guest_access_token.map(Zeroizing::new),
            client: Some(request.client.address),
        })
        .await?;
    // The account stands, whatever becomes of them now.
    state.identity.deliver_soon(registered.user).await;
    Ok(answer(registered))
}

fn answer(registered: Registered) -> register::v3::Response {
    let mut response = register::v3::Response::new(registered.user_id);
    if let Some(session) = registered.session {
        let Session {
            device_id,
            access_token,
            refresh_token,
            expires_in,
            ..
        } = session;
        response.device_id = Some(device_id);
        response.access_token = Some(access_token.to_string());
        response.refresh_token = refresh_token.map(|token| token.to_string());
        response.expires_in = expires_in;
    }
    response
}

/// `GET /_matrix/client/v3/register/available`.
async fn availability(
    State(accounts): State<Accounts>,
    request: Ruma<get_username_availability::v3::Request>,
) -> Result<get_username_availability::v3::Response, ApiError> {
    accounts.check_username(&request.body.username).await?;
    Ok(get_username_availability::v3::Response::new(true))
}

/// `GET /_matrix/client/v1/register/m.login.registration_token/validity`.
async fn token_validity(
    State(accounts): State<Accounts>,
    request: Ruma<check_registration_token_validity::v1::Request>,
) -> Result<check_registration_token_validity::v1::Response, ApiError> {
    let client = Some(request.client.address);
    let valid = accounts
        .is_registration_token_good(&request.body.token, client)
        .await?;
    Ok(check_registration_token_validity::v1::Response::new(valid))
}

/// `POST /_matrix/client/v3/register/email/requestToken`.
async fn registration_email(
    State(accounts): State<Accounts>,
    request: Ruma<request_registration_token_via_email::v3::Request>,
) -> Result<request_registration_token_via_email::v3::Response, ApiError> {
    let (body, language) = (request.body, request.client.language());
    let sid = accounts
        .request_registration_token(EmailTokenRequest {
            client_secret: body.client_secret.to_string(),
            email: body.email,
            send_attempt: body.send_attempt.into(),
            next_link: body.next_link,
            language,
        })
        .await?;
    let sid = sid.try_into().map_err(|error| ApiError::internal(&error))?;
    Ok(request_registration_token_via_email::v3::Response::new(sid))
}

/// `POST /_matrix/client/v3/account/password/email/requestToken`.
async fn password_email(
    State(accounts): State<Accounts>,
    request: Ruma<request_password_change_token_via_email::v3::Request>,
) -> Result<request_password_change_token_via_email::v3::Response, ApiError> {
    let (body, language) = (request.body, request.client.language());
    let sid = accounts
        .request_password_token(EmailTokenRequest {
            client_secret: body.client_secret.to_string(),
            email: body.email,
            send_attempt: body.send_attempt.into(),
            next_link: body.next_link,
            language,
        })
        .await?;
    let sid = sid.try_into().map_err(|error| ApiError::internal(&error))?;
    Ok(request_password_change_token_via_email::v3::Response::new(
        sid,
    ))
}

/// `GET /_matrix/client/r0/password_policy` (tchap.md 2.6, MSC2000).
async fn password_policy(State(accounts): State<Accounts>) -> Json<Map<String, Value>> {
    Json(accounts.password_policy())
}
