//! `/account`: who the sender is, password, addresses, closing the account.
//!
//! Specification v1.19, client-server API, "Account registration and management".

use axum::{Router, extract::State};
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::client::account::{
        ThirdPartyIdRemovalStatus, change_password, deactivate, get_3pids, whoami,
    },
    thirdparty::{Medium, ThirdPartyIdentifier, ThirdPartyIdentifierInit},
};
use zeroize::Zeroizing;

use crate::{
    accounts::{Accounts, PasswordChange},
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::Actor,
    store::threepids::Threepid,
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(whoami)
        .endpoint(change_password)
        .endpoint(deactivate)
        .endpoint(threepids)
}

/// `GET /_matrix/client/v3/account/whoami`.
async fn whoami(
    State(_): State<Accounts>,
    request: Ruma<whoami::v3::Request>,
) -> Result<whoami::v3::Response, ApiError> {
    let mut response = whoami::v3::Response::new(request.sender.user_id().to_owned(), false);
    response.device_id = request.sender.device_id().map(ToOwned::to_owned);
    Ok(response)
}

/// `POST /_matrix/client/v3/account/password`.
async fn change_password(
    State(accounts): State<Accounts>,
    request: Ruma<change_password::v3::Request>,
) -> Result<change_password::v3::Response, ApiError> {
    let body = request.body;
    let change = PasswordChange {
        new_password: Zeroizing::new(body.new_password),
        logout_devices: body.logout_devices,
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
    let actor = Actor {
        user_id: closed.user_id,
        user: closed.user,
        device: None,
    };
    // The account is closed, whatever becomes of its rooms; those that fail are in the log.
    drop(state.rooms.leave_all(&actor).await);
    // What is bound at this server goes with the account; other identity services are not asked.
    let unbound = ThirdPartyIdRemovalStatus::Success;
    Ok(deactivate::v3::Response::new(unbound))
}

/// `GET /_matrix/client/v3/account/3pid`.
async fn threepids(
    State(accounts): State<Accounts>,
    request: Ruma<get_3pids::v3::Request>,
) -> Result<get_3pids::v3::Response, ApiError> {
    let threepids = accounts.threepids(&request.sender).await?;
    let threepids = threepids.into_iter().map(threepid).collect();
    Ok(get_3pids::v3::Response::new(threepids))
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
