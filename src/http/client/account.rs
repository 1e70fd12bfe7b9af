//! `/account`: who the sender is, password, addresses, closing the account.
//!
//! Specification v1.19, client-server API, "Account registration and management".

use axum::{
    Json, Router,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use http::StatusCode;
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::client::account::{
        ThirdPartyIdRemovalStatus, add_3pid, bind_3pid, change_password, deactivate, delete_3pid,
        get_3pids, request_3pid_management_token_via_email,
        request_3pid_management_token_via_msisdn, request_password_change_token_via_msisdn,
        request_registration_token_via_msisdn, unbind_3pid, whoami,
    },
    api::{client::uiaa::AuthData, error::ErrorCode},
    thirdparty::{Medium, ThirdPartyIdentifier, ThirdPartyIdentifierInit},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{raw, said::Said};
use crate::{
    accounts::{Accounts, AddressAdd, EmailTokenRequest, PasswordChange, Reach},
    http::{ApiError, AppState, RouterExt as _, Ruma, peer::ClientAddress, plain::Plain},
    store::threepids::Threepid,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(whoami)
        .endpoint(change_password)
        .endpoint(deactivate)
        .endpoint_raw(&[], threepids)
        .endpoint(request_address_token)
        .endpoint(request_phone_token)
        .endpoint(request_phone_token_to_register)
        .endpoint(request_phone_token_for_password)
        .route("/_matrix/client/r0/account/3pid", post(add_or_bind))
        .route("/_matrix/client/v3/account/3pid", post(add_or_bind))
        .endpoint(add_threepid)
        .endpoint(delete_threepid)
        .endpoint(bind_threepid)
        .endpoint(unbind_threepid)
}

/// `GET /_matrix/client/v3/account/whoami`.
async fn whoami(
    State(_): State<Accounts>,
    request: Ruma<whoami::v3::Request>,
) -> Result<whoami::v3::Response, ApiError> {
    let sender = &request.sender;
    let mut response = whoami::v3::Response::new(sender.user_id().to_owned(), sender.is_guest());
    response.device_id = request.sender.device_id().map(ToOwned::to_owned);
    Ok(response)
}

/// Whether a change of the password says what becomes of the devices: ruma's own type has a default in
/// its place.
#[derive(Deserialize)]
struct Devices {
    logout_devices: Option<IgnoredAny>,
}

/// `POST /_matrix/client/v3/account/password`.
async fn change_password(
    State(accounts): State<Accounts>,
    request: Ruma<Said<change_password::v3::Request, Devices>>,
) -> Result<change_password::v3::Response, ApiError> {
    let Said { body, said } = request.body;
    let change = PasswordChange {
        new_password: Zeroizing::new(body.new_password),
        logout_devices: said.logout_devices.map(|_| body.logout_devices),
        auth: body.auth,
        client: Some(request.client.address),
    };
    accounts
        .change_password(request.sender.as_deref(), change)
        .await?;
    Ok(change_password::v3::Response::new())
}

/// `POST /_matrix/client/v3/account/deactivate`.
async fn deactivate(
    State(state): State<AppState>,
    request: Ruma<deactivate::v3::Request>,
) -> Result<deactivate::v3::Response, ApiError> {
    let requester = request.sender.ok_or_else(ApiError::missing_token)?;
    let body = request.body;
    let client = Some(request.client.address);
    let closed = state
        .accounts
        .deactivate(&requester, body.erase, body.auth.as_ref(), client)
        .await?;
    // The account is closed, whatever becomes of its rooms; what is left is done later.
    if let Err(error) = state.accounts.begin_work(&state.rooms, closed.user).await {
        tracing::warn!(%error, "a closed account leaves its rooms later");
    }
    // What is bound at this server goes with the account; other identity services are not asked.
    let unbound = ThirdPartyIdRemovalStatus::Success;
    Ok(deactivate::v3::Response::new(unbound))
}

/// `GET /_matrix/client/v3/account/3pid`.
async fn threepids(
    State(accounts): State<Accounts>,
    request: Ruma<get_3pids::v3::Request>,
) -> Result<Response, ApiError> {
    let threepids = accounts.threepids(&request.sender).await?;
    let threepids: Vec<_> = threepids.into_iter().map(threepid).collect();
    // Clients take the list for granted, and ruma leaves out an empty one.
    Ok(raw::json(json!({ "threepids": threepids }).to_string()))
}

/// `POST /_matrix/client/v3/account/3pid/email/requestToken`.
async fn request_address_token(
    State(accounts): State<Accounts>,
    request: Ruma<request_3pid_management_token_via_email::v3::Request>,
) -> Result<request_3pid_management_token_via_email::v3::Response, ApiError> {
    let body = request.body;
    let sid = accounts
        .request_address_token(EmailTokenRequest {
            client_secret: body.client_secret.to_string(),
            email: body.email,
            send_attempt: body.send_attempt.into(),
            next_link: body.next_link,
            language: None,
        })
        .await?;
    let sid = sid.try_into().map_err(|error| ApiError::internal(&error))?;
    Ok(request_3pid_management_token_via_email::v3::Response::new(
        sid,
    ))
}

/// `POST /_matrix/client/v3/account/3pid/add`.
async fn add_threepid(
    State(accounts): State<Accounts>,
    request: Ruma<add_3pid::v3::Request>,
) -> Result<add_3pid::v3::Response, ApiError> {
    let body = request.body;
    let add = AddressAdd {
        sid: body.sid.to_string(),
        client_secret: body.client_secret.to_string(),
        auth: body.auth,
        client: Some(request.client.address),
    };
    accounts.add_threepid(&request.sender, add).await?;
    Ok(add_3pid::v3::Response::new())
}

/// `POST /_matrix/client/v3/account/3pid`, which older clients use to add an address. It asks for
/// the same proof as `add`: what it asked for in former versions of the specification, a session
/// alone, let whoever finds one take the account over.
async fn add_or_bind(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(alias = "threePidCreds")]
        three_pid_creds: Credentials,
        auth: Option<AuthData>,
    }
    #[derive(Deserialize)]
    struct Credentials {
        sid: String,
        client_secret: String,
    }
    let client = ClientAddress::of(request.extensions());
    let request = Plain::read(&state, request, Reach::Private).await?;
    let body = serde_json::from_value(Value::Object(request.body));
    let body: Body = body.map_err(|error| ApiError::bad_json(format!("Bad JSON: {error}")))?;
    let add = AddressAdd {
        sid: body.three_pid_creds.sid,
        client_secret: body.three_pid_creds.client_secret,
        auth: body.auth,
        client: Some(client),
    };
    state.accounts.add_threepid(&request.sender, add).await?;
    Ok(Json(json!({})))
}

/// `POST /_matrix/client/v3/account/3pid/msisdn/requestToken`: accounts here have no phone numbers.
async fn request_phone_token(
    State(accounts): State<Accounts>,
    _: Ruma<request_3pid_management_token_via_msisdn::v3::Request>,
) -> Result<request_3pid_management_token_via_msisdn::v3::Response, ApiError> {
    accounts.may_change_addresses()?;
    Err(ApiError::new(
        StatusCode::BAD_REQUEST,
        ErrorCode::ThreepidMediumNotSupported,
        "Accounts of this server have no phone numbers",
    ))
}

/// `POST /_matrix/client/v3/register/msisdn/requestToken`.
async fn request_phone_token_to_register(
    State(_): State<Accounts>,
    _: Ruma<request_registration_token_via_msisdn::v3::Request>,
) -> Result<request_registration_token_via_msisdn::v3::Response, ApiError> {
    Err(no_phone_numbers())
}

/// `POST /_matrix/client/v3/account/password/msisdn/requestToken`.
async fn request_phone_token_for_password(
    State(_): State<Accounts>,
    _: Ruma<request_password_change_token_via_msisdn::v3::Request>,
) -> Result<request_password_change_token_via_msisdn::v3::Response, ApiError> {
    Err(no_phone_numbers())
}

/// What the specification has where phone numbers are not taken.
fn no_phone_numbers() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        ErrorCode::ThreepidDenied,
        "Accounts of this server have no phone numbers",
    )
}

/// `POST /_matrix/client/v3/account/3pid/delete`.
async fn delete_threepid(
    State(accounts): State<Accounts>,
    request: Ruma<delete_3pid::v3::Request>,
) -> Result<delete_3pid::v3::Response, ApiError> {
    let body = request.body;
    if body.medium == Medium::Email {
        accounts
            .delete_threepid(&request.sender, &body.address)
            .await?;
    } else {
        accounts.may_change_addresses()?;
    }
    // As when an account is closed.
    let unbound = ThirdPartyIdRemovalStatus::Success;
    Ok(delete_3pid::v3::Response::new(unbound))
}

/// `POST /_matrix/client/v3/account/3pid/bind`.
async fn bind_threepid(
    State(accounts): State<Accounts>,
    request: Ruma<bind_3pid::v3::Request>,
) -> Result<bind_3pid::v3::Response, ApiError> {
    let body = request.body;
    accounts
        .bind_threepid(
            &request.sender,
            &body.identity_server_info.id_server,
            body.sid.as_str(),
            body.client_secret.as_str(),
        )
        .await?;
    Ok(bind_3pid::v3::Response::new())
}

/// `POST /_matrix/client/v3/account/3pid/unbind`. The identity server of this program finds people
/// by the addresses of their accounts, so that nothing is bound that could be unbound alone.
async fn unbind_threepid(
    State(accounts): State<Accounts>,
    _: Ruma<unbind_3pid::v3::Request>,
) -> Result<unbind_3pid::v3::Response, ApiError> {
    accounts.may_change_addresses()?;
    let unbound = ThirdPartyIdRemovalStatus::NoSupport;
    Ok(unbind_3pid::v3::Response::new(unbound))
}

fn threepid(threepid: Threepid) -> ThirdPartyIdentifier {
    ThirdPartyIdentifier::from(ThirdPartyIdentifierInit {
        address: threepid.address,
        medium: Medium::Email,
        validated_at: timestamp(threepid.validated_ms),
        added_at: timestamp(threepid.added_ms),
    })
}

/// A time of the database as Matrix writes it.
pub(super) fn timestamp(ms: i64) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::new_saturating(u64::try_from(ms).unwrap_or(0)))
}
