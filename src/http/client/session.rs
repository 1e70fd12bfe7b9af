//! `/login`, `/logout` and `/refresh`.
//!
//! Specification v1.19, client-server API, "Login".

use axum::{Router, extract::State};
use ruma::api::client::session::{
    get_login_token,
    get_login_types::{
        self,
        v3::{ApplicationServiceLoginType, LoginType, PasswordLoginType, TokenLoginType},
    },
    login::{self, v3::LoginInfo},
    logout, logout_all, refresh_token,
};
use zeroize::Zeroizing;

use crate::{
    accounts::{Accounts, Error, Identifier, NewSession, PasswordLogin},
    http::{ApiError, AppState, Kind, RouterExt as _, Ruma},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(login_types)
        .endpoint(login)
        .endpoint(login_token)
        .endpoint(logout)
        .endpoint(logout_all)
        .endpoint(refresh)
}

/// `GET /_matrix/client/v3/login`.
async fn login_types(
    State(accounts): State<Accounts>,
    _: Ruma<get_login_types::v3::Request>,
) -> Result<get_login_types::v3::Response, ApiError> {
    let password = LoginType::Password(PasswordLoginType::new());
    let mut token = TokenLoginType::new();
    token.get_login_token = true;
    let has_services = !accounts.services().load().services().is_empty();
    let service = LoginType::ApplicationService(ApplicationServiceLoginType::new());
    let flows = [
        accounts.offers_password_login().then_some(password),
        accounts
            .offers_login_tokens()
            .then_some(LoginType::Token(token)),
        has_services.then_some(service),
    ];
    Ok(get_login_types::v3::Response::new(
        flows.into_iter().flatten().collect(),
    ))
}

/// `POST /_matrix/client/v1/login/get_token`.
async fn login_token(
    State(state): State<AppState>,
    request: Ruma<get_login_token::v1::Request>,
) -> Result<get_login_token::v1::Response, ApiError> {
    let Ruma {
        sender,
        body,
        client,
    } = request;
    state.limits.check_user(Kind::Login, sender.user())?;
    let token = state
        .accounts
        .login_token(&sender, body.auth.as_ref(), Some(client.address))
        .await?;
    Ok(get_login_token::v1::Response::new(
        token.expires_in,
        token.token.to_string(),
    ))
}

/// `POST /_matrix/client/v3/login`.
async fn login(
    State(state): State<AppState>,
    request: Ruma<login::v3::Request>,
) -> Result<login::v3::Response, ApiError> {
    let client = request.client.address;
    state.limits.check_address(Kind::Login, client)?;
    let body = request.body;
    let session = NewSession {
        device_id: body.device_id,
        device_name: body.initial_device_display_name,
        refresh_token: body.refresh_token,
    };
    let client = Some(client);
    let accounts = &state.accounts;
    let session = match body.login_info {
        LoginInfo::Password(password) => {
            let login = PasswordLogin {
                identifier: identifier(&password)?,
                password: Zeroizing::new(password.password),
                session,
                client,
            };
            accounts.login(login).await?
        }
        LoginInfo::Token(token) => {
            let token = Zeroizing::new(token.token);
            accounts.login_with_token(&token, session, client).await?
        }
        LoginInfo::ApplicationService(login) => {
            let service = request.sender.required()?;
            let identifier = service_identifier(&login)?;
            accounts
                .login_for_service(&service, &identifier, session)
                .await?
        }
        _ => return Err(Error::UnknownLoginType.into()),
    };
    let access_token = session.access_token.to_string();
    let mut response = login::v3::Response::new(session.user_id, access_token, session.device_id);
    response.refresh_token = session.refresh_token.map(|token| token.to_string());
    response.expires_in = session.expires_in;
    Ok(response)
}

/// Older clients name themselves outside of `identifier`.
#[expect(deprecated, reason = "older clients")]
fn identifier(login: &login::v3::Password) -> Result<Identifier, Error> {
    Identifier::from_request(
        login.identifier.as_ref(),
        login.user.as_deref(),
        login.medium.as_deref(),
        login.address.as_deref(),
    )
    .ok_or(Error::InvalidParam("the identifier cannot be used"))
}

#[expect(deprecated, reason = "older application services")]
fn service_identifier(login: &login::v3::ApplicationService) -> Result<Identifier, Error> {
    let identifier = login.identifier.as_ref();
    Identifier::from_request(identifier, login.user.as_deref(), None, None)
        .ok_or(Error::InvalidParam("the identifier cannot be used"))
}

/// `POST /_matrix/client/v3/logout`.
async fn logout(
    State(accounts): State<Accounts>,
    request: Ruma<logout::v3::Request>,
) -> Result<logout::v3::Response, ApiError> {
    accounts.logout(&request.sender).await?;
    Ok(logout::v3::Response::new())
}

/// `POST /_matrix/client/v3/logout/all`.
async fn logout_all(
    State(accounts): State<Accounts>,
    request: Ruma<logout_all::v3::Request>,
) -> Result<logout_all::v3::Response, ApiError> {
    accounts.logout_all(&request.sender).await?;
    Ok(logout_all::v3::Response::new())
}

/// `POST /_matrix/client/v3/refresh`.
async fn refresh(
    State(accounts): State<Accounts>,
    request: Ruma<refresh_token::v3::Request>,
) -> Result<refresh_token::v3::Response, ApiError> {
    let token = Zeroizing::new(request.body.refresh_token);
    let session = accounts.refresh(&token).await?;
    let mut response = refresh_token::v3::Response::new(session.access_token.to_string());
    response.refresh_token = session.refresh_token.map(|token| token.to_string());
    response.expires_in_ms = session.expires_in;
    Ok(response)
}
