//! `/profile`: what people show of themselves.
//!
//! Specification v1.19, client-server API, "Profiles".

use axum::{
    Router,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::Method;
use ruma::{
    api::client::profile::{
        delete_profile_field, get_profile, get_profile_field, set_profile_field,
    },
    profile::{ProfileFieldName, ProfileFieldValue},
};

use crate::{
    accounts::{Accounts, ProfileChange, Reach},
    http::{ApiError, AppState, RouterExt as _, Ruma, auth, plain},
    store::profiles::Profile,
};

/// Every endpoint of this file.
pub(super) fn routes(state: &AppState) -> Router<AppState> {
    Router::new()
        .endpoint(get)
        .endpoint(get_field)
        .endpoint(set_field)
        .endpoint(delete_field)
        .route_layer(from_fn_with_state(state.clone(), may_read))
}

/// Whether the sender may read the profile. The specification lets everybody, and its endpoints
/// carry no session; where the policy does not, a session is asked for.
async fn may_read(
    State(state): State<AppState>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if request.method() != Method::GET || state.accounts.shows_all_profiles() {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    let head = http::Request::from_parts(parts, ());
    let sender = auth::sender(&head, &state, Reach::Private).await?;
    let path = path.map_err(|_| ApiError::invalid_param("The path is not UTF-8"))?;
    let owner = path.iter().find(|(name, _)| *name == "user_id");
    let owner = plain::user_id(owner.map_or("", |(_, value)| value))?;
    state.accounts.may_see_profile(&sender, &owner).await?;
    let (parts, ()) = head.into_parts();
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// `GET /_matrix/client/v3/profile/{userId}`.
async fn get(
    State(accounts): State<Accounts>,
    request: Ruma<get_profile::v3::Request>,
) -> Result<get_profile::v3::Response, ApiError> {
    let profile = accounts.profile(&request.body.user_id).await?;
    let mut response = get_profile::v3::Response::new();
    if let Some(name) = profile.display_name {
        response.set("displayname".to_owned(), name.into());
    }
    if let Some(url) = profile.avatar_url {
        response.set("avatar_url".to_owned(), url.as_str().into());
    }
    response.extend(profile.fields);
    Ok(response)
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`. The two fields that all versions of the
/// specification know are never missing: not set, they are left out of the answer.
async fn get_field(
    State(accounts): State<Accounts>,
    request: Ruma<get_profile_field::v3::Request>,
) -> Result<get_profile_field::v3::Response, ApiError> {
    let body = request.body;
    let profile = accounts.profile(&body.user_id).await?;
    let is_old = matches!(
        body.field,
        ProfileFieldName::DisplayName | ProfileFieldName::AvatarUrl
    );
    let value = field(profile, &body.field)?;
    if value.is_none() && !is_old {
        return Err(ApiError::not_found("The profile has no such field"));
    }
    let mut response = get_profile_field::v3::Response::default();
    response.value = value;
    Ok(response)
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`.
async fn set_field(
    State(state): State<AppState>,
    request: Ruma<set_profile_field::v3::Request>,
) -> Result<set_profile_field::v3::Response, ApiError> {
    let body = request.body;
    let change = state
        .accounts
        .set_profile_field(&request.sender, &body.user_id, &body.value)
        .await?;
    tell_rooms(&state, &change).await;
    Ok(set_profile_field::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`.
async fn delete_field(
    State(state): State<AppState>,
    request: Ruma<delete_profile_field::v3::Request>,
) -> Result<delete_profile_field::v3::Response, ApiError> {
    let body = request.body;
    let change = state
        .accounts
        .delete_profile_field(&request.sender, &body.user_id, &body.field)
        .await?;
    tell_rooms(&state, &change).await;
    Ok(delete_profile_field::v3::Response::new())
}

/// Rooms show names and avatars in their member events. The first rooms hear of it now.
async fn tell_rooms(state: &AppState, change: &ProfileChange) {
    if change.is_seen_in_rooms
        && let Err(error) = state.accounts.begin_work(&state.rooms, change.user).await
    {
        // It is written down, and will be done.
        tracing::warn!(%error, "rooms will hear of a changed profile later");
    }
}

fn field(
    mut profile: Profile,
    name: &ProfileFieldName,
) -> Result<Option<ProfileFieldValue>, ApiError> {
    let other = match name {
        ProfileFieldName::DisplayName => {
            return Ok(profile.display_name.map(ProfileFieldValue::DisplayName));
        }
        ProfileFieldName::AvatarUrl => {
            return Ok(profile.avatar_url.map(ProfileFieldValue::AvatarUrl));
        }
        other => other.as_str(),
    };
    profile
        .fields
        .remove(other)
        .map(|value| ProfileFieldValue::new(other, value))
        .transpose()
        .map_err(|error| ApiError::internal(&error))
}
